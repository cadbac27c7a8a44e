"""Raw pixels out of the bytes that a sensor's bus or a camera's transport puts them into: pure functions on arrays.

Three ways to lay b bits into bytes of 8:

- "words": one pixel in one little-endian word of 8 or 16 bits, at its lower end.
- "csi2", MIPI CSI-2 RAW10, RAW12, RAW14: the upper 8 bits of each pixel of a group, then the lower bits of all of them,
  those of the first pixel lowest (V4L2's pixfmt-srggb10p; four pixels in 5 bytes, two in 3, four in 7).
- "lsb", GenICam's names that end in "p": one stream of bits, the lowest first, that does not stop at the end of a row.
"""

import dataclasses
import math
from typing import Literal

import numpy as np

from hardware.errors import CameraError

Packing = Literal["words", "csi2", "lsb"]


@dataclasses.dataclass(frozen=True)
class Layout:
    """How pixels lie in a buffer.

    Args:
        bits: of one pixel; 8 or 16 in words, else 10, 12 or 14.
        packing: which of the three ways.
    """

    bits: int
    packing: Packing = "words"

    @property
    def group(self) -> tuple[int, int]:
        """(pixels, bytes) of the smallest piece that ends with a whole byte."""
        bytes_ = self.bits // math.gcd(self.bits, 8)
        return bytes_ * 8 // self.bits, bytes_


def unpack(buffer: np.ndarray, width: int, height: int, stride: int, layout: Layout) -> np.ndarray:
    """Pixels (height, width), uint8 up to 8 bits and uint16 above; a view of the buffer where they lie in words.

    Args:
        buffer: bytes, whatever type the driver calls them: they are looked at, not converted.
        width, height: of the picture, in pixels.
        stride: bytes from one row to the next; what is beyond the pixels is left away. Streams of bits ("lsb") whose
            rows do not end with a byte have no stride, and it is not looked at.
        layout: how they lie.

    Raises:
        CameraError: fewer bytes than that takes.
    """
    if layout.packing == "lsb" and height > 1 and width * layout.bits % 8:
        return unpack(buffer, width * height, 1, 0, layout).reshape(height, width)
    pixels, bytes_ = layout.group
    groups = -(-width // pixels)
    # The low bits of a CSI-2 group come last, so that a group is always whole; a stream just ends.
    row_bytes = -(-width * layout.bits // 8) if layout.packing == "lsb" else groups * bytes_
    rows = _rows(buffer, height, stride, row_bytes)
    if layout.packing == "words":
        return rows.view("<u2" if layout.bits > 8 else np.uint8)
    if missing := groups * bytes_ - row_bytes:
        rows = np.pad(rows, ((0, 0), (0, missing)))
    parts = rows.reshape(height, groups, bytes_)
    spread = (_csi2 if layout.packing == "csi2" else _lsb)(parts, layout.bits, pixels)
    return spread.reshape(height, groups * pixels)[:, :width]


def _rows(buffer: np.ndarray, height: int, stride: int, row_bytes: int) -> np.ndarray:
    """(height, row_bytes) of uint8; the last row may end before its padding."""
    flat = np.ascontiguousarray(buffer).reshape(-1).view(np.uint8)
    stride = stride if height > 1 else max(stride, row_bytes)
    needed = (height - 1) * stride + row_bytes
    if stride < row_bytes or flat.size < needed:
        raise CameraError(
            f"a raw buffer has {flat.size} bytes, {stride} from row to row; expected {needed} for {height} rows of "
            f"{row_bytes} bytes at least: the driver says another format or size than it sends"
        )
    if flat.size < height * stride:
        flat = np.pad(flat, (0, height * stride - flat.size))
    return flat[: height * stride].reshape(height, stride)[:, :row_bytes]


def _field(parts: np.ndarray, bit: int, bits: int) -> np.ndarray:
    """The field of `bits` that begins at a bit of each piece, its bytes read as one little-endian number."""
    first, last = bit // 8, (bit + bits - 1) // 8
    number = parts[..., first].astype(np.uint32)
    for at in range(first + 1, last + 1):
        number |= parts[..., at].astype(np.uint32) << 8 * (at - first)
    return (number >> bit % 8 & 2**bits - 1).astype(np.uint16)


def _csi2(parts: np.ndarray, bits: int, pixels: int) -> np.ndarray:
    low, begin = bits - 8, 8 * pixels
    high = (parts[..., at].astype(np.uint16) << low for at in range(pixels))
    return np.stack([upper | _field(parts, begin + at * low, low) for at, upper in enumerate(high)], axis=-1)


def _lsb(parts: np.ndarray, bits: int, pixels: int) -> np.ndarray:
    return np.stack([_field(parts, at * bits, bits) for at in range(pixels)], axis=-1)
