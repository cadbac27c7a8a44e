"""What stands behind `window:`: the number of a monitor, and options."""

import dataclasses
import re
from typing import Literal

from hardware.errors import ConfigurationError
from hardware.options import Option, parse, written


@dataclasses.dataclass(frozen=True, kw_only=True)
class WindowOptions:
    """What an address can ask for.

    Args:
        pixels_per_point: side of the square of screen pixels that a point of the scene is; None takes the largest.
        right_px, down_px: how far the scene lies from the middle of the monitor.
        turn_deg: clockwise, for a monitor that stands on its side or its head.
        mirror: "on" exchanges left and right, for a rig that looks through a mirror or at the back of a screen.
        verify: "on" reads each picture back from the screen, "off" does not, "auto" does where it can be done.
    """

    pixels_per_point: int | None = None
    right_px: int = 0
    down_px: int = 0
    turn_deg: Literal[0, 90, 180, 270] = 0
    mirror: Literal["off", "on"] = "off"
    verify: Literal["auto", "on", "off"] = "auto"

    def __str__(self) -> str:
        return written(self)


_PIXELS = Option("a whole number of pixels, -99999 to 99999", r"[+-]?\d{1,5}", int)
_OPTIONS = {
    "pixels_per_point": Option("a whole number of pixels from 1 on", r"[1-9]\d{0,4}", int),
    "right_px": _PIXELS,
    "down_px": _PIXELS,
    "turn_deg": Option("0, 90, 180 or 270", "0|90|180|270", int),
    "mirror": Option("on or off", "on|off"),
    "verify": Option("auto, on or off", "auto|on|off"),
}


def parse_window(place: str) -> tuple[int, WindowOptions]:
    """(number of the monitor, options) of an address such as "1" or "1?pixels_per_point=20&turn_deg=180".

    Raises:
        ConfigurationError: no number, or an option that is not known, stands twice, or has a value that cannot be.
    """
    number, values = parse("window", place, _OPTIONS)
    if not re.fullmatch(r"\d{1,3}", number, re.ASCII):
        raise ConfigurationError(
            f"address 'window:{place}': {number!r} is no monitor; expected its number, e.g. window:0; `lensless show` "
            "lists them"
        )
    return int(number), WindowOptions(**values)
