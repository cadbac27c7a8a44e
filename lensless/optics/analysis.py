"""What a rig can see: how many independent numbers of a scene stand above the noise of its sensor."""

import torch
from torch import Tensor

from lensless.optics.operator import ForwardModel, gram_of

SCENE_RMS = 0.3  # of a scene whose pixels vary independently, white = 1


def signal_to_noise(A: ForwardModel, noise_variance: Tensor, scene_rms: float = SCENE_RMS) -> Tensor:
    """Signal over noise of each mode, largest first, float64.

    The modes are those of N^-1/2 A, whose noise is 1: a scene of independent pixels with the standard deviation
    `scene_rms` gives mode k the signal scene_rms s_k. A mode is above the noise where that exceeds 1.

    Args:
        A: forward model.
        noise_variance: of each pixel, white = 1, (H' W',) or (H', W').
    """
    whitener = noise_variance.flatten().rsqrt()
    matrix = A.as_matrix()
    rows, columns = matrix.shape
    whitened = matrix * whitener.to(matrix.dtype)[:, None]
    gram = gram_of(whitened if rows >= columns else whitened.T)
    return scene_rms * torch.linalg.eigvalsh(gram).flip(0).clamp_min(0).sqrt()
