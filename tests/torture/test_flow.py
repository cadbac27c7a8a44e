"""Flow promises: every frame is accounted for, memory is bounded, no loss is silent, the live view is fresh."""

import dataclasses
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter

import numpy as np
import pytest
from fake_device import FakeDevice
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from recording_tools import AT_NIGHT, TESTS
from shots import META

from hardware import Frame
from hardware.errors import ConfigurationError, Overrun
from hardware.stream import Stream
from hardware.stream.ring import Ring

pytestmark = pytest.mark.alone

CAPACITY = 10
MIB = 1 << 20
FRAMES = {
    size: Frame(np.zeros((1, size), np.uint8), dataclasses.replace(META, bit_depth=8))
    for size in range(1, CAPACITY + 2)
}


class Accounts(RuleBasedStateMachine):
    """A ring beside a list that does the same in the plainest way."""

    policy = "drop-oldest"
    most_frames = None

    def __init__(self):
        super().__init__()
        self.ring = Ring(CAPACITY, self.policy, self.most_frames)
        self.inside: list[Frame] = []
        self.captured = self.delivered = 0
        self.dropped: Counter[str] = Counter()
        self.sequence, self.last_seen = -1, None
        self.open, self.error = True, None

    def held(self) -> int:
        return sum(frame.pixels.nbytes for frame in self.inside)

    def fits(self, size: int) -> bool:
        return self.held() + size <= CAPACITY and len(self.inside) < (self.most_frames or CAPACITY + 1)

    @rule(size=st.integers(1, CAPACITY), lost=st.integers(0, 2), wait=st.booleans())
    def put(self, size, lost, wait):
        fits = self.fits(size)
        if wait and not fits and self.open:
            wait = False  # it would wait for ever
        self.sequence += 1 + lost
        frame = FRAMES[size].with_meta(dataclasses.replace(META, sequence=self.sequence, lost_before=lost))
        self.captured += 1 + lost
        self.dropped["before the ring"] += lost
        if not self.open:
            self.dropped["stopped"] += 1
            assert not self.ring.put(frame, wait)
        elif self.policy == "never-drop" and not fits:
            self.dropped["overrun"] += 1
            with pytest.raises(Overrun):
                self.ring.put(frame, wait)
            self.open, self.error = False, Overrun
        else:
            while not self.fits(size):
                self.inside.pop(0)
                self.dropped["ring full"] += 1
            self.inside.append(frame)
            assert self.ring.put(frame, wait)

    @rule()
    @precondition(lambda self: self.open)
    def put_what_never_fits(self):
        self.sequence += 1
        self.captured += 1
        self.dropped["larger than the ring"] += 1
        with pytest.raises(ConfigurationError):
            self.ring.put(FRAMES[CAPACITY + 1], wait=True)
        self.open, self.error = False, ConfigurationError

    @rule()
    def get(self):
        self.fetch(self.ring.get)

    @rule()
    @precondition(lambda self: self.policy == "drop-oldest")
    def newest(self):
        while len(self.inside) > 1:
            self.inside.pop(0)
            self.dropped["newer frame taken"] += 1
        self.fetch(self.ring.newest)

    def fetch(self, how):
        if self.inside:
            meta = how(0).meta
            assert meta.sequence == self.inside.pop(0).meta.sequence
            self.delivered += 1
            assert self.last_seen is None or meta.sequence == self.last_seen + 1 + meta.lost_before
            self.last_seen = meta.sequence
        elif self.error is not None:
            with pytest.raises(self.error):
                how(0)
        else:
            assert how(0) is None

    @rule(error=st.sampled_from([None, KeyError]))
    @precondition(lambda self: self.open)
    def close(self, error):
        self.ring.close(error and error())
        self.open, self.error = False, error

    @rule()
    def discard(self):
        self.ring.discard()
        self.dropped["never fetched"] += len(self.inside)
        self.inside, self.open = [], False

    @invariant()
    def every_frame_is_accounted_for(self):
        counts = self.ring.counts
        assert counts.captured == counts.delivered + sum(counts.dropped.values()) + counts.in_ring
        assert (counts.captured, counts.delivered) == (self.captured, self.delivered)
        assert counts.dropped == +self.dropped
        assert (counts.in_ring, counts.bytes_in_ring) == (len(self.inside), self.held())
        assert counts.bytes_in_ring <= CAPACITY and self.ring.ended == (not self.open and not self.inside)


class AccountsOfARecorder(Accounts):
    policy = "never-drop"


class AccountsOfAView(Accounts):
    most_frames = 2


TestAccounts = Accounts.TestCase
TestAccountsOfAView = AccountsOfAView.TestCase
TestAccountsOfARecorder = AccountsOfARecorder.TestCase
TestAccounts.settings = TestAccountsOfAView.settings = TestAccountsOfARecorder.settings = settings(
    max_examples=20_000 if AT_NIGHT else 60,
    stateful_step_count=40,
    deadline=None,
    derandomize=not AT_NIGHT,
    database=None,
)


def check_schedules(count: int, seed: int) -> None:
    """`count` random schedules: one thread each that puts, gets and watches, the consumer at times far behind."""
    draw, frames, looks = random.Random(seed), 0, 0
    for _ in range(count):
        policy = draw.choice(["drop-oldest", "never-drop"])
        counts, seen = run_schedule(draw.randrange(1 << 30), policy)
        frames, looks = frames + counts.captured, looks + seen
    print(f"\n{count} schedules, {frames} frames, {looks} looks at the accounts, all exact")


