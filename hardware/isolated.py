"""A camera in a child process, because drivers hang, crash, and keep what belongs to a device that is gone.

OpenCV's `read()` may block for ever after an unplug (opencv #4468, #5197, #10927), and a camera that was replugged may
not open again in the same process (#27294). The child can be killed; a new connection is a new process.
"""

import dataclasses
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from typing import NoReturn

from hardware.alive import alive
from hardware.camera import check_count, closed
from hardware.child import Child, ChildEnded, deadline, error_of
from hardware.closing import Closing
from hardware.errors import CameraError, CameraLost, InputError, LenslessError
from hardware.frame import CameraSettings, Frame, FrameMeta, dtype_of, from_plain
from hardware.slots import Slots

OPEN_S, CONFIGURE_S, CLOSE_S = 15.0, 10.0, 1.0
STALL_S = 1.5  # unplugged is to be said within 2 s
FILE_STALL_S = 8.0  # a bad file is told of within 10 s


def opencv_camera(place: str) -> "IsolatedCamera":
    """The camera of an address `opencv:PLACE` (hardware/opencv/address.py), in a process of its own."""
    from hardware.opencv.address import parse_place  # with all of `hardware.opencv`, for those who use it

    is_file = parse_place(place).file is not None
    arguments = ["-m", "hardware.driver_process", "video" if is_file else "opencv", place]
    return IsolatedCamera(arguments, f"opencv:{place}", is_file=is_file)


class IsolatedCamera(Closing):
    """A camera that a child process opens, reads and closes; frames come through shared memory.

    A driver that says nothing for `stall_s` and twice the exposure is killed: CameraLost, and to go on is to make a new
    one. All limits count from its last sign of life (hardware/alive.py). Frames that nobody fetches wait in 64 MiB, or
    four of them where they are larger; what comes after them is lost if the camera is live, and counted. A camera that
    is forgotten instead of closed is killed, too.

    `facts` are what the camera in the child tells of its device besides its settings, kept up to date while frames are
    fetched.

    Args:
        arguments: of the Python interpreter: a program that calls `hardware.driver_process.serve`.
        name: the address, for messages.
        is_file: whether it plays a file: what makes its decoder hang or fall is InputError.
        open_s: how long the driver may take to open the device.
        stall_s: how long it may take for a frame, besides twice the exposure.

    Raises:
        LenslessError: what the camera raised in the child; CameraLost if it hung or fell.
    """

    def __init__(
        self,
        arguments: list[str],
        name: str,
        *,
        is_file: bool = False,
        open_s: float | None = None,
        stall_s: float | None = None,
    ):
        self._name, self._is_file = name, is_file
        self._settings = CameraSettings()
        self._slots: dict[int, Slots] = {}  # by generation: larger frames get places of their own
        self._waiting: deque[dict] = deque()  # frames that came while an answer was awaited
        self._lost, self._last = 0, "before its first frame"
        self._started, self._ended, self._closed, self._gone = False, False, False, ""
        self._closing, self._released = threading.Lock(), False
        self._child = Child(arguments)
        self._forgotten = weakref.finalize(self, self._child.kill)
        open_s = (FILE_STALL_S if is_file else OPEN_S) if open_s is None else open_s
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
        applied = from_plain(CameraSettings, answer["applied"])
        self.facts.update(answer["facts"])
        if applied.id != self._settings.id:
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
            self._child.close(CLOSE_S, do="close")
            self._forgotten.detach()
            for slots in self._slots.values():
                slots.close()

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
        for message in self._messages(limit_s, f"send a frame for {limit_s:.1f} s"):
            if "meta" in message:
                return message
            if "end" in message:
                self._ended = True
                break
        return None

    def _answer(self, key: str, timeout_s: float, what: str) -> dict:
        """The answer to a question; frames that come before it wait."""
        for message in self._messages(timeout_s, f"{what} within {timeout_s:.0f} s"):
            if key in message:
                return message
            if "refused" in message:
                raise error_of(message["refused"])
            if "meta" in message:
                self._waiting.append(message)
        raise closed(self._name)

    def _messages(self, limit_s: float, what: str) -> Iterator[dict]:
        """Messages until this camera is closed; each sign of life begins the time anew in which they have to come."""
        left_s = deadline(limit_s)
        while (message := self._receive(left_s(), what)) is not None:
            if "alive" in message:
                alive()
                left_s = deadline(limit_s)
            elif "news" in message:
                self.facts.update(message["news"])
            elif "slots" in message:
                self._slots[message["of"]] = Slots.attach(**message["slots"])
            else:
                yield message

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
            if self._is_file:
                raise self._failure() from error
            raise
        if message is None:
            if self._closed:
                return None
            self._child.close()  # kill it: it hangs in its driver
            self._lose(f"it did not {what}; its driver was ended")
        return message

    def _frame(self, message: dict) -> Frame:
        facts = message["meta"] | {"lost_before": message["meta"]["lost_before"] + self._lost}
        meta = from_plain(FrameMeta, facts)
        for outgrown in [of for of in self._slots if of < message["of"]]:
            self._slots.pop(outgrown).close()
        pixels = self._slots[message["of"]].view(message["slot"], tuple(message["shape"]), dtype_of(meta.bit_depth))
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
        if self._is_file:
            happens, advice = "cannot be played", "it is damaged: copy it again from where it was recorded"
        else:
            happens, advice = "is lost", "connect it again, and open it anew"
        self._gone = f"camera {self._name!r} {happens} {self._last}: {reason}; {advice}"
        raise self._failure()

    def _failure(self) -> LenslessError:
        return InputError(self._gone) if self._is_file else CameraLost(self._gone, self._lost)

    def _check_open(self) -> None:
        if self._gone:
            raise self._failure()
        if self._closed:
            raise closed(self._name)
