"""Tikhonov regularisation: the reconstruction that needs nothing but the forward model."""

import math

import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.optics import ForwardModel


def tikhonov(
    A: ForwardModel,
    y: Tensor,
    weight: float | str = "gcv",
    mean: Tensor | None = None,
    svd: tuple[Tensor, Tensor, Tensor] | None = None,
) -> Tensor:
    """The scene that minimises |A x - y|^2 + weight |A|^2 |x - mean|^2.

    Args:
        A: forward model, |A| its largest singular value.
        y: measurements, (B, C, H', W').
        weight: relative to |A|^2; "gcv" chooses it by generalised cross-validation (Golub, Heath and Wahba,
            Technometrics 21, 215, 1979, doi 10.1080/00401706.1979.10489751), one weight for the whole batch.
        mean: what the scene is pulled to, (C, H, W) or broadcastable; 0 by default.
        svd: `A.svd()`, where it is at hand; it takes seconds.

    Returns:
        Scenes (B, C, H, W), not clamped.
    """
    U, s, Vh = A.svd() if svd is None else svd
    offset = torch.zeros(1, device=y.device, dtype=y.dtype) if mean is None else mean
    scene = offset.expand(*y.shape[:2], *A.scene_shape)
    predicted = A.A(scene)
    if y.shape != predicted.shape:  # it would be broadcast in silence
        raise ConfigurationError(f"tikhonov: y has shape {tuple(y.shape)}; expected {tuple(predicted.shape)}")
    residual = (y - predicted).flatten(2)
    coefficients = residual @ U
    if weight == "gcv":
        weight = gcv_weight(s, coefficients, residual)
    if not (isinstance(weight, float | int) and math.isfinite(weight) and weight > 0):
        raise ConfigurationError(f"tikhonov: weight = {weight!r}; expected a number > 0 or 'gcv'")
    correction = (coefficients * (s / (s**2 + weight * s[0] ** 2))) @ Vh
    return scene + correction.reshape(scene.shape)


def gcv_weight(s: Tensor, coefficients: Tensor, residual: Tensor) -> float:
    """The weight, relative to s[0]^2, with the least generalised cross-validation score over 1e-12 .. 1.

    Args:
        s: singular values (r,), largest first.
        coefficients: U^T residual, (..., r).
        residual: measurements less the mean's, (..., n); its part outside the range of U counts as noise.
    """
    n = residual.shape[-1]
    energy = coefficients.double().square().reshape(-1, len(s)).mean(0)
    outside = (residual.double().square().reshape(-1, n).sum(1).mean() - energy.sum()).clamp_min(0)
    if n == len(s):
        outside = 0.0  # U spans all measurements: that was a rounding error, which a small weight would blow up
    squares = (s.double() / s[0]).square()
    weights = torch.logspace(-12, 0, 97, dtype=torch.float64, device=s.device)
    left = weights[:, None] / (squares + weights[:, None])  # what the filter leaves of each coefficient
    score = ((left.square() * energy).sum(1) + outside) / (n - len(s) + left.sum(1)).square()
    return float(weights[score.argmin()])
