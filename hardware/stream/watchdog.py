"""The states of a stream (docs/capture.md): follows each connection, tells what happens, connects again."""

import dataclasses
import logging
import math
import threading
import time
from collections.abc import Callable
from typing import Literal

from hardware.camera import Camera
from hardware.errors import CameraError, CameraLost
from hardware.stream.connection import Connection
from hardware.stream.reading import OtherCamera, Reader
from hardware.stream.ring import Ring

State = Literal["opening", "running", "lost", "stalled", "ended", "failed", "closed"]
FINAL = ("ended", "failed", "closed")

BACK_OFF_S = (0.25, 0.5, 1.0, 2.0)  # before each try; the last one for ever
RELEASE_S = 2.0  # what a driver may take to let its camera go; closing a stream is to take 3 s at most
POLL_S = 0.05  # how late a hang may be noticed
HANGING_LIMIT = 4  # threads in a driver that hangs; each may hold a camera that is half open

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """Something that a user of a stream should know.

    Args:
        kind: "opened"; before each try to connect again "lost", "stalled", "other camera" or (from the second on)
            "waiting"; "back"; "settings differ"; "left behind"; "close failed".
        text: a message for people.
        t_mono_ns: on time.monotonic_ns().
        outage_s: with "back": time since the loss was noticed.
    """

    kind: str
    text: str
    t_mono_ns: int
    outage_s: float | None = None


class Stalled(CameraLost):
    """The driver has given neither a frame nor an error in time."""


