"""`share`: any network, to one that computes its weights from at most so many trained numbers."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from hardware.errors import ConfigurationError
from lensless.sharing.budget import EXPECTED, trained_numbers
from lensless.sharing.cells import plan_cells
from lensless.sharing.initial import draw, fit, he
from lensless.sharing.layout import Layout, TooFew
from lensless.sharing.mixture import plan_mixture
from lensless.sharing.network import SharedNetwork
from lensless.sharing.plan import Plan
from lensless.sharing.soft import plan_soft
from lensless.sharing.ssn import plan_ssn
from lensless.sharing.superweights import plan_superweights
from lensless.sharing.tiles import plan_tiles
from lensless.sharing.weights import SMALL, Private, Weight, clusters, ends, find, fingerprint, place

METHODS: dict[str, Callable[..., Layout]] = {
    "cells": plan_cells,
    "mixture": plan_mixture,
    "soft": plan_soft,
    "ssn": plan_ssn,
    "superweights": plan_superweights,
    "tiles": plan_tiles,
}
DEFAULT_METHOD = "cells"
INITIAL = ("match", "he", "keep")
MOST_PRIVATE = 0.5  # of the budget: above, first and last layers join what is shared


def make_plan(
    network: nn.Module,
    budget: int | str,
    method: str = DEFAULT_METHOD,
    *,
    keep: Sequence[str] = (),
    exact: bool = False,
    **options,
) -> Plan:
    """Which weights of a network come from which templates; no number is drawn.

    Args:
        network, budget, method, keep, exact: as of `share`.
        options: of the method.

    Raises:
        ConfigurationError: as `share`.
    """
    if method not in METHODS:
        raise ConfigurationError(f"share: method = {method!r}; expected one of {', '.join(METHODS)}")
    known = list(inspect.signature(METHODS[method]).parameters)[3:]  # behind weights, numbers and exact
    if unknown := [name for name in options if name not in known]:
        raise ConfigurationError(
            f"share: method {method!r} takes no {unknown[0]}; expected {' or '.join(known) or 'no options'}"
        )
    weights, small, private = find(network, keep)
    natural = sum(each.numbers for each in private) + sum(weight.numbers for weight in weights)
    allowed = trained_numbers(budget, natural)
    if not weights:
        raise ConfigurationError("share: no layer of this network is large enough to share; take it as it is")
    refused = []
    alone = ends(network)
    for shared, kept in _choices(weights, small, private, alone, allowed):
        spent = sum(each.numbers for each in kept)
        try:
            banks, made = METHODS[method](clusters(network, shared), allowed - spent, exact, **options)
        except TooFew as error:
            refused.append((spent + error.least, error.least, kept))
            continue
        joined = tuple(weight.name for weight in shared if weight.name in alone or weight.name in small)
        return Plan(method, fingerprint(network), natural, allowed, banks, made, tuple(kept), joined)
    raise ConfigurationError(_refusal(allowed, method, *min(refused, key=lambda each: each[0])))


def _refusal(allowed: int, method: str, whole: int, least: int, kept: Sequence[Private]) -> str:
    spent = whole - least
    most = sorted(kept, key=lambda each: -each.numbers)[:3]
    names = ", ".join(f"{each.name} {each.numbers:,} ({each.reason})" for each in most)
    return (
        f"share: a budget of {allowed:,} trained numbers is too small; method {method!r} needs {whole:,}: "
        f"{least:,} for what is shared and {spent:,} for what is not, above all {names or 'nothing'}"
    )


def share(
    network: nn.Module | Mapping[str, nn.Module],
    budget: int | str | None = None,
    method: str = DEFAULT_METHOD,
    *,
    plan: Plan | None = None,
    keep: Sequence[str] = (),
    init: str = "match",
    exact: bool = False,
    seed: int | None = None,
    **options,
) -> SharedNetwork:
    """A network with the same layers, which computes their weights from at most `budget` trained numbers.

    Args:
        network: any, trained or not; it is copied. Several by name share one set of templates (see `Ensemble`).
        budget: most trained numbers of the whole, private ones included: 40_000, "25%" of what it has, or
            "40kB@float32".
        method: "cells" (small blocks, for low budgets), "superweights" (layers of one kernel, nested), "ssn" (slices of
            one vector), "tiles" (the grid of all shapes), "soft" (layers of one shape) or "mixture" (each weight by
            itself, to be grown).
        plan: in place of budget, method and their options; see `make_plan`.
        keep: patterns of names of layers that stay as they are, such as "stem" or "stages.*.leave".
        init: "match" (fresh, with the spread that each weight has now; what is zero begins there), "he" (fresh, with
            the spread of He et al.), or "keep" (the nearest to the weights that it has now).
        exact: spend the budget to the last number.
        seed: of fresh numbers; None takes them from torch's global generator.
        options: of the method.

    Raises:
        ConfigurationError: a budget that is too small, with the least that would do; a layer that cannot be shared; a
            plan for another network.
    """
    if isinstance(network, Mapping):
        network = nn.ModuleDict(network)
    if init not in INITIAL:
        raise ConfigurationError(f"share: init = {init!r}; expected one of {', '.join(INITIAL)}")
    if (budget is None) == (plan is None):
        raise ConfigurationError(f"share: expected either a plan or a budget, {EXPECTED}")
    plan = plan or make_plan(network, budget, method, keep=keep, exact=exact, **options)
    shared = SharedNetwork(network, plan)
    originals = {each.weight.name: _original(network, each.weight) for each in plan.weights}
    if init == "keep":
        fit(shared, originals)
        return shared
    spreads = {each.weight.name: he(each.weight) for each in plan.weights}
    if init == "match":
        spreads = {name: float(value.square().mean().sqrt()) for name, value in originals.items()}
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    draw(shared, spreads, generator)
    return shared


def _original(network: nn.Module, weight: Weight) -> Tensor:
    module, own = place(network, weight.name)
    return weight.seen(getattr(module, own).detach())


def _choices(
    weights: list[Weight], small: set[str], private: list[Private], ends: Mapping[str, str], allowed: int
) -> Iterator[tuple[list[Weight], list[Private]]]:
    """What to share and what to keep, to be tried in turn.

    All first and last layers private, without the largest of them, and so on to none, with small weights private; then
    the same with small ones shared. What takes more than half of the budget comes behind what does not.
    """
    choices = []
    for apart in (small, set()):
        pool = [weight for weight in weights if weight.name not in apart]
        alone = [weight for weight in pool if weight.name in ends] if len(pool) > len(ends) else []
        alone.sort(key=lambda weight: -weight.numbers)
        for begin in range(len(alone) + 1):
            names = {weight.name for weight in alone[begin:]} | apart
            shared = [weight for weight in weights if weight.name not in names]
            if shared:
                kept = [weight for weight in weights if weight.name in names]
                choices.append(
                    (shared, [*private, *(Private(one.name, one.numbers, ends.get(one.name, SMALL)) for one in kept)])
                )
    choices.sort(key=lambda choice: sum(each.numbers for each in choice[1]) > MOST_PRIVATE * allowed)
    yield from choices
