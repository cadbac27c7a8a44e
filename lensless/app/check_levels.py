"""What the levels of a camera tell: do they follow the exposure, and do they keep clear of both ends of the scale?"""

import dataclasses

import numpy as np

from lensless.app.check_finding import FAILS, NOTE, OK, Finding, advised, graded

# A calibration refuses a frame with more than 2 % of useless pixels; a thousandth may be hot or dead.
FEW, MANY = 0.001, 0.02
DARK, DIM = 0.005, 0.05  # of full scale above black: nothing to see, and little
STRAIGHT, BENT = 0.02, 0.05  # worst deviation from the line; sensors of one chip stay within 1 % or so
FULL = 0.97  # of full scale: the well of many sensors is full a little before their converter is
STUCK = 0.1  # of the change of level that the change of exposure should have made
PILE, BELOW = 3.0, 8  # times as many pixels at the highest number as at any of those below it: they are clipped there


@dataclasses.dataclass(frozen=True, eq=False)
class Line:
    """Mean level against exposure: level = offset + slope t.

    `levels_dn` and `errors_dn` (k,) at `exposures_s`, over the pixels that are clipped in none; `worst` is the largest
    deviation, as a share of what the line gains from no exposure to the longest.
    """

    exposures_s: np.ndarray
    levels_dn: np.ndarray
    errors_dn: np.ndarray
    slope_dn_per_s: float
    offset_dn: float
    worst: float

    def followed(self, black_dn: float) -> float:
        """How far the level went, as a share of how far light that follows the exposure makes it go."""
        ratio = self.exposures_s[0] / self.exposures_s[-1]
        expected = (1 - ratio) * (self.levels_dn[-1] - black_dn)
        return float((self.levels_dn[-1] - self.levels_dn[0]) / expected) if expected > 0 else 0.0


def saturation(pixels: np.ndarray, full_scale_dn: int) -> Finding:
    """Pixels at the end of the scale, or at an end below it. `pixels` (n, h, w)."""
    highest = int(pixels.max())
    share = float((pixels >= FULL * full_scale_dn).mean())
    figures = {"saturated_share": share, "highest_dn": highest, "full_scale_dn": full_scale_dn}
    at_highest = float((pixels == highest).mean())
    below = [float((pixels == highest - down).mean()) for down in range(1, BELOW + 1) if highest >= down]
    # A peak that is as narrow as this leaves some of those below it empty.
    if highest < full_scale_dn and at_highest > FEW and min(below, default=0) > 0 and at_highest > PILE * max(below):
        text = (
            f"{at_highest:.1%} of the pixels stand at {highest} DN, below full scale ({full_scale_dn}): the numbers "
            f"are clipped there; calibrate with clip_dn={highest}, so that such pixels are recognised"
        )
        return Finding(
            "saturation", FAILS if at_highest > MANY else NOTE, text, figures | {"clipped_share": at_highest}
        )
    measured = (
        f"{share:.2%} of the pixels above {FULL:.0%} of full scale ({full_scale_dn} DN), the brightest at {highest}"
    )
    state = graded(share, FEW, MANY)
    return Finding("saturation", state, advised(state, measured, "shorten the exposure, or take less light"), figures)


def brightness(pixels: np.ndarray, black_dn: float, full_scale_dn: int) -> Finding:
    """How much of the scale the light uses, as the camera was found. `pixels` (n, h, w)."""
    bright = (float(np.percentile(pixels[0], 99)) - black_dn) / (full_scale_dn - black_dn)
    mean = (float(pixels.mean()) - black_dn) / (full_scale_dn - black_dn)
    measured = f"mean {mean:.1%} of full scale above black, bright pixels {bright:.0%}"
    figures = {"mean_share": mean, "bright_share": bright}
    state = NOTE if bright < DIM or bright >= FULL else OK
    if bright >= FULL:
        advice = "nothing is left above them; shorten the exposure, or take less light (see saturation)"
    elif bright < DARK:
        advice = "no light to speak of; take the cap off, light the scene, or ask for a longer exposure"
    else:
        advice = "little of the scale is used; a longer exposure or more light gives less noise"
    return Finding("light", state, advised(state, measured, advice), figures)


def black_level(bursts: list[np.ndarray], black_dn: float) -> Finding:
    """Whether noise is cut off at zero in the darkest of the bursts."""
    darkest = min(bursts, key=np.mean)
    share = float((darkest == 0).mean())
    state = graded(share, FEW, MANY)
    measured = f"{share:.2%} of the pixels at 0 in the darkest frames (the camera says black is {black_dn:g} DN)"
    advice = (
        "the lower half of the noise is cut off there, so that means are wrong; raise the black level (brightness, "
        "offset) of the camera, or keep every pixel in the light"
    )
    return Finding("black level", state, advised(state, measured, advice), {"zero_share": share})


