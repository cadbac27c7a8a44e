"""What stands behind `serial:`: a port, and options."""

import dataclasses

from hardware.options import NUMBER, POSITIVE, Option, parse, written
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
        return written(self)


_OPTIONS = {
    "mode": Option("a number from 0 on, as the board lists its modes", r"\d{1,2}", int),
    "exposure_s": POSITIVE,
    "gain_db": NUMBER,
    "baud": Option("bits per second, 300 to 20000000", r"\d{3,8}", int, lambda value: 300 <= value <= 20_000_000),
    "dtr": Option("on or off", "on|off"),
}


def parse_place(place: str) -> tuple[str, BoardOptions]:
    """(port, options) of an address such as "/dev/ttyACM0?mode=1&exposure_s=0.01" or "id:E6614103E7452D2F".

    Raises:
        ConfigurationError: an option that is not known, stands twice, or has a value that cannot be.
    """
    port, values = parse("serial", place, _OPTIONS)
    return port, BoardOptions(**values)
