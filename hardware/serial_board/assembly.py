"""Frames out of packets: whole ones only, each once, and every other one counted."""

import dataclasses
import zlib

import numpy as np

from hardware.frame import dtype_of
from hardware.serial_board import messages
from hardware.serial_board.messages import Begin, Malformed, Mode
from hardware.serial_board.packet import VERSION, Packet

WRAP = 2**32
NOTHING = np.empty(0, np.uint8)


@dataclasses.dataclass(frozen=True)
class BoardFrame:
    """A frame as it came.

    Args:
        sequence: the board's count, carried on where its 32 bits begin anew.
        lost_before: frames that the board took and that did not come.
        begin: its facts.
        pixels: (rows, columns), uint8 or uint16.
    """

    sequence: int
    lost_before: int
    begin: Begin
    pixels: np.ndarray


class FrameAssembler:
    """Puts the packets of one board's frames together, from one of its starts to the next.

    At every instant the frames from `first` to `next` are those that were accepted or lost: `accepted + lost`. It holds
    one frame at most.

    Args:
        boot: of the board; packets of any other are not for us.
        modes: that the board has; a frame of another size is not taken.
        first: number of the first frame that counts.
        version: of the protocol.
    """

    def __init__(self, boot: int, modes: tuple[Mode, ...], first: int, version: int = VERSION):
        self.boot, self._modes, self._version = boot, modes, version
        self.first = self.next = first  # from here on: numbers that do not begin anew
        self.accepted = self.lost = 0
        self.in_vain = 0  # frames that began to come since the last whole one
        self.moved = 0  # packets that have brought a frame on
        self.malformed = ""  # what was wrong with the last frame that no board may send
        self._lost_before = 0
        self._open: tuple[int, Begin] | None = None
        self._buffer, self._filled, self._crc = NOTHING, 0, 0

    @property
    def known(self) -> int:
        """Number of the frame after the last one that is known to have been taken: one under way is."""
        return self.next if self._open is None else self._open[0] + 1

    def take(self, packet: Packet) -> BoardFrame | None:
        """Take a packet in; returns the frame that it completes."""
        if packet.boot != self.boot:
            return None
        match packet.kind:
            case messages.BEGIN:
                self._begin(packet)
            case messages.DATA:
                self._data(packet)
            case messages.END:
                return self._end(packet)
        return None

    def told(self, next_number: int) -> None:
        """The board says that all frames before this number are sent: what has not come is lost."""
        sequence = self._carried_on(next_number)
        if sequence >= self.next:
            self._skip_to(sequence)
        if self._open is not None and self._open[0] < sequence:
            self._open = None

    def _carried_on(self, number: int) -> int:
        """The 32 bits of a number as the count that is nearest to the next frame, before it or behind."""
        return self.next + (number - self.next + WRAP // 2) % WRAP - WRAP // 2

    def _skip_to(self, sequence: int) -> None:
        missing = sequence - self.next
        self.lost, self._lost_before, self.next = self.lost + missing, self._lost_before + missing, sequence

    def _begin(self, packet: Packet) -> None:
        sequence = self._carried_on(packet.number)
        if sequence < self.next:  # it was taken before, or given up: this is an echo
            return
        self._open = None
        try:
            begin = messages.begin_of(packet.body)
            self._check(begin)
        except Malformed as error:
            self.malformed = f"frame {sequence}: {error}"
            return
        self._open, self._filled = (sequence, begin), 0
        self.in_vain, self.moved = self.in_vain + 1, self.moved + 1
        self._crc = zlib.crc32(packet.body, self._version)

    def _check(self, begin: Begin) -> None:
        """Before anything of its size is allocated."""
        mode = self._modes[begin.mode] if begin.mode < len(self._modes) else None
        if mode is None or (begin.rows, begin.columns, begin.bit_depth) != (mode.rows, mode.columns, mode.bit_depth):
            raise Malformed(
                f"mode {begin.mode} with {begin.columns}x{begin.rows} pixels of {begin.bit_depth} bits; the board has "
                f"{', '.join(map(str, self._modes)) or 'no modes'}"
            )
        if begin.exposure_us < 1:
            raise Malformed("an exposure of 0")

    def _data(self, packet: Packet) -> None:
        if self._open is None or self._carried_on(packet.number) != self._open[0]:
            return
        offset, content = packet.body[:4], packet.body[4:]
        end, size = self._filled + len(content), self._modes[self._open[1].mode].bytes
        if len(offset) < 4 or messages.OFFSET.unpack(offset)[0] != self._filled or end > size:
            self._open = None  # a packet before it was lost
            return
        if self._buffer.nbytes != size:
            self._buffer = np.empty(size, np.uint8)  # not touched, so that who only begins frames costs no time
        self._buffer[self._filled : end] = np.frombuffer(content, np.uint8)
        self._filled, self._crc, self.moved = end, zlib.crc32(content, self._crc), self.moved + 1

    def _end(self, packet: Packet) -> BoardFrame | None:
        if self._open is None or self._carried_on(packet.number) != self._open[0]:
            return None
        sequence, begin = self._open
        self._open = None
        if self._filled < self._modes[begin.mode].bytes or packet.body != messages.CRC.pack(self._crc):
            return None
        self._skip_to(sequence)
        kind = dtype_of(begin.bit_depth).newbyteorder("<")
        pixels = self._buffer.view(kind).reshape(begin.rows, begin.columns)
        self._buffer = NOTHING  # the frame has it now
        frame = BoardFrame(sequence, self._lost_before, begin, pixels)
        self.accepted, self.next, self._lost_before, self.in_vain = self.accepted + 1, sequence + 1, 0, 0
        return frame
