"""Timing on a machine that others use too: both sides by turns, medians, and their ratio."""

import dataclasses
import statistics
import time
from collections.abc import Callable

import torch

ROUNDS = 7


@dataclasses.dataclass(frozen=True)
class Compared:
    """Median seconds of what was measured and of what it stands beside, from the same run."""

    ours_s: float
    reference_s: float

    @property
    def ratio(self) -> float:
        """How many times longer the reference takes."""
        return self.reference_s / self.ours_s


def compare(ours: Callable[[], object], reference: Callable[[], object], rounds: int = ROUNDS) -> Compared:
    """Both by turns; the first round warms up and does not count."""
    times: dict[Callable, list[float]] = {ours: [], reference: []}
    for _ in range(rounds + 1):
        for call, taken in times.items():
            taken.append(seconds(call))
    ours_s, reference_s = (statistics.median(taken[1:]) for taken in times.values())
    return Compared(ours_s, reference_s)


def seconds(call: Callable[[], object]) -> float:
    """How long one call takes; on a GPU until its work is done."""
    _wait()
    began = time.perf_counter()
    call()
    _wait()
    return time.perf_counter() - began


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
