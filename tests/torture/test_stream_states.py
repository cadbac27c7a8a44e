"""Camera promises: an unplugged camera is noticed and comes back by itself, and a stream closes from any state."""

import itertools
import random
import threading
import time
from collections import Counter

import pytest
from fake_device import FakeDevice
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from recording_tools import AT_NIGHT, wait_for

from hardware import CameraSettings
from hardware.errors import CameraError, LenslessError, Overrun
from hardware.stream import Stream, watchdog
from hardware.stream.ring import Ring

pytestmark = pytest.mark.alone

CLOSE_LIMIT_S = 3.0
RARELY = st.sampled_from([False, False, False, True])  # where what follows is dull
STATES = {"opening", "running", "lost", "stalled", "ended", "failed", "closed"}


class AnyState(RuleBasedStateMachine):
    """Things happen to a camera and its stream in any order; the end is always the same: closed within 3 s, twice."""

    closings_s: list[float] = []  # noqa: RUF012, of all runs: what the promise is about
    states: Counter[str] = Counter()  # noqa: RUF012, that they were closed from

    def __init__(self):
        super().__init__()
        self.device = FakeDevice(period_s=0.001)
        self.events: list[str] = []
        self.seen = -1

    def listen(self, event) -> None:
        self.events.append(event.kind)

    @initialize(
        policy=st.sampled_from(["drop-oldest", "never-drop"]), live=st.booleans(), retries=st.sampled_from([None, 2])
    )
    def open(self, policy, live, retries):
        self.device.live = live
        options = dict(ring=Ring(2400, policy), retries=retries, on_event=self.listen, stall_s=0.05, open_s=0.05)
        self.stream = Stream(self.device.connect, **options)

    @rule()
    def unplug(self):
        self.device.unplug()

    @rule(which=st.sampled_from(["CAM-A", "CAM-B"]))
    def plug(self, which):
        self.device.unplug()
        self.device.plugged = which

    @rule()
    def hang(self):
        self.device.hang()

    @rule()
    def wake(self):
        self.device.wake()

    @rule(opening=st.booleans(), closing=st.booleans())
    def fail(self, opening, closing):
        self.device.fails_open, self.device.fails_close = opening, closing

    @rule(sure=RARELY)
    def end_of_the_source(self, sure):
        if sure:
            self.device.frames_left = 3

    @rule(seconds=st.sampled_from([0.002, 0.02, 0.08]))
    def let_time_pass(self, seconds):
        time.sleep(seconds)

    @rule(frames=st.integers(1, 20))
    def fetch(self, frames):
        try:
            for _ in range(frames):
                if (frame := self.stream.get(timeout_s=0.005)) is not None:
                    assert frame.meta.camera_id == "CAM-A"
                    assert frame.meta.sequence == self.seen + 1 + frame.meta.lost_before
                    self.seen = frame.meta.sequence
        except (CameraError, Overrun):
            assert self.stream.state == "failed" or self.stream.counts.in_ring == 0

    @rule()
    def configure(self):
        try:
            self.stream.configure(CameraSettings(exposure_s=0.002), timeout_s=0.02)
        except LenslessError as error:
            assert "within 0.02 s" in str(error) or "closed" in str(error) or "gone" in str(error)

    @rule(sure=RARELY)
    def stop(self, sure):
        if sure:
            self.stream.stop()

    @invariant()
    def every_frame_is_accounted_for(self):
        counts = self.stream.counts
        assert counts.captured == counts.delivered + sum(counts.dropped.values()) + counts.in_ring
        assert self.stream.state in STATES

    def teardown(self):
        self.states[self.stream.state + ("" if self.device.answers else ", driver hangs")] += 1
        for _ in range(2):
            begin_s = time.monotonic()
            self.stream.close()
            self.closings_s.append(time.monotonic() - begin_s)
            assert self.closings_s[-1] < CLOSE_LIMIT_S
        assert self.stream.state in ("ended", "failed", "closed")
        captured = self.stream.counts.captured
        self.device.wake()
        wait_for(lambda: not {"camera", "stream"} & {thread.name for thread in threading.enumerate()})
        assert self.device.opened == self.device.closed
        assert (self.stream.counts.captured, self.stream.counts.in_ring) == (captured, 0)


