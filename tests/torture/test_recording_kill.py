"""Storage promise: kill -9 at a random instant, and every acknowledged frame is readable and bit-equal.

2,000 kills: LENSLESS_TORTURE=N .venv/bin/pytest -s -m slow tests/torture/test_recording_kill.py
"""

import os
import random
import re
import shutil
import signal
import time

import pytest
from recording_child import create, digest, frame, scene
from recording_tools import AT_NIGHT, acknowledged, read_in_fresh_process, start

from hardware.errors import StorageError


def kill_one(path, wait_s: float, rotate_frames: int = 0) -> list[str]:
    """Digests that a writer acknowledged before it was killed, `wait_s` after it was let go."""
    with start("append_for_ever", path, rotate_frames) as child:
        child.stdout.readline()
        child.stdin.write("go\n")
        child.stdin.flush()
        time.sleep(wait_s)
        child.kill()
        return acknowledged(child.stdout.readlines())


def check(folder, kills: int, seed: int, rotate_frames: int = 0) -> None:
    """In parts of a few frames, every second kill or so hits a rotation."""
    draw = random.Random(seed)
    # A third of them while the file is made (it takes some milliseconds), the rest while frames are written.
    waits_s = [draw.uniform(0, 0.006) if i % 3 == 0 else draw.uniform(0.006, 0.15) for i in range(kills)]
    paths = [folder / (f"{i}" if rotate_frames else f"{i}.h5") for i in range(kills)]
    promised = [kill_one(path, wait_s, rotate_frames) for path, wait_s in zip(paths, waits_s, strict=True)]
    found = [one for at in range(0, kills, 100) for one in read_in_fresh_process(*paths[at : at + 100])]
    unborn = 0
    for path, before, after in zip(paths, promised, found, strict=True):
        if not path.exists() or (rotate_frames and not list(path.glob("part-*.h5"))):
            assert before == [] and after["exit_code"] == 5
            unborn += 1
        else:
            # One frame may have been written and not yet acknowledged.
            assert isinstance(after, list), after
            assert after[: len(before)] == before and len(after) <= len(before) + 1
    kind = f"parts of {rotate_frames} frames" if rotate_frames else "one file"
    frames = sum(map(len, promised))
    print(f"\nS1: {kills} kills ({kind}), {frames} acknowledged frames, 0 lost; {unborn} before the file was there")


@pytest.mark.parametrize("rotate_frames", [0, 2])
def test_every_acknowledged_frame_survives_a_kill(tmp_path, rotate_frames):
    check(tmp_path, kills=10, seed=1, rotate_frames=rotate_frames)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("rotate_frames", [0, 3])
def test_every_acknowledged_frame_survives_100_kills(tmp_path, rotate_frames):
    check(tmp_path, kills=1000 if AT_NIGHT else 50, seed=2, rotate_frames=rotate_frames)


def test_a_new_writer_takes_over_the_name_of_a_killed_one(tmp_path):
    """Neither a stale lock nor half a file stands in its way, but a recording is never overwritten."""
    (tmp_path / ".a.h5.partial").write_bytes(b"half a file")
    (tmp_path / "a.h5.lock").write_bytes(b"")
    assert kill_one(tmp_path / "a.h5", 0.2)
    assert (tmp_path / "a.h5.lock").exists()
    first = (tmp_path / "a.h5").read_bytes()
    with start("append_for_ever", tmp_path / "a.h5") as child:
        child.stdin.write("go\n")
        child.stdin.close()
        child.stdin = None
        assert child.wait() != 0
    assert (tmp_path / "a.h5").read_bytes() == first
    assert not (tmp_path / "a.h5.lock").exists()


def test_a_new_writer_takes_over_a_folder_that_a_killed_one_left_without_a_frame(tmp_path):
    folder = tmp_path / "a"
    create(folder, 2).close()
    (folder / "part-00000.h5").rename(folder / ".part-00000.h5.partial")
    (folder / "recording.json").unlink()
    (folder / ".recording.json.partial").write_text("{")
    with create(folder, 2) as writer:
        writer.append(frame(0), 0, scene(0))
    with pytest.raises(StorageError, match="exists"):
        create(folder, 2)
    assert read_in_fresh_process(folder) == [[digest(frame(0), 0, scene(0))]]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "recording.json").write_text("mine")
    with pytest.raises(StorageError, match="exists"):
        create(tmp_path / "b", 2)
    assert (tmp_path / "b" / "recording.json").read_text() == "mine"


def leave_killed(path, frames: int) -> bytes:
    """What a writer leaves that is killed between two frames."""
    pid = os.fork()
    if pid == 0:
        writer = create(path)
        for index in range(frames):
            writer.append(frame(index), index % 10, scene(index))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    return path.read_bytes()


def test_a_kill_that_tears_the_index_costs_no_frame(tmp_path):
    """A deadly signal can cut a `write` short between two pages: HDF5 would wait for ever for the rest of it."""
    whole = leave_killed(tmp_path / "a.h5", 30)
    truth = [digest(frame(index), index % 10, scene(index)) for index in range(30)]
    blocks = [found.start() for found in re.finditer(b"EADB", whole)]
    assert len(blocks) >= 4
    for number, block in enumerate(blocks):
        torn = bytearray(whole)
        torn[block + 40 : block + 60] = bytes(20)
        (tmp_path / f"{number}.h5").write_bytes(torn)
    for found in read_in_fresh_process(*(tmp_path / f"{number}.h5" for number in range(len(blocks)))):
        assert found == truth


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_no_small_block_of_hdf5_lies_across_two_pages_where_a_kill_could_tear_it(tmp_path):
    command = ("strace", "-f", "-e", "trace=pwrite64", "-s", "4", "-o", str(tmp_path / "log"))
    with start("fail_at_close", tmp_path / "a.h5", 1000, 10**9, under=command) as child:  # nothing fails within 1 GB
        child.communicate()
    written = [(int(size), int(at)) for size, at in re.findall(r", (\d+), (\d+)\)", (tmp_path / "log").read_text())]
    torn = [(size, at) for size, at in written if size < 4096 and at // 4096 != (at + size - 1) // 4096]
    print(f"\nS1: {len(written)} writes of HDF5, {len(torn)} of its small blocks across two pages")
    assert len(written) > 8000 and not torn
