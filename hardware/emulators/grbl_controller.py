"""The controller of a stage, as GRBL 1.1 is (github.com/gnea/grbl, doc/markdown): no line, no thread and no clock."""

import re
from collections.abc import Iterator

import numpy as np

from hardware.emulators.two_axes import Pair, TwoAxes

# The defaults of GRBL, but with homing and both kinds of limits, and a quicker stage: 1 m/s.
SETTINGS: dict[int, float] = {
    **{0: 10, 1: 25, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0, 10: 1, 11: 0.010, 12: 0.002, 13: 0},
    **{20: 1, 21: 1, 22: 1, 23: 0, 24: 600.0, 25: 60_000.0, 26: 5, 27: 1.0, 30: 1000, 31: 0, 32: 0},
    **{100: 250.0, 101: 250.0, 102: 250.0, 110: 60_000.0, 111: 60_000.0, 112: 500.0},
    **{120: 500.0, 121: 500.0, 122: 10.0, 130: 200.0, 131: 200.0, 132: 200.0},
}
WITH_DECIMALS = {11, 12, 24, 25, 27, *range(100, 133)}
G_CODES = {"G": {0, 1, 4, 20, 21, 53, 54, 90, 91, 92, 94}, "M": {3, 4, 5}}
MOVING = ("Run", "Hold:1", "Home")
HARD_LIMIT, SOFT_LIMIT, RESET_IN_MOTION, RESET_IN_HOMING, NO_SWITCH = 1, 2, 3, 6, 9
MM_PER_INCH = 25.4
REST_S = 0.02  # what a stage takes to come to rest


