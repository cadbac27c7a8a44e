"""A live 640 x 480 camera that gives a frame of noise at every tick, for benchmarks of the way of a frame.

python -m lensless.app.bench.paced_camera FRAMES_PER_SECOND
"""

import sys
import time

import numpy as np

from hardware import Frame, SimulatedCamera
from hardware.driver_process import serve

SHAPE = (480, 640)


class PacedCamera(SimulatedCamera):
    """Args: frames_per_second."""

    live = True

    def __init__(self, frames_per_second: float):
        noise = np.random.default_rng(0).integers(0, 256, (16, *SHAPE), np.uint8)
        super().__init__(
            lambda settings, sequence: noise[sequence % 16],
            camera_id="PACED", shape=SHAPE, bit_depth=8, black_level_dn=0, exposure_s=0.001,
        )  # fmt: skip
        self._period_s, self._next_s = 1 / frames_per_second, time.monotonic()

    def _next(self) -> Frame:
        self._next_s = max(self._next_s + self._period_s, time.monotonic() - self._period_s)
        time.sleep(max(0.0, self._next_s - time.monotonic()))
        return super()._next()


if __name__ == "__main__":
    serve(lambda: PacedCamera(float(sys.argv[1])))
