"""What became of all frames of a live view, how fast it is, and how late."""

import collections
import dataclasses
import time

from hardware.stream.ring import BEFORE, STOPPED, UNFETCHED, Counts
from lensless.app.screen import counted

RATE_S = 2.0  # rates on the screen are over this time
SOON_S = 1.0
RECENT = 200  # latencies that those on the screen are taken from
FINEST_S = (
    1e-4  # they are kept as multiples of this, so that a view of a week needs no more memory than one of a minute
)


class Latencies:
    """From the beginning of an exposure until its result is shown; median and what 95 % stay below."""

    def __init__(self):
        self._recent: collections.deque[int] = collections.deque(maxlen=RECENT)
        self._all: collections.Counter[int] = collections.Counter()

    def take(self, latency_s: float) -> None:
        rounded = round(latency_s / FINEST_S)
        self._recent.append(rounded)
        self._all[rounded] += 1

    def recent_s(self) -> tuple[float, float] | None:
        """(median, 95 %) of the last ones; None where there is none."""
        return _quantiles_s(collections.Counter(self._recent))

    def all_s(self) -> tuple[float, float] | None:
        """(median, 95 %) of all."""
        return _quantiles_s(self._all)


def _quantiles_s(counts: collections.Counter[int]) -> tuple[float, float] | None:
    total = counts.total()
    if not total:
        return None
    found, below = [], 0
    for value, number in sorted(counts.items()):
        below += number
        while len(found) < 2 and below >= (0.5, 0.95)[len(found)] * total:
            found.append(round(value * FINEST_S, 4))
    return found[0], found[1]


@dataclasses.dataclass(frozen=True)
class Frames:
    """captured == measured + overexposed + dropped + lost + surplus, when the view has ended.

    Args:
        captured: by the camera.
        measured: from which a result was made.
        overexposed: refused, one by one.
        dropped: at the ring, since newer ones were there.
        lost: by camera, driver or line, before they came.
        surplus: that came when no more were wanted.
    """

    captured: int
    measured: int
    overexposed: int
    dropped: int
    lost: int
    surplus: int


class Account:
    """Counts while a view goes on.

    Args:
        averaged: frames of a whole measurement.
    """

    def __init__(self, averaged: int):
        self.averaged = averaged
        self.measured = self.overexposed = self.reconnects = 0
        self.outage_s = 0.0
        self.labels: collections.Counter[str] = collections.Counter()
        self.latencies = Latencies()
        self._marks: collections.deque[tuple[float, int, int]] = collections.deque()
        self.begin()

    def begin(self) -> None:
        """The camera is open: from now on time counts."""
        self._began_s, self._end_s = time.monotonic(), None
        self._marks.clear()
        self._marks.append((self._began_s, 0, 0))

    def end(self) -> None:
        self._end_s = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        return (self._end_s or time.monotonic()) - self._began_s

    def rates_hz(self, captured: int) -> tuple[float, float] | None:
        """Measurements, and frames of the camera, per second now; None as long as it is too early to say."""
        now_s = time.monotonic()
        self._marks.append((now_s, self.measured, captured))
        while len(self._marks) > 2 and self._marks[1][0] <= now_s - RATE_S:
            self._marks.popleft()
        then_s, measured, before = self._marks[0]
        passed_s = now_s - then_s
        return None if passed_s < SOON_S else ((self.measured - measured) / passed_s, (captured - before) / passed_s)

    def frames(self, counts: Counts) -> Frames:
        """What became of all frames so far."""
        dropped = dict(counts.dropped)
        lost, surplus = dropped.pop(BEFORE, 0), dropped.pop(STOPPED, 0) + dropped.pop(UNFETCHED, 0)
        # One that was taken when the view ended, and no longer looked at.
        surplus += max(0, counts.delivered - self.measured - self.overexposed)
        return Frames(counts.captured, self.measured, self.overexposed, sum(dropped.values()), lost, surplus)

    def facts(self, counts: Counts) -> dict:
        """All of it for programs."""
        elapsed_s, frames = max(self.elapsed_s, 1e-9), self.frames(counts)
        median_s, most_s = self.latencies.all_s() or (None, None)
        return {
            "measurements": self.measured, "averaged": self.averaged, "seconds": elapsed_s,
            "measurements_per_second": self.measured / elapsed_s, "frames_per_second": frames.captured / elapsed_s,
            "frames": dataclasses.asdict(frames), "latency_median_s": median_s, "latency_95_s": most_s,
            "reconnects": self.reconnects, "outage_s": self.outage_s,
        } | ({"labels": dict(self.labels.most_common())} if self.labels else {})  # fmt: skip

    def summary(self, counts: Counts) -> list[str]:
        """All of it for people."""
        facts, frames = self.facts(counts), self.frames(counts)
        latency = self.latencies.all_s()
        late = f", latency {milliseconds(latency)} from exposure to result" if latency else ""
        lines = [
            f"{counted(self.measured, 'measurement')} in {facts['seconds']:.1f} s "
            f"({facts['measurements_per_second']:.1f} a second){late}",
            f"{counted(frames.captured, 'frame')} ({facts['frames_per_second']:.1f} a second): {frames.dropped:,} "
            f"dropped at the ring, {frames.lost:,} lost by the camera, {frames.overexposed:,} overexposed",
        ]
        if self.reconnects:
            lines.append(f"the camera came back {counted(self.reconnects, 'time')}, after {self.outage_s:.1f} s in all")
        if self.labels:
            often = [f"{label} x {number:,}" for label, number in self.labels.most_common(10)]
            more = len(self.labels) - len(often)
            lines.append(f"labels: {', '.join(often)}" + (f" and {more} others" if more else ""))
        return lines


def milliseconds(latency: tuple[float, float]) -> str:
    """Of a median and what 95 % stay below."""
    return f"{latency[0] * 1e3:.0f} ms (95 %: {latency[1] * 1e3:.0f} ms)"
