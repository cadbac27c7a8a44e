"""Tiles: the grid of all output and input sizes of one kernel; a layer takes the tiles that lie inside of its shape.

Exact for shapes that lie in one another and for those that do not, such as (C, 2C) and (2C, C) of a U-Net. Where the
rows of an L of tiles are tied, these are the size levels of SuperWeights (Teterwak et al., WACV 2024, arXiv
2312.01274).
"""

import itertools
import math
from collections.abc import Sequence

from lensless.sharing.layout import Draft, Layout, fill
from lensless.sharing.plan import Piece, SharedWeight
from lensless.sharing.weights import Weight, kernel_name

NARROWEST = 8  # a tile side below this is joined to the next one, which the smaller layer cuts


def plan_tiles(clusters: Sequence[Sequence[Weight]], numbers: int, exact: bool = False) -> Layout:
    """A bank for each tile of each kernel; arguments and errors as of every method, see `cells`."""
    drafts: list[Draft] = []
    pieces: dict[Weight, list[Piece]] = {}
    for weights in clusters:
        spans = [_spans({weight.shape[axis] for weight in weights}) for axis in (0, 1)]
        for (top, bottom), (left, right) in itertools.product(*spans):
            users = [weight for weight in weights if weight.shape[0] > top and weight.shape[1] > left]
            if not users:
                continue
            shape = bottom - top, right - left
            for row, weight in enumerate(users):
                used = min(shape[0], weight.shape[0] - top), min(shape[1], weight.shape[1] - left)
                pieces.setdefault(weight, []).append(Piece(len(drafts), row, 0, shape, (top, left), used))
            size = math.prod(shape) * math.prod(weights[0].kernel)
            name = f"{kernel_name(weights[0])} outputs {top}-{bottom} inputs {left}-{right}"
            drafts.append(Draft(name, size, len(users)))
    shared = tuple(SharedWeight(weight, tuple(pieces[weight])) for weights in clusters for weight in weights)
    return fill(drafts, numbers, exact), shared


def _spans(sizes: set[int]) -> list[tuple[int, int]]:
    """From one size to the next, none narrower than 8 unless it is all there is."""
    lines = [0]
    for size in sorted(sizes, reverse=True):
        if len(lines) == 1 or (lines[-1] - size >= NARROWEST and size >= NARROWEST):
            lines.append(size)
    return list(itertools.pairwise([0, *sorted(lines[1:])]))
