"""Total variation by accelerated proximal gradients: any forward model, nothing but A and its adjoint."""

import math

import torch
from torch import Tensor

from lensless.optics import ForwardModel
from lensless.recon.checks import Box, check_problem
from lensless.recon.solution import Solution
from lensless.recon.total_variation import nearest_with_less

_INNER = 20  # iterations of the denoising step, which goes on from the one before


@torch.no_grad()
def fista(
    A: ForwardModel,
    y: Tensor,
    weight: float = 1e-3,
    iterations: int = 300,
    tolerance: float = 1e-5,
    box: Box = (0.0, 1.0),
    start: Tensor | None = None,
    norm: float | None = None,
) -> Solution:
    """The scene in the box that minimises 1/2 |A x - y|^2 + weight TV(x), TV isotropic.

        x_k+1 = prox(v_k - A* (A v_k - y) / |A|^2),   v_k+1 = x_k+1 + momentum (x_k+1 - x_k)

    (Beck and Teboulle 2009, doi:10.1137/080716542; begun anew where the step turns against the one before,
    O'Donoghue and Candes 2015, doi:10.1007/s10208-013-9150-3, of each scene for itself.)

    Args:
        A: forward model.
        y: measurements, (B, C, H', W').
        weight: of the total variation; 0: least squares in the box.
        iterations: at most.
        tolerance: of the relative change of x in an iteration, below which it ends; 0: never.
        box: (lowest, highest) of a scene; (0, inf) is non-negativity.
        start: scenes to begin with, (B, C, H, W); 0, brought into the box, by default.
        norm: |A|, where it is at hand; `A.norm()` takes seconds for large models.

    Raises:
        ConfigurationError: an argument that cannot be.
    """
    check_problem("fista", A, y, weight, box, iterations, tolerance)
    step = 1 / (A.norm() if norm is None else norm) ** 2
    shape = (len(y), A.scene_channels(y), *A.scene_shape)
    x = (y.new_zeros(shape) if start is None else start.to(y).expand(shape)).clamp(*box)
    dual = y.new_zeros(2, *shape)
    ahead, momentum = x, y.new_ones(len(y), 1, 1, 1)
    adjoint = A.A_adjoint(y)
    change, done = math.inf, 0
    while done < iterations and not change < tolerance:
        done += 1
        moved = ahead - step * (A.normal(ahead) - adjoint)
        if weight:
            new, dual = nearest_with_less(moved, step * weight, box, dual, _INNER)
        else:
            new = moved.clamp_(*box)
        by = new - x
        turned = ((ahead - new) * by).sum((1, 2, 3), keepdim=True) > 0
        momentum = torch.where(turned, 1.0, momentum)
        faster = (1 + (1 + 4 * momentum**2).sqrt()) / 2
        ahead = new + torch.where(turned, 0.0, (momentum - 1) / faster) * by
        x, momentum = new, faster
        change = float(by.norm() / x.norm().clamp_min(torch.finfo(x.dtype).tiny))
    return Solution.of(A, y, weight, x, change, done, tolerance)
