"""A sensor on a microcontroller, as a camera."""

import dataclasses
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn, TypeVar

from hardware.alive import alive
from hardware.camera import check_count, closed, wait_until
from hardware.closing import Closing
from hardware.errors import CameraError, CameraLost, ConfigurationError, DeviceError, DeviceLost
from hardware.frame import CameraSettings, Frame, FrameMeta
from hardware.serial_board.address import BoardOptions, parse_place
from hardware.serial_board.assembly import WRAP, BoardFrame
from hardware.serial_board.led_matrix import LedMatrix
from hardware.serial_board.link import HELLO_S, BoardLink
from hardware.serial_board.messages import Settings
from hardware.serial_board.reception import Reception
from hardware.serial_port import SerialPort, ports

T = TypeVar("T")

# Boot and count of each board whose camera was lost, by serial number: one that has not started anew meanwhile went on
# counting, and the next connection knows how many frames nobody has got.
_LOST_AT: dict[str, tuple[int, int]] = {}


class SerialCamera(Closing):
    """A board that speaks the protocol of hardware/firmware/PROTOCOL.md.

    Frames come whole or not at all; those that the line or the board lost are counted in `lost_before` of the next.
    `t_host_ns` is when the exposure began, by the board's clock, which is compared with the host's at each answer.
    `snap` has the board take its frames anew, so that none is older than the call; `frames` has it send until told
    otherwise. A board that restarts has lost its settings: the camera is lost, and to go on is to open it again.

    Args:
        place: port and options, see `parse_place`.
        hello_s: how long the board may take to say what it is.
        listing: what ports there are.

    Raises:
        ConfigurationError: no such port or option, or the board has no such mode.
        CameraError: nothing is there, it is in use, is no board, or does not do what is asked.
    """

    def __init__(self, place: str, *, hello_s: float = HELLO_S, listing: Callable[[], Iterable[Any]] = ports):
        port_name, options = parse_place(place)
        self._name, self._closed = f"serial:{place}", threading.Event()
        self._gone, self._mode, self._last_ns = "", 0, -1
        self._settings: CameraSettings | None = None
        self._settings_of: dict[tuple[int, int], CameraSettings] = {}
        try:
            port = SerialPort(port_name, options.baud, dtr=False if options.dtr == "off" else None, listing=listing)
            try:
                self._link = BoardLink(port, hello_s)
            except BaseException:
                port.close()
                raise
        except DeviceError as error:
            raise CameraError(str(error)) from error
        hello = self._link.hello
        if not hello.modes:
            self._link.close()
            raise ConfigurationError(f"camera {self._name!r}: {hello.board} has no sensor; it shows patterns only")
        self._reception = Reception(self._link, self._exposure_s, self._closed.is_set)
        first = self._link.assembler.first
        boot, count = _LOST_AT.pop(hello.serial, (0, 0))
        missed = (first - count) % WRAP if boot == self._link.boot else 0
        # Number of the first frame, and of the one after the last one, by the board's count.
        self._base = self._delivered = first - (missed if missed < WRAP // 2 else 0)
        self._camera_id = f"board-{re.sub(r'[^A-Za-z0-9.:_-]', '_', hello.serial)}"
        try:
            self._set_up(options)
        except BaseException:
            self.close()
            raise
        # A board that starts anew begins in its own mode: the one it had is asked for again, too.
        again = dataclasses.replace(options, mode=self._mode)
        self._again = f"serial:{_lasting(port_name, port.device, listing)}{again}"

    @property
    def camera_id(self) -> str:
        return self._camera_id

    @property
    def live(self) -> bool:
        return True

    @property
    def facts(self) -> dict[str, object]:
        """What is known of the board besides its settings; `address` opens it again, wherever it is plugged in."""
        hello = self._link.hello
        return {
            "identity": "serial",
            "address": self._again,
            "board": hello.board,
            "sensor": hello.sensor,
            "firmware": hello.firmware,
            "mode": str(hello.modes[self._mode]),
            "damaged_packets": self._link.damaged,
            "lost_frames": self._link.assembler.lost,
        }

    @property
    def lamps(self) -> LedMatrix:
        """The lamps of this board; used between `snap`s, in the thread of the camera.

        Raises:
            ConfigurationError: it has none.
        """
        return LedMatrix(self._link, own=False)

    def configure(self, wanted: CameraSettings) -> CameraSettings:
        """Exposure and gain, as the board has read them back from its sensor.

        Raises:
            ConfigurationError: a setting that it has not, or a value that it cannot do.
            CameraError: the board does not answer, or has restarted.
        """
        self._check_open()
        self._device(self._reception.stop)
        now, free = self._settings, ("exposure_s", "gain_db")
        for name, value in wanted.asked().items():
            if name not in free and value != (had := getattr(now, name)):
                hint = "ask for mode= in its address" if name in ("pixel_format", "region") else "ask for nothing"
                raise ConfigurationError(
                    f"camera {self._name!r} cannot set {name} to {value!r}; it has {had!r}; {hint}"
                )
        if any(getattr(wanted, name) not in (None, getattr(now, name)) for name in free):
            self._ask_for(None, wanted.exposure_s, wanted.gain_db)
        return self._settings

    def snap(self, n: int, not_before_ns: int | None = None) -> list[Frame]:
        """`n` frames whose exposure begins after this call, or `not_before_ns`.

        Raises:
            CameraLost: the board is gone, silent or has restarted, or the line lets no frame through.
        """
        check_count(n, self._camera_id)
        self._check_open()
        wait_until(not_before_ns or 0, self._closed, self._name)
        self._check_open()
        asked_ns = time.monotonic_ns()
        found = self._device(lambda: self._reception.take(n))
        self._check_open()
        return [self._frame(*each, asked_ns) for each in found]

    def frames(self) -> Iterator[Frame]:
        """Frames without end, until the camera is closed or lost."""
        self._check_open()
        return self._endless()

    def close(self) -> None:
        """Tell the board to stop, and let the port go; a second call does nothing."""
        if not self._closed.is_set():
            self._closed.set()
            self._link.close()

    def _endless(self) -> Iterator[Frame]:
        while not self._closed.is_set():
            if (found := self._device(self._reception.next)) is not None:
                yield self._frame(*found, 0)

    def _exposure_s(self) -> float:
        return self._settings.exposure_s if self._settings else 0.0

    def _set_up(self, options: BoardOptions) -> None:
        modes = self._link.hello.modes
        if options.mode is not None and options.mode >= len(modes):
            known = ", ".join(f"{number}: {one}" for number, one in enumerate(modes))
            raise ConfigurationError(f"camera {self._name!r} has no mode {options.mode}; it has {known}")
        self._ask_for(options.mode, options.exposure_s, options.gain_db)

    def _ask_for(self, mode: int | None, exposure_s: float | None, gain_db: float | None) -> None:
        wanted = Settings(
            mode,
            self._within("exposure_s", exposure_s, 1e6, self._link.hello.exposure_us, 1e-6),
            self._within("gain_db", gain_db, 1000, self._link.hello.gain_db, 1.0),
        )
        patience_s = self._reception.patience_s() + 2 * (exposure_s or 0)
        applied = self._device(lambda: self._link.configure(wanted, patience_s))
        if applied.mode >= len(self._link.hello.modes) or mode not in (None, applied.mode):
            raise CameraError(
                f"camera {self._name!r}: mode {mode} was asked for, {applied.mode} is read back; update its firmware"
            )
        self._mode, self._settings_of = applied.mode, {}
        self._settings = self._settings_for(applied.exposure_us, applied.gain_mdb)

    def _within(
        self, name: str, value: float | None, scale: float, limits: tuple[float, float], unit: float
    ) -> int | None:
        """In units of the protocol; limits in the hello's.

        Raises:
            ConfigurationError: outside of what the board says that it can.
        """
        low, high = (limit * unit for limit in limits)
        if value is not None and not low * (1 - 1e-6) - 1e-9 <= value <= high * (1 + 1e-6) + 1e-9:
            raise ConfigurationError(
                f"camera {self._name!r}: {name} = {value:g} was asked for; its board can do {low:g} to {high:g}"
            )
        return None if value is None else round(value * scale)

    def _settings_for(self, exposure_us: int, gain_mdb: int) -> CameraSettings:
        key = exposure_us, gain_mdb
        if key not in self._settings_of:
            self._settings_of = {key: CameraSettings(
                exposure_s=exposure_us * 1e-6,
                gain_db=gain_mdb / 1000,
                pixel_format=self._link.hello.modes[self._mode].pixel_format,
                binning=(1, 1),
            )}  # fmt: skip
        return self._settings_of[key]

    def _frame(self, found: BoardFrame, begun_ns: int, asked_ns: int) -> Frame:
        begin, hello = found.begin, self._link.hello
        if begin.mode != self._mode:
            modes = hello.modes
            self._lose(f"it has changed from {modes[self._mode]} to {modes[begin.mode]} by itself")
        settings = self._settings_for(begin.exposure_us, begin.gain_mdb)
        sequence = found.sequence - self._base
        # By the two clocks; what is known for sure: after it was asked for, and before it came.
        t_host_ns = min(max(self._link.clock.host_ns(begin.start_us), asked_ns), begun_ns)
        meta = FrameMeta(
            sequence=sequence,
            t_host_ns=max(t_host_ns, self._last_ns + 1),
            t_device_ns=begin.start_us * 1000,
            exposure_s=settings.exposure_s,
            gain_db=settings.gain_db,
            bit_depth=begin.bit_depth,
            black_level_dn=hello.black_level_dn,
            pixel_format=settings.pixel_format,
            cfa=hello.modes[begin.mode].cfa,
            raw=hello.raw,
            temperature_c=begin.temperature_c,
            camera_id=self._camera_id,
            settings_id=settings.id,
            lost_before=found.sequence - self._delivered,
        )
        self._delivered, self._last_ns = found.sequence + 1, meta.t_host_ns
        return Frame(found.pixels, meta)

    def _check_open(self) -> None:
        if self._gone:
            raise CameraLost(self._gone)
        if self._closed.is_set():
            raise closed(self._camera_id)

    def _device(self, call: Callable[[], T]) -> T:
        """What a call of the link returns; its errors as those of a camera."""
        alive()
        try:
            return call()
        except CameraError:
            raise
        except DeviceLost as error:
            self._check_open()
            self._lose(str(error))
        except DeviceError as error:
            self._check_open()
            raise CameraError(f"camera {self._name!r}: {error}") from error

    def _lose(self, reason: str) -> NoReturn:
        frames = self._delivered - self._base
        after = (
            f"after {frames} frame{'s' * (frames != 1)} of this connection"
            if self._last_ns >= 0
            else "before its first frame"
        )
        self._gone = f"camera {self._name!r} is lost {after}: {reason}; connect it again, and open it anew"
        known = self._link.assembler.known
        _LOST_AT[self._link.hello.serial] = self._link.boot, known
        self._link.close()
        raise CameraLost(self._gone, known - self._delivered)


def _lasting(port_name: str, device: str, listing: Callable[[], Iterable[Any]]) -> str:
    """What finds this port again: a device's number says nothing tomorrow, but its USB serial number does."""
    if port_name != device:
        return port_name
    there = list(listing())
    mine = [port.serial_number for port in there if port.device == device and port.serial_number]
    if mine and [port.serial_number for port in there].count(mine[0]) == 1:
        return f"id:{mine[0]}"
    return port_name
