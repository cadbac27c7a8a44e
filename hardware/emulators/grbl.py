"""A stage without hardware: GRBL 1.1 on a pseudo-terminal, with faults on demand.

    python -m hardware.emulators.grbl --link /tmp/stage

It has two axes, and a lamp where others have a spindle; z stays at 0.
"""

import argparse
import contextlib
import os
import threading
import time
from collections.abc import Callable

from hardware.closing import Closing
from hardware.emulators.grbl_controller import Controller
from hardware.emulators.terminal import Terminal
from hardware.emulators.two_axes import Pair, TwoAxes
from hardware.errors import LenslessError

TICK_S = 0.002


class Grbl(Closing):
    """A GRBL that a program opens by `terminal.path`, or by its link.

    Args:
        link: as of `Terminal`.
        settings, force_origin, greeting: as of `Controller`.
        switches_mm: (lowest, highest) place of x, and of y, where it closes a limit switch.
        start_mm: (x, y), where it stands; it does not know.
        resets_when_opened: as an Arduino does when its port is opened.
        boot_s: how long it then says nothing.

    Attributes:
        controller: what it was told, its lamp and its settings.
        axes: where the stage is, and where it thinks it is.
        received, sent: what noise makes of bytes on their way in, and out; each gets some, and gives what arrives.
    """

    def __init__(
        self,
        link: str | os.PathLike[str] | None = None,
        *,
        settings: dict[int, float] | None = None,
        switches_mm: tuple[Pair, Pair] = ((-201.0, 0.0), (-201.0, 0.0)),
        start_mm: Pair = (-60.0, -40.0),
        resets_when_opened: bool = True,
        boot_s: float = 0.02,
        force_origin: bool = False,
        greeting: str = "Grbl 1.1h ['$' for help]",
    ):
        self.axes = TwoAxes(start_mm, switches_mm)
        self.controller = Controller(self.axes, settings, force_origin, greeting)
        self.received: Callable[[bytes], bytes] = bytes
        self.sent: Callable[[bytes], bytes] = bytes
        self._resets, self._boot_s = resets_when_opened, boot_s
        self._stop, self._power_lost = threading.Event(), threading.Event()
        self.terminal = Terminal(link)
        self._thread = threading.Thread(target=self._run, name="emulated GRBL", daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        """Pulled out, and without power: it stops where it is, and forgets where that is."""
        self.terminal.unplug()
        self._power_lost.set()

    def replug(self) -> None:
        """Plugged in, under another name."""
        self.terminal.replug()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self.terminal.close()

    def _run(self) -> None:
        controller, then_s, was_opened = self.controller, time.monotonic(), False
        starts_s: float | None = 0.0  # when it will have started; None when it has
        while not self._stop.is_set():
            busy = starts_s is not None or controller.moving
            data = self.terminal.read(TICK_S if busy else 10 * TICK_S)
            data = self.received(data)
            opened = self.terminal.opened
            if self._power_lost.is_set() or (opened and not was_opened and self._resets):
                self._power_lost.clear()
                controller.power_up()
                starts_s = time.monotonic() + self._boot_s
            was_opened = opened
            now_s = time.monotonic()
            if starts_s is None:
                controller.advance(now_s - then_s)
                controller.take(data)
            elif now_s >= starts_s:
                starts_s = None
                controller.start()
            then_s = now_s
            if said := controller.said():
                self.terminal.write(self.sent(said))


def main() -> None:
    """Be a stage until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A GRBL stage without hardware.")
    parser.add_argument("--link", help="where a link to its port is put")
    parser.add_argument("--speed", type=float, default=3000.0, metavar="MM_PER_MIN", help="of both axes")
    arguments = parser.parse_args()
    speeds = {110: arguments.speed, 111: arguments.speed, 25: arguments.speed}
    try:
        with Grbl(arguments.link, settings=speeds) as grbl, contextlib.suppress(KeyboardInterrupt):
            print(grbl.terminal.link or grbl.terminal.path, flush=True)
            threading.Event().wait()
    except LenslessError as error:
        parser.exit(error.exit_code, f"error: {error}\n")


if __name__ == "__main__":
    main()
