"""A folder of the user's own pictures as scenes, split by what they show."""

import mmap
import os
import pathlib
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hardware.errors import InputError
from lensless.data.scene_set import Scenes, content_groups, fall_into

_PICTURE_LIMIT_PX = 64_000_000
_MOST_SCANS = 200  # a progressive JPEG has about 10; each costs time for all pixels, and only a few bytes
_PICTURE_SIDE_PX = 128
_PICTURE_KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP"}


def folder_scenes(path: str | os.PathLike, split: str) -> Scenes:
    """The user's own pictures as squares of at most 128 x 128, in colours if any of them has some; a subfolder is a
    class, pictures beside it have none.

    The content of a picture decides its split (80 : 10 : 10), so that it never moves when others are added, and copies
    stay together. Smaller pictures are not enlarged: they get black around them, up to the largest one.

    Raises:
        InputError: no such folder, no picture in this split, a file that is no picture, is too large, or lies outside.
    """
    root = pathlib.Path(path).expanduser()
    listed = _listed(root)
    thumbnails = [_thumbnail(file) for file, _ in listed]
    groups = content_groups(thumbnails)
    chosen = fall_into(groups, split)
    if not len(chosen):
        raise InputError(
            f"folder '{root}' has {len(listed)} pictures and none of them falls into '{split}'; "
            "expected about 80 of 100 in train and 10 each in val and test: add pictures"
        )
    side = max(picture.shape[0] for picture in thumbnails)
    classes = tuple(sorted({label for _, label in listed} - {""}))
    labels = torch.tensor([classes.index(listed[at][1]) if listed[at][1] else -1 for at in chosen])
    channels = 3 if any(picture.ndim == 3 for picture in thumbnails) else 1
    pictures = torch.stack([_centred(thumbnails[at], side, channels) for at in chosen])
    return Scenes(pictures, labels, classes, f"folder:{root.resolve().name}/{split}", torch.from_numpy(groups[chosen]))


def _listed(root: pathlib.Path) -> list[tuple[pathlib.Path, str]]:
    """Every picture file with the name of its subfolder ("" if none), sorted; hidden files are passed over."""
    if not os.path.isdir(root):  # false for what can be no name, too
        raise InputError(f"'{root}' is no folder; expected a folder with pictures (folder:PATH)")
    listed = []
    for entry in _visible(root, root):
        inside = [(file, entry.name) for file in _visible(entry, root)] if entry.is_dir() else [(entry, "")]
        listed += inside
    for file, _ in listed:
        if not file.is_file():
            raise InputError(f"'{file}' is no file; expected pictures in '{root}' and in its subfolders, no deeper")
        if file.suffix.lower() not in _PICTURE_KINDS:
            kinds = ", ".join(_PICTURE_KINDS)
            raise InputError(f"'{file}' is no picture by its name; expected {kinds}: convert it, or move it elsewhere")
    if not listed:
        raise InputError(f"folder '{root}' holds no picture; expected at least one")
    return listed


def _visible(folder: pathlib.Path, root: pathlib.Path) -> list[pathlib.Path]:
    try:
        entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(f"folder '{folder}' cannot be read ({error.strerror}); expected a folder of yours") from error
    for entry in entries:
        try:
            target = entry.resolve()
        except (OSError, RuntimeError) as error:  # before Python 3.13, a link to itself
            raise InputError(f"'{entry}' leads nowhere ({error}); remove it") from error
        if not target.is_relative_to(root.resolve()):
            raise InputError(f"'{entry}' is a link to '{target}', outside of '{root}'; copy the file into the folder")
    return entries


def _thumbnail(path: pathlib.Path) -> np.ndarray:
    """The central square of a picture, (s, s) uint8 with s at most 128, or (s, s, 3); transparent becomes black."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if path.suffix.lower() in (".jpg", ".jpeg") and _scans(path) > _MOST_SCANS:
                raise ValueError(f"more than {_MOST_SCANS} scans")
            with Image.open(path, formats=(_PICTURE_KINDS[path.suffix.lower()],)) as image:
                width, height = image.size  # from the header: nothing is decoded yet
                if width * height <= _PICTURE_LIMIT_PX:
                    return _square(image)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        width = height = None
    except Exception as error:  # decoders raise nearly anything on damaged files; whatever it is, this file is at fault
        raise InputError(f"'{path}' is no readable picture ({error}); replace it, or move it elsewhere") from error
    size = f"{width} x {height}" if width else "far too many"
    raise InputError(f"'{path}' has {size} pixels, expected at most {_PICTURE_LIMIT_PX:,}; shrink it")


def _scans(path: pathlib.Path) -> int:
    """How often a JPEG begins a scan, or a few more."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at, count = -1, 0
        while count <= _MOST_SCANS and (at := content.find(b"\xff\xda", at + 1)) >= 0:
            count += 1
    return count


def _square(image) -> np.ndarray:
    from PIL import Image, ImageOps

    if image.mode.startswith("I;16"):  # Pillow clips these to white instead of scaling them
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of type {image.mode}, expected 8 or 16 bits without sign")
    ImageOps.exif_transpose(image, in_place=True)
    # RGBa is RGB times its alpha: the picture before black
    image = image.convert("RGBA").convert("RGBa") if image.has_transparency_data else image.convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    small = min(side, _PICTURE_SIDE_PX)
    square = image.resize((small, small), Image.Resampling.BOX, (left, top, left + side, top + side))
    colours = np.asarray(square)[..., :3]
    is_grey = (colours == colours[..., :1]).all()
    return colours[..., 0] if is_grey else colours


def _centred(picture: np.ndarray, side: int, channels: int) -> Tensor:
    """(channels, side, side), with black around it."""
    before = (side - len(picture)) // 2
    after = side - len(picture) - before
    planes = torch.tensor(np.atleast_3d(picture)).movedim(-1, 0)
    return F.pad(planes, (before, after, before, after)).expand(channels, -1, -1)
