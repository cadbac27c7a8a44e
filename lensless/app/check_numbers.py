"""What the digital numbers themselves tell: a converter uses all of them, arithmetic after it leaves gaps."""

import dataclasses

import numpy as np

from lensless.app.check_finding import FAILS, NOTE, OK, Finding

WELL_FILLED = 25  # pixels at a number, from which on an empty one beside it is no chance
NOISE_STEPS = 0.5  # temporal noise that fills every number between two others, and smooths their counts
GAPS, COMB = 0.01, 0.15
LEAST = 8  # numbers that have to be looked at


@dataclasses.dataclass(frozen=True, eq=False)
class Numbers:
    """Which digital numbers occur.

    `counts` (full scale + 1,) of all frames; all numbers that occur are `first` and multiples of `step` above it. Among
    the `looked_at` multiples between well-filled ones, `gaps` is the share that does not occur, and `comb` how far the
    counts are from smooth, beyond chance. `noise_steps` is the temporal noise of the quietest pixels, in steps.
    """

    counts: np.ndarray
    step: int
    first: int
    looked_at: int
    gaps: float
    comb: float
    noise_steps: float


def count_numbers(pixels: np.ndarray, full_scale_dn: int) -> Numbers:
    """Count the digital numbers of frames (n, h, w) of one setting."""
    counts = np.bincount(pixels.ravel(), minlength=full_scale_dn + 1)
    used = np.flatnonzero(counts)
    inner = used[(used > 0) & (used < full_scale_dn)]
    step = int(np.gcd.reduce(np.diff(inner))) if len(inner) > 2 else 1
    first = int(inner[0] % step) if len(inner) else 0
    noise_steps = _quiet_noise_dn(pixels) / step
    inner_counts = counts[first::step][1:-1]
    looked_at, gaps = _gaps(inner_counts, max(1, int(noise_steps)))
    # Per frame: all show one scene, whose own roughness does not average out.
    return Numbers(counts, step, first, looked_at, gaps, _comb(inner_counts / len(pixels)), noise_steps)


def _quiet_noise_dn(pixels: np.ndarray) -> float:
    """Of the quietest tenth of the pixels that change at all: the dark ones, between which gaps are no wonder."""
    if len(pixels) < 2:
        return 0.0
    steps = np.diff(pixels.astype(np.float32), axis=0)
    steps -= steps.mean((1, 2), keepdims=True)  # of a light that changes, or of automatic exposure
    variance = np.where((pixels.max(0) > pixels.min(0)), (steps**2).mean(0) / 2, 0)
    moving = variance[variance > 0]
    return float(np.sqrt(np.percentile(moving, 10))) if moving.size else 0.0


def _gaps(counts: np.ndarray, reach: int) -> tuple[int, float]:
    """How many numbers have a well-filled one on both sides within the reach of the noise, and how many are empty."""
    filled = np.pad(counts >= WELL_FILLED, reach)
    near = [filled[reach + by : len(filled) - reach + by] for by in range(-reach, reach + 1)]
    between = np.any(near[:reach], axis=0) & np.any(near[reach + 1 :], axis=0)
    looked_at = int(between.sum())
    return looked_at, float((counts[between] == 0).mean()) if looked_at else 0.0


def _comb(each: np.ndarray) -> float:
    """Rms deviation of the counts' logarithm from the cubic through four neighbours, less what chance makes of it.

    The logarithm of a bell is a parabola, however narrow. The median, because a valley between two bells is a kink.
    """
    parts = np.lib.stride_tricks.sliding_window_view(each, 5) if len(each) >= 5 else np.empty((0, 5))
    parts = parts[(parts >= WELL_FILLED).all(1)]
    if len(parts) < LEAST:
        return 0.0
    weights = np.array([1, -4, 6, -4, 1]) / 6
    deviation = (np.log(parts) @ weights) ** 2
    chance = (weights**2 / parts).sum(1)
    return float(np.sqrt(max(np.median(deviation) - np.median(chance) * 0.455, 0.0) / 0.455))


def all_numbers_used(numbers: Numbers, bit_depth: int) -> Finding:
    """Gaps, combs and unused bits."""
    figures = {
        "step_dn": numbers.step, "gaps_share": numbers.gaps, "comb_rms": numbers.comb,
        "numbers_looked_at": numbers.looked_at, "noise_steps": numbers.noise_steps,
    }  # fmt: skip
    bits = bit_depth - int(np.log2(numbers.step)) if numbers.step > 1 else bit_depth
    if numbers.step > 1:
        lost = f"only every {numbers.step}th number occurs: {bits} bits in a frame that says {bit_depth}"
        if numbers.step & (numbers.step - 1) or bits <= 8:
            text = f"{lost}; they were stretched on the way: ask for the sensor's own format (fourcc, pixel_format)"
            return Finding("numbers", FAILS, text, figures)
        full = 2**bit_depth - numbers.step
        text = (
            f"{lost}, shifted up: nothing is lost, but full scale is {full} DN; calibrate with clip_dn={full}, so that "
            "clipped pixels are recognised"
        )
        return Finding("numbers", NOTE, text, figures)
    if numbers.looked_at < LEAST or numbers.noise_steps < NOISE_STEPS:
        few = numbers.looked_at < LEAST
        why = "too few numbers occur often enough" if few else "the noise is too small to fill them"
        text = f"cannot be told: {why}; light the sensor unevenly, or take a brighter scene"
        return Finding("numbers", NOTE, text, figures)
    measured = f"{numbers.looked_at} numbers looked at: {numbers.gaps:.1%} never occur, unevenness {numbers.comb:.0%}"
    if (numbers.gaps > GAPS and numbers.gaps * numbers.looked_at >= 2) or numbers.comb > COMB:
        text = (
            f"{measured}: a table or a factor was applied after the converter (digital gain, gamma, contrast); set "
            "gain to its lowest, gamma to 1 and contrast to neutral, or ask for a raw format"
        )
        return Finding("numbers", FAILS, text, figures)
    return Finding("numbers", OK, measured, figures)
