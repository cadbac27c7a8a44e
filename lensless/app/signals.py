"""How a capture is asked to end: in order, and at once when asked twice."""

import os
import signal
import threading
from contextlib import suppress
from typing import Self


class Signals:
    """Ctrl-C, the end of a session and `kill` end a recording in order, behind what was captured; a second one at once.

    `came` counts them; until `begun` there is nothing to write, and the first one ends it.
    """

    NAMES = ("SIGINT", "SIGTERM", "SIGHUP")

    def __init__(self):
        self.came, self.begun = 0, False
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
            os.write(2, b"\nstopping: writing the frames that wait; once more gives them up\n")
