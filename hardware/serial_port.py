"""A serial port: opened by its path or by the number of its USB device, and lost in one way whatever pyserial raises.

Only paths of devices are opened: pyserial's `serial_for_url` would take "spy://...?file=PATH" for a port, and write
that file.
"""

import contextlib
import os
import pathlib
import re
import stat
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

from hardware.closing import Closing
from hardware.errors import ConfigurationError, DeviceError, DeviceLost

try:
    from termios import error as termios_error
except ImportError:  # Windows
    termios_error = OSError

# What pyserial 3.5 raises when a device is pulled out: its own error where it looks, the system's where it does not,
# termios' own, which is neither, when buffers are thrown away, and TypeError where the file is closed meanwhile.
GONE = (OSError, termios_error, TypeError, ValueError)
BAUD = 115_200
# A board on USB takes any rate; 4 s is for one on a slow line whose buffers are full.
WRITE_S = 4.0
LAST_S = 0.2
SLICE_S = 0.1
AT_ONCE_BYTES = 65_536
_SEE = "See 'lensless devices'"
_DEVICE = re.compile(r"/dev/(tty[\w.-]+|cu\.[\w.-]+|pts/\d+)|COM\d{1,3}")


def ports() -> list[Any]:
    """The serial ports of this machine, as pyserial lists them: device, description, serial_number, vid, pid."""
    from serial.tools import list_ports

    return sorted(list_ports.comports(), key=lambda port: port.device)


class SerialPort(Closing):
    """An open port, that nobody else of ours can open meanwhile. Reads in one thread; `close` from any.

    Args:
        place: path of a device, of a link to one (such as those in /dev/serial/by-id), or "id:NUMBER", the serial
            number of a USB device.
        baud: bits per second; USB devices do not care.
        dtr: state of the line "data terminal ready"; None sets it as always when a port is opened, which resets many
            Arduino boards; False leaves it down, and the board as it is.
        listing: what ports there are.

    Raises:
        ConfigurationError: `place` is not a device, or no such number can be told from another.
        DeviceError: it is not there, is in use, or may not be opened.
    """

    def __init__(
        self,
        place: str,
        baud: int = BAUD,
        dtr: bool | None = None,
        listing: Callable[[], Iterable[Any]] = ports,
    ):
        import serial  # pyserial; loaded by those who have a board

        self.place, self.device = place, device_of(place, listing)
        self._closed, self._reading = threading.Event(), threading.Lock()
        self._serial = serial.Serial(timeout=SLICE_S, write_timeout=WRITE_S, exclusive=True)
        self._serial.port, self._serial.baudrate = self.device, baud
        if dtr is False:
            self._serial.dtr = self._serial.rts = False
        try:
            self._serial.open()
        except (*GONE, serial.SerialException) as error:
            raise DeviceError(f"serial port '{place}' cannot be opened: {_why(error)}") from error

    def read(self, timeout_s: float) -> bytes:
        """What has come, as soon as there is something; b"" after `timeout_s`, or when the port is closed meanwhile.

        Raises:
            DeviceLost: the device is gone.
        """
        until_s = time.monotonic() + timeout_s
        with self._reading:
            while not self._closed.is_set():
                try:
                    if first := self._serial.read(1):
                        return first + self._serial.read(min(self._serial.in_waiting, AT_ONCE_BYTES))
                except GONE as error:
                    self._lose(error)
                if time.monotonic() >= until_s:
                    break
        return b""

    def write(self, data: bytes) -> None:
        """Send all of `data`.

        Raises:
            DeviceLost: the device is gone, or has taken nothing for 4 s.
        """
        try:
            self._serial.write(data)
        except GONE as error:
            self._lose(error)

    def say_last(self, data: bytes) -> None:
        """Send `data` if that can be done at once; for what is said before a port is closed, which may be gone."""
        if not self._closed.is_set():
            with contextlib.suppress(*GONE):
                self._serial.write_timeout = LAST_S
                self._serial.write(data)

    def check_open(self) -> None:
        """Raises DeviceError if it was closed."""
        if self._closed.is_set():
            raise self._was_closed()

    def close(self) -> None:
        """Let the device go; a second call does nothing."""
        self._closed.set()
        with self._reading, contextlib.suppress(*GONE):  # it was gone before
            self._serial.close()

    def _lose(self, error: Exception) -> NoReturn:
        if self._closed.is_set():
            raise self._was_closed() from error
        raise DeviceLost(f"serial port '{self.place}' is gone: {_why(error)}") from error

    def _was_closed(self) -> DeviceError:
        return DeviceError(f"serial port '{self.place}' is closed; open it again to use it")


def device_of(place: str, listing: Callable[[], Iterable[Any]] = ports) -> str:
    """The path of the device that `place` means now.

    Raises:
        ConfigurationError: it is no device, or two devices have this serial number.
        DeviceError: nothing is there.
    """
    if place.startswith("id:"):
        return _by_number(place.removeprefix("id:"), listing)
    if os.name == "nt" and _DEVICE.fullmatch(place):
        return place
    try:
        real = os.path.realpath(place)
        kind = pathlib.Path(real).stat().st_mode
    except (OSError, ValueError):  # ValueError: a NUL
        raise DeviceError(f"serial port {place!r:.200} is not there; is it plugged in? {_SEE}") from None
    if not (stat.S_ISCHR(kind) and _DEVICE.fullmatch(real)):
        raise ConfigurationError(
            f"serial port {place!r:.200} is not a serial device; expected e.g. /dev/ttyACM0, "
            f"/dev/serial/by-id/..., COM3 or id:SERIAL_NUMBER. {_SEE}"
        )
    return real


def _by_number(number: str, listing: Callable[[], Iterable[Any]]) -> str:
    there = list(listing())
    found = [port.device for port in there if number and port.serial_number == number]
    if len(found) > 1:
        raise ConfigurationError(
            f"serial number '{number}' is that of {' and '.join(found)}; name the board by /dev/serial/by-path/..."
        )
    if not found:
        known = ", ".join(f"'{port.serial_number}'" for port in there if port.serial_number) or "none"
        raise DeviceError(f"no serial port with serial number '{number:.100}' is plugged in; there is {known}")
    return found[0]


def _why(error: Exception) -> str:
    text = str(error)
    if "exclusively lock" in text or getattr(error, "errno", None) == 16:
        return "another program has it open; end that one first"
    if getattr(error, "errno", None) == 13:
        return "this user may not open it; on most systems: sudo usermod -aG dialout $USER, then log out and in again"
    if getattr(error, "errno", None) in (2, 6, 19) or "returned no data" in text:
        return "it was pulled out, or has switched itself off"
    return f"{type(error).__name__}: {text[:200]}"
