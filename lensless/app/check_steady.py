"""Whether the light stands still while the settings do: automatic exposure, mains flicker, drift."""

import dataclasses

import numpy as np

from lensless.app.check_finding import FAILS, NOTE, OK, Finding, changed
from lensless.app.check_levels import DARK

MOVED, SURE = 0.03, 5.0  # change within one burst that is too much, and in standard errors
FOLLOWED = 0.25  # less of what light that follows the exposure would make of it; gamma 2.2 leaves 0.7
DRIFT, SCATTER, ROWS = 0.01, 0.005, 0.005  # shares of the level
PEAK = 25.0  # times the median of the rows' spectrum: noise of some hundred rows stays below


@dataclasses.dataclass(frozen=True, eq=False)
class Steadiness:
    """How the level of frames (n, h, w) at one setting moves; all but `levels_dn` are shares of the level above black.

    `trend` from the first to the last frame by a straight line, with its standard error; `scatter` about that line;
    `rows` is the amplitude of the strongest wave over the rows that comes and goes from frame to frame, `waves` how
    many of it fit into a frame; 0 if none stands out.
    """

    levels_dn: np.ndarray
    trend: float
    trend_error: float
    scatter: float
    rows: float
    waves: int


def steadiness(pixels: np.ndarray, black_dn: float, full_scale_dn: int) -> Steadiness:
    """Needs four frames to tell; fewer are taken to be steady. In the dark all is relative to what counts as light."""
    rows = pixels.mean(2, dtype=np.float64)
    levels = rows.mean(1)
    n, level = len(levels), max(levels.mean() - black_dn, DARK * (full_scale_dn - black_dn))
    if n < 4:
        return Steadiness(levels, 0.0, 0.0, 0.0, 0.0, 0)
    at = np.linspace(-0.5, 0.5, n)
    slope = float(at @ levels / (at @ at))
    scatter = float(np.sqrt(((levels - levels.mean() - slope * at) ** 2).sum() / (n - 2)))
    error = scatter / float(np.sqrt(at @ at))
    amplitude, waves = _wave(rows, black_dn, level)
    return Steadiness(levels, slope / level, error / level, scatter / level, amplitude, waves)


def _wave(rows: np.ndarray, black_dn: float, level_dn: float) -> tuple[float, int]:
    """The strongest wave over rows (n, h) that is not in all frames alike: amplitude as a share, and its frequency."""
    mean = rows.mean(0)
    light = np.maximum(mean - black_dn, 0.1 * level_dn)
    change = (rows - mean) / light
    change -= change.mean(1, keepdims=True)
    power = (np.abs(np.fft.rfft(change, axis=1)) ** 2).mean(0)[1:]
    strongest = int(power.argmax())
    if len(power) < 8 or power[strongest] < PEAK * np.median(power):
        return 0.0, 0
    return float(2 * np.sqrt(power[strongest]) / rows.shape[1]), strongest + 1


def automatic_exposure(bursts: list[Steadiness], followed: float | None) -> Finding:
    """Whether something turns the level by itself.

    Args:
        bursts: at one setting each; those right after a change tell most.
        followed: `Line.followed` of the series of exposures; None where none could be asked for, or none could tell.
    """
    moved = max(bursts, key=lambda one: abs(one.trend))
    figures = {"largest_change": moved.trend, "followed": followed}
    sure = abs(moved.trend) > SURE * moved.trend_error
    if abs(moved.trend) > MOVED and sure:
        text = (
            f"the level changes by {changed(moved.trend, 1)} within {len(moved.levels_dn)} frames of one setting: "
            "automatic exposure or gain is on, or the light is not steady; switch them off (on Linux: v4l2-ctl "
            "--list-ctrls says their names), and keep people and daylight away"
        )
        return Finding("automatic exposure", FAILS, text, figures)
    measured = f"largest change within frames of one setting {changed(moved.trend)}"
    if followed is None:
        return Finding("automatic exposure", NOTE, f"{measured}; whether it is off cannot be told", figures)
    if followed < FOLLOWED:
        text = f"the level follows the exposure to {followed:.0%} only: something sets it by itself; switch it off"
        return Finding("automatic exposure", FAILS, text, figures)
    return Finding("automatic exposure", OK, f"off: {measured}, and the level follows the exposure", figures)


def steady_light(one: Steadiness, exposure_s: float) -> Finding:
    """Mains flicker and slow drift, in the frames as the camera was found."""
    figures = {"trend": one.trend, "scatter": one.scatter, "row_amplitude": one.rows, "row_waves": one.waves}
    measured = (
        f"level scatters by {one.scatter:.2%} and drifts by {changed(one.trend)} over {len(one.levels_dn)} frames"
    )
    if one.rows > ROWS or one.scatter > SCATTER:
        bands = f"; bands over the rows of {one.rows:.1%}, {one.waves} to a frame" if one.rows > ROWS else ""
        text = (
            f"{measured}{bands}: the light flickers, or something in the picture moves; use a lamp on direct "
            "current, or an exposure that is a multiple of 10 ms (50 Hz mains) or 8.33 ms (60 Hz); now "
            f"{exposure_s * 1e3:.4g} ms"
        )
        return Finding("steady light", NOTE, text, figures)
    if abs(one.trend) > DRIFT and abs(one.trend) > SURE * one.trend_error:
        text = f"{measured}: the light drifts; let lamp and camera warm up for some minutes, and keep daylight away"
        return Finding("steady light", NOTE, text, figures)
    return Finding("steady light", OK, measured, figures)
