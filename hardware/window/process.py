"""What runs in the child process of a `Window`: python -m hardware.window.process NUMBER ROWS COLUMNS OPTIONS

It keeps the window alive between pictures: one whose program looks away is taken for hung.
"""

import base64
import contextlib
import dataclasses
import importlib.util
import os
import sys
from typing import NoReturn

import numpy as np

from hardware.child import Parent, error_message, serve_parent, without_core_dump
from hardware.errors import ConfigurationError, DeviceError, DeviceLost
from hardware.window.address import parse_window
from hardware.window.full_screen import PUMP_S, FullScreen, load_cv2
from hardware.window.layout import Layout
from hardware.window.monitors import Desktop, check_desktop, choose


def serve(parent: Parent, number: int, shape: tuple[int, int], options_text: str) -> None:
    """Make the window, and show what the parent sends until it has enough."""
    options = parse_window(f"{number}{options_text}")[1]
    check_desktop()
    with contextlib.ExitStack() as stack:
        if number == 0 and importlib.util.find_spec("mss") is None:
            desktop, monitor, why_not = None, None, "mss is not installed"
        else:
            desktop = stack.enter_context(Desktop())
            monitor, why_not = choose(desktop.monitors(), number), _why_not(options.verify)
        if options.verify == "on" and desktop is None:
            raise ConfigurationError(f"window:{number}: verify=on reads the screen with mss: pip install mss")
        screen = FullScreen(load_cv2(), monitor, None if why_not else desktop)
        layout = Layout.of(shape, screen.monitor.width_px, screen.monitor.height_px, options, str(screen.monitor))
        screen.show(layout.on_screen(np.zeros(shape, np.uint8)))
        parent.send(
            open=True, monitor=dataclasses.asdict(screen.monitor), pixels_per_point=layout.pixels_per_point,
            not_verified=why_not, cursor_hidden=screen.cursor_hidden,
        )  # fmt: skip
        _run(parent, screen, layout)


def _run(parent: Parent, screen: FullScreen, layout: Layout) -> None:
    while True:
        order = parent.receive(PUMP_S)
        if order is not None:
            levels = np.frombuffer(base64.b64decode(order["levels"]), np.uint8).reshape(layout.shape)
            try:
                screen.show(layout.on_screen(levels))
                parent.send(shown=order["number"])
            except DeviceLost:
                raise
            except DeviceError as error:  # what is in front of it may go away
                parent.send(**error_message(error))
        screen.pump()
        while screen.keys:
            parent.send(key=screen.keys.pop(0))
        screen.check()


def _why_not(verify: str) -> str:
    """Why the screen is not read back; nothing if it is."""
    if verify != "auto":
        return "verify=off" * (verify == "off")
    if os.environ.get("WAYLAND_DISPLAY"):
        return "Wayland lets no program read the screen; have its scale at 100 %, or it blurs the squares"
    return "macOS lets programs read the screen only after a permission" * (sys.platform == "darwin")


def main(number: str, rows: str, columns: str, options: str) -> NoReturn:
    """Serve the parent, and tell it what went wrong."""
    without_core_dump()  # Qt aborts where there is no desktop
    serve_parent(
        lambda parent: serve(parent, int(number), (int(rows), int(columns)), options),
        lambda error: DeviceError(f"window:{number}: {type(error).__name__}: {error}; open it anew"),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
