"""The bytes of the formats that are attacked, as small or as wrong as an attack wants them."""

import binascii
import io
import os
import pathlib
import pickle
import struct
import zlib

import numpy as np
from PIL import Image

from attacks.attack import Place


class Payload:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, canary: pathlib.Path):
        self.canary = canary

    def __reduce__(self):
        return pathlib.Path.touch, (self.canary,)


def poison(place: Place) -> bytes:
    return pickle.dumps(Payload(place.canary))


def numbers(seed: int = 0, shape: tuple[int, int] = (12, 12)) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 4096, shape).astype(np.uint16)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_of_objects(place: Place) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Payload(place.canary)], object), allow_pickle=True)
    return file.getvalue()


def npy_header(text: str, rest: bytes = b"", version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(text) + 1)
    return b"\x93NUMPY" + bytes((version, 0)) + length + text.encode() + b"\n" + rest


def described(descr: str, shape: str, rest: bytes = b"") -> bytes:
    return npy_header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}", rest)


def picture(array: np.ndarray, form: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, form, **options)
    return file.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", binascii.crc32(name + body))


def png(columns: int, rows: int, content: bytes, depth: int = 8, colour: int = 0, *before: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", columns, rows, depth, colour, 0, 0, 0)
    parts = (chunk(b"IHDR", head), *before, chunk(b"IDAT", content), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def deflated_zeros(count: int) -> bytes:
    packer = zlib.compressobj(9)
    block = bytes(2**20)
    whole = b"".join(packer.compress(block) for _ in range(count >> 20))
    return whole + packer.compress(bytes(count & (2**20 - 1))) + packer.flush()


def tiff(columns: int, rows: int, content: bytes, compression: int = 1, directories: int = 1, *more: tuple) -> bytes:
    """`more`: other entries (tag, type, count, value) of each directory."""
    entries = [
        *((256, 4, 1, columns), (257, 4, 1, rows), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1)),
        *((273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, rows), (279, 4, 1, len(content)), *more),
    ]
    entries = sorted({entry[0]: entry for entry in entries}.values())
    one = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    at, parts = 8 + len(content), []
    for number in range(directories):
        at += len(one) + 4
        parts.append(one + struct.pack("<I", at if number + 1 < directories else 0))
    return b"II*\0" + struct.pack("<I", 8 + len(content)) + content + b"".join(parts)


def jpeg_of_scans(scans: int, side: int = 8000) -> bytes:
    """A progressive JPEG that says again and again, in 500 bytes each time, that all is black."""
    blocks = (side // 8) ** 2
    tables = b"\xff\xdb" + struct.pack(">HB", 67, 0) + bytes([1] * 64)
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 11, 8, side, side, 1) + b"\1\x11\0"
    one_code = bytes([1] + [0] * 15)
    codes = b"\xff\xc4" + struct.pack(">H", 2 + 18 + 18) + b"\0" + one_code + b"\0" + b"\x10" + one_code + b"\xe0"
    scan = b"\xff\xda" + struct.pack(">HB", 8, 1) + b"\1\0"
    first = scan + b"\0\0\0" + bytes(blocks // 8 + 8)
    again = scan + b"\1\x3f\0" + bytes(blocks // 16384 * 15 // 8 + 8)
    return b"\xff\xd8" + tables + frame + codes + first + again * scans + b"\xff\xd9"


def idx(place: Place, stem: str, pictures: np.ndarray, labels: np.ndarray) -> None:
    for kind, array in (("images-idx3", pictures), ("labels-idx1", labels)):
        place.file(f"{stem}-{kind}-ubyte", idx_head(*array.shape) + array.astype(np.uint8).tobytes())


def idx_head(*shape: int) -> bytes:
    return bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape)


def sparse(path: str, head: bytes, size: int) -> str:
    """A file of that size that takes no room on the disk."""
    pathlib.Path(path).write_bytes(head)
    os.truncate(path, size)
    return path
