"""Packets of the serial protocol (../PROTOCOL.md), for MicroPython 1.22 or newer; CPython runs it, too.

A loop over bytes takes some 20 us for each on an RP2040. Whole numbers and `find` do the same in C.
"""

import binascii
import struct

VERSION = 1
LONGEST_BYTES = 4096  # on the line, without the zero
LONGEST_BODY_BYTES = 4066
SHORTEST_BYTES = 14
HELLOS = b"hH"  # every version understands them


def _whitening():
    x, sequence = 1, bytearray(LONGEST_BYTES)
    for at in range(LONGEST_BYTES):
        x = (1664525 * x + 1013904223) & 0xFFFFFFFF
        sequence[at] = x >> 24
    return memoryview(sequence)


WHITENING = _whitening()


def crc32(data, version=VERSION):
    return binascii.crc32(data, version)


def whiten(data):
    """`data` with the whitening taken exclusive-or to it; done twice it is as before."""
    size = len(data)
    return (int.from_bytes(data, "little") ^ int.from_bytes(WHITENING[:size], "little")).to_bytes(size, "little")


def stuff(data, out):
    """Put `data` behind `out` without zeros."""
    at, end, view = 0, len(data), memoryview(data)
    while True:
        stop = min(at + 254, end)
        zero = data.find(b"\0", at, stop)
        if zero >= 0:
            stop = zero
        out.append(stop - at + 1)
        out.extend(view[at:stop])
        if zero < 0 and stop == end:
            return
        at = stop + (zero >= 0)


def unstuff(line):
    """What was stuffed; None if its lengths do not add up."""
    out, at, end, view = bytearray(), 0, len(line), memoryview(line)
    while at < end:
        run = line[at]
        if run == 0 or at + run > end:
            return None
        out.extend(view[at + 1 : at + run])
        at += run
        if run < 255 and at < end:
            out.append(0)
    return out


def encode(kind, boot, number, body, version=VERSION):
    """What goes onto the line, with the zero at its end; ValueError if the body is longer than 4,066 bytes."""
    if len(body) > LONGEST_BODY_BYTES:
        raise ValueError(f"body of {len(body)} bytes; a packet holds {LONGEST_BODY_BYTES}")
    plain = bytearray(struct.pack("<BII", kind, boot, number))
    plain.extend(body)
    plain.extend(struct.pack("<I", crc32(plain, 0 if kind in HELLOS else version)))
    line = bytearray()
    stuff(whiten(plain), line)
    line.append(0)
    return line


def decode(line, version=VERSION):
    """(kind, boot, number, body) of what came between two zeros; None if it is damaged, or of another version."""
    stuffed = unstuff(line) if SHORTEST_BYTES <= len(line) <= LONGEST_BYTES else None
    if stuffed is None or len(stuffed) < SHORTEST_BYTES - 1:
        return None
    plain = whiten(stuffed)
    kind, boot, number = struct.unpack_from("<BII", plain)
    (crc,) = struct.unpack_from("<I", plain, len(plain) - 4)
    if crc != crc32(memoryview(plain)[:-4], 0 if kind in HELLOS else version):
        return None
    return kind, boot, number, plain[9:-4]


class PacketReader:
    """Takes bytes as they come, in any pieces; gives packets. It holds back 4 KiB at most."""

    def __init__(self):
        self._rest, self._skipping = b"", False

    def feed(self, data):
        """The packets that end in `data`, as (kind, boot, number, body)."""
        while (end := data.find(b"\0")) >= 0:
            line, self._rest = self._rest + data[:end], b""
            data = data[end + 1 :]
            packet = None if self._skipping else decode(line)
            self._skipping = False
            if packet:
                yield packet
        self._rest += data
        if len(self._rest) > LONGEST_BYTES:
            self._rest, self._skipping = b"", True
