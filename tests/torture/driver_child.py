"""A child of `IsolatedCamera` whose driver behaves as its arguments say: python driver_child.py KIND [AFTER]."""

import os
import pathlib
import signal
import sys
import threading
import time

import numpy as np

from hardware import Camera, CameraSettings, SimulatedCamera
from hardware.alive import alive
from hardware.driver_process import serve
from hardware.errors import CameraError, CameraLost, ConfigurationError

SHAPE, BIT_DEPTH = (13, 17), 12
LARGE = (600, 800)  # faster than any disk, at 2 ms a frame


def expose(settings: CameraSettings, sequence: int) -> np.ndarray:
    noise = np.random.default_rng((1, sequence)).integers(0, 32, SHAPE)
    return (64 + noise + 1000 * settings.exposure_s).astype(np.uint16)


class Fast(SimulatedCamera):
    """A live camera of 2 ms a frame: what is not fetched is lost, as far as its driver knows."""

    live = True
    period_s = 0.002

    @property
    def facts(self) -> dict[str, int]:
        return {"frames": self._sequence}

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
        if wanted.gain_db == 97:
            settle()
        if wanted.gain_db == 98:
            raise CameraError("camera 'SIM-1': gain 98 set, 12 read back")
        return super().configure(wanted)


class Grows(SimulatedCamera):
    """Frames that become larger after some, each pixel with the number of its frame."""

    after = 0

    def _next(self):
        self._expose = lambda settings, sequence: np.full(self._shape, sequence, np.uint16)
        if self._sequence == self.after:
            self._shape = (26, 34)
        return super()._next()


def settle() -> None:
    """Takes 1.5 s, and says that it goes on."""
    for _ in range(15):
        alive()
        time.sleep(0.1)


def queueing() -> Camera:
    """OpenCV's camera on a driver that exposes 100 times a second, and keeps the oldest 4 until they are fetched.

    Each has the time of its exposure in its pixels, in ms.
    """
    sys.path.append(str(pathlib.Path(__file__).parents[1]))
    import fake_cv2

    from hardware.opencv import OpenCvCamera

    class Capture(fake_cv2.FakeCapture):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self._lock = threading.Lock()
            threading.Thread(target=self._fill, daemon=True).start()

        def _fill(self):
            while self._device is not None:
                time.sleep(0.01)
                with self._lock:
                    if len(self._queue) < 4:
                        pixels = self._sent(self._expose())
                        pixels[0, :8] = np.frombuffer(int(time.monotonic() * 1e3).to_bytes(8, "little"), np.uint8)
                        self._queue.append(pixels)

        def read(self):
            while True:
                with self._lock:
                    if self._queue:
                        return True, self._queue.pop(0)
                time.sleep(0.001)

    fake_cv2.FakeCapture = Capture
    device = fake_cv2.FakeDevice()
    device.controls["EXPOSURE"] = 1  # 0.1 ms: a frame arrives when it is exposed
    return OpenCvCamera(0, driver=fake_cv2.FakeCv2({0: device}), system="linux")


def make(kind: str, after: int) -> Camera:
    if kind == "no device":
        raise ConfigurationError("camera 'FAKE': no such device")
    if kind == "slow open":
        time.sleep(3600)
    if kind == "settles":
        settle()
    if kind == "queues":
        return queueing()
    cameras = {"waits": SimulatedCamera, "fast": Fast, "grows": Grows}
    if kind == "large":
        light = np.zeros(LARGE, np.uint16)
        return Fast(
            lambda settings, sequence: light,
            camera_id="SIM-1", shape=LARGE, bit_depth=BIT_DEPTH, black_level_dn=64, exposure_s=0.01,
        )  # fmt: skip
    camera = cameras.get(kind, Bad)(
        expose, camera_id="SIM-1", shape=SHAPE, bit_depth=BIT_DEPTH, black_level_dn=64, exposure_s=0.01
    )
    camera.kind, camera.after = kind, after
    return camera


if __name__ == "__main__":
    serve(lambda: make(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0))
