"""Shapeshifter networks: slices of one vector (Plummer et al., ICLR 2022, arXiv 2006.10598).

Layers of a group read templates of their own size from one vector, wherever those lie over each other. A layer that is
larger than the vector is made from it: resized like a picture, or repeated.
"""

import math
from collections.abc import Sequence

from hardware.errors import ConfigurationError
from lensless.sharing.layout import MOST_TEMPLATES, Layout, TooFew
from lensless.sharing.plan import LARGER, Bank, Piece, Row, SharedWeight
from lensless.sharing.weights import Weight

RESIZES = ("bilinear", *LARGER)
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
        resize: what a layer does that is larger than its vector: "bilinear" (resized like a
            picture), "repeat", "mask" or "wavg", see `lensless.sharing.plan.LARGER`.

    Raises:
        TooFew: a vector would have no numbers.
        ConfigurationError: another resize.
    """
    if resize not in RESIZES:
        raise ConfigurationError(f"share: resize = {resize!r}; expected one of {', '.join(RESIZES)}")
    weights = [weight for weights in clusters for weight in weights]
    by_name = {weight.name: weight for weight in weights}
    found = [[by_name[name] for name in group] for group in groups] if groups else [weights]
    least = [_least(group, resize) for group in found]
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
    numbers = _vector(group, given, resize)
    counts = {weight: _count(weight, numbers) for weight in group}
    rows, begins = [], {}
    for row, weight in enumerate(group):
        taken = counts[weight] * weight.numbers
        begin = begins.get(weight.numbers, 0)
        begins[weight.numbers] = begin + taken if begin + 2 * taken <= numbers else 0
        small = weight.shape[:2]
        if weight.numbers > numbers and resize == "bilinear":
            small = _shrunk(weight, numbers)
        size = math.prod(small) * math.prod(weight.kernel)
        rows.append(_row(begin, counts[weight], size, numbers, resize))
        stretched = small != weight.shape[:2]
        shared[weight] = SharedWeight(weight, (Piece(at, row, 0, small, (0, 0), weight.shape[:2], stretched),))
    return Bank(name, numbers, tuple(rows))


def _least(group: Sequence[Weight], resize: str) -> int:
    """Trained numbers that a group needs."""
    if resize == "bilinear":
        return max(_at(weight, STEPS)[1] for weight in group)
    low, high = 1, 2 * max(weight.numbers for weight in group) + len(group) * MOST_TEMPLATES
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _vector(group, middle, resize) else (middle, high)
    return high


def _vector(group: Sequence[Weight], given: int, resize: str) -> int:
    """The longest vector that leaves enough for what its rows train beside it; 0 where there is none."""
    numbers = given
    while numbers >= 2:
        left = given - sum(_own(weight, _count(weight, numbers), numbers, resize) for weight in group)
        if left >= numbers:
            return numbers
        numbers = min(left, numbers - 1)  # of fewer numbers, fewer templates are mixed, or more copies filled
    return 0


def _count(weight: Weight, numbers: int) -> int:
    return min(max(1, numbers // weight.numbers), MOST_TEMPLATES)


def _row(begin: int, count: int, size: int, numbers: int, resize: str) -> Row:
    if size <= numbers:
        return Row(begin, count, size, mixed=count > 1)
    whole = numbers // 2 * 2 if resize == "wavg" else numbers
    return Row(0, 1, size, mixed=False, larger=resize, copies=math.ceil(size / whole) - 1)


def _own(weight: Weight, count: int, numbers: int, resize: str) -> int:
    """Trained numbers of the row of a weight beside the vector."""
    if weight.numbers <= numbers:
        return count if count > 1 else 0
    return 0 if resize == "bilinear" else _row(0, 1, weight.numbers, numbers, resize).trained


def _shrunk(weight: Weight, numbers: int) -> tuple[int, int]:
    """Outputs and inputs of the largest picture of this weight that the vector holds, by steps of a twentieth."""
    return next(
        small for step in range(1, STEPS + 1) if (small := _at(weight, step)[0]) and _at(weight, step)[1] <= numbers
    )


def _at(weight: Weight, step: int) -> tuple[tuple[int, int], int]:
    """Outputs and inputs of a weight that was shrunk so often, and how many numbers that are."""
    small = tuple(max(1, round(side * (1 - step * SHRINK))) for side in weight.shape[:2])
    return small, math.prod(small) * math.prod(weight.kernel)