class Controller:
    """Takes bytes, and time that passes; gives bytes.

    Args:
        axes: that it moves.
        settings: those that differ from `SETTINGS`, by number.
        force_origin: built with HOMING_FORCE_SET_ORIGIN: where it stands after homing is 0.
        greeting: what it says when it has started.

    Attributes:
        state: as in its reports.
        lamp: level of its spindle, 0 to $30.
        heard: every line that it was told.
    """

    def __init__(
        self,
        axes: TwoAxes,
        settings: dict[int, float] | None = None,
        force_origin: bool = False,
        greeting: str = "Grbl 1.1h ['$' for help]",
    ):
        self.axes, self.settings = axes, SETTINGS | (settings or {})
        self.heard: list[str] = []
        self._force_origin, self._greeting = force_origin, greeting
        self._said: list[bytes] = []
        self.power_up()

    @property
    def moving(self) -> bool:
        return self.state in MOVING

    def power_up(self) -> None:
        """Without any memory; `start` makes it speak."""
        self.state = "Alarm" if self.settings[22] else "Idle"
        self.axes.position = np.zeros(2)
        self._said.clear()
        self._forget()

    def said(self) -> bytes:
        """What it has said since this was asked."""
        said = b"".join(self._said)
        self._said.clear()
        return said

    def take(self, data: bytes) -> None:
        """What it is told."""
        for byte in data:
            self._take(byte)
        self._passed_s = 0.0
        self._obey()

    def advance(self, passed_s: float) -> None:
        """Go on with what it does."""
        self._passed_s = passed_s
        if self.state == "Hold:1":
            self._rest_s -= passed_s
            self.state = "Hold:1" if self._rest_s > 0 else "Hold:0"
        elif self.state == "Run":
            free = self.axes.advance(passed_s)
            if not free and self.settings[21]:
                self._alarm(HARD_LIMIT)
            elif not self.axes.moves:
                self.state = "Idle"
        self._obey()

    def _say(self, line: str) -> None:
        self._said.append(f"{line}\r\n".encode())

    def _forget(self) -> None:
        """What a reset changes; it knows its position, and whether it is locked, as before."""
        self.axes.moves.clear()
        self._line, self._lines, self._doing = bytearray(), [], iter(())
        self._inches, self._relative, self._feed_mm_per_s, self._offset = False, False, 0.0, np.zeros(2)
        self._halted, self._reports, self.lamp = False, 0, 0.0

    def start(self) -> None:
        """What follows a reset."""
        self._say("")
        self._say(self._greeting)
        if self.settings[21] and self.axes.pressed:
            self.state = "Alarm"
            self._say("[MSG:Check Limits]")
        if self.state == "Alarm":
            self._say("[MSG:'$H'|'$X' to unlock]")
        else:
            self.state = "Idle"

    def _reset(self) -> None:
        if self.state in MOVING:
            self._alarm(RESET_IN_HOMING if self.state == "Home" else RESET_IN_MOTION)
        self._forget()
        self.start()

    def _alarm(self, code: int) -> None:
        self._say(f"ALARM:{code}")
        self._forget()
        self.state = "Alarm"
        if code in (HARD_LIMIT, SOFT_LIMIT):
            self._say("[MSG:Reset to continue]")
            self._halted = True

    def _take(self, byte: int) -> None:
        """One byte: what is to be done at once, or a piece of a line."""
        if byte == 0x18:
            self._reset()
        elif self._halted:
            return
        elif byte == ord("?"):
            if self.state != "Home":
                self._say(self._status())
        elif byte == ord("!"):
            if self.state in ("Run", "Idle"):
                self.state, self._rest_s = ("Hold:1" if self.state == "Run" else "Hold:0"), REST_S
        elif byte == ord("~"):
            if self.state == "Hold:0":
                self.state = "Run" if self.axes.moves else "Idle"
        elif byte in b"\r\n":
            self._lines.append(self._line.decode("latin-1").replace(" ", "").upper())
            self._line.clear()
        elif len(self._line) < 128:
            self._line.append(byte)

    def _status(self) -> str:
        work = not int(self.settings[10]) & 1
        shown = self.axes.position - self._offset if work else self.axes.position
        fields = [self.state, f"{'WPos' if work else 'MPos'}:{self._coordinates(shown)}"]
        fields.append(f"FS:{self.settings[110] if self.state == 'Run' else 0:.0f},{self.lamp:.0f}")
        if self.axes.pressed:
            fields.append(f"Pn:{self.axes.pressed}")
        if self._reports % 10 == 0:
            fields.append(f"WCO:{self._coordinates(self._offset)}")
        elif self._reports % 10 == 1:
            fields.append("Ov:100,100,100" + ("|A:S" if self.lamp else ""))
        self._reports += 1
        return f"<{'|'.join(fields)}>"

    def _coordinates(self, place: np.ndarray) -> str:
        return ",".join(f"{at / MM_PER_INCH:.4f}" if self.settings[13] else f"{at:.3f}" for at in (*place, 0.0))

    def _obey(self) -> None:
        """Lines one after another, each when the one before is done."""
        while not self._halted:
            for _ in self._doing:
                return
            if not self._lines:
                return
            self._doing = self._answered(self._lines.pop(0))

    def _answered(self, line: str) -> Iterator[None]:
        """Does what a line says, and answers; yields while that takes time."""
        self.heard.append(line)
        code = yield from (self._system(line) if line.startswith("$") else self._g_code(line))
        if not self._halted:
            self._say(f"error:{code}" if code else "ok")

    def _system(self, line: str) -> Iterator[None]:
        if line == "$$":
            for number, value in self.settings.items():
                self._say(f"${number}={value:.{3 if number in WITH_DECIMALS else 0}f}")
        elif line == "$I":
            self._say("[VER:1.1h.20190825:]")
            self._say(f"[OPT:V{'Z' * self._force_origin},15,128]")
        elif line == "$X":
            if self.state == "Alarm":
                self._say("[MSG:Caution: Unlocked]")
                self.state = "Idle"
        elif line == "$H":
            if not self.settings[22]:
                return 5
            yield from self._home()
        elif setting := re.fullmatch(r"\$(\d+)=([\d.]+)", line):
            self.settings[int(setting[1])] = float(setting[2])
        else:
            return 3
        return 0

    def _g_code(self, line: str) -> Iterator[None]:
        if self.state == "Alarm":
            return 9
        words = re.findall(r"([A-Z])([-+]?(?:\d+\.?\d*|\.\d+))", line)
        if "".join(letter + number for letter, number in words) != line:
            return 2 if line[0].isalpha() else 1
        codes = {(letter, float(number)) for letter, number in words if letter in G_CODES}
        values = {letter: float(number) for letter, number in words if letter not in G_CODES}
        if any(number not in G_CODES[letter] for letter, number in codes) or set(values) - set("XYZFSP"):
            return 20
        self._inches = ("G", 20) in codes or (self._inches and ("G", 21) not in codes)
        self._relative = ("G", 91) in codes or (self._relative and ("G", 90) not in codes)
        unit = MM_PER_INCH if self._inches else 1.0
        place = np.array([values.get(name, np.nan) for name in "XY"]) * unit
        if "F" in values:
            self._feed_mm_per_s = values["F"] * unit / 60
        if ("M", 3) in codes or ("M", 4) in codes or ("M", 5) in codes:
            yield from self._until_rest()
            self.lamp = 0.0 if ("M", 5) in codes else min(values.get("S", 0.0), self.settings[30])
        if ("G", 4) in codes or ("G", 92) in codes:
            yield from self._until_rest()
            if ("G", 92) in codes:
                self._offset = np.where(np.isnan(place), self._offset, self.axes.position - place)
                self._reports = 0
        elif not np.isnan(place).all():
            return self._move(place, machine=("G", 53) in codes, slow=("G", 1) in codes)
        return 0

    def _move(self, place: np.ndarray, machine: bool, slow: bool) -> int:
        if slow and not self._feed_mm_per_s:
            return 22
        last = self.axes.last_target
        wanted = last + place if self._relative else place if machine else place + self._offset
        steps_per_mm = np.array([self.settings[100], self.settings[101]])
        target = np.round(np.where(np.isnan(place), last, wanted) * steps_per_mm) / steps_per_mm
        if self.settings[20] and not all(
            low <= at <= high for at, (low, high) in zip(target, self._room(), strict=True)
        ):
            self._alarm(SOFT_LIMIT)
            return 0
        fastest = np.array([self.settings[110], self.settings[111]]) / 60
        self.axes.add(target, fastest, self._feed_mm_per_s if slow else None)
        self.state = "Run" if self.axes.moves else "Idle"
        return 0

    def _room(self) -> list[Pair]:
        """Where soft limits let x, and y, go."""
        up = [self._force_origin and int(self.settings[23]) >> n & 1 for n in range(2)]
        return [(0.0, self.settings[130 + n]) if up[n] else (-self.settings[130 + n], 0.0) for n in range(2)]

    def _until_rest(self) -> Iterator[None]:
        while self.axes.moves:
            yield

    def _home(self) -> Iterator[None]:
        """Both axes to their switches at once, and off them again."""
        self.state = "Home"
        to_lowest = np.array([int(self.settings[23]) >> n & 1 for n in range(2)])
        travel, pull_off_mm = np.array([self.settings[130], self.settings[131]]), self.settings[27]
        towards = 1.0 - 2.0 * to_lowest
        for way, far_mm in ((towards, 1.5 * max(travel)), (-towards, pull_off_mm)):
            gone_mm = 0.0
            while gone_mm < far_mm and not (way is towards and self.axes.pressed == "XY"):
                yield
                step_mm = min(self._passed_s * self.settings[25] / 60, far_mm - gone_mm)
                gone_mm += step_mm
                self.axes.push(way * step_mm)
            if way is towards and self.axes.pressed != "XY":
                self._alarm(NO_SWITCH)
                self.start()
                yield  # for ever: there is no answer to a line that a reset has ended
        homed = np.where(to_lowest, pull_off_mm - travel, -pull_off_mm)
        self.axes.position = np.zeros(2) if self._force_origin else homed
        self.state = "Idle"
