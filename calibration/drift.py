"""Is a calibration still true? A few patterns are shown again, and what has changed in their frames is explained.

With y_k the frame of pattern k now, and y0_k what the old matrix says of it, both above the background,

    y_k = (1 + gain) y0_k + sum_i theta_i (change of y0_k with unknown i) + noise

The changes come from whoever knows the physics: a frame before a rig that is tilted or shifted by a little, less the
frame of the rig as it was. Unknowns that look alike to the sensor, as tilting and shifting a far rig do, are told apart
by how large each may be: a normal prior. What is left of pixels, at the same share in all frames, is dust.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from scipy import ndimage, stats

from calibration.estimate import Estimate
from hardware.errors import CalibrationMismatch

GAIN = "gain"
_LEAST_SHADOW = 0.03  # of a pixel's light, before dust is called dust
_LEAST_LIGHT = 0.02  # of the brightest pixel: darker ones say nothing of their share


@dataclasses.dataclass(frozen=True, eq=False)
class Drift:
    """How a rig has changed since it was calibrated.

    Args:
        gain: relative change of all light.
        moved: of each unknown, in its own unit.
        changed: how far the frames are from what the old matrix says, as a share of the light that patterns make:
            without what noise alone makes of it.
        left: the same after what was found is taken into account.
        shadows: (pixels,) bool, where light is missing that no movement explains.
        specks: how many connected patches these are.
        significance: chi^2 per degree of freedom before and after.
    """

    gain: Estimate
    moved: dict[str, Estimate]
    changed: float
    left: float
    shadows: np.ndarray
    specks: int
    significance: tuple[float, float]

    @property
    def is_still(self) -> bool:
        """Whether noise alone explains the frames."""
        return self.significance[0] < 1.2


def fit_drift(
    now: np.ndarray, before: np.ndarray, changes: Mapping[str, np.ndarray], priors: Mapping[str, float],
    variance: np.ndarray, sensor_shape: tuple[int, int], gain_prior: float = 0.2,
) -> Drift:  # fmt: skip
    """Explain what has changed.

    Args:
        now, before: (K, pixels) frames of K patterns above the background, in one unit.
        changes: name of an unknown -> (K, pixels), change of the frames per unit of it.
        priors: name -> standard deviation that it may have, in its unit.
        variance: (K, pixels) of `now`, in the square of the unit, with what the old matrix lacks.
        sensor_shape: rows and columns of the pixels.

    Raises:
        CalibrationMismatch: frames that hold nothing of the patterns.
    """
    _check_seen(now, before, variance)
    good = np.ones(now.shape[1], bool)
    for _ in range(2):  # dust is found, and then left out
        names, found, covariance, fitted = _solve(now, before, changes, priors, variance, good, gain_prior)
        shadows = _shadows(now, fitted, variance, good | True)
        good = ~shadows
    rest, first = now - fitted, now - before
    light = float(np.square(before).sum())
    noise = float(variance.sum())
    share = lambda off: float(np.sqrt(max(0.0, float(np.square(off).sum()) - noise) / light))  # noqa: E731
    chi2 = tuple(float((off**2 / variance).mean()) for off in (first, rest))
    estimates = {
        name: Estimate(float(value), float(std))
        for name, value, std in zip(names, found, np.sqrt(np.diag(covariance)), strict=True)
    }
    gain = estimates.pop(GAIN)
    specks = ndimage.label(shadows.reshape(sensor_shape), np.ones((3, 3)))[1]
    return Drift(gain, estimates, share(first), share(rest), shadows, int(specks), chi2)


def _check_seen(now: np.ndarray, before: np.ndarray, variance: np.ndarray) -> None:
    weights = before / variance
    seen, noise = float((weights * now).sum()), float(np.sqrt((weights * before).sum()))
    if seen < 10 * noise:
        share = seen / max(float((weights * before).sum()), 1e-30)
        raise CalibrationMismatch(
            f"drift: the frames hold {share:.0%} of what the calibration says the patterns would give; expected to see "
            "them: is the display on, uncovered, and is it this rig?"
        )


def _solve(now, before, changes, priors, variance, good, gain_prior):
    """Names, values and covariance of the unknowns, and the frames that they make; least squares with a prior."""
    names = [GAIN, *changes]
    columns = np.stack([before, *changes.values()])  # (unknowns, K, pixels)
    weights = good / variance
    weighted = (columns * weights).reshape(len(names), -1)
    flat = columns.reshape(len(names), -1)
    information = weighted @ flat.T + np.diag(
        [1 / prior**2 for prior in (gain_prior, *(priors[name] for name in changes))]
    )
    covariance = np.linalg.inv(information)
    found = covariance @ (weighted @ (now - before).ravel())
    return names, found, covariance, before + np.tensordot(found, columns, 1)


def _shadows(now: np.ndarray, fitted: np.ndarray, variance: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Pixels that lack a share of their light in all frames, clearly."""
    power = (fitted**2 / variance).sum(0)
    share = ((now - fitted) * fitted / variance).sum(0) / np.maximum(power, 1e-30)
    error = np.maximum(power, 1e-30) ** -0.5
    light = np.sqrt((fitted**2).mean(0))
    seen = good & (light > _LEAST_LIGHT * light.max())
    # What movement leaves unexplained scatters the shares; a shadow stands out of that, too.
    scatter = 1.4826 * np.median(np.abs(share[seen] - np.median(share[seen]))) if seen.any() else 0.0
    limit = stats.norm.isf(1e-3 / now.shape[1]) * np.hypot(error, scatter)
    return seen & (share < -np.maximum(limit, _LEAST_SHADOW))
