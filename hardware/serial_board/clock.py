"""When a board's clock says so, what does the host's say?"""

# Two crystals of 100 parts in a million each.
DRIFT = 200e-6


class BoardClock:
    """Maps a board's clock to the host's monotonic one.

    Each question and its answer show that the board's clock had its value between two instants of the host, and a frame
    that has begun to arrive began its exposure before. What all of them leave open is kept, widened by the drift of two
    crystals; the middle of it is the estimate.
    """

    def __init__(self, asked_ns: int, clock_us: int, answered_ns: int):
        self._least_ns, self._most_ns = asked_ns - clock_us * 1000, answered_ns - clock_us * 1000
        self._known_ns = answered_ns

    def answered(self, asked_ns: int, clock_us: int, answered_ns: int) -> None:
        """A question was asked and answered at these instants of the host; the board's clock stood in the answer."""
        self._widen(answered_ns)
        self._narrow(asked_ns - clock_us * 1000, answered_ns - clock_us * 1000)

    def arrived(self, clock_us: int, arrived_ns: int) -> None:
        """What the board's clock gave this time to was here already."""
        self._widen(arrived_ns)
        self._narrow(self._least_ns, arrived_ns - clock_us * 1000)

    def host_ns(self, clock_us: int) -> int:
        return clock_us * 1000 + (self._least_ns + self._most_ns) // 2

    def _widen(self, now_ns: int) -> None:
        drift_ns = round((now_ns - self._known_ns) * DRIFT)
        self._least_ns, self._most_ns, self._known_ns = self._least_ns - drift_ns, self._most_ns + drift_ns, now_ns

    def _narrow(self, least_ns: int, most_ns: int) -> None:
        self._least_ns, self._most_ns = max(self._least_ns, least_ns), min(self._most_ns, most_ns)
        if self._least_ns > self._most_ns:  # a clock that drifts more than crystals do: the newest is the truth
            self._least_ns, self._most_ns = least_ns, most_ns
