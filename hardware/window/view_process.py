"""What runs in the child process of a `View`: python -m hardware.window.view_process TITLE"""

import base64
import sys
import zlib
from types import ModuleType
from typing import NoReturn

import numpy as np

from hardware.child import Parent, serve_parent, without_core_dump
from hardware.errors import DeviceError
from hardware.window.full_screen import PUMP_S, is_visible, load_cv2, make_window
from hardware.window.monitors import Desktop

ENDS = (ord("q"), ord("Q"), 27)  # 27: Esc


def serve(parent: Parent, title: str) -> None:
    """Make the window, and show what the parent sends until one of the two has enough."""
    with Desktop():  # Qt would abort where none can be reached
        pass
    cv2 = load_cv2()
    make_window(cv2, title, cv2.WINDOW_KEEPRATIO)
    parent.send(open=True)
    shape = None
    while True:
        order = parent.receive(PUMP_S)
        if order is not None:
            levels = zlib.decompress(base64.b64decode(order["packed"]))
            picture = np.frombuffer(levels, np.uint8).reshape(*order["shape"], 3)
            if shape != picture.shape:
                shape = picture.shape
                cv2.resizeWindow(title, shape[1], shape[0])
            cv2.imshow(title, picture[:, :, ::-1])
        key = _pump(cv2)
        if key in ENDS or (shape is not None and not is_visible(cv2, title)):
            parent.send(closed=True)
            return
        if order is not None:
            parent.send(shown=True)


def _pump(cv2: ModuleType) -> int:
    """Let the window live; the key that was pressed in it, or -1."""
    key = cv2.pollKey()
    return key & 0xFF if key >= 0 else -1


def main(title: str) -> NoReturn:
    """Serve the parent, and tell it what went wrong."""
    without_core_dump()  # Qt aborts where there is no desktop
    serve_parent(
        lambda parent: serve(parent, title),
        lambda error: DeviceError(f"window {title!r}: {type(error).__name__}: {error}; open it anew"),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
