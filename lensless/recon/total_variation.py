"""Isotropic total variation of pictures, its gradient field, and the picture nearest to another that has less of it.

    TV(x) = sum_p |(D x)_p|,    (D x)_p = (x[i + 1, j] - x[i, j], x[i, j + 1] - x[i, j]),  0 beyond the edge

(Rudin, Osher and Fatemi 1992, doi:10.1016/0167-2789(92)90242-F; discretised as by Chambolle 2004,
doi:10.1023/B:JMIV.0000011325.36760.1e.)
"""

import torch
from torch import Tensor

GRADIENT_NORM_2 = 8.0  # |D|^2 is below that on any grid


def gradient(x: Tensor) -> Tensor:
    """D x: (..., H, W) -> (2, ..., H, W), differences to the next row and to the next column."""
    field = x.new_zeros(2, *x.shape)
    torch.sub(x[..., 1:, :], x[..., :-1, :], out=field[0, ..., :-1, :])
    torch.sub(x[..., :, 1:], x[..., :, :-1], out=field[1, ..., :, :-1])
    return field


def gradient_adjoint(field: Tensor) -> Tensor:
    """The transpose of `gradient`: (2, ..., H, W) -> (..., H, W)."""
    down, right = field[0, ..., :-1, :], field[1, ..., :, :-1]
    x = field.new_zeros(field.shape[1:])
    x[..., :-1, :] -= down
    x[..., 1:, :] += down
    x[..., :, :-1] -= right
    x[..., :, 1:] += right
    return x


def total_variation(x: Tensor) -> Tensor:
    """TV of each picture: (B, C, H, W) -> (B,), summed over the channels."""
    return torch.hypot(*gradient(x)).flatten(1).sum(1)


def shrink(field: Tensor, by: Tensor | float) -> Tensor:
    """The proximal map of `by` times the sum of lengths: each vector of the field is shortened by so much, to 0."""
    length = torch.hypot(*field)
    return field * (1 - by / length.clamp_min(torch.finfo(field.dtype).tiny)).clamp_min(0)


def nearest_with_less(
    x: Tensor, weight: float, box: tuple[float, float], dual: Tensor, iterations: int
) -> tuple[Tensor, Tensor]:
    """The picture u in the box that minimises |u - x|^2 / 2 + weight TV(u), nearly, and its dual field.

    By the fast gradient projection of Beck and Teboulle (2009, doi:10.1109/TIP.2009.2028250, algorithm 3).

    Args:
        dual: where to begin: that of a picture nearby, (2, *x.shape), or zeros.
        iterations: of the projection; begun from a near dual, ten are enough.
    """
    point, before, momentum = dual, dual, 1.0
    for _ in range(iterations):
        picture = (x - weight * gradient_adjoint(point)).clamp_(*box)
        dual = gradient(picture).div_(GRADIENT_NORM_2 * weight).add_(point)
        dual /= torch.hypot(*dual).clamp_min_(1)
        faster = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        point = dual + (momentum - 1) / faster * (dual - before)
        before, momentum = dual, faster
    return (x - weight * gradient_adjoint(dual)).clamp_(*box), dual
