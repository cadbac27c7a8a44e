"""Who shares with whom, found from gradients instead of guessed."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.sharing.conflict import Conflict, conflict, split
from lensless.sharing.layout import TooFew
from lensless.sharing.network import SharedNetwork
from lensless.sharing.plan import Plan
from lensless.sharing.superweights import plan_superweights
from lensless.sharing.weights import Weight

TAU, STEP = 0.1, 0.05
LINKAGES = ("single", "complete")


def refine(
    shared: SharedNetwork,
    batches: Iterable,
    loss: Callable[[SharedNetwork, object], Tensor],
    *,
    tau: float = TAU,
    step: float = STEP,
    linkage: str = "single",
    found: Conflict | None = None,
) -> Plan:
    """A plan in which only layers share that want to move alike; train it from scratch: `share(network, plan=plan)`.

    Layers of a cluster whose gradients have a cosine above `tau` stay together. While what comes out needs more numbers
    than the budget, `tau` is lowered.

    Args:
        shared: of method "superweights", hard-shared and trained a little (`tied=True`).
        batches, loss: as of `conflict`.
        tau, step: where the threshold begins, and by how much it falls.
        linkage: "single" or "complete", see `split`.
        found: a comparison that was made before, in place of a new one.

    Raises:
        ConfigurationError: a plan of another method, or a setting that cannot be.
    """
    if shared.plan.method != "superweights":
        raise ConfigurationError(f"refine: the plan is of method {shared.plan.method!r}; expected 'superweights'")
    if linkage not in LINKAGES or not -1 <= tau <= 1 or not 1e-3 <= step <= 2:
        raise ConfigurationError(
            f"refine: tau = {tau!r}, step = {step!r}, linkage = {linkage!r}; expected a cosine, from -1 to 1, a "
            "step from 0.001 to 2, and single or complete"
        )
    found = found or conflict(shared, batches, loss)
    groups = groups_of(shared.plan)
    while True:
        parts = split(found.mean, groups, tau, linkage)
        try:
            return regrouped(shared.plan, [[found.names[member] for member in part] for part in parts])
        except TooFew:
            if tau < -1 - step:
                raise
            tau -= step


def random_split(plan: Plan, like: Plan, seed: int) -> Plan:
    """The control: the clusters of `plan` split into as many of the same sizes as those of `like`, members by chance.

    Args:
        plan: that was refined.
        like: what came out.
        seed: of the chance.

    Raises:
        ConfigurationError: no such split fits the budget within a hundred draws; large layers lie in too many clusters.
    """
    generator = torch.Generator().manual_seed(seed)
    names = [each.weight.name for each in plan.weights]
    found = [[like.weights[at].weight.name for at in members] for members in groups_of(like)]
    for _ in range(100):
        groups = []
        for members in groups_of(plan):
            cluster = [names[at] for at in members]
            shuffled = [cluster[at] for at in torch.randperm(len(cluster), generator=generator).tolist()]
            for size in (len(part) for part in found if part[0] in cluster):
                groups.append(shuffled[:size])
                del shuffled[:size]
        try:
            return regrouped(plan, groups)
        except TooFew:
            continue
    raise ConfigurationError("random_split: no split of these sizes fits the budget; compare with a larger one")


def regrouped(plan: Plan, groups: Sequence[Sequence[str]], together: Sequence[Sequence[str]] = ()) -> Plan:
    """The same budget spent on other clusters; weights that are named `together` begin with one row.

    Raises:
        TooFew: they need more than the budget.
    """
    kernels: dict[tuple[int, ...], list[Weight]] = {}
    for each in plan.weights:
        kernels.setdefault(each.weight.kernel, []).append(each.weight)
    numbers = plan.budget - plan.private_numbers
    banks, weights = plan_superweights(list(kernels.values()), numbers, groups=groups, together=together)
    return Plan(plan.method, plan.fingerprint, plan.natural, plan.budget, banks, weights, plan.private, plan.joined)


def groups_of(plan: Plan) -> list[list[int]]:
    """Places of the weights that read the same banks."""
    found: dict[int, list[int]] = {}
    for at, each in enumerate(plan.weights):
        found.setdefault(min(piece.bank for piece in each.pieces), []).append(at)
    return list(found.values())
