"""A damaged file as HDF5 would like to see it: not being written, and as long as it says. Nothing on the disk changes.

HDF5 opens a file that was cut off, or not closed, only as one that is still being written, and then reads what is
missing a hundred times, in the hope that the writer is just about to write it: a minute for each frame. Here the
missing end is zeros, which no checksum of a recording fits, and the first block says that all is well.
"""

import io
import os
import pathlib

# Where the first block of HDF5 1.10 and later holds its version, the flags (4 stays set when a writer was killed), the
# length of the file, and the checksum of all before.
SUPERBLOCK_BYTES, VERSION_AT, FLAGS_AT, END_AT, CHECKSUM_AT = 48, 8, 11, 28, 44
OPEN, WRITING = 1, 4
# A damaged address must not make the file endless.
LONGEST_PADDING_BYTES = 2**32


class MendedFile(io.RawIOBase):
    """A read-only file object for `h5py.File`; raises OSError where the disk does."""

    def __init__(self, path: pathlib.Path):
        self._file = path.open("rb", buffering=0)
        size = os.fstat(self._file.fileno()).st_size
        start = bytearray(self._file.read(SUPERBLOCK_BYTES))
        said = int.from_bytes(start[END_AT : END_AT + 8], "little")
        self._size = said if size < said <= size + LONGEST_PADDING_BYTES else size
        start[FLAGS_AT] &= ~(OPEN | WRITING)
        start[END_AT : END_AT + 8] = self._size.to_bytes(8, "little")
        start[CHECKSUM_AT:] = lookup3(bytes(start[:CHECKSUM_AT])).to_bytes(4, "little")
        self._start, self._at = bytes(start), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """The file as it is, but for its first block, and with zeros behind its end."""
        view = memoryview(buffer).cast("B")
        view = view[: max(0, self._size - self._at)]
        got = 0
        while got < len(view) and (more := self._read(self._at + got, view[got:])):
            got += more
        view[got:] = bytes(len(view) - got)
        if self._at < SUPERBLOCK_BYTES:
            head = self._start[self._at : self._at + len(view)]
            view[: len(head)] = head
        self._at += len(view)
        return len(view)

    def _read(self, at: int, view: memoryview) -> int:
        if hasattr(os, "preadv"):  # a forked process shares the place at which `read` reads
            return os.preadv(self._file.fileno(), [view], at)
        self._file.seek(at)
        return self._file.readinto(view)

    def close(self) -> None:
        self._file.close()
        super().close()


def lookup3(content: bytes) -> int:
    """The checksum of HDF5's metadata: hashlittle of Bob Jenkins's lookup3 (public domain), 32 bits."""
    a = b = c = (0xDEADBEEF + len(content)) & 0xFFFFFFFF
    words = [int.from_bytes(content[at : at + 4], "little") for at in range(0, len(content), 4)]
    while len(words) > 3:
        a, b, c = _mix(_sum(a, words[0]), _sum(b, words[1]), _sum(c, words[2]))
        words = words[3:]
    a, b, c = (_sum(one, word) for one, word in zip((a, b, c), (*words, 0, 0, 0), strict=False))
    for turn in (14, 11, 25, 16, 4, 14, 24):
        c = _sum(c ^ b, -_turned(b, turn))
        a, b, c = b, c, a
    return b


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    for turn in (4, 6, 8, 16, 19, 4):
        a = _sum(a, -c) ^ _turned(c, turn)
        c = _sum(c, b)
        a, b, c = b, c, a
    return a, b, c


def _sum(one: int, other: int) -> int:
    return (one + other) & 0xFFFFFFFF


def _turned(value: int, bits: int) -> int:
    return (value << bits | value >> (32 - bits)) & 0xFFFFFFFF