class Watchdog:
    """Keeps a reader supplied with connections to its camera, in a thread that never calls a driver.

    Args:
        connect, ring, retries, on_event, open_s: as of `Stream`.
        reader: what each connection works with.
        changed: the reader's; guards what is shared between the threads.
    """

    def __init__(
        self,
        connect: Callable[[], Camera],
        reader: Reader,
        ring: Ring,
        changed: threading.Condition,
        retries: int | None,
        on_event: Callable[[Event], None] | None,
        open_s: float,
    ):
        self.state: State = "opening"
        self.failure: BaseException | None = None  # what ended the stream
        self._connect, self._reader, self._ring, self._changed = connect, reader, ring, changed
        self._retries, self._on_event, self._open_s = retries, on_event, open_s
        self._stopping = False
        self._tries, self._since_s = 0, None  # of the outage
        self._hanging: list[Connection] = []
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no more frames, and let the camera go."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def join(self) -> None:
        """Wait until the camera is closed, or its driver is left behind."""
        if self._thread is not threading.current_thread():  # a listener may close the stream, too
            self._thread.join(RELEASE_S + 0.5)

    def _run(self) -> None:
        """Connection after connection, until the source ends, or an error does."""
        failure = None
        try:
            wait_s = self._follow(self._new_connection(math.inf))
            while wait_s is not None and not self._stopped_within(wait_s):
                hanging = self._count_hanging()
                if hanging < HANGING_LIMIT:
                    wait_s = self._follow(self._new_connection(self._open_s))
                else:
                    wait_s = self._lose(Stalled(f"{self._name}: {hanging} calls of its driver hang; no other is begun"))
        except BaseException as error:  # SystemExit of a listener, too, whose pipe is broken
            failure = error
        self._ring.close(failure)
        self.failure = failure
        self._enter("failed" if failure else "closed" if self._stopping else "ended")

    def _new_connection(self, open_s: float) -> Connection:
        return Connection(self._connect, self._reader.work, self._changed, open_s)

    def _follow(self, connection: Connection) -> float | None:
        """Watch a connection until it ends; returns the seconds until the next, None if there is to be none.

        Raises:
            Exception: what connecting again would not mend, or did not within the stated tries.
        """
        exceeded_s = None
        try:
            exceeded_s = self._watch(connection)
            error = connection.error
            if exceeded_s is not None:
                error = Stalled(f"{self._name} {self._silent(exceeded_s)}; the call of its driver is left behind")
            if error is None:
                return None
            if not (isinstance(error, CameraError) and connection.live and self._reader.camera_id is not None):
                raise error
            return self._lose(error)
        finally:
            self._let_go(connection, RELEASE_S if exceeded_s is None else 0)

    def _watch(self, connection: Connection) -> float | None:
        """Returns None when the connection has ended or the stream is stopped, or the time that its driver exceeded."""
        while True:
            with self._changed:
                over = connection.ended or self._stopping
                exceeded_s = None if over else connection.exceeded_s
                hangs = exceeded_s is not None and connection.live
                connection.given_up = over or hangs
            self._note(connection, exceeded_s)
            if connection.given_up:
                return exceeded_s
            with self._changed:
                self._changed.wait(POLL_S)

    def _note(self, connection: Connection, exceeded_s: float | None) -> None:
        """Say what is new of a connection."""
        if connection.opened and self.state == "opening":
            self._enter("running")
            self._tell("opened", f"{self._name} is open")
        if connection.delivers and exceeded_s is None and self._since_s is not None:
            outage_s = time.monotonic() - self._since_s
            self._tries, self._since_s = 0, None
            self._enter("running")
            self._tell("back", f"{self._name} is back after {outage_s:.1f} s", outage_s)
            if connection.differs:
                self._tell("settings differ", f"{self._name} has other settings than before: {connection.differs}")
        if exceeded_s is not None and not connection.live and self._since_s is None:
            # It waits for its reader and would begin again from its start; it may just be slow.
            self._since_s = time.monotonic()
            self._enter("stalled")
            silent = self._silent(exceeded_s)
            self._tell("stalled", f"{self._name} {silent}; it may be slow, and loses nothing: still waiting")

    def _lose(self, cause: CameraError) -> float:
        """The camera is lost: returns the seconds to wait before the next try, or raises CameraLost after the last."""
        self._since_s = self._since_s or time.monotonic()
        self._enter("stalled" if isinstance(cause, Stalled) else "lost")
        if self._stopping:
            return 0
        if self._tries == self._retries:
            raise CameraLost(
                f"{self._name} did not come back: {self._tries} tries in {time.monotonic() - self._since_s:.1f} s; "
                f"last: {cause}. Check cable and power, and start again"
            ) from cause
        wait_s = BACK_OFF_S[min(self._tries, len(BACK_OFF_S) - 1)]
        self._tries += 1
        kinds = {OtherCamera: "other camera", Stalled: "stalled"}
        of = "" if self._retries is None else f" of {self._retries}"
        self._tell(
            kinds.get(type(cause), "lost" if self._tries == 1 else "waiting"),
            f"{cause}; connecting again in {wait_s:g} s, attempt {self._tries}{of}",
        )
        return wait_s

    def _stopped_within(self, wait_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._stopping, wait_s)

    def _let_go(self, connection: Connection, wait_s: float) -> None:
        """Let the driver close the camera, so that it can be opened again."""
        connection.given_up = True
        connection.join(wait_s)
        if connection.alive:
            self._hanging.append(connection)
        if connection.alive and wait_s:
            self._tell("left behind", f"{self._name} was not closed within {wait_s:g} s; its driver is left behind")
        elif connection.close_error is not None:
            self._tell("close failed", f"{self._name} did not close in order: {connection.close_error}")

    def _count_hanging(self) -> int:
        self._hanging = [connection for connection in self._hanging if connection.alive]
        return len(self._hanging)

    @property
    def _name(self) -> str:
        return "the camera" if self._reader.camera_id is None else f"camera {self._reader.camera_id!r}"

    def _silent(self, limit_s: float) -> str:
        last = self._reader.numbering.last
        return f"has given nothing {'at all' if last is None else f'after frame {last}'} for {limit_s:.1f} s"

    def _enter(self, state: State) -> None:
        with self._changed:
            self.state = state
            self._changed.notify_all()

    def _tell(self, kind: str, text: str, outage_s: float | None = None) -> None:
        if self._on_event is None:
            log.log(logging.INFO if kind in ("opened", "back") else logging.WARNING, "%s", text)
        else:
            self._on_event(Event(kind=kind, text=text, t_mono_ns=time.monotonic_ns(), outage_s=outage_s))
