"""Frames on their way from a camera to whoever uses them: bounded in bytes, and every one of them accounted for."""

import dataclasses
import math
import threading
from collections import Counter, deque
from collections.abc import Iterator
from typing import Literal, NoReturn, get_args

from hardware.errors import ConfigurationError, LenslessError, Overrun
from hardware.frame import Frame

Policy = Literal["drop-oldest", "never-drop"]

# Why a frame was dropped.
BEFORE = "before the ring"  # the camera or its driver says that it lost them
FULL = "ring full"  # room for newer ones was needed
OUTDATED = "newer frame taken"  # a viewer took the newest frame, and these were older
OVERRUN = "overrun"  # it did not fit, and none in the ring may be dropped
TOO_LARGE = "larger than the ring"
STOPPED = "stopped"  # it came when no more were wanted
UNFETCHED = "never fetched"  # it was in the ring when its consumer went

MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class Counts:
    """What became of all frames, at one instant: captured == delivered + sum(dropped.values()) + in_ring.

    Args:
        captured: frames that the camera took, those included that were lost before they came here.
        delivered: frames that the consumer was given.
        dropped: number of frames by reason.
        in_ring: frames that wait to be fetched.
        bytes_in_ring: of their pixels.
    """

    captured: int
    delivered: int
    dropped: dict[str, int]
    in_ring: int
    bytes_in_ring: int


