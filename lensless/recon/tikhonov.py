"""Tikhonov regularisation: the reconstruction that needs nothing but the forward model."""

import math

import scipy.optimize
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
    noise_std: float | None = None,
) -> Tensor:
    """The scene that minimises |A x - y|^2 + weight |A|^2 |x - mean|^2.

    Args:
        A: forward model, |A| its largest singular value.
        y: measurements, (B, C, H', W').
        weight: relative to |A|^2; "gcv" chooses it by generalised cross-validation (Golub, Heath and Wahba,
            Technometrics 21, 215, 1979, doi 10.1080/00401706.1979.10489751), "discrepancy" as the one that leaves the
            misfit |A x - y|^2 = n noise_std^2 (Morozov, Soviet Math. Dokl. 7, 414, 1966). One weight for the whole
            batch.
        mean: what the scene is pulled to, (C, H, W) or broadcastable; 0 by default.
        svd: `A.svd()`, where it is at hand; it takes seconds.
        noise_std: root mean square of the noise of the n pixels, in units of y; for "discrepancy".

    Returns:
        Scenes (B, C, H, W), not clamped.

    Raises:
        ConfigurationError: a shape or a weight that cannot be, or noise that no weight fits.
    """
    U, s, Vh = A.svd() if svd is None else svd
    offset = torch.zeros(1, device=y.device, dtype=y.dtype) if mean is None else mean
    scene = offset.expand(*y.shape[:2], *A.scene_shape)
    predicted = A.A(scene)
    if y.shape != predicted.shape:  # it would be broadcast in silence
        raise ConfigurationError(f"tikhonov: y has shape {tuple(y.shape)}; expected {tuple(predicted.shape)}")
    residual = (y - predicted).flatten(2)
    coefficients = residual @ U
    if noise_std is not None and weight != "discrepancy":
        raise ConfigurationError(f"tikhonov: noise_std = {noise_std} goes with weight 'discrepancy', not {weight!r}")
    if weight == "gcv":
        weight = gcv_weight(s, coefficients, residual)
    elif weight == "discrepancy":
        weight = discrepancy_weight(s, coefficients, residual, noise_std)
    if not (isinstance(weight, float | int) and math.isfinite(weight) and weight > 0):
        raise ConfigurationError(f"tikhonov: weight = {weight!r}; expected a number > 0 or 'gcv' or 'discrepancy'")
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
    energy, outside = _energies(coefficients, residual)
    squares = (s.double() / s[0]).square()
    weights = torch.logspace(-12, 0, 97, dtype=torch.float64, device=s.device)
    left = weights[:, None] / (squares + weights[:, None])  # what the filter leaves of each coefficient
    score = ((left.square() * energy).sum(1) + outside) / (n - len(s) + left.sum(1)).square()
    return float(weights[score.argmin()])


def discrepancy_weight(s: Tensor, coefficients: Tensor, residual: Tensor, noise_std: float | None) -> float:
    """The weight, relative to s[0]^2, that leaves the mean misfit n noise_std^2; arguments as of `gcv_weight`.

    The part of a measurement outside the range of U is misfit whatever the weight. Where n is large and the rank small,
    nearly all misfit is of that kind, and the weight hangs on how exactly `noise_std` is known.

    Raises:
        ConfigurationError: no such noise, or none of the weights from 1e-15 to 1e15 leaves that misfit.
    """
    if noise_std is None or not (math.isfinite(noise_std) and noise_std > 0):
        raise ConfigurationError(f"tikhonov: noise_std = {noise_std}; weight 'discrepancy' expects a number > 0")
    n = residual.shape[-1]
    energy, outside = (part.cpu().numpy() for part in _energies(coefficients, residual))
    squares = (s.double() / s[0]).square().cpu().numpy()

    def excess(exponent: float) -> float:
        weight = 10**exponent
        return float((energy * (weight / (squares + weight)) ** 2).sum() + outside) / n - noise_std**2

    least, most = ((excess(end) + noise_std**2) ** 0.5 for end in (-15, 15))
    if not least < noise_std < most:
        raise ConfigurationError(
            f"tikhonov: noise_std = {noise_std:g}; with 'discrepancy' expected between {least:g} and {most:g}, the "
            "misfits (root mean square) at the least and the largest weight; choose the weight by 'gcv'"
        )
    return float(10 ** scipy.optimize.brentq(excess, -15, 15, xtol=1e-12))


def _energies(coefficients: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squares of each coefficient (r,), and of all that lies outside the range of U; float64."""
    n, rank = residual.shape[-1], coefficients.shape[-1]
    energy = coefficients.double().square().reshape(-1, rank).mean(0)
    outside = (residual.double().square().reshape(-1, n).sum(1).mean() - energy.sum()).clamp_min(0)
    if n == rank:
        outside = outside * 0  # U spans all measurements: that was a rounding error, which a small weight would blow up
    return energy, outside
