"""An XY stage with a GRBL 1.1 controller on a serial port: moves, and says where it stands.

GRBL's lines carry no check: nothing counts as done until the stage has said by itself that it is.
"""

import math

from hardware.closing import Closing
from hardware.errors import ConfigurationError, StageError
from hardware.grbl import Pair, Report, Settings, settings_of
from hardware.grbl_link import HOME, TRIES, GrblLink
from hardware.serial_port import BAUD

WAKE_S = 6.0  # an Arduino is reset when its port is opened, and waits about 2 s for another program


class Stage(Closing):
    """An XY stage; places are in mm on its own scale, on which 0 is where its switches are, and most are negative.

    One thread moves it; `stop` and `close` may be called from any. After an alarm it refuses to move until `home` or
    `unlock`.

    Args:
        place: of its serial port, as of `SerialPort`.
        baud: bits per second.
        wake_s: how long it may take to answer.

    Raises:
        ConfigurationError: `place` is no serial port.
        DeviceError: it cannot be opened.
        StageError: what answers is no GRBL 1.1, or nothing does.
    """

    def __init__(self, place: str, *, baud: int = BAUD, wake_s: float = WAKE_S):
        self._link = GrblLink(place, baud, wake_s)
        self._name = self._link.name
        self._lit = False
        try:
            self._settings = self._read_settings()
        except BaseException:
            self._link.close()
            raise

    @property
    def ranges_mm(self) -> tuple[Pair, Pair]:
        """(lowest, highest) of x, and of y."""
        return self._settings.ranges_mm

    @property
    def position_mm(self) -> Pair:
        """(x, y), asked for now.

        Raises:
            StageError: it does not answer.
            DeviceLost: it is gone.
        """
        with self._link.talking:
            return self._position(self._link.report())

    def home(self) -> None:
        """Find the switches, and so the place; returns when it stands beside them. The lamp is off then.

        Raises:
            StageError: it found none, or has none.
            DeviceLost: it is gone.
        """
        with self._link.talking:
            self._link.reset()
            self._link.refusal = self._link.refusal or f"homing did not end; {HOME}"
            if not self._settings.homing:
                raise StageError(f"{self._name} cannot home ($22=0); if it has limit switches, send $22=1 to it, once")
            self._link.command("$H", self._settings.homing_s)
            self._link.refusal = None

    def unlock(self) -> None:
        """Take it that it stands where it says, and let it move; the lamp is off then.

        Raises:
            StageError: it does not answer.
            DeviceLost: it is gone.
        """
        with self._link.talking:
            self._link.reset()
            self._link.command("$X")
            self._link.refusal = None

    def move_to(self, x_mm: float, y_mm: float) -> None:
        """Go there as fast as it can; returns when it stands there.

        Raises:
            ConfigurationError: not a place within `ranges_mm`; nothing was sent.
            StageError: it met a switch, was stopped, is locked, or stands elsewhere.
            DeviceLost: it is gone.
        """
        for axis, at_mm, (low, high) in zip("xy", (x_mm, y_mm), self.ranges_mm, strict=True):
            if not (low <= at_mm <= high and math.isfinite(at_mm)):
                raise ConfigurationError(
                    f"{self._name}: {axis}_mm = {at_mm!r}; expected {low:g} to {high:g}, its travel; nothing was sent"
                )
        with self._link.talking:
            self._check_unlocked()
            self._link.command(f"G21G90G53G0X{x_mm:.3f}Y{y_mm:.3f}")
            self._link.wait_for_rest()
            for _ in range(TRIES):
                report = self._link.report()
                there = self._position(report)
                if report.state == "Idle" and self._near(there, (x_mm, y_mm)):
                    return
        raise StageError(
            f"{self._name} is {report.state} at ({there[0]:.3f}, {there[1]:.3f}) mm; expected ({x_mm:.3f}, {y_mm:.3f});"
            " is another program moving it, or the line disturbed? Move it again"
        )

    def lamp(self, power: float) -> None:
        """Switch the lamp on, as the spindle of a mill; returns when it is on.

        Args:
            power: 0 (off) to 1 (its $30).

        Raises:
            ConfigurationError: another power, or a controller that keeps lamps dark while it stands.
            StageError: the lamp has another level.
            DeviceLost: it is gone.
        """
        if not 0 <= power <= 1:
            raise ConfigurationError(f"{self._name}: lamp power {power!r}; expected 0 to 1")
        if power and self._settings.laser:
            raise ConfigurationError(f"{self._name} is in laser mode: dark while it stands; send $32=0 to it, once")
        level = power * self._settings.full_level
        with self._link.talking:
            if not power and self._link.refusal:
                return self._link.reset()  # which puts it out, whatever else is wrong
            self._check_unlocked()
            self._lit = self._lit or power > 0
            self._link.command(f"M3S{level:.3f}" if power else "M5")
            for _ in range(TRIES):
                shown = self._link.report().level
                if shown is None or abs(shown - level) <= 0.501:  # it tells whole numbers
                    self._lit = power > 0
                    return
        raise StageError(f"{self._name}: lamp at level {shown:g}; expected {level:g}; is its $31 above that?")

    def stop(self) -> None:
        """Bring it to rest without losing steps, forget what it was to do, and put the lamp out.

        A `move_to` in another thread ends with a StageError.

        Raises:
            StageError: it does not answer.
            DeviceLost: it is gone.
        """
        self._link.interrupt()

    def close(self) -> None:
        """Put the lamp out, and let the port go; a second call does nothing."""
        if self._lit:
            self._link.say_last("M5")
        self._link.close()

    def _read_settings(self) -> Settings:
        options = "".join(line for line in self._link.command("$I") if line.startswith("[OPT:"))
        last: Settings | None = None
        for _ in range(2 * TRIES):  # two that agree, as nothing else tells that they arrived well
            settings = settings_of(self._link.command("$$"), options)
            if settings and settings == last:
                return settings
            last = settings
        raise StageError(f"{self._name}: its settings ($$) are not whole, or differ each time; is the line disturbed?")

    def _check_unlocked(self) -> None:
        if self._link.refusal:
            raise StageError(f"{self._name}: {self._link.refusal}")

    def _position(self, report: Report) -> Pair:
        unit_mm = self._settings.unit_mm
        return report.machine[0] * unit_mm, report.machine[1] * unit_mm

    def _near(self, there: Pair, target: Pair) -> bool:
        """Within half a step, and what roundings to 0.001 mm (or 0.0001 inch) cost, of which there are three."""
        rounding_mm = 0.0016 * max(1.0, self._settings.unit_mm / 10)
        steps = self._settings.resolution_mm
        return all(abs(a - b) <= step / 2 + rounding_mm for a, b, step in zip(there, target, steps, strict=True))
