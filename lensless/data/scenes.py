"""Scenes: pictures with labels, split once and for all into training, validation and test.

    mnist                   MNIST, read from the data folder
    emnist-SPLIT            EMNIST: byclass, bymerge, balanced, letters, digits, mnist
    glyphs                  printed characters in random pose; nothing to download
    folder:PATH             pictures of the user's own

Of MNIST and EMNIST, validation is a fixed twelfth of the official training part and the test part stays whole; no seed
moves a picture from one split to another.
"""

import difflib
import hashlib
import mmap
import os
import pathlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hardware.errors import ConfigurationError, InputError
from lensless.data import download as files
from lensless.data import glyphs

SPLITS = ("train", "val", "test")
EMNIST_SPLITS = ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")
NAMES = ("mnist", *(f"emnist-{split}" for split in EMNIST_SPLITS), "glyphs", "folder:PATH")

_VALIDATION_SHARE = 12  # one in twelve: 5,000 of MNIST's 60,000
_VALIDATION_SEED = 20_170_217  # fixed: a seed that moved it would let validation scenes into training
_TEST_GROUPS = 1 << 32  # first group of an official test part, beyond every group of a training part
_COUNT_STREAM = 0xC0
_MOST_PICTURES = 1_000_000  # EMNIST has 814,255
_PICTURE_LIMIT_PX = 64_000_000
_MOST_SCANS = 200  # a progressive JPEG has about 10; each costs time for all pixels, and only a few bytes
_PICTURE_SIDE_PX = 64
_PICTURE_KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP"}


