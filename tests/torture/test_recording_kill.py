"""Storage promise: kill -9 at a random instant, and every acknowledged frame is readable and bit-equal.

2,000 kills: LENSLESS_TORTURE=N .venv/bin/pytest -s -m slow tests/torture/test_recording_kill.py
"""

import random
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
    print(f"\n{kills} kills ({kind}), {frames} acknowledged frames, 0 lost; {unborn} before the file was there")


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
