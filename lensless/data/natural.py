"""Photographs in colours, from packed copies in the folder `natural` of the data folder.

cifar10-jpeg    CIFAR-10 (Krizhevsky 2009) from JPEG copies, which are not its pictures bit by bit
bsds-SIDE       squares of BSDS500 (Arbelaez et al. 2011, doi 10.1109/TPAMI.2010.161), 32, 64 or 128 pixels wide
"""

import pathlib
import zipfile
import zlib

import numpy as np
import torch

from hardware.errors import InputError
from lensless.data.cifar import CLASSES
from lensless.data.official import split_off
from lensless.data.scene_set import Scenes, content_groups, fall_into

SIDES = (32, 64, 128)  # of a square of BSDS500, in pixels of its picture
_CIFAR = {"train": "cifar10_train_1000perclass.npz", "test": "cifar10_test_200perclass.npz"}
_BSDS = "bsds500_trainval_128.npz"


def cifar10_copies(root: pathlib.Path, split: str) -> Scenes:
    """JPEG copies of CIFAR-10, (N, 3, 32, 32), of one split; validation is a twelfth of the training part.

    Raises:
        InputError: missing, or not of this form.
    """
    part = "test" if split == "test" else "train"
    file = root / "natural" / _CIFAR[part]
    arrays = _read(file, {"images": (32, 32, 3), "labels": ()})
    labels = arrays["labels"].astype(np.int64)
    if labels.min() < 0 or labels.max() >= len(CLASSES):
        raise InputError(f"'{file}': labels from {labels.min()} to {labels.max()}, expected 0 to 9; take another copy")
    return split_off(_planes(arrays["images"]), torch.from_numpy(labels), CLASSES, "cifar10-jpeg", split)


def bsds_squares(root: pathlib.Path, side: int, split: str) -> Scenes:
    """Squares of BSDS500 as they stand in its pictures of 128 x 128, and in these at half and a quarter of the scale.

    They do not overlap. The content of a picture decides the split of all of its squares (80 : 10 : 10), by which they
    are grouped.

    Raises:
        InputError: missing, not of this form, or no picture in this split.
    """
    file = root / "natural" / _BSDS
    images = _read(file, {"images": (128, 128, 3)})["images"]
    pictures = _planes(images)
    groups = content_groups(list(images))
    chosen = torch.from_numpy(fall_into(groups, split))
    if not len(chosen):
        raise InputError(f"'{file}' has {len(images)} pictures and none of them for '{split}'; take another copy")
    some = pictures[chosen]
    squares, owners, whole = [], [], 128
    while whole >= side:
        shrunk = Scenes(some, torch.zeros(len(some), dtype=torch.int64), (), "", chosen).fit((3, whole, whole))
        tiles = shrunk.unfold(2, side, side).unfold(3, side, side)  # (n, 3, k, k, side, side)
        each = tiles.shape[2] ** 2
        squares.append(tiles.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3, side, side))
        owners.append(torch.from_numpy(groups)[chosen].repeat_interleave(each))
        whole //= 2
    tiles = torch.cat(squares)
    return Scenes(tiles, torch.full((len(tiles),), -1), (), f"bsds-{side}/{split}", torch.cat(owners))


def _planes(images: np.ndarray) -> torch.Tensor:
    """(N, rows, columns, 3) as (N, 3, rows, columns)."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def _read(file: pathlib.Path, expected: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Arrays of an .npz by name, whose rows have these shapes: of bytes, but for those of one number each."""
    if not file.is_file():
        raise InputError(
            f"'{file}' does not exist; put it there (arrays {', '.join(expected)}), or name the data folder that "
            "holds it with --data or OPTICS_FREE_DATA"
        )
    try:
        with file.open("rb") as content, np.load(content, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in expected}
        count = len(arrays["images"])
        for name, shape in expected.items():
            if arrays[name].dtype.kind not in ("ui" if not shape else "u") or arrays[name].shape != (count, *shape):
                raise ValueError(f"{name} is {arrays[name].dtype} {arrays[name].shape}, expected (N, *{shape})")
        if not count:
            raise ValueError("it holds no picture")
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"'{file}' holds no such pictures: {error}; take another copy") from error
    return arrays
