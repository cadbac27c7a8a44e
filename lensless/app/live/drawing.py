"""Frames and pictures as people see them: on a terminal in half blocks, and on a page of pixels."""

import functools
import textwrap

import numpy as np
from rich.color import Color
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.style import Style

STRETCH = (0.5, 99.5)  # percentiles of a raw frame that are drawn black and white
SHADES, PLAIN_SHADES = " ░▒▓█", " .:-=+*#%@"
TEXT_LINES, LETTER = 6, 9  # of a page of pixels; as wide as a letter is, in pixels
_LEVELS = 32  # of each colour on a terminal; neighbours cannot be told apart, and styles are made once


def levels_of_picture(picture: np.ndarray) -> np.ndarray:
    """(rows, columns, 3) uint8 of a picture (1 or 3, rows, columns) in [0, 1]."""
    return _three(np.rint(np.clip(np.moveaxis(picture, 0, 2), 0, 1) * 255))


def levels_of_frame(pixels: np.ndarray, most_rows: int, most_columns: int) -> np.ndarray:
    """(rows, columns, 3) uint8 of a raw frame, shrunk to fit and drawn from its darkest to its brightest pixels."""
    small = shrunk(pixels, most_rows, most_columns).astype(np.float32)
    low, high = np.percentile(small, STRETCH)
    return _three(np.clip((small - low) / max(high - low, 1e-9), 0, 1) * 255)


def _three(levels: np.ndarray) -> np.ndarray:
    """Red, green and blue, whichever number of channels there was."""
    if levels.ndim == 2:
        levels = levels[:, :, None]
    if levels.shape[2] != 3:
        levels = np.repeat(levels[:, :, :1], 3, 2)
    return levels.astype(np.uint8)


def shrunk(pixels: np.ndarray, most_rows: int, most_columns: int) -> np.ndarray:
    """Means of square blocks, as small as it takes to fit; what is small enough is left as it is."""
    rows, columns = pixels.shape[:2]
    side = max(-(-rows // most_rows), -(-columns // most_columns))
    if side == 1:
        return pixels
    rows, columns = max(1, rows // side), max(1, columns // side)
    whole = pixels[: rows * side, : columns * side]
    return whole.reshape(rows, -1, columns, whole.shape[1] // columns, *pixels.shape[2:]).mean((1, 3))


def fitted(levels: np.ndarray, most_rows: int, most_columns: int) -> np.ndarray:
    """Shrunk, or each pixel made a square as large as fits."""
    small = shrunk(levels, most_rows, most_columns)
    side = max(1, min(most_rows // small.shape[0], most_columns // small.shape[1]))
    return np.rint(small).astype(np.uint8).repeat(side, 0).repeat(side, 1)


class HalfBlocks:
    """A picture on a terminal: each character is two pixels, one above the other.

    Args:
        levels: (rows, columns, 3) uint8.
    """

    def __init__(self, levels: np.ndarray):
        self._levels = levels if levels.shape[0] % 2 == 0 else np.concatenate([levels, levels[-1:]])

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(self._levels.shape[1], self._levels.shape[1])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        pairs = self._levels.reshape(-1, 2, *self._levels.shape[1:])
        if console.color_system is None or console.no_color or options.ascii_only:
            yield from _shaded(pairs, PLAIN_SHADES if options.ascii_only else SHADES)
            return
        coarse = (pairs.astype(np.uint16) * (_LEVELS - 1) + 127) // 255
        for top, bottom in zip(coarse[:, 0].tolist(), coarse[:, 1].tolist(), strict=True):
            for above, below in zip(top, bottom, strict=True):
                yield Segment("▀", _style(*above, *below))
            yield Segment.line()


@functools.lru_cache(maxsize=2**14)
def _style(*levels: int) -> Style:
    red, green, blue, *below = (round(level * 255 / (_LEVELS - 1)) for level in levels)
    return Style(color=Color.from_rgb(red, green, blue), bgcolor=Color.from_rgb(*below))


def _shaded(pairs: np.ndarray, shades: str) -> RenderResult:
    """Where there are no colours: characters that are more or less full."""
    grey = pairs.mean((1, 3)) * ((len(shades) - 1) / 255)
    for row in np.rint(grey).astype(int).tolist():
        yield Segment("".join(shades[level] for level in row))
        yield Segment.line()


def page(panels: dict[str, np.ndarray | None], lines: list[str], side: int = 384) -> np.ndarray:
    """Pictures beside each other under their names, and lines of text below; (rows, columns, 3) uint8, of one size
    whatever there is to say.

    Args:
        panels: (rows, columns, 3) uint8 by name; None where there is nothing to show.
        side: of the square that each picture is fitted into.
    """
    from PIL import Image, ImageDraw, ImageFont

    margin, head, line = 16, 26, 24
    width = margin + len(panels) * (side + margin)
    sheet = Image.new("RGB", (width, head + side + 2 * margin + line * TEXT_LINES), (24, 24, 24))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(16)
    for at, (name, levels) in enumerate(panels.items()):
        left = margin + at * (side + margin)
        draw.text((left + side // 2, head - 6), name, (200, 200, 200), font, anchor="ms")
        draw.rectangle((left, head, left + side - 1, head + side - 1), (0, 0, 0))
        if levels is not None:
            tile = fitted(levels, side, side)
            rows, columns = tile.shape[:2]
            sheet.paste(Image.fromarray(tile), (left + (side - columns) // 2, head + (side - rows) // 2))
    wrapped = [part for text in lines for part in textwrap.wrap(text, width // LETTER)]
    for at, text in enumerate(wrapped[:TEXT_LINES]):
        draw.text((margin, head + side + margin + at * line), text, (235, 235, 235), font)
    return np.asarray(sheet)
