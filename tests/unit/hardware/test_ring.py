"""A ring: what it holds, what it drops, and what it says of it."""

import dataclasses
import itertools
import threading
import time

import numpy as np
import pytest
from shots import META

from hardware import Frame
from hardware.errors import CameraLost, ConfigurationError, Overrun
from hardware.stream.ring import Ring

FRAME = Frame(np.zeros((5, 10), np.uint16), META)  # 100 bytes


def shot(sequence: int, lost_before: int = 0) -> Frame:
    return FRAME.with_meta(dataclasses.replace(META, sequence=sequence, lost_before=lost_before))


def filled(capacity_bytes: int, policy: str, frames: int) -> Ring:
    ring = Ring(capacity_bytes, policy)
    for sequence in range(frames):
        ring.put(shot(sequence))
    return ring


def sequences(ring: Ring) -> list[int]:
    ring.close()
    return [frame.meta.sequence for frame in ring.frames()]


def test_frames_come_out_as_they_went_in_and_are_not_copied():
    ring = filled(1000, "drop-oldest", 3)
    assert ring.counts.bytes_in_ring == 300
    frame = ring.get()
    assert frame.pixels is FRAME.pixels and frame.meta == META
    assert sequences(ring) == [1, 2]
    assert dataclasses.astuple(ring.counts) == (3, 3, {}, 0, 0)


def test_a_full_ring_drops_the_oldest_and_the_next_frame_says_so():
    ring = filled(399, "drop-oldest", 10)
    assert dataclasses.astuple(ring.counts) == (10, 0, {"ring full": 7}, 3, 300)
    assert (ring.get().meta.sequence, ring.get().meta.lost_before) == (7, 0)
    ring.put(shot(12, lost_before=2))
    ring.put(shot(13))
    ring.put(shot(14))  # 9 goes
    frames = [ring.get() for _ in range(3)]
    assert [(frame.meta.sequence, frame.meta.lost_before) for frame in frames] == [(12, 3), (13, 0), (14, 0)]
    assert ring.counts.dropped == {"ring full": 8, "before the ring": 2}


def test_a_ring_of_one_frame_holds_the_newest_and_a_source_that_waits_is_never_ahead():
    ring = Ring(1000, most_frames=1)
    for sequence in range(5):
        ring.put(shot(sequence))
    assert not ring.wait_for_room(shot(5), 0) and ring.get().meta.sequence == 4 and ring.wait_for_room(shot(5), 0)
    assert dataclasses.astuple(ring.counts) == (5, 1, {"ring full": 4}, 0, 0)
    with pytest.raises(ConfigurationError, match="expected room for one frame"):
        Ring(1000, most_frames=0)


def test_small_frames_make_room_for_a_large_one():
    ring = filled(400, "drop-oldest", 4)
    ring.put(Frame(np.zeros((15, 10), np.uint16), dataclasses.replace(META, sequence=4)))
    assert ring.counts.bytes_in_ring == 400
    assert sequences(ring) == [3, 4]


def test_the_newest_frame_drops_those_before_it():
    ring = filled(1000, "drop-oldest", 6)
    frame = ring.newest()
    assert (frame.meta.sequence, frame.meta.lost_before) == (5, 5)
    assert ring.counts.dropped == {"newer frame taken": 5}
    assert ring.newest(timeout_s=0) is None


def test_a_recorder_is_never_given_the_newest_frame_only():
    with pytest.raises(ConfigurationError, match="use get"):
        filled(1000, "never-drop", 2).newest()


def test_never_drop_ends_with_an_error_and_keeps_what_it_has():
    ring = filled(300, "never-drop", 3)
    with pytest.raises(Overrun, match=r"frame 3 of camera 'S-1'.*3 frames in 0\.0 of 0\.0 MiB.*larger ring"):
        ring.put(shot(3))
    assert not ring.put(shot(4))
    assert dataclasses.astuple(ring.counts) == (5, 0, {"overrun": 1, "stopped": 1}, 3, 300)
    assert [ring.get().meta.sequence for _ in range(3)] == [0, 1, 2]
    for _ in range(2):
        with pytest.raises(Overrun):
            ring.get()


def test_a_frame_larger_than_the_ring_names_both_sizes():
    ring = Ring(99)
    with pytest.raises(ConfigurationError, match=r"has 100 bytes.*ring 99"):
        ring.put(FRAME, wait=True)
    assert ring.counts.dropped == {"larger than the ring": 1}
    with pytest.raises(ConfigurationError, match="100 bytes"):
        ring.get()


@pytest.mark.parametrize("arguments", [(0,), (-5,), (100, "drop-newest")])
def test_a_ring_that_cannot_be_is_refused(arguments):
    with pytest.raises(ConfigurationError, match="expected"):
        Ring(*arguments)


def test_get_waits_for_its_time_and_no_longer():
    begin_s = time.monotonic()
    assert Ring(100).get(timeout_s=0.05) is None
    assert 0.05 <= time.monotonic() - begin_s < 5
    ring = Ring(100)
    assert not ring.ended
    ring.close()
    assert ring.get() is None and ring.ended


def test_what_is_left_is_delivered_before_the_error():
    ring = filled(1000, "drop-oldest", 2)
    ring.close(CameraLost("gone"))
    ring.close(ValueError("only the first call counts"))
    assert not ring.ended
    assert [ring.get().meta.sequence, ring.newest().meta.sequence] == [0, 1]
    assert ring.ended
    with pytest.raises(CameraLost, match="gone"):
        list(ring.frames())


@pytest.mark.parametrize("policy", ["drop-oldest", "never-drop"])
def test_a_source_that_waits_loses_nothing_whatever_the_policy(policy):
    ring = Ring(250, policy)

    def produce():
        for sequence in range(50):
            ring.put(shot(sequence), wait=True)
        ring.close()

    thread = threading.Thread(target=produce)
    thread.start()
    frames = list(ring.frames())
    thread.join()
    assert [frame.meta.sequence for frame in frames] == list(range(50))
    assert ring.counts.dropped == {}


@pytest.mark.parametrize("end", [Ring.close, Ring.discard])
def test_whoever_waits_is_let_go_when_the_ring_is_closed(end):
    full, empty, results = filled(100, "never-drop", 1), Ring(100), []
    threads = [
        threading.Thread(target=lambda: results.append(full.put(shot(1), wait=True))),
        threading.Thread(target=lambda: results.append(empty.get())),
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    assert full.counts.captured == 1
    end(full)
    end(empty)
    for thread in threads:
        thread.join(5)
    assert sorted(results, key=str) == [False, None]
    assert full.counts.dropped["stopped"] == 1


def test_a_consumer_that_goes_leaves_exact_accounts():
    ring = filled(1000, "never-drop", 4)
    ring.get()
    ring.discard()
    ring.discard()
    assert dataclasses.astuple(ring.counts) == (4, 1, {"never fetched": 3}, 0, 0)
    assert ring.get() is None


def test_what_the_consumer_sees_has_no_gaps_that_nobody_counted():
    ring, sequence, seen = Ring(300), 0, []
    for step in range(40):
        lost = step % 3
        sequence += 1 + lost
        ring.put(shot(sequence, lost))
        if step % 5 == 0:
            seen.append(ring.get() if step % 2 else ring.newest())
    seen += [ring.get() for _ in range(ring.counts.in_ring)]
    for before, after in itertools.pairwise(frame.meta for frame in seen):
        assert after.sequence == before.sequence + 1 + after.lost_before
