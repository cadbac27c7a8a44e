"""A sensor on a microcontroller, as a camera."""

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
from hardware.serial_board import messages
from hardware.serial_board.address import parse_place
from hardware.serial_board.assembly import BoardFrame
from hardware.serial_board.led_matrix import LedMatrix
from hardware.serial_board.link import ANSWER_S, HELLO_S, BoardLink
from hardware.serial_board.messages import Settings
from hardware.serial_port import SerialPort, ports

# Unplugged is to be said within 2 s.
STALL_S = 0.9
SURE_S = 0.6
SLICE_S = 0.1
# A line that lets none of so many frames through is as good as none; nor is one that loses even their beginnings, and
# all of 1, 2, 4 ... frames that are asked for.
MOST_IN_VAIN = 30
MOST_ROUNDS = 6

T = TypeVar("T")


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
        self._gone, self._streaming, self._until = "", False, 0
        self._mode, self._last_ns = 0, -1
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
        self._delivered = self._link.assembler.first  # number of the frame after the last one, by the board's count
        self._camera_id = f"board-{re.sub(r'[^A-Za-z0-9.:_-]', '_', hello.serial)}"
        self._again = _address(port_name, port.device, place, listing)
        try:
            self._set_up(options.mode, options.exposure_s, options.gain_db)
        except BaseException:
            self.close()
            raise

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
            ConfigurationError: a setting that it has not, or a value that the board refuses.
            CameraError: the board does not answer, or has restarted.
        """
        self._check_open()
        self._end_stream()
        for name, value in wanted.asked().items():
            if name not in ("exposure_s", "gain_db") and value != (had := getattr(self._settings, name)):
                hint = "ask for mode= in its address" if name in ("pixel_format", "region") else "ask for nothing"
                raise ConfigurationError(
                    f"camera {self._name!r} cannot set {name} to {value!r}; it has {had!r}; {hint}"
                )
        if wanted.exposure_s not in (None, self._settings.exposure_s) or wanted.gain_db not in (
            None,
            self._settings.gain_db,
        ):
            self._ask_for(Settings(None, _us(wanted.exposure_s), _mdb(wanted.gain_db)))
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
        self._end_stream()
        frames: list[Frame] = []
        rounds = 0  # without a frame
        while len(frames) < n:
            if rounds > MOST_ROUNDS:
                self._lose_line()
            # More of them where the line lets none through.
            self._begin_stream(min((n - len(frames)) << rounds, messages.FOR_EVER_FRAMES - 1))
            rounds += 1
            while len(frames) < n and (frame := self._next(asked_ns)) is not None:
                frames.append(frame)
                rounds = 0
            self._check_open()
        return frames

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
            if not self._streaming:
                self._begin_stream(messages.FOR_EVER_FRAMES)
            if (frame := self._next(0)) is not None:
                yield frame

    def _set_up(self, mode: int | None, exposure_s: float | None, gain_db: float | None) -> None:
        hello = self._link.hello
        if mode is not None and mode >= len(hello.modes):
            known = ", ".join(f"{number}: {one}" for number, one in enumerate(hello.modes))
            raise ConfigurationError(f"camera {self._name!r} has no mode {mode}; it has {known}")
        self._ask_for(Settings(mode, _us(exposure_s), _mdb(gain_db)))

    def _ask_for(self, wanted: Settings) -> None:
        patience_s = self._patience_s(exposure_us=wanted.exposure_us)
        applied = self._device(lambda: self._link.configure(wanted, patience_s))
        if applied.mode >= len(self._link.hello.modes) or (wanted.mode is not None and applied.mode != wanted.mode):
            raise CameraError(
                f"camera {self._name!r}: mode {wanted.mode} was asked for, {applied.mode} is read back; "
                "update its firmware"
            )
        self._mode, self._settings_of = applied.mode, {}
        self._settings = self._settings_for(applied.exposure_us, applied.gain_mdb)

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

    def _begin_stream(self, count: int) -> None:
        first = self._device(lambda: self._link.stream(count, self._patience_s()))
        self._streaming = count == messages.FOR_EVER_FRAMES
        self._until = first + count  # by the board's count

    def _end_stream(self) -> None:
        if self._streaming or self._link.assembler.next < self._until:
            self._streaming, self._until = False, 0
            self._device(lambda: self._link.stream(0, self._patience_s()))
        self._link.frames.clear()  # older than what is asked for now

    def _next(self, asked_ns: int) -> Frame | None:
        """The next frame; None when there is nothing more to wait for: to ask anew, or the camera was closed."""
        link = self._link
        while not link.frames:
            if self._closed.is_set() or (not self._streaming and link.assembler.next >= self._until):
                return None
            self._device(lambda: link.read(SLICE_S))
            if link.assembler.in_vain > MOST_IN_VAIN:
                self._lose_line()
            if time.monotonic() - link.heard_s > self._patience_s(STALL_S):
                # The word that its count is done was lost, or it is: it has to answer at once.
                self._streaming, self._until = False, 0
                self._device(lambda: link.stream(0, SURE_S))
        board_frame, begun_ns = link.frames.popleft()
        return self._frame(board_frame, begun_ns, asked_ns)

    def _frame(self, found: BoardFrame, begun_ns: int, asked_ns: int) -> Frame:
        begin, hello = found.begin, self._link.hello
        if begin.mode != self._mode:
            modes = hello.modes
            self._lose(f"it has changed from {modes[self._mode]} to {modes[begin.mode]} by itself")
        settings = self._settings_for(begin.exposure_us, begin.gain_mdb)
        sequence = found.sequence - self._link.assembler.first
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

    def _patience_s(self, silence_s: float = ANSWER_S, exposure_us: int | None = None) -> float:
        """How long the board may say nothing: a simple one does nothing else while it exposes."""
        longest_us = max(exposure_us or 0, round(self._settings.exposure_s * 1e6) if self._settings else 0)
        return silence_s + 2e-6 * longest_us

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

    def _lose_line(self) -> NoReturn:
        begun, damaged = self._link.assembler.in_vain, self._link.damaged
        self._lose(
            f"{begun} frames in a row began to come, and none came whole ({damaged} damaged packets); take a shorter "
            "cable, or a lower baud="
        )

    def _lose(self, reason: str) -> NoReturn:
        after = (
            f"after frame {self._delivered - 1 - self._link.assembler.first}"
            if self._last_ns >= 0
            else "before its first frame"
        )
        self._gone = f"camera {self._name!r} is lost {after}: {reason}; connect it again, and open it anew"
        self._link.close()
        raise CameraLost(self._gone, self._link.assembler.known - self._delivered)


def _us(exposure_s: float | None) -> int | None:
    return None if exposure_s is None else min(max(1, round(exposure_s * 1e6)), 2**32 - 1)


def _mdb(gain_db: float | None) -> int | None:
    return None if gain_db is None else round(min(max(gain_db, -2e6), 2e6) * 1000)


def _address(port_name: str, device: str, place: str, listing: Callable[[], Iterable[Any]]) -> str:
    """What opens this board again: a device's number says nothing tomorrow, but its USB serial number does."""
    if port_name == device:
        numbers = [port.serial_number for port in listing() if port.serial_number]
        mine = [port.serial_number for port in listing() if port.device == device and port.serial_number]
        if mine and numbers.count(mine[0]) == 1:
            return f"serial:id:{mine[0]}{place.removeprefix(port_name)}"
    return f"serial:{place}"
