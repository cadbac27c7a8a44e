"""From the frames of patterns to the transfer matrix in units of white, and how good it is."""

import dataclasses
from collections.abc import Callable

import numpy as np

from calibration.estimate import Estimate
from calibration.in_step import cells
from calibration.movement import Movement, fit_movement
from calibration.plan import MOST_TURNS, TURNS, Plan, Shot, agreeing, agreement, pattern_shot
from calibration.regularise import regularised
from calibration.sensor import SensorReport
from calibration.shadows import Shadows, fit_shadows
from calibration.transfer import Decoded, decode
from hardware.errors import CalibrationMismatch, ConfigurationError
from lensless.app.calibrate.moves import RodMoves
from lensless.app.calibrate.shoot import limit_for, pattern_level
from lensless.app.calibrate.taken import Taken

_WORST_FIT = 1.5  # mean residual of the frames, by what noise makes of it
_RESPONSE_STD = 0.02  # of pixels before whose matrix no lamp was taken


@dataclasses.dataclass(frozen=True, eq=False)
class MatrixReport:
    """The matrix, as it is used and as it came.

    Args:
        matrix: (pixels, points) float32, white = 1, after regularisation; nowhere negative.
        decoded: before, in DN.
        white_dn: DN above dark of the brightest pixel before a white display.
        dark_level: radiance of black, white = 1.
        noise: (pixels,) standard error of an entry before regularisation, white = 1.
        way, rank, asymmetry, error: see `Regularised`; the relative error that is expected of it.
        pose: where the rig stands, by unknown of its design; None where the design does not explain the matrix.
        shadows: of what lies above a bare sensor; None where they do not explain the matrix.
        left_out: shots of which no use was made, for they disagree with two others.
        used: shots of each pattern.
        singular_values: of what was decoded, white = 1; noise_floor: those of noise alone are below.
    """

    matrix: np.ndarray
    decoded: Decoded
    white_dn: float
    dark_level: float
    noise: np.ndarray
    way: str
    rank: int
    asymmetry: float | None
    error: float
    pose: dict[str, Estimate] | None
    shadows: Shadows | None
    left_out: int
    used: float
    singular_values: np.ndarray
    noise_floor: float

    @property
    def modes(self) -> int:
        """Singular values that stand out of the noise."""
        return int((self.singular_values > self.noise_floor).sum())


def pattern_shots(plan: Plan, taken: Taken) -> dict[int, list[Shot]]:
    """Pattern -> its shots that are there, in the order of their turns."""
    first = next(shot for shot in plan.shots if shot.pattern is not None)
    shots: dict[int, list[Shot]] = {}
    for index in range(len(plan.patterns)):
        some = (pattern_shot(plan.patterns, index, turn, first.exposure_s, first.frames) for turn in range(MOST_TURNS))
        shots[index] = [shot for shot in some if taken.has(shot)]
    return shots


def measure_matrix(
    plan: Plan, taken: Taken, sensor: SensorReport, flat: np.ndarray | float, bright: float,
    rod: RodMoves | None = None, shadow_step_px: float | None = None, watch: Callable[[int], None] = lambda count: None,
) -> MatrixReport:  # fmt: skip
    """Decode the patterns.

    Args:
        plan, taken: what was shown, and the frames.
        sensor: its dark signal and noise.
        flat: response of each pixel that frames are divided by, (H, W), or 1.
        bright: radiance of the bright display.
        rod: the design of a cannula, wherever it stands.
        shadow_step_px: of a bare sensor: how much further shadows fall for a step of one point of the display, about.
        watch: told how many places of the design were tried.

    Raises:
        CalibrationMismatch: patterns that are missing or do not agree, or frames that no matrix explains.
    """
    exposure_s = next(shot.exposure_s for shot in plan.shots if shot.pattern is not None)
    dark = sensor.dark.at(exposure_s)
    frames, counts, left_out = _frames(plan, taken, dark, flat, sensor, exposure_s, bright)
    level = pattern_level(plan.patterns.kind, bright)
    points = plan.patterns.weights.shape[1]
    black_and_bright = np.repeat(np.array([[0.0], [bright]], np.float32), points, 1)
    weights = np.concatenate([plan.patterns.weights * np.float32(level), black_and_bright])
    # What the response changes of the variance is of second order.
    decoded = decode(weights, frames, lambda y: sensor.variance(y, exposure_s), counts)
    good = ~sensor.defects.any.ravel()
    if (misfit := float(np.median(decoded.residual[:-2]))) > _WORST_FIT:
        raise CalibrationMismatch(
            f"transfer matrix: frames differ from what it says {misfit:.1f} times as much as noise makes them, limit "
            f"{_WORST_FIT}; is the display linear (--gamma), does nothing adapt, and does nothing move?"
        )
    white = decoded.background_dn + decoded.matrix_dn.sum(1)
    white_dn = float(white[good].max())
    black_share = float(decoded.background_dn[good].sum() / white[good].sum())
    scale = 1 / ((1 - black_share) * white_dn)
    matrix, noise = decoded.matrix_dn * np.float32(scale), decoded.noise_dn * scale
    matrix[~good] = 0.0  # their measurement is filled from the neighbours; see `_filled`
    posed = None if rod is None else _posed(matrix, noise, rod, watch)
    shadows = None
    if shadow_step_px is not None:
        shadows = fit_shadows(matrix, noise, plan.patterns.shape, dark.shape, shadow_step_px)
    known = posed.fitted.T if posed is not None else None if shadows is None else shadows.matrix
    done = regularised(matrix, noise, plan.patterns.shape, dark.shape, round_rod=rod is not None, design=known)
    pose = posed.moved if posed is not None and done.way == "design" else None
    shadows = shadows if done.way == "design" else None
    found = _filled(done.matrix.clip(min=0), sensor.defects.any)
    values, floor = _spectrum(matrix, noise)
    return MatrixReport(
        found, decoded, white_dn, black_share, noise, done.way, done.rank, done.asymmetry, done.error, pose, shadows,
        left_out, float(counts[:-2].mean()), values, floor,
    )  # fmt: skip


