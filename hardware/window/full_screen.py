"""A black window over a whole monitor, through OpenCV; of its process, the thread that makes it does all with it."""

import os
import sys
import time
from collections.abc import Callable
from types import ModuleType

import numpy as np

from hardware.child import deadline
from hardware.errors import ConfigurationError, DeviceError, DeviceLost
from hardware.window.cursor import hide_cursor
from hardware.window.monitors import Desktop, Monitor

OPEN_S = 5.0  # for a window manager to make the window as large as the monitor
SHOW_S = 1.0  # for a picture to be on the screen
PUMP_S = 0.02  # how often the window's events are looked at, and how long one that is not read back is given
# Asked at once to be full-screen, 5 of 120 windows stayed as they were (openbox, a busy machine: it had not seen them
# yet), and in 1 of 240 Qt never drew (no window manager). So they are given time, and what still fails is made again.
SETTLED_S, TRIES = 0.1, 4
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
        self.title, self.keys = f"lensless {os.getpid()}", list[int]()
        for left in reversed(range(TRIES)):
            self._make()
            self.monitor = self._fill(monitor) if monitor else self._fill_first()
            # Black on black proves nothing.
            if self._draws(levels := np.ones((self.monitor.height_px, self.monitor.width_px), np.uint8)):
                break
            if not left:
                raise DeviceError(self._difference(levels * GREY))
            cv2.destroyWindow(self.title)
            self.pump_until(lambda: False, PUMP_S)
        self.cursor_hidden = hide_cursor(self.title)

    def _make(self) -> None:
        """A small window, which is on the desktop before it is asked to fill a monitor."""
        make_window(self._cv2, self.title, self._cv2.WINDOW_FREERATIO)
        self.pump_until(lambda: False, SETTLED_S)

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
        if not is_visible(self._cv2, self.title):
            raise DeviceLost(f"{self.monitor}: its window was closed; open it anew")

    def show(self, levels: np.ndarray) -> None:
        """Show 8-bit levels (height, width); returns when they are on the screen, as far as it can be read.

        Raises:
            DeviceError: something else is there.
            DeviceLost: somebody closed the window.
        """
        self.pump()
        self.check()  # for a window that is closed, OpenCV would make another one of its own size
        if not self._draws(levels):
            self.check()
            raise DeviceError(self._difference(levels * GREY))

    def _draws(self, levels: np.ndarray) -> bool:
        """Draw, and look whether it is there in time."""
        self._cv2.imshow(self.title, levels)
        self.pump()
        if self._desktop is None:
            self.pump_until(lambda: False, PUMP_S)
            return True
        wanted = levels * GREY
        return self.pump_until(lambda: np.array_equal(self._desktop.read(self.monitor), wanted), SHOW_S)

    def _difference(self, wanted: np.ndarray) -> str:
        seen = self._desktop.read(self.monitor)
        wrong = np.argwhere(seen != wanted)
        if not len(wrong):
            return f"{self.monitor}: the picture took longer than {SHOW_S:g} s; is the machine busy?"
        (top, left), (bottom, right) = wrong.min(0), wrong.max(0)
        row, column = wrong[0]
        wayland = " Wayland lets no program read the screen: leave verify=on out" * ("WAYLAND_DISPLAY" in os.environ)
        return (
            f"{self.monitor} does not show what it was given: {len(wrong)} pixels differ, rows {top} to {bottom} and "
            f"columns {left} to {right}; the first is #{seen[row, column]:06x}, expected #{wanted[row, column]:06x}; "
            f"is a window or a message in front of it, or the screen locked?{wayland}"
        )


def make_window(cv2: ModuleType, title: str, flags: int) -> None:
    """A window whose user may change its size.

    Raises:
        ConfigurationError: this OpenCV has no windows.
    """
    try:
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_GUI_NORMAL | flags)
    except cv2.error as error:
        raise ConfigurationError(
            f"this OpenCV has no windows: pip uninstall opencv-python-headless, then pip install opencv-python "
            f"({str(error).splitlines()[0]})"
        ) from error


def is_visible(cv2: ModuleType, title: str) -> bool:
    """Whether a window is still there."""
    try:
        return cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error:
        return False


def load_cv2() -> ModuleType:
    """The module cv2, told not to scale.

    Raises:
        ConfigurationError: it is not installed.
    """
    if sys.platform.startswith("linux"):
        os.environ.update(QT)
    try:
        import cv2  # after the environment, which it reads once
    except ImportError as error:
        raise ConfigurationError(f"a window needs OpenCV: pip install opencv-python ({error})") from error
    return cv2
