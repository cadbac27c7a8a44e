"""`lensless bench record`: frames to the disk, out of a child process, and the memory it takes."""

import dataclasses
import itertools
import os
import pathlib
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable

import h5py
import numpy as np

from hardware import Frame, FrameMeta, SimulatedCamera
from hardware.isolated import IsolatedCamera
from hardware.recording import Recording
from hardware.recording.process import RecordingProcess
from hardware.stream import Stream
from hardware.stream.ring import MIB, Ring
from lensless.app.bench.paced_camera import paced_camera
from lensless.app.screen import Screen
from lensless.app.version import code_version

# What is recorded: shape, type, frames.
FORMATS = {
    "1080p uint16": ((1080, 1920), np.dtype(np.uint16), 150),
    "640x480 uint8": ((480, 640), np.dtype(np.uint8), 1500),
}
ROUNDS = 5
LATENCY_FPS, LATENCY_FRAMES = 60.0, 300
LONG_FPS = 200.0


def run(screen: Screen, folder: pathlib.Path | None, minutes: float) -> dict:
    """Measure, show, and return the figures.

    Args:
        screen: where to.
        folder: on the disk that is measured; a temporary one by default.
        minutes: how long the recording is that memory is watched over.
    """
    found: dict = {"machine": platform.machine(), "processors": os.cpu_count(), "h5py": h5py.version.version}
    found |= {"hdf5": h5py.version.hdf5_version, "code": code_version(), "written": {}}
    with tempfile.TemporaryDirectory(dir=folder) as place:
        for name in FORMATS:
            with screen.working(f"writing {name}, ours and bare h5py by turns"):
                found["written"][name] = written(pathlib.Path(place), name)
        with screen.working("a camera in a child process"):
            found["latency"] = latency()
        with screen.working(f"recording for {minutes:g} minutes"):
            found["memory"] = memory(pathlib.Path(place), minutes)
    screen.table("", ["", "found", "promised"], [*map(list, _rows(found))])
    return found


def written(place: pathlib.Path, name: str) -> dict:
    """Frames per second of each way, by turns: the median of the rounds, and of the ratios within a round."""
    shape, dtype, count = FORMATS[name]
    frames = _frames(shape, dtype, count)
    ways: dict[str, Callable[[pathlib.Path, list[Frame]], float]] = {
        "bare_h5py": bare, "own_process": in_a_process, "same_process": in_this_process,
    }  # fmt: skip
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for at in range(ROUNDS + 1):  # the first warms up
        for way, write in ways.items():
            target = place / f"{at}-{way}.h5"
            seconds_s = write(target, frames)
            target.unlink()
            if at:
                rates[way].append(count / seconds_s)
    ratios = [ours / bare for ours, bare in zip(rates["own_process"], rates["bare_h5py"], strict=True)]
    figures = {f"{way}_fps": statistics.median(found) for way, found in rates.items()}
    return figures | {"share_of_bare": statistics.median(ratios), "lowest": min(ratios), "highest": max(ratios)}


def bare(path: pathlib.Path, frames: list[Frame]) -> float:
    """What h5py alone needs for the same durability: checksummed chunks, each flushed, then a commit mark, flushed."""
    first = frames[0].pixels
    with h5py.File(path, "w", libver="latest") as file:
        pixels = file.create_dataset(
            "frames", (0, *first.shape), first.dtype, maxshape=(None, *first.shape), chunks=(1, *first.shape),
            fletcher32=True,
        )  # fmt: skip
        marks = file.create_dataset("sequence", (0,), "i8", maxshape=(None,), chunks=(1,), fletcher32=True)
        file.swmr_mode = True
        began_s = time.perf_counter()
        for at, frame in enumerate(frames):
            pixels.resize(at + 1, axis=0)
            pixels[at] = frame.pixels
            pixels.flush()
            marks.resize(at + 1, axis=0)
            marks[at] = at
            marks.flush()
        return time.perf_counter() - began_s


def in_a_process(path: pathlib.Path, frames: list[Frame]) -> float:
    """As `lensless record` does, until the last frame is acknowledged."""
    with RecordingProcess(path, frames[0]) as writer:
        began_s = time.perf_counter()
        for frame in frames:
            writer.append(frame)
        writer.flush()
        return time.perf_counter() - began_s


def in_this_process(path: pathlib.Path, frames: list[Frame]) -> float:
    """Frame by frame, each acknowledged before the next."""
    with Recording.create(path, frames[0]) as writer:
        began_s = time.perf_counter()
        for frame in frames:
            writer.append(frame)
        return time.perf_counter() - began_s


