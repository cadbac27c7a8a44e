"""Raw pixels out of bytes: by hand, and against packers that put one bit after the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.errors import CameraError
from hardware.raw_packed import Layout, unpack


def bytes_of(bits: list[int]) -> bytes:
    """Bits, the lowest of each byte first."""
    bits = bits + [0] * (-len(bits) % 8)
    return bytes(sum(bit << at for at, bit in enumerate(bits[i : i + 8])) for i in range(0, len(bits), 8))


def bits_of(value: int, start: int, stop: int) -> list[int]:
    return [value >> at & 1 for at in range(start, stop)]


def pack_csi2(row: list[int], bits: int) -> bytes:
    """As the specification draws it: for each group the bits 8 and up of all pixels, then their low bits in turn."""
    group, out = {10: 4, 12: 2, 14: 4}[bits], b""
    row = row + [0] * (-len(row) % group)
    for first in range(0, len(row), group):
        pixels = row[first : first + group]
        out += bytes(pixel >> bits - 8 for pixel in pixels)
        out += bytes_of([bit for pixel in pixels for bit in bits_of(pixel, 0, bits - 8)])
    return out


def pack_lsb(pixels: list[int], bits: int) -> bytes:
    return bytes_of([bit for pixel in pixels for bit in bits_of(pixel, 0, bits)])


def array(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def test_raw10_by_hand():
    # 0x3FF, 0x001, 0x2AA, 0x154: upper eight bits, then 11 01 10 00 from the first pixel (lowest) on.
    data = bytes([0xFF, 0x00, 0xAA, 0x55, 0b00_10_01_11])
    assert unpack(array(data), 4, 1, 5, Layout(10, "csi2")).tolist() == [[0x3FF, 0x001, 0x2AA, 0x154]]


def test_raw12_by_hand():
    data = bytes([0xAB, 0x12, 0x3C, 0xFF, 0x00, 0xF0])
    assert unpack(array(data), 4, 1, 6, Layout(12, "csi2")).tolist() == [[0xABC, 0x123, 0xFF0, 0x00F]]


def test_genicams_packed_formats_by_hand():
    assert unpack(array(bytes([0xBC, 0x3A, 0x12])), 2, 1, 3, Layout(12, "lsb")).tolist() == [[0xABC, 0x123]]
    ten = (0x3FF | 0x001 << 10 | 0x2AA << 20 | 0x154 << 30).to_bytes(5, "little")
    assert unpack(array(ten), 4, 1, 5, Layout(10, "lsb")).tolist() == [[0x3FF, 0x001, 0x2AA, 0x154]]


def test_words_are_looked_at_and_not_converted():
    """A driver calls 16-bit pixels twice as many bytes: `astype` would make two pixels of each (picamera2 #736)."""
    pixels = np.arange(12, dtype="<u2").reshape(3, 4) + 1000
    padded = np.full((3, 12), 255, np.uint8)
    padded[:, :8] = pixels.view(np.uint8)
    found = unpack(padded, 4, 3, 12, Layout(16))
    assert found.dtype == np.uint16 and (found == pixels).all() and np.shares_memory(found, padded)
    assert (unpack(padded[:, :8].copy().view(np.uint16), 4, 3, 8, Layout(16)) == pixels).all()
    assert unpack(padded, 5, 3, 12, Layout(8)).shape == (3, 5)


shapes = st.tuples(st.integers(1, 23), st.integers(1, 5), st.integers(0, 40))


@settings(max_examples=60, deadline=None)
@given(shape=shapes, bits=st.sampled_from([10, 12, 14]), seed=st.integers(0, 2**32 - 1))
def test_what_an_independent_packer_packs_comes_back(shape, bits, seed):
    width, height, padding = shape
    pixels = np.random.default_rng(seed).integers(0, 2**bits, (height, width)).astype(np.uint16)
    rows = [pack_csi2(row, bits) for row in pixels.tolist()]
    csi2 = b"".join(row + b"\xa5" * padding for row in rows)
    assert (unpack(array(csi2), width, height, len(rows[0]) + padding, Layout(bits, "csi2")) == pixels).all()
    stream = pack_lsb(pixels.reshape(-1).tolist(), bits)
    assert (unpack(array(stream), width, height, width * bits // 8, Layout(bits, "lsb")) == pixels).all()
    assert unpack(array(stream), width, height, width * bits // 8, Layout(bits, "lsb")).dtype == np.uint16


def test_the_sizes_that_users_asked_the_makers_about():
    """4608 x 10 bits are 5760 bytes (picamera2 #594); 640 have a stride of 800 packed, 1280 not (#363)."""
    assert unpack(np.zeros((2, 5760), np.uint8), 4608, 2, 5760, Layout(10, "csi2")).shape == (2, 4608)
    assert unpack(np.zeros((2, 800), np.uint8), 640, 2, 800, Layout(10, "csi2")).shape == (2, 640)
    assert unpack(np.zeros((2, 1280), np.uint8), 640, 2, 1280, Layout(16)).shape == (2, 640)


@pytest.mark.parametrize(
    ("size", "stride", "layout"),
    [(9, 5, Layout(10, "csi2")), (40, 4, Layout(10, "csi2")), (15, 8, Layout(16)), (9, 5, Layout(10, "lsb"))],
)
def test_too_few_bytes_are_told(size, stride, layout):
    with pytest.raises(CameraError, match=rf"{size} bytes, {stride} from row to row; expected"):
        unpack(np.zeros(size, np.uint8), 4, 2, stride, layout)
    whole = unpack(np.zeros(2 * 8, np.uint8), 4, 2, 8, layout)
    assert whole.shape == (2, 4)
