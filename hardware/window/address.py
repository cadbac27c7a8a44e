"""What stands behind `window:`: the number of a monitor, and options."""

import dataclasses
import difflib
import re
from collections.abc import Callable
from typing import Literal

from hardware.errors import ConfigurationError


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
        """As they stand in an address: what is not said is left away."""
        fields = [field for field in dataclasses.fields(self) if getattr(self, field.name) != field.default]
        return "?" * bool(fields) + "&".join(f"{field.name}={getattr(self, field.name)}" for field in fields)


_pixels = ("a whole number of pixels, -99999 to 99999", r"[+-]?\d{1,5}", int)
# Option: (what is expected, its pattern, its type).
_OPTIONS: dict[str, tuple[str, str, Callable[[str], object]]] = {
    "pixels_per_point": ("a whole number of pixels from 1 on", r"[1-9]\d{0,4}", int),
    "right_px": _pixels,
    "down_px": _pixels,
    "turn_deg": ("0, 90, 180 or 270", "0|90|180|270", int),
    "mirror": ("on or off", "on|off", str),
    "verify": ("auto, on or off", "auto|on|off", str),
}


def parse_window(place: str) -> tuple[int, WindowOptions]:
    """(number of the monitor, options) of an address such as "1" or "1?pixels_per_point=20&turn_deg=180".

    Raises:
        ConfigurationError: no number, or an option that is not known, stands twice, or has a value that cannot be.
    """
    number, _, asked = place.partition("?")
    if not re.fullmatch(r"\d{1,3}", number, re.ASCII):
        raise ConfigurationError(
            f"address 'window:{place}': {number!r} is no monitor; expected its number, e.g. window:0; `lensless show` "
            "lists them"
        )
    values: dict[str, object] = {}
    for part in filter(None, asked.split("&")):
        name, _, text = part.partition("=")
        if name not in _OPTIONS:
            near = "".join(f"; did you mean {one}=" for one in difflib.get_close_matches(name, _OPTIONS, n=1))
            raise ConfigurationError(
                f"address 'window:{place}': no option {name!r}{near}; known: {', '.join(_OPTIONS)}"
            )
        if name in values:
            raise ConfigurationError(f"address 'window:{place}': {name}= stands twice; say it once")
        expected, pattern, kind = _OPTIONS[name]
        if not re.fullmatch(pattern, text, re.ASCII):
            raise ConfigurationError(f"address 'window:{place}': {name}={text!r}; expected {expected}")
        values[name] = kind(text)
    return int(number), WindowOptions(**values)
