"""Soft sharing: layers of one shape mix the same whole templates (Savarese and Maire, ICLR 2019, arXiv 1902.09701)."""

from collections.abc import Sequence

from lensless.sharing.layout import Draft, Layout, fill
from lensless.sharing.plan import Piece, SharedWeight
from lensless.sharing.weights import Weight


def plan_soft(
    clusters: Sequence[Sequence[Weight]], numbers: int, exact: bool = False, templates: int | None = None
) -> Layout:
    """A bank for each shape; a layer is one row of it.

    Args:
        clusters, numbers, exact: as of every method, see `cells`.
        templates: most of each shape, by default as many as it has layers: then it can be what it was.

    Raises:
        TooFew: less than one template for each shape takes.
    """
    shapes: dict[tuple[int, ...], list[Weight]] = {}
    for weight in (weight for weights in clusters for weight in weights):
        shapes.setdefault(weight.shape, []).append(weight)
    drafts = [
        Draft("x".join(map(str, shape)), users[0].numbers, len(users), min(templates or len(users), len(users)))
        for shape, users in shapes.items()
    ]
    banks = fill(drafts, numbers, exact)
    shared = {
        weight: SharedWeight(weight, (Piece(at, row, 0, shape[:2], (0, 0), shape[:2]),))
        for at, (shape, users) in enumerate(shapes.items())
        for row, weight in enumerate(users)
    }
    return banks, tuple(shared[weight] for weights in clusters for weight in weights)
