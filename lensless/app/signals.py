"""How a capture is asked to end: in order, and at once when asked twice."""

import os
import signal
import threading
from contextlib import suppress
from typing import Self

LONGEST_FRAME_S = 120.0


class Signals:
    """Ctrl-C, the end of a session and `kill` end a capture in order, behind what was captured; a second one at once.

    `came` counts them; until `begun` there is nothing to write, and the first one ends it.

    Args:
        said: on standard error at the first one; nothing if empty.
    """

    NAMES = ("SIGINT", "SIGTERM", "SIGHUP")

    def __init__(self, said: str = "stopping: writing the frames that wait; once more gives them up"):
        self.came, self.begun = 0, False
        self._said = f"\n{said}\n".encode() if said else b""
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # elsewhere Python takes no handlers
            kinds = [getattr(signal, name) for name in self.NAMES if hasattr(signal, name)]
            self._before = {kind: signal.signal(kind, self._note) for kind in kinds}
        return self

    def __exit__(self, *_: object) -> None:
        for kind, handler in self._before.items():
            signal.signal(kind, handler)

    def _note(self, *_: object) -> None:
        self.came += 1
        if self.came > 1 or not self.begun:
            raise KeyboardInterrupt
        # Not by way of the screen, which may be in the middle of a line; a terminal that was closed takes nothing.
        with suppress(OSError):
            os.write(2, self._said)


def wait_for_camera() -> None:
    """A simulated rig cannot be stopped within a frame, and torch aborts the process if one is left at its end."""
    for thread in threading.enumerate():
        if thread.name == "camera":
            thread.join(LONGEST_FRAME_S)
