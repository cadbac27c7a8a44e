"""The codecs of both firmwares say what the host's says, byte for byte."""

import pathlib
import re

import numpy as np
from board_requests import plain, split

from hardware.serial_board.packet import LONGEST_BODY_BYTES, WHITENING, Packet, PacketReader, encode

PROTOCOL = pathlib.Path(__file__).resolve().parents[2] / "hardware" / "firmware" / "PROTOCOL.md"


def random_packets(sizes, seed: int) -> list[Packet]:
    """Bodies that are random, dark, few-valued, and, once whitened, all zeros or long runs without any."""
    rng = np.random.default_rng(seed)
    packets = []
    for at, size in enumerate(sizes):
        whitening = WHITENING[9 : 9 + size]
        bodies = (
            rng.integers(0, 256, size),
            np.zeros(size),
            rng.integers(0, 3, size),
            whitening,
            whitening ^ 0x55,
            np.where(rng.random(size) < 1 / 254, whitening, whitening ^ 1),
        )
        body = bodies[at % len(bodies)].astype(np.uint8).tobytes()
        kind, boot, number = rng.choice(list(b"hcspHCSPXBDE")), rng.integers(0, 2**32), rng.integers(0, 2**32)
        packets.append(Packet(int(kind), int(boot), int(number), body))
    return packets


def test_it_encodes_as_the_host_does(firmware):
    packets = random_packets([*range(LONGEST_BODY_BYTES + 1), *[LONGEST_BODY_BYTES] * 6], 2)
    lines = firmware.answers(("E", plain(packet)) for packet in packets)
    assert lines == [encode(packet) for packet in packets]


def test_a_body_that_is_too_long_is_refused(firmware):
    assert firmware.answers([("E", plain(Packet(*b"D", 1, 2, bytes(LONGEST_BODY_BYTES + 1))))]) == [b""]


def test_it_decodes_what_the_host_says_and_nothing_else(firmware):
    """On lines with bytes that are flipped, lost, put in, cut off and said twice, also between two packets."""
    rng = np.random.default_rng(3)
    sizes = [*rng.integers(0, 300, 500), *rng.integers(0, LONGEST_BODY_BYTES, 100), *[LONGEST_BODY_BYTES] * 5]
    line = bytearray(b"".join(encode(packet) for packet in random_packets(sizes, 4)))
    for at in sorted(rng.integers(0, len(line), 300), reverse=True):
        damage = rng.integers(5)
        if damage == 0:
            line[at] ^= 1 << rng.integers(8)
        elif damage == 1:
            del line[at : at + rng.integers(1, 20)]
        elif damage == 2:
            line[at:at] = rng.bytes(rng.integers(1, 20))
        elif damage == 3:
            line[at : at + 30] = rng.bytes(30)
        else:
            line[at:at] = line[max(0, at - 200) : at]
    line += b"\1" * 5000 + b"\0" + encode(Packet(*b"s", 1, 2, b"last"))
    expected = [plain(packet) for packet in PacketReader().feed(bytes(line))]
    assert 200 < len(expected) < 604
    assert split(firmware.answers([("D", bytes(line))])[0]) == expected


def test_a_packet_of_another_version_is_none_but_for_a_hello(firmware):
    lines = [encode(Packet(kind, 7, 8, b"body"), version=2) for kind in b"hHcCD"]
    assert split(firmware.answers([("D", b"".join(lines))])[0]) == [
        plain(Packet(kind, 7, 8, b"body")) for kind in b"hH"
    ]


def test_the_examples_of_the_protocol(firmware):
    found = re.findall(r"^    ((?:[0-9a-f]{2} )+00)$", PROTOCOL.read_text(encoding="utf-8"), re.MULTILINE)
    lines = [bytes.fromhex(line) for line in found]
    assert len(lines) == 5
    packets = split(firmware.answers([("D", b"".join(lines))])[0])
    assert [chr(packet[0]) for packet in packets] == list("hcBDE")
    assert firmware.answers(("E", packet) for packet in packets) == lines
