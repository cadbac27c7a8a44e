"""Pixels that say nothing, filled from those around them: a fixed matrix needs a value in every place."""

import numpy as np

from hardware.errors import CalibrationMismatch


def fill_masked(y: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`y` with masked pixels replaced by the mean of their valid neighbours, of eight; read-only.

    A pixel inside a cluster has no valid neighbour; clusters are filled from their rim inwards, ring by ring.

    Args:
        y: (H, W) float32; what it holds under the mask does not matter, it may be NaN.
        mask: (H, W) bool, True where the value is to be replaced; not everywhere.

    Raises:
        CalibrationMismatch: all pixels are masked.
    """
    if mask.all():
        raise CalibrationMismatch(f"all {mask.size} pixels are clipped or defective; nothing is left to fill them from")
    y, left = np.array(y, np.float32), mask.copy()
    while left.any():
        # Few pixels are masked, so their neighbourhoods are looked up one by one instead of filtering the whole frame.
        rows, columns = np.nonzero(left)
        total, count = np.zeros(rows.size), np.zeros(rows.size)
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                r, c = rows + down, columns + right
                inside = (r >= 0) & (r < y.shape[0]) & (c >= 0) & (c < y.shape[1])
                r, c = r.clip(0, y.shape[0] - 1), c.clip(0, y.shape[1] - 1)
                valid = inside & ~left[r, c]
                total += np.where(valid, y[r, c], 0)
                count += valid
        reached = count > 0
        y[rows[reached], columns[reached]] = total[reached] / count[reached]
        left[rows[reached], columns[reached]] = False
    y.flags.writeable = False
    return y
