"""Frames of an open capture that are new: what waited in a queue is thrown away, and what repeats itself is lost."""

import logging
import time
from collections.abc import Callable

import numpy as np

from hardware.alive import alive
from hardware.opencv.backends import Wire
from hardware.opencv.handle import Handle
from hardware.opencv.plausible import carries_noise

# The queue of the driver (OpenCV asks V4L2 for 4 buffers, and BUFFERSIZE is often ignored, #13145), a frame that is
# being read out, and one that is being exposed.
STALE_FRAMES = 6
SETTLE_S = 0.1
REPEATS_OF_THE_DEAD = 3

log = logging.getLogger(__name__)


class FreshFrames:
    """Pixels of one capture, each frame once.

    Args:
        handle: where they come from.
        wire, rows, columns: what was agreed on, see `setup.agree`.
        check_open: raises what ends a read of a camera that is closed.
    """

    def __init__(self, handle: Handle, wire: Wire, rows: int, columns: int, check_open: Callable[[], None]):
        self._handle, self._wire, self._rows, self._columns = handle, wire, rows, columns
        self._check_open, self._noted, self._lost = check_open, False, 0
        self.latest: np.ndarray | None = None

    def next(self) -> tuple[np.ndarray, int, int]:
        """(pixels that the driver may use again, when they arrived, frames that were lost before them).

        The frame counts as lost itself until it is `delivered`.

        Raises:
            CameraError: it is of another type or size than was agreed on.
            CameraLost: no frame came, or the last one three times more.
        """
        pixels, arrived_ns = self._fresh()
        return pixels, arrived_ns, self._lost - 1

    def delivered(self, pixels: np.ndarray) -> None:
        """The last frame has become one that is given out, with these pixels of its own."""
        self._lost, self.latest = 0, pixels

    def glance(self) -> np.ndarray:
        """Pixels of a frame that is thrown away on purpose: it is not lost."""
        lost = self._lost
        alive()
        self.latest = self._fresh()[0].copy()
        self._lost = lost
        return self.latest

    def drain(self, until_ns: int = 0) -> None:
        """Throw away what was taken before now, or before `until_ns` (`time.monotonic_ns`)."""
        count, until_ns = 0, max(until_ns, time.monotonic_ns() + round(SETTLE_S * 1e9))
        while count < STALE_FRAMES or time.monotonic_ns() < until_ns:
            self.glance()
            count += 1

    def _fresh(self) -> tuple[np.ndarray, int]:
        for _ in range(REPEATS_OF_THE_DEAD):
            self._check_open()
            pixels, arrived_ns = self._handle.read(), time.monotonic_ns()
            self._lost += 1
            pixels, flat = self._wire.unpack(pixels, self._rows, self._columns, self._handle.where)
            if flat and not self._noted:  # opencv #27166
                self._noted = True
                log.warning("%s: frames come as flat rows; they are given their shape", self._handle.where)
            if not (np.array_equal(pixels, self.latest) and carries_noise(pixels)):
                return pixels, arrived_ns
        raise self._handle.lose(f"it repeats its last frame ({REPEATS_OF_THE_DEAD} times)")
