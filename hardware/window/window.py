"""A full-screen window on a monitor or a projector; docs/display.md tells how one is set up."""

import base64
import threading
from typing import NoReturn

import numpy as np

from hardware.child import Child, ChildEnded, deadline
from hardware.closing import Closing
from hardware.errors import ConfigurationError, DeviceLost
from hardware.pattern_source import checked_picture
from hardware.window.address import WindowOptions, parse_window
from hardware.window.monitors import Monitor

OPEN_S, SHOW_S = 30.0, 10.0
BRIGHTEST, ESC = 255, 27


class Window(Closing):
    """A display on one monitor: each point of the scene is an exact square of pixels, and all else is black.

    It lives in a process of its own, which keeps it alive while nothing is shown, and ends with this one; when
    the desktop goes away, that process aborts and not this one. Any thread may show; one waits for the other.
    Esc in the window is Ctrl-C: the next `show` or `check` raises KeyboardInterrupt.

    Args:
        shape: (rows, columns) of the scene.
        monitor: its number, from 0, as `lensless show` lists them.
        options: squares, place, direction, and whether each picture is read back from the screen.

    Raises:
        ConfigurationError: no desktop, no such monitor, a scene that does not fit, or an OpenCV without windows.
        DeviceError: the monitor shows something else.
    """

    def __init__(self, shape: tuple[int, int], monitor: int = 0, options: WindowOptions | None = None):
        if len(shape) != 2 or min(shape) < 1:
            raise ConfigurationError(f"a window of shape {tuple(shape)}; expected (rows, columns), from 1 on")
        asked = WindowOptions() if options is None else options
        self._shape, self.place = tuple(shape), f"window:{monitor}{asked}"
        self._talking, self._number = threading.RLock(), 0
        self._keys: list[int] = []
        self._problem: BaseException | None = None
        self._child = Child(["-m", "hardware.window.process", str(monitor), *map(str, shape), str(asked)])
        try:
            opened = self._answer("open", OPEN_S)
        except BaseException:
            self.close()
            raise
        self.monitor = Monitor(**opened["monitor"])
        self.pixels_per_point: int = opened["pixels_per_point"]
        self.not_verified: str = opened["not_verified"]  # why pictures are not read back; empty where they are
        self.cursor_hidden: bool = opened["cursor_hidden"]

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    def show(self, picture: np.ndarray) -> None:
        """Show a picture (rows, columns) in [0, 1] as 8-bit levels, rint(255 picture).

        Returns when it is on the screen: read back from there and found equal in every pixel of the monitor, or where
        it cannot be read (`not_verified`), 20 ms after it was drawn. When light follows is measured, not known here.

        Raises:
            ConfigurationError: another type or shape, NaN, or values outside [0, 1].
            DeviceError: the monitor shows something else; it may be tried again.
            DeviceLost: the window was closed, or the desktop is gone.
            KeyboardInterrupt: Esc was pressed in the window.
        """
        levels = np.rint(checked_picture(picture, self._shape, self.place) * BRIGHTEST).astype(np.uint8)
        with self._talking:
            self.check()
            self._number += 1
            self._child.send(number=self._number, levels=base64.b64encode(levels.tobytes()).decode())
            left_s = deadline(SHOW_S)
            while self._answer("shown", left_s())["shown"] != self._number:
                continue  # of a call that was interrupted

    def clear(self) -> None:
        """Show black."""
        self.show(np.zeros(self._shape, np.float32))

    def check(self) -> None:
        """Raises what has happened to the window since the last look: as `show` does."""
        with self._talking:
            while (message := self._receive(0)) is not None:
                self._keep(message)

    def key(self) -> str | None:
        """The oldest key that was pressed in the window and not asked for yet; None if there is none."""
        with self._talking:
            self.check()
            return chr(self._keys.pop(0)) if self._keys else None

    def close(self) -> None:
        """Take the window from the monitor; a second call does nothing."""
        self._problem = self._problem or DeviceLost(f"{self.place} was closed; open it anew")
        self._child.close()

    def _answer(self, name: str, timeout_s: float) -> dict:
        left_s = deadline(timeout_s)
        while (message := self._receive(left_s())) is not None:
            if name in message:
                return message
            self._keep(message)
        self._fail(DeviceLost(f"{self.place} does not answer within {timeout_s:.0f} s; open it anew"))

    def _receive(self, timeout_s: float) -> dict | None:
        if self._problem is not None:
            raise self._problem
        try:
            return self._child.receive(timeout_s)
        except ChildEnded as error:
            self._fail(DeviceLost(f"{self.place} is gone ({error}): does the desktop still run? Open it anew"), error)
        except DeviceLost as error:
            self._fail(error)

    def _keep(self, message: dict) -> None:
        if message.get("key") == ESC:
            self._fail(KeyboardInterrupt(f"Esc was pressed in {self.place}"))
        if "key" in message:
            self._keys.append(message["key"])

    def _fail(self, problem: BaseException, cause: BaseException | None = None) -> NoReturn:
        """From now on it has this problem."""
        self._problem = problem
        raise problem from cause


def open_window(place: str, shape: tuple[int, int]) -> Window:
    """A window by its address without "window:", e.g. "0" or "1?pixels_per_point=20&turn_deg=180".

    Args:
        shape: (rows, columns) of the scene.

    Raises:
        ConfigurationError, DeviceError: as `Window` does, or an address that means nothing.
    """
    number, options = parse_window(place)
    return Window(shape, number, options)
