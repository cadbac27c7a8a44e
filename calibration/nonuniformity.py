"""How much pixels, rows and columns differ from each other: in the dark (DSNU), and under light (PRNU).

The variance over the pixels of a mean frame is split up (EMVA 1288 R3.1, section 4.2 and 8.1; rows and columns as in
R4.0): with what is left of the temporal noise taken off,

    total = pixel + row + column,   column means vary by column + pixel / H,   row means by row + pixel / W
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from calibration.dark import DarkSignal
from calibration.estimate import Estimate
from calibration.flat import planes_of, without_shape
from calibration.stack import Stack
from hardware.errors import CalibrationMismatch


@dataclasses.dataclass(frozen=True)
class Pattern:
    """Standard deviations of a fixed pattern: from pixel to pixel, row to row and column to column."""

    pixel: Estimate
    row: Estimate
    column: Estimate

    def __mul__(self, factor: Estimate | float) -> "Pattern":
        return Pattern(self.pixel * factor, self.row * factor, self.column * factor)


def pattern_of(mean: np.ndarray, noise_variance: float, defects: np.ndarray | None = None) -> Pattern:
    """The pattern of a mean frame (H, W), without what `noise_variance` of each pixel's mean makes of it."""
    height, width = mean.shape
    values = mean.copy()
    if defects is not None and defects.any():
        values[defects] = np.median(mean[~defects])
    values -= values.mean()
    total = values.var(ddof=1) - noise_variance
    rows, columns = values.mean(1), values.mean(0)
    # What is measured of the three is a sum of all of them; the temporal noise is pixel noise to rows and columns.
    measured = np.array(
        [total, rows.var(ddof=1) - noise_variance / width, columns.var(ddof=1) - noise_variance / height]
    )
    mixing = np.array([[1, 1, 1], [1 / width, 1, 0], [1 / height, 0, 1]])
    pixel, row, column = np.linalg.solve(mixing, measured)
    # Of k independent values a variance has the relative error sqrt(2 / (k - 1)).
    in_all, in_rows, in_columns = (
        variance * np.sqrt(2 / (count - 1))
        for variance, count in (
            (pixel + noise_variance, values.size), (rows.var(ddof=1), height), (columns.var(ddof=1), width),
        )
    )  # fmt: skip
    return Pattern(_root(pixel, in_all), _root(row, in_rows), _root(column, in_columns))


def dark_nonuniformity(stack: Stack, defects: np.ndarray | None = None) -> Pattern:
    """DSNU of the exposure that the dark frames have, DN."""
    good = np.ones(stack.mean.shape, bool) if defects is None else ~defects
    return pattern_of(stack.mean, float(stack.variance[good].mean()) / stack.frames, defects)


def response_nonuniformity(stack: Stack, dark: DarkSignal, defects: np.ndarray | None = None) -> Pattern:
    """PRNU as a share of the response, from frames at about half of saturation under an even light; a light that falls
    off smoothly is made even (`without_shape`).

    Raises:
        CalibrationMismatch: no light.
    """
    signal = stack.mean - dark.at(stack.exposure_s)
    good = np.ones(signal.shape, bool) if defects is None else ~defects
    level = float(signal[good].mean())
    if level <= 10 * float(np.sqrt(dark.variance_0_dn2.value)):
        raise CalibrationMismatch(
            f"response of the pixels: {level:.1f} DN above dark; expected about half of full scale: more light"
        )
    even = np.empty_like(signal)
    for plane in planes_of(stack.meta.cfa):
        even[plane] = without_shape(signal[plane], None if defects is None else defects[plane])
    relative_noise = float((stack.variance[good] / signal[good].clip(level / 10) ** 2).mean()) / stack.frames
    noise_of_dark = float((dark.std_dn[good] ** 2).mean()) / level**2
    return pattern_of(even, relative_noise + noise_of_dark, defects)


def _root(variance: float, error: float) -> Estimate:
    """The standard deviation that belongs to a variance; 0, with the largest it may be, where that is all noise."""
    if variance <= error:
        return Estimate(0.0, float(np.sqrt(max(0.0, variance) + 2 * error)) / 2)
    return Estimate(float(np.sqrt(variance)), float(error / (2 * np.sqrt(variance))))


def temporal_noise(stacks: Sequence[Stack]) -> np.ndarray:
    """(H, W) variance of each pixel from frame to frame over several stacks of one light, DN^2."""
    dof = sum(stack.frames - 1 for stack in stacks)
    return sum(stack.variance * (stack.frames - 1) for stack in stacks) / dof
