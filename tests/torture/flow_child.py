"""A stream whose consumer has stalled, in a process of its own: prints how its memory grew, and what was counted."""

import json
import os
import sys
import time

from fake_device import FakeDevice

from hardware.stream import Stream
from hardware.stream.ring import Ring


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def stall(ring_bytes: int, rows: int, columns: int, seconds: float) -> None:
    device = FakeDevice(period_s=0, shape=(rows, columns))
    ring = Ring(ring_bytes)
    before = highest = resident_bytes()
    with Stream(device.connect, ring=ring) as stream:
        end_s = time.monotonic() + seconds
        while time.monotonic() < end_s:
            time.sleep(0.02)
            highest = max(highest, resident_bytes())
        counts = stream.counts
    exact = counts.captured == counts.delivered + sum(counts.dropped.values()) + counts.in_ring
    print(json.dumps({"growth": highest - before, "captured": counts.captured, "exact": exact}))


stall(*map(int, sys.argv[1:4]), float(sys.argv[4]))
