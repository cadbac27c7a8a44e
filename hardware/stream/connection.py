"""One camera from its opening to its closing, in one thread that may have to be left behind."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from hardware.alive import heard_by
from hardware.camera import Camera


class Connection:
    """Opens a camera, works with it and closes it, all in one thread, as drivers want it (opencv-python #121).

    A thread cannot be ended from outside. One whose driver hangs is given up: when the call returns, it closes its
    camera and ends, and until then it does no harm. The attributes are read and written under `changed`.

    Args:
        connect: opens the camera.
        work: gets this connection and the open camera; its end, or its error, is that of the connection.
        changed: notified when the connection ends.
        open_s: how long `connect` may take.
    """

    def __init__(
        self,
        connect: Callable[[], Camera],
        work: Callable[["Connection", Camera], None],
        changed: threading.Condition,
        open_s: float,
    ):
        self.live = True
        self.opened = False  # it is the right camera, with its settings
        self.delivers = False  # a frame has come
        self.differs = ""  # settings that are not those of the connection before
        self.given_up = False  # by whoever watches: its frames are wanted no more
        self.ended = False  # there will be no more frames; the camera may still be being closed
        self.error: BaseException | None = None  # what it ended with
        self.close_error: BaseException | None = None
        self._connect, self._work, self._changed, self._open_s = connect, work, changed, open_s
        self._call: tuple[float, float] | None = None  # when the driver was called, and how long it may take
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    @property
    def exceeded_s(self) -> float | None:
        """The time that the driver may take, if it has taken longer; else None."""
        call = self._call
        return call[1] if call is not None and time.monotonic() - call[0] > call[1] else None

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def join(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    @contextlib.contextmanager
    def driver(self, limit_s: float) -> Iterator[None]:
        """Around each call of the driver, which should say something within `limit_s`."""

        def begin() -> None:
            self._call = (time.monotonic(), limit_s)

        begin()
        try:
            with heard_by(begin):
                yield
        finally:
            self._call = None

    def _run(self) -> None:
        camera, error = None, None
        try:
            with self.driver(self._open_s):
                camera = self._connect()
            self._work(self, camera)
        except BaseException as caught:
            error = caught
        with self._changed:  # before closing, which may hang
            self.ended, self.error = True, error
            self._changed.notify_all()
        if camera is not None:
            try:
                camera.close()
            except BaseException as caught:
                self.close_error = caught
