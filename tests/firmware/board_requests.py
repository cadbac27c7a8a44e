"""Requests to the programs that hold a firmware, and what comes back."""

import dataclasses
import pathlib
import struct
import subprocess
from collections.abc import Iterable

import numpy as np

from hardware.serial_board.packet import Packet, PacketReader, encode

BOOT = 0x11223344
LONGEST_S = 60


@dataclasses.dataclass(frozen=True)
class Firmware:
    """A program that takes a file of requests and writes a file of answers, see board_program.py."""

    command: list[str]
    folder: pathlib.Path

    def answers(self, requests: Iterable[tuple[str, bytes]]) -> list[bytes]:
        source, target = self.folder / "requests", self.folder / "answers"
        source.write_bytes(b"".join(letter.encode() + _sized(body) for letter, body in requests))
        done = subprocess.run([*self.command, source, target], capture_output=True, text=True, timeout=LONGEST_S)
        assert done.returncode == 0, done.stderr[-2000:]
        found = split(target.read_bytes())
        target.unlink()
        return found

    def talk(self, *requests: tuple[str, bytes], boot: int = BOOT, number: int = 0) -> list[list[Packet]]:
        """What a board that has just started says to each request; of the first, what it says by itself.

        No piece between two zeros may be anything but a packet.
        """
        return self.talks([requests], boot, number)[0]

    def talks(
        self, conversations: list[tuple[tuple[str, bytes], ...]], boot: int = BOOT, number: int = 0
    ) -> list[list[list[Packet]]]:
        """As many conversations as `talk` has, each with a board that has just started."""
        new = "N", struct.pack("<II", boot, number)
        answers = iter(self.answers(request for one in conversations for request in (new, *one)))
        readers = [PacketReader() for _ in conversations]
        said = [
            [list(reader.feed(next(answers))) for _ in range(len(one) + 1)]
            for reader, one in zip(readers, conversations, strict=True)
        ]
        assert not any(reader.damaged for reader in readers)
        return said


def split(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def plain(packet: Packet) -> bytes:
    return struct.pack("<BII", packet.kind, packet.boot, packet.number) + packet.body


def ask(kind: int, number: int, body: bytes = b"", boot: int = BOOT) -> tuple[str, bytes]:
    """The request comes in on the line."""
    return "F", b"\0" + encode(Packet(kind, boot, number, body))


def turns(count: int) -> tuple[str, bytes]:
    return "T", struct.pack("<I", count)


def pixels(mode: int, taken: int) -> np.ndarray:
    """What the fake sensor sees in its frame of this number."""
    at = np.arange(70 if mode else 3000, dtype=np.int64)
    data = at * at + 31 * taken + at // 8
    data &= np.where((mode == 1) & (at % 2 == 1), 3, 255)
    return data.astype(np.uint8).view("<u2").reshape(7, 5) if mode else data.astype(np.uint8).reshape(60, 50)


def _sized(body: bytes) -> bytes:
    return struct.pack("<I", len(body)) + body
