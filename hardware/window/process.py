"""What runs in the child process of a `Window`: python -m hardware.window.process NUMBER ROWS COLUMNS OPTIONS

One thread makes the window, draws in it, and keeps it alive: toolkits want it so, and a window whose program looks away
is taken for hung.
"""

import base64
import contextlib
import dataclasses
import importlib.util
import os
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import NoReturn

import numpy as np

from hardware.child import Parent, deadline, error_message, leave
from hardware.errors import ConfigurationError, DeviceError, DeviceLost, LenslessError
from hardware.window.address import parse_window
from hardware.window.cursor import hide_cursor
from hardware.window.layout import Layout
from hardware.window.monitors import Desktop, Monitor, check_desktop, choose

OPEN_S = 5.0  # for a window manager to make the window as large as the monitor
SHOW_S = 1.0  # for a picture to be on the screen
PUMP_S = 0.02  # how often the window's events are looked at, and how long one that is not read back is given
GREY = np.uint32(0x010101)
# The wheel of OpenCV has Qt for X11 only. Qt would scale what is drawn, and wait 5 ms before it draws.
QT = {
    "QT_QPA_PLATFORM": "xcb",
    "QT_AUTO_SCREEN_SCALE_FACTOR": "0",
    "QT_ENABLE_HIGHDPI_SCALING": "0",
    "QT_SCALE_FACTOR": "1",
    "QT_SCREEN_SCALE_FACTORS": "",
    "QT_QPA_UPDATE_IDLE_TIME": "0",
}


class FullScreen:
    """A black window over a whole monitor.

    Args:
        cv2: the module.
        monitor: None for the first one, whose size is then that of the window.
        desktop: what reads the screen; None where that is not to be done.

    Raises:
        ConfigurationError: this OpenCV has no windows.
        DeviceError: the window does not fill the monitor.
    """

    def __init__(self, cv2: ModuleType, monitor: Monitor | None, desktop: Desktop | None):
        self._cv2, self._desktop = cv2, desktop
        self.keys: list[int] = []
        self.title = f"lensless {os.getpid()}"
        try:
            cv2.namedWindow(self.title, cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL)
        except cv2.error as error:
            raise ConfigurationError(
                f"this OpenCV has no windows: pip uninstall opencv-python-headless, then pip install opencv-python "
                f"({str(error).splitlines()[0]})"
            ) from error
        self.monitor = self._fill(monitor) if monitor else self._fill_first()
        self.cursor_hidden = hide_cursor(self.title)

    def _fill(self, monitor: Monitor) -> Monitor:
        self._place(monitor)
        self._cv2.setWindowProperty(self.title, self._cv2.WND_PROP_FULLSCREEN, self._cv2.WINDOW_FULLSCREEN)
        self._cv2.imshow(self.title, np.zeros((monitor.height_px, monitor.width_px), np.uint8))
        if self.pump_until(lambda: self._rect() == monitor.rect, OPEN_S / 2):
            return monitor
        self._place(monitor)  # without a window manager nobody else does it
        if self.pump_until(lambda: self._rect() == monitor.rect, OPEN_S / 2):
            return monitor
        left, top, width, height = self._rect()
        raise DeviceError(
            f"{monitor}: the window does not fill it: it is {width} x {height} pixels, {left} px from the left and "
            f"{top} px from the top of the desktop; expected {monitor.rect}; set the scale of the desktop to 100 %"
        )

    def _fill_first(self) -> Monitor:
        """Without a list of monitors: as large as full screen makes it."""
        small = Monitor(number=0, left_px=0, top_px=0, width_px=160, height_px=120)
        self._place(small)
        self.pump_until(lambda: self._rect()[2:] == small.rect[2:], PUMP_S * 10)
        self._cv2.setWindowProperty(self.title, self._cv2.WND_PROP_FULLSCREEN, self._cv2.WINDOW_FULLSCREEN)
        # Before its first picture, the rectangle that OpenCV 5.0 tells with Qt is not that of the window.
        self._cv2.imshow(self.title, np.zeros((1, 1), np.uint8))
        self.pump_until(lambda: self._rect()[2] > 2 * small.width_px, OPEN_S / 2)
        self.pump_until(lambda: False, PUMP_S * 10)
        left, top, width, height = self._rect()
        if width <= 2 * small.width_px:
            raise DeviceError(
                f"window:0: the window stays at {width} x {height} pixels and fills no monitor; without a window "
                "manager its size must be known: pip install mss"
            )
        return Monitor(number=0, left_px=left, top_px=top, width_px=width, height_px=height)

    def _place(self, monitor: Monitor) -> None:
        self._cv2.moveWindow(self.title, monitor.left_px, monitor.top_px)
        self._cv2.resizeWindow(self.title, monitor.width_px, monitor.height_px)

    def _rect(self) -> tuple[int, ...]:
        return tuple(self._cv2.getWindowImageRect(self.title))

    def pump(self) -> None:
        """Let the window live, and keep the keys that are pressed in it."""
        if (key := self._cv2.pollKey()) >= 0:
            self.keys.append(key & 0xFF)

    def pump_until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        left_s = deadline(timeout_s)
        while not (finished := done()) and left_s():
            self.pump()
            time.sleep(0.001)
        return finished

    def check(self) -> None:
        """Raises DeviceLost: somebody closed the window."""
        try:
            visible = self._cv2.getWindowProperty(self.title, self._cv2.WND_PROP_VISIBLE) >= 1
        except self._cv2.error:
            visible = False
        if not visible:
            raise DeviceLost(f"{self.monitor}: its window was closed; open it anew")

    def show(self, levels: np.ndarray) -> None:
        """Show 8-bit levels (height, width); returns when they are on the screen, as far as it can be read.

        Raises:
            DeviceError: something else is there.
            DeviceLost: somebody closed the window.
        """
        self.pump()
        self.check()  # for a window that is closed, OpenCV would make another one of its own size
        self._cv2.imshow(self.title, levels)
        self.pump()
        if self._desktop is None:
            self.pump_until(lambda: False, PUMP_S)
            return
        wanted = levels * GREY
        if not self.pump_until(lambda: np.array_equal(self._desktop.read(self.monitor), wanted), SHOW_S):
            self.check()
            raise DeviceError(self._difference(wanted))

    def _difference(self, wanted: np.ndarray) -> str:
        seen = self._desktop.read(self.monitor)
        wrong = np.argwhere(seen != wanted)
        if not len(wrong):
            return f"{self.monitor}: the picture took longer than {SHOW_S:g} s; is the machine busy?"
        (top, left), (bottom, right) = wrong.min(0), wrong.max(0)
        row, column = wrong[0]
        return (
            f"{self.monitor} does not show what it was given: {len(wrong)} pixels differ, rows {top} to {bottom} and "
            f"columns {left} to {right}; the first is #{seen[row, column]:06x}, expected #{wanted[row, column]:06x}; "
            "is a window or a message in front of it, is the screen locked, is a night mode on?"
        )