def check_any_state(count: int) -> None:
    AnyState.closings_s.clear()
    AnyState.states.clear()
    run = settings(max_examples=count, stateful_step_count=15, deadline=None, derandomize=not AT_NIGHT, database=None)
    case = AnyState.TestCase("runTest")
    case.settings = run
    case.runTest()
    longest_s = max(AnyState.closings_s)
    print(f"\nclosed twice from {dict(AnyState.states)}, in {longest_s:.2f} s at most")


def test_a_stream_closes_from_any_state(monkeypatch):
    """With a tenth of the patience for drivers that hang, so that many states are seen."""
    monkeypatch.setattr(watchdog, "RELEASE_S", 0.2)
    monkeypatch.setattr(watchdog, "BACK_OFF_S", (0.01, 0.02, 0.05))
    check_any_state(40)


@pytest.mark.slow
@pytest.mark.timeout(0 if AT_NIGHT else 600)
def test_a_stream_closes_from_100_random_states():
    check_any_state(5000 if AT_NIGHT else 100)


@pytest.mark.parametrize("state", ["running", "lost", "other camera", "hangs in its read", "hangs when it is opened"])
def test_a_stream_closes_in_time_from_each_state(state):
    device, events = FakeDevice(), []
    stream = Stream(device.connect, ring=Ring(2400), on_event=lambda event: events.append(event.kind), stall_s=0.1)
    if state in ("lost", "other camera"):
        device.unplug()
    if state == "other camera":
        device.plugged = "CAM-B"
    if state.startswith("hangs"):
        device.hang()
    expected = {"running": "opened", "hangs in its read": "opened", "hangs when it is opened": "stalled"}
    wait_for(lambda: expected.get(state, state) in events)
    if state == "hangs when it is opened":
        time.sleep(watchdog.BACK_OFF_S[0] + 0.1)
    for limit_s in (CLOSE_LIMIT_S, CLOSE_LIMIT_S):
        begin_s = time.monotonic()
        stream.close()
        assert time.monotonic() - begin_s < limit_s
    assert stream.state == "closed"
    device.wake()


def check_unplugging(cycles: int, seed: int) -> None:
    """The camera is pulled out and put in again; in every second outage another one takes its place for a while."""
    draw, device, told = random.Random(seed), FakeDevice(period_s=0.005), []
    noticed_s, back_s, frames = [], [], []

    def seen(kind: str) -> int:
        return sum(event.kind == kind for event in told)

    with Stream(device.connect, ring=Ring(24_000), on_event=told.append) as stream:
        for cycle in range(cycles):
            frames.append(stream.get(5))
            device.unplug()
            noticed_s.append(wait_for(lambda: seen("lost") > cycle))  # noqa: B023
            if cycle % 2:
                others = seen("other camera")
                device.plugged = "CAM-B"
                wait_for(lambda: seen("other camera") > others)  # noqa: B023
                device.unplug()
            else:
                time.sleep(draw.uniform(0, 0.6))
            while stream.get(timeout_s=0) is not None:  # what came before
                pass
            device.plugged = "CAM-A"
            begin_s = time.monotonic()
            frames.append(stream.get(10))
            back_s.append(time.monotonic() - begin_s)
            wait_for(lambda: seen("back") > cycle)  # noqa: B023
        counts = stream.counts
    assert counts.captured == counts.delivered + sum(counts.dropped.values()) + counts.in_ring
    assert {frame.meta.camera_id for frame in frames} == {"CAM-A"}
    assert all(after.meta.sequence > before.meta.sequence for before, after in itertools.pairwise(frames))
    assert max(noticed_s) < 2 and max(back_s) < 5
    print(
        f"\n{cycles} cycles, noticed after {1000 * max(noticed_s):.0f} ms at most, frames at most {max(back_s):.2f} s "
        f"after the device's return; another camera was left alone {seen('other camera')} times"
    )


def test_a_camera_that_is_unplugged_comes_back_by_itself():
    check_unplugging(5, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(0 if AT_NIGHT else 600)
def test_a_camera_that_is_unplugged_50_times_comes_back_by_itself():
    check_unplugging(1000 if AT_NIGHT else 50, seed=2)
