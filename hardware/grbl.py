"""What GRBL 1.1 says (github.com/gnea/grbl, doc/markdown/interface.md): its lines in, plain facts out; no device."""

import dataclasses
import math
import re

MM_PER_INCH = 25.4
GREETING = re.compile(r"Grbl(?:HAL)? (\d+\.\d+)")
# What each alarm means, and whether it still knows its position; then it needs to be unlocked only.
ALARMS = {
    1: ("it has met a limit switch and has lost its position", False),
    2: ("the target lies beyond its soft limits", True),
    3: ("it was reset while it moved and has lost its position", False),
    6: ("homing failed: it was reset meanwhile", False),
    7: ("homing failed: its safety door was opened", False),
    8: ("homing failed: it could not get off its limit switch; check the wiring, or make $27 larger", False),
    9: ("homing failed: it found no limit switch; check the wiring, and $23 and $130 to $132", False),
}
ERRORS = {
    5: "homing is not enabled; with limit switches, send $22=1",
    8: "it is not idle",
    9: "it is locked",
    20: "it does not know this command",
}
NEEDED = (10, 13, 20, 22, 23, 24, 25, 27, 30, 32, 100, 101, 130, 131)
_REPORT = re.compile(r"<([A-Z][a-z]+(?::\d)?)((?:\|[A-Za-z]+:[\w.,+-]*)+)>")
_SETTING = re.compile(r"\$(\d{1,3})=(-?\d+(?:\.\d*)?)")
Pair = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Report:
    """One line of state.

    Args:
        state: e.g. "Idle", "Run", "Hold:0", "Alarm".
        machine, work: (x, y) in the unit of reports, of which there is one; `offset` is machine - work, now and then.
        level: of the lamp, 0 to $30; None where it is not told.
    """

    state: str
    machine: Pair | None
    work: Pair | None
    offset: Pair | None
    level: float | None

    def with_machine(self, offset: Pair | None) -> "Report | None":
        """With its machine position, from the last offset that was told where needed; None if that cannot be known."""
        if self.machine or not (offset and self.work):
            return self if self.machine else None
        return dataclasses.replace(self, machine=(self.work[0] + offset[0], self.work[1] + offset[1]))


def report_of(line: str) -> Report | None:
    """The state in a line; None if it is another line, or damaged."""
    found = _REPORT.fullmatch(line)
    if not found:
        return None
    fields = dict(field.split(":", 1) for field in found[2][1:].split("|"))
    try:
        machine, work, offset = (_pair(fields.get(name)) for name in ("MPos", "WPos", "WCO"))
        level = float(fields["FS"].split(",")[1]) if "FS" in fields else None
    except (ValueError, IndexError):
        return None
    return Report(found[1], machine, work, offset, level) if (machine is None) != (work is None) else None


def _pair(text: str | None) -> Pair | None:
    if text is None:
        return None
    x, y, *_ = (float(number) for number in text.split(","))
    if not math.isfinite(x + y):
        raise ValueError(f"{x}, {y}")
    return x, y


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a GRBL is set to.

    Args:
        unit_mm: of reports.
        homing: whether it can find its place.
        laser: whether its lamp is dark while it stands.
        full_level: of the lamp.
        resolution_mm: one step of x, and of y.
        ranges_mm: (lowest, highest) of x, and of y, on its own scale.
        homing_s: the longest that homing takes.
    """

    unit_mm: float
    homing: bool
    laser: bool
    full_level: float
    resolution_mm: Pair
    ranges_mm: tuple[Pair, Pair]
    homing_s: float


def settings_of(lines: list[str], options: str) -> Settings | None:
    """The settings in what it answers to `$$`; None if one is missing, or damaged.

    Args:
        options: letters of its build, from what it answers to `$I`.
    """
    found = {int(match[1]): float(match[2]) for line in lines if (match := _SETTING.fullmatch(line))}
    if any(number not in found for number in NEEDED) or min(found[100], found[101], found[24], found[25]) <= 0:
        return None
    travels = (found[130], found[131])
    # It searches 1.5 times its travel, the third axis first, and looks again slowly.
    search_mm = 2 * 1.5 * max(found.get(132, 0.0), *travels)
    return Settings(
        unit_mm=MM_PER_INCH if found[13] else 1.0,
        homing=bool(found[22]),
        laser=bool(found[32]),
        full_level=found[30],
        resolution_mm=(1 / found[100], 1 / found[101]),
        ranges_mm=tuple(_range(travel, n, found, options) for n, travel in enumerate(travels)),
        homing_s=10.0 + 60 * (search_mm / found[25] + 20 * found[27] / found[24]),
    )


def _range(travel_mm: float, axis: int, found: dict[int, float], options: str) -> Pair:
    if travel_mm <= 0:
        return -math.inf, math.inf  # not told
    if not (found[22] or found[20]):
        return -travel_mm, travel_mm  # it calls 0 where it was switched on
    # Machine space is negative, unless built to call the switch 0 ("Z") and homed to the lowest place.
    if "Z" in options and int(found[23]) >> axis & 1:
        return 0.0, travel_mm
    return -travel_mm, 0.0
