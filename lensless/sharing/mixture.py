"""Mixtures: each weight mixes templates of its own, as a half does that is to grow.

After MixtureGrowth (Pham et al., WACV 2024, arXiv 2311.04251).

It saves nothing by itself: with two templates, a half of a network holds as many numbers as a quarter of it, twice.
What that buys is that a grown network finds its connections among templates that are there already, see `growth`.
"""

from collections.abc import Sequence

from lensless.sharing.layout import Draft, Layout, fill
from lensless.sharing.plan import Piece, SharedWeight
from lensless.sharing.weights import Weight

TEMPLATES = 2


def plan_mixture(
    clusters: Sequence[Sequence[Weight]], numbers: int, exact: bool = False, templates: int = TEMPLATES
) -> Layout:
    """A bank for each weight.

    Args:
        clusters, numbers, exact: as of every method, see `cells`.
        templates: most of each weight.

    Raises:
        TooFew: less than one template for each weight takes.
    """
    weights = [weight for weights in clusters for weight in weights]
    drafts = [Draft(weight.name, weight.numbers, 1, templates) for weight in weights]
    shared = tuple(
        SharedWeight(weight, (Piece(at, 0, 0, weight.shape[:2], (0, 0), weight.shape[:2]),))
        for at, weight in enumerate(weights)
    )
    return fill(drafts, numbers, exact), shared
