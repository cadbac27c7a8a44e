"""Promises of the serial link, L1 to L5: corrupted bytes never become a wrong frame, and every frame is accounted for.

What a board sends is known here byte by byte; what the host makes of it after noise is compared with it. Counts:
reduced in `make test`, those of every change under the slow marker, the long ones with LENSLESS_TORTURE=N.
"""

import dataclasses
import itertools
import random
import tracemalloc

import numpy as np
import pytest
from recording_tools import AT_NIGHT

from hardware import SimulatedCamera
from hardware.emulators.board import EmulatedBoard
from hardware.serial_board import messages
from hardware.serial_board.assembly import BoardFrame, FrameAssembler
from hardware.serial_board.packet import LONGEST_BODY_BYTES, LONGEST_BYTES, Packet, PacketReader, decode, encode

SHAPE = (24, 32)
MODES = (SHAPE, (SHAPE[0] // 2, SHAPE[1] // 2))


def pixels_of(sequence: int) -> np.ndarray:
    """Random ones, so that no part of a frame fits into another; dark ones between, as sensors send."""
    if sequence % 5 == 0:
        return np.full(SHAPE, sequence % 3, np.uint16)
    return np.random.default_rng(sequence).integers(0, 4096, SHAPE).astype(np.uint16)


def make_board(first: int = 0, packet_bytes: int = 200) -> EmulatedBoard:
    camera = SimulatedCamera(
        lambda settings, sequence: pixels_of(sequence),
        camera_id="TRUE", shape=SHAPE, bit_depth=12, black_level_dn=0, exposure_s=0.01,
    )  # fmt: skip
    return EmulatedBoard(camera, packet_bytes=packet_bytes, first=first)


class Line:
    """A board, a host that has greeted it, and what each has seen. Frame n of the board shows `pixels_of(n + 1)`."""

    def __init__(self, first: int = 0):
        self.board = make_board(first)
        self.number = 0
        self.connect()

    def connect(self) -> None:
        self.reader = PacketReader()
        self.assembler = FrameAssembler(self.board.boot, self.board.hello.modes, self.board._sequence)
        self.ask(messages.STREAM, messages.COUNT.pack(messages.FOR_EVER_FRAMES))

    def ask(self, kind: int, body: bytes) -> None:
        self.number += 1
        self.board.take(encode(Packet(kind, self.board.boot, self.number, body)))

    def send(self) -> tuple[list[bytes], tuple[int, int]]:
        """The packets of one frame, and (the frames that were taken before it, its mode)."""
        taken, packets = self.board.taken, [self.board.next_packet()]
        while self.board.in_frame:
            packets.append(self.board.next_packet())
        return packets, (taken, self.board._mode)

    def get(self, data: bytes) -> list[BoardFrame]:
        return [frame for one in self.reader.feed(data) if (frame := self.assembler.take(one)) is not None]


def check_frame(frame: BoardFrame, first: int, start: int = 0) -> None:
    """It is the one that the board took under this number: `start` were taken before its first number."""
    whole, mode = pixels_of(frame.sequence - first + start + 1), MODES[frame.begin.mode]
    top, left = ((side - part) // 2 for side, part in zip(SHAPE, mode, strict=True))
    assert (frame.pixels == whole[top : top + mode[0], left : left + mode[1]]).all(), "a wrong frame"


def flips(data: bytes, draw: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(draw.randrange(1, 4)):
        out[draw.randrange(len(out))] ^= 1 << draw.randrange(8)
    return bytes(out)


def burst(data: bytes, draw: random.Random) -> bytes:
    at, length = draw.randrange(len(data)), draw.randrange(1, 60)
    return data[:at] + draw.randbytes(len(data[at : at + length])) + data[at + length :]


def loss(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + data[at + draw.randrange(1, 300) :]


def insertion(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + draw.randbytes(draw.randrange(1, 60)) + data[at:]


def zeros(data: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(data))
    return data[:at] + bytes(draw.randrange(1, 5)) + data[at:]


def truncation(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


NOISE = (flips, flips, burst, loss, insertion, zeros, truncation)


def replay(packets: list[bytes], others: list[list[bytes]], draw: random.Random) -> list[bytes]:
    """Whole packets of other frames, of this start of the board and of earlier ones, in place of or between its own."""
    packets = list(packets)
    for _ in range(draw.randrange(1, 4)):
        foreign = draw.choice(draw.choice(others))
        at = draw.randrange(len(packets))
        packets[at : at + draw.randrange(2)] = [foreign]
    if draw.random() < 0.2:
        at, other = draw.randrange(len(packets)), draw.randrange(len(packets))
        packets[at], packets[other] = packets[other], packets[at]
    return packets


def check_noise(count_bytes: int, seed: int) -> None:
    draw, line = random.Random(seed), Line()
    others, first, start, sent_bytes, accepted, sent = [], 0, 0, 0, 0, 0
    while sent_bytes < count_bytes:
        packets, _ = line.send()
        others = [*others[-40:], packets]
        if draw.random() < 0.3:
            packets = replay(packets, others, draw)
        data = b"".join(packets)
        if draw.random() < 0.6:
            data = draw.choice(NOISE)(data, draw)
        sent, sent_bytes = sent + 1, sent_bytes + len(data)
        at = 0
        while at < len(data):
            piece = draw.randrange(1, 2000)
            for frame in line.get(data[at : at + piece]):
                check_frame(frame, first, start)
                accepted += 1
            at += piece
        assert line.assembler.accepted + line.assembler.lost == line.assembler.next - line.assembler.first
        if draw.random() < 0.01:  # packets of the start before are replayed, too
            line.board.restart()
            line.connect()
            start = line.board.taken
    print(f"\nL1: {sent_bytes} bytes of {sent} frames, most of them damaged; {accepted} accepted, 0 wrong")
    assert 0.05 * sent < accepted < 0.9 * sent


def test_corrupted_bytes_never_yield_a_wrong_frame():
    check_noise(300_000, seed=1)


def test_a_frame_whose_packets_are_whole_and_whose_sum_is_not_is_lost():
    """Such as a board sends that mixes up its buffers."""
    line = Line()
    packets = line.send()[0]
    end = decode(packets[-1][:-1])
    wrong = encode(end._replace(body=messages.CRC.pack(messages.CRC.unpack(end.body)[0] ^ 1)))
    assert line.get(b"".join(packets[:-1]) + wrong) == []
    (frame,) = line.get(b"".join(line.send()[0]))
    assert frame.lost_before == 1


def test_a_frame_that_comes_again_is_an_echo():
    line = Line()
    sent = [b"".join(line.send()[0]) for _ in range(3)]
    assert [frame.sequence for frame in line.get(b"".join(sent))] == [0, 1, 2]
    assert line.get(sent[2] + sent[0] + sent[1]) == []
    assert [frame.sequence for frame in line.get(b"".join(line.send()[0]) + sent[2])] == [3]


def test_who_only_begins_frames_has_no_memory_allotted():
    modes = (messages.Mode(8192, 4096, 16, "Mono16"), messages.Mode(4096, 8192, 16, "Mono16"))
    assembler = FrameAssembler(1, modes, 0)
    tracemalloc.start()
    try:
        for number in range(100):
            mode = modes[number % 2]
            begin = messages.Begin(number % 2, mode.rows, mode.columns, 16, 1, 0, 0, None)
            assembler.take(Packet(messages.BEGIN, 1, number, messages.begin_body(begin)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**16


@pytest.mark.slow
@pytest.mark.timeout(0 if AT_NIGHT else 600)
def test_two_million_corrupted_bytes_never_yield_a_wrong_frame():
    check_noise(1_000_000_000 if AT_NIGHT else 2_000_000, seed=2)


def check_resync(trials: int, seed: int) -> None:
    draw, line = random.Random(seed), Line()
    for _ in range(trials):
        before = b"".join(line.send()[0])
        line.get(draw.choice(NOISE)(before, draw) + draw.randbytes(draw.choice((0, 1, 10, 5000))))
        *late, frame = line.get(b"".join(line.send()[0]))
        assert len(late) <= 1  # the frame before, where the noise has eaten no more than its last zero
        assert frame.sequence == line.assembler.next - 1 and frame.lost_before <= 1
    print(f"\nL2: {trials} times noise; the next whole frame came each time")


def test_after_noise_frames_come_again():
    check_resync(150, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(0 if AT_NIGHT else 600)
def test_after_noise_frames_come_again_1000_times():
    check_resync(100_000 if AT_NIGHT else 1000, seed=2)


def test_noise_costs_one_packet_beyond_itself_at_most():
    draw = random.Random(1)
    packets = [encode(Packet(messages.DATA, 7, number, draw.randbytes(50))) for number in range(40)]
    for _ in range(500):
        cut = draw.randrange(1, 20)
        noisy = b"".join(packets[:cut]) + draw.randbytes(draw.randrange(200)) + b"".join(packets[cut:])
        got = [packet.number for packet in PacketReader().feed(noisy)]
        assert got in ([*range(40)], [*range(cut), *range(cut + 1, 40)])


HOSTILE = {
    "random": lambda count: random.Random(3).randbytes(count),
    "zeros": bytes,
    "ones": lambda count: b"\1" * count,
    "short packets": lambda count: (b"\1" * 14 + b"\0") * (count // 15),
    "long ones of zeros": lambda count: (b"\1" * LONGEST_BYTES + b"\0") * (count // (LONGEST_BYTES + 1)),
    "too long by one": lambda count: (b"\1" * (LONGEST_BYTES + 1) + b"\0") * (count // (LONGEST_BYTES + 2)),
    "never a zero": lambda count: b"\xff" * count,
}


@pytest.mark.alone  # what other threads allocate is counted, too
@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_memory_of_the_parser_is_bounded_on_any_bytes(make):
    data = make(500_000)
    largest = messages.Mode(240, 320, 12, "Mono12")
    assembler, reader = FrameAssembler(1, (largest,), 0), PacketReader()
    tracemalloc.start()
    try:
        for at in range(0, len(data), 4096):
            for packet in reader.feed(data[at : at + 4096]):
                assembler.take(packet)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**16 and reader.packets == 0


def test_memory_of_the_parser_is_below_two_frames_while_frames_come():
    """Of a board that says the largest things that are allowed, too: nothing is allocated before it is checked."""
    mode = messages.Mode(480, 640, 12, "Mono12")
    begin = messages.Begin(0, mode.rows, mode.columns, mode.bit_depth, 1000, 0, 0, None)
    assembler, reader = FrameAssembler(1, (mode,), 0), PacketReader()
    content = bytes(LONGEST_BODY_BYTES - 4)
    frames = []
    tracemalloc.start()
    try:
        for number in range(4):
            packets = [Packet(messages.BEGIN, 1, number, messages.begin_body(begin))]
            for at in range(0, mode.bytes, len(content)):
                packet = Packet(messages.DATA, 1, number, messages.OFFSET.pack(at) + content[: mode.bytes - at])
                for one in reader.feed(encode(packets.pop() if packets else packet)):
                    assembler.take(one)
            huge = dataclasses.replace(begin, rows=65535, columns=65535)
            for one in reader.feed(encode(Packet(messages.BEGIN, 1, number + 9, messages.begin_body(huge)))):
                assembler.take(one)
            frames.append(assembler.malformed)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * mode.bytes + 2**16
    assert "65535x65535 pixels" in frames[0]


def check_accounts(frames: int, seed: int) -> None:
    """Five rates of loss, and numbers that begin anew on the way."""
    for place, rate in enumerate((0.0, 0.001, 0.01, 0.1, 0.5)):
        draw, first = random.Random(seed + place), 2**32 - frames // 2
        line, accepted = Line(first % 2**32), []
        for _ in range(frames):
            kept = [packet for packet in line.send()[0] if draw.random() >= rate]
            for frame in line.get(b"".join(kept)):
                check_frame(frame, line.assembler.first)
                accepted.append(frame)
            assert line.assembler.accepted + line.assembler.lost == line.assembler.next - line.assembler.first
        line.assembler.told(line.board._sequence)  # as the board says it when it is asked
        assert len(accepted) == line.assembler.accepted
        assert line.assembler.accepted + line.assembler.lost == line.board.taken == frames
        assert sum(frame.lost_before for frame in accepted) <= line.assembler.lost
        for one, other in itertools.pairwise(accepted):
            assert other.sequence == one.sequence + 1 + other.lost_before
        print(f"\nL4: {100 * rate:g} % of packets lost: {frames} sent = {len(accepted)} + {line.assembler.lost} lost")


def test_what_was_sent_is_what_was_accepted_and_what_was_lost():
    check_accounts(300, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(0 if AT_NIGHT else 900)
def test_10000_frames_are_accepted_or_counted_at_each_rate_of_loss():
    check_accounts(200_000 if AT_NIGHT else 10_000, seed=2)


def check_restarts(times: int, seed: int) -> None:
    """Restarts and changes of the resolution, each in the middle of a frame where it can be."""
    draw, line, whole = random.Random(seed), Line(), 0
    first, start = 0, 0
    for _ in range(times):
        packets, (taken, _) = line.send()
        assert taken == line.board.taken - 1
        cut = draw.randrange(1, len(packets))
        got = line.get(b"".join(packets[:cut]))
        if draw.random() < 0.5:
            line.board.switch_mode()
            got += line.get(b"".join(packets[cut:]))  # a mode changes between two frames
            got += line.get(b"".join(line.send()[0]))
            assert len(got) == 2 and {frame.pixels.shape for frame in got} == set(MODES)
        else:
            line.board.restart()
            assert not got
            old, start = line.assembler, line.board.taken
            line.connect()
            after = b"".join(line.send()[0])
            assert [frame for one in PacketReader().feed(after) if (frame := old.take(one))] == []
            got = line.get(b"".join(packets[cut:]) + after)  # what was under way is of another start
            assert [frame.sequence for frame in got] == [0]
        for frame in got:
            check_frame(frame, first, start)
            whole += 1
    print(f"\nL5: {times} restarts or changes of the resolution in mid-stream: {whole} whole frames, 0 mixed")


def test_a_restart_or_another_resolution_never_makes_a_mixed_frame():
    check_restarts(60, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(0 if AT_NIGHT else 600)
def test_200_restarts_or_other_resolutions_never_make_a_mixed_frame():
    check_restarts(10_000 if AT_NIGHT else 200, seed=2)
