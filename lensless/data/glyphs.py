"""Printed characters in random handwriting-like pose: scenes that need no download.

The 47 classes of EMNIST-balanced, drawn from the fonts that ship with matplotlib. A font takes the part of the writer:
training, validation and test share no typeface, not even its bold or slanted cut. Each character is rendered once per
font, as the signed distance to its outline; from that, any pose, warp and stroke width is one look-up and one ramp,
with clean edges. Glyph i depends on (seed, split, i) only, not on how many are drawn. Results on glyphs are not results
on EMNIST: shapes here vary less than hands do.
"""

import functools
import importlib.util
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hardware.errors import InputError
from lensless.data.augment import RANDOMS_PER_PICTURE, Augmentation, sampling_grid

CLASSES = tuple("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt")

# Looked at one by one: these draw all 47 characters as text. Left out: cmmi10 (old-style figures), cmsy10 and cmex10
# (symbols in place of letters), LastResortHE (boxes), and those without letters.
FONTS = {
    "train": (
        *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"),
        *("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique"),
        *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
        *("cmr10", "cmb10", "cmti10"),
    ),
    "val": ("cmss10", "cmtt10"),
    "test": ("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
}
COUNTS = {"train": 20_000, "val": 2_000, "test": 2_000}

SIDE_PX = 28
_GLYPH_PX = 20  # longest side of a glyph before its pose, in a picture of SIDE_PX
_RENDER = 4  # render at four times the size; the distances are kept at half of that
_POSE = Augmentation(shift_px=1.5, turn_deg=10.0, scale=0.15, shear=0.25, warp_px=0.9)
_LARGER = 0.05  # added to the logarithm of the size: glyphs span 18 to 24 pixels, then their strokes grow
_STROKE_PX = (-0.15, 0.75)  # added on each side of the stroke: pens are wider than hairlines
_SOFTNESS_PX = (1.0, 2.0)  # width of the edge, from crisp to EMNIST's blur
_RANDOMS = 3 + RANDOMS_PER_PICTURE  # font, stroke, softness, then the pose
_STREAM = 0x617  # keeps this stream apart from others of the same seed
_BATCH = 500


def draw(split: str, seed: int, count: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Glyphs as pictures, labels and fonts.

    Args:
        split: train, val or test: which fonts.
        count: default `COUNTS[split]`; classes take turns, so that any count is balanced.

    Returns:
        (N, 1, 28, 28) uint8, white on black; (N,) int64 into `CLASSES`; (N,) int64, a number of the font that no other
        split uses.

    Raises:
        InputError: a font is missing from the installed matplotlib.
    """
    count = COUNTS[split] if count is None else count
    splits = list(FONTS)
    templates = _templates(FONTS[split])  # fonts classes T T
    generator = np.random.default_rng((seed, splits.index(split), _STREAM))
    randoms = torch.from_numpy(generator.random((count, _RANDOMS), dtype=np.float32))
    labels = torch.arange(count) % len(CLASSES)
    fonts = (randoms[:, 0] * len(templates)).long()
    pictures = torch.empty(count, 1, SIDE_PX, SIDE_PX, dtype=torch.uint8)
    for start in range(0, count, _BATCH):
        batch = slice(start, start + _BATCH)
        pictures[batch] = _posed(templates[fonts[batch], labels[batch]].unsqueeze(1), randoms[batch, 1:])
    first = sum(len(FONTS[earlier]) for earlier in splits[: splits.index(split)])
    return pictures, labels, fonts + first


def _posed(distances_px: Tensor, randoms: Tensor) -> Tensor:
    """Signed distances (B, 1, T, T) and uniform numbers (B, _RANDOMS - 1) to uint8 pictures (B, 1, 28, 28)."""
    stroke_px, softness_px = (
        low + (high - low) * randoms[:, column, None, None, None]
        for column, (low, high) in enumerate((_STROKE_PX, _SOFTNESS_PX))
    )
    signed = randoms[:, 2:] * 2 - 1
    log_scale = _LARGER + signed[:, 3] * _POSE.scale
    grid = sampling_grid(
        (SIDE_PX, SIDE_PX),
        shift_px=signed[:, :2] * _POSE.shift_px,
        turn_rad=signed[:, 2] * math.radians(_POSE.turn_deg),
        log_scale=log_scale,
        shear=signed[:, 4] * _POSE.shear,
        warp_px=signed[:, 5:] * _POSE.warp_px,
    )
    distances_px = F.grid_sample(distances_px, grid, padding_mode="border", align_corners=False)
    distances_px *= log_scale.exp()[:, None, None, None]
    light = ((distances_px + stroke_px) / softness_px + 0.5).clamp(0, 1)
    light /= light.amax((-2, -1), keepdim=True)  # EMNIST stretches every picture to full white
    return light.mul(255).round().to(torch.uint8)


@functools.cache
def _templates(fonts: tuple[str, ...]) -> Tensor:
    """(fonts, classes, T, T) float32: distance to the outline in pixels of the final picture, positive inside."""
    from scipy.ndimage import distance_transform_edt

    side = SIDE_PX * _RENDER
    fields = np.empty((len(fonts) * len(CLASSES), side, side), np.float32)
    for field, mask in zip(fields, _masks(fonts, side), strict=True):
        # 0.5: the outline runs between the last pixel inside and the first outside.
        field[:] = np.where(mask, distance_transform_edt(mask) - 0.5, 0.5 - distance_transform_edt(~mask))
    pooled = F.avg_pool2d(torch.from_numpy(fields), 2) / _RENDER
    return pooled.view(len(fonts), len(CLASSES), side // 2, side // 2)


def _masks(fonts: tuple[str, ...], side: int):
    """Each character of each font as a boolean (side, side), its box in the centre, its longest side at full size."""
    from PIL import Image, ImageDraw, ImageFont

    for font in fonts:
        path = _font_folder() / f"{font}.ttf"
        if not path.is_file():
            raise InputError(
                f"font '{path}' is missing, expected among the fonts of matplotlib; install matplotlib from its wheel"
            )
        at_100 = ImageFont.truetype(path, 100, layout_engine=ImageFont.Layout.BASIC)
        for character in CLASSES:
            left, top, right, bottom = at_100.getbbox(character)
            size = 100 * _GLYPH_PX * _RENDER / max(right - left, bottom - top)
            drawn = at_100.font_variant(size=size)
            left, top, right, bottom = drawn.getbbox(character)
            canvas = Image.new("L", (side, side))
            corner = ((side - left - right) / 2, (side - top - bottom) / 2)
            ImageDraw.Draw(canvas).text(corner, character, font=drawn, fill=255)
            yield np.asarray(canvas) > 127


def _font_folder() -> pathlib.Path:
    """Found without importing matplotlib, which takes longer than rendering a font."""
    return pathlib.Path(importlib.util.find_spec("matplotlib").origin).parent / "mpl-data" / "fonts" / "ttf"
