"""Two axes with limit switches: where they are, and where those who drive them think that they are."""

import dataclasses

import numpy as np

Pair = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Move:
    """To `target` of the counted position, at `speed` (mm/s) of each axis."""

    target: np.ndarray
    speed: np.ndarray

    def left_s(self, position: np.ndarray) -> float:
        way = np.abs(self.target - position)
        return max(far / speed if speed else 0.0 for far, speed in zip(way, np.abs(self.speed), strict=True))


class TwoAxes:
    """Moves one after another, each at constant speed.

    Args:
        start_mm: (x, y) where it stands.
        switches_mm: (lowest, highest) place of x, and of y, where it is stopped by an end, and closes a switch.

    Attributes:
        place: (2,) in mm, where it is.
        position: (2,) in mm, what its steps add up to, from wherever they were counted.
        low, high: (2,) in mm, where its ends are, and its switches.
        moves: that are still to be made.
    """

    def __init__(self, start_mm: Pair, switches_mm: tuple[Pair, Pair]):
        self.place = np.array(start_mm, float)
        self.position = np.zeros(2)
        self.moves: list[Move] = []
        self.low, self.high = np.array(switches_mm, float).T

    @property
    def pressed(self) -> str:
        """Names of the axes that stand on a switch."""
        on = (self.place <= self.low) | (self.place >= self.high)
        return "".join(name for name, pressed in zip("XY", on, strict=True) if pressed)

    @property
    def last_target(self) -> np.ndarray:
        return self.moves[-1].target if self.moves else self.position

    def add(self, target: np.ndarray, fastest: np.ndarray, feed_mm_per_s: float | None) -> None:
        """One more move: as fast as both axes can, or on a line at a speed of its own."""
        way = target - self.last_target
        needed_s = np.max(np.abs(way) / fastest)
        if feed_mm_per_s:
            needed_s = max(needed_s, np.hypot(*way) / feed_mm_per_s)
        if needed_s:
            self.moves.append(Move(target, way / needed_s))

    def push(self, way: np.ndarray) -> bool:
        """Turn the motors; False if an end was in the way, so that they have slipped."""
        wanted = self.place + way
        self.place = np.clip(wanted, self.low, self.high)
        return bool((self.place == wanted).all())

    def advance(self, passed_s: float) -> bool:
        """Go on for some time; False if an end was met."""
        free = True
        while self.moves and passed_s > 0 and free:
            move = self.moves[0]
            left_s = move.left_s(self.position)
            arrived = left_s <= passed_s
            to = move.target if arrived else self.position + move.speed * passed_s
            free, self.position = self.push(to - self.position), to
            passed_s -= left_s
            if arrived:
                self.moves.pop(0)
        return free
