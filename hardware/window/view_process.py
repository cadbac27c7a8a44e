"""What runs in the child process of a `View`: python -m hardware.window.view_process TITLE"""

import base64
import contextlib
import sys
import zlib
from types import ModuleType
from typing import NoReturn

import numpy as np

from hardware.child import Parent, error_message, leave
from hardware.errors import DeviceError, LenslessError
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
    with contextlib.suppress(ImportError):  # Windows
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # Qt aborts where there is no desktop
    parent = Parent(on_end=leave)
    try:
        serve(parent, title)
    except EOFError:
        leave()
    except LenslessError as error:
        parent.send(**error_message(error))
    except Exception as error:  # a toolkit may raise anything; the parent tells of it
        parent.send(**error_message(DeviceError(f"window {title!r}: {type(error).__name__}: {error}; open it anew")))
    leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
