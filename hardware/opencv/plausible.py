"""Is it likely? What frames themselves say about the claims of a driver."""

from typing import Literal

import numpy as np

Verdict = Literal["followed", "contradicted", "undecided"]

FACTOR_TO_JUDGE = 1.5
DARK, BRIGHT = 0.1, 0.7
CLIPPED_SHARE = 0.05
NOISY_SHARE = 0.05


def exposure_followed(before: np.ndarray, after: np.ndarray, factor: float, full_scale_dn: int) -> Verdict:
    """Whether the mean level went along with an exposure that was changed by `factor`, in the same light.

    A linear sensor without offset changes by the factor, one behind a gamma of 2.2 by its 0.45th power. An offset of
    black, or stray noise, only shrinks the ratio of the means; so that at least a quarter of what a gamma leaves is
    asked for, and at most half as much again as the factor. A level below a tenth of full scale may be mostly offset,
    one near full scale is clipped: then nothing can be said.

    Args:
        before, after: pixels (H, W) or (H, W, C), digital numbers.
        factor: new exposure by old one, above 0; within 1/1.5 to 1.5 nothing is judged.
    """
    if 1 / FACTOR_TO_JUDGE < factor < FACTOR_TO_JUDGE:
        return "undecided"
    short, long = (before, after) if factor > 1 else (after, before)
    # What should be the brighter one tells of saturation, whichever is the brighter one tells of darkness.
    clipped = max(float((pixels >= full_scale_dn).mean()) for pixels in (short, long))
    levels = float(short.mean()) / full_scale_dn, float(long.mean()) / full_scale_dn
    if clipped > CLIPPED_SHARE or max(levels) > BRIGHT or max(levels) < DARK:
        return "undecided"
    up = max(factor, 1 / factor)
    ratio = levels[1] / max(levels[0], 1e-9)
    likely = 1 + 0.25 * (up**0.4 - 1) <= ratio <= 1.5 * up
    return "followed" if likely else "contradicted"


def carries_noise(pixels: np.ndarray) -> bool:
    """Whether two such frames in a row cannot be equal: enough pixels lie off the lowest and the highest number.

    A black or clipped frame may well come twice.
    """
    return float(((pixels > pixels.min()) & (pixels < pixels.max())).mean()) > NOISY_SHARE
