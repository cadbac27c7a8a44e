"""SuperWeights: layers are put together from blocks that nest (Teterwak et al., WACV 2024, arXiv 2312.01274).

The smallest weight of a cluster is its first level; each level adds what the next larger shape has beyond it, columns
first and rows under them. Where rows of mixing numbers are tied, a small layer is the leading block of every larger
one.
"""

import contextlib
import itertools
import math
from collections import Counter
from collections.abc import Sequence

from lensless.sharing.layout import MOST_TEMPLATES, Draft, Layout, TooFew, fill
from lensless.sharing.plan import Piece, SharedWeight
from lensless.sharing.weights import Weight, kernel_name

BINS = 4  # runs of layers, over all kernels, before a search


def plan_superweights(
    clusters: Sequence[Sequence[Weight]],
    numbers: int,
    exact: bool = False,
    *,
    bins: int | None = None,
    groups: Sequence[Sequence[str]] | None = None,
    tied: bool = False,
    together: Sequence[Sequence[str]] = (),
) -> Layout:
    """A bank for each level of each cluster of layers; a layer has one row in each level that it reaches.

    Args:
        clusters, numbers, exact: as of every method, see `cells`.
        bins: how many runs of layers, one behind the other, are clusters; kernels get their share of them. By default
            4, or as many as the numbers pay for.
        groups: names of the weights of each cluster in place of that, such as `refine` finds.
        tied: one row for all layers of a bank: hard sharing, with which a search begins.
        together: names of weights that begin with one row, such as those of several networks that stand for the same;
            `untie` parts them.

    Raises:
        TooFew: less than one template for each level takes.
    """
    by_name = {weight.name: weight for weights in clusters for weight in weights}
    if groups:
        return _layout(
            clusters, [[by_name[name] for name in group] for group in groups], numbers, exact, tied, together
        )
    for fewer in range(bins or BINS, bins or 0, -1):
        with contextlib.suppress(TooFew):
            return _layout(clusters, coarse(clusters, fewer), numbers, exact, tied, together)
    return _layout(clusters, coarse(clusters, bins or 1), numbers, exact, tied, together)


def _layout(
    clusters: Sequence[Sequence[Weight]], found: Sequence[Sequence[Weight]], numbers: int, exact: bool, tied: bool,
    together: Sequence[Sequence[str]],
) -> Layout:  # fmt: skip
    """Banks and pieces of clusters that are found, which are parts of those that there are."""
    tie = {name: min(names) for names in together for name in names}
    drafts: list[Draft] = []
    pieces: dict[Weight, list[Piece]] = {weight: [] for weights in clusters for weight in weights}
    for number, weights in enumerate(found):
        before = (0, 0)
        for level, after in enumerate(_levels(weights)):
            users = [weight for weight in weights if _parts(weight, before, after)]
            parts = _parts(None, before, after)
            size = sum(math.prod(shape) for shape, _, _ in parts) * math.prod(weights[0].kernel)
            ties = [0 if tied else tie.get(weight.name, weight.name) for weight in users]
            rows = list(dict.fromkeys(ties))
            for weight, own in zip(users, ties, strict=True):
                for shape, corner, used in _parts(weight, before, after):
                    first = 0 if corner == parts[0][1] else math.prod(parts[0][0]) * math.prod(weight.kernel)
                    pieces[weight].append(Piece(len(drafts), rows.index(own), first, shape, corner, used))
            most = 1 if tied else MOST_TEMPLATES
            name = f"{kernel_name(weights[0])} cluster {number} level {level}"
            drafts.append(Draft(name, size, len(rows), most, later=0 if tied else len(users) - len(rows)))
            before = after
    shared = tuple(SharedWeight(weight, tuple(pieces[weight])) for weights in clusters for weight in weights)
    return fill(drafts, numbers, exact), shared


def coarse(clusters: Sequence[Sequence[Weight]], bins: int = BINS) -> list[list[Weight]]:
    """Runs of layers of one kernel, in the order of the network; the remainder lengthens the first runs.

    Of several networks, each is cut into as many runs as the deepest one, and first runs lie together.
    """
    counts = Counter(weight.member for weights in clusters for weight in weights)
    deepest, whole = counts.most_common(1)[0]
    found = []
    for weights in clusters:
        members = {member: [weight for weight in weights if weight.member == member] for member in counts}
        runs = min(max(map(len, members.values())), max(1, round(bins * len(members[deepest]) / whole)))
        together: list[list[Weight]] = [[] for _ in range(runs)]
        for layers in members.values():
            short, longer = divmod(len(layers), runs)
            begin = 0
            for run in range(runs):
                end = begin + short + (run < longer)
                together[run].extend(layers[begin:end])
                begin = end
        found.extend(run for run in together if run)
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