def level_against_exposure(bursts: list[tuple[float, np.ndarray]], full_scale_dn: int) -> Line | None:
    """The straight line through the mean levels; None with fewer than three exposures.

    Args:
        bursts: (exposure in seconds, frames (n, h, w)), at least three exposures, the shortest first.
    """
    if len(bursts) < 3:
        return None
    good = np.logical_and.reduce([(each.max(0) < 0.98 * full_scale_dn) & (each.min(0) > 0) for _, each in bursts])
    if good.mean() < 0.05:  # all is clipped; the levels are then those of what is
        good = np.ones_like(good)
    exposures_s = np.array([exposure_s for exposure_s, _ in bursts])
    each_frame = [pixels[:, good].mean(1, dtype=np.float64) for _, pixels in bursts]
    levels = np.array([means.mean() for means in each_frame])
    errors = np.array([means.std(ddof=1) / len(means) ** 0.5 if len(means) > 1 else 0.0 for means in each_frame])
    slope, offset = np.polyfit(exposures_s, levels, 1)
    gain = abs(slope) * exposures_s[-1]
    worst = np.abs(levels - offset - slope * exposures_s).max() / max(gain, 1e-9)
    return Line(exposures_s, levels, errors, float(slope), float(offset), float(worst))


def too_dim(line: Line, black_dn: float, full_scale_dn: int) -> bool:
    """Whether there is no light to speak of, even at the longest exposure."""
    dark_dn = DARK * (full_scale_dn - black_dn)
    return line.levels_dn[-1] - black_dn < dark_dn and np.ptp(line.levels_dn) < dark_dn


def too_bright(line: Line, full_scale_dn: int) -> bool:
    """Whether nearly all is clipped, even at the shortest exposure."""
    return line.levels_dn[0] > 0.95 * full_scale_dn


def exposure_in_effect(line: Line, black_dn: float, full_scale_dn: int) -> Finding:
    """Whether the level follows the exposure, in a straight line."""
    span_dn, top_dn = full_scale_dn - black_dn, line.levels_dn[-1] - black_dn
    times = f"{line.exposures_s[0] * 1e3:.3g} to {line.exposures_s[-1] * 1e3:.3g} ms"
    figures = {
        "slope_dn_per_s": line.slope_dn_per_s, "worst_deviation": line.worst, "followed": line.followed(black_dn),
        "implied_black_dn": line.offset_dn, "exposures": len(line.exposures_s),
    }  # fmt: skip
    if too_dim(line, black_dn, full_scale_dn):
        text = (
            f"{times}: the light is too dim to tell ({top_dn:.1f} DN above black); take the cap off, or light the scene"
        )
        return Finding("exposure", NOTE, text, figures)
    if too_bright(line, full_scale_dn):
        return Finding("exposure", NOTE, f"{times}: too bright to tell, all is clipped; dim the light", figures)
    if line.followed(black_dn) < STUCK:
        text = (
            f"{times}: the level stays ({line.levels_dn[0]:.1f} and {line.levels_dn[-1]:.1f} DN): the exposure has no "
            "effect; switch automatic exposure off, name another back end in the address (backend=v4l2, "
            "backend=dshow), or use a camera that can be set"
        )
        return Finding("exposure", FAILS, text, figures)
    measured = (
        f"{times}: {line.slope_dn_per_s:.4g} DN/s, worst deviation from a line {line.worst:.1%}, "
        f"{line.offset_dn:.1f} DN at no exposure"
    )
    state = graded(line.worst, STRAIGHT, BENT)
    advice = "not straight; switch automatic gain, gamma and contrast off, and keep the light steady while this runs"
    if state == OK and abs(line.offset_dn - black_dn) > 0.02 * span_dn:
        state = NOTE
        advice = f"the camera says black is {black_dn:g} DN; what is at no exposure is the black level that it has"
    return Finding("exposure", state, advised(state, measured, advice), figures)


def settings_read_back(asked: list[tuple[float, float]], refusal: str | None = None) -> Finding:
    """Whether the camera does what it is asked for.

    Args:
        asked: (asked for, applied) exposures in seconds.
        refusal: why another one could not be had.
    """
    pairs = ", ".join(f"{wanted * 1e3:.3g} -> {applied * 1e3:.3g}" for wanted, applied in asked)
    worst = max(abs(applied / wanted - 1) for wanted, applied in asked)
    distinct = len({applied for _, applied in asked})
    measured = f"exposures asked for and applied (ms): {pairs}"
    figures = {"worst_mismatch": worst, "distinct_exposures": distinct}
    if distinct < 3:
        advice = (
            f"only {distinct} of them differ, so whether exposure is in effect cannot be told; switch automatic "
            "exposure off, or name another back end in the address"
        )
        return Finding("settings", FAILS, f"{measured}: {advice}", figures)
    if refusal is not None:
        return Finding("settings", NOTE, f"{measured}; another one was refused: {refusal}", figures)
    state = NOTE if worst > 0.1 else OK
    return Finding(
        "settings", state, advised(state, measured, "the camera rounds; what it applied is recorded"), figures
    )