def _posed(matrix: np.ndarray, noise: np.ndarray, moves: RodMoves, watch: Callable[[int], None]) -> Movement | None:
    """Where the rig of that design stands, by its measured matrix; None if it cannot stand where it is designed to."""
    try:
        return fit_movement(
            matrix.T, np.square(noise)[None], lambda place: moves.matrix(place).T, moves.unknowns, gain_prior=1.0,
            response_std=_RESPONSE_STD, tried=watch,
        )  # fmt: skip
    except ConfigurationError:  # one of its unknowns can go to neither side
        return None


def _frames(
    plan: Plan, taken: Taken, dark: np.ndarray, flat: np.ndarray | float, sensor: SensorReport, exposure_s: float,
    bright: float,
) -> tuple[np.ndarray, np.ndarray, int]:  # fmt: skip
    """Mean frames above dark (K + 2, pixels) of all patterns, of black and of bright, how many frames each is of, and
    how many shots were left out. The light's drift is taken out.
    """
    black, lit, scale_at, looks = _light(taken, dark, flat)
    pixels, count = dark.size, len(plan.patterns)
    frames, counts = np.empty((count + 2, pixels), np.float32), np.zeros(count + 2)
    cell_share = pixels / cells(dark).size
    left_out = 0
    for index, shots in pattern_shots(plan, taken).items():
        if len(shots) < TURNS:
            raise CalibrationMismatch(
                f"transfer matrix: pattern {index} was taken {len(shots)} times, expected {TURNS}; give the command "
                "again, which takes what is missing"
            )
        means = [np.mean([frame.pixels for frame in taken.frames(shot)], 0, dtype=np.float64) for shot in shots]
        light = [(mean - dark) / flat for mean in means]
        coarse = [cells(one) for one in light]
        variance = sensor.variance(np.mean(coarse, 0), exposure_s) / cell_share / shots[0].frames
        kept = agreeing(agreement(coarse, variance), limit_for(coarse[0].size))
        if not kept.any():
            raise CalibrationMismatch(
                f"transfer matrix: no two of {len(shots)} frames of pattern {index} agree; calibrate into a new folder"
            )
        left_out += int((~kept).sum())
        drifted = [
            (one.ravel() - black) / scale_at(taken.place(shot)) + black
            for one, shot, good in zip(light, shots, kept, strict=True) if good
        ]  # fmt: skip
        frames[index] = np.mean(drifted, 0)
        counts[index] = sum(shot.frames for shot, good in zip(shots, kept, strict=True) if good)
    frames[count], frames[count + 1] = black, lit
    counts[count:] = looks
    return frames, counts, left_out


def _light(taken: Taken, dark: np.ndarray, flat: np.ndarray | float):
    """Mean frames of black and of bright above dark; the light's strength at a place of a run, 1 at the first look; and
    how many frames of black there are.
    """
    blacks, rises, places = [], [], []
    for run in range(taken.runs):
        for look in taken.looks(run):
            black, bright = (
                np.mean([f.pixels for f in some], 0, dtype=np.float64) for some in (look.black, look.bright)
            )
            blacks.append(((black - dark) / flat).ravel())
            rises.append(((bright - black) / flat).ravel())
            places.append((run, look.position))
    strength = np.array([float(rise.mean()) for rise in rises]) / float(rises[0].mean())
    black = np.mean(blacks, 0)
    lit = black + np.mean([rise / one for rise, one in zip(rises, strength, strict=True)], 0)

    def scale_at(place: tuple[int, float]) -> float:
        run, position = place
        here = [at for at, (number, _) in enumerate(places) if number == run]
        if not here:
            return 1.0
        return float(np.interp(position, [places[at][1] for at in here], strength[here]))

    frames = sum(len(look.black) for run in range(taken.runs) for look in taken.looks(run))
    return black.astype(np.float32), lit.astype(np.float32), scale_at, frames


def _filled(matrix: np.ndarray, defects: np.ndarray) -> np.ndarray:
    """The rows of defective pixels as measurements have them: the mean of their good neighbours."""
    if not defects.any():
        return matrix
    from calibration.fill import fill_masked

    planes = matrix.reshape(*defects.shape, -1)
    filled = np.stack([fill_masked(planes[..., j], defects) for j in range(planes.shape[-1])], -1)
    return filled.reshape(matrix.shape)


def _spectrum(matrix: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, float]:
    """Singular values, and the largest that noise alone has: sigma (sqrt(m) + sqrt(n)), rows being of one noise."""
    m, n = matrix.shape
    gram = matrix.T.astype(np.float64) @ matrix if m >= n else matrix.astype(np.float64) @ matrix.T
    values = np.sqrt(np.linalg.eigvalsh(gram)[::-1].clip(0))
    floor = float(np.sqrt(np.square(noise, dtype=np.float64).mean())) * (np.sqrt(m) + np.sqrt(n))
    return values, floor
