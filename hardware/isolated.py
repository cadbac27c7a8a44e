"""A camera in a child process, because drivers hang, crash, and keep what belongs to a device that is gone.

OpenCV's `read()` may block for ever after an unplug (opencv #4468, #5197, #10927), and a camera that was replugged may
not open again in the same process (#27294). The child can be killed; a new connection is a new process.
"""

import dataclasses
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import NoReturn

from hardware.camera import check_count, closed
from hardware.child import Child, ChildEnded, deadline, error_of
from hardware.closing import Closing
from hardware.errors import CameraError, CameraLost
from hardware.frame import CameraSettings, Frame, FrameMeta, dtype_of, from_plain
from hardware.slots import Slots

OPEN_S, CONFIGURE_S, CLOSE_S = 15.0, 10.0, 1.0
STALL_S = 1.5  # unplugged is to be said within 2 s
FILE_STALL_S = 10.0


def opencv_camera(place: str) -> "IsolatedCamera":
    """The camera of an address `opencv:PLACE` (hardware/opencv/address.py), in a process of its own."""
    return IsolatedCamera(["-m", "hardware.driver_process", "opencv", place], f"opencv:{place}")


class IsolatedCamera(Closing):
    """A camera that a child process opens, reads and closes; frames come through shared memory.

    A driver that says nothing for `stall_s` and twice the exposure is killed: CameraLost, and to go on is to make a new
    one. Frames that nobody fetches wait in at most 64 MiB; what comes after them is lost if the camera is live, and
    counted.

    `facts` are what the camera in the child tells of its device besides its settings.

    Args:
        arguments: of the Python interpreter: a program that calls `hardware.driver_process.serve`.
        name: the address, for messages.
        open_s: how long the driver may take to open the device.
        stall_s: how long it may take for a frame, besides twice the exposure.

    Raises:
        LenslessError: what the camera raised in the child; CameraLost if it hung or fell.
    """

    def __init__(self, arguments: list[str], name: str, *, open_s: float = OPEN_S, stall_s: float | None = None):
        self._name = name
        self._settings = CameraSettings()
        self._slots: Slots | None = None
        self._waiting: deque[dict] = deque()  # frames that came while an answer was awaited
        self._lost, self._last = 0, "before its first frame"
        self._started, self._ended, self._closed, self._gone = False, False, False, ""
        self._closing, self._released = threading.Lock(), False
        self._child = Child(arguments)
        try:
            hello = self._answer("hello", open_s, "open")
        except BaseException:
            self._child.close()
            raise
        self._camera_id, self._live, self.facts = hello["camera_id"], hello["live"], hello["facts"]
        self._stall_s = (STALL_S if self._live else FILE_STALL_S) if stall_s is None else stall_s
        self._settings = from_plain(CameraSettings, hello["settings"])

    @property
    def camera_id(self) -> str:
        return self._camera_id

    @property
    def live(self) -> bool:
        return self._live

    def configure(self, wanted: CameraSettings) -> CameraSettings:
        """As the camera does; frames of other settings that were on their way are dropped, and counted.

        Raises:
            ConfigurationError: this camera has no such setting.
            CameraLost: the driver hung; CameraError: the device does something else than was asked.
        """
        self._check_open()
        self._child.send(do="configure", wanted=dataclasses.asdict(wanted))
        longest_s = max(self._settings.exposure_s or 0, wanted.exposure_s or 0)
        answer = self._answer("applied", CONFIGURE_S + 4 * longest_s, "apply settings")
        applied, self.facts = from_plain(CameraSettings, answer["applied"]), answer["facts"]
        if applied != self._settings:
            while self._waiting:
                self._drop(self._waiting.popleft())
        self._settings = applied
        return applied

    def snap(self, n: int, not_before_ns: int | None = None) -> list[Frame]:
        """The next `n` frames; of a live camera only such as were exposed after this call, or `not_before_ns`.

        Raises:
            CameraLost: the device is gone, its driver hangs, or a file has ended.
        """
        check_count(n, self._camera_id)
        self._check_open()
        if self._live:
            not_before_ns = max(time.monotonic_ns(), not_before_ns or 0)
        frames: list[Frame] = []
        while len(frames) < n:
            message = self._next_message()
            if message is None:
                self._check_open()  # closed meanwhile
                raise CameraLost(
                    f"camera {self._name!r} has ended: {n} frames asked for, {len(frames)} left; "
                    "open it again to start over"
                )
            if message["meta"]["t_host_ns"] < (not_before_ns or 0):
                self._drop(message)
            else:
                frames.append(self._frame(message))
        return frames

    def frames(self) -> Iterator[Frame]:
        """Frames until the source has no more, or this is closed.

        Raises:
            CameraLost: the device is gone, or its driver hangs.
        """
        self._check_open()
        return self._rest()

    def close(self) -> None:
        """End the child, by force if it does not answer within a second; a second call does nothing."""
        self._closed = True
        with self._closing:  # a second one, from another thread, waits for the first
            if self._released:
                return
            self._released = True
            self._child.wake()
            self._child.send(do="close")
            self._child.close(CLOSE_S)
            if self._slots is not None:
                self._slots.close()

    def _rest(self) -> Iterator[Frame]:
        while not self._closed and (message := self._next_message()) is not None:
            yield self._frame(message)

    def _next_message(self) -> dict | None:
        """The next frame, still in its place; None at the end of the source or after `close`."""
        self._check_open()
        if not self._started:
            self._child.send(do="start")
            self._started = True
        if self._waiting:
            return self._waiting.popleft()
        if self._ended or self._closed:
            return None
        limit_s = self._stall_s + 2 * (self._settings.exposure_s or 0)
        left_s = deadline(limit_s)
        while True:
            message = self._receive(left_s(), f"send a frame for {limit_s:.1f} s")
            if message is None:
                return None
            if "meta" in message:
                return message
            if "end" in message:
                self._ended = True
                return None
            self._note(message)

    def _answer(self, key: str, timeout_s: float, what: str) -> dict:
        """The answer to a question; frames that come before it wait."""
        left_s = deadline(timeout_s)
        while True:
            message = self._receive(left_s(), f"{what} within {timeout_s:.0f} s")
            if message is None:
                raise closed(self._name)
            if key in message:
                return message
            if "refused" in message:
                raise error_of(message["refused"])
            if "meta" in message:
                self._waiting.append(message)
            else:
                self._note(message)

    def _receive(self, timeout_s: float, what: str) -> dict | None:
        """A message; None if this camera was closed meanwhile."""
        try:
            message = self._child.receive(timeout_s)
        except ChildEnded as error:
            if self._closed:
                return None
            self._lose(f"its driver is gone ({error})")
        except CameraError as error:
            self._gone = str(error)
            raise
        if message is None:
            if self._closed:
                return None
            self._child.close()  # kill it: it hangs in its driver
            self._lose(f"it did not {what}; its driver was ended")
        return message

    def _note(self, message: dict) -> None:
        if "slots" in message:
            if self._slots is not None:
                self._slots.close()
            self._slots = Slots.attach(**message["slots"])

    def _frame(self, message: dict) -> Frame:
        facts = message["meta"] | {"lost_before": message["meta"]["lost_before"] + self._lost}
        meta = from_plain(FrameMeta, facts)
        pixels = self._slots.view(message["slot"], tuple(message["shape"]), dtype_of(meta.bit_depth))
        frame = Frame(pixels, meta)
        self._lost, self._last = 0, f"after frame {meta.sequence}"
        self._free(message)
        return frame

    def _drop(self, message: dict) -> None:
        self._lost += 1 + message["meta"]["lost_before"]
        self._free(message)

    def _free(self, message: dict) -> None:
        self._child.send(do="free", slot=message["slot"], of=message["of"])

    def _lose(self, reason: str) -> NoReturn:
        self._gone = f"camera {self._name!r} is lost {self._last}: {reason}; connect it again, and open it anew"
        raise CameraLost(self._gone)

    def _check_open(self) -> None:
        if self._gone:
            raise CameraLost(self._gone)
        if self._closed:
            raise closed(self._name)
