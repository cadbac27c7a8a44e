"""Cells: every weight is cut into small equal blocks, and each block mixes all templates of its bank.

Ours, in the spirit of SuperWeights (Teterwak et al., WACV 2024) and MixtureGrowth (Pham et al., WACV 2024): no weight
is resized, none must be divisible, every layer sees every template, and budgets below one copy of the largest layer
are met.
"""

import dataclasses
import math
from collections.abc import Sequence

from lensless.sharing.layout import Draft, Layout, TooFew, fill
from lensless.sharing.plan import Piece, SharedWeight
from lensless.sharing.weights import Weight, kernel_name

SMALLEST_CELL = 2
ENOUGH = 0.8  # of the most templates that any size of cell allows; see `_cut`


@dataclasses.dataclass(frozen=True)
class Cut:
    """How the weights of one kernel are cut: cells of (side, side) outputs and inputs."""

    weights: tuple[Weight, ...]
    side: int

    @property
    def size(self) -> int:
        """Numbers of a template."""
        return self.side**2 * math.prod(self.weights[0].kernel)

    @property
    def rows(self) -> int:
        return sum(
            math.ceil(weight.shape[0] / self.side) * math.ceil(weight.shape[1] / self.side) for weight in self.weights
        )

    @property
    def least(self) -> int:
        """Trained numbers with one template."""
        return self.size + self.rows


def plan_cells(
    clusters: Sequence[Sequence[Weight]], numbers: int, exact: bool = False, side: int | None = None
) -> Layout:
    """Banks and pieces for at most so many trained numbers.

    Args:
        clusters: weights of equal kernel each.
        numbers: most trained numbers of all banks together.
        exact: spend them to the last one.
        side: of a cell, in outputs and inputs; by default the widest weight's, halved; see `_cut`.

    Raises:
        TooFew: less than one template for each kernel takes.
    """
    smallest = [_smallest(weights, side) for weights in clusters]
    whole, spare = sum(map(_numbers, clusters)), numbers - sum(cut.least for cut in smallest)
    if spare < 0:
        raise TooFew(numbers - spare)
    cuts = [
        _cut(weights, least.least + spare * _numbers(weights) // whole, side)
        for weights, least in zip(clusters, smallest, strict=True)
    ]
    drafts = [Draft(kernel_name(cut.weights[0]), cut.size, cut.rows, min(cut.rows, cut.size)) for cut in cuts]
    banks = fill(drafts, numbers, exact)
    return banks, tuple(each for at, cut in enumerate(cuts) for each in _cells(cut, at))


def _numbers(weights: Sequence[Weight]) -> int:
    return sum(weight.numbers for weight in weights)


def _sides(weights: Sequence[Weight], side: int | None) -> list[int]:
    """Cells to choose from, the largest first."""
    if side is not None:
        return [side]
    found = [max(min(weight.shape[:2]) for weight in weights)]
    while found[-1] // 2 >= SMALLEST_CELL:
        found.append(found[-1] // 2)
    return found


def _smallest(weights: Sequence[Weight], side: int | None) -> Cut:
    return min((Cut(tuple(weights), each) for each in _sides(weights, side)), key=lambda cut: cut.least)


def _cut(weights: Sequence[Weight], numbers: int, side: int | None) -> Cut:
    """The smallest cells of those with about as many templates as any.

    Large cells take their numbers for templates, small ones for rows; between them lie those with most templates, of
    which a weight can be put together in most ways. Small ones tell layers better apart.
    """
    cuts = [Cut(tuple(weights), each) for each in _sides(weights, side)]
    counts = [min(numbers // cut.least, cut.rows, cut.size) for cut in cuts]
    return [cut for cut, count in zip(cuts, counts, strict=True) if count >= ENOUGH * max(counts)][-1]


def _cells(cut: Cut, bank: int) -> list[SharedWeight]:
    found, row = [], 0
    for weight in cut.weights:
        pieces = []
        for output in range(0, weight.shape[0], cut.side):
            for input_ in range(0, weight.shape[1], cut.side):
                used = min(cut.side, weight.shape[0] - output), min(cut.side, weight.shape[1] - input_)
                pieces.append(Piece(bank, row, 0, (cut.side, cut.side), (output, input_), used))
                row += 1
        found.append(SharedWeight(weight, tuple(pieces)))
    return found
