"""A child of `IsolatedCamera` whose driver behaves as its arguments say: python driver_child.py KIND [AFTER]."""

import os
import signal
import sys
import time

import numpy as np

from hardware import CameraSettings, SimulatedCamera
from hardware.driver_process import serve
from hardware.errors import CameraError, CameraLost, ConfigurationError

SHAPE, BIT_DEPTH = (13, 17), 12


def expose(settings: CameraSettings, sequence: int) -> np.ndarray:
    noise = np.random.default_rng((1, sequence)).integers(0, 32, SHAPE)
    return (64 + noise + 1000 * settings.exposure_s).astype(np.uint16)


class Fast(SimulatedCamera):
    """A live camera of 2 ms a frame: what is not fetched is lost, as far as its driver knows."""

    live = True
    period_s = 0.002

    def _next(self):
        time.sleep(self.period_s)
        return super()._next()


class Bad(Fast):
    """After some frames its driver does what drivers do."""

    kind, after = "", 0

    def _next(self):
        if self._sequence >= self.after:
            match self.kind:
                case "hang":
                    time.sleep(3600)
                case "crash":
                    os.kill(os.getpid(), signal.SIGSEGV)
                case "raise":
                    raise ValueError("bad ioctl")
                case "lose":
                    raise CameraLost("camera 'FAKE': select() timeout")
                case "print":
                    os.write(1, b"garbage on standard output\n")
        return super()._next()

    def configure(self, wanted):
        if wanted.gain_db == 99:
            time.sleep(3600)
        if wanted.gain_db == 98:
            raise CameraError("camera 'SIM-1': gain 98 set, 12 read back")
        return super().configure(wanted)


def make(kind: str, after: int) -> SimulatedCamera:
    if kind == "no device":
        raise ConfigurationError("camera 'FAKE': no such device")
    if kind == "slow open":
        time.sleep(3600)
    cameras = {"waits": SimulatedCamera, "fast": Fast}
    camera = cameras.get(kind, Bad)(
        expose, camera_id="SIM-1", shape=SHAPE, bit_depth=BIT_DEPTH, black_level_dn=64, exposure_s=0.01
    )
    camera.kind, camera.after = kind, after
    return camera


if __name__ == "__main__":
    serve(lambda: make(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0))
