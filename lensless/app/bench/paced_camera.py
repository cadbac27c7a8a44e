"""A live 640 x 480 camera that gives a frame of noise at every tick, for benchmarks of the way of a frame.

python -m lensless.app.bench.paced_camera FRAMES_PER_SECOND
"""

import sys

import numpy as np

from hardware import SimulatedCamera
from hardware.driver_process import serve

SHAPE = (480, 640)
EXPOSURE_S = 1e-6  # so that a frame is as old as its time says


def paced_camera(frames_per_second: float) -> SimulatedCamera:
    """The camera."""
    noise = np.random.default_rng(0).integers(0, 256, (16, *SHAPE), np.uint8)
    return SimulatedCamera(
        lambda settings, sequence: noise[sequence % 16],
        camera_id="PACED", shape=SHAPE, bit_depth=8, black_level_dn=0, exposure_s=EXPOSURE_S,
        frames_per_second=frames_per_second,
    )  # fmt: skip


if __name__ == "__main__":
    serve(lambda: paced_camera(float(sys.argv[1])))
