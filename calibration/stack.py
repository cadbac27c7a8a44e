"""Many frames of one scene, taken in one by one: their mean and how well it is known."""

from collections.abc import Iterable

import numpy as np

from hardware.errors import CalibrationMismatch
from hardware.frame import Frame, FrameMeta


def mean_and_standard_error(frames: Iterable[Frame]) -> tuple[np.ndarray, np.ndarray, np.ndarray, FrameMeta]:
    """Mean, standard error of the mean, highest value of each pixel (all (H, W), DN), and the facts of the first frame.

    Welford's recurrence: one pass, no difference of large sums (doi:10.1080/00401706.1962.10490022).

    Raises:
        CalibrationMismatch: frames of different cameras or settings, or fewer than two.
    """
    first, count = None, 0
    for frame in frames:
        if first is None:
            first = frame
            mean, squares, highest = np.zeros(frame.shape), np.zeros(frame.shape), np.zeros(frame.shape)
        _check_alike(first, frame)
        count += 1
        step = frame.pixels - mean
        mean += step / count
        squares += step * (frame.pixels - mean)
        np.maximum(highest, frame.pixels, out=highest)
    if count < 2:
        raise CalibrationMismatch(f"{count} frames to average; expected at least 2: one frame does not show its noise")
    return mean, np.sqrt(squares / (count - 1) / count), highest, first.meta


def _check_alike(first: Frame, frame: Frame) -> None:
    for name in (
        "camera_id",
        "bit_depth",
        "black_level_dn",
        "exposure_s",
        "gain_db",
        "region",
        "binning",
        "cfa",
        "raw",
    ):
        got, expected = getattr(frame.meta, name), getattr(first.meta, name)
        if got != expected:
            raise CalibrationMismatch(
                f"frame {frame.meta.sequence} has {name} {got!r}, frame {first.meta.sequence} {expected!r}; "
                "average frames of one camera and setting only"
            )
    if frame.shape != first.shape:
        raise CalibrationMismatch(f"frame {frame.meta.sequence} has shape {frame.shape}, the first {first.shape}")
