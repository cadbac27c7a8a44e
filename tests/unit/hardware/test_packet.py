"""The codec of the serial protocol against an independent one, and what has to hold for any bytes at all."""

import itertools
import zlib

import cobs.cobs
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hardware.serial_board.packet import (
    CRC,
    LONGEST_BODY_BYTES,
    LONGEST_BYTES,
    SHORTEST_BYTES,
    WHITENING,
    Packet,
    PacketReader,
    decode,
    encode,
    stuff,
    unstuff,
    whiten,
)

# Runs of zeros and of other bytes, around the 254 where a run is full.
RUNS = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.integers(250, 260).map(lambda count: b"\1" * count),
        st.integers(1, 5).map(bytes),
        st.integers(505, 512).map(lambda count: b"\xff" * count),
    ),
    max_size=6,
).map(b"".join)
UINT32 = st.integers(0, 2**32 - 1)
PACKETS = st.builds(Packet, st.integers(0, 255), UINT32, UINT32, RUNS)


@given(RUNS)
@example(b"")
@example(b"\1" * 254)
@example(b"\1" * 254 + b"\0")
@example(b"\0" * 254)
def test_stuffing_is_that_of_an_independent_implementation(data):
    stuffed = stuff(data)
    assert stuffed == cobs.cobs.encode(data) and 0 not in stuffed
    assert unstuff(stuffed) == data == cobs.cobs.decode(stuffed)


@given(st.binary(max_size=600))
def test_any_bytes_are_unstuffed_as_by_an_independent_implementation_or_refused_with_it(line):
    try:
        expected = cobs.cobs.decode(line) if line else None
    except cobs.cobs.DecodeError:
        expected = None
    got = unstuff(line)
    assert got == expected or (not line and got == b"")


@given(PACKETS)
def test_a_packet_comes_back_as_it_was(packet):
    line = encode(packet)
    assert line[-1] == 0 and 0 not in line[:-1] and SHORTEST_BYTES <= len(line) - 1 <= LONGEST_BYTES
    assert decode(line[:-1]) == packet
    assert [*PacketReader().feed(line)] == [packet]


@given(st.lists(PACKETS, max_size=6), st.data())
def test_packets_are_the_same_in_whatever_pieces_the_bytes_come(packets, data):
    noise = data.draw(st.lists(st.binary(max_size=30).map(lambda one: one + b"\0"), max_size=3))
    parts = data.draw(st.permutations([*map(encode, packets), *noise]))
    sent = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=12)))
    whole, pieces = PacketReader(), PacketReader()
    expected = [*whole.feed(sent)]
    assert set(packets) <= set(expected)
    got = [one for a, b in itertools.pairwise([0, *cuts, len(sent)]) for one in pieces.feed(sent[a:b])]
    assert got == expected and (pieces.packets, pieces.damaged) == (whole.packets, whole.damaged)


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=5000), max_size=6))
def test_no_bytes_make_it_fail_or_keep_more_than_4_kib(pieces):
    reader = PacketReader()
    for piece in pieces:
        list(reader.feed(piece))
        assert len(reader._rest) <= LONGEST_BYTES


@pytest.mark.parametrize("body", [b"", bytes(300), bytes(range(1, 256)), np.random.default_rng(0).bytes(1000)])
def test_every_error_of_one_bit_is_found_and_those_of_two_and_three(body):
    """On the line, where a bit can also make or end a zero; hence whole streams are compared, and not packets."""
    packet = Packet(ord("D"), 7, 9, body)
    line = bytearray(encode(packet))
    draw = np.random.default_rng(1)
    singles = [(bit,) for bit in range(8 * len(line))]
    for bits in [*singles, *draw.integers(0, 8 * len(line), (3000, 2)), *draw.integers(0, 8 * len(line), (3000, 3))]:
        if len(set(bits)) < len(bits):
            continue
        damaged = bytearray(line)
        for bit in bits:
            damaged[bit // 8] ^= 1 << bit % 8
        assert [*PacketReader().feed(b"\0" + damaged + b"\0")] in ([], [packet])  # the last zero may be the one hit


def test_a_packet_of_another_version_is_none_but_for_its_hello():
    for kind in range(256):
        packet = Packet(kind, 1, 2, b"three")
        assert (decode(encode(packet, version=2)[:-1]) == packet) == (kind in b"hH")


def test_a_packet_has_a_largest_size():
    longest = Packet(1, 2, 3, bytes(LONGEST_BODY_BYTES))
    assert len(encode(longest)) <= LONGEST_BYTES + 1 and decode(encode(longest)[:-1]) == longest
    worst = whiten(b"\1" * (LONGEST_BODY_BYTES + 13))
    assert len(stuff(bytes(one or 1 for one in worst))) <= LONGEST_BYTES
    with pytest.raises(ValueError, match="4067 bytes; a packet holds 4066"):
        encode(Packet(1, 2, 3, bytes(LONGEST_BODY_BYTES + 1)))


def test_the_check_is_zlibs_crc_32_from_the_version():
    plain = whiten(unstuff(encode(Packet(ord("D"), 0x01020304, 5, b"x"))[:-1]))
    assert plain[:10] == b"D\x04\x03\x02\x01\x05\0\0\0x" and plain[10:] == CRC.pack(zlib.crc32(plain[:10], 1))


def test_whitening_makes_dark_frames_as_quick_as_any():
    x = 1
    for at in range(100):
        x = (x * 1_664_525 + 1_013_904_223) % 2**32
        assert WHITENING[at] == x // 2**24
    for value in range(256):  # of any even frame, about one byte in 256 becomes a zero
        assert (whiten(bytes([value]) * LONGEST_BYTES).count(0)) < 40
