"""What stands behind `serial:`: a port, and options."""

import dataclasses
import difflib
import math
import re
from collections.abc import Callable

from hardware.errors import ConfigurationError
from hardware.serial_port import BAUD


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoardOptions:
    """What an address can ask for; None leaves it as the board has it.

    Args:
        mode: number of the sensor's mode, from 0.
        exposure_s, gain_db: to set at the start.
        baud: bits per second; boards on USB do not care.
        dtr: "off" leaves the line down that resets many Arduino boards when it rises.
    """

    mode: int | None = None
    exposure_s: float | None = None
    gain_db: float | None = None
    baud: int = BAUD
    dtr: str = "on"

    def __str__(self) -> str:
        """As they stand in an address: what is not said is left away."""
        fields = [field for field in dataclasses.fields(self) if getattr(self, field.name) != field.default]
        parts = [f"{field.name}={getattr(self, field.name)}" for field in fields]
        return "?" * bool(parts) + "&".join(parts)


_number = r"[+-]?\d{1,9}(\.\d{1,12})?(e[+-]?\d{1,2})?"
# Option: (what is expected, its pattern, its type, what must hold of it).
_OPTIONS: dict[str, tuple[str, str, Callable[[str], object], Callable[[object], bool]]] = {
    "mode": ("a number from 0 on, as the board lists its modes", r"\d{1,2}", int, lambda value: value >= 0),
    "exposure_s": ("a number above 0", _number, float, lambda value: 0 < value < math.inf),
    "gain_db": ("a finite number", _number, float, math.isfinite),
    "baud": ("bits per second, 300 to 20000000", r"\d{3,8}", int, lambda value: 300 <= value <= 20_000_000),
    "dtr": ("on or off", "on|off", str, bool),
}


def parse_place(place: str) -> tuple[str, BoardOptions]:
    """(port, options) of an address such as "/dev/ttyACM0?mode=1&exposure_s=0.01" or "id:E6614103E7452D2F".

    Raises:
        ConfigurationError: an option that is not known, stands twice, or has a value that cannot be.
    """
    port, _, asked = place.partition("?")
    values: dict[str, object] = {}
    for part in filter(None, asked.split("&")):
        name, _, text = part.partition("=")
        if name not in _OPTIONS:
            near = "".join(f"; did you mean {one}=" for one in difflib.get_close_matches(name, _OPTIONS, n=1))
            raise ConfigurationError(
                f"address 'serial:{place}': no option {name!r}{near}; known: {', '.join(_OPTIONS)}"
            )
        if name in values:
            raise ConfigurationError(f"address 'serial:{place}': {name}= stands twice; say it once")
        expected, pattern, kind, holds = _OPTIONS[name]
        if not re.fullmatch(pattern, text) or not holds(kind(text)):
            raise ConfigurationError(f"address 'serial:{place}': {name}={text!r}; expected {expected}")
        values[name] = kind(text)
    return port, BoardOptions(**values)
