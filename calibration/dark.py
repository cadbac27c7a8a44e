"""The dark frame: what the sensor says without light."""

from collections.abc import Iterable

import numpy as np

from calibration.stack import mean_and_standard_error
from hardware.frame import Frame


def measure_dark(frames: Iterable[Frame]) -> tuple[np.ndarray, np.ndarray]:
    """Mean dark frame and its standard error.

    Args:
        frames: two or more (100 is a good number) of one camera and setting, with the sensor covered.

    Returns:
        (H, W) float32 mean in DN, black level included, and (H, W) float32 standard error of it.

    Raises:
        CalibrationMismatch: frames of different cameras or settings, or fewer than two.
    """
    mean, standard_error, _, _ = mean_and_standard_error(frames)
    return mean.astype(np.float32), standard_error.astype(np.float32)
