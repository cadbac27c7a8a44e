"""Plans and what they begin with: counts that follow from depth, zeros that stay, rates, the same in every process."""

import os
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn
from zoo import METHODS, Deep, made, picture, size

from lensless.nn.unet import UNet
from lensless.sharing import Plan, conflict, make_plan, refine, share, untie
from lensless.sharing.conflict import Conflict, split
from lensless.sharing.initial import draw, he
from lensless.sharing.network import SharedNetwork
from lensless.sharing.refine import regrouped

EVERY = pytest.mark.parametrize("method", METHODS)


def layers(depth: int) -> Deep:
    torch.manual_seed(0)
    return Deep(depth=depth)


def test_one_more_layer_of_a_shape_costs_its_row_and_its_bias():
    sizes = [size(share(layers(depth), 100_000, "soft", templates=2)) for depth in (6, 7, 8)]
    assert sizes[1] - sizes[0] == sizes[2] - sizes[1] == 2 + 16
    (bank,) = share(layers(8), 100_000, "soft", templates=2).plan.banks
    assert bank.numbers == 2 * 16 * 16 * 9


def test_layers_that_take_one_template_alike_are_equal():
    shared = share(layers(6), 100_000, "soft", templates=1, init="he")
    with torch.no_grad():
        for numbers in shared.mixing_numbers():
            numbers.fill_(1)
    first, *others = (weight for name, weight in shared.materialise().items() if name.startswith("layers"))
    assert len(others) == 5 and all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize("method", ["superweights", "tiles"])
