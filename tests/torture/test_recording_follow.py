"""Storage promise: readers may follow a live recording; they miss nothing and never stop its writer.

An hour: LENSLESS_TORTURE=N .venv/bin/pytest -s -m slow tests/torture/test_recording_follow.py
"""

import contextlib
import hashlib
import threading
import time

import pytest
from recording_child import create, digest, frame, scene
from recording_tools import AT_NIGHT, start

from hardware import Recording

pytestmark = pytest.mark.alone

PERIOD_S = 0.004


def check(path, seconds: float, rotate_frames: int, readers: int = 3) -> None:
    """Readers in processes of their own follow a writer that appends 250 frames/s, now one by one, now in groups."""
    whole, index = hashlib.sha256(), 0
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(create(path, rotate_frames))
        children = [stack.enter_context(start("follow_all", path, 20)) for _ in range(readers)]
        assert [child.stdout.readline() for child in children] == ["ready\n"] * readers
        slowest_s, begin_s = 0.0, time.monotonic()
        while time.monotonic() < begin_s + seconds:
            numbers = range(index, index + 1 + index % 5)
            frames, scenes = [frame(at) for at in numbers], [scene(at) for at in numbers]
            began_s = time.monotonic()
            assert writer.append_all(frames, [at % 10 for at in numbers], scenes) == numbers
            slowest_s = max(slowest_s, time.monotonic() - began_s)
            for at in numbers:
                whole.update(digest(frames[at - index], at % 10, scenes[at - index]).encode())
            index = numbers.stop
            time.sleep(max(0.0, begin_s + index * PERIOD_S - time.monotonic()))
        writer.close()
        found = [child.communicate()[0] for child in children]
    assert found == [f"{index} {whole.hexdigest()} True\n"] * readers
    print(
        f"\nS5: {readers} readers followed {index} frames for {seconds:g} s, 0 missed; slowest append {slowest_s:.3f} s"
    )


@pytest.mark.parametrize(("name", "rotate_frames", "seconds"), [("a.h5", 0, 2), ("a", 50, 5)])
def test_three_readers_follow_for_some_seconds(tmp_path, name, rotate_frames, seconds):
    check(tmp_path / name, seconds, rotate_frames)


@pytest.mark.slow
@pytest.mark.timeout(2 * 3600)
def test_three_readers_follow_for_a_minute(tmp_path):
    check(tmp_path / "a", 3600 if AT_NIGHT else 60, 1000)


@pytest.mark.parametrize(("name", "rotate_frames"), [("a.h5", 0), ("a", 4)])
def test_following_ends_when_a_killed_writer_says_nothing_more(tmp_path, name, rotate_frames):
    with start("append_for_ever", tmp_path / name, rotate_frames) as child:
        child.stdin.write("go\n")
        child.stdin.flush()
        lines = [child.stdout.readline() for _ in range(20)]
        child.kill()
        lines += child.stdout.readlines()
    with Recording.open(tmp_path / name) as recording:
        began_s = time.monotonic()
        seen = [one.meta.sequence for one in recording.follow(0.3)]
        assert 0.3 <= time.monotonic() - began_s < 5
        assert seen == list(range(len(recording))) and len(seen) >= len(lines) - 2
        assert not recording.closed_in_order


def test_following_begins_where_it_is_told_and_ends_at_once_when_all_is_there(tmp_path):
    with create(tmp_path / "a", 2) as writer:
        for index in range(5):
            writer.append(frame(index), 0, scene(index))
    with Recording.open(tmp_path / "a") as recording:
        began_s = time.monotonic()
        assert [one.meta.sequence for one in recording.follow(60, start=3)] == [3, 4]
        assert time.monotonic() - began_s < 5


def test_a_reader_in_the_process_of_the_writer_sees_parts_come(tmp_path):
    """And keeps none of them from being finished."""
    with create(tmp_path / "a", 3, sha256=True) as writer, Recording.open(tmp_path / "a") as recording:
        assert len(recording) == 0 and recording.labels.tolist() == []
        seen = []
        thread = threading.Thread(target=lambda: seen.extend(one.meta.sequence for one in recording.follow(20)))
        thread.start()
        for index in range(10):
            writer.append(frame(index), index, scene(index))
        writer.close()
        thread.join()
        assert seen == list(range(10)) and recording.closed_in_order
        assert [part.frames for part in recording.parts] == [3, 3, 3, 1]
        assert recording.labels.tolist() == list(range(10)) and len(recording.scenes) == 10
        assert recording.verify() == 10
