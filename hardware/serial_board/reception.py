"""Frames of a board as they are asked for; what was lost is asked for again, unless line or board give none at all."""

import time
from collections.abc import Callable
from typing import NoReturn

from hardware.errors import DeviceLost
from hardware.serial_board import messages
from hardware.serial_board.assembly import BoardFrame
from hardware.serial_board.link import ANSWER_S, BoardLink
from hardware.serial_board.messages import Settings

# Unplugged is to be said within 2 s. A board that is silent has to answer within the second time.
STALL_S, SURE_S = 0.9, 0.6
# A board that answers, and whose frames do not get on.
NO_FRAME_S = 3.0
# A line that lets none of so many frames through is as good as none.
MOST_IN_VAIN = 30
SLICE_S = 0.1
# Until then two crystals differ by a millisecond, see `BoardClock`.
CLOCK_S = 5.0


class Reception:
    """Asks a board for frames, and takes them one by one.

    Args:
        link: to the board.
        exposure_s: tells how long the board exposes now, and may be silent for that reason.
        ended: whether nobody wants frames any more.
    """

    def __init__(self, link: BoardLink, exposure_s: Callable[[], float], ended: Callable[[], bool]):
        self._link, self._exposure_s, self._ended = link, exposure_s, ended
        self._streaming, self._until = False, 0
        self._moved, self._moved_s, self._clock_s = 0, 0.0, 0.0

    def patience_s(self, silence_s: float = ANSWER_S) -> float:
        """How long the board may say nothing: a simple one does nothing else while it exposes."""
        return silence_s + 2 * self._exposure_s()

    def take(self, n: int) -> list[tuple[BoardFrame, int]]:
        """`n` frames that are exposed after this call, each with when it began to arrive; fewer if it is ended."""
        self.stop()
        frames: list[tuple[BoardFrame, int]] = []
        self._moved_s, rounds = time.monotonic(), 0
        while len(frames) < n and not self._ended():
            # More of them where the line lets none through.
            self._ask((n - len(frames)) << min(rounds, 5))
            rounds += 1
            while len(frames) < n and (found := self._next()) is not None:
                frames.append(found)
                rounds = 0
        return frames

    def next(self) -> tuple[BoardFrame, int] | None:
        """The next frame of those that come without end; None if it is ended."""
        self._moved_s = time.monotonic()
        while not self._ended():
            if not self._streaming:
                self._ask(messages.FOR_EVER_FRAMES)
            if (found := self._next()) is not None:
                return found
        return None

    def stop(self) -> None:
        """Have the board send no frames, and forget those that have come: they are older than what is asked for now."""
        if self._streaming or self._link.assembler.next < self._until:
            self._streaming, self._until = False, 0
            self._link.stream(0, self.patience_s())
        self._link.frames.clear()

    def _ask(self, count: int) -> None:
        first = self._link.stream(min(count, messages.FOR_EVER_FRAMES), self.patience_s())
        self._streaming, self._until = count >= messages.FOR_EVER_FRAMES, first + count
        self._clock_s = time.monotonic()

    def _next(self) -> tuple[BoardFrame, int] | None:
        """The next frame; None when it is ended, or there is nothing to wait for but to ask anew."""
        link = self._link
        while not link.frames:
            if self._ended() or (not self._streaming and link.assembler.next >= self._until):
                return None
            link.read(SLICE_S)
            now_s = time.monotonic()
            if link.assembler.moved != self._moved:
                self._moved, self._moved_s = link.assembler.moved, now_s
            if link.assembler.in_vain > MOST_IN_VAIN or now_s - self._moved_s > self.patience_s(NO_FRAME_S):
                self._lose()
            if now_s - link.heard_s > self.patience_s(STALL_S):
                # The word that its count is done was lost, or it is: it has to answer at once.
                self._streaming, self._until = False, 0
                link.stream(0, SURE_S)
            elif self._streaming and now_s - self._clock_s > CLOCK_S:
                self._clock_s = now_s
                link.configure(Settings(), self.patience_s())  # changes nothing; its answer compares the clocks
        return link.frames.popleft()

    def _lose(self) -> NoReturn:
        begun, damaged = self._link.assembler.in_vain, self._link.damaged
        if damaged or begun:
            raise DeviceLost(
                f"{begun} frames in a row began to come, and none came whole ({damaged} damaged packets); take a "
                "shorter cable, or a lower baud="
            )
        raise DeviceLost("it answers, and sends no frames; look at the wires of its sensor, and at its firmware")
