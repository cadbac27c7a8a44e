"""No mouse cursor over a window: OpenCV cannot ask for it, X11 can."""

import ctypes
import sys
from collections.abc import Iterator

_ID = ctypes.c_ulong
_HANDLER = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_DEEPEST = 4  # a window lies in the frame of its window manager, which lies in the root


def hide_cursor(title: str) -> bool:
    """Whether the cursor is hidden over the window of this title now; only X11 has a way."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        x11 = _library()
    except OSError:
        return False
    display = x11.XOpenDisplay(None)
    if not display:
        return False
    # Xlib ends the process on an error, and windows of others may vanish while they are looked at.
    ignore = _HANDLER(lambda _display, _event: 0)
    before = x11.XSetErrorHandler(ignore)
    try:
        root = x11.XDefaultRootWindow(display)
        found = next((one for one in _below(x11, display, root) if _title(x11, display, one) == title), None)
        if found is not None:
            bitmap = x11.XCreateBitmapFromData(display, root, b"\0", 1, 1)
            black = ctypes.create_string_buffer(16)  # an XColor of zeros
            cursor = x11.XCreatePixmapCursor(display, bitmap, bitmap, black, black, 0, 0)
            x11.XDefineCursor(display, found, cursor)
        x11.XSync(display, 0)
    finally:
        x11.XSetErrorHandler(before)
        x11.XCloseDisplay(display)  # the window keeps its cursor
    return found is not None


def _library() -> ctypes.CDLL:
    x11, pointer, number = ctypes.CDLL("libX11.so.6"), ctypes.c_void_p, ctypes.c_uint
    for name, result, *arguments in (
        ("XOpenDisplay", pointer, ctypes.c_char_p),
        ("XCloseDisplay", ctypes.c_int, pointer),
        ("XSetErrorHandler", pointer, pointer),
        ("XDefaultRootWindow", _ID, pointer),
        ("XQueryTree", ctypes.c_int, pointer, _ID, *[pointer] * 4),
        ("XFetchName", ctypes.c_int, pointer, _ID, pointer),
        ("XFree", ctypes.c_int, pointer),
        ("XCreateBitmapFromData", _ID, pointer, _ID, ctypes.c_char_p, number, number),
        ("XCreatePixmapCursor", _ID, pointer, _ID, _ID, pointer, pointer, number, number),
        ("XDefineCursor", ctypes.c_int, pointer, _ID, _ID),
        ("XSync", ctypes.c_int, pointer, ctypes.c_int),
    ):
        function = getattr(x11, name)
        function.restype, function.argtypes = result, arguments
    return x11


def _below(x11: ctypes.CDLL, display: int, window: int, depth: int = 0) -> Iterator[int]:
    root, parent, children, count = _ID(), _ID(), ctypes.POINTER(_ID)(), ctypes.c_uint()
    answers = [ctypes.byref(one) for one in (root, parent, children, count)]
    if depth > _DEEPEST or not x11.XQueryTree(display, window, *answers):
        return
    found = children[: count.value] if children else []
    if children:
        x11.XFree(children)
    for child in found:
        yield child
        yield from _below(x11, display, child, depth + 1)


def _title(x11: ctypes.CDLL, display: int, window: int) -> str:
    name = ctypes.c_char_p()
    if not x11.XFetchName(display, window, ctypes.byref(name)) or not name.value:
        return ""
    title = name.value.decode(errors="replace")
    x11.XFree(name)
    return title
