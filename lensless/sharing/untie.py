"""Weights that share a row of mixing numbers get rows of their own, where their gradients disagree.

After Teterwak et al. (WACV 2024, arXiv 2312.01274), as specified there; here each weight counts by itself, as the
gradient of a weight with regard to a row that it shares is known for it alone: dL/da = g T dL/dW.
"""

import dataclasses
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from hardware.errors import ConfigurationError
from lensless.sharing.conflict import split, weight_gradients
from lensless.sharing.network import SharedNetwork
from lensless.sharing.plan import Bank, SharedWeight
from lensless.sharing.weights import Weight

TAU = 0.9


def untie(
    shared: SharedNetwork,
    batches: Iterable,
    loss: Callable[[SharedNetwork, object], Tensor],
    tau: float = TAU,
) -> list[torch.nn.Parameter]:
    """Split rows whose weights want other mixing, in place; what the network computes stays the same.

    Weights whose gradients have a cosine above `tau` keep one row. Copies cost mixing numbers: the most different
    weights come first, and where the budget ends, rows stay shared.

    Args:
        shared: the network; numbers that it had keep their places in an optimiser.
        batches, loss: as of `conflict`; the gradients of all batches are added up.
        tau: above it, weights stay together.

    Returns:
        New mixing numbers, for `optimizer.add_param_group` (no weight decay).
    """
    if not -1 <= tau <= 1:
        raise ConfigurationError(f"untie: tau = {tau!r}; expected a cosine, from -1 to 1")
    sums: dict[str, Tensor] = {}
    for gradients in weight_gradients(shared, batches, loss):
        for name, gradient in gradients.items():
            sums[name] = sums[name] + gradient if name in sums else gradient
    wanted = _wanted(shared, sums)
    splits = sorted(
        filter(None, (_split(place, found, tau) for place, found in wanted.items())), key=lambda each: each[0]
    )
    left = shared.plan.budget - shared.plan.trainable
    moved: dict[tuple[int, int], dict[Weight, int]] = {}  # which weights leave a row, and to which of its copies
    for _, place, parts in splits:
        row = shared.plan.banks[place[0]].rows[place[1]]
        for copy, part in enumerate(parts[1:]):
            if row.trained <= left:
                left -= row.trained
                moved.setdefault(place, {}).update(dict.fromkeys(part, copy))
    return shared.replan(*_moved(shared, moved)) if moved else []


def _wanted(shared: SharedNetwork, gradients: dict[str, Tensor]) -> dict[tuple[int, int], dict[Weight, Tensor]]:
    """By (bank, row): how each weight that reads it wants its mixing numbers to change, (templates,)."""
    found: dict[tuple[int, int], dict[Weight, Tensor]] = {}
    for each in shared.plan.weights:
        for (bank, row), gradient in shared.mixing_gradients(each.weight.name, gradients[each.weight.name]).items():
            found.setdefault((bank, row), {})[each.weight] = gradient
    return {place: users for place, users in found.items() if len(users) > 1}


def _split(
    place: tuple[int, int], users: dict[Weight, Tensor], tau: float
) -> tuple[float, tuple[int, int], list[list[Weight]]] | None:
    """The lowest cosine, the place, and which weights stay together; None where all do."""
    weights = list(users)
    stacked = torch.stack([users[weight].double().flatten() for weight in weights])
    similar = cosine_similarity(stacked[:, None], stacked[None], -1)
    parts = split(similar, [list(range(len(weights)))], tau)
    if len(parts) == 1:
        return None
    return float(similar.min()), place, [[weights[member] for member in part] for part in parts]


def _moved(
    shared: SharedNetwork, moved: dict[tuple[int, int], dict[Weight, int]]
) -> tuple[tuple[Bank, ...], tuple[SharedWeight, ...], dict[int, list[int]]]:
    """Banks with rows behind those they had, weights that read them, and by bank, which row each new one copies."""
    banks, places, copied = list(shared.plan.banks), {}, {}
    for (at, number), leaving in moved.items():
        bank = banks[at]
        born = 1 + max(row.born for row in shared.plan.banks[at].rows)
        for copy in sorted(set(leaving.values())):
            for weight, wanted in leaving.items():
                if wanted == copy:
                    places[weight, at, number] = len(bank.rows)
            bank = dataclasses.replace(bank, rows=(*bank.rows, dataclasses.replace(bank.rows[number], born=born)))
            copied.setdefault(at, []).append(number)
        banks[at] = bank
    weights = tuple(
        SharedWeight(
            each.weight,
            tuple(
                dataclasses.replace(piece, row=places.get((each.weight, piece.bank, piece.row), piece.row))
                for piece in each.pieces
            ),
        )
        for each in shared.plan.weights
    )
    return tuple(banks), weights, copied