class Ring:
    """Holds frames between one thread that puts and one that gets; copies none.

    A frame that is delivered says in its `lost_before` how many were lost since the one delivered before it, for
    whatever reason: `sequence == previous + 1 + lost_before` holds for what the consumer sees. With several consumers
    the accounting is as exact, and that rule holds for all of them together.

    Args:
        capacity_bytes: of pixels, at least one frame.
        policy: what a full ring does with the next frame. "drop-oldest" makes room, for viewers; "never-drop" ends
            with `Overrun`, for recorders.
        most_frames: of which it is full, too, however small they are: with 1 whatever is fetched is the newest of a
            live camera, and a source that waits is never ahead. None: the bytes decide.

    Raises:
        ConfigurationError: no such capacity or policy.
    """

    def __init__(self, capacity_bytes: int, policy: Policy = "drop-oldest", most_frames: int | None = None):
        if capacity_bytes < 1 or (most_frames is not None and most_frames < 1):
            raise ConfigurationError(
                f"ring of {capacity_bytes} bytes and {most_frames} frames; expected room for one frame at least"
            )
        if policy not in get_args(Policy):
            raise ConfigurationError(f"ring policy {policy!r}; expected one of {', '.join(get_args(Policy))}")
        self._capacity_bytes = capacity_bytes
        self._most_frames = math.inf if most_frames is None else most_frames
        self._policy = policy
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._captured = self._delivered = 0
        self._dropped: Counter[str] = Counter()
        self._lost_ahead = 0  # frames lost between the last delivered one and the oldest here
        self._closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    @property
    def capacity_bytes(self) -> int:
        return self._capacity_bytes

    @property
    def policy(self) -> Policy:
        return self._policy

    @property
    def counts(self) -> Counts:
        with self._changed:
            return Counts(self._captured, self._delivered, dict(self._dropped), len(self._frames), self._bytes)

    @property
    def ended(self) -> bool:
        """Whether nothing is left and nothing will come."""
        with self._changed:
            return self._closed and not self._frames

    def put(self, frame: Frame, wait: bool = False) -> bool:
        """Take a frame in; False if the ring is closed: the frame is counted as dropped, and no more are wanted.

        Args:
            wait: wait for room, for sources that can, whatever the policy; closing the ring ends the wait.

        Raises:
            Overrun: the ring is full, and none may be dropped. The ring is closed with this error.
            ConfigurationError: one frame is larger than the whole ring; it is closed with this error, too.
        """
        size = frame.pixels.nbytes
        with self._changed:
            if wait:
                self.wait_for_room(frame)
            self._captured += 1 + frame.meta.lost_before
            self._drop(BEFORE, frame.meta.lost_before)
            if self._closed:
                self._drop(STOPPED)
                return False
            if size > self._capacity_bytes:
                self._refuse(TOO_LARGE, ConfigurationError(self._too_large(frame)))
            if self._policy == "never-drop" and not self._fits(size):
                self._refuse(OVERRUN, Overrun(self._full(frame)))
            while not self._fits(size):
                self._drop_oldest(FULL)
            self._frames.append(frame)
            self._bytes += size
            self._changed.notify_all()
            return True

    def wait_for_room(self, frame: Frame, timeout_s: float | None = None) -> bool:
        """Wait until `put` would not wait for room, be it that the ring was closed; False if it still would."""
        size = frame.pixels.nbytes
        with self._changed:
            hopeless = size > self._capacity_bytes
            return hopeless or self._changed.wait_for(lambda: self._closed or self._fits(size), timeout_s)

    def get(self, timeout_s: float | None = None) -> Frame | None:
        """The oldest frame; None if there was none in time, or there will be none any more (`ended` tells).

        Args:
            timeout_s: how long to wait; None waits for a frame or the end.

        Raises:
            Exception: what the ring was closed with, when all that was in it has been delivered.
        """
        with self._changed:
            return self._deliver() if self._wait_for_frame(timeout_s) else None

    def newest(self, timeout_s: float | None = None) -> Frame | None:
        """As `get`, but the newest frame; older ones are dropped, so that a slow viewer is never behind.

        Raises:
            ConfigurationError: the policy is "never-drop".
            Exception: as `get`.
        """
        if self._policy == "never-drop":
            raise ConfigurationError("the newest frame of a never-drop ring drops the rest: use get, or drop-oldest")
        with self._changed:
            if not self._wait_for_frame(timeout_s):
                return None
            while len(self._frames) > 1:
                self._drop_oldest(OUTDATED)
            return self._deliver()

    def frames(self) -> Iterator[Frame]:
        """All frames until the end; raises as `get`."""
        while (frame := self.get()) is not None:
            yield frame

    def close(self, error: BaseException | None = None) -> None:
        """Take no more. What is in the ring can be fetched; then `get` raises `error`. Only the first call counts."""
        with self._changed:
            if not self._closed:
                self._closed, self._error = True, error
            self._changed.notify_all()

    def discard(self) -> None:
        """The consumer goes: take no more, and count what is left as never fetched; a second call does nothing."""
        with self._changed:
            self.close()
            while self._frames:
                self._drop_oldest(UNFETCHED)

    def _fits(self, size: int) -> bool:
        return self._bytes + size <= self._capacity_bytes and len(self._frames) < self._most_frames

    def _wait_for_frame(self, timeout_s: float | None) -> bool:
        self._changed.wait_for(lambda: self._frames or self._closed, timeout_s)
        if not self._frames and self._error is not None:
            raise self._error
        return bool(self._frames)

    def _deliver(self) -> Frame:
        frame = self._pop()
        self._delivered += 1
        lost, self._lost_ahead = self._lost_ahead, 0
        if not lost:
            return frame
        return frame.with_meta(dataclasses.replace(frame.meta, lost_before=frame.meta.lost_before + lost))

    def _drop_oldest(self, reason: str) -> None:
        self._lost_ahead += 1 + self._pop().meta.lost_before
        self._drop(reason)

    def _pop(self) -> Frame:
        frame = self._frames.popleft()
        self._bytes -= frame.pixels.nbytes
        self._changed.notify_all()  # there is room
        return frame

    def _drop(self, reason: str, count: int = 1) -> None:
        if count:  # a reason that never came up is not named
            self._dropped[reason] += count

    def _refuse(self, reason: str, error: LenslessError) -> NoReturn:
        self._drop(reason)
        self.close(error)
        raise error

    def _too_large(self, frame: Frame) -> str:
        return (
            f"frame {frame.meta.sequence} of camera {frame.meta.camera_id!r} has {frame.pixels.nbytes} bytes, and the "
            f"whole ring {self._capacity_bytes}; give the ring room for several frames, or ask for a smaller region"
        )

    def _full(self, frame: Frame) -> str:
        return (
            f"frame {frame.meta.sequence} of camera {frame.meta.camera_id!r} came when the ring was full: "
            f"{len(self._frames)} frames in {self._bytes / MIB:.1f} of {self._capacity_bytes / MIB:.1f} MiB wait to be "
            "taken, and none may be dropped; capture stopped, and those are kept. Use a faster disk, smaller frames, a "
            "lower frame rate or a larger ring, or allow losses with the policy drop-oldest"
        )