def test_a_small_layer_is_the_corner_of_a_large_one_whose_rows_it_shares(method):
    """By the published nesting: as long as rows are tied, sizes that lie in one another are views of one weight."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3), nn.Conv2d(16, 24, 3), nn.Conv2d(24, 32, 3), nn.Conv2d(32, 32, 3),
        nn.Conv2d(32, 3, 3),
    )  # fmt: skip
    options = {"tied": True, "bins": 1} if method == "superweights" else {}
    shared = share(network, "80%", method, **options)
    if method == "tiles":
        with torch.no_grad():
            for numbers in shared.mixing_numbers():
                numbers.copy_(numbers[:1].expand_as(numbers))
    one, *larger = sorted(shared.materialise().values(), key=torch.numel)
    outputs, inputs = one.shape[:2]
    assert len(larger) == 3 and one.any()
    for other in larger:
        corner = other[:outputs, :inputs]
        torch.testing.assert_close(corner / corner.norm(), one / one.norm())


@EVERY
def test_nothing_is_left_as_the_memory_was(method):
    """Published code leaves the end of a bank as it finds it."""
    network = made("mixed")
    shared = SharedNetwork(network, make_plan(network, 30_000, method))
    for parameter in shared.banks.parameters():
        nn.init.constant_(parameter, float("nan"))
    draw(shared, {each.weight.name: he(each.weight) for each in shared.plan.weights})
    assert all(parameter.isfinite().all() for parameter in shared.parameters())


def test_templates_and_rows_may_be_turned_together():
    """(A, T) and (A R, inverse of R, T) are one network: nothing may be concluded from mixing numbers by themselves."""
    shared = share(made("deep").double(), "60%", "soft", seed=0).eval()
    expected = shared(picture(torch.float64))
    bank = max(shared.banks, key=lambda bank: len(bank.bank.rows))
    (row,) = {row for row in bank.bank.rows}
    turn = torch.randn(row.templates, row.templates, dtype=torch.float64)
    with torch.no_grad():
        templates = turn.inverse() @ bank.templates(row)
        bank.numbers.copy_(templates.flatten())
        bank.mixing[0].copy_(bank.mixing[0] @ turn)
    torch.testing.assert_close(shared(picture(torch.float64)), expected, rtol=1e-8, atol=1e-10)


def test_plans_are_the_same_in_every_process():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom zoo import METHODS, made\n"
        "from lensless.sharing import make_plan\n"
        "for method in METHODS: print(make_plan(made('mixed'), 30_000, method).to_json())"
    )
    texts = set()
    for hash_seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", code, os.path.dirname(__file__)]
        texts.add(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    (found,) = texts
    plans = [Plan.from_json(line) for line in found.splitlines()]
    assert plans == [make_plan(made("mixed"), 30_000, method) for method in METHODS]


@EVERY
def test_one_seed_begins_with_the_same_numbers(method):
    one, other, third = (share(made("mixed"), 30_000, method, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert any(not torch.equal(one[name], third[name]) for name in one if name.startswith("banks"))


@pytest.mark.parametrize("method", ["cells", "superweights"])
def test_a_baked_network_pickles_and_exports_and_a_shared_one_stores_no_weight(method):
    shared = share(made("unet"), "50%", method).eval()
    plain, x = shared.bake().eval(), picture()
    assert torch.equal(pickle.loads(pickle.dumps(plain))(x), shared(x))
    torch.testing.assert_close(torch.export.export(plain, (x,)).module()(x), shared(x), rtol=1e-5, atol=1e-6)
    stored = shared.state_dict()
    assert sum(value.numel() for value in stored.values()) <= shared.plan.trainable + sum(
        buffer.numel() for buffer in shared.buffers()
    )
    assert not {f"network.{each.weight.name}" for each in shared.plan.weights} & set(stored)


@EVERY
def test_a_layer_that_begins_silent_stays_silent_and_learns(method):
    torch.manual_seed(0)
    network = nn.Sequential(*(UNet(1, 32, 24) for _ in range(3)))
    shared = share(network, "40%", method, seed=0)
    silent = [each.weight.name for each in shared.plan.weights if "leave" in each.weight.name]
    made_ = shared.materialise()
    alone = {
        name for name in silent
        if not {(piece.bank, piece.row) for piece in _pieces(shared, name)} & {
            (piece.bank, piece.row) for each in shared.plan.weights if each.weight.name not in silent
            for piece in each.pieces
        }
        and all(shared.plan.banks[piece.bank].rows[piece.row].own for piece in _pieces(shared, name))
    }  # fmt: skip
    assert all(not made_[name].any() for name in alone)
    if method in ("cells", "soft"):
        assert alone == set(silent) != set()
    x = torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        for parameter in shared.network.parameters():
            if parameter.ndim > 1:  # a private silent layer would hide what lies before it
                parameter.add_(0.01)
    optimizer = torch.optim.Adam(shared.parameter_groups(0.0, adam_rate=1e-3))
    for _ in range(2):
        optimizer.zero_grad()
        (shared(x) - x.flip(3)).square().mean().backward()
        optimizer.step()
    assert all(weight.any() for weight in shared.materialise().values())


def _pieces(shared: SharedNetwork, name: str):
    return next(each.pieces for each in shared.plan.weights if each.weight.name == name)


def test_fresh_weights_have_the_spread_that_they_had():
    network = made("deep")
    with torch.no_grad():
        for at, layer in enumerate(network.layers):
            layer.weight.normal_(std=0.02 * (1 + at % 2))
    weights = [share(network, "80%", seed=seed).materialise() for seed in range(8)]
    for at in range(6):
        spread = sum(float(each[f"layers.{at}.weight"].detach().square().mean().sqrt()) for each in weights) / 8
        assert spread == pytest.approx(0.02 * (1 + at % 2), rel=0.1)


def test_under_adam_mixing_numbers_move_about_as_much_of_themselves_as_templates():
    shared = share(layers(6), "60%", seed=0)
    (rate,), (numbers,), bank = shared.mixing_rates(), shared.mixing_numbers(), shared.banks[0]
    assert rate == pytest.approx(
        2 * float(numbers.detach().square().mean().sqrt() / bank.numbers.detach().square().mean().sqrt())
    )
    groups = shared.parameter_groups(0.1, adam_rate=1e-3)
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(1e-3, 0.1), (1e-3, 0), (1e-3 * rate, 0)]
    found = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(found) == sorted(map(id, shared.parameters()))
    before = [numbers.detach().clone(), bank.numbers.detach().clone()]
    optimizer = torch.optim.Adam(groups)
    shared(picture()).square().mean().backward()
    optimizer.step()
    moved = [
        float((now.detach() - then).norm() / then.norm())
        for now, then in zip((numbers, bank.numbers), before, strict=True)
    ]  # fmt: skip
    assert moved[0] == pytest.approx(2 * moved[1], rel=0.05)


def test_cells_have_the_size_with_most_templates():
    """Larger ones spend the budget on templates, smaller ones on rows; counted here by trying every size."""
    network = nn.Sequential(*(nn.Conv2d(32, 32, 3) for _ in range(12)))
    for budget in ("15%", "40%"):
        counts = {side: _templates(make_plan(network, budget, side=side)) for side in (32, 16, 8, 4, 2)}
        assert _templates(make_plan(network, budget)) >= 0.8 * max(counts.values())
        assert max(counts[32], counts[2]) < 0.8 * max(counts.values())


def _templates(plan: Plan) -> int:
    return plan.banks[0].rows[0].templates


def test_the_threshold_is_the_highest_on_the_grid_whose_clusters_fit():
    network, budget = layers(6), 10_000
    shared = share(network, budget, "superweights", tied=True, bins=1)
    torch.manual_seed(1)
    found = conflict(shared, [picture()], lambda shared, x: shared(x).square().mean())
    cosines = torch.rand(1, 6, 6)
    found = Conflict(found.names, (cosines + cosines.transpose(1, 2)) / 2)
    plan = refine(shared, [], None, tau=0.9, found=found)
    clusters = {piece.bank for each in plan.weights for piece in each.pieces}
    tau = 0.9
    while True:  # one template of 2,304 numbers for each cluster, and what is private
        parts = split(found.mean, [range(6)], tau)
        if len(parts) * 2304 + 2 * (3 * 16 * 9) + 16 * 7 + 3 <= budget:
            break
        tau -= 0.05
    assert len(clusters) == len(parts) > 1
    names = [[found.names[member] for member in part] for part in parts]
    assert plan == regrouped(shared.plan, names)


class Branches(nn.Module):
    """x + branch(x), four times; the branches end in small weights."""

    def __init__(self, spread: float):
        super().__init__()
        torch.manual_seed(0)
        self.branches = nn.ModuleList(nn.Sequential(nn.Linear(48, 48), nn.Tanh(), nn.Linear(48, 48)) for _ in range(4))
        for branch in self.branches:
            nn.init.normal_(branch[2].weight, std=spread)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for branch in self.branches:
            x = x + branch(x)
        return x


@pytest.mark.parametrize("spread", [0.0, 1e-6, 1e-3])
@pytest.mark.parametrize("adam", [False, True])
def test_what_begins_near_zero_learns_as_what_begins_there(spread, adam):
    shared = share(Branches(spread), "60%", seed=0)
    ends = [each.weight.name for each in shared.plan.weights if each.weight.name.endswith("2.weight")]
    for name in ends:
        assert float(shared.materialise()[name].detach().square().mean().sqrt()) == pytest.approx(spread, rel=0.2)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 48, generator=generator)
    target = x + torch.tanh(x @ torch.randn(48, 48, generator=generator) / 7)
    groups = shared.parameter_groups(0.0, adam_rate=1e-3 if adam else None)
    optimizer = torch.optim.Adam(groups) if adam else torch.optim.SGD(groups, lr=0.5, momentum=0.9)
    losses = []
    for _ in range(150):
        optimizer.zero_grad()
        loss = (shared(x) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("spread", [0.0, 1e-6])
def test_a_weight_of_its_own_template_begins_near_zero_and_moves_as_a_plain_one(spread):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 24, 3), nn.Conv2d(24, 3, 3))
    nn.init.normal_(network[1].weight, std=spread)
    shared = share(network, "100%", "soft", seed=0)
    (weight,) = shared.materialise().values()
    assert float(weight.detach().square().mean().sqrt()) == pytest.approx(spread, rel=0.1)
    assert shared.banks[0].gain.item() == 1 and not shared.mixing_numbers()


@pytest.mark.parametrize("method", ["soft", "superweights", "tiles", "cells"])
def test_templates_of_which_a_part_is_trained_leave_the_spread_as_it_is(method):
    for budget in range(3300, 5000, 400):
        network = Deep(8, 8)
        weights = [share(network, budget, method, exact=True, init="he", seed=seed).materialise() for seed in range(4)]
        for each in share(network, budget, method, exact=True).plan.weights:
            found = sum(float(one[each.weight.name].detach().square().mean().sqrt()) for one in weights) / 4
            assert found == pytest.approx(he(each.weight), rel=0.15)


class Twice(nn.Module):
    """One module under two names."""

    def __init__(self):
        super().__init__()
        self.enter, self.one, self.leave = nn.Linear(48, 48), nn.Linear(48, 48), nn.Linear(48, 48)
        self.other = self.one

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.leave(self.other(self.one(self.enter(x)).tanh()))


def test_a_module_under_two_names_is_one_layer_and_a_shared_network_can_be_saved(tmp_path):
    shared, x = share(Twice(), "70%", seed=0), torch.rand(2, 48)
    assert torch.equal(shared.bake()(x), shared(x))
    torch.save(shared, tmp_path / "shared.pt")
    assert torch.equal(torch.load(tmp_path / "shared.pt", weights_only=False)(x), shared(x))


def test_untying_where_nothing_is_mixed_changes_nothing():
    assert untie(_unmixed(), [picture()], _loss) == []


def _unmixed() -> SharedNetwork:
    torch.manual_seed(0)
    return share(nn.Sequential(*(nn.Conv2d(a, b, 3) for a, b in ((3, 16), (16, 24), (24, 3)))), "100%", "soft")


def _loss(shared: SharedNetwork, x: torch.Tensor) -> torch.Tensor:
    return shared(x).square().mean()
