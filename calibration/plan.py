"""Which exposures a calibration needs, and how long they take: decided, and shown, before the first one.

How many frames follows from how well a number is to be known. A variance of so many degrees of freedom is known to
sqrt(2 / dof), so with N pixels gain wants frames by

    relative error of the gain = sqrt(2 / (N (frames - 1) exposures)) * about 3       (the dimmer half hardly counts)
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from calibration.estimate import Estimate
from calibration.patterns import Patterns, pattern_set
from hardware.errors import ConfigurationError

COVERED, LIT, PATTERN, LAMP = "covered", "lit", "pattern", "lamp"
STAGES = {
    COVERED: "dark signal and current, read noise, hot and blinking pixels: the sensor is covered",
    LIT: "gain, full well, linearity, dead pixels: the display is all bright",
    LAMP: "response of each pixel: an even lamp, no optics before the sensor",
    PATTERN: "transfer matrix: one pattern after another, each twice",
}
_FIRST_ID = {COVERED: 0, LIT: 1_000, LAMP: 2_000, PATTERN: 10_000}
TURNS, MOST_TURNS = 2, 4  # each pattern is shown so often, and up to so often where two frames disagree
LONGEST_DARK_S = 2.0
_STEPS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.1, 1.6)  # of the exposure that fills a pixel
_LEVELS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)  # of a display before a fixed exposure
_GAIN_ERROR = 0.003
_DARK_FRAMES, _LAMP_FRAMES = 48, 64


@dataclasses.dataclass(frozen=True)
class Shot:
    """Frames of one light at one exposure.

    Args:
        id: of its frames in the recordings; no other shot has it.
        stage: one of `STAGES`.
        exposure_s: to ask for.
        frames: how many.
        level: of the whole display, radiance; where it shows no pattern.
        pattern: index of the pattern; None for none.
        turn: which time it is shown.
    """

    id: int
    stage: str
    exposure_s: float
    frames: int
    level: float = 0.0
    pattern: int | None = None
    turn: int = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """Args: `shots` in the order they are taken; `patterns` of the last stage, None without it."""

    shots: tuple[Shot, ...]
    patterns: Patterns | None

    def of(self, stage: str) -> list[Shot]:
        return [shot for shot in self.shots if shot.stage == stage]

    def table(self, period_s: float, settle_s: float) -> list[tuple[str, str, int, float]]:
        """Of each stage: its name, what it is for, frames, and about how many seconds it takes.

        Args:
            period_s: from frame to frame at short exposures; settle_s: lost to each change of the display.
        """
        rows = []
        for stage, purpose in STAGES.items():
            if shots := self.of(stage):
                seconds = sum(shot.frames * max(shot.exposure_s, period_s) + settle_s for shot in shots)
                rows.append((stage, purpose, sum(shot.frames for shot in shots), seconds))
        return rows


def make_plan(
    pixels: int,
    exposure_s: float,
    full_s: float | None,
    patterns: Patterns | None,
    pattern_frames: int = 1,
    lamp: bool = False,
    longest_s: float = LONGEST_DARK_S,
) -> Plan:
    """The shots of a calibration.

    Args:
        pixels: of the sensor.
        exposure_s: at which the rig is used.
        full_s: exposure at which the bright display fills a pixel; None where the camera's exposure cannot be changed:
            then the display's levels take its place, and there is no dark current and no linearity.
        patterns: for the transfer matrix; None for none.
        pattern_frames: of each pattern, each time it is shown.
        lamp: whether there will be an even lamp before the bare sensor.
        longest_s: exposure of the dark frames.

    Raises:
        ConfigurationError: numbers that make no plan.
    """
    if pattern_frames < 1 or pixels < 1 or not 0 < exposure_s < math.inf:
        raise ConfigurationError(
            f"calibration plan: {pixels} pixels, {pattern_frames} frames of a pattern, {exposure_s:g} s; expected at "
            "least 1 of each, and an exposure"
        )
    shots = []

    def add(stage: str, exposure_s: float, frames: int, level: float = 0.0) -> None:
        number = _FIRST_ID[stage] + sum(shot.stage == stage for shot in shots)
        shots.append(Shot(number, stage, exposure_s, frames, level))

    for dark_s in dark_exposures(exposure_s, longest_s) if full_s else [exposure_s]:
        add(COVERED, dark_s, _DARK_FRAMES)
    frames = lit_frames(pixels)
    if full_s:
        for step in _STEPS:
            add(LIT, float(f"{step * full_s:.4g}"), frames, 1.0)
    else:
        for level in _LEVELS:
            add(LIT, exposure_s, frames, level)
    if lamp:
        add(LAMP, exposure_s, _LAMP_FRAMES)
    if patterns is not None:
        for turn in range(TURNS):
            shots += [pattern_shot(patterns, int(k), turn, exposure_s, pattern_frames) for k in patterns.order(turn)]
    return Plan(tuple(shots), patterns)


def pattern_shot(patterns: Patterns, index: int, turn: int, exposure_s: float, frames: int) -> Shot:
    """A pattern, the `turn`-th time."""
    number = _FIRST_ID[PATTERN] + turn * len(patterns) + index
    return Shot(number, PATTERN, exposure_s, frames, pattern=index, turn=turn)


def dark_exposures(exposure_s: float, longest_s: float = LONGEST_DARK_S) -> list[float]:
    """Exposures of the covered sensor: the rig's own, and longer ones by which dark current grows."""
    count = 3 if longest_s > 1.5 * exposure_s else 0
    return [exposure_s, *(float(f"{t:.3g}") for t in np.geomspace(exposure_s, longest_s, count + 1)[1:])]


