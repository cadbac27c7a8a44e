"""`lensless bench sharing`: what shared weights cost and give, on characters that the package draws itself.

Experiments, each beside networks with weights of their own: soft sharing (E1), low budgets (E2), growing (E3; E3b with
halves that are trained to the end), splitting by gradients beside splitting by chance (E4), and ensembles on one set of
templates (E5; E5b with the published share of the numbers, and longer). They classify 28 x 28 pictures of 36 classes;
frames of a rig are in `lensless bench budgets`.
"""

import concurrent.futures
import dataclasses
import functools
import json
import math
import multiprocessing
import os
import pathlib
import statistics
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardware.errors import ConfigurationError
from lensless.app.bench.kept import read_kept
from lensless.app.bench.side_by_side import processors
from lensless.app.screen import Screen
from lensless.app.text_file import write
from lensless.app.version import code_version
from lensless.data.augment import Augmentation, augment, sample_randoms
from lensless.data.glyphs import draw
from lensless.nn.preactivation import PreactivationNet
from lensless.sharing import Ensemble, SharedNetwork, grow, make_plan, random_split, refine, share, widen

CLASSES = 36  # digits and capitals
TRAINING, TEST = 4000, 2000
POSE = Augmentation(shift_px=2.5, turn_deg=25.0, scale=0.2, shear=0.3, warp_px=0.0)
NOISE = 0.12
BATCH, RATE, MOMENTUM, DECAY, CLIP, WARM_UP = 50, 0.1, 0.9, 5e-4, 5.0, 30


# --- one training ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Budget:
    """Trained numbers of the whole network and the method that meets them; `options` of the method."""

    numbers: int | str
    method: str = "cells"
    options: tuple[tuple[str, object], ...] = ()


@functools.cache
def pictures() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training pictures and labels, test pictures and labels: the same fonts, other poses and noise."""
    drawn, labels, _ = draw("train", 0, (TRAINING + TEST) * 47 // CLASSES + 47)
    chosen = (labels < CLASSES).nonzero().flatten()[: TRAINING + TEST]
    moved = augment(drawn[chosen].float() / 255, sample_randoms(0, 0, len(chosen)), POSE)
    noise = torch.randn(moved.shape, generator=torch.Generator().manual_seed(1)) * NOISE
    seen = moved + noise
    order = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(2))
    first, last = order[:TRAINING], order[TRAINING:]
    return seen[first], labels[chosen][first], seen[last], labels[chosen][last]


def groups_of(network: nn.Module) -> list[dict]:
    """Numbers that mix templates are not pulled to 0."""
    mixing = network.mixing_numbers() if hasattr(network, "mixing_numbers") else []
    rest = [parameter for parameter in network.parameters() if all(parameter is not one for one in mixing)]
    return [{"params": rest, "weight_decay": DECAY}, {"params": mixing, "weight_decay": 0.0}]


def fit(
    network: nn.Module,
    epochs: int,
    seed: int,
    rate: float = RATE,
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None,
) -> nn.Module:
    """Train in place: SGD with Nesterov's momentum, a warm-up and half a cosine."""
    loss = loss or (lambda network, x, labels: F.cross_entropy(network(x), labels))
    x, labels, _, _ = pictures()
    optimizer = torch.optim.SGD(groups_of(network), lr=rate, momentum=MOMENTUM, nesterov=True)
    steps = epochs * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share(step, steps))
    generator = torch.Generator().manual_seed(1000 + seed)
    network.train()
    for _ in range(epochs):
        for some in torch.randperm(len(x), generator=generator).split(BATCH):
            optimizer.zero_grad(set_to_none=True)
            loss(network, x[some], labels[some]).backward()
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
            schedule.step()
    return network.eval()


def _share(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))


@torch.no_grad()
def accuracy(answer: Callable[[Tensor], Tensor]) -> float:
    """Percent of the test pictures."""
    _, _, x, labels = pictures()
    return 100 * float(torch.cat([answer(piece).argmax(1) for piece in x.split(500)]).eq(labels).float().mean())


