"""Which few numbers of a frame hold most of what it knows of the scene: chosen from the forward model alone."""

import torch
from torch import Tensor

from lensless.optics import ForwardModel
from lensless.optics.operator import leading_svd


def leading_pixels(A: ForwardModel, rank: int, most: int) -> Tensor:
    """Flat indices, ascending, of the `most` pixels that carry the leading `rank` directions of A.

    The weight of a pixel is its leverage: its squared entries in the left singular vectors.
    """
    pixels = A.sensor_shape[0] * A.sensor_shape[1]
    if pixels <= most:
        return torch.arange(pixels, device=next(A.buffers()).device)
    U, _, _ = A.svd(rank)
    return U.square().sum(1).topk(most).indices.sort().values


def leading_directions(matrix: Tensor, noise_variance: Tensor, rank: int) -> Tensor:
    """Rows (rank, n) that give a measurement's coefficients along the `rank` directions of best signal to noise.

    They are the left singular vectors of N^-1/2 A, so the noise of each number has variance 1 and no two share any.
    """
    whitener = noise_variance.rsqrt()
    U, _, _ = leading_svd(matrix * whitener[:, None], rank)
    return (U * whitener[:, None]).T.contiguous()
