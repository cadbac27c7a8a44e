"""A physical camera on a bus that can be pulled out, come back as another one, hang, and fail: the driver is made up,
what it does is what the bug reports tell."""

import threading
import time
from collections.abc import Iterator

import numpy as np

from hardware import CameraSettings, Frame, FrameMeta
from hardware.camera import closed
from hardware.closing import Closing
from hardware.errors import CameraError, CameraLost

LONGEST_HANG_S = 30.0


class FakeDevice:
    """The bus: what is plugged in, and how its driver behaves.

    Args:
        plugged: camera_id of what is plugged in; None for nothing.
        period_s: between two frames.
        shape: of the frames.
        live: as of Camera.
    """

    def __init__(self, plugged: str | None = "CAM-A", period_s: float = 0.002, shape=(4, 6), live: bool = True):
        self.plugged, self.period_s, self.shape, self.live = plugged, period_s, shape, live
        self.fails_open = self.fails_close = False
        self.ghost: str | None = None  # whose frames an open handle gives after the bus was numbered anew
        self.error: Exception | None = None  # what the next read raises
        self.frames_left: int | None = None  # None: no end
        self.lost_before = 0  # of the next frame
        self.exposures_s = (1e-4, 0.5)  # what it can do
        self.opened = self.closed = 0
        self.sent = 0  # frames since it was plugged in
        self._answers = threading.Event()
        self._answers.set()

    def hang(self) -> None:
        """From now on no call of the driver returns, until `wake`."""
        self._answers.clear()

    def wake(self) -> None:
        self._answers.set()

    @property
    def answers(self) -> bool:
        return self._answers.is_set()

    def unplug(self) -> None:
        self.plugged, self.sent = None, 0

    def wait(self) -> None:
        """What each call of the driver does first."""
        if not self._answers.wait(LONGEST_HANG_S):
            raise AssertionError("nobody woke the driver")

    def connect(self) -> "FakeCamera":
        return FakeCamera(self)


class FakeCamera(Closing):
    """One handle of the device; it remembers which thread opened it."""

    def __init__(self, device: FakeDevice):
        device.wait()
        if device.plugged is None or device.fails_open:
            raise CameraError("no camera at 'fake:0'; attach it")
        self._device, self._id, self._thread, self._open = device, device.plugged, threading.get_ident(), True
        self._settings = CameraSettings(
            exposure_s=0.001, gain_db=0.0, pixel_format="Mono8", region=(0, 0, *device.shape), binning=(1, 1)
        )
        device.opened += 1

    @property
    def camera_id(self) -> str:
        return self._id

    @property
    def live(self) -> bool:
        return self._device.live

    def configure(self, wanted: CameraSettings) -> CameraSettings:
        self._called()
        shortest_s, longest_s = self._device.exposures_s
        applied = wanted.onto(self._settings)
        exposure_s = min(max(applied.exposure_s, shortest_s), longest_s)
        self._settings = CameraSettings(exposure_s=exposure_s).onto(applied)
        return self._settings

    def snap(self, n: int, not_before_ns: int | None = None) -> list[Frame]:
        return [self._read() for _ in range(n)]

    def frames(self) -> Iterator[Frame]:
        self._called()
        while self._device.frames_left != 0:
            yield self._read()
            if self._device.frames_left is not None:
                self._device.frames_left -= 1

    def close(self) -> None:
        self._called()
        if self._open:
            self._open = False
            self._device.closed += 1
            if self._device.fails_close:
                raise CameraError("fake: the device did not answer when it was closed")

    def _called(self) -> None:
        assert threading.get_ident() == self._thread, "the driver was called in another thread than it was opened in"
        self._device.wait()

    def _read(self) -> Frame:
        device = self._device
        if device.period_s:
            time.sleep(device.period_s)
        self._called()
        if not self._open:
            raise closed(self._id)
        if device.plugged != self._id:
            raise CameraLost(f"camera {self._id!r} is gone")
        if device.error is not None:
            raise device.error
        lost, device.lost_before = device.lost_before, 0
        sequence = device.sent + lost
        device.sent = sequence + 1
        meta = FrameMeta(
            sequence=sequence,
            t_host_ns=time.monotonic_ns(),
            exposure_s=self._settings.exposure_s,
            gain_db=0.0,
            bit_depth=8,
            black_level_dn=0,
            pixel_format="Mono8",
            region=self._settings.region,
            camera_id=device.ghost or self._id,
            settings_id=self._settings.id,
            lost_before=lost,
        )
        return Frame(np.full(device.shape, sequence % 251, np.uint8), meta)
