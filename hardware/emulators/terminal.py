"""The device's end of a serial line: a pseudo-terminal that can be unplugged and plugged in again (not on Windows)."""

import contextlib
import os
import pathlib
import select
import threading
import time
import tty
from collections.abc import Callable

from hardware.closing import Closing
from hardware.errors import ConfigurationError

AT_ONCE_BYTES = 65_536
# Nothing tells a pseudo-terminal that its other end is opened; it is looked at this often.
LOOK_S = 0.005
WAIT_S = 0.05


class Terminal(Closing):
    """A serial device that a program opens by `path`, or by `link`.

    One thread reads and one writes; `unplug`, `replug` and `close` may be called from any, and end what waits.

    Args:
        link: a symbolic link that always points to the device, as those of /dev/serial/by-id do; None: there is none.

    Raises:
        ConfigurationError: something else than a link stands at `link`.
    """

    def __init__(self, link: str | os.PathLike[str] | None = None):
        self.link = None if link is None else pathlib.Path(link)
        if self.link:
            check_link(self.link)
        self._reading, self._writing, self._changing = threading.Lock(), threading.Lock(), threading.RLock()
        self._wake = os.pipe()
        self._device: int | None = None
        self._closed = False
        self.path = ""
        self.replug()

    @property
    def plugged(self) -> bool:
        return self._device is not None

    @property
    def opened(self) -> bool:
        """Whether a program has the device open now."""
        with self._changing:
            return self.plugged and not _ready(self._device, 0, 0, None) & select.POLLHUP

    def read(self, timeout_s: float) -> bytes:
        """What the program has sent, as soon as there is something; b"" after `timeout_s`, or when unplugged."""
        until_s = time.monotonic() + timeout_s
        with self._reading:
            while (device := self._device) is not None:  # which is closed only when this is not being done
                left_s = max(0.0, until_s - time.monotonic())
                state = _ready(device, select.POLLIN, left_s, self._wake[0])
                with contextlib.suppress(OSError):  # the program has closed it in this moment
                    if state & select.POLLIN and (data := os.read(device, AT_ONCE_BYTES)):
                        return data
                if not left_s:
                    break
                if state & select.POLLHUP:
                    time.sleep(min(left_s, LOOK_S))
        return b""

    def write(self, data: bytes, enough: Callable[[], bool] = lambda: False) -> int:
        """Send to the program, as fast as it reads; returns how many bytes it has got, or will get.

        What is left is lost when no program has the device open, when it is unplugged, and when it was `enough`: a
        program that does not read lets it wait for ever.
        """
        view, sent = memoryview(data), 0
        with self._writing:
            while (device := self._device) is not None and sent < len(view):
                state = _ready(device, select.POLLOUT, WAIT_S, self._wake[0])
                if state & select.POLLHUP:
                    break
                if not state and enough():
                    break
                if state & select.POLLOUT:
                    with contextlib.suppress(OSError):
                        sent += os.write(device, view[sent : sent + AT_ONCE_BYTES])
        return sent

    def unplug(self) -> None:
        """The device is gone in the middle of whatever goes on; a second call does nothing."""
        with self._changing:
            if (device := self._device) is None:
                return
            self._device = None
            os.write(self._wake[1], b".")
            with self._reading, self._writing:  # whose number of a file may be given to another one from here on
                os.read(self._wake[0], 1)
                os.close(device)
            if self.link and os.path.islink(self.link) and os.readlink(self.link) == self.path:
                self.link.unlink(missing_ok=True)

    def replug(self) -> None:
        """The device is there again, under another name, and the link follows."""
        with self._changing:
            if self._closed:
                raise ConfigurationError(f"the emulated device at '{self.path}' is closed; make another one")
            self.unplug()
            device, path = _opened()
            if path == self.path:  # the system gives the lowest name that is free
                same = device
                device, path = _opened()
                os.close(same)
            if self.link:
                beside = self.link.with_name(f"{self.link.name}.new")
                beside.unlink(missing_ok=True)
                beside.symlink_to(path)
                beside.replace(self.link)
            self._device, self.path = device, path

    def close(self) -> None:
        with self._changing:
            if not self._closed:
                self.unplug()
                self._closed = True
                for end in self._wake:
                    os.close(end)


def check_link(link: pathlib.Path) -> None:
    """Raises ConfigurationError unless a device's link can stand at `link`."""
    if link.exists() or (link.is_symlink() and not os.readlink(link).startswith("/dev/")):
        raise ConfigurationError(
            f"'{link}' is there already; remove it, if no other program has put it there, or name another place"
        )
    if not link.parent.is_dir():
        raise ConfigurationError(f"link '{link}': its folder does not exist; make it, or name another place")
    if not os.access(link.parent, os.W_OK):
        raise ConfigurationError(f"link '{link}': its folder cannot be written; name another place")


def _opened() -> tuple[int, str]:
    """The device's end of a new pseudo-terminal that changes no byte, and the path of the program's end."""
    device, program = os.openpty()
    tty.setraw(program)
    path = os.ttyname(program)
    os.close(program)  # so that the device sees when a program opens it, and when it closes it
    os.set_blocking(device, False)
    return device, path


def _ready(device: int, events: int, timeout_s: float, wake: int | None) -> int:
    """What `device` is ready for: POLLIN, POLLOUT, and POLLHUP while no program has it open."""
    poll = select.poll()
    poll.register(device, events)
    if wake is not None:
        poll.register(wake, select.POLLIN)
    return next((state for number, state in poll.poll(timeout_s * 1000) if number == device), 0)
