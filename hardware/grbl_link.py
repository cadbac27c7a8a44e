"""Talking with a GRBL: one line and its answer at a time, and never a late answer for that of another line."""

import contextlib
import threading
import time
from collections import deque

from hardware.closing import Closing
from hardware.errors import StageError
from hardware.grbl import ALARMS, ERRORS, GREETING, Pair, Report, report_of
from hardware.serial_board.packet import PacketReader
from hardware.serial_port import SerialPort

ASK_TIMES = 20
ANSWER_S = 2.0
REPORT_S = 0.5
POLL_S = 0.05
QUIET_S = 0.05
HOLD_S = 10.0
STILL_S = 3.0  # a stage that should move, and stands, or says nothing
TRIES = 3
LONGEST_LINE = 256
MOVING = ("Run", "Jog", "Hold:1", "Door:2")
UNLOCK = "call home(), or unlock() if it stands where it says"
HOME = "take it off its switch if it stands on one, then call home()"


class GrblLink(Closing):
    """A GRBL that has answered. Whoever calls holds `talking`; `interrupt` and `close` may be called without.

    Args:
        place: of its serial port, as of `SerialPort`.
        baud: bits per second.
        wake_s: how long it may take to answer.

    Attributes:
        talking: held from a question to its answer.
        refusal: why it may not be moved, and what to do; None if it may. Any answer that did not come is a reason, as
            it could come later.

    Raises:
        ConfigurationError, DeviceError: as of `SerialPort`.
        StageError: what answers is no GRBL 1.1, or nothing does.
    """

    def __init__(self, place: str, baud: int, wake_s: float):
        self.name = f"stage '{place}'"
        self.talking, self._interrupted = threading.RLock(), threading.Event()
        self.refusal: str | None = None
        self._offset: Pair | None = None
        self._heard: deque[str] = deque()
        self._rest = b""
        self._port = SerialPort(place, baud)
        try:
            self._wake(place, wake_s)
            self.refusal = None
            self._look_for_a_lock()
        except BaseException:
            self._port.close()
            raise

    def close(self) -> None:
        self._port.close()

    def say_last(self, text: str) -> None:
        """Send a line if that can be done, before the port is closed."""
        self._port.say_last(f"\n{text}\n".encode())

    # ---- beginning anew

    def _wake(self, place: str, wake_s: float) -> None:
        begin_s = asked_s = time.monotonic()
        heard, boards = b"", PacketReader()
        self._port.write(b"?")
        while (now_s := time.monotonic()) < begin_s + wake_s:
            if now_s > asked_s + wake_s / ASK_TIMES:
                # After a limit switch it answers to a reset alone, but while it moves that would lose its place.
                self._port.write(b"?" if now_s < begin_s + wake_s / 2 else b"?\x18")
                asked_s = now_s
            data = self._port.read(POLL_S)
            if any(True for _ in boards.feed(data)):
                raise StageError(f"{self.name} is a sensor board; open it as camera 'serial:{place}'")
            heard += data
            lines = heard.decode("latin-1").split("\n")[:-1]
            if greetings := [line for line in lines if GREETING.search(line)]:
                return self._check_version(greetings[-1])
            if any(report_of(line.strip()) for line in lines):
                return self.reset()
            heard = heard[-LONGEST_LINE:]
        if heard:
            raise StageError(
                f"{self.name} is no GRBL 1.1: it says {heard[:60]!r}; is this its port, and its rate of bits?"
            )
        raise StageError(
            f"{self.name} says nothing; expected GRBL 1.1; is it switched on, is this its port "
            "(see 'lensless devices'), and its rate of bits?"
        )

    def _check_version(self, greeting: str) -> None:
        version = GREETING.search(greeting)[1]
        if version != "1.1":
            raise StageError(f"{self.name} speaks GRBL {version}; expected 1.1; load that into it")

    def reset(self) -> None:
        """Bring it to rest, and let it start anew with its position kept; answers under way are forgotten."""
        self._port.write(b"!")
        until_s, refusal = time.monotonic() + HOLD_S, self.refusal
        with contextlib.suppress(StageError):  # while it homes, or after a limit switch, it does not answer
            while self.report(tries=1).state in MOVING and time.monotonic() < until_s:
                pass
        self.refusal = refusal or self.refusal
        until_s = time.monotonic() + ANSWER_S
        while self._port.read(QUIET_S) and time.monotonic() < until_s:
            pass
        self._heard.clear()
        self._rest = b""
        self._port.write(b"\x18")
        until_s = time.monotonic() + ANSWER_S
        while (line := self._line(until_s)) is not None:
            if line.startswith("ALARM:"):
                self._alarm(line)
            if GREETING.search(line):
                self._check_version(line)
                return self._look_for_a_lock()
        raise self._unanswered("a reset")

    def _look_for_a_lock(self) -> None:
        if self.report().state == "Alarm":
            self.refusal = self.refusal or f"it is locked until it knows where it is; {UNLOCK}"

    # ---- asking

    def command(self, text: str, timeout_s: float = ANSWER_S) -> list[str]:
        """Send a line; returns what it says before its "ok".

        Raises:
            StageError: it refuses, tells an alarm, has restarted, or does not answer.
            DeviceLost: it is gone.
        """
        self._port.write(f"{text}\n".encode())
        until_s, said = time.monotonic() + timeout_s, []
        while (line := self._hear(until_s)) is not None:
            if self._is_ok(line, text):
                return said
            said.append(line)
        raise self._unanswered(f"'{text}'")

    def report(self, tries: int = TRIES) -> Report:
        """Its state, asked for now, with the position on its own scale.

        Raises:
            StageError, DeviceLost: as of `command`.
        """
        for _ in range(tries):
            self._port.write(b"?")
            until_s = time.monotonic() + REPORT_S
            while (line := self._hear(until_s)) is not None:
                if report := report_of(line):
                    self._offset = report.offset or self._offset
                    if complete := report.with_machine(self._offset):
                        return complete
                    self._port.write(b"?")  # the offset comes with one report in 30
        raise self._unanswered("'?'")

    def wait_for_rest(self) -> None:
        """Wait until all moves are made: a dwell is answered when they are, and `?` meanwhile.

        Raises:
            StageError: as of `command`, or it was halted, or stands still and does not answer.
            DeviceLost: it is gone.
        """
        self._port.write(b"G4P0.01\n")
        last, moved_s = None, time.monotonic()
        while time.monotonic() - moved_s < STILL_S:
            line = self._hear(time.monotonic() + POLL_S)
            if line is None:
                self._port.write(b"?")
            elif report := report_of(line):
                if report.state.startswith(("Hold", "Door", "Sleep")):
                    self.refusal = f"it was halted in mid-move ({report.state}); {UNLOCK}"
                    raise StageError(f"{self.name}: {self.refusal}")
                if (report.machine, report.work) != last:
                    last, moved_s = (report.machine, report.work), time.monotonic()
            elif self._is_ok(line, "G4"):
                return
        raise self._unanswered("a move")

    def interrupt(self) -> None:
        """Let it slow down to a halt, and end what another thread waits for with an error; then reset it."""
        self._interrupted.set()
        self._port.write(b"!")
        with self.talking:
            self._interrupted.clear()
            self.reset()

    # ---- hearing

    def _line(self, until_s: float) -> str | None:
        """The next line that it says; None when there is none until then."""
        while True:
            self._port.check_open()
            if self._interrupted.is_set():
                raise StageError(f"{self.name} was stopped")
            left_s = until_s - time.monotonic()
            if left_s < -ANSWER_S:  # it never ends talking
                return None
            if self._heard:
                return self._heard.popleft()
            data = self._port.read(min(max(left_s, 0.0), 2 * POLL_S))
            if not data and left_s <= 0:
                return None
            *lines, rest = (self._rest + data).split(b"\n")
            self._rest = rest[-LONGEST_LINE:]
            self._heard.extend(line.decode("latin-1").strip() for line in lines)

    def _hear(self, until_s: float) -> str | None:
        """The next line; alarms and restarts are errors."""
        line = self._line(until_s)
        if line and line.startswith("ALARM:"):
            raise self._alarm(line)
        if line and GREETING.match(line):
            self.refusal = f"its controller has restarted, and does not know where it stands; {UNLOCK}"
            raise StageError(f"{self.name}: {self.refusal}")
        return line

    def _is_ok(self, line: str, text: str) -> bool:
        if line.startswith("error:"):
            if line == "error:9":
                self.refusal = self.refusal or f"it is locked; {UNLOCK}"
            meaning = ERRORS.get(_number(line), "it cannot do this")
            raise StageError(f"{self.name} refuses '{text}' ({line}): {self.refusal or meaning}")
        return line == "ok"

    def _alarm(self, line: str) -> StageError:
        meaning, placed = ALARMS.get(_number(line), ("its controller has stopped everything", False))
        self.refusal = f"{meaning} ({line}); {UNLOCK if placed else HOME}"
        return StageError(f"{self.name}: {self.refusal}")

    def _unanswered(self, what: str) -> StageError:
        self.refusal = f"it has not answered to {what}; {UNLOCK}"
        return StageError(f"{self.name}: {self.refusal}")


def _number(line: str) -> int:
    """The number behind the colon; 0 if there is none."""
    digits = line.partition(":")[2]
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < 4 else 0
