"""Tikhonov regularisation: the reconstruction that needs nothing but the forward model."""

import math

import scipy.optimize
import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.optics import ForwardModel
from lensless.recon.spectral import SVD, Spectrum, check_noise, energies

CHOICES = ("gcv", "l-curve", "discrepancy")


def tikhonov(
    A: ForwardModel,
    y: Tensor,
    weight: float | str = "gcv",
    mean: Tensor | None = None,
    svd: SVD | None = None,
    noise_std: float | None = None,
) -> Tensor:
    """The scene that minimises |A x - y|^2 + weight |A|^2 |x - mean|^2.

    Args:
        A: forward model, |A| its largest singular value.
        y: measurements, (B, C, H', W').
        weight: relative to |A|^2; "gcv" chooses it by generalised cross-validation (Golub, Heath and Wahba,
            Technometrics 21, 215, 1979, doi 10.1080/00401706.1979.10489751), "discrepancy" as the one that leaves the
            misfit |A x - y|^2 = n noise_std^2 (Morozov, Soviet Math. Dokl. 7, 414, 1966), "l-curve" by the corner of
            misfit against size (`l_curve_weight`). One weight for the whole batch.
        mean: what the scene is pulled to, (C, H, W) or broadcastable; 0 by default.
        svd: `A.svd()`, where it is at hand; it takes seconds.
        noise_std: root mean square of the noise of the n pixels, in units of y; for "discrepancy".

    Returns:
        Scenes (B, C, H, W), not clamped.

    Raises:
        ConfigurationError: a shape or a weight that cannot be, or noise that no weight fits.
    """
    found = Spectrum.of("tikhonov", A, y, mean, svd)
    check_noise("tikhonov", weight, noise_std)
    if weight in CHOICES:
        weight = weight_by(weight, found.s, found.coefficients, found.residual, noise_std)
    if not (isinstance(weight, float | int) and math.isfinite(weight) and weight > 0):
        choices = ", ".join(repr(choice) for choice in CHOICES)
        raise ConfigurationError(f"tikhonov: weight = {weight!r}; expected a number > 0, or one of {choices}")
    return found.estimate(tikhonov_gains(found.s, weight))


def tikhonov_gains(s: Tensor, weight: float) -> Tensor:
    """How much of each coefficient goes into the scene, (r,): what `error_bars` needs."""
    return s / (s**2 + weight * s[0] ** 2)


def weight_by(choice: str, s: Tensor, coefficients: Tensor, residual: Tensor, noise_std: float | None = None) -> float:
    """The weight that one of `CHOICES` takes; arguments as of `gcv_weight`."""
    match choice:
        case "gcv":
            return gcv_weight(s, coefficients, residual)
        case "l-curve":
            return l_curve_weight(s, coefficients, residual)
    return discrepancy_weight(s, coefficients, residual, noise_std)


def gcv_weight(s: Tensor, coefficients: Tensor, residual: Tensor) -> float:
    """The weight, relative to s[0]^2, with the least generalised cross-validation score over 1e-12 .. 1.

    Args:
        s: singular values (r,), largest first.
        coefficients: U^T residual, (..., r).
        residual: measurements less the mean's, (..., n); its part outside the range of U counts as noise.
    """
    n = residual.shape[-1]
    energy, outside = energies(coefficients, residual)
    squares = (s.double() / s[0]).square()
    weights = torch.logspace(-12, 0, 97, dtype=torch.float64, device=s.device)
    left = weights[:, None] / (squares + weights[:, None])  # what the filter leaves of each coefficient
    score = ((left.square() * energy).sum(1) + outside) / (n - len(s) + left.sum(1)).square()
    return float(weights[score.argmin()])


def l_curve_weight(s: Tensor, coefficients: Tensor, residual: Tensor) -> float:
    """The weight, relative to s[0]^2, at the corner of log |A x - y|^2 against log |x - mean|^2: where it bends most.

    The curvature in closed form, rho and eta the two squares, ' the slope with l = sqrt(weight), as rho' = -l^2 eta':

        -2 (eta rho / eta') (l^2 eta' rho + 2 l eta rho + l^4 eta eta') / (l^4 eta^2 + rho^2)^(3/2)

    (Hansen, The L-curve and its use in the numerical treatment of inverse problems, 2001, section 5.) It knows nothing
    of the noise and fails where the curve has no corner, as with scenes that are smooth to begin with.
    """
    energy, outside = energies(coefficients, residual)
    squares = (s.double() / s[0]).square()
    weights = torch.logspace(-12, 0, 193, dtype=torch.float64, device=s.device)[:, None]
    f = squares / (squares + weights)
    size = (f.square() * energy / squares).sum(1)
    misfit = ((1 - f).square() * energy).sum(1) + outside
    length = weights[:, 0].sqrt()
    slope = -4 / length * ((1 - f) * f.square() * energy / squares).sum(1)
    bend = length**2 * slope * misfit + 2 * length * size * misfit + length**4 * size * slope
    curvature = -2 * (size * misfit / slope) * bend / (length**4 * size**2 + misfit**2) ** 1.5
    return float(weights[curvature.nan_to_num(nan=-math.inf).argmax(), 0])


def discrepancy_weight(s: Tensor, coefficients: Tensor, residual: Tensor, noise_std: float | None) -> float:
    """The weight, relative to s[0]^2, that leaves the mean misfit n noise_std^2; arguments as of `gcv_weight`.

    The part of a measurement outside the range of U is misfit whatever the weight. Where n is large and the rank small,
    nearly all misfit is of that kind, and the weight hangs on how exactly `noise_std` is known.

    Raises:
        ConfigurationError: no such noise, or none of the weights from 1e-15 to 1e15 leaves that misfit.
    """
    check_noise("tikhonov", "discrepancy", noise_std)
    n = residual.shape[-1]
    energy, outside = (part.cpu().numpy() for part in energies(coefficients, residual))
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