def latency() -> dict:
    """From the exposure to the hands of the reader, of a live camera here and in a child process."""
    with paced_camera(LATENCY_FPS) as camera:
        here_ms, _ = _delays(camera)
    with isolated(LATENCY_FPS) as camera:
        child_ms, lost = _delays(camera)
    figures = {"here_ms": statistics.median(here_ms), "child_ms": statistics.median(child_ms)}
    worst = float(np.percentile(child_ms, 99) - statistics.median(here_ms))
    added = figures["child_ms"] - figures["here_ms"]
    return figures | {"added_ms": added, "added_99_percent_ms": worst, "lost": lost, "frames": LATENCY_FRAMES}


def isolated(frames_per_second: float) -> IsolatedCamera:
    return IsolatedCamera(["-m", "lensless.app.bench.paced_camera", str(frames_per_second)], "paced")


def _delays(camera: SimulatedCamera | IsolatedCamera) -> tuple[list[float], int]:
    delays_ms, lost, frames = [], 0, camera.frames()
    next(frames)  # what the first one takes to start
    for frame in itertools.islice(frames, LATENCY_FRAMES):
        delays_ms.append((time.monotonic_ns() - frame.meta.t_host_ns) * 1e-6)
        lost += frame.meta.lost_before
    return delays_ms, lost


def memory(place: pathlib.Path, minutes: float) -> dict:
    """Resident memory of this process while it records a camera in a child process into rotated parts."""
    if not pathlib.Path("/proc/self/statm").exists():
        return {"note": "resident memory is read from /proc, which this system has not"}
    out, ring = place / "long", Ring(64 * MIB, "never-drop")
    resident: list[float] = []
    with Stream(lambda: isolated(LONG_FPS), ring=ring) as stream:
        first = stream.get(15.0)
        rotate = max(100, int(LONG_FPS * 60 * minutes / 5))
        with RecordingProcess(out, first, rotate_frames=rotate) as writer:
            writer.append(first)
            end_s = look_s = time.monotonic()
            end_s += 60 * minutes
            while (now_s := time.monotonic()) < end_s:
                writer.append(stream.get(5.0))
                if now_s >= look_s:
                    resident.append(_resident_mib())
                    look_s += 60 * minutes / 50
            writer.flush()
            recorded = writer.acknowledged
    after_first_part = resident[len(resident) // 5 :]
    size_mib = sum(file.stat().st_size for file in out.iterdir()) / MIB
    shutil.rmtree(out)
    return {
        "minutes": minutes, "frames": recorded, "written_mib": size_mib, "ring_mib": 64,
        "lost": sum(ring.counts.dropped.values()) - ring.counts.dropped.get("never fetched", 0),
        "resident_mib_after_first_part": after_first_part[0], "resident_mib_at_most": max(after_first_part),
        "growth_mib": max(after_first_part) - after_first_part[0],
    }  # fmt: skip


def _resident_mib() -> float:
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


def _frames(shape: tuple[int, int], dtype: np.dtype, count: int) -> list[Frame]:
    bits = 12 if dtype.itemsize == 2 else 8
    draw = np.random.default_rng(0)
    meta = FrameMeta(
        sequence=0, t_host_ns=0, exposure_s=0.01, gain_db=0.0, bit_depth=bits, black_level_dn=0,
        pixel_format=f"Mono{bits}", camera_id="BENCH", settings_id="bench",
    )  # fmt: skip
    distinct = [Frame(draw.integers(0, 2**bits, shape, dtype), meta) for _ in range(8)]
    return [distinct[at % 8].with_meta(dataclasses.replace(meta, sequence=at)) for at in range(count)]


def _rows(found: dict):
    for name, one in found["written"].items():
        yield (
            name,
            f"{one['own_process_fps']:.0f} frames/s, bare h5py {one['bare_h5py_fps']:.0f}: "
            f"{one['share_of_bare']:.0%} ({one['lowest']:.0%} .. {one['highest']:.0%}); "
            f"frame by frame in one process {one['same_process_fps']:.0f}",
            "90 % of bare h5py",
        )
    late = found["latency"]
    yield (
        "child process, 640x480",
        f"{late['added_ms']:.2f} ms later (99 % within {late['added_99_percent_ms']:.2f}), {late['lost']} of "
        f"{late['frames']} lost",
        "under 2 ms, none lost",
    )
    kept = found["memory"]
    if "note" in kept:
        yield "memory", kept["note"], ""
        return
    yield (
        f"memory over {kept['minutes']:g} minutes",
        f"{kept['resident_mib_at_most']:.0f} MiB at most, {kept['growth_mib']:.1f} above that after the first part; "
        f"{kept['frames']:,} frames, {kept['written_mib']:,.0f} MiB written, {kept['lost']} lost",
        "flat: ring + 64 MiB",
    )