def run_schedule(seed: int, policy: str):
    draw, ring, looks = random.Random(seed), Ring(CAPACITY, policy), 0
    losses = [draw.choice([0, 0, 0, 1, 3]) for _ in range(30)]
    waits = policy == "never-drop" or draw.random() < 0.3
    sizes, stops = [draw.randrange(1, CAPACITY + 1) for _ in losses], draw.random() < 0.3
    newest = policy == "drop-oldest" and draw.random() < 0.5
    delivered, failures = [], []

    def guarded(work):
        try:
            work()
        except Exception as error:
            failures.append(error)

    def produce():
        sequence = -1
        for size, lost in zip(sizes, losses, strict=True):
            sequence += 1 + lost
            ring.put(FRAMES[size].with_meta(dataclasses.replace(META, sequence=sequence, lost_before=lost)), waits)
        ring.close()

    def consume():
        while (frame := ring.newest() if newest else ring.get()) is not None:
            delivered.append(frame.meta)
            if stops and len(delivered) == 10:
                ring.discard()

    threads = [threading.Thread(target=guarded, args=(work,)) for work in (produce, consume)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        counts = ring.counts
        looks += 1
        assert counts.captured == counts.delivered + sum(counts.dropped.values()) + counts.in_ring
        assert counts.bytes_in_ring <= CAPACITY
    for thread in threads:
        thread.join()
    assert failures == []
    counts = ring.counts
    assert counts.captured == len(losses) + sum(losses) == counts.delivered + sum(counts.dropped.values())
    assert counts.delivered == len(delivered)
    for before, after in itertools.pairwise(delivered):
        assert after.sequence == before.sequence + 1 + after.lost_before
    if waits and not stops:
        assert set(counts.dropped) <= {"before the ring", "newer frame taken"}
    return counts, looks


@pytest.fixture
def switchy():
    """Threads change places as often as they can."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval_s)


def test_every_frame_is_accounted_for_whatever_the_threads_do(switchy):
    check_schedules(300, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(0 if AT_NIGHT else 300)
def test_every_frame_is_accounted_for_in_10_000_schedules(switchy):
    check_schedules(1_000_000 if AT_NIGHT else 10_000, seed=2)


def check_memory(ring_bytes: int, shape: tuple[int, int], seconds: float) -> None:
    done = subprocess.run(
        [sys.executable, str(TESTS / "torture" / "flow_child.py"), *map(str, (ring_bytes, *shape, seconds))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (TESTS.parent, TESTS))), "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    result = json.loads(done.stdout)
    print(
        f"\n{result['captured'] / seconds:.0f} frames/s of {shape} for {seconds:.0f} s into a ring of "
        f"{ring_bytes / MIB:.0f} MiB that nobody empties: {result['growth'] / MIB:.1f} MiB more"
    )
    assert result["exact"] and result["captured"] * shape[0] * shape[1] > 2 * ring_bytes
    assert result["growth"] < ring_bytes + 16 * MIB


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(("ring_mib", "shape", "seconds"), [(64, (480, 640), 5), (100, (1080, 3840), 2)])
def test_memory_is_bounded_when_the_consumer_stalls(ring_mib, shape, seconds):
    check_memory(ring_mib * MIB, shape, seconds)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.timeout(0 if AT_NIGHT else 120)
def test_memory_is_bounded_when_the_consumer_stalls_for_a_minute():
    check_memory(64 * MIB, (480, 640), 3600 if AT_NIGHT else 60)


def test_a_recorder_stops_rather_than_lose_in_silence():
    device = FakeDevice(period_s=0.001, shape=(100, 100))
    with Stream(device.connect, ring=Ring(20 * 10_000, "never-drop")) as stream:
        frames = []
        with pytest.raises(Overrun, match=r"came when the ring was full: 20 frames .* faster disk") as caught:
            for frame in stream.frames():
                frames.append(frame.meta.sequence)
                time.sleep(0.003)  # a disk that takes a third of it
        assert caught.value.exit_code == 4
        counts = stream.counts
    assert frames == list(range(len(frames))) and len(frames) > 20
    assert (counts.delivered, counts.dropped, counts.in_ring) == (len(frames), {"overrun": 1}, 0)
    print(f"\n{len(frames)} frames recorded without a gap, then an Overrun")


def test_the_live_view_is_never_behind():
    """1,000 frames, and a viewer that takes three times as long as the camera.

    That a frame is no older than 2 periods is counted in frames: neither clock nor machine has a part in it.
    """
    device = FakeDevice(period_s=0.002)
    ages_s, behind = [], []
    with Stream(device.connect, ring=Ring(MIB)) as stream:
        while device.sent < 1000:
            sent = device.sent
            frame = stream.newest(5)
            ages_s.append((time.monotonic_ns() - frame.meta.t_host_ns) * 1e-9)
            behind.append(sent - 1 - frame.meta.sequence)
            time.sleep(0.006)
        counts = stream.counts
    assert max(behind) <= 1  # the newest one may be on its way to the ring
    assert statistics.median(ages_s) < 2 * device.period_s
    assert counts.dropped["newer frame taken"] > 300
    print(
        f"\n{counts.captured} frames, {counts.delivered} shown, at most {max(behind)} behind; "
        f"age {1000 * statistics.median(ages_s):.2f} ms in the median, {1000 * max(ages_s):.1f} at most"
    )
