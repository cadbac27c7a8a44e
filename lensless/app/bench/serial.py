"""`lensless bench serial`: how fast bytes become frames, on good lines and on hostile ones, and how late they come.

Rates are of processor time: one thread does it all, and on a shared machine the clock on the wall tells of others.
"""

import os
import pathlib
import platform
import random
import statistics
import tempfile
import time
import tracemalloc
import zlib

import numpy as np

from hardware import CameraSettings, SimulatedCamera, open_camera
from hardware.emulators.board import PIXELS_PER_PACKET_BYTES, EmulatedBoard
from hardware.errors import ConfigurationError
from hardware.serial_board import messages
from hardware.serial_board.assembly import FrameAssembler
from hardware.serial_board.packet import LONGEST_BYTES, Packet, PacketReader, encode
from lensless.app.screen import Screen
from lensless.app.version import code_version

SHAPE = (480, 640)
FRAMES, ROUNDS, PIECE_BYTES = 20, 5, 16_384
HOSTILE_BYTES = 1_000_000
SMALL, SMALL_FRAMES = (64, 64), 300
MB = 1e6
LARGEST = (messages.Mode(8192, 4096, 16, "Mono16"), messages.Mode(4096, 8192, 16, "Mono16"))


def run(screen: Screen) -> dict:
    """Measure, show, and return the figures."""
    found: dict = {"machine": platform.machine(), "processors": os.cpu_count(), "code": code_version()}
    with screen.working("bytes to frames"):
        found["parsing"] = {name: parsing(pixels) for name, pixels in _pictures().items()}
    with screen.working("hostile bytes"):
        found["hostile"] = {name: hostile(data) for name, data in _hostile().items()}
    with screen.working("memory"):
        found["memory"] = memory()
    with screen.working("frames through a pseudo-terminal"):
        found["latency"] = latency()
    screen.table("", ["", "found", "promised"], _rows(found))
    return found


def parsing(pixels: np.ndarray) -> dict:
    """Pixels per second out of bytes that come in pieces of 16 KiB, beside the CRC-32 that they take at least."""
    sent, hello, boot = _sent(pixels, FRAMES)
    rates, floors = [], []
    for _ in range(ROUNDS):
        reader, assembler = PacketReader(), FrameAssembler(boot, hello.modes, 0)
        began_s = time.process_time()
        for at in range(0, len(sent), PIECE_BYTES):
            for packet in reader.feed(sent[at : at + PIECE_BYTES]):
                assembler.take(packet)
        rates.append(FRAMES * pixels.nbytes / MB / (time.process_time() - began_s))
        began_s = time.process_time()
        for _ in range(FRAMES):
            zlib.crc32(pixels)
        floors.append(FRAMES * pixels.nbytes / MB / (time.process_time() - began_s))
        if assembler.accepted != FRAMES:
            raise ConfigurationError(f"{assembler.accepted} of {FRAMES} frames came; this is a mistake in the bench")
    share = statistics.median(rate / floor for rate, floor in zip(rates, floors, strict=True))
    return {"mb_per_s": statistics.median(rates), "lowest": min(rates), "share_of_crc32": share}


def hostile(data: bytes) -> float:
    """MB/s of bytes that mean harm, to a host whose board has announced the two largest frames that are allowed."""
    rates = []
    for _ in range(ROUNDS):
        reader, assembler = PacketReader(), FrameAssembler(1, LARGEST, 0)
        began_s = time.process_time()
        for at in range(0, len(data), PIECE_BYTES):
            for packet in reader.feed(data[at : at + PIECE_BYTES]):
                assembler.take(packet)
        rates.append(len(data) / MB / (time.process_time() - began_s))
    return statistics.median(rates)


def memory() -> dict:
    """Most bytes that the parser held, beside two frames."""
    pixels = _pictures()["random"]
    sent, hello, boot = _sent(pixels, 3)
    peaks = {}
    for name, data in {"frames": sent, **_hostile()}.items():
        reader, assembler = PacketReader(), FrameAssembler(boot, hello.modes, 0)
        tracemalloc.start()
        for at in range(0, len(data), PIECE_BYTES):
            for packet in reader.feed(data[at : at + PIECE_BYTES]):
                assembler.take(packet)
        peaks[name] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return {
        "most_bytes": max(peaks.values()),
        "at": max(peaks, key=peaks.get),
        "limit_bytes": 2 * pixels.nbytes + 2**16,
    }


