"""What a board says and does (../PROTOCOL.md), apart from its sensor and its line; CPython runs it, too.

A sensor has
    modes                   list of tables as in the hello; exposure_us, gain_mdb: (lowest, highest)
    facts                   table: what else the hello says of it: sensor, black_level_dn, raw
    settings                (mode, exposure_us, gain in 1/1000 dB), as read back from it
    configure(settings)     to the nearest that it can; ValueError with a text for people where it cannot
    begin()                 expose one frame, from now on; what fails shows in `frame`
    frame()                 (pixels, start_us, temperature in 1/100 degrees C) once it is there; None while it is not;
                            OSError if it will not come
    give_up()               the frame that was begun is not wanted any more
and a line: read(), what has come, maybe b""; write(data), how many bytes went out.
"""

import json
import struct

from lensless_codec import PacketReader, crc32, encode

FOR_EVER = 0xFFFFFFFF
UNCHANGED = (0xFF, 0, -(2**31))
UNKNOWN_TEMPERATURE = -32768
# What is allocated for each packet has to fit between what lives long in a heap of 190 KiB.
PIXELS_BYTES = 1024


class Clock:
    """Microseconds since it was made, of a counter that wraps; to be looked at once in each half of its range."""

    def __init__(self, ticks_us, ticks_diff):
        self._ticks_us, self._ticks_diff = ticks_us, ticks_diff
        self._last, self._us = ticks_us(), 0

    def __call__(self):
        now = self._ticks_us()
        self._us += self._ticks_diff(now, self._last)
        self._last = now
        return self._us


class Board:
    """`turn` is to be called again and again; no call of it takes longer than one packet on the line.

    Args:
        sensor, line: see above.
        clock_us: microseconds since the board has started.
        boot: drawn at random at each start, not 0.
        names: table with serial, board, firmware.
        number: of the first frame.
    """

    def __init__(self, sensor, line, clock_us, boot, names, number=0):
        self._sensor, self._line, self._clock_us, self._boot, self._number = sensor, line, clock_us, boot, number
        hello = {"protocol": 1, "modes": sensor.modes, "matrix": None}
        hello.update({"exposure_us": sensor.exposure_us, "gain_db": [gain / 1000 for gain in sensor.gain_mdb]})
        hello.update(sensor.facts)
        hello.update(names)
        self._hello = json.dumps(hello).encode()
        self._reader = PacketReader()
        self._wanted = None  # the settings that wait for the end of a frame: (number, body) of their request
        self._last = (0, 0, b"")  # the last answer
        self._left, self._exposing, self._pixels, self._sent, self._crc = 0, False, None, 0, 0
        self._say(ord("H"), 0, self._hello)

    def turn(self):
        """Hear what has come, and do one step of what is to be done: a packet at most."""
        self._clock_us()
        for packet in self._reader.feed(self._line.read()):
            self._hear(*packet)
        if self._pixels is not None:
            self._send()
        elif self._exposing:
            self._look()
        elif self._wanted is not None:
            (number, body), self._wanted = self._wanted, None
            self._answer(number, self._configure, body)
        elif self._left:
            self._exposing = True
            self._sensor.begin()

    def _hear(self, kind, boot, number, body):
        if kind == ord("h") or (kind in b"csp" and boot != self._boot):
            self._say(ord("H"), number, self._hello)
        elif kind not in b"csp":
            return
        elif number == self._last[1]:
            self._say(*self._last)
        elif kind == ord("c"):
            self._wanted = number, body
        else:
            self._wanted = None  # the host has given up what it asked before
            self._answer(number, self._stream if kind == ord("s") else self._show, body)

    def _answer(self, number, do, body):
        try:
            kind, said = do(body)
        except ValueError as error:
            kind, said = ord("X"), str(error).encode()
        self._last = kind, number, said
        self._say(*self._last)

    def _configure(self, body):
        _expect_size("settings", body, 9)
        wanted = struct.unpack("<BIi", body)
        asked = zip(wanted, UNCHANGED, self._sensor.settings)  # noqa: B905  MicroPython's has no strict=
        mode, exposure_us, gain_mdb = [old if new == keep else new for new, keep, old in asked]
        if mode >= len(self._sensor.modes):
            raise ValueError(f"mode {mode}; there are {len(self._sensor.modes)}, from 0")
        _expect_range("exposure", exposure_us, self._sensor.exposure_us, "us")
        _expect_range("gain", gain_mdb, self._sensor.gain_mdb, "dB/1000")
        self._sensor.configure((mode, exposure_us, gain_mdb))
        return ord("C"), struct.pack("<BIiQ", *self._sensor.settings, self._clock_us())

    def _stream(self, body):
        _expect_size("count of frames", body, 4)
        if self._exposing and self._pixels is None:
            self._sensor.give_up()
        if self._exposing:  # it keeps its number
            self._exposing, self._pixels, self._number = False, None, (self._number + 1) & 0xFFFFFFFF
        (self._left,) = struct.unpack("<I", body)
        return ord("S"), self._state()

    def _show(self, body):
        raise ValueError("this board has no lamps")

    def _state(self):
        return struct.pack("<IIQ", self._number, self._left, self._clock_us())

    def _look(self):
        try:
            found = self._sensor.frame()
        except OSError:  # it keeps its number: the host counts it as lost
            self._over()
            return
        if found is None:
            return
        self._pixels, start_us, temperature = found
        mode, exposure_us, gain_mdb = self._sensor.settings
        facts = self._sensor.modes[mode]
        size = facts["rows"], facts["columns"], facts["bit_depth"]
        begin = struct.pack("<BHHBIiQh", mode, *size, exposure_us, gain_mdb, start_us, temperature)
        self._sent, self._crc = 0, crc32(begin)
        self._say_of_frame(ord("B"), begin)

    def _send(self):
        if self._sent == len(self._pixels):
            if self._say_of_frame(ord("E"), struct.pack("<I", self._crc)):
                self._over()
            return
        pixels = self._pixels[self._sent : self._sent + PIXELS_BYTES]
        body = bytearray(struct.pack("<I", self._sent))
        body.extend(pixels)
        self._sent, self._crc = self._sent + len(pixels), crc32(pixels, self._crc)
        self._say_of_frame(ord("D"), body)

    def _say_of_frame(self, kind, body):
        """Whether it could be said; the host takes nothing if not, and the frame is over."""
        said = self._say(kind, self._number, body)
        if not said:
            self._over()
        return said

    def _over(self):
        self._exposing, self._pixels, self._number = False, None, (self._number + 1) & 0xFFFFFFFF
        if self._left != FOR_EVER:
            self._left -= 1
            if not self._left:
                self._say(ord("S"), 0, self._state())

    def _say(self, kind, number, body):
        line = b"\0" + encode(kind, self._boot, number, body)  # the one before may have been cut short
        return self._line.write(line) == len(line)


def _expect_size(what, body, size):
    if len(body) != size:
        raise ValueError(f"{what} in {len(body)} bytes; expected {size}")


def _expect_range(what, value, limits, unit):
    if not limits[0] <= value <= limits[1]:
        raise ValueError(f"{what} of {value} {unit}; it can be {limits[0]} to {limits[1]}")
