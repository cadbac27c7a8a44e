"""A set of scenes: pictures of one split with their labels, fitted to the display of a rig."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, eq=False)
class Scenes:
    """Pictures of one split, as the display would show them (its response is not undone here).

    `pictures` (N, C, h, w) uint8; `labels` (N,) int64 into `classes`, -1 unknown; `groups` (N,) int64: writer, font or
    file where known, else a number of the picture: scenes of one group never lie in two splits. `notes` are what people
    should be told of them, such as how many were left out.
    """

    pictures: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str
    groups: Tensor
    notes: tuple[str, ...] = ()

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

    def fit(self, shape: tuple[int, ...]) -> Tensor:
        """The pictures as a display of `shape` shows them, (N, *shape) uint8: (C, H, W), or (H, W) for a grey one.

        Shrunk by area if too large, never enlarged, with black around them. Colours become grey by Rec. 601's luma, and
        grey pictures have three colours alike.
        """
        *channels, rows, columns = shape
        pictures = _in_channels(self.pictures, *channels or [1])
        height, width = self.pictures.shape[-2:]
        shrink = max(1.0, height / rows, width / columns)
        if shrink > 1:
            inner = (max(1, round(height / shrink)), max(1, round(width / shrink)))
            pictures = _area_resampled(pictures, inner)
        down, right = rows - pictures.shape[-2], columns - pictures.shape[-1]
        return F.pad(pictures, (right // 2, right - right // 2, down // 2, down - down // 2))

    def shrunk(self, shape: tuple[int, ...]) -> str | None:
        """In words, that a display of `shape` (..., H, W) shows these pictures smaller than they are."""
        (height, width), (rows, columns) = self.pictures.shape[-2:], shape[-2:]
        if height <= rows and width <= columns:
            return None
        return f"pictures, read as {height} x {width} pixels, are shrunk to the {rows} x {columns} of the rig's display"

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


def stratified(labels: Tensor, count: int, seeds: tuple[int, ...]) -> Tensor:
    """Sorted positions of `count` scenes drawn at random, the same share from every class to within one scene."""
    shuffled = np.random.default_rng(seeds).permutation(len(labels))
    _, classes, sizes = np.unique(labels.numpy()[shuffled], return_inverse=True, return_counts=True)
    by_class = np.argsort(classes, kind="stable")
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = np.empty(len(labels))
    place[by_class] = (np.arange(len(labels)) - starts + 0.5) / np.repeat(sizes, sizes)  # in (0, 1) within its class
    return torch.from_numpy(np.sort(shuffled[np.argsort(place, kind="stable")[:count]]))


def grey(colours: Tensor) -> Tensor:
    """Luma of pictures (N, 3, H, W) uint8 as (N, 1, H, W) uint8, rounded as Pillow's mode L."""
    weights = torch.tensor([19595, 38470, 7471], dtype=torch.int32)[:, None, None]  # Rec. 601: 0.299, 0.587, 0.114
    blocks = [((block.int() * weights).sum(1, keepdim=True) + 0x8000) >> 16 for block in colours.split(4096)]
    return torch.cat(blocks).to(torch.uint8)


def _in_channels(pictures: Tensor, channels: int) -> Tensor:
    if pictures.shape[1] == channels:
        return pictures
    return grey(pictures) if channels == 1 else pictures.expand(-1, channels, -1, -1)


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


def content_groups(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """A group for each picture that follows from its content alone, (N,) int64: copies share it."""
    digests = (hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).digest() for picture in pictures)
    return np.array([int.from_bytes(digest[:8], "big") >> 1 for digest in digests], np.int64)


def fall_into(groups: np.ndarray, split: str) -> np.ndarray:
    """Positions of the groups of `content_groups` that are of a split: 80 of 100 train, 10 each val and test."""
    return np.flatnonzero(np.searchsorted((0.8, 0.9), groups / 2**63, side="right") == SPLITS.index(split))
