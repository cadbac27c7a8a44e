"""Is a sensor linear? Exposure after exposure to a light that stays as it is.

EMVA 1288 (R3.1, section 6.7) fits a line to the mean signal over 5 to 95 % of saturation, each point weighted by the
inverse square of its signal, and states the mean deviation from it relative to the signal, in percent.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from calibration.dark import DarkSignal
from calibration.stack import Stack
from hardware.errors import CalibrationMismatch

_RANGE = 0.05, 0.95  # of saturation
_LEAST_EXPOSURES, _LEAST_RATIO = 4, 2.0


@dataclasses.dataclass(frozen=True, eq=False)
class Linearity:
    """Args: `error`, mean deviation from the line as a share of the signal; `worst` the largest one; `exposure_s` and
    `signal_dn` (k,) what was measured, above dark; `fitted` (k,) bool; `slope_dn_per_s` and `offset_dn` of the line.
    """

    error: float
    worst: float
    exposure_s: np.ndarray
    signal_dn: np.ndarray
    fitted: np.ndarray
    slope_dn_per_s: float
    offset_dn: float

    @property
    def deviation(self) -> np.ndarray:
        """(k,) of each exposure from the line, as a share of the signal."""
        line = self.offset_dn + self.slope_dn_per_s * self.exposure_s
        return (self.signal_dn - line) / np.maximum(line, 1e-9)


def measure_linearity(
    dark: DarkSignal, lit: Sequence[Stack], saturation_dn: float | None = None, defects: np.ndarray | None = None
) -> Linearity:
    """The line of signal over exposure, and how far the sensor is off it.

    Args:
        dark: of the same camera and gain.
        lit: stacks of one light at different exposures; the pixels that are brightest in the longest are looked at.
        saturation_dn: above dark, where pixels are full; None: full scale.
        defects: (H, W) bool, pixels that do not count.

    Raises:
        CalibrationMismatch: too few exposures, or a signal that does not follow them at all.
    """
    ordered = sorted(lit, key=lambda stack: stack.exposure_s)
    exposure_s = np.array([stack.exposure_s for stack in ordered])
    if len(np.unique(exposure_s)) < _LEAST_EXPOSURES or exposure_s[-1] < _LEAST_RATIO * exposure_s[0]:
        raise CalibrationMismatch(
            f"linearity: {len(np.unique(exposure_s))} exposures from {exposure_s[0]:g} to {exposure_s[-1]:g} s; "
            f"expected {_LEAST_EXPOSURES} or more, the longest at least {_LEAST_RATIO:g} times the shortest"
        )
    signals = np.stack([stack.mean - dark.at(stack.exposure_s) for stack in ordered])
    good = np.ones(signals.shape[1:], bool) if defects is None else ~defects
    bright = good & (signals[-1] >= np.quantile(signals[-1][good], 0.9))
    signal_dn = signals[:, bright].mean(1)
    top_dn = saturation_dn or ordered[0].meta.full_scale_dn - float(np.median(dark.bias_dn))
    fitted = (signal_dn >= _RANGE[0] * top_dn) & (signal_dn <= _RANGE[1] * top_dn)
    if fitted.sum() < 3:
        raise CalibrationMismatch(
            f"linearity: {int(fitted.sum())} exposures give 5 to 95 % of saturation ({top_dn:.0f} DN); expected 3 or "
            "more: other exposures, or another light"
        )
    t_s, y = exposure_s[fitted], signal_dn[fitted]
    slope, offset = np.polyfit(t_s, y, 1, w=1 / y)
    found = Linearity(0.0, 0.0, exposure_s, signal_dn, fitted, float(slope), float(offset))
    off = np.abs(found.deviation[fitted])
    if slope <= 0 or off.max() > 0.5:
        raise CalibrationMismatch(
            f"linearity: from {t_s[0]:g} to {t_s[-1]:g} s the signal goes from {y[0]:.1f} to {y[-1]:.1f} DN; expected "
            "it to grow with the exposure: does the camera do what it is told, and is its automatic exposure off?"
        )
    return dataclasses.replace(found, error=float(off.mean()), worst=float(off.max()))
