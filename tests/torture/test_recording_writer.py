"""Storage promises: a full disk ends in order, a second writer is refused, a reader may follow.

The slow ones have the counts of the night.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import pickle
import random
import shutil
import subprocess
import threading
import time

import numpy as np
import pytest
from recording_child import SCENE_SHAPE, digest, frame, scene
from recording_tools import acknowledged, read_in_fresh_process, start

from hardware import Frame, Recording
from hardware.errors import ConfigurationError, InputError, StorageError
from hardware.recording import digests
from hardware.recording import writer as writer_module


def end_in_order(path, job: str, *arguments) -> int:
    """Runs a child until its disk fails; returns how many frames were acknowledged, all of which must be there."""
    with start(job, path, *arguments, stderr=subprocess.PIPE) as child:
        lines, noise = child.stdout.readlines(), child.stderr.read()
        assert (child.wait(), noise) == (4, "")
    assert lines[-1].startswith("error recording") and "stopped after" in lines[-1]
    promised = acknowledged(lines[:-1])
    if path.exists():
        assert read_in_fresh_process(path) == [promised]
    else:
        assert promised == [] and list(path.parent.iterdir()) == []
    return len(promised)


@pytest.mark.parametrize("limit_bytes", [1000, 20_000, 100_000, 123_457, 500_000])
def test_a_full_disk_ends_in_order_and_costs_no_acknowledged_frame(tmp_path, limit_bytes):
    frames = end_in_order(tmp_path / "a.h5", "fill_disk", limit_bytes)
    assert frames > 0 or limit_bytes < 100_000


# In turn: no room for a manifest, for a first part, to finish it, for its frames, for a manifest that lists many parts.
@pytest.mark.parametrize(("limit_bytes", "rotate_frames"), [(300, 3), (3000, 3), (5988, 1), (9000, 50), (14_000, 3)])
def test_a_full_disk_ends_a_folder_of_parts_in_order(tmp_path, limit_bytes, rotate_frames):
    frames = end_in_order(tmp_path / "a", "fill_disk", limit_bytes, rotate_frames)
    if frames:
        with Recording.open(tmp_path / "a") as recording:
            assert recording.verify() == frames == len(recording)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_full_disk_ends_in_order_at_200_limits(tmp_path):
    draw = random.Random(3)
    # A third of them while the file is made: it begins with 4 to 6 kB.
    limits_bytes = [draw.randrange(100, 6000 if number % 3 == 0 else 120_000) for number in range(200)]
    (tmp_path / "disk").mkdir()
    frames = 0
    for number, limit_bytes in enumerate(limits_bytes):
        if number % 2:
            frames += end_in_order(tmp_path / "disk" / "a.h5", "fill_disk", limit_bytes)
            (tmp_path / "disk" / "a.h5").unlink(missing_ok=True)
        else:
            frames += end_in_order(tmp_path / "disk" / "a", "fill_disk", min(limit_bytes, 9000), 1 + number % 3)
            shutil.rmtree(tmp_path / "disk" / "a", ignore_errors=True)
    print(f"\nS3: 200 full disks, {frames} acknowledged frames, 0 lost")


# 0: nothing can be written; 20: the first block only in part.
@pytest.mark.parametrize("limit_bytes", [0, 20])
def test_a_disk_that_fails_at_close_ends_in_order_too(tmp_path, limit_bytes):
    assert end_in_order(tmp_path / "a.h5", "fail_at_close", 7, limit_bytes) == 7


def test_after_a_full_disk_the_process_goes_on_in_another_file(tmp_path):
    with start("go_on_elsewhere", tmp_path / "a.h5", 100_000, tmp_path / "b.h5", stderr=subprocess.PIPE) as child:
        lines, noise = child.stdout.readlines(), child.stderr.read()
        assert (child.wait(), noise) == (0, "")
    first, second = acknowledged(lines[:-7]), acknowledged(lines[-7:-2])
    assert len(first) > 5 and second == first[:5]
    assert [json.loads(line) for line in lines[-2:]] == [first, second]
    assert read_in_fresh_process(tmp_path / "a.h5", tmp_path / "b.h5") == [first, second]


def test_the_reserve_is_kept_free_and_what_was_written_stays(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    with pytest.raises(StorageError, match="kept in reserve"):
        Recording.create(tmp_path / "b.h5", frame(0), reserve_bytes=2**62)
    assert list(tmp_path.iterdir()) == []
    with Recording.create(tmp_path / "a.h5", frame(0)) as writer:
        writer.append(frame(0))
        monkeypatch.setattr(writer_module.shutil, "disk_usage", lambda folder: usage._replace(free=2**28 - 1))
        for _ in range(2):
            with pytest.raises(
                StorageError, match=r"after 1 frames: 256 MiB are free, .* too little for the next 0\.00"
            ):
                writer.append(frame(1))
    with Recording.open(tmp_path / "a.h5") as recording:
        assert len(recording) == 1


def test_after_a_failed_write_the_file_is_never_touched_again(tmp_path, monkeypatch):
    writer = Recording.create(tmp_path / "a.h5", frame(0))
    writer.append(frame(0))
    monkeypatch.setattr(writer, "_write", lambda name, value: (_ for _ in ()).throw(OSError(5, "Input/output error")))
    with pytest.raises(StorageError, match="Input/output error"):
        writer.append(frame(1))
    before = (tmp_path / "a.h5").read_bytes()
    with pytest.raises(StorageError, match="go on in a new file"):
        writer.append(frame(1))
    writer.close()
    assert (tmp_path / "a.h5").read_bytes() == before
    with Recording.open(tmp_path / "a.h5") as recording:
        assert len(recording) == 1 and (recording[0].pixels == frame(0).pixels).all()


def test_a_disk_that_does_not_hold_a_frame_has_not_acknowledged_it(tmp_path, monkeypatch):
    def fail(handle):
        raise OSError(5, "Input/output error")

    writer = Recording.create(tmp_path / "a.h5", frame(0), durability="power")
    writer.append(frame(0))
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="stopped after 1 frames: Input/output error"):
        writer.append(frame(1))
    assert len(writer) == 1
    writer.close()
    with Recording.open(tmp_path / "a.h5") as recording:
        assert (recording[0].pixels == frame(0).pixels).all()


def test_a_lock_that_cannot_be_removed_is_let_go_all_the_same(tmp_path, monkeypatch):
    def refuse(self, missing_ok=False):
        raise OSError(30, "Read-only file system")

    writer = Recording.create(tmp_path / "a.h5", frame(0))
    monkeypatch.setattr(pathlib.Path, "unlink", refuse)
    writer.close()
    monkeypatch.undo()
    (tmp_path / "a.h5").unlink()
    Recording.create(tmp_path / "a.h5", frame(0)).close()


@pytest.mark.parametrize(("name", "rotate_frames"), [("a.h5", 0), ("a", 3)])
def test_a_second_writer_is_refused_and_the_first_goes_on(tmp_path, name, rotate_frames):
    with start("append_for_ever", tmp_path / name, rotate_frames) as child:
        child.stdin.write("go\n")
        child.stdin.flush()
        lines = [child.stdout.readline() for _ in range(20)]
        with pytest.raises(StorageError, match="has another writer"):
            Recording.create(tmp_path / name, frame(0))
        lines += [child.stdout.readline() for _ in range(20)]
        child.kill()
        lines += child.stdout.readlines()
    promised = acknowledged(lines[1:])
    assert len(promised) >= 39
    assert read_in_fresh_process(tmp_path / name)[0][: len(promised)] == promised


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "a.h5").write_text("mine")
    with pytest.raises(StorageError, match="exists"):
        Recording.create(tmp_path / "a.h5", frame(0))
    assert (tmp_path / "a.h5").read_text() == "mine"
    with pytest.raises(StorageError, match="its folder does not exist"):
        Recording.create(tmp_path / "nowhere" / "a.h5", frame(0))
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def follow(path, frames: int, readers: int) -> None:
    """Every reader, in a process of its own, is asked after each append for the number of frames and for the last."""
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(Recording.create(path, frame(0), {}, SCENE_SHAPE, reserve_bytes=0))
        writer.append(frame(0), 0, scene(0))
        children = [stack.enter_context(start("follow", path)) for _ in range(readers)]
        assert [child.stdout.readline() for child in children] == ["ready\n"] * readers
        for index in range(1, frames):
            writer.append(frame(index), index % 10, scene(index))
            for child in children:
                child.stdin.write("look\n")
                child.stdin.flush()
            answer = f"{index + 1} {digest(frame(index), index % 10, scene(index))}\n"
            assert [child.stdout.readline() for child in children] == [answer] * readers
        for child in children:
            child.communicate()


def test_a_reader_in_another_process_sees_an_acknowledged_frame_at_once(tmp_path):
    follow(tmp_path / "a.h5", frames=30, readers=1)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_three_readers_see_each_of_500_acknowledged_frames_at_once(tmp_path):
    follow(tmp_path / "a.h5", frames=500, readers=3)


@pytest.mark.parametrize("durability", ["process", "power"])
def test_a_recording_brings_back_every_fact(tmp_path, durability):
    provenance = {"rig": "bare-v1", "seed": 3, "nested": {"a": [1, 2.5, None]}}
    meta = dataclasses.replace(
        frame(0).meta, t_device_ns=5, cfa="RGGB", raw=False, region=(1, 2, 24, 32), binning=(2, 1), lost_before=4
    )
    written = [Frame(frame(i).pixels, dataclasses.replace(meta, sequence=3 * i)) for i in range(5)]
    written[2] = Frame(written[2].pixels, dataclasses.replace(written[2].meta, temperature_c=None, t_device_ns=None))
    with Recording.create(tmp_path / "a.h5", written[0], provenance, durability=durability) as writer:
        assert [writer.append(one, label) for one, label in zip(written, [-1, 0, 1, 2**31 - 1, 7], strict=True)] == [
            *range(5)
        ]
    with Recording.open(tmp_path / "a.h5") as recording:
        assert recording.provenance == provenance and recording.shape == (24, 32)
        assert recording.labels.tolist() == [-1, 0, 1, 2**31 - 1, 7] and recording.labels.dtype == np.int32
        assert recording.scenes is None
        for before, after in zip(written, recording, strict=True):
            assert before.meta == after.meta and (before.pixels == after.pixels).all()
        assert recording[-1].meta == written[-1].meta
        with pytest.raises(IndexError, match="it has 5"):
            recording[5]
        with pytest.raises(InputError, match="holds no scenes"):
            recording.scene(0)
        with pickle.loads(pickle.dumps(recording)) as other:
            assert len(other) == 5


def test_eight_bits_and_colour_channels(tmp_path):
    meta = dataclasses.replace(frame(0).meta, bit_depth=8, black_level_dn=0, pixel_format="RGB8")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    with Recording.create(tmp_path / "a.h5", Frame(pixels, meta)) as writer:
        writer.append(Frame(pixels, meta))
    with Recording.open(tmp_path / "a.h5") as recording:
        assert (recording[0].pixels == pixels).all() and recording[0].pixels.dtype == np.uint8


def test_what_does_not_belong_in_a_recording_is_refused_and_nothing_is_written(tmp_path):
    with Recording.create(tmp_path / "a.h5", frame(0), scene_shape=SCENE_SHAPE) as writer:
        writer.append(frame(3), 1, scene(3))
        other = Frame(frame(4).pixels, dataclasses.replace(frame(4).meta, camera_id="OTHER"))
        for bad, shown, says in (
            (frame(3), scene(3), "rising"),
            (frame(4, (8, 8)), scene(4), "start a new recording"),
            (other, scene(4), "start a new recording"),
            (frame(4), None, "scene is None"),
            (frame(4), scene(4).astype(float), "scene is"),
        ):
            with pytest.raises(ConfigurationError, match=says):
                writer.append(bad, 1, shown)
        assert writer.append(frame(4), 1, scene(4)) == 1
    with pytest.raises(StorageError, match="closed"):
        writer.append(frame(5), 1, scene(5))
    for arguments in ({"provenance": {"a": object()}}, {"provenance": {"a": "x" * 40_000}}, {"durability": "hope"}):
        with pytest.raises(ConfigurationError):
            Recording.create(tmp_path / "b.h5", frame(0), **arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_an_interrupted_append_leaves_no_trace(tmp_path, monkeypatch):
    with Recording.create(tmp_path / "a.h5", frame(0)) as writer:
        writer.append(frame(0))
        whole = writer._write
        monkeypatch.setattr(
            writer, "_write", lambda name, value: whole(name, value) if name == "frames" else os.kill(os.getpid(), 2)
        )
        with pytest.raises(KeyboardInterrupt):
            writer.append(frame(1))
        monkeypatch.undo()
        writer.append(frame(2))
        monkeypatch.setattr(
            writer, "_write", lambda name, value: whole(name, value) if name == "frames" else os.kill(os.getpid(), 2)
        )
        with pytest.raises(KeyboardInterrupt):
            writer.append(frame(3))
    with Recording.open(tmp_path / "a.h5") as recording:
        assert [one.meta.sequence for one in recording] == [0, 2]
        assert (recording[1].pixels == frame(2).pixels).all()


def test_a_closed_recording_is_a_clear_error(tmp_path):
    with Recording.create(tmp_path / "a.h5", frame(0)) as writer:
        writer.append(frame(0))
    recording = Recording.open(tmp_path / "a.h5")
    recording.close()
    recording.close()
    with pytest.raises(ConfigurationError, match="closed"):
        recording[0]


def listed(folder: pathlib.Path) -> list[str | None]:
    """The SHA-256 of each part, as the manifest has them."""
    return [part["sha256"] for part in json.loads((folder / "recording.json").read_text())["parts"]]


def test_no_frame_waits_for_the_sha256_of_a_part_and_closing_does(tmp_path, monkeypatch):
    allowed, whole = threading.Semaphore(0), digests.file_sha256

    def slow(*arguments) -> str:  # a slow disk
        assert allowed.acquire(timeout=10)
        return whole(*arguments)

    monkeypatch.setattr(digests, "file_sha256", slow)
    folder = tmp_path / "a"
    truth = lambda number: hashlib.sha256((folder / f"part-{number:05d}.h5").read_bytes()).hexdigest()  # noqa: E731
    began_s = time.monotonic()
    with Recording.create(folder, frame(0), rotate_frames=2, sha256=True) as writer:
        for index in range(5):
            writer.append(frame(index))
        assert listed(folder) == [None, None] and time.monotonic() - began_s < 5
        allowed.release()
        while not writer._digests._asked["part-00000.h5"].done():
            time.sleep(0.01)
        writer.append_all([frame(5), frame(6)])
        assert listed(folder) == [truth(0), None, None]
        threading.Timer(0.5, allowed.release, (3,)).start()
    assert listed(folder) == [truth(number) for number in range(4)]
    with Recording.open(folder) as recording:
        assert recording.verify() == 7 and recording.closed_in_order


def test_a_part_that_cannot_be_read_again_ends_a_recording_in_order(tmp_path):
    writer = Recording.create(tmp_path / "a", frame(0), rotate_frames=2, sha256=True)
    for index in range(2):
        writer.append(frame(index))
    (tmp_path / "a" / "part-00000.h5").rename(tmp_path / "away.h5")
    with pytest.raises(StorageError, match="stopped after 2 frames: No such file"):
        writer.close()
    (tmp_path / "away.h5").rename(tmp_path / "a" / "part-00000.h5")
    with Recording.open(tmp_path / "a") as recording:
        assert recording.verify() == 2
