"""What the sensor says without light: the dark frame, and how it grows with exposure and temperature."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np

from calibration.estimate import Estimate
from calibration.stack import Stack
from hardware.errors import CalibrationMismatch
from hardware.frame import Frame

_LEAST_RISE_C = 2.0  # by which temperatures must differ before they say how dark current grows
_ONE_TEMPERATURE_C = 1.0  # frames that differ by less were taken at one
_DOUBLINGS_C, _USUAL_DOUBLING_C = (1.0, 50.0), 8.0  # what a rise that doubles it can be, and is in silicon
_TEMPERATURE_STD_C = 0.2  # of a sensor's thermometer from one time to another


def measure_dark(frames: Iterable[Frame]) -> tuple[np.ndarray, np.ndarray]:
    """Mean dark frame and its standard error.

    Args:
        frames: two or more (100 is a good number) of one camera and setting, with the sensor covered.

    Returns:
        (H, W) float32 mean in DN, black level included, and (H, W) float32 standard error of it.

    Raises:
        CalibrationMismatch: frames of different cameras or settings, or fewer than two.
    """
    stack = Stack.of(frames)
    return stack.mean.astype(np.float32), stack.standard_error.astype(np.float32)


@dataclasses.dataclass(frozen=True, eq=False)
class DarkSignal:
    """The dark frame at every exposure from the shortest to the longest that were taken.

        mean(t) = bias + rate t,    variance(t) = variance_0 + variance_rate t          (EMVA 1288 R3.1, section 3.1)

    Args:
        bias_dn: (H, W), black level included.
        rate_dn_per_s: (H, W); zero where only one exposure was taken.
        std_dn: (H, W) standard error of the dark frame in the middle of the exposures.
        mean_rate_dn_per_s: over all good pixels; None where only one exposure was taken.
        variance_0_dn2: of a pixel from frame to frame at exposure 0, over all good pixels; at the one exposure, if
            there was but one.
        variance_rate_dn2_per_s: what dark current adds to it.
        exposures_s: (shortest, longest).
        temperature_c: at which the rate holds, mostly that of the longest exposure, whose dark current it is; None
            where the frames do not tell.
    """

    bias_dn: np.ndarray
    rate_dn_per_s: np.ndarray
    std_dn: np.ndarray
    mean_rate_dn_per_s: Estimate | None
    variance_0_dn2: Estimate
    variance_rate_dn2_per_s: float
    exposures_s: tuple[float, float]
    temperature_c: float | None = None

    @classmethod
    def of(cls, stacks: Sequence[Stack], defects: np.ndarray | None = None) -> Self:
        """Fit the lines, by least squares weighted with the noise of each stack.

        Args:
            stacks: of the covered sensor, at one exposure or (better) at several.
            defects: (H, W) bool; pixels that say nothing of the others.

        Raises:
            CalibrationMismatch: none at all.
        """
        if not stacks:
            raise CalibrationMismatch("dark signal: no stack of dark frames; expected at least one")
        good = np.ones(stacks[0].mean.shape, bool) if defects is None else ~defects
        t_s = np.array([stack.exposure_s for stack in stacks])
        variances = np.array([stack.variance[good].mean() for stack in stacks])
        weights = np.array([stack.frames for stack in stacks]) / variances.clip(1e-12)
        means = np.stack([stack.mean for stack in stacks])
        variance_error = np.array(
            [
                variance * np.sqrt(2 / (good.sum() * (stack.frames - 1)))
                for variance, stack in zip(variances, stacks, strict=True)
            ]
        )
        if np.ptp(t_s) == 0:
            mean = np.tensordot(weights / weights.sum(), means, 1)
            dof = 1 / variance_error.clip(1e-12) ** 2
            return cls(
                mean, np.zeros_like(mean), _standard_error(stacks, weights), None,
                Estimate(float(dof @ variances / dof.sum()), float(dof.sum() ** -0.5)), 0.0, (t_s[0], t_s[0]),
                _temperature(stacks, weights),
            )  # fmt: skip
        slopes, middle_s, mean, slope_std = _lines(t_s, means, weights)
        bias = mean - slopes * middle_s
        of_frames = np.array([stack.frame_means.std(ddof=1) / stack.frames**0.5 for stack in stacks])
        # The mean of a frame may wander more than its pixels' noise makes it: then that is what limits the rate.
        wander = np.sqrt(np.mean(of_frames**2 * weights)) if len(stacks) else 0.0
        rate = Estimate(float(slopes[good].mean()), float(slope_std * max(good.sum() ** -0.5, wander)))
        variance_weights = 1 / variance_error.clip(1e-12) ** 2
        variance_rate, middle_variance_s, variance, rate_std = _lines(t_s, variances, variance_weights)
        if variance_rate < 0:  # noise of the noise: dark current takes none away
            variance_rate, rate_std, middle_variance_s = 0.0, 0.0, 0.0
        variance_0 = Estimate(
            float(variance - variance_rate * middle_variance_s),
            float(np.hypot(variance_weights.sum() ** -0.5, rate_std * middle_variance_s)),
        )
        return cls(
            bias, slopes, _standard_error(stacks, weights), rate, variance_0, float(variance_rate),
            (float(t_s.min()), float(t_s.max())), _temperature(stacks, weights * (t_s - middle_s) * t_s),
        )  # fmt: skip

    def at(self, exposure_s: float) -> np.ndarray:
        """The dark frame of an exposure, (H, W), DN."""
        return self.bias_dn + self.rate_dn_per_s * exposure_s

    def variance_at(self, exposure_s: float) -> float:
        """Temporal variance of a pixel in darkness, DN^2."""
        return self.variance_0_dn2.value + self.variance_rate_dn2_per_s * exposure_s


def rates_of(stacks: Sequence[Stack], defects: np.ndarray | None = None) -> list[tuple[float, Estimate]]:
    """Dark current at each temperature, (degrees C, DN/s), the coldest first.

    Args:
        stacks: of the covered sensor; at each temperature of two exposures or more. Those that differ by less than a
            degree are of one.
        defects: (H, W) bool; pixels that say nothing of the others.

    Raises:
        CalibrationMismatch: frames that tell no temperature, or many, or of one exposure only at some temperature.
    """
    for stack in stacks:
        if stack.temperature_c is None:
            raise CalibrationMismatch(
                f"dark current against temperature: frames of camera {stack.meta.camera_id!r} do not say how warm the "
                "sensor was; only a camera that tells can be measured so"
            )
        if stack.warmed_c > _ONE_TEMPERATURE_C:
            raise CalibrationMismatch(
                f"dark current against temperature: the frames of {stack.exposure_s:g} s at {stack.temperature_c:.1f} "
                f"degrees C differ by {stack.warmed_c:.1f} degrees; wait until the sensor has settled, and record them "
                "again"
            )
    groups: list[list[Stack]] = []
    for stack in sorted(stacks, key=lambda stack: stack.temperature_c):
        if groups and stack.temperature_c - groups[-1][-1].temperature_c <= _ONE_TEMPERATURE_C:
            groups[-1].append(stack)
        else:
            groups.append([stack])
    rates = []
    for group in groups:
        signal = DarkSignal.of(group, defects)
        if signal.mean_rate_dn_per_s is None:
            raise CalibrationMismatch(
                f"dark current against temperature: at {signal.temperature_c:.1f} degrees C there are frames of "
                f"{group[0].exposure_s:g} s only; record the covered sensor at a short and at a long exposure there"
            )
        rates.append((signal.temperature_c, signal.mean_rate_dn_per_s))
    return rates


def doubling_temperature(rates: Sequence[tuple[float, Estimate]]) -> Estimate:
    """The rise in temperature that doubles the dark current, degrees C, from rates at two or more temperatures.

        log2 rate = a + temperature_c / doubling_c                                   (EMVA 1288 R3.1, section 3.2)

    The error counts on a thermometer that is good to 0.2 degrees, and on how far three or more rates lie off the line.

    Args:
        rates: (temperature_c of the sensor, dark current in any one unit).

    Raises:
        CalibrationMismatch: temperatures that hardly differ, or a dark current that does not grow.
    """
    at_c = np.array([temperature_c for temperature_c, _ in rates])
    if len(rates) < 2 or np.ptp(at_c) < _LEAST_RISE_C:
        raise CalibrationMismatch(
            f"dark current against temperature: frames at {', '.join(f'{t:.1f}' for t in at_c) or 'no'} degrees C; "
            f"expected temperatures that differ by {_LEAST_RISE_C:g} or more"
        )
    if faint := [temperature_c for temperature_c, rate in rates if not stands_out(rate)]:
        raise CalibrationMismatch(
            f"dark current against temperature: at {faint[0]:.1f} degrees C it does not stand out of its error; take "
            "longer exposures there, or more frames"
        )
    values, errors = (np.array([getattr(rate, name) for _, rate in rates]) for name in ("value", "std"))
    # Rates are often known far better than temperatures.
    logs, log_errors = np.log2(values), np.hypot(errors / values / np.log(2), _TEMPERATURE_STD_C / _USUAL_DOUBLING_C)
    slope, middle_c, middle, slope_std = _lines(at_c, logs, 1 / log_errors**2)
    if len(rates) > 2:  # what lies further off the line is an error, too
        off = (logs - middle - slope * (at_c - middle_c)) / log_errors
        slope_std *= max(1.0, float(np.sqrt(off @ off / (len(rates) - 2))))
    if slope <= 2 * slope_std:
        raise CalibrationMismatch(
            f"dark current against temperature: it changes by {slope:+.3f} +- {slope_std:.3f} doublings per degree; "
            "expected it to grow: is the temperature that of the sensor?"
        )
    least_c, most_c = _DOUBLINGS_C
    if not least_c <= 1 / slope <= most_c:
        raise CalibrationMismatch(
            f"dark current against temperature: it doubles every {1 / slope:.3g} degrees C; expected {least_c:g} to "
            f"{most_c:g} (silicon: about 8). Is the temperature that of the sensor?"
        )
    return Estimate(float(1 / slope), float(slope_std / slope**2))


def stands_out(rate: Estimate) -> bool:
    """Whether there is any."""
    return rate.value > 2 * rate.std


def _lines(x: np.ndarray, y: np.ndarray, weights: np.ndarray):
    """Weighted lines through y (k, ...) over x (k,): slopes, the middle of x, y there, standard error of a slope."""
    share = weights / weights.sum()
    middle = share @ x
    spread = weights @ (x - middle) ** 2
    slopes = np.tensordot(weights * (x - middle), y, 1) / spread
    return slopes, middle, np.tensordot(share, y, 1), spread**-0.5


def _temperature(stacks: Sequence[Stack], weights: np.ndarray) -> float | None:
    """Mean temperature, by how much each stack's dark current takes part in the rate."""
    if any(stack.temperature_c is None for stack in stacks):
        return None
    return float(np.average([stack.temperature_c for stack in stacks], weights=weights))


def _standard_error(stacks: Sequence[Stack], weights: np.ndarray) -> np.ndarray:
    """Of the weighted mean of stacks, pixel by pixel."""
    share = weights / weights.sum()
    return np.sqrt(sum(part**2 * stack.standard_error**2 for part, stack in zip(share, stacks, strict=True)))
