"""The mean of the last measurements, and from when they are."""

import collections

import numpy as np


class SlidingMean:
    """The mean of the last `most` measurements; of fewer, as long as there are no more.

    Args:
        most: as many as the checkpoint averages.
    """

    def __init__(self, most: int):
        self.most = most
        self._kept: collections.deque[tuple[int, np.ndarray]] = collections.deque()
        self._total: np.ndarray | float = 0.0
        self._taken = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def oldest_ns(self) -> int:
        """When the oldest of them was exposed."""
        return self._kept[0][0]

    def take(self, y: np.ndarray, t_host_ns: int) -> None:
        """One more measurement (H, W); the oldest goes where there are enough."""
        if len(self._kept) == self.most:
            self._total = self._total - self._kept.popleft()[1]
        self._kept.append((t_host_ns, y))
        self._total = self._total + y.astype(np.float64)
        self._taken += 1
        if self._taken % self.most == 0:  # anew at each turn, so that roundings never add up
            self._total = sum(one.astype(np.float64) for _, one in self._kept)

    def mean(self) -> np.ndarray:
        """(H, W) float32."""
        return (self._total / len(self._kept)).astype(np.float32)

    def clear(self) -> None:
        """What was seen before says nothing of what comes."""
        self._kept.clear()
        self._total, self._taken = 0.0, 0
