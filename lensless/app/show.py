"""`lensless show`: which monitors there are, and test patterns on one, to place it before the sensor."""

import dataclasses
import re
import time
from collections.abc import Callable

import numpy as np

from hardware.errors import ConfigurationError
from hardware.window import Window, open_window
from hardware.window.monitors import Desktop
from lensless.app.screen import Screen

SCHEME = "window:"
MOST_POINTS = 4096  # along a side
_LOOK_S = 0.05
# Upside down, on its side and in a mirror it looks like nothing else.
_FOUR = ("...#.", "..##.", ".#.#.", "#..#.", "#####", "...#.", "...#.")


def monitors(screen: Screen) -> dict:
    """Show which monitors there are, and their addresses."""
    with Desktop() as desktop:
        found = desktop.monitors()
    rows = [
        [f"{SCHEME}{one.number}", f"{one.width_px} x {one.height_px}", f"{one.left_px}, {one.top_px}", one.name]
        for one in found
    ]
    screen.table("Monitors", ["address", "pixels", "corner in the desktop", "name"], rows)
    screen.say(f"Find out which is which with: lensless show {SCHEME}{found[-1].number} --seconds 3")
    return {"monitors": [dataclasses.asdict(one) | {"address": f"{SCHEME}{one.number}"} for one in found]}


def show(place: str, pattern: str, shape: tuple[int, int], seconds: float | None, screen: Screen) -> dict:
    """Show a pattern on a monitor until a key is pressed in it, Ctrl-C here, or the time is over.

    Args:
        place: address, e.g. "window:1?pixels_per_point=20".
        pattern: one of `PATTERNS`, or grey:LEVEL.
        shape: (rows, columns) of the scene.
        seconds: None for as long as it takes.

    Raises:
        ConfigurationError, DeviceError: as `Window` does, or a pattern or an address that means nothing.
    """
    if not place.startswith(SCHEME):
        raise ConfigurationError(
            f"display address {place!r:.100}; expected {SCHEME}NUMBER, e.g. {SCHEME}0; `lensless show` lists them"
        )
    picture = picture_of(pattern, shape)
    with open_window(place.removeprefix(SCHEME), shape) as window:
        window.show(picture)
        screen.say(f"{window.monitor}: {_what(window)}")
        screen.say("A key in the window or Ctrl-C here ends it" + ("." if seconds is None else f", or {seconds:g} s."))
        ended_by = _wait(window, seconds)
    side = window.pixels_per_point
    return {
        "monitor": dataclasses.asdict(window.monitor), "shape": shape, "pixels_per_point": side, "pattern": pattern,
        "verified": not window.not_verified, "not_verified": window.not_verified, "ended_by": ended_by,
    }  # fmt: skip


def _what(window: Window) -> str:
    rows, columns = window.shape
    side = window.pixels_per_point
    seen = f"not read back: {window.not_verified}" if window.not_verified else "read back, every pixel is right"
    cursor = "" if window.cursor_hidden else "; move the mouse cursor out of it"
    return f"{rows} x {columns} points of {side} x {side} pixels; {seen}{cursor}."


def _wait(window: Window, seconds: float | None) -> str:
    end_s = None if seconds is None else time.monotonic() + seconds
    try:
        while window.key() is None:
            if end_s is not None and time.monotonic() > end_s:
                return "time"
            time.sleep(_LOOK_S)
    except KeyboardInterrupt:  # Esc in the window, too: this is how it is meant to end
        return "interrupt"
    return "key"


def _frame(shape: tuple[int, int]) -> np.ndarray:
    """The outermost points, and a block in the upper left corner of the scene that is wider than it is high."""
    picture = np.ones(shape, np.float32)
    picture[1:-1, 1:-1] = 0
    side = max(1, min(shape) // 6)
    picture[: 1 + side, : 1 + 2 * side] = 1
    return picture


def _digit(shape: tuple[int, int]) -> np.ndarray:
    small = np.array([[character == "#" for character in line] for line in _FOUR], np.float32)
    scale = min(shape[0] // len(_FOUR), shape[1] // len(_FOUR[0]))
    if scale < 1:
        raise ConfigurationError(f"--pattern digit needs 7 x 5 points; got {shape[0]} x {shape[1]}: take frame")
    large = small.repeat(scale, 0).repeat(scale, 1)
    picture = np.zeros(shape, np.float32)
    top, left = (shape[0] - large.shape[0]) // 2, (shape[1] - large.shape[1]) // 2
    picture[top : top + large.shape[0], left : left + large.shape[1]] = large
    return picture


PATTERNS: dict[str, Callable[[tuple[int, int]], np.ndarray]] = {
    "white": lambda shape: np.ones(shape, np.float32),
    "black": lambda shape: np.zeros(shape, np.float32),
    "checker": lambda shape: (np.indices(shape).sum(0) % 2).astype(np.float32),
    "digit": _digit,
    "ramp": lambda shape: np.tile(np.linspace(0, 1, shape[1], dtype=np.float32), (shape[0], 1)),
    "frame": _frame,
}


def picture_of(pattern: str, shape: tuple[int, int]) -> np.ndarray:
    """A pattern as a picture (rows, columns) in [0, 1].

    Raises:
        ConfigurationError: no such pattern.
    """
    name, _, level = pattern.partition(":")
    if name == "grey" and re.fullmatch(r"\d?\.?\d{1,6}", level, re.ASCII) and float(level) <= 1:
        return np.full(shape, float(level), np.float32)
    if pattern not in PATTERNS:
        raise ConfigurationError(
            f"--pattern {pattern!r:.50}; expected one of {', '.join(PATTERNS)}, or grey:LEVEL, 0 to 1, e.g. grey:0.5"
        )
    return PATTERNS[pattern](shape)


def shape_of(text: str) -> tuple[int, int]:
    """(rows, columns) of a text such as "32x32".

    Raises:
        ConfigurationError: it is none.
    """
    found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", text, re.ASCII)
    if not found or not all(1 <= int(side) <= MOST_POINTS for side in found.groups()):
        raise ConfigurationError(f"--shape {text!r:.50}; expected ROWSxCOLUMNS, 1 to {MOST_POINTS} each, e.g. 32x32")
    return int(found[1]), int(found[2])
