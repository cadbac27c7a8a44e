"""MNIST and EMNIST: their files, checked before torchvision reads them, and their splits."""

import pathlib
from dataclasses import replace

import torch
from torch import Tensor

from hardware.errors import InputError
from lensless.data import download as files
from lensless.data.scene_set import Scenes, stratified

EMNIST_SPLITS = ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")
VALIDATION_SHARE = 12  # one in twelve: 5,000 of MNIST's 60,000

_VALIDATION_SEED = 20_170_217  # fixed: a seed that moved it would let validation scenes into training
_TEST_GROUPS = 1 << 32  # first group of an official test part, beyond every group of a training part
_MOST_PICTURES = 1_000_000  # EMNIST has 814,255


def official_scenes(name: str, split: str, root: pathlib.Path, download: bool) -> Scenes:
    """MNIST or one split of EMNIST, its files checked before torchvision reads them."""
    variant = name.removeprefix("emnist-") if name != "mnist" else None
    raw = root / ("EMNIST" if variant else "MNIST") / "raw"
    part = "test" if split == "test" else "train"
    parts = {part: f"emnist-{variant}-{part}"} if variant else {"train": "train", "test": "t10k"}
    pairs = {key: (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte") for key, stem in parts.items()}
    if download:
        with files.fetching_alone(raw):
            if variant:
                files.fetch_emnist(raw, [file for pair in pairs.values() for file in pair])
            else:
                files.fetch_mnist(raw)
    for images, labels in pairs.values():  # torchvision wants both parts of MNIST, whichever it reads
        _check_pair(raw / images, raw / labels)
    if variant:
        for file in pairs[part]:
            files.check_lock(raw / file)
    pictures, labels, classes = _read(root, variant, part)
    if labels.min() < 0 or labels.max() >= len(classes):
        low, high = int(labels.min()), int(labels.max())
        raise InputError(
            f"data file '{raw / pairs[part][1]}': labels (counted from 0) run from {low} to {high}, "
            f"expected 0 to {len(classes) - 1}; fetch it again"
        )
    return split_off(pictures, labels, classes, name, split)


def split_off(pictures: Tensor, labels: Tensor, classes: tuple[str, ...], name: str, split: str) -> Scenes:
    """One split of an official training or test part: of the first, a fixed twelfth is for validation.

    Args:
        pictures: (N, C, h, w) uint8 of the official part that holds the split, with their `labels` (N,).
        name: of the set.
    """
    part = "test" if split == "test" else "train"
    groups = torch.arange(len(labels)) + (_TEST_GROUPS if part == "test" else 0)  # writers are in neither set
    scenes = Scenes(pictures, labels, classes, f"{name}/{split}", groups)
    if part == "test":
        return scenes
    validation = torch.zeros(len(labels), dtype=torch.bool)
    validation[stratified(labels, len(labels) // VALIDATION_SHARE, (_VALIDATION_SEED,))] = True
    chosen = validation if split == "val" else ~validation
    return replace(scenes.subset(chosen.nonzero()[:, 0]), name=scenes.name)


def _check_pair(images: pathlib.Path, labels: pathlib.Path) -> None:
    names = "/".join(images.parts[-3:])
    remedy = f"fetch it (lensless simulate ... --download does), or set OPTICS_FREE_DATA to a folder with {names}"
    pictures, names = files.idx_shape(images, 3, remedy), files.idx_shape(labels, 1, remedy)
    if pictures[0] != names[0]:
        raise InputError(
            f"data file '{labels}' has {names[0]} labels, expected {pictures[0]}, one for each picture in "
            f"'{images.name}'; {remedy}"
        )
    if pictures[0] > _MOST_PICTURES or pictures[1:] != (28, 28):
        raise InputError(
            f"data file '{images}' says {pictures[0]} pictures of {pictures[1]} x {pictures[2]}, expected "
            f"28 x 28 and at most {_MOST_PICTURES}; {remedy}"
        )
    for old in sorted((images.parent.parent / "processed").glob("*.pt")):
        raise InputError(
            f"'{old}' was left by an old torchvision, which would read it in place of '{images.name}'; delete it"
        )


def _read(root: pathlib.Path, variant: str | None, part: str) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    from torchvision import datasets  # 2 s

    if variant is None:
        mnist = datasets.MNIST(root, train=part == "train")
        return mnist.data.unsqueeze(1), mnist.targets, tuple("0123456789")
    emnist = datasets.EMNIST(root, variant, train=part == "train")
    pictures = emnist.data.transpose(1, 2).unsqueeze(1).contiguous()  # stored column by column
    if variant == "letters":  # counts from 1; its class 0 is a place-holder
        return pictures, emnist.targets - 1, tuple(emnist.classes[1:])
    return pictures, emnist.targets, tuple(emnist.classes)
