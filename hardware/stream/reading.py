"""What is done with an open camera, in its thread: settings are asked for, frames numbered and put into the ring."""

import dataclasses
import threading

from hardware.camera import Camera
from hardware.errors import CameraError, CameraLost, ConfigurationError
from hardware.frame import CameraSettings, Frame
from hardware.stream.connection import Connection
from hardware.stream.ring import Ring

POLL_S = 0.05  # how long settings may wait for a source that waits for room in the ring


class OtherCamera(CameraError):
    """Where the camera was, there is another one."""


@dataclasses.dataclass(eq=False)
class Order:
    """Settings that the camera's thread is to ask for, and what came of it."""

    wanted: CameraSettings
    done: bool = False
    applied: CameraSettings | None = None
    error: BaseException | None = None


class Reader:
    """Reads one physical camera, connection after connection.

    Args:
        ring: where the frames go.
        wanted: settings to ask for.
        changed: guards what is shared with other threads; notified when something here changes.
        stall_s: how long the camera may give nothing, besides twice its exposure.
        configure_s: how long it may take to apply settings.
    """

    def __init__(
        self, ring: Ring, wanted: CameraSettings, changed: threading.Condition, stall_s: float, configure_s: float
    ):
        self.camera_id: str | None = None  # until it has been opened once
        self.applied = CameraSettings()
        self.numbering = Numbering()
        self._ring, self._wanted, self._changed = ring, wanted, changed
        self._stall_s, self._configure_s = stall_s, configure_s
        self._order: Order | None = None

    def leave(self, order: Order | None) -> None:
        """Settings to ask for before the next frame, instead of what was left here before."""
        with self._changed:
            self._order = order

    def work(self, connection: Connection, camera: Camera) -> None:
        """Read `camera` until it has no more frames, or none are wanted.

        Raises:
            OtherCamera: it is not the one that was read before.
            Exception: of the camera or the ring.
        """
        if connection.given_up or not self._admit(connection, camera):
            return
        try:
            self._read(connection, camera)
        except CameraLost as error:
            with self._changed:
                self.numbering.lose(error.frames)
            raise

    def _read(self, connection: Connection, camera: Camera) -> None:
        frames = iter(camera.frames())
        while True:
            before_s = self._patience_s()  # the next frame may still be of the settings before
            self._obey(connection, camera)
            with connection.driver(max(before_s, self._patience_s())):
                frame = next(frames, None)
            if frame is None or not self._take(connection, camera, frame):
                return

    def _patience_s(self) -> float:
        return self._stall_s + 2 * (self.applied.exposure_s or 0)

    def _admit(self, connection: Connection, camera: Camera) -> bool:
        """Begin with a camera that has just been opened: the same one, with the settings that it had."""
        if self.camera_id not in (None, camera.camera_id):
            raise OtherCamera(
                f"camera {camera.camera_id!r} is where {self.camera_id!r} was, and is left alone: "
                f"attach {self.camera_id!r} again"
            )
        with connection.driver(self._configure_s):
            applied = self._ask(camera)
        with self._changed:
            if connection.given_up:
                return False
            if self.camera_id is None:
                self.camera_id, self._wanted = camera.camera_id, applied
            elif applied.id != self.applied.id:
                connection.differs = _differences(applied, self.applied)
            self.applied = applied
            self.numbering.begin()
            connection.live, connection.opened = camera.live, True
            self._changed.notify_all()
        return True

    def _ask(self, camera: Camera) -> CameraSettings:
        """Settings as they were; a driver that does not take its own numbers again is left as it is."""
        try:
            return camera.configure(self._wanted)
        except ConfigurationError:
            if self.camera_id is None or self._wanted.controls is None:
                raise
            return camera.configure(dataclasses.replace(self._wanted, controls=None))

    def _obey(self, connection: Connection, camera: Camera) -> None:
        """Ask for the settings that were left here."""
        with self._changed:
            order, self._order = self._order, None
        if order is None:
            return
        try:
            with connection.driver(self._configure_s):
                applied = camera.configure(order.wanted)
            with self._changed:
                if not connection.given_up:
                    self._wanted = self.applied = order.applied = applied
        except BaseException as error:
            order.error = error
            if not isinstance(error, ConfigurationError):
                raise
        finally:
            with self._changed:
                order.done = True
                self._changed.notify_all()

    def _take(self, connection: Connection, camera: Camera, frame: Frame) -> bool:
        """Put a frame into the ring; False if no more are wanted."""
        if frame.meta.camera_id != self.camera_id:
            raise CameraError(
                f"camera {self.camera_id!r} sent a frame of camera {frame.meta.camera_id!r}; it is not delivered"
            )
        while not connection.live and not self._ring.wait_for_room(frame, POLL_S):
            self._obey(connection, camera)
        with self._changed:
            if connection.given_up:
                return False
            taken = self._ring.put(self.numbering.number(frame), wait=not connection.live)
            if not connection.delivers:
                connection.delivers = True
                self._changed.notify_all()
            return taken


def _differences(now: CameraSettings, before: CameraSettings) -> str:
    new, old = ({**vars(each), "controls": None, **dict(each.controls or ())} for each in (now, before))
    return ", ".join(
        f"{name}={new.get(name)!r} (before {old.get(name)!r})" for name in new | old if new.get(name) != old.get(name)
    )


class Numbering:
    """Sequence numbers that go on rising when a camera that was lost counts from 0 again."""

    def __init__(self):
        self.last: int | None = None
        self._offset: int | None = None  # None until the first frame of a connection
        self._lost = 0  # with connections, since the last frame

    def lose(self, frames: int) -> None:
        """So many were lost with a connection, as far as it knew."""
        self._lost += frames

    def begin(self) -> None:
        """The next frame is the first of a new connection."""
        self._offset = None

    def number(self, frame: Frame) -> Frame:
        """The frame as one of the whole stream; `lost_before` counts what its sequence number leaves out.

        What a camera did not capture in an outage, or nobody can know of, has no number and is not counted.

        Raises:
            CameraError: a frame that came before comes again.
        """
        meta = frame.meta
        lost = meta.lost_before
        if self._offset is None:
            carried, self._lost = self._lost, 0
            lost += carried
            self._offset = carried if self.last is None else self.last + 1 + lost - meta.sequence
        elif (lost := meta.sequence + self._offset - self.last - 1) < 0:
            raise CameraError(
                f"camera {meta.camera_id!r} sent frame {meta.sequence} after frame {self.last - self._offset}; "
                "expected rising numbers: an old frame is not delivered as new"
            )
        self.last = meta.sequence + self._offset
        if (self.last, lost) == (meta.sequence, meta.lost_before):
            return frame
        return frame.with_meta(dataclasses.replace(meta, sequence=self.last, lost_before=lost))
