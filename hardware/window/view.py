"""A window on the desktop that shows pictures of a program as they come."""

import base64
import zlib

import numpy as np

from hardware.child import Child, ChildEnded, deadline
from hardware.closing import Closing
from hardware.errors import ConfigurationError, DeviceLost

OPEN_S = 30.0


class View(Closing):
    """A window that its user moves, makes larger, and closes: with q, Esc or its button.

    It lives in a process of its own, as `Window` does, and never keeps the program waiting: while it draws, further
    pictures are left out.

    Args:
        title: in its frame.

    Raises:
        ConfigurationError: no desktop, or an OpenCV without windows.
    """

    def __init__(self, title: str):
        self._title, self._busy, self._closed = title, False, False
        self._child = Child(["-m", "hardware.window.view_process", title])
        left_s = deadline(OPEN_S)
        try:
            while (message := self._receive(left_s())) is not None and "open" not in message:
                continue
            if message is None:
                raise DeviceLost(f"the window {title!r} does not open within {OPEN_S:.0f} s; is the desktop there?")
        except BaseException:
            self.close()
            raise

    @property
    def closed(self) -> bool:
        """Whether its user closed it.

        Raises:
            DeviceLost: the desktop is gone.
        """
        self._listen()
        return self._closed

    def show(self, picture: np.ndarray) -> bool:
        """Show (rows, columns, 3) of uint8, red first; False if the one before is still being drawn, or it is closed.

        Raises:
            ConfigurationError: another type or shape.
            DeviceLost: the desktop is gone.
        """
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ConfigurationError(
                f"window {self._title!r}: {picture.dtype} of shape {picture.shape}; expected uint8, (rows, columns, 3)"
            )
        self._listen()
        if self._busy or self._closed:
            return False
        self._busy = True
        packed = zlib.compress(picture.tobytes(), 1)  # of large squares: half the time, and a twentieth of the bytes
        self._child.send(shape=picture.shape[:2], packed=base64.b64encode(packed).decode())
        return True

    def close(self) -> None:
        """Take it from the desktop; a second call does nothing."""
        self._closed = True
        self._child.close()

    def _listen(self) -> None:
        while not self._closed and (message := self._receive(0)) is not None:
            self._busy = self._busy and "shown" not in message
            self._closed = "closed" in message

    def _receive(self, timeout_s: float) -> dict | None:
        try:
            return self._child.receive(timeout_s)
        except ChildEnded as error:
            raise DeviceLost(
                f"the window {self._title!r} is gone ({error}): does the desktop still run? Start again"
            ) from error