def lit_frames(pixels: int) -> int:
    """Frames of each light, so that the gain is known to 0.3 % (1 % in three standard errors)."""
    dof = 2 * (3 / _GAIN_ERROR) ** 2
    return max(8, min(64, 1 + math.ceil(dof / (pixels * len(_STEPS)))))


def choose_patterns(
    shape: tuple[int, int],
    electrons: float,
    black_electrons: float,
    floor_electrons2: float,
    most_level: float = 1.0,
    seed: int = 0,
) -> tuple[Patterns, dict[str, float]]:
    """The set that tells most in equal time, by the noise of the sensor; and the noise of an entry of each, relative.

    Points bring the light of one of N, Hadamard patterns that of half the display, both on top of black:

        raster:    variance  (floor + black + white / N) N / K
        hadamard:  variance  (floor + black + white level / 2) 4 / (K level^2)

    Args:
        shape: of the display.
        electrons: in one frame of the whole display at its white, in a bright pixel, above black.
        black_electrons: of a black display.
        floor_electrons2: variance without light: read noise, dark current, rounding.
        most_level: at which the whole display does not fill a pixel.
    """
    n = math.prod(shape)
    noise = {
        "raster": math.sqrt((floor_electrons2 + black_electrons + electrons / n) * n),
        "hadamard": math.sqrt((floor_electrons2 + black_electrons + most_level * electrons / 2) * 4) / most_level,
    }
    return pattern_set(min(noise, key=noise.__getitem__), shape, seed), noise


def agreement(cells: Sequence[np.ndarray], variance: np.ndarray) -> np.ndarray:
    """How far each two of some frames of one pattern are apart: chi^2 per cell, (n, n); about 1 for noise alone.

    One factor of light between the two is let go, as it drifts.

    Args:
        cells: (n,) of (cells,) DN above the background.
        variance: (cells,) of one, DN^2.
    """
    n = len(cells)
    apart = np.ones((n, n))
    for i in range(n):
        for j in range(i):
            a, b = cells[i], cells[j]
            factor = float((a * b / variance).sum() / max((b * b / variance).sum(), 1e-30))
            factor = min(max(factor, 0.95), 1.05)
            apart[i, j] = apart[j, i] = float(((a - factor * b) ** 2 / (variance * (1 + factor**2))).mean())
    return apart


def agreeing(apart: np.ndarray, limit: float) -> np.ndarray:
    """(n,) bool: the largest group of frames that all agree with one of them; none if no two do."""
    close = apart <= limit
    np.fill_diagonal(close, True)
    best = close[close.sum(1).argmax()]
    return best if best.sum() > 1 else np.zeros(len(apart), bool)


def relative(estimate: Estimate) -> float:
    """Error as a share of the value."""
    return abs(estimate.std / estimate.value) if estimate.value else math.inf