def serve(parent: Parent, number: int, shape: tuple[int, int], options_text: str) -> None:
    """Make the window, and show what the parent sends until it has enough."""
    options = parse_window(f"{number}{options_text}")[1]
    check_desktop()
    with contextlib.ExitStack() as stack:
        if number == 0 and importlib.util.find_spec("mss") is None:
            desktop, monitor, why_not = None, None, "mss is not installed"
        else:
            desktop = stack.enter_context(Desktop())
            monitor, why_not = choose(desktop.monitors(), number), _why_not(options.verify)
        if options.verify == "on" and desktop is None:
            raise ConfigurationError(f"window:{number}: verify=on reads the screen with mss: pip install mss")
        screen = FullScreen(_load_cv2(), monitor, None if why_not else desktop)
        layout = Layout.of(shape, screen.monitor.width_px, screen.monitor.height_px, options, str(screen.monitor))
        screen.show(layout.on_screen(np.zeros(shape, np.uint8)))
        parent.send(
            open=True, monitor=dataclasses.asdict(screen.monitor), pixels_per_point=layout.pixels_per_point,
            not_verified=why_not, cursor_hidden=screen.cursor_hidden,
        )  # fmt: skip
        _run(parent, screen, layout)


def _run(parent: Parent, screen: FullScreen, layout: Layout) -> None:
    while True:
        order = parent.receive(PUMP_S)
        if order is not None:
            levels = np.frombuffer(base64.b64decode(order["levels"]), np.uint8).reshape(layout.shape)
            try:
                screen.show(layout.on_screen(levels))
                parent.send(shown=order["number"])
            except DeviceLost:
                raise
            except DeviceError as error:  # what is in front of it may go away
                parent.send(**error_message(error))
        screen.pump()
        while screen.keys:
            parent.send(key=screen.keys.pop(0))
        screen.check()


def _why_not(verify: str) -> str:
    """Why the screen is not read back; nothing if it is."""
    if verify != "auto":
        return "verify=off" * (verify == "off")
    if os.environ.get("WAYLAND_DISPLAY"):
        return "Wayland lets no program read the screen"
    return "macOS lets programs read the screen only after a permission" * (sys.platform == "darwin")


def _load_cv2() -> ModuleType:
    if sys.platform.startswith("linux"):
        os.environ.update(QT)
    try:
        import cv2  # after the environment, which it reads once
    except ImportError as error:
        raise ConfigurationError(f"a window needs OpenCV: pip install opencv-python ({error})") from error
    return cv2


def main(number: str, rows: str, columns: str, options: str) -> NoReturn:
    """Serve the parent, and tell it what went wrong."""
    with contextlib.suppress(ImportError):  # Windows
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # Qt aborts where there is no desktop
    parent = Parent(on_end=leave)
    try:
        serve(parent, int(number), (int(rows), int(columns)), options)
    except EOFError:
        leave()
    except LenslessError as error:
        parent.send(**error_message(error))
    except Exception as error:  # a toolkit may raise anything; the parent tells of it
        parent.send(**error_message(DeviceError(f"window:{number}: {type(error).__name__}: {error}; open it anew")))
    leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
