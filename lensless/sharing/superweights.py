"""SuperWeights: layers are put together from blocks that nest (Teterwak et al., WACV 2024, arXiv 2312.01274).

The smallest weight of a cluster is its first level; each level adds what the next larger shape has beyond it, columns
first and rows under them. Where rows of mixing numbers are tied, a small layer is the leading block of every larger one.
"""

import itertools
import math
from collections.abc import Sequence

from lensless.sharing.layout import MOST_TEMPLATES, Draft, Layout, fill
from lensless.sharing.plan import Piece, SharedWeight
from lensless.sharing.weights import Weight, kernel_name

BINS = 4  # runs of layers, over all kernels, before a search


def plan_superweights(
    clusters: Sequence[Sequence[Weight]],
    numbers: int,
    exact: bool = False,
    *,
    bins: int = BINS,
    groups: Sequence[Sequence[str]] | None = None,
    tied: bool = False,
) -> Layout:
    """A bank for each level of each cluster of layers; a layer has one row in each level that it reaches.

    Args:
        clusters, numbers, exact: as of every method, see `cells`.
        bins: how many runs of layers, one behind the other, are clusters; kernels get their share of them.
        groups: names of the weights of each cluster in place of that, such as `refine` finds.
        tied: one row for all layers of a bank: hard sharing, with which a search begins.

    Raises:
        TooFew: less than one template for each level takes.
    """
    by_name = {weight.name: weight for weights in clusters for weight in weights}
    found = [[by_name[name] for name in group] for group in groups] if groups else coarse(clusters, bins)
    drafts: list[Draft] = []
    pieces: dict[Weight, list[Piece]] = {weight: [] for weight in by_name.values()}
    for number, weights in enumerate(found):
        before = (0, 0)
        for level, after in enumerate(_levels(weights)):
            users = [weight for weight in weights if _parts(weight, before, after)]
            parts = _parts(None, before, after)
            size = sum(math.prod(shape) for shape, _, _ in parts) * math.prod(weights[0].kernel)
            for at, weight in enumerate(users):
                for shape, corner, used in _parts(weight, before, after):
                    first = 0 if corner == parts[0][1] else math.prod(parts[0][0]) * math.prod(weight.kernel)
                    pieces[weight].append(Piece(len(drafts), 0 if tied else at, first, shape, corner, used))
            rows = 1 if tied else len(users)
            most = MOST_TEMPLATES if not tied else 1
            drafts.append(Draft(f"{kernel_name(weights[0])} cluster {number} level {level}", size, rows, most))
            before = after
    shared = tuple(SharedWeight(weight, tuple(pieces[weight])) for weights in clusters for weight in weights)
    return fill(drafts, numbers, exact), shared


def coarse(clusters: Sequence[Sequence[Weight]], bins: int = BINS) -> list[list[Weight]]:
    """Runs of layers of one kernel, in the order of the network; the remainder lengthens the first runs."""
    whole = sum(map(len, clusters))
    found = []
    for weights in clusters:
        runs = min(len(weights), max(1, round(bins * len(weights) / whole)))
        short, longer = divmod(len(weights), runs)
        begin = 0
        for run in range(runs):
            end = begin + short + (run < longer)
            found.append(list(weights[begin:end]))
            begin = end
    return found


def _levels(weights: Sequence[Weight]) -> list[tuple[int, int]]:
    """Outputs and inputs up to which each level reaches: distinct shapes by size, each as wide as all before it."""
    shapes = sorted({weight.shape[:2] for weight in weights}, key=lambda shape: (math.prod(shape), shape))
    reach = itertools.accumulate(shapes, lambda one, other: (max(one[0], other[0]), max(one[1], other[1])))
    return list(dict.fromkeys(reach))


def _parts(weight: Weight | None, before: tuple[int, int], after: tuple[int, int]) -> list[tuple]:
    """Columns beside what was there, then rows under it: (shape, corner, what of it the weight takes)."""
    outputs, inputs = weight.shape[:2] if weight else after
    parts = [
        ((before[0], after[1] - before[1]), (0, before[1])),
        ((after[0] - before[0], after[1]), (before[0], 0)),
    ]
    found = []
    for shape, corner in parts:
        used = min(shape[0], outputs - corner[0]), min(shape[1], inputs - corner[1])
        if min(used) > 0:
            found.append((shape, corner, used))
    return found
