"""Pixels that say nothing, filled from those around them: a fixed matrix needs a value in every place."""

import numpy as np

from hardware.errors import CalibrationMismatch


def fill_masked(y: np.ndarray, mask: np.ndarray, period: int = 1) -> np.ndarray:
    """`y` with masked pixels replaced by the mean of their valid neighbours, of eight; read-only.

    A pixel inside a cluster has no valid neighbour; clusters are filled from their rim inwards, ring by ring.

    Args:
        y: (H, W) float32; what it holds under the mask does not matter, it may be NaN.
        mask: (H, W) bool, True where the value is to be replaced; not everywhere.
        period: how far away the neighbours are; 2 in a Bayer mosaic, where the next pixel of a plane is the one after
            next. The two greens are two planes: their rows differ in what spills over from red and blue.

    Raises:
        CalibrationMismatch: all pixels are masked, or all of one plane.
    """
    for at in np.ndindex(period, period):
        plane = mask[at[0] :: period, at[1] :: period]
        if plane.all():
            where = "" if period == 1 else f" of the plane that begins in row {at[0]}, column {at[1]}"
            raise CalibrationMismatch(
                f"all {plane.size} pixels{where} are clipped or defective; nothing is left to fill them from"
            )
    y, left = np.array(y, np.float32), mask.copy()
    while left.any():
        # Few pixels are masked, so their neighbourhoods are looked up one by one instead of filtering the whole frame.
        rows, columns = np.nonzero(left)
        total, count = np.zeros(rows.size), np.zeros(rows.size)
        for down in (-period, 0, period):
            for right in (-period, 0, period):
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
