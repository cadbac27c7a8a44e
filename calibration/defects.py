"""Pixels that say nothing of the light, or not enough: hot, dead, stuck and blinking ones.

A pixel is compared with all others (of its plane), by robust statistics: the median, and 1.4826 times the median
distance from it, which the defects themselves hardly move.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats

from calibration.dark import DarkSignal
from calibration.flat import planes_of, without_shape
from calibration.stack import Stack

KINDS = ("hot", "dead", "stuck", "blinking")
FALSE_SHARE = 1e-7  # of good pixels that noise alone may bring over a limit, for each kind
_DEAD_BELOW, _WILD_ABOVE = 0.5, 2.0  # of the usual response


@dataclasses.dataclass(frozen=True, eq=False)
class Defects:
    """Maps (H, W) bool of each kind.

    Args:
        hot: dark signal, or its growth with exposure, far from the others'.
        dead: response to light far from the others', or below half or above twice of it.
        stuck: the same number in every frame, in the dark and under light.
        blinking: jumps from frame to frame by more than noise does (random telegraph signal).
    """

    hot: np.ndarray
    dead: np.ndarray
    stuck: np.ndarray
    blinking: np.ndarray

    @property
    def any(self) -> np.ndarray:
        """Pixels that are not to be used."""
        return self.hot | self.dead | self.stuck | self.blinking

    def __or__(self, other: "Defects") -> "Defects":
        return Defects(*(getattr(self, kind) | getattr(other, kind) for kind in KINDS))

    def counts(self) -> dict[str, int]:
        """How many of each kind; a pixel may be of several."""
        return {kind: int(getattr(self, kind).sum()) for kind in KINDS}


def find_defects(dark: Sequence[Stack], lit: Sequence[Stack] = (), even: bool = True) -> Defects:
    """Look for pixels that are not like the others.

    Args:
        dark: stacks of the covered sensor; the longer the longest exposure, the weaker the hot pixels that are found.
        lit: stacks under light; without any, dead pixels are not looked for.
        even: whether the light of the sensor is smooth, as a lamp's is. Where it is that of a rig, only pixels that
            say nothing of it are dead: those beside which all others are bright.

    Returns:
        The maps; what a stack cannot tell is not found.
    """
    shape = dark[0].mean.shape
    hot, dead, stuck, blinking = (np.zeros(shape, bool) for _ in KINDS)
    for stack in dark:
        hot |= _far_off(stack.mean)
    signal = DarkSignal.of(dark)
    if signal.mean_rate_dn_per_s is not None:
        hot |= _far_off(signal.rate_dn_per_s)
    slope = _slope(lit, signal)
    for stack in (*dark, *lit):
        blinking |= _restless(stack, signal, slope)
    still = np.logical_and.reduce([stack.lowest == stack.highest for stack in (*dark, *lit)])
    noisy = all(np.median(stack.variance) > 0 for stack in (*dark, *lit))
    values = np.stack([stack.mean for stack in (*dark, *lit)])
    if noisy and sum(stack.frames for stack in (*dark, *lit)) >= _frames_to_be_still(signal):
        stuck |= still & (np.ptp(values, 0) == 0)
    for stack in lit:
        light = stack.mean - signal.at(stack.exposure_s)
        noise_dn = float(np.sqrt(signal.variance_0_dn2.value / stack.frames))
        # Behind a mosaic of filters a pixel is like those of its own colour.
        for plane in planes_of(stack.meta.cfa):
            if even:
                response = without_shape(light[plane], (hot | stuck)[plane])
                dead[plane] |= _far_off(response) | (response < _DEAD_BELOW) | (response > _WILD_ABOVE)
            else:
                dead[plane] |= _blind(light[plane], noise_dn)
    return Defects(hot, dead & ~stuck, stuck, blinking & ~stuck)


def _far_off(values: np.ndarray) -> np.ndarray:
    """Further from the median than noise and spread of a normal population bring a pixel."""
    middle = np.median(values)
    spread = 1.4826 * np.median(np.abs(values - middle))
    limit = stats.norm.isf(FALSE_SHARE / 2) * spread
    return np.abs(values - middle) > limit


def _slope(stacks: Sequence[Stack], dark: DarkSignal) -> float:
    """Variance that light brings per DN of light: that of the stack with the most, as full pixels have less."""
    slopes = [0.0]
    for stack in stacks:
        floor = dark.variance_at(stack.exposure_s)
        light = stack.mean - dark.at(stack.exposure_s)
        bright = light > max(10 * np.sqrt(floor), 0.3 * np.percentile(light, 99))
        if bright.sum() > 16:
            slopes.append(float(np.median((stack.variance[bright] - floor) / light[bright])))
    return max(slopes)


def _restless(stack: Stack, dark: DarkSignal, slope: float) -> np.ndarray:
    """Pixels whose variance from frame to frame is more than chance makes of the usual one, twofold at least."""
    dof = stack.frames - 1
    light = (stack.mean - dark.at(stack.exposure_s)).clip(0)
    usual = dark.variance_at(stack.exposure_s) + slope * light
    return stack.variance > usual * max(2.0, stats.chi2.isf(FALSE_SHARE, dof) / dof)


def _frames_to_be_still(dark: DarkSignal) -> int:
    """After so many frames a good pixel that said one number each time is as rare as a false alarm may be."""
    sigma_dn = np.sqrt(max(dark.variance_0_dn2.value, 1e-6))
    same = stats.norm.cdf(0.5 / sigma_dn) - stats.norm.cdf(-0.5 / sigma_dn)  # rounding to the number in the middle
    return int(np.ceil(np.log(FALSE_SHARE) / np.log(min(same, 1 - 1e-6)))) + 1


def _blind(light: np.ndarray, noise_dn: float) -> np.ndarray:
    """Pixels that hold less than half of what the darkest of their eight neighbours holds, and clearly so."""
    padded = np.pad(light, 1, mode="edge")
    height, width = light.shape
    around = [
        padded[1 + down : 1 + down + height, 1 + right : 1 + right + width]
        for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right
    ]  # fmt: skip
    darkest = np.sort(around, axis=0)[1]  # but one: it may be a defect, too
    return (light < _DEAD_BELOW * darkest) & (darkest - light > stats.norm.isf(FALSE_SHARE) * 2 * noise_dn)
