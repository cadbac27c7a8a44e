"""The monitors of this machine, and what they show, as far as it tells its programs."""

import dataclasses
import os
import sys

import numpy as np

from hardware.closing import Closing
from hardware.errors import ConfigurationError, DeviceError

COLOURS = np.uint32(0xFFFFFF)  # of a pixel as it is read; above them lies what nobody defines


@dataclasses.dataclass(frozen=True, kw_only=True)
class Monitor:
    """One monitor, or a projector.

    Args:
        number: from 0, in the order of the system; it may change when monitors are plugged.
        left_px, top_px: of its corner in the desktop, which may be negative.
        width_px, height_px: as it is set, turned or not.
        name: of the output or of the model, where the system tells it.
        primary: whether it is the one with the panels of the desktop; None where the system does not tell.
    """

    number: int
    left_px: int
    top_px: int
    width_px: int
    height_px: int
    name: str = ""
    primary: bool | None = None

    @property
    def rect(self) -> tuple[int, int, int, int]:
        """(left, top, width, height) in pixels."""
        return self.left_px, self.top_px, self.width_px, self.height_px

    def __str__(self) -> str:
        return f"window:{self.number} ({self.width_px} x {self.height_px}{', ' * bool(self.name)}{self.name})"


class Desktop(Closing):
    """All monitors, as one connection to the system sees them.

    Raises:
        ConfigurationError: no desktop can be reached, or the library that does it is not installed.
    """

    def __init__(self):
        check_desktop()
        try:
            import mss  # not at the top: who shows nothing need not have it
        except ImportError as error:
            raise ConfigurationError(f"monitors cannot be listed without mss: pip install mss ({error})") from error
        self._error = mss.exception.ScreenShotError
        try:
            self._screens = mss.MSS()
        except (self._error, OSError) as error:
            raise ConfigurationError(
                f"the desktop of this machine cannot be reached: {error} (DISPLAY is "
                f"{os.environ.get('DISPLAY', 'not set')!r}); run this in a terminal on that desktop, as its user"
            ) from error

    def monitors(self) -> list[Monitor]:
        """In the order of the system."""
        try:
            whole, *each = self._screens.monitors
        except self._error as error:
            raise DeviceError(f"the monitors cannot be listed: {error}; is the desktop still there?") from error
        return [
            Monitor(
                number=number, left_px=facts["left"], top_px=facts["top"], width_px=facts["width"],
                height_px=facts["height"], name=str(facts.get("name") or facts.get("output") or ""),
                primary=facts.get("is_primary"),
            )
            for number, facts in enumerate(each or [whole])
        ]  # fmt: skip

    def read(self, monitor: Monitor) -> np.ndarray:
        """What a monitor shows now: (height, width) of 0xRRGGBB, without the cursor of the mouse.

        Raises:
            DeviceError: the system does not let it be read.
        """
        left, top, width, height = monitor.rect
        try:
            grabbed = self._screens.grab({"left": left, "top": top, "width": width, "height": height})
        except self._error as error:
            raise DeviceError(f"what {monitor} shows cannot be read: {error}; ask for verify=off") from error
        pixels = np.frombuffer(grabbed.raw, np.uint32)
        if pixels.size != width * height:
            raise DeviceError(
                f"what {monitor} shows is read as {grabbed.size.width} x {grabbed.size.height} pixels: the desktop is "
                "scaled; set its scale to 100 %, or ask for verify=off"
            )
        return pixels.reshape(height, width) & COLOURS

    def close(self) -> None:
        self._screens.close()


def check_desktop() -> None:
    """Refuse what would abort a process: a window where there is no desktop.

    Raises:
        ConfigurationError: there is none.
    """
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        hint = " (Wayland is there: its X server, XWayland, is what is needed)" * ("WAYLAND_DISPLAY" in os.environ)
        raise ConfigurationError(
            f"no desktop: DISPLAY is not set{hint}; run this in a terminal on the desktop of the machine that has the "
            "monitor, or give the number of its X server: DISPLAY=:0"
        )


def choose(monitors: list[Monitor], number: int) -> Monitor:
    """The monitor of a number.

    Raises:
        ConfigurationError: there is none.
    """
    if not 0 <= number < len(monitors):
        raise ConfigurationError(f"no monitor {number}; there are: {', '.join(map(str, monitors))}")
    return monitors[number]
