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
        residual: what is left of each picture's frame by what noise would leave, squares, (K,); about 1 where frames
            hold noise alone, far above where one is of another picture.
    """

    matrix_dn: np.ndarray
    background_dn: np.ndarray
    noise_dn: np.ndarray
    column_noise_dn: np.ndarray
    residual: np.ndarray

    @property
    def relative_error(self) -> float:
        """Expected relative error of the matrix (Frobenius norm), from the noise of the frames."""
        total = float(np.square(self.matrix_dn, dtype=np.float64).sum())
        noise = float(np.square(self.noise_dn, dtype=np.float64).sum()) * self.matrix_dn.shape[1]
        return math.sqrt(noise / max(total - noise, 1e-30))


def decode(
    weights: np.ndarray,
    frames: np.ndarray,
    variance: np.ndarray | Callable[[np.ndarray], np.ndarray],
    counts: np.ndarray | None = None,
) -> Decoded:
    """Solve for the matrix.

    Args:
        weights: (K, points) radiance of each point in each picture: patterns, and black and white besides.
        frames: (K, pixels) mean frame of each picture, DN, light that drifts already taken out.
        variance: of those means, DN^2, (K, pixels); or what gives it from frames of one picture (..., pixels), each
            of one frame.
        counts: (K,) frames that each mean is of; 1 by default.

    Raises:
        CalibrationMismatch: pictures that leave points undetermined, or another number of frames.
    """
    if len(frames) != len(weights):
        raise CalibrationMismatch(f"transfer matrix: {len(frames)} frames of {len(weights)} pictures")
    counts = np.ones(len(weights)) if counts is None else np.asarray(counts, float)
    operator, design = decoder(weights, counts)
    pixels, points = frames.shape[1], weights.shape[1]
    matrix, background = np.empty((pixels, points), np.float32), np.empty(pixels, np.float32)
    noise2, column2 = np.empty(pixels), np.zeros(points)
    left, of_noise = np.zeros(len(weights)), np.zeros(len(weights))
    for begin in range(0, pixels, _PIXELS_AT_ONCE):
        part = slice(begin, begin + _PIXELS_AT_ONCE)
        y = frames[:, part].astype(np.float64)
        v = variance(y) / counts[:, None] if callable(variance) else np.asarray(variance[:, part], np.float64)
        found = operator @ y
        background[part], matrix[part] = found[0], found[1:].T
        of_entries = (operator[1:] ** 2) @ v
        noise2[part] = of_entries.mean(0)
        column2 += of_entries.sum(1)
        left += np.square(y - design @ found).sum(1)
        of_noise += v.sum(1)
    rest = np.eye(len(design)) - design @ operator  # what a fit leaves of each frame's noise
    # Where the fit uses a frame up, as it does one point at a time, nothing is left that could tell.
    told = np.diag(rest) > 1e-6
    residual = np.where(told, left / np.where(told, rest**2 @ of_noise, 1.0), 1.0)
    return Decoded(
        matrix, background, np.sqrt(noise2).astype(np.float32), np.sqrt(column2 / pixels).astype(np.float32), residual
    )


def decoder(weights: np.ndarray, counts: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The operator W (1 + points, K) of least squares, and the pictures with a column of ones, (K, 1 + points).

    Raises:
        CalibrationMismatch: pictures that do not tell all points and the background apart.
    """
    design = np.concatenate([np.ones((len(weights), 1)), weights], 1).astype(np.float64)
    weighted = design if counts is None else design * np.asarray(counts, float)[:, None]
    gram = weighted.T @ design
    values = np.linalg.eigvalsh(gram)
    if len(design) < design.shape[1] or values[0] <= values[-1] / _WORST_CONDITION**2:
        raise CalibrationMismatch(
            f"transfer matrix: {len(design)} pictures do not tell {design.shape[1] - 1} points and the background "
            "apart; show black besides, or more patterns"
        )
    return np.linalg.solve(gram, weighted.T), design


def bound(
    weights: np.ndarray, frames: np.ndarray, variance_of: Callable[[np.ndarray], np.ndarray],
    counts: np.ndarray | None = None, rows: Iterable[int] | None = None,
) -> np.ndarray:  # fmt: skip
    """The least variance that an unbiased estimate of the matrix can have, (rows, points), in the unit of the frames^2.

        covariance of a row i >= (P^T diag(1 / v_i) P)^-1                        (Cramer and Rao; Gauss and Markov)

    Args:
        weights, counts: see `decode`.
        frames: (K, pixels) noiseless frames.
        variance_of: of one frame, from its noiseless numbers.
        rows: pixels to look at; all of them by default.
    """
    _, design = decoder(weights, counts)
    least = []
    for row in range(frames.shape[1]) if rows is None else rows:
        v = variance_of(frames[:, row]) / (1 if counts is None else np.asarray(counts))
        information = (design / v[:, None]).T @ design
        least.append(np.diag(np.linalg.inv(information))[1:])
    return np.array(least)
