"""Codec and board of the MicroPython firmware behind a file of requests; runs under MicroPython and CPython alike.

A request is a letter, a length and as many bytes; its answer a length and bytes:
    E  kind boot number body    the packet on the line, nothing if it is refused
    D  bytes of a line          each packet in it: its length, and itself
    N  boot, first number       a new board; what it says
    F  bytes                    they come in on the line
    T  count                    so many turns; what the board says
    L  count                    so many frames will fail
    W  count                    so many bytes the line still takes
    C  clock in us
"""

import struct
import sys

ROOM = 0xFFFFFFFF


class FakeSensor:
    """What it takes is known: see `pixels`."""

    def __init__(self, line):
        self._line, self._taken, self.failing = line, 0, 0
        mode = {"pixel_format": "Mono8", "cfa": None}
        self.modes = [dict(mode, rows=60, columns=50, bit_depth=8), dict(mode, rows=7, columns=5, bit_depth=10)]
        self.modes[1]["pixel_format"] = "Mono10"
        self.exposure_us, self.gain_mdb = (10, 100_000), (-6000, 18_000)
        self.facts = {"sensor": "fake", "black_level_dn": 8, "raw": True}
        self.settings = (0, 1000, 0)

    def configure(self, settings):
        mode, exposure_us, gain_mdb = settings
        self.settings = mode, exposure_us // 10 * 10, gain_mdb // 6000 * 6000

    def begin(self):
        self._start_us, self._looks = self._line.clock_us, 0

    def frame(self):
        self._looks += 1
        if self._looks < 3:
            return None
        taken, self._taken = self._taken, self._taken + 1
        if self.failing:
            self.failing -= 1
            raise OSError("no frame")
        return pixels(self.settings[0], taken), self._start_us, -32768 if taken % 2 else 2350

    def give_up(self):
        self._taken += 1


def pixels(mode, taken):
    data = bytearray(7 * 5 * 2 if mode else 60 * 50)
    for at in range(len(data)):
        data[at] = (at * at + 31 * taken + at // 8) & (3 if mode and at % 2 else 255)
    return memoryview(data)


class FakeLine:
    def __init__(self):
        self.incoming, self.said, self.room, self.clock_us = b"", b"", ROOM, 0

    def read(self):
        data, self.incoming = self.incoming[:64], self.incoming[64:]
        return data

    def write(self, data):
        out = bytes(data) if self.room == ROOM else bytes(data[: self.room])
        self.said += out
        self.room -= 0 if self.room == ROOM else len(out)
        return len(out)


class Program:
    def __init__(self):
        self._line = self._board = self._sensor = None

    def answer(self, letter, body):
        if letter == "E":
            kind, boot, number = struct.unpack_from("<BII", body)
            try:
                return encode(kind, boot, number, body[9:])
            except ValueError:
                return b""
        if letter == "D":
            found = [struct.pack("<BII", *packet[:3]) + packet[3] for packet in PacketReader().feed(body)]
            return b"".join(struct.pack("<I", len(packet)) + packet for packet in found)
        if letter == "N":
            boot, number = struct.unpack("<II", body)
            line = self._line = FakeLine()
            self._sensor = FakeSensor(line)
            names = {"serial": "E6614103E7452D2F", "board": "fake board", "firmware": "1.0"}
            self._board = Board(self._sensor, line, lambda: line.clock_us, boot, names, number)
            return self._said()
        if letter == "F":
            self._line.incoming += body
        if letter == "C":
            (self._line.clock_us,) = struct.unpack("<Q", body)
        if letter == "L":
            (self._sensor.failing,) = struct.unpack("<I", body)
        if letter == "W":
            (self._line.room,) = struct.unpack("<I", body)
        if letter == "T":
            for _ in range(struct.unpack("<I", body)[0]):
                self._line.clock_us += 100
                self._board.turn()
            return self._said()
        return b""

    def _said(self):
        said, self._line.said = self._line.said, b""
        return said


def run(source, target):
    program = Program()
    while head := source.read(5):
        (size,) = struct.unpack_from("<I", head, 1)
        answer = program.answer(chr(head[0]), source.read(size))
        target.write(struct.pack("<I", len(answer)))
        target.write(answer)


firmware, requests, answers = sys.argv[1:4]
sys.path.insert(0, firmware)
from lensless_board import Board  # noqa: E402
from lensless_codec import PacketReader, encode  # noqa: E402

with open(requests, "rb") as source, open(answers, "wb") as target:
    run(source, target)
