"""Is a calibration still true? A few patterns are shown again, and what has changed in their frames is explained:
the gain, what may have moved (see `movement`), and dust, which takes the same share of a pixel's light in all frames.

Unknowns that look alike to the sensor are told apart by how large each may be, and their errors say so.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from scipy import ndimage

from calibration.estimate import Estimate
from calibration.movement import Unknown, fit_movement
from hardware.errors import CalibrationMismatch

_RESPONSE_STD = 0.003  # by which a clean pixel's response changes between two days
_STILL, _HARDLY_CHANGED = 1.2, 0.005  # chi^2 per number; and of the light: a matrix is hardly better known than that


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
        response: (pixels,) share of its light that each pixel still gets: below 1 in shadows, 1 elsewhere.
        specks: how many connected patches the shadows are.
        significance: chi^2 per number of a frame before and after.
    """

    gain: Estimate
    moved: dict[str, Estimate]
    changed: float
    left: float
    shadows: np.ndarray
    response: np.ndarray
    specks: int
    significance: tuple[float, float]

    @property
    def is_still(self) -> bool:
        """Whether noise alone explains the frames, or what it does not is too little to matter."""
        return self.significance[0] < _STILL or self.changed < _HARDLY_CHANGED

    @property
    def place(self) -> dict[str, float]:
        """Where the rig is now, in numbers."""
        return {name: estimate.value for name, estimate in self.moved.items()}


def fit_drift(
    now: np.ndarray, at: Callable[[dict[str, float]], np.ndarray], unknowns: Mapping[str, Unknown],
    variance: np.ndarray, sensor_shape: tuple[int, int], tried: Callable[[int], None] = lambda count: None,
) -> Drift:  # fmt: skip
    """Explain what has changed.

    Args:
        now: (K, pixels) frames of K patterns above the background.
        at: what the calibration says of them, were the unknowns so far from where they were; in the same unit.
        unknowns: what may have moved.
        variance: of `now`, in the square of the unit, with what the old matrix lacks; (K, pixels).
        sensor_shape: rows and columns of the pixels.
        tried: see `fit_movement`.

    Raises:
        CalibrationMismatch: frames that hold nothing of the patterns.
    """
    before = at(dict.fromkeys(unknowns, 0.0))
    _check_seen(now, before, variance)
    found = fit_movement(now, variance, at, unknowns, response_std=_RESPONSE_STD, tried=tried)
    rest, first = now - found.fitted, now - before
    light, noise = float(np.square(before).sum()), float(variance.sum())
    part = lambda off: float(np.sqrt(max(0.0, float(np.square(off).sum()) - noise) / light))  # noqa: E731
    specks = ndimage.label(found.dusty.reshape(sensor_shape), np.ones((3, 3)))[1]
    return Drift(
        found.gain, found.moved, part(first), part(rest), found.dusty,
        np.where(found.dusty, found.response, 1.0), int(specks),
        (float((first**2 / variance).mean()), float((rest**2 / variance).mean())),
    )  # fmt: skip


def _check_seen(now: np.ndarray, before: np.ndarray, variance: np.ndarray) -> None:
    weights = before / variance
    seen, noise = float((weights * now).sum()), float(np.sqrt((weights * before).sum()))
    if seen < 10 * noise:
        share = seen / max(float((weights * before).sum()), 1e-30)
        raise CalibrationMismatch(
            f"drift: the frames hold {share:.0%} of what the calibration says the patterns would give; expected to see "
            "them: is the display on, uncovered, and is it this rig?"
        )
