"""Shapeshifter networks: slices of one vector (Plummer et al., ICLR 2022, arXiv 2006.10598).

Layers of a group read templates of their own size from one vector, wherever those lie over each other. A layer that is
larger than the vector is made from it: resized like a picture, or repeated.
"""

import math
from collections.abc import Sequence

from hardware.errors import ConfigurationError
from lensless.sharing.layout import MOST_TEMPLATES, Layout, TooFew
from lensless.sharing.plan import Bank, Piece, Row, SharedWeight
from lensless.sharing.weights import Weight

RESIZES = ("bilinear", "repeat")
SHRINK = 0.05  # a step down in outputs and inputs, until a layer's picture fits the vector
STEPS = round(1 / SHRINK) - 1


def plan_ssn(
    clusters: Sequence[Sequence[Weight]],
    numbers: int,
    exact: bool = False,
    *,
    groups: Sequence[Sequence[str]] | None = None,
    resize: str = "bilinear",
) -> Layout:
    """One vector for each group of layers.

    Args:
        clusters, numbers, exact: as of every method, see `cells`.
        groups: names of the weights of each group; by default all are one.
        resize: what a layer does that is larger than its vector: "bilinear" or "repeat".

    Raises:
        TooFew: a vector would have no numbers.
        ConfigurationError: another resize.
    """
    if resize not in RESIZES:
        raise ConfigurationError(f"share: resize = {resize!r}; expected one of {', '.join(RESIZES)}")
    weights = [weight for weights in clusters for weight in weights]
    by_name = {weight.name: weight for weight in weights}
    found = [[by_name[name] for name in group] for group in groups] if groups else [weights]
    least = [max(_at(weight, STEPS)[1] for weight in group) for group in found]
    whole, left = sum(weight.numbers for weight in weights), numbers - sum(least)
    if left < 0:
        raise TooFew(numbers - left)
    banks, shared = [], {}
    for at, group in enumerate(found):
        own = sum(weight.numbers for weight in group)
        spare = left * own // whole
        given, left, whole = least[at] + spare, left - spare, whole - own
        bank = _bank(f"group {at}", group, given, at, resize, shared)
        left += given - bank.trained
        banks.append(bank)
    return tuple(banks), tuple(shared[weight] for weight in weights)


def _bank(
    name: str, group: Sequence[Weight], given: int, at: int, resize: str, shared: dict[Weight, SharedWeight]
) -> Bank:
    """One vector, and what each layer reads of it; mixing numbers are paid from the same budget."""
    numbers, counts = given, {}
    for _ in range(len(group) * MOST_TEMPLATES):  # fewer numbers mix fewer templates, so this ends
        counts = {weight: min(max(1, numbers // weight.numbers), MOST_TEMPLATES) for weight in group}
        left = given - sum(count for count in counts.values() if count > 1)
        if left >= numbers:
            break
        numbers = left
    rows, begins = [], {}
    for row, weight in enumerate(group):
        taken = counts[weight] * weight.numbers
        begin = begins.get(weight.numbers, 0)
        begins[weight.numbers] = begin + taken if begin + 2 * taken <= numbers else 0
        small = weight.shape[:2]
        if weight.numbers > numbers and resize == "bilinear":
            small = _shrunk(weight, numbers)
        size = math.prod(small) * math.prod(weight.kernel)
        rows.append(Row(begin, counts[weight], size, mixed=counts[weight] > 1, repeats=size > numbers))
        stretched = small != weight.shape[:2]
        shared[weight] = SharedWeight(weight, (Piece(at, row, 0, small, (0, 0), weight.shape[:2], stretched),))
    return Bank(name, numbers, tuple(rows))


def _shrunk(weight: Weight, numbers: int) -> tuple[int, int]:
    """Outputs and inputs of the largest picture of this weight that the vector holds, by steps of a twentieth."""
    return next(
        small for step in range(1, STEPS + 1) if (small := _at(weight, step)[0]) and _at(weight, step)[1] <= numbers
    )


def _at(weight: Weight, step: int) -> tuple[tuple[int, int], int]:
    """Outputs and inputs of a weight that was shrunk so often, and how many numbers that are."""
    small = tuple(max(1, round(side * (1 - step * SHRINK))) for side in weight.shape[:2])
    return small, math.prod(small) * math.prod(weight.kernel)
