"""Where things of the display lie in a reconstruction: a homography, and how well it fits.

(u, v, 1) ~ H (x, y, 1)                 x, y on the display, u, v in the reconstruction, pixels
"""

import dataclasses

import numpy as np

from hardware.errors import CalibrationMismatch

_LEAST_POINTS = 4


@dataclasses.dataclass(frozen=True, eq=False)
class Alignment:
    """Args: `homography` (3, 3), display -> reconstruction; `error_px` root mean square of what it leaves, in pixels of
    the reconstruction; `worst_px`; `used` (n,) bool, points that it was fitted to; others were taken for outliers.
    """

    homography: np.ndarray
    error_px: float
    worst_px: float
    used: np.ndarray

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(n, 2) points (column x, row y) of the display, in the reconstruction."""
        return _projected(self.homography, points)

    def inverse(self, points: np.ndarray) -> np.ndarray:
        """The other way round."""
        return _projected(np.linalg.inv(self.homography), points)


def align(display: np.ndarray, seen: np.ndarray, seed: int = 0, tolerance_px: float = 2.0) -> Alignment:
    """Fit a homography to points and where they were seen; robust against some that are wrong.

    Args:
        display, seen: (n, 2) points as (column, row); n at least 4, not all on a line.
        tolerance_px: what is further off is an outlier.

    Raises:
        CalibrationMismatch: too few points, or no homography that most of them obey.
    """
    from skimage.measure import ransac
    from skimage.transform import ProjectiveTransform

    display, seen = np.asarray(display, float), np.asarray(seen, float)
    if len(display) < _LEAST_POINTS or display.shape != seen.shape:
        raise CalibrationMismatch(
            f"alignment: {len(display)} points shown, {len(seen)} seen; expected the same, {_LEAST_POINTS} or more"
        )
    spread = np.linalg.svd(display - display.mean(0), compute_uv=False)
    if spread[-1] < 1e-3 * spread[0]:
        raise CalibrationMismatch("alignment: all points lie on one line; show some that span the display")
    with np.errstate(divide="ignore", invalid="ignore"):  # of four points on a line
        model, used = ransac(
            (display, seen), ProjectiveTransform, min_samples=4, residual_threshold=tolerance_px, max_trials=500,
            rng=seed,
        )  # fmt: skip
    if used is None or used.sum() < max(_LEAST_POINTS, 0.5 * len(display)):
        count = 0 if used is None else int(used.sum())
        raise CalibrationMismatch(
            f"alignment: {count} of {len(display)} points obey one homography to {tolerance_px:g} pixels; expected at "
            "least half: are they seen where they are shown?"
        )
    homography = _refined(model.params / model.params[2, 2], display[used], seen[used])
    off = np.linalg.norm(_projected(homography, display[used]) - seen[used], axis=1)
    return Alignment(homography, float(np.sqrt((off**2).mean())), float(off.max()), used)


def _refined(homography: np.ndarray, display: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """With the least error in pixels, where `homography` has the least algebraic one, of four points."""
    from scipy.optimize import least_squares

    def off(eight: np.ndarray) -> np.ndarray:
        return (_projected(np.append(eight, 1.0).reshape(3, 3), display) - seen).ravel()

    return np.append(least_squares(off, homography.ravel()[:8], x_scale="jac").x, 1.0).reshape(3, 3)


def _projected(homography: np.ndarray, points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, float)
    lifted = np.concatenate([points, np.ones((len(points), 1))], 1) @ homography.T
    return lifted[:, :2] / lifted[:, 2:]
