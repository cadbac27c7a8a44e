"""Storage promises, kept by a writer in a process of its own: either is killed, the disk is full, frames are wrong."""

import contextlib
import dataclasses
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
import zlib

import numpy as np
import pytest
from recording_child import SCENE_SHAPE, SHAPE, digest, frame, scene
from recording_tools import AT_NIGHT, TESTS

from hardware import Frame, Recording
from hardware.errors import ConfigurationError, StorageError
from hardware.lock import WriterLock
from hardware.recording import process, process_child
from hardware.recording.process import RecordingProcess
from hardware.slots import Slots

CHILD = pathlib.Path(__file__).with_name("process_child.py")


@contextlib.contextmanager
def program(path, limit_bytes: int = 0, rotate_frames: int = 50_000, behind_frames: int = 0):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (TESTS.parent, TESTS)))}
    arguments = [sys.executable, str(CHILD), *map(str, (path, limit_bytes, rotate_frames, behind_frames))]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as child:
        assert child.stdout.readline().startswith(("writer", "error"))
        yield child


def writer_of(child: subprocess.Popen) -> int:
    (writer,) = pathlib.Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
    return int(writer)


def acknowledged(lines: list[str]) -> int:
    told = [line.split()[1] for line in lines if line.startswith("acknowledged") and line.endswith("\n")]
    return max(map(int, told), default=0)


def check(path, least: int) -> None:
    """The first `least` frames and more are there, and bit-equal."""
    for _ in range(500):  # the writer of a killed program still closes in order
        with contextlib.suppress(StorageError), WriterLock(path):
            break
        time.sleep(0.01)
    with Recording.open(path) as recording:
        assert len(recording) >= least
        labels = recording.labels
        for at, one in enumerate(recording):
            assert digest(one, int(labels[at]), recording.scene(at)) == digest(frame(at), at % 10, scene(at))


def kill(folder, kills: int, seed: int) -> None:
    draw, total = random.Random(seed), 0
    for number in range(kills):
        path = folder / (f"{number}.h5" if number % 2 else f"{number}")
        with program(path, rotate_frames=7) as child:
            lines = [child.stdout.readline() for _ in range(3)]
            time.sleep(draw.uniform(0, 0.1))
            if number % 4 < 2:
                child.kill()
            else:
                os.kill(writer_of(child), signal.SIGKILL)
            rest, noise = child.communicate()
            promised = acknowledged(lines + rest.splitlines(keepends=True))
            if number % 4 >= 2:
                assert (child.returncode, noise) == (4, "")
                assert f"stopped after {promised} acknowledged" in rest or (promised and "acknowledged frames" in rest)
        check(path, promised)
        total += promised
    print(f"\nS1: {kills} kills of a program or of its writer, {total} acknowledged frames, 0 lost")


