"""The transfer matrix: frames of known patterns in, the light that each point of the display sends to each pixel out.

A frame of pattern p (N points, 0 or 1) shows

    y = background + M p + noise

The background is the sensor's dark signal and the light of a black display; M is what a point brings when it is lit.
With the patterns of all K frames as rows of P, [background, M] = pinv([1, P]) Y: least squares, pixel by pixel, one
fixed operator W for all of them. A frame's noise variance v then gives the entry (i, j) the variance

    var M_ij = sum_k W_jk^2 v_ik

Nothing here takes the sensor's dark frame: the background holds it.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable

import numpy as np

from calibration.patterns import Patterns
from hardware.errors import CalibrationMismatch

_PIXELS_AT_ONCE = 4096
_WORST_CONDITION = 1e4


@dataclasses.dataclass(frozen=True, eq=False)
class Decoded:
    """A measured matrix.

    Args:
        matrix_dn: (pixels, points) float32: digital numbers that a lit point adds.
        background_dn: (pixels,) float32: of a black display.
        noise_dn: (pixels,) float32: standard error of an entry of that row, mean over the points.
        column_noise_dn: (points,) float32: of an entry of that column, mean over the pixels.
        residual: chi^2 per degree of freedom of what is left of the frames, each pattern's, (K,); about 1 where frames
            hold noise alone, far above where one is of another pattern.
        places: (points,) flat indices of the points.
    """

    matrix_dn: np.ndarray
    background_dn: np.ndarray
    noise_dn: np.ndarray
    column_noise_dn: np.ndarray
    residual: np.ndarray
    places: np.ndarray

    @property
    def relative_error(self) -> float:
        """Expected relative error of the matrix (Frobenius norm), from the noise of the frames."""
        total = float(np.square(self.matrix_dn, dtype=np.float64).sum())
        noise = float(np.square(self.noise_dn, dtype=np.float64).sum()) * self.matrix_dn.shape[1]
        return math.sqrt(noise / max(total - noise, 1e-30))


def decode(
    patterns: Patterns, frames: np.ndarray, variance: np.ndarray | Callable[[np.ndarray], np.ndarray],
    black: np.ndarray | None = None, black_variance: np.ndarray | float = 0.0,
) -> Decoded:  # fmt: skip
    """Solve for the matrix.

    Args:
        patterns: which were shown.
        frames: (K, pixels) mean frame of each pattern, DN, light that drifts already taken out.
        variance: of those means, DN^2, (K, pixels); or what gives it from frames (…, pixels).
        black: (pixels,) mean frame of a black display, where that was shown besides; needed by `raster` and `points`.
        black_variance: of that mean, DN^2.

    Raises:
        CalibrationMismatch: patterns that leave points undetermined, or frames that do not fit them.
    """
    if frames.shape[0] != len(patterns):
        raise CalibrationMismatch(f"transfer matrix: {len(frames)} frames for {len(patterns)} patterns")
    places = np.arange(math.prod(patterns.shape)) if patterns.places is None else patterns.places
    operator, design = decoder(patterns, places, black is not None)
    shown = frames if black is None else np.concatenate([black[None], frames])
    pixels = frames.shape[1]
    matrix, background = np.empty((pixels, len(places)), np.float32), np.empty(pixels, np.float32)
    noise2, column2 = np.empty(pixels), np.zeros(len(places))
    left, of_noise = np.zeros(len(shown)), np.zeros(len(shown))
    for begin in range(0, pixels, _PIXELS_AT_ONCE):
        part = slice(begin, begin + _PIXELS_AT_ONCE)
        y = shown[:, part].astype(np.float64)
        v = _variance(variance, y if black is None else y[1:], part)
        if black is not None:
            v = np.concatenate([np.broadcast_to(black_variance, (1, pixels))[:, part], v])
        found = operator @ y
        background[part], matrix[part] = found[0], found[1:].T
        of_entries = (operator[1:] ** 2) @ v
        noise2[part] = of_entries.mean(0)
        column2 += of_entries.sum(1)
        left += np.square(y - design @ found).sum(1)
        of_noise += v.sum(1)
    of_patterns = slice(0 if black is None else 1, None)
    rest = np.eye(len(design)) - design @ operator  # what a fit leaves of each frame's noise
    # Where the fit uses a frame up, as it does one point at a time, nothing is left that could tell.
    told = np.diag(rest) > 1e-6
    residual = np.where(told, left / np.where(told, rest**2 @ of_noise, 1.0), 1.0)[of_patterns]
    return Decoded(
        matrix, background, np.sqrt(noise2).astype(np.float32), np.sqrt(column2 / pixels).astype(np.float32),
        residual, places,
    )  # fmt: skip


def decoder(patterns: Patterns, places: np.ndarray, with_black: bool) -> tuple[np.ndarray, np.ndarray]:
    """The operator W (1 + points, K) of least squares, and the patterns with a column of ones, (K, 1 + points).

    Raises:
        CalibrationMismatch: patterns that do not tell all points and the background apart.
    """
    design = np.concatenate([np.ones((len(patterns), 1)), patterns.weights[:, places]], 1)
    if with_black:
        design = np.concatenate([np.eye(1, design.shape[1]), design])
    gram = design.T @ design
    values = np.linalg.eigvalsh(gram)
    if design.shape[0] < design.shape[1] or values[0] <= values[-1] / _WORST_CONDITION**2:
        raise CalibrationMismatch(
            f"transfer matrix: {len(design)} frames of {patterns.kind} patterns do not tell {len(places)} points and "
            "the background apart; show black besides, or more patterns"
        )
    return np.linalg.solve(gram, design.T), design


def bound(
    patterns: Patterns, variance_of: Callable[[np.ndarray], np.ndarray], frames: np.ndarray,
    black: np.ndarray | None = None, black_frames: int = 1, rows: Iterable[int] | None = None,
) -> np.ndarray:  # fmt: skip
    """The least variance that any unbiased estimate of the matrix can have: (rows, points), in DN^2 if the variance is.

        covariance of a row i >= (P^T diag(1 / v_i) P)^-1                        (Cramer and Rao; Gauss and Markov)

    Args:
        patterns: which were shown.
        variance_of: of one frame, from its noiseless numbers.
        frames: (K, pixels) noiseless frames.
        black: (pixels,) noiseless frame of a black display, shown besides in `black_frames` frames.
        rows: pixels to look at; all of them by default.
    """
    places = np.arange(math.prod(patterns.shape)) if patterns.places is None else patterns.places
    _, design = decoder(patterns, places, black is not None)
    least = []
    for row in range(frames.shape[1]) if rows is None else rows:
        v = variance_of(frames[:, row])
        if black is not None:
            v = np.concatenate([variance_of(black[row : row + 1]) / black_frames, v])
        information = (design / v[:, None]).T @ design
        least.append(np.diag(np.linalg.inv(information))[1:])
    return np.array(least)


def _variance(variance, frames: np.ndarray, part: slice) -> np.ndarray:
    return variance(frames) if callable(variance) else np.asarray(variance[:, part], np.float64)