@dataclass(frozen=True, eq=False)
class Scenes:
    """Pictures of one split, as the display would show them (its response is not undone here).

    `pictures` (N, C, h, w) uint8; `labels` (N,) int64 into `classes`, -1 unknown; `groups` (N,) int64: writer, font or
    file where known, else a number of the picture: scenes of one group never lie in two splits.
    """

    pictures: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str
    groups: Tensor

    def __post_init__(self):
        if self.pictures.dtype != torch.uint8 or self.pictures.ndim != 4:
            got = f"{self.pictures.dtype} {tuple(self.pictures.shape)}"
            raise ValueError(f"scenes '{self.name}': pictures are {got}, expected uint8 (N, C, h, w)")
        for what in ("labels", "groups"):
            tensor = getattr(self, what)
            if tensor.dtype != torch.int64 or tensor.shape != (len(self),):
                got = f"{tensor.dtype} {tuple(tensor.shape)}"
                raise ValueError(f"scenes '{self.name}': {what} are {got}, expected int64 ({len(self)},)")

    def __len__(self) -> int:
        return len(self.pictures)

    def fit(self, shape: tuple[int, int]) -> Tensor:
        """The pictures (N, C, *shape) uint8: shrunk by area if too large, never enlarged, with black around them."""
        height, width = self.pictures.shape[-2:]
        shrink = max(1.0, height / shape[0], width / shape[1])
        pictures = self.pictures
        if shrink > 1:
            inner = (max(1, round(height / shrink)), max(1, round(width / shrink)))
            pictures = _area_resampled(pictures, inner)
        down, right = shape[0] - pictures.shape[-2], shape[1] - pictures.shape[-1]
        return F.pad(pictures, (right // 2, right - right // 2, down // 2, down - down // 2))

    def names(self, labels: Tensor) -> list[str]:
        """The class names of labels (n,); "?" where a label is unknown."""
        return [self.classes[label] if label >= 0 else "?" for label in labels.tolist()]

    def spread(self, most: int) -> "Scenes":
        """At most so many of the scenes, evenly spread: a folder lists its pictures class by class."""
        if len(self) <= most:
            return self
        return self.subset([at * len(self) // most for at in range(most)])

    def subset(self, indices: Tensor | Sequence[int]) -> "Scenes":
        """The scenes at these positions, in this order."""
        at = torch.as_tensor(indices, dtype=torch.int64)
        name = f"{self.name}[{len(at)}]"
        return replace(self, pictures=self.pictures[at], labels=self.labels[at], groups=self.groups[at], name=name)

    def fingerprint(self) -> str:
        """16 hexadecimal digits of the SHA-256 of shape, pictures, labels and classes: what a report should state."""
        digest = hashlib.sha256(repr((tuple(self.pictures.shape), self.classes)).encode())
        for tensor in (self.pictures, self.labels):
            digest.update(tensor.contiguous().cpu().numpy().data)
        return digest.hexdigest()[:16]


def load_scenes(
    name: str,
    split: str,
    seed: int = 0,
    count: int | None = None,
    data_root: str | os.PathLike | None = None,
    download: bool = False,
) -> Scenes:
    """Scenes by name.

    Args:
        name: one of `NAMES`.
        split: train, val or test.
        seed: of the glyphs' poses, and of which `count` scenes are picked; never of the splits.
        count: how many; default all (glyphs: 20,000 / 2,000 / 2,000). Picked in equal shares from every class.
        data_root: where MNIST and EMNIST lie; default see `lensless.data.download.data_folder`.
        download: fetch MNIST or EMNIST if missing. Needs a network.

    Raises:
        ConfigurationError: an unknown name or split, or more scenes than there are.
        InputError: data that is missing, damaged, or no picture.
    """
    _known(split, SPLITS, "a split of scenes")
    kind, _, rest = name.partition(":")
    if count is not None and count < 1:
        raise ConfigurationError(f"scenes '{name}': got count {count}, expected at least 1")
    if seed < 0:
        raise ConfigurationError(f"scenes '{name}': got seed {seed}, expected 0 or more")
    if kind == "folder" and rest:
        scenes = folder_scenes(rest, split)
    elif name == "glyphs":
        pictures, labels, fonts = glyphs.draw(split, seed, count)
        return Scenes(pictures, labels, glyphs.CLASSES, _named(f"glyphs/{split}", count, seed), fonts)
    else:
        _known(name, NAMES[:-2], "a set of scenes", also=NAMES[-2:])
        scenes = _official(name, split, files.data_folder(data_root), download)
    if count is None:
        return scenes
    if count > len(scenes):
        raise ConfigurationError(f"scenes '{scenes.name}': asked for {count}, there are {len(scenes)}")
    picked = scenes.subset(_stratified(scenes.labels, count, (seed, _COUNT_STREAM)))
    return replace(picked, name=_named(scenes.name, count, seed))


def _named(name: str, count: int | None, seed: int) -> str:
    return name + (f":{count}" if count else "") + (f"@{seed}" if seed else "")


def _known(value: str, known: Sequence[str], what: str, also: Sequence[str] = ()) -> None:
    if value not in known:
        everything = [*known, *also]
        nearest = difflib.get_close_matches(value, everything, n=1, cutoff=0.0)[0]
        raise ConfigurationError(
            f"'{value}' is not {what}; the nearest is '{nearest}' (there are: {', '.join(everything)})"
        )


def _stratified(labels: Tensor, count: int, seeds: tuple[int, ...]) -> Tensor:
    """Sorted positions of `count` scenes drawn at random, the same share from every class to within one scene."""
    shuffled = np.random.default_rng(seeds).permutation(len(labels))
    _, classes, sizes = np.unique(labels.numpy()[shuffled], return_inverse=True, return_counts=True)
    by_class = np.argsort(classes, kind="stable")
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = np.empty(len(labels))
    place[by_class] = (np.arange(len(labels)) - starts + 0.5) / np.repeat(sizes, sizes)  # in (0, 1) within its class
    return torch.from_numpy(np.sort(shuffled[np.argsort(place, kind="stable")[:count]]))


def _area_resampled(pictures: Tensor, shape: tuple[int, int]) -> Tensor:
    """Exact area averages, so that no light is lost; in blocks, so that floats of a whole data set never exist."""
    rows, columns = (_overlaps(old, new) for old, new in zip(pictures.shape[-2:], shape, strict=True))
    blocks = [(rows @ block.float() @ columns.T).round().to(torch.uint8) for block in pictures.split(4096)]
    return torch.cat(blocks)


def _overlaps(old: int, new: int) -> Tensor:
    """(new, old): the share that each old pixel has in each new one; rows sum to 1."""
    edges = torch.arange(new + 1, dtype=torch.float64) * old / new
    pixels = torch.arange(old, dtype=torch.float64)
    low, high = edges[:-1, None].maximum(pixels), edges[1:, None].minimum(pixels + 1)
    return ((high - low).clamp(min=0) * new / old).float()


def _official(name: str, split: str, root: pathlib.Path, download: bool) -> Scenes:
    """MNIST or one split of EMNIST, its files checked before torchvision reads them."""
    variant = name.removeprefix("emnist-") if name != "mnist" else None
    raw = root / ("EMNIST" if variant else "MNIST") / "raw"
    part = "test" if split == "test" else "train"
    parts = {part: f"emnist-{variant}-{part}"} if variant else {"train": "train", "test": "t10k"}
    pairs = {key: (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte") for key, stem in parts.items()}
    if download and variant:
        files.fetch_emnist(raw, [file for pair in pairs.values() for file in pair])
    elif download:
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
    groups = torch.arange(len(labels)) + (_TEST_GROUPS if part == "test" else 0)  # writers are in neither set
    scenes = Scenes(pictures, labels, classes, f"{name}/{split}", groups)
    if part == "test":
        return scenes
    validation = torch.zeros(len(labels), dtype=torch.bool)
    validation[_stratified(labels, len(labels) // _VALIDATION_SHARE, (_VALIDATION_SEED,))] = True
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


def folder_scenes(path: str | os.PathLike, split: str) -> Scenes:
    """The user's own pictures as grey squares of at most 64 x 64; a subfolder is a class, pictures beside it have none.

    The content of a picture decides its split (80 : 10 : 10), so that it never moves when others are added, and copies
    stay together. Smaller pictures are not enlarged: they get black around them, up to the largest one.

    Raises:
        InputError: no such folder, no picture in this split, a file that is no picture, is too large, or lies outside.
    """
    root = pathlib.Path(path).expanduser()
    listed = _listed(root)
    thumbnails = [_thumbnail(file) for file, _ in listed]
    digests = [hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).digest() for picture in thumbnails]
    groups = np.array([int.from_bytes(digest[:8], "big") >> 1 for digest in digests])
    chosen = np.flatnonzero(np.searchsorted((0.8, 0.9), groups / 2**63, side="right") == SPLITS.index(split))
    if not len(chosen):
        raise InputError(
            f"folder '{root}' has {len(listed)} pictures and none of them falls into '{split}'; "
            "expected about 80 of 100 in train and 10 each in val and test: add pictures"
        )
    side = max(picture.shape[0] for picture in thumbnails)
    classes = tuple(sorted({label for _, label in listed} - {""}))
    labels = torch.tensor([classes.index(listed[at][1]) if listed[at][1] else -1 for at in chosen])
    pictures = torch.stack([_centred(thumbnails[at], side) for at in chosen]).unsqueeze(1)
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
    """The central square of a picture in grey, (s, s) uint8 with s at most 64; transparent becomes black."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if path.suffix.lower() in (".jpg", ".jpeg") and _scans(path) > _MOST_SCANS:
                raise ValueError(f"more than {_MOST_SCANS} scans")
            with Image.open(path, formats=(_PICTURE_KINDS[path.suffix.lower()],)) as image:
                width, height = image.size  # from the header: nothing is decoded yet
                if width * height <= _PICTURE_LIMIT_PX:
                    return _grey_square(image)
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


def _grey_square(image) -> np.ndarray:
    from PIL import Image, ImageChops, ImageOps

    if image.mode.startswith("I;16"):  # Pillow clips these to white instead of scaling them
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of type {image.mode}, expected 8 or 16 bits without sign")
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = ImageChops.multiply(*image.convert("RGBA").convert("LA").split())
    image = image.convert("L")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    small = min(side, _PICTURE_SIDE_PX)
    return np.asarray(image.resize((small, small), Image.Resampling.BOX, (left, top, left + side, top + side)))


def _centred(picture: np.ndarray, side: int) -> Tensor:
    before = (side - len(picture)) // 2
    after = side - len(picture) - before
    return torch.from_numpy(np.pad(picture, (before, after)))
