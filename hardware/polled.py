"""A live camera behind a driver that is asked for each frame: what the back ends of other makers' libraries share."""

import abc
import contextlib
import dataclasses
import math
import threading
import time
from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from hardware.alive import alive
from hardware.camera import check_count, closed, wait_until
from hardware.closing import Closing
from hardware.errors import CameraError, CameraLost, ConfigurationError
from hardware.frame import CameraSettings, Frame, FrameMeta

POLL_S = 0.1
TOLERANCE = 0.05
MOST_WAITING = 100
STALL_S = 1.5  # unplugged is to be said within 2 s


@dataclasses.dataclass(frozen=True)
class Shot:
    """A frame as a driver hands it over; what is named as in `FrameMeta` goes there.

    Args:
        pixels: (H, W), in memory that the driver may use again after the next one.
        number: the device's own count, with any zero; a gap is lost frames.
        settings: what it was taken with.
    """

    pixels: np.ndarray
    number: int
    settings: CameraSettings
    t_host_ns: int
    bit_depth: int
    t_device_ns: int | None = None
    black_level_dn: float = 0.0
    cfa: str | None = None
    raw: bool = True
    temperature_c: float | None = None


class PolledCamera(Closing):
    """A back end opens its device in `_opening`, notes its `_camera_id` and `_settings`, and fills in `_ask`, `_read`,
    `_grab` and `_release`.

    Frames that are taken and thrown away, because they are older than what was asked for, keep their numbers and are
    counted as lost. Settings count the frames anew: those between two settings have no number.

    Args:
        name: the address, for messages.
        settable: which of the `CameraSettings` can be changed.
        errors: what the driver raises.
        stamped: whether `t_host_ns` of its shots is of the device's clock; else it is of their arrival, and the first
            one that seems to be late enough may have been in readout.
    """

    live = True

    def __init__(
        self, name: str, settable: tuple[str, ...], errors: tuple[type[Exception], ...], *, stamped: bool = False
    ):
        self._name, self._settable, self._errors, self._stamped = name, settable, errors, stamped
        self._camera_id, self._settings = name, CameraSettings()
        self._period_s = 0.0
        self._closed, self._lock, self._released = threading.Event(), threading.RLock(), False
        self._base: int | None = None
        self._last, self._last_ns, self._gone = -1, -1, ""

    @property
    def camera_id(self) -> str:
        return self._camera_id

    @abc.abstractmethod
    def _ask(self, wanted: CameraSettings) -> None:
        """Set what is asked for; frames from then on are of the new settings."""

    @abc.abstractmethod
    def _read(self) -> CameraSettings:
        """What the device does now."""

    @abc.abstractmethod
    def _grab(self, timeout_s: float) -> Shot | None:
        """The next frame; None if there was none in time."""

    @abc.abstractmethod
    def _release(self) -> None:
        """Let the device go, however far it had come to be opened."""

    def configure(self, wanted: CameraSettings) -> CameraSettings:
        """Set what can be set, and read all of it back.

        Raises:
            ConfigurationError: a setting that it has not, or a value out of its range.
            CameraError: it does something else, or is closed.
        """
        self._check_open()
        changed = {name: value for name, value in wanted.asked().items() if value != getattr(self._settings, name)}
        for name, value in changed.items():
            if name not in self._settable:
                had = getattr(self._settings, name)
                raise ConfigurationError(
                    f"camera {self._name!r} cannot set {name} to {value!r}; it has {had!r}; ask for nothing, or look "
                    "for an option of its address"
                )
        if changed:
            with self._lock, self._driver("apply settings"):
                self._base = None
                try:
                    self._ask(CameraSettings(**changed))
                finally:
                    self._settings = self._read()
        return self._settings

    def snap(self, n: int, not_before_ns: int | None = None) -> list[Frame]:
        """The next `n` frames; with `not_before_ns`, after waiting for it and emptying the driver's queue.

        Raises:
            CameraLost: the device is gone, or sends nothing.
        """
        check_count(n, self._camera_id)
        self._check_open()
        if not_before_ns is not None:
            wait_until(not_before_ns, self._closed, self._camera_id)
            self._check_open()
            if not self._stamped:
                self._drain()
        frames: list[Frame] = []
        skip = not_before_ns is not None and not self._stamped
        while len(frames) < n:
            if (shot := self._next()) is None:
                raise closed(self._camera_id)
            if shot.t_host_ns < (not_before_ns or 0):
                continue
            if skip:
                skip = False
                continue
            frames.append(self._frame(shot))
        return frames

    def frames(self) -> Iterator[Frame]:
        """Frames without end, until the camera is closed or lost."""
        self._check_open()
        return self._endless()

    def close(self) -> None:
        """Let the device go; a second call does nothing."""
        self._closed.set()
        with self._lock:
            if not self._released:
                self._released = True
                self._release()

    def _drain(self) -> None:
        """Throw away what waits in the driver; a camera that is faster than this machine never has nothing there."""
        with self._lock, self._driver("empty its queue"):
            for _ in range(MOST_WAITING):
                alive()
                if self._grab(0.0) is None:
                    return

    def _endless(self) -> Iterator[Frame]:
        while (shot := self._next()) is not None:
            yield self._frame(shot)

    def _next(self) -> Shot | None:
        """The next shot; None if this was closed meanwhile."""
        patience_s = STALL_S + self._period_s + 2 * (self._settings.exposure_s or 0)
        end_s = time.monotonic() + patience_s
        while not self._closed.is_set():
            alive()
            with self._lock:
                if self._closed.is_set():
                    break
                try:
                    shot = self._grab(POLL_S)
                except self._errors as error:
                    self._lose(f"{type(error).__name__}: {error}")
            if shot is not None:
                return shot
            if time.monotonic() > end_s:
                self._lose(f"it sent no frame for {patience_s:.1f} s")
        return None

    def _frame(self, shot: Shot) -> Frame:
        # A count that goes back has begun anew: GigE Vision's first kind has 16 bits.
        if self._base is None or shot.number - self._base <= self._last:
            self._base = shot.number - self._last - 1
        sequence = shot.number - self._base
        meta = FrameMeta(
            sequence=sequence,
            # No exposure begins before the last one, however coarse the clock.
            t_host_ns=max(self._last_ns + 1, shot.t_host_ns),
            t_device_ns=shot.t_device_ns,
            exposure_s=shot.settings.exposure_s,
            gain_db=shot.settings.gain_db,
            bit_depth=shot.bit_depth,
            black_level_dn=shot.black_level_dn,
            pixel_format=shot.settings.pixel_format,
            cfa=shot.cfa,
            raw=shot.raw,
            region=shot.settings.region,
            binning=shot.settings.binning,
            temperature_c=shot.temperature_c,
            camera_id=self._camera_id,
            settings_id=shot.settings.id,
            lost_before=sequence - self._last - 1,
        )
        frame = Frame(shot.pixels, meta)
        self._last, self._last_ns = sequence, meta.t_host_ns
        return frame

    def _within(self, name: str, value: float, low: float, high: float) -> float:
        """Raises ConfigurationError unless the device can do it."""
        if not low <= value <= high:
            raise ConfigurationError(
                f"camera {self._name!r}: {name} = {value:g} was asked for; it can do {low:g} to {high:g}"
            )
        return value

    def _same(self, name: str, wanted: float, got: float) -> None:
        """Raises CameraError unless a value is read back, but for the steps that devices have."""
        if not math.isclose(got, wanted, rel_tol=TOLERANCE):
            raise CameraError(
                f"camera {self._name!r}: {name} = {wanted:g} was asked for, {got:g} is read back; ask for what it has"
            )

    @contextlib.contextmanager
    def _driver(self, what: str) -> Iterator[None]:
        """What the driver raises, as an error of ours."""
        try:
            yield
        except self._errors as error:
            raise CameraError(f"camera {self._name!r} did not {what}: {type(error).__name__}: {error}") from error

    @contextlib.contextmanager
    def _opening(self) -> Iterator[None]:
        """What opens the device goes in here: where that fails, it is let go again."""
        try:
            with self._driver("open"):
                yield
        except BaseException:
            self.close()
            raise

    def _lose(self, reason: str) -> NoReturn:
        after = f"after frame {self._last}" if self._last >= 0 else "before its first frame"
        self._gone = f"camera {self._name!r} is lost {after}: {reason}; connect it again, and open it anew"
        raise CameraLost(self._gone)

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise closed(self._camera_id)
        if self._gone:
            raise CameraLost(self._gone)
