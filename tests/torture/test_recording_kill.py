"""Storage promise: kill -9 at a random instant, and every acknowledged frame is readable and bit-equal."""

import random
import time

import pytest
from recording_tools import acknowledged, read_in_fresh_process, start


def kill_one(path, wait_s: float) -> list[str]:
    """Digests that a writer acknowledged before it was killed, `wait_s` after it was let go."""
    with start("append_for_ever", path) as child:
        child.stdout.readline()
        child.stdin.write("go\n")
        child.stdin.flush()
        time.sleep(wait_s)
        child.kill()
        return acknowledged(child.stdout.readlines())


def check(folder, kills: int, seed: int) -> None:
    draw = random.Random(seed)
    # A third of them while the file is made (it takes some milliseconds), the rest while frames are written.
    waits_s = [draw.uniform(0, 0.006) if i % 3 == 0 else draw.uniform(0.006, 0.15) for i in range(kills)]
    paths = [folder / f"{i}.h5" for i in range(kills)]
    promised = [kill_one(path, wait_s) for path, wait_s in zip(paths, waits_s, strict=True)]
    found = read_in_fresh_process(*paths)
    unborn = 0
    for path, before, after in zip(paths, promised, found, strict=True):
        if not path.exists():
            assert before == [] and after["exit_code"] == 5
            unborn += 1
        else:
            # One frame may have been written and not yet acknowledged.
            assert isinstance(after, list), after
            assert after[: len(before)] == before and len(after) <= len(before) + 1
    print(f"\n{kills} kills, {sum(map(len, promised))} acknowledged frames, 0 lost; {unborn} before the file was there")


def test_every_acknowledged_frame_survives_a_kill(tmp_path):
    check(tmp_path, kills=20, seed=1)


@pytest.mark.slow
def test_every_acknowledged_frame_survives_100_kills(tmp_path):
    check(tmp_path, kills=100, seed=2)


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
