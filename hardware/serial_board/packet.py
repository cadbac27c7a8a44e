"""Packets of the serial protocol (hardware/firmware/PROTOCOL.md): bytes in, packets out; no device and no thread.

A packet on the line is COBS (Cheshire and Baker 1999, doi:10.1109/90.769765) and a zero: no byte of it is zero, so the
next zero ends whatever noise has made of it. Before that it is whitened: frames are dark, and each zero costs a step of
the decoder. Its CRC-32 (that of zlib) starts from the version of the protocol; every error of up to 3 bits is found in
a packet of this size, and others but for one in 2^32.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

VERSION = 1
LONGEST_BYTES = 4096  # on the line, without the zero
HEAD = struct.Struct("<BII")
CRC = struct.Struct("<I")
SHORTEST_BYTES = 1 + HEAD.size + CRC.size
LONGEST_BODY_BYTES = LONGEST_BYTES - -(-LONGEST_BYTES // 255) - HEAD.size - CRC.size
# A hello, and the asking for it, are understood by every version.
FOR_EVER = frozenset(b"hH")


class Packet(NamedTuple):
    """What one packet says.

    Args:
        kind: a letter; small ones go to the board, capitals come from it.
        boot: number that the board drew when it started; 0 of a host that does not know it yet.
        number: of the request that is made or answered, or of the frame.
        body: what the kind needs, at most 4,066 bytes.
    """

    kind: int
    boot: int
    number: int
    body: bytes


def _whitening() -> np.ndarray:
    """The high bytes of x = 1664525 x + 1013904223 mod 2^32 (Numerical Recipes), from x = 1 on."""
    x, sequence = 1, np.empty(LONGEST_BYTES, np.uint8)
    for at in range(LONGEST_BYTES):
        x = (1_664_525 * x + 1_013_904_223) & 0xFFFFFFFF
        sequence[at] = x >> 24
    return sequence


WHITENING = _whitening()


def encode(packet: Packet, version: int = VERSION) -> bytes:
    """What goes onto the line, with the zero at its end.

    Raises:
        ValueError: the body is longer than 4,066 bytes.
    """
    if len(packet.body) > LONGEST_BODY_BYTES:
        raise ValueError(f"body of {len(packet.body)} bytes; a packet holds {LONGEST_BODY_BYTES}")
    plain = HEAD.pack(packet.kind, packet.boot, packet.number) + packet.body
    plain += CRC.pack(zlib.crc32(plain, 0 if packet.kind in FOR_EVER else version))
    return stuff(whiten(plain)) + b"\0"


def decode(line: bytes, version: int = VERSION) -> Packet | None:
    """The packet between two zeros; None if it is damaged, or of another version."""
    stuffed = unstuff(line)
    if stuffed is None or len(stuffed) < SHORTEST_BYTES - 1:
        return None
    plain = whiten(stuffed)
    kind, boot, number = HEAD.unpack_from(plain)
    if CRC.unpack_from(plain, len(plain) - 4)[0] != zlib.crc32(plain[:-4], 0 if kind in FOR_EVER else version):
        return None
    return Packet(kind, boot, number, plain[9:-4])


def whiten(data: bytes) -> bytes:
    """`data` with the whitening taken exclusive-or to it; done twice it is as before."""
    return (np.frombuffer(data, np.uint8) ^ WHITENING[: len(data)]).tobytes()


def stuff(data: bytes) -> bytes:
    """Consistent overhead byte stuffing: the same without zeros, longer by 1 byte in 254 at most."""
    out = bytearray()
    runs = data.split(b"\0")
    for run in runs:
        full = (len(run) - (run is runs[-1])) // 254 if run else 0
        for at in range(0, 254 * full, 254):
            out += b"\xff" + run[at : at + 254]
        rest = run[254 * full :]
        out += bytes((len(rest) + 1,)) + rest
    return bytes(out)


def unstuff(line: bytes) -> bytes | None:
    """What was stuffed into `line`; None if it holds a zero, or its lengths do not add up."""
    # Each length byte becomes the zero that it stands for; those that stand for none, after a full run, are taken out.
    out, at, end, without = bytearray(line), 0, len(line), []
    while at < end:
        run = out[at]
        if not run:
            return None
        out[at] = 0
        at += run
        if run == 255:
            without.append(at)
    if at != end:
        return None
    for at in reversed(without):
        if at < end:
            del out[at]
    return bytes(out[1:])


class PacketReader:
    """Takes bytes as they come, in any pieces; gives packets.

    It holds back 4 KiB at most. After noise the next whole packet is found: noise costs those that it touches, and
    where it has eaten a zero the one behind it.

    Args:
        version: of the protocol that is spoken.
    """

    def __init__(self, version: int = VERSION):
        self._version, self._rest, self._skipping = version, b"", False
        self.packets = 0
        self.damaged = 0  # pieces between two zeros that are no packet

    def feed(self, data: bytes) -> Iterator[Packet]:
        """The packets that end in `data`."""
        at = 0
        while (end := data.find(0, at)) >= 0:
            line, at = data[at:end], end + 1
            if self._rest:
                line, self._rest = self._rest + line, b""
            if self._skipping:
                self._skipping = False
            elif line:
                packet = decode(line, self._version) if SHORTEST_BYTES <= len(line) <= LONGEST_BYTES else None
                if packet is None:
                    self.damaged += 1
                else:
                    self.packets += 1
                    yield packet
        if self._skipping or len(self._rest) + len(data) - at > LONGEST_BYTES:
            self.damaged += not self._skipping
            self._rest, self._skipping = b"", True
        else:
            self._rest += data[at:]
