"""The conversation with one board, from one of its starts to the next: questions, answers, and frames between them."""

import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from hardware.alive import alive
from hardware.closing import Closing
from hardware.errors import ConfigurationError, DeviceError, DeviceLost
from hardware.serial_board import messages
from hardware.serial_board.assembly import BoardFrame, FrameAssembler
from hardware.serial_board.clock import BoardClock
from hardware.serial_board.messages import Hello, Malformed, Settings
from hardware.serial_board.packet import Packet, PacketReader, encode
from hardware.serial_port import SerialPort

# An Arduino that was reset by the opening of its port waits 2 s for a new program before it starts.
HELLO_S = 6.0
AGAIN_S = 0.25
ANSWER_S = 1.5
LONGEST_FRAME_S = 60.0
MOST_RESTARTS = 3

T = TypeVar("T")


class Restarted(DeviceLost):
    """The board has started anew, and knows nothing of what it was asked before."""


class BoardLink(Closing):
    """Asks a board, and takes its frames. Used by one thread; `close` from any.

    `hello` is what the board is, `frames` are those that came and were not taken yet, each with the instant
    (`time.monotonic_ns`) when it began to arrive; `heard_s` is when the last packet came (`time.monotonic`).

    Args:
        port: where the board is; closed with this.
        hello_s: how long it may take to say what it is: a board that is reset by the opening of its port starts first.

    Raises:
        DeviceError: no board is there, it speaks another protocol, or starts again and again.
    """

    def __init__(self, port: SerialPort, hello_s: float = HELLO_S):
        self.port = port
        self.boot = 0  # until it has said hello
        self.frames: deque[tuple[BoardFrame, int]] = deque()
        self.heard_s = time.monotonic()
        self.clock: BoardClock | None = None
        self._reader, self._got_bytes, self._begun_ns = PacketReader(), 0, 0
        self._assembler: FrameAssembler | None = None
        self._number = secrets.randbelow(2**32 - 1) + 1  # the board may remember what another host asked last
        self._awaited: tuple[int, ...] = ()
        self._answer: Packet | None = None
        for _ in range(MOST_RESTARTS):
            self.hello = self._greet(hello_s)
            try:
                if self.hello.modes:
                    self._assembler = FrameAssembler(self.boot, self.hello.modes, self.stream(0))
                return
            except Restarted:
                self.boot = 0
            except DeviceLost as error:
                raise DeviceError(
                    f"the board at '{port.place}' has said hello and then no more: {error}; look at its firmware"
                ) from error
        raise DeviceError(
            f"the board at '{port.place}' has started again {MOST_RESTARTS} times while it was opened; give it enough "
            "power, and if opening resets it, add ?dtr=off to its address"
        )

    @property
    def assembler(self) -> FrameAssembler:
        """Which frames have come, and which were lost.

        Raises:
            ConfigurationError: the board has no sensor.
        """
        if self._assembler is None:
            raise ConfigurationError(f"the board at '{self.port.place}' ({self.hello.board}) has no sensor")
        return self._assembler

    @property
    def damaged(self) -> int:
        """Pieces of bytes that were no packet."""
        return self._reader.damaged

    def configure(self, wanted: Settings, answer_s: float = ANSWER_S) -> Settings:
        """Ask for settings; returns what the board has read back from its sensor.

        Raises:
            ConfigurationError: the board cannot do that.
            Restarted: it has started anew meanwhile.
            DeviceLost: it does not answer, or is gone.
            DeviceError: its answer makes no sense.
        """
        body = messages.configure_body(wanted)
        return self._ask_clocked(messages.CONFIGURE, body, messages.APPLIED, messages.applied_of, answer_s)[0]

    def stream(self, count: int, answer_s: float = ANSWER_S) -> int:
        """Have it send `count` frames from now on, 0: none; returns the number of the first. Raises as `configure`.

        Numbers that begin anew after 32 bits are carried on, as in the frames.
        """
        body = messages.COUNT.pack(count)
        number, _, _ = self._ask_clocked(messages.STREAM, body, messages.STREAMING, messages.streaming_of, answer_s)
        if self._assembler is None:
            return number
        self._assembler.told(number)
        return self._assembler.next

    def show(self, levels: bytes, answer_s: float = ANSWER_S) -> None:
        """Give its lamps these levels, row by row; returns when they have them. Raises as `configure`."""
        body = messages.show_body(*self.hello.matrix, levels)
        self._ask(messages.SHOW, body, (messages.SHOWN, messages.REFUSED), answer_s)

    def read(self, timeout_s: float) -> bool:
        """Take in what comes, and put whole frames into `frames`; False if nothing came.

        Raises:
            Restarted, DeviceLost, DeviceError: as `configure`.
        """
        data = self.port.read(timeout_s)
        arrived_ns = time.monotonic_ns()
        self._got_bytes += len(data)
        for packet in self._reader.feed(data):
            self._take(packet, arrived_ns)
        return bool(data)

    def close(self) -> None:
        """Let the port go; the board is told to send no more."""
        if self.boot and self.hello.modes:
            self.port.say_last(b"\0" + encode(Packet(messages.STREAM, self.boot, self._next(), messages.COUNT.pack(0))))
        self.port.close()

    def _take(self, packet: Packet, arrived_ns: int) -> None:
        if packet.number == self._number and packet.kind in self._awaited:
            self._answer = packet
        if not self.boot or packet.kind in messages.REQUESTS:
            return  # not greeted yet, and this is for a host before; or an echo of our own
        if packet.boot != self.boot:
            raise Restarted("it has started anew")
        self.heard_s = time.monotonic()
        alive()
        if packet.kind == messages.BEGIN:
            self._begun_ns = arrived_ns
        if self._assembler is None:
            return
        if packet.kind == messages.STREAMING and not packet.number:
            self._assembler.told(self._understood(messages.streaming_of, packet)[0])
        elif (frame := self._assembler.take(packet)) is not None:
            self.frames.append((frame, self._begun_ns))
            self.clock.arrived(frame.begin.start_us, self._begun_ns)
        elif self._assembler.malformed:
            raise DeviceError(self._nonsense(self._assembler.malformed))

    def _ask_clocked(
        self, kind: int, body: bytes, answer: int, meaning: Callable[[bytes], tuple], answer_s: float
    ) -> tuple:
        """Ask for what is answered with the board's clock at its end; returns what the answer means."""
        packet, asked_ns = self._ask(kind, body, (answer, messages.REFUSED), answer_s), self._asked_ns
        found = self._understood(meaning, packet)
        clock_us, answered_ns = found[-1], time.monotonic_ns()
        if self.clock is None:
            self.clock = BoardClock(asked_ns, clock_us, answered_ns)
        else:
            self.clock.answered(asked_ns, clock_us, answered_ns)
        return found

    def _ask(self, kind: int, body: bytes, answers: tuple[int, ...], answer_s: float) -> Packet:
        """Ask, and again each quarter of a second; returns the answer.

        Settings are applied between two frames, which may be seconds apart on a slow line: as long as the board sends,
        it is not silent.
        """
        self._awaited, self._answer = answers, None
        request = b"\0" + encode(Packet(kind, self.boot, self._next(), body))
        self._asked_ns, began_s, again_s = time.monotonic_ns(), time.monotonic(), 0.0
        while self._answer is None:
            now_s = time.monotonic()
            until_s = min(max(began_s, self.heard_s) + answer_s, began_s + max(answer_s, LONGEST_FRAME_S))
            if now_s >= until_s:
                noise = f" ({self.damaged} damaged packets came)" if self.damaged else ""
                raise DeviceLost(f"it has not answered '{chr(kind)}' for {answer_s:.1f} s{noise}")
            if now_s >= again_s:
                self.port.write(request)
                again_s = now_s + AGAIN_S
            self.read(min(until_s, again_s) - now_s)
            self.port.check_open()
        packet, self._awaited, self._answer = self._answer, (), None
        if packet.kind == messages.REFUSED:
            said = packet.body.decode("utf-8", "replace")[:300]
            text = "".join(letter if letter.isprintable() else "?" for letter in said)
            raise ConfigurationError(f"the board at '{self.port.place}' refuses: {text}")
        return packet

    def _next(self) -> int:
        self._number = self._number % (2**32 - 1) + 1
        return self._number

    def _greet(self, hello_s: float) -> Hello:
        self._got_bytes = 0
        try:
            packet = self._ask(messages.HELLO_WANTED, b"", (messages.HELLO,), hello_s)
        except DeviceLost as error:
            raise DeviceError(self._no_hello(hello_s, error)) from error
        hello = self._understood(messages.hello_of, packet)
        if not packet.boot:
            raise DeviceError(self._nonsense("its boot is 0"))
        self.boot = packet.boot
        return hello

    def _understood(self, meaning: Callable[[bytes], T], packet: Packet) -> T:
        try:
            return meaning(packet.body)
        except Malformed as error:
            raise DeviceError(self._nonsense(str(error))) from error

    def _nonsense(self, what: str) -> str:
        return f"the board at '{self.port.place}' is not understood: {what}; update its firmware, or this program"

    def _no_hello(self, hello_s: float, error: DeviceLost) -> str:
        place = self.port.place
        if isinstance(error.__cause__, Exception):  # pulled out while it was being opened
            return str(error)
        if not self._got_bytes:
            return (
                f"'{place}' is silent: no board has answered for {hello_s:.0f} s; is a sensor board there, with its "
                "firmware (hardware/firmware)? See 'lensless devices'"
            )
        return (
            f"'{place}' is no sensor board, or of another speed: {self._got_bytes} bytes came within {hello_s:.0f} s, "
            "and no answer among them; set baud= in its address, or look at its firmware (hardware/firmware)"
        )
