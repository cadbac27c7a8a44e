"""What is known of a matrix besides its frames: it is smooth enough to have a low rank, a round rod looks round, and a
design says about what it is.

Each step is told how large the noise is, and goes only as far as that allows: where the matrix is what is expected,
noise is taken away; where it is not, little happens.
"""

import dataclasses
import math

import numpy as np

from hardware.errors import ConfigurationError

_HARDLY_SYMMETRIC = 0.3  # from this share on the part that is not symmetric is kept almost whole, with its noise


@dataclasses.dataclass(frozen=True, eq=False)
class LowRank:
    """A matrix after its singular values were shrunk.

    Args:
        matrix: as it came in, with less noise.
        rank: singular values that are left.
        lost: squared error that is expected of it, in units of the noise of one entry.
        signal: what the matrix holds beyond noise, in the same unit.
    """

    matrix: np.ndarray
    rank: int
    lost: float
    signal: float

    @property
    def error(self) -> float:
        """Expected relative error."""
        return math.sqrt(min(1.0, self.lost / self.signal)) if self.signal > 0 else 1.0


def low_rank(matrix: np.ndarray, noise: np.ndarray | float) -> LowRank:
    """The matrix with its singular values shrunk to lose least.

    For values y of a matrix (m, n) of signal and noise of standard deviation 1, in units of sqrt(n), beta = m / n <= 1,

        shrunk(y) = sqrt((y^2 - beta - 1)^2 - 4 beta) / y   above 1 + sqrt(beta), else 0

    loses least in the Frobenius norm (Gavish and Donoho 2017, doi:10.1109/TIT.2017.2653801). Rows are brought to one
    noise level before. With x the true value, x^2 = (y^2 - beta - 1 + sqrt((y^2 - beta - 1)^2 - 4 beta)) / 2, each
    that is left costs x^2 - shrunk^2, and the others what they hold beyond noise.

    Args:
        matrix: (pixels, points).
        noise: standard error of the entries of each row, (pixels,), or one number; above 0.

    Raises:
        ConfigurationError: noise that is not above 0.
    """
    scale = _checked(noise, len(matrix)).astype(np.float32)[:, None]
    tall = matrix.astype(np.float32) / scale
    flipped = tall.shape[0] < tall.shape[1]
    tall = tall.T if flipped else tall
    m, n = tall.shape
    beta = n / m
    # Through the Gram matrix: its noise floor lies far above what that loses.
    values, vectors = np.linalg.eigh((tall.T @ tall).astype(np.float64))
    y = np.sqrt(values.clip(0) / m)
    kept = y > 1 + math.sqrt(beta)
    signal = float((y**2).sum()) - n  # in units of m, without the noise's share
    if not kept.any():
        return LowRank(np.zeros_like(matrix), 0, max(0.0, signal) * m, max(0.0, signal) * m)
    y, vectors = y[kept], vectors[:, kept]
    root = np.sqrt((y**2 - beta - 1) ** 2 - 4 * beta)
    shrunk, true2 = root / y, (y**2 - beta - 1 + root) / 2
    lost = float((true2 - shrunk**2).sum()) + max(0.0, signal - float(true2.sum()))
    found = (tall @ vectors.astype(tall.dtype)) @ ((shrunk / y)[:, None] * vectors.T).astype(tall.dtype)
    found = (found.T if flipped else found) * scale
    return LowRank(found.astype(matrix.dtype), int(kept.sum()), lost * m, signal * m)


