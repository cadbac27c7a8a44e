"""Many frames of one scene, taken in one by one: what each pixel says on average, and how much it varies."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np

from hardware.errors import CalibrationMismatch
from hardware.frame import Frame, FrameMeta

_COLDEST_C, _HOTTEST_C = -100.0, 150.0  # as in a rig file
_LEAST_TO_COMPARE = 4
_MAD_SIGMAS = 1.4826  # of a normal distribution, by its median absolute deviation
_ODD_SIGMAS, _ODD_SHARE, _ODD_NOISE = 10.0, 0.005, 0.2  # of the scatter of means, of light, of a pixel's noise
_ALIKE = ("camera_id", "bit_depth", "black_level_dn", "exposure_s", "gain_db", "region", "binning", "cfa", "raw")


@dataclasses.dataclass(frozen=True, eq=False)
class Stack:
    """What frames of one scene, camera and setting say, pixel by pixel.

    Args:
        mean: (H, W) float64, DN.
        variance: (H, W) float64, DN^2, from frame to frame, unbiased.
        lowest, highest: (H, W) float64, DN.
        frame_means: (n,) mean of each frame, DN.
        meta: facts of the first frame.
        temperature_c: of the sensor, mean over the frames; None where one of them does not tell, or nothing that a
            sensor can have.
        warmed_c: by how much that differs between its frames; 0 where it is not known.
    """

    mean: np.ndarray
    variance: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    frame_means: np.ndarray
    meta: FrameMeta
    temperature_c: float | None = None
    warmed_c: float = 0.0

    @classmethod
    def of(cls, frames: Iterable[Frame]) -> Self:
        """Welford's recurrence: one pass, no difference of large sums (doi:10.1080/00401706.1962.10490022).

        Raises:
            CalibrationMismatch: frames of different cameras or settings, or fewer than two.
        """
        first, means, warm = None, [], []
        for frame in frames:
            if first is None:
                first = frame
                mean, squares = np.zeros(frame.shape), np.zeros(frame.shape)
                lowest, highest = (frame.pixels.astype(np.float64) for _ in range(2))
            _check_alike(first, frame)
            step = frame.pixels - mean
            means.append(float(frame.pixels.mean()))
            warm.append(frame.meta.temperature_c)
            mean += step / len(means)
            squares += step * (frame.pixels - mean)
            np.minimum(lowest, frame.pixels, out=lowest)
            np.maximum(highest, frame.pixels, out=highest)
        if len(means) < 2:
            raise CalibrationMismatch(
                f"{len(means)} frames to average; expected at least 2: one frame does not show its noise"
            )
        told = all(one is not None and _COLDEST_C <= one <= _HOTTEST_C for one in warm)
        return cls(
            mean, squares / (len(means) - 1), lowest, highest, np.array(means), first.meta,
            float(np.mean(warm)) if told else None, float(np.ptp(warm)) if told else 0.0,
        )  # fmt: skip

    @property
    def frames(self) -> int:
        """How many there were."""
        return len(self.frame_means)

    @property
    def exposure_s(self) -> float:
        return self.meta.exposure_s

    @property
    def standard_error(self) -> np.ndarray:
        """Of the mean, (H, W), DN, from the noise of these frames."""
        return np.sqrt(self.variance / self.frames)


def odd_frame(frames: Sequence[Frame]) -> tuple[int, float] | None:
    """Which frame of one steady light is brighter or darker than the others, and by how many DN; None if none is.

    A flash, a person who walks by, a frame of another exposure. Light that flickers all the time is none of these: then
    no frame stands out of the others. Fewer than four frames do not say which one is odd, and what is small beside a
    pixel's noise does not matter.
    """
    if len(frames) < _LEAST_TO_COMPARE:
        return None
    means = np.array([frame.pixels.mean(dtype=np.float64) for frame in frames])
    off = means - np.median(means)
    # Of a pixel, from pairs: the odd frame stands in two of them at most, and does not change their median.
    pairs = itertools.pairwise(frame.pixels.astype(np.float32) for frame in frames)
    noise = float(np.median([np.std(after - before) for before, after in pairs])) / math.sqrt(2)
    # A median of few means may be very small by chance.
    scatter = max(_MAD_SIGMAS * float(np.median(np.abs(off))), noise / math.sqrt(frames[0].pixels.size))
    worst = int(np.abs(off).argmax())
    light = abs(float(np.median(means)) - frames[0].meta.black_level_dn)
    limit = max(_ODD_SIGMAS * scatter, _ODD_SHARE * light, _ODD_NOISE * noise)
    return (worst, float(off[worst])) if abs(off[worst]) > limit else None


def _check_alike(first: Frame, frame: Frame) -> None:
    for name in _ALIKE:
        got, expected = getattr(frame.meta, name), getattr(first.meta, name)
        if got != expected:
            raise CalibrationMismatch(
                f"frame {frame.meta.sequence} has {name} {got!r}, frame {first.meta.sequence} {expected!r}; "
                "average frames of one camera and setting only"
            )
    if frame.shape != first.shape:
        raise CalibrationMismatch(f"frame {frame.meta.sequence} has shape {frame.shape}, the first {first.shape}")