def latency() -> dict:
    """ms from the beginning of the exposure until the frame is there, through a pseudo-terminal without a speed."""
    from hardware.emulators.board_on_line import BoardOnLine
    from hardware.emulators.terminal import Terminal

    pixels = np.random.default_rng(0).integers(0, 4096, SMALL).astype(np.uint16)
    late_ms: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        link = pathlib.Path(folder) / "board"
        board = EmulatedBoard(_sensor(pixels))
        with BoardOnLine(board, Terminal(link), fps=50), open_camera(f"serial:{link}") as camera:
            frames = camera.frames()
            for _ in range(SMALL_FRAMES):
                frame = next(frames)
                late_ms.append((time.monotonic_ns() - frame.meta.t_device_ns) / 1e6)  # the board's clock is the host's
            lost = camera.facts["lost_frames"]
    late_ms.sort()
    return {"median_ms": statistics.median(late_ms), "p99_ms": late_ms[int(0.99 * len(late_ms))], "lost": lost}


def _pictures() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    return {
        "dark": np.full(SHAPE, 64, np.uint16) + draw.integers(0, 4, SHAPE).astype(np.uint16),
        "zeros": np.zeros(SHAPE, np.uint16),
        "random": draw.integers(0, 4096, SHAPE).astype(np.uint16),
    }


def _hostile() -> dict[str, bytes]:
    draw, count = random.Random(0), HOSTILE_BYTES
    return {
        "random bytes": draw.randbytes(count),
        "zeros": bytes(count),
        "length bytes of 1": (b"\1" * LONGEST_BYTES + b"\0") * (count // (LONGEST_BYTES + 1)),
        "shortest pieces": (b"\1" * 14 + b"\0") * (count // 15),
        "pieces of 1 byte": b"\1\0" * (count // 2),
        "good packets without a body": encode(Packet(messages.END, 1, 0, b"")) * (count // 15),
        "beginnings of frames": _beginnings(b"") * (count // len(_beginnings(b""))),
        "frames of 64 MiB with one pixel": _beginnings(bytes(2)) * (count // len(_beginnings(bytes(2)))),
    }


def _beginnings(content: bytes) -> bytes:
    """Each has the whole memory of a frame allotted, or so its sender hopes; of two sizes by turns."""
    packets = []
    for number in range(100):
        mode = number % 2
        begin = messages.Begin(mode, LARGEST[mode].rows, LARGEST[mode].columns, 16, 1, 0, 0, None)
        packets.append(Packet(messages.BEGIN, 1, number, messages.begin_body(begin)))
        if content:
            packets.append(Packet(messages.DATA, 1, number, messages.OFFSET.pack(0) + content))
    return b"".join(map(encode, packets))


def _sensor(pixels: np.ndarray) -> SimulatedCamera:
    def expose(settings: CameraSettings, sequence: int) -> np.ndarray:
        return pixels

    return SimulatedCamera(
        expose, camera_id="BENCH", shape=pixels.shape, bit_depth=12, black_level_dn=0, exposure_s=0.001
    )


def _sent(pixels: np.ndarray, frames: int) -> tuple[bytes, messages.Hello, int]:
    """What a board sends for these frames, what it is, and its boot."""
    board = EmulatedBoard(_sensor(pixels), packet_bytes=PIXELS_PER_PACKET_BYTES)
    board.take(encode(Packet(messages.STREAM, board.boot, 1, messages.COUNT.pack(frames))))
    return b"".join(iter(board.next_packet, b"")), board.hello, board.boot


def _rows(found: dict) -> list[list[str]]:
    rows = [
        [
            f"frames, {name}",
            f"{one['mb_per_s']:.0f} MB/s ({100 * one['share_of_crc32']:.0f} % of CRC-32 alone)",
            "100 MB/s",
        ]
        for name, one in found["parsing"].items()
    ]
    rows += [[name, f"{rate:.1f} MB/s", "2 MB/s"] for name, rate in found["hostile"].items()]
    memory, late = found["memory"], found["latency"]
    limit = f"2 frames + 64 KiB: {memory['limit_bytes'] / 1024:.0f} KiB"
    rows.append([f"most memory ({memory['at']})", f"{memory['most_bytes'] / 1024:.0f} KiB", limit])
    text = f"{late['median_ms']:.2f} ms in the middle, {late['p99_ms']:.2f} at 99 %, {late['lost']} lost"
    return [*rows, ["64x64 frame, pseudo-terminal", text, "10 ms beyond its wire time"]]
