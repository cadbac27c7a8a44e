"""Is this a video container, and is its head as it was written? What FFmpeg does not ask before it decodes.

FFV1 does not hold the size of its pictures: a changed width in the head gives other pixels from sound packets.
"""

import zlib
from collections.abc import Iterator

MATROSKA, AVI, MP4 = (0, b"\x1a\x45\xdf\xa3"), (8, b"AVI "), (4, b"ftyp")
SEGMENT, CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
CHECKED = {b"\x15\x49\xa9\x66": "Info", b"\x16\x54\xae\x6b": "Tracks"}
# 'RIFF' size 'AVI ' 'LIST' size 'hdrl' 'avih' size, and 8 numbers before width and height.
AVI_WIDTH = 64


def is_video(begin: bytes) -> bool:
    """Matroska, AVI, MP4 or QuickTime; FFmpeg would also play lists, and open what they name.

    A list may have "AVI " for its second line: it is no AVI without the word before.
    """
    if begin[8:12] == AVI[1] and not begin.startswith(b"RIFF"):
        return False
    return any(begin[at : at + len(magic)] == magic for at, magic in (MATROSKA, AVI, MP4))


def damage(begin: bytes, rows: int, columns: int) -> str | None:
    """What is wrong in the head of a file whose frames are said to have this shape; None if nothing is seen.

    Matroska: the checksums of the elements Info and Tracks (RFC 8794, 11.3.1; who writes none is believed).
    AVI: the second place where width and height stand.
    """
    if begin.startswith(MATROSKA[1]):
        for name, body in _elements(begin):
            if body[:2] == b"\xbf\x84" and zlib.crc32(body[6:]) != int.from_bytes(body[2:6], "little"):
                return f"the checksum of its element {name} is wrong"
    elif begin[8:12] == AVI[1]:
        numbers = (int.from_bytes(begin[at : at + 4], "little") for at in (AVI_WIDTH + 4, AVI_WIDTH))
        if (said := tuple(numbers)) != (rows, columns):
            return f"its two heads differ: frames of {said} and of {(rows, columns)}"
    return None


def _elements(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The checked elements before the first frame."""
    at = 0
    while at + 12 <= len(data):
        kind = data[at : at + _length(data[at])]
        at += len(kind)
        length = _length(data[at])
        size = int.from_bytes(data[at : at + length], "big") & ~(1 << (7 * length))
        at += length
        if kind == CLUSTER:
            return
        if kind in CHECKED:
            yield CHECKED[kind], data[at : at + size]
        if kind != SEGMENT:  # whose elements are walked through
            at += size


def _length(first: int) -> int:
    """Bytes of a number of EBML: one more than the leading zero bits of the first."""
    return 9 - max(first.bit_length(), 1)