def new(width: int, blocks: int, seed: int, budget: Budget | None = None) -> nn.Module:
    torch.manual_seed(seed)
    network = PreactivationNet(width, blocks, CLASSES)
    if budget is None:
        return network
    return share(network, budget.numbers, budget.method, seed=seed, **dict(budget.options))


def trained(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def classifier(seed: int, width: int = 12, blocks: int = 2, epochs: int = 8, budget: Budget | None = None) -> dict:
    """Train one network; what it reaches."""
    network = fit(new(width, blocks, seed, budget), epochs, seed)
    return {"numbers": trained(network), "accuracy": accuracy(network)}


# --- E1, E2: budgets ------------------------------------------------------------------------------------------------

ONE, TWO = (("templates", 1),), (("templates", 2),)
E1 = {
    "full, width 12": {},
    "soft, 2 templates": {"budget": Budget(100_000, "soft", TWO)},
    "soft, 1 template": {"budget": Budget(100_000, "soft", ONE)},
    "narrow, width 8": {"width": 8},
}
E2 = {
    "full, width 12": {},
    "cells, 28 k": {"budget": Budget(28_008)},
    "SSN, 28 k": {"budget": Budget(28_008, "ssn")},
    "tiles, 28 k": {"budget": Budget(28_008, "tiles")},
    "SuperWeights, 50 k": {"budget": Budget(50_000, "superweights")},
    "narrow, width 6": {"width": 6},
    "cells, 16 k": {"budget": Budget(16_008)},
    "SSN, 16 k": {"budget": Budget(16_008, "ssn")},
    "narrow, width 4": {"width": 4},
}


# --- E3: growing ----------------------------------------------------------------------------------------------------

HALF_EPOCHS, GROWN_EPOCHS, GROWN_RATE = 12, 3, 0.03


def half(seed: int, epochs: int, other: int = 0) -> SharedNetwork:
    """A network of half the width, each of whose weights mixes two templates."""
    return fit(_fresh_half(seed, other), epochs, 10 * seed + other)


def _fresh_half(seed: int, other: int) -> SharedNetwork:
    torch.manual_seed(seed)
    network = PreactivationNet(6, 2, CLASSES)
    return share(network, plan=make_plan(network, "250%", "mixture"), seed=10 * seed + other)


def growing(seed: int, epochs: int = HALF_EPOCHS) -> dict:
    """Two halves, grown in four ways; a network of the full width trained at once."""
    halves = [half(seed, epochs, other) for other in range(2)]
    together = accuracy(lambda x: halves[0](x) + halves[1](x))
    found = {"half": [accuracy(one) for one in halves], "both": together}
    for cross in ("zero", "orthogonal", "random", "copy"):
        grown = grow(*halves, cross, seed=seed).eval()
        at_growth = accuracy(grown)
        found[cross] = [at_growth, accuracy(fit(grown, GROWN_EPOCHS, seed, GROWN_RATE))]
        found["numbers"] = trained(grown)
    found["full, the last epochs only"] = accuracy(fit(new(12, 2, seed), GROWN_EPOCHS, seed))
    # A half takes about a quarter of the operations of the full width.
    found["full, as many operations"] = accuracy(fit(new(12, 2, seed), round(epochs / 2) + GROWN_EPOCHS, seed))
    return found


def growing_late(seed: int, epochs: int = 40) -> dict:
    """Whether two halves help: both trained to the end and grown, beside one trained twice as long and doubled."""
    halves = [half(seed, epochs, other) for other in range(2)]
    long = half(seed, 2 * epochs)
    found = {
        "half": [accuracy(one) for one in halves],
        "both": accuracy(lambda x: halves[0](x) + halves[1](x)),
        "one half, twice as long": accuracy(long),
    }
    for cross in ("zero", "orthogonal"):
        found[f"two halves, {cross}"] = accuracy(fit(grow(*halves, cross, seed=seed), GROWN_EPOCHS, seed, GROWN_RATE))
    doubled = {
        "doubled": widen(long),
        "doubled, the second half fresh": grow(long, _fresh_half(seed, 2), "orthogonal", seed=seed),
    }
    for name, network in doubled.items():
        found[name] = accuracy(fit(network, GROWN_EPOCHS, seed, GROWN_RATE))
    found["full, as many operations"] = accuracy(fit(new(12, 2, seed), round(epochs / 2) + GROWN_EPOCHS, seed))
    return found


# --- E4: clusters by gradients --------------------------------------------------------------------------------------


class TwoTasks(nn.Module):
    """Which character, and how it is turned by quarters, from branches of equal shape."""

    def __init__(self, width: int = 12):
        super().__init__()
        self.character = PreactivationNet(width, 1, CLASSES)
        self.turn = PreactivationNet(width, 1, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.character(x), self.turn(x)


def two_losses(network: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the character and of the turn, which is drawn from the batch."""
    turns = torch.arange(len(x)) % 4
    turned = torch.stack([picture.rot90(int(turn), (1, 2)) for picture, turn in zip(x, turns, strict=True)])
    character, turn = network(turned)
    return F.cross_entropy(character, labels) + F.cross_entropy(turn, turns)


def splitting(seed: int, epochs: int = 4, controls: int = 5) -> dict:
    """Test loss with clusters that were split by gradients, and with splits of the same sizes by chance."""
    torch.manual_seed(seed)
    network, kept = TwoTasks(), ["*.stem", "*.head", "*.skip"]
    first = share(network, "60%", "superweights", tied=True, bins=1, keep=kept, seed=seed)
    fit(first, 1, seed, loss=two_losses)
    x, labels, _, _ = pictures()
    batches = [(x[at : at + 100], labels[at : at + 100]) for at in range(0, 1000, 100)]
    # Single linkage would join all layers by a chain of pairs that agree a little.
    plan = refine(first, batches, lambda network, batch: two_losses(network, *batch), linkage="complete")
    chance = [random_split(first.plan, plan, seed=control) for control in range(controls)]
    return {
        "learned": _loss_of(network, plan, epochs, seed),
        "chance": [_loss_of(network, one, epochs, seed) for one in chance],
        "clusters": len({min(piece.bank for piece in each.pieces) for each in plan.weights}),
    }


def _loss_of(network: nn.Module, plan, epochs: int, seed: int) -> float:
    shared = fit(share(network, plan=plan, seed=seed), epochs, seed, loss=two_losses)
    _, _, x, labels = pictures()
    with torch.no_grad():
        return float(two_losses(shared, x, labels))


# --- E5: ensembles --------------------------------------------------------------------------------------------------

MEMBERS = {"wide": (12, 2), "narrow": (6, 2), "shallow": (12, 1)}


def ensemble(seed: int, epochs: int = 8, budget: int = 60_000) -> dict:
    """Three networks on one set of templates, and the same three apart."""
    together = _together(seed, epochs, budget, "cells")
    alone = _apart(seed, epochs)
    _, _, x, labels = pictures()
    with torch.no_grad():
        curve = [100 * float((said.argmax(1) == labels).float().mean()) for said, _ in together.anytime(x)]
    return {
        "numbers": trained(together),
        "numbers apart": sum(map(trained, alone.values())),
        "members": {name: accuracy(functools.partial(together, members=[name])) for name in MEMBERS},
        "together": accuracy(together),
        "anytime": curve,
        "apart": {name: accuracy(network) for name, network in alone.items()},
        "apart, together": accuracy(lambda x: sum(network(x).softmax(1) for network in alone.values())),
    }


def ensemble_late(seed: int, epochs: int = 30, share_of_apart: float = 0.83) -> dict:
    """The published claim: with 17 % fewer numbers, three networks on one set are no worse than apart."""
    alone = _apart(seed, epochs)
    numbers = sum(map(trained, alone.values()))
    found = {"apart": numbers, "apart, together": accuracy(lambda x: sum(one(x).softmax(1) for one in alone.values()))}
    for method in ("cells", "superweights"):
        together = _together(seed, epochs, round(share_of_apart * numbers), method)
        found |= {method: trained(together), f"{method}, together": accuracy(together)}
    return found


def _together(seed: int, epochs: int, budget: int, method: str) -> Ensemble:
    torch.manual_seed(seed)
    members = {name: PreactivationNet(*shape, CLASSES) for name, shape in MEMBERS.items()}

    def loss(network: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
        with network.expanded():
            return sum(F.cross_entropy(member(x), labels) for member in network.network.values())

    return Ensemble(fit(share(members, budget, method, seed=seed), epochs, seed, loss=loss)).eval()


def _apart(seed: int, epochs: int) -> dict[str, nn.Module]:
    return {name: fit(new(*shape, seed), epochs, seed) for name, shape in MEMBERS.items()}


# --- all of them ----------------------------------------------------------------------------------------------------

EXPERIMENTS: dict[str, dict[str, tuple[Callable[..., dict], dict]]] = {
    "E1": {name: (classifier, options) for name, options in E1.items()},
    "E2": {name: (classifier, options) for name, options in E2.items()},
    "E3": {"growing": (growing, {})},
    "E3b": {"growing": (growing_late, {})},
    "E4": {"splitting": (splitting, {"controls": 5})},
    "E5": {"ensemble": (ensemble, {})},
    "E5b": {"ensemble": (ensemble_late, {})},
}
SEEDS = {"E1": 3, "E2": 2, "E3": 2, "E3b": 2, "E4": 3, "E5": 2, "E5b": 3}


def run(only: Sequence[str], out: pathlib.Path, screen: Screen) -> dict:
    """Train what is not there yet, show, and return the figures."""
    wrong = [name for name in only if name not in EXPERIMENTS]
    if wrong:
        raise ConfigurationError(f"--only {wrong[0]!r}; expected one of {', '.join(EXPERIMENTS)}, speed")
    found = {}
    for experiment in only:
        began_s = time.perf_counter()
        figures = _figures(experiment, out, screen)
        screen.say(f"{experiment}: {time.perf_counter() - began_s:.0f} s")
        _show(experiment, figures, screen)
        found[experiment] = figures
    return {"experiments": found, "code": code_version(), "torch": torch.__version__, "processors": os.cpu_count()}


def _figures(experiment: str, out: pathlib.Path, screen: Screen) -> dict[str, list[dict]]:
    """Of each line, what each seed gave."""
    path, made_of = (
        out / f"{experiment}.json",
        {"made_of": {name: repr(options) for name, (_, options) in EXPERIMENTS[experiment].items()}},
    )
    kept = read_kept(path, made_of) if path.exists() else {**made_of, "code": code_version(), "figures": {}}
    jobs = [
        (name, seed, function, options)
        for name, (function, options) in EXPERIMENTS[experiment].items()
        for seed in range(SEEDS[experiment])
        if str(seed) not in kept["figures"].get(name, {})
    ]
    out.mkdir(parents=True, exist_ok=True)
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(processors(), spawn, _alone) as pool:
        ends = {pool.submit(function, seed, **options): (name, seed) for name, seed, function, options in jobs}
        for end in screen.track(concurrent.futures.as_completed(ends), experiment, len(ends)):
            name, seed = ends[end]
            kept["figures"].setdefault(name, {})[str(seed)] = end.result()
            write(path, json.dumps(kept, indent=2))
    return {
        name: [kept["figures"][name][str(seed)] for seed in range(SEEDS[experiment])]
        for name in EXPERIMENTS[experiment]
    }


def _alone() -> None:
    torch.set_num_threads(1)


def _show(experiment: str, figures: dict[str, list[dict]], screen: Screen) -> None:
    if experiment in ("E1", "E2"):
        rows = [[name, f"{found[0]['numbers']:,}", _range([one["accuracy"] for one in found])]
                for name, found in figures.items()]  # fmt: skip
        screen.table(f"{experiment}: accuracy (%)", ["network", "trained", "mean (lowest .. highest)"], rows)
        return
    (found,) = figures.values()
    rows = [[name, *(_told(one[name]) for one in found)] for name in found[0]]
    screen.table(experiment, ["", *(f"seed {seed}" for seed in range(len(found)))], rows)


def _range(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.2f} ({min(values):.2f} .. {max(values):.2f})"


def _told(value) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_told(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(_told, value))
    return f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