def symmetric(
    matrix: np.ndarray, noise: np.ndarray | float, scene_shape: tuple[int, int], sensor_shape: tuple[int, int]
) -> tuple[np.ndarray, float]:
    """The matrix drawn towards its mean over the symmetries of the square, as far as its noise allows; and how far.

    A scene that is turned by a quarter or mirrored gives, through a round rod that looks straight at it, the same
    frame, turned or mirrored. With S the mean over the symmetries both planes have, the part A - S A is noise of known
    size and what the rig lacks of being symmetric; it is kept to the share (James and Stein 1961)

        1 - (its expected noise) / |A - S A|^2

    Args:
        matrix: (pixels, points), row-major in both planes.
        noise: standard error of the entries of each row, (pixels,), or one number.
        scene_shape, sensor_shape: rows and columns.
    """
    noise = _checked(noise, len(matrix))
    cube = matrix.reshape(*sensor_shape, *scene_shape)
    square = scene_shape[0] == scene_shape[1] and sensor_shape[0] == sensor_shape[1]
    turns = range(4) if square else (0, 2)
    moved = [
        np.rot90(np.rot90(_mirrored(cube, mirror), turn, (0, 1)), turn, (2, 3))
        for turn in turns for mirror in (False, True)
    ]  # fmt: skip
    mean = np.mean(moved, 0).reshape(matrix.shape)
    rest = matrix - mean
    expected = (1 - 1 / len(moved)) * float(np.square(noise).sum()) * matrix.shape[1]
    energy = float(np.square(rest, dtype=np.float64).sum())
    kept = max(0.0, 1 - expected / energy) if energy else 0.0
    return (mean + kept * rest).astype(matrix.dtype), kept


def _mirrored(cube: np.ndarray, mirror: bool) -> np.ndarray:
    return cube[:, ::-1, :, ::-1] if mirror else cube


@dataclasses.dataclass(frozen=True, eq=False)
class Regularised:
    """The matrix as it is best used.

    Args:
        matrix: (pixels, points).
        way: "design", a design with what the frames say beyond it; "symmetric"; or "low rank".
        rank: of what was added to the design, or of the matrix.
        asymmetry: share of the unsymmetric part that symmetry leaves; None where it was not asked.
        error: relative error that is expected.
    """

    matrix: np.ndarray
    way: str
    rank: int
    asymmetry: float | None
    error: float


def regularised(
    matrix: np.ndarray, noise: np.ndarray | float, scene_shape: tuple[int, int], sensor_shape: tuple[int, int], *,
    round_rod: bool = False, design: np.ndarray | None = None,
) -> Regularised:  # fmt: skip
    """Every way that may serve, and of them the one that is expected to lose least.

    Args:
        matrix, noise: see `low_rank`.
        scene_shape, sensor_shape: see `symmetric`.
        round_rod: whether symmetry may be expected.
        design: what the matrix should be, (pixels, points), with the response that pixels have in it.
    """
    noise = _checked(noise, len(matrix))
    asymmetry, ways = None, []
    if round_rod:
        drawn, asymmetry = symmetric(matrix, noise, scene_shape, sensor_shape)
        if asymmetry < _HARDLY_SYMMETRIC:
            moves = 8 if scene_shape[0] == scene_shape[1] and sensor_shape[0] == sensor_shape[1] else 4
            less = math.sqrt(1 / moves + (1 - 1 / moves) * asymmetry**2)
            found = low_rank(drawn, noise * less)
            ways.append(("symmetric", found.matrix, found.rank, found.lost * less**2))
    found = low_rank(matrix, noise)
    ways.append(("low rank", found.matrix, found.rank, found.lost))
    if design is not None:
        found = low_rank(matrix - design, noise)
        # What chance may hide of it, and what the response of each pixel cost to find, are lost besides.
        ways.append(
            ("design", design + found.matrix, found.rank, found.lost + math.sqrt(2 * matrix.size) + len(matrix))
        )  # fmt: skip
    way, best, rank, lost = min(ways, key=lambda one: one[3])
    power = np.square(matrix / noise[:, None], dtype=np.float64).sum() - matrix.size
    error = math.sqrt(min(1.0, lost / power)) if power > 0 else 1.0
    return Regularised(best.astype(matrix.dtype), way, rank, asymmetry, error)


def _checked(noise: np.ndarray | float, rows: int) -> np.ndarray:
    noise = np.broadcast_to(np.asarray(noise, np.float64), (rows,))
    if not (np.isfinite(noise).all() and (noise > 0).all()):
        raise ConfigurationError("regularise: the noise of some rows is not above 0; say how large it is")
    return noise