def test_no_acknowledged_frame_is_lost_whichever_process_is_killed(tmp_path):
    kill(tmp_path, kills=4, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(0 if AT_NIGHT else 600)
def test_no_acknowledged_frame_is_lost_in_50_kills_of_either_process(tmp_path):
    kill(tmp_path, kills=500 if AT_NIGHT else 50, seed=2)


@pytest.mark.parametrize("limit_bytes", [20_000, 60_000, 300_000])
def test_a_full_disk_is_one_message_and_exit_code_4(tmp_path, limit_bytes):
    with program(tmp_path / "a.h5", limit_bytes) as child:
        rest, noise = child.communicate()
    promised = acknowledged(rest.splitlines(keepends=True))
    assert (child.returncode, noise) == (4, "")
    assert "stopped after" in rest and "File too large" in rest
    if promised or (tmp_path / "a.h5").exists():  # a recording without a frame would only block its name
        check(tmp_path / "a.h5", promised)


def test_frames_come_back_as_they_were_sent_and_parts_rotate(tmp_path):
    with RecordingProcess(
        tmp_path / "a", frame(0), {"seed": 1}, SCENE_SHAPE, rotate_frames=10, reserve_bytes=0
    ) as writer:
        for index in range(35):
            assert writer.append(frame(index), index % 10, scene(index)) == index
        writer.flush()
        assert writer.acknowledged == len(writer) == 35
    check(tmp_path / "a", 35)
    with Recording.open(tmp_path / "a") as recording:
        assert len(recording) == 35 and recording.provenance["seed"] == 1
    writer.close()
    with pytest.raises(StorageError, match="is closed"):
        writer.append(frame(36), 6, scene(36))


def test_what_does_not_belong_in_a_recording_is_refused_and_what_came_before_it_is_kept(tmp_path):
    other = Frame(frame(3).pixels, dataclasses.replace(frame(3).meta, camera_id="OTHER"))
    for number, bad in enumerate((other, frame(0), frame(3, (30, 40)), frame(3, (8, 8)))):
        path = tmp_path / f"{number}.h5"
        with (
            pytest.raises(ConfigurationError, match=r"start a new recording|rising"),
            RecordingProcess(path, frame(0), reserve_bytes=0) as writer,
        ):
            writer.append(frame(1))
            writer.append(bad)
        with Recording.open(path) as recording:
            assert [one.meta.sequence for one in recording] == [1] and recording.shape == SHAPE
    with pytest.raises(StorageError, match="exists"):
        RecordingProcess(tmp_path / "0.h5", frame(0))
    with pytest.raises(ConfigurationError, match="durability"):
        RecordingProcess(tmp_path / "new.h5", frame(0), durability="hope")


@contextlib.contextmanager
def stopped(writer: RecordingProcess):
    """Meanwhile the other process sleeps, so that all that is sent waits for it."""
    os.kill(writer._child.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(writer._child.pid, signal.SIGCONT)


def of_another_camera(index: int) -> Frame:
    return Frame(frame(index).pixels, dataclasses.replace(frame(index).meta, camera_id="OTHER"))


class Queued:
    """A parent whose orders have all come before the first is looked at."""

    def __init__(self, orders: list[dict]):
        self.orders, self.told = orders, []

    def receive(self, timeout_s: float | None = None) -> dict | None:
        if not self.orders and timeout_s is None:
            raise EOFError
        return self.orders.pop(0) if self.orders else None

    def send(self, **message: object) -> None:
        self.told.append(message)


def test_an_order_to_close_behind_as_many_frames_as_there_are_places_is_heard(tmp_path):
    with Slots(4, frame(0).pixels.nbytes) as slots, Recording.create(tmp_path / "a.h5", frame(0)) as writer:
        orders = []
        for index in range(slots.count):
            one, shape = frame(index), list(SHAPE)
            slots.write(index, one.pixels)
            meta, crc32 = dataclasses.asdict(one.meta), zlib.crc32(one.pixels)
            orders.append(dict(slot=index, meta=meta, shape=shape, label=0, scene_id=-1, crc32=crc32, scene=None))
        parent = Queued([*orders, {"close": True}])
        while process_child._append(parent, writer, slots):
            pass
        assert parent.told[-1]["acknowledged"] == slots.count and not parent.orders


def test_a_wrong_frame_behind_a_full_part_costs_none_before_it_and_is_what_is_told(tmp_path):
    writer = RecordingProcess(tmp_path / "a", frame(0), None, SCENE_SHAPE, reserve_bytes=0, rotate_frames=2)
    with stopped(writer):
        for index in range(3):
            writer.append(frame(index), index % 10, scene(index))
        writer.append(of_another_camera(3), 3, scene(3))
    with pytest.raises(ConfigurationError, match="OTHER"):
        writer.close()
    assert writer.acknowledged == 3
    check(tmp_path / "a", 3)


def test_after_an_error_all_say_the_same_and_what_was_written_is_acknowledged(tmp_path):
    writer = RecordingProcess(tmp_path / "a.h5", frame(0), None, SCENE_SHAPE, reserve_bytes=0)
    with stopped(writer):
        writer.append(frame(0), 0, scene(0))
        writer.append(of_another_camera(1), 1, scene(1))
    for ask in (writer.flush, writer.flush, lambda: writer.append(frame(2), 2, scene(2))):
        with pytest.raises(ConfigurationError, match="OTHER"):
            ask()
    writer.close()
    assert writer.acknowledged == 1
    check(tmp_path / "a.h5", 1)


@pytest.mark.parametrize("frames", [1, 40])
def test_a_writer_whose_program_is_killed_writes_what_it_was_sent(tmp_path, frames):
    """All of it waits in the pipe when the program dies."""
    with program(tmp_path / "a.h5", behind_frames=frames) as child:
        assert child.stdout.readline() == f"sent {frames}\n"
        writer = writer_of(child)
        child.kill()
        child.wait()
    os.kill(writer, signal.SIGCONT)
    check(tmp_path / "a.h5", frames)
    with Recording.open(tmp_path / "a.h5") as recording:
        assert len(recording) == frames and recording.closed_in_order


def left_over() -> list[pathlib.Path]:
    """What this process has in shared memory."""
    return list(pathlib.Path("/dev/shm").glob(f"lensless-{os.getpid()}-*"))


def test_a_writer_that_cannot_be_made_leaves_nothing(tmp_path, monkeypatch):
    before = left_over()
    for provenance in ({"a": np.float32(1)}, {"a": float("nan")}, {"a": "x" * 40_000}, ["a"]):
        with pytest.raises(ConfigurationError, match="provenance of a recording"):
            RecordingProcess(tmp_path / "a.h5", frame(0), provenance)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(StorageError, match="cannot start the writer of recording"):
        RecordingProcess(tmp_path / "a.h5", frame(0))
    assert left_over() == before and list(tmp_path.iterdir()) == []


SLOW_PROCESSOR = """
import hashlib, time
whole = hashlib.sha256

class Slow:
    def __init__(self, *content, **options):
        self.digest = whole(*content, **options)
        self.hexdigest = self.digest.hexdigest

    def update(self, block):
        time.sleep(0.2)
        self.digest.update(block)

hashlib.sha256 = Slow
"""


@pytest.mark.slow
def test_closing_waits_for_checksums_as_long_as_they_go_on(tmp_path, monkeypatch):
    """4 s for the SHA-256 of the last part, where 2 s of silence are too long."""
    (tmp_path / "sitecustomize.py").write_text(SLOW_PROCESSOR)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    large = (1024, 1024)
    writer = RecordingProcess(tmp_path / "a", frame(0, large), reserve_bytes=0, sha256=True)
    monkeypatch.setattr(process, "PATIENCE_S", 1.0)
    monkeypatch.setattr(process, "CREATE_S", 1.0)
    for index in range(10):
        writer.append(frame(index, large))
    writer.flush()
    began_s = time.monotonic()
    writer.close()
    assert time.monotonic() - began_s > 3.5
    with Recording.open(tmp_path / "a") as recording:
        assert recording.verify() == 10 and recording.closed_in_order and recording.parts[0].sha256
