"""What every way to share must keep, on networks of every kind."""

import copy
import re

import pytest
import torch
from torch import nn
from zoo import METHODS, NETWORKS, Mixed, made, picture, size

from hardware.errors import ConfigurationError
from lensless.sharing import Plan, make_plan, share
from lensless.sharing.budget import trained_numbers
from lensless.sharing.initial import he
from lensless.sharing.weights import find

EVERY = pytest.mark.parametrize("method", METHODS)
EACH = pytest.mark.parametrize("name", NETWORKS)


def least(network: nn.Module, method: str) -> int:
    """The smallest budget, as the refusal names it."""
    with pytest.raises(ConfigurationError, match="is too small") as refused:
        make_plan(network, 1, method)
    return int(str(refused.value).split("needs ")[1].split(":")[0].replace(",", ""))


@EACH
@EVERY
def test_a_network_keeps_its_budget_from_the_least_on(name, method):
    network = made(name)
    lowest = least(network, method)
    for budget in (lowest, lowest + 1, lowest + 1000, 2 * lowest + size(network)):
        shared = share(network, budget, method)
        assert size(shared) == shared.plan.trainable <= budget
        assert shared(picture()).shape == network(picture()).shape
    with pytest.raises(ConfigurationError, match="is too small"):
        share(network, lowest - 1, method)


@EACH
@pytest.mark.parametrize("method", ["cells", "tiles", "ssn"])
def test_exact_budgets_are_met_to_the_last_number(name, method):
    network = made(name)
    begin = least(network, method) + 50
    for budget in (*range(begin, begin + 12), begin + 777):
        assert size(share(network, budget, method, exact=True)) == budget


@EACH
@EVERY
def test_a_baked_network_gives_the_same_bits_and_is_what_it_was(name, method):
    network = made(name)
    shared = share(network, max(least(network, method), size(network) * 2 // 3), method)
    for _ in range(2):
        baked = shared.eval().bake()
        assert type(baked) is type(network) and torch.equal(baked(picture()), shared(picture()))
        network.load_state_dict(baked.state_dict())
    assert torch.equal(network.eval()(picture()), shared(picture()))
    assert torch.equal(copy.deepcopy(shared)(picture()), shared(picture()))
    assert not [module for module in baked.modules() if module._forward_pre_hooks or module._forward_hooks]


@EACH
@EVERY
def test_every_number_of_every_weight_is_made_from_one_place(name, method):
    """Counted instead of mixed: the assembler is given the places of numbers, and must give each weight its own."""
    shared = share(made(name), max(least(made(name), method), size(made(name)) * 2 // 3), method)
    for each in shared.plan.weights:
        filled = torch.zeros(each.weight.shape)
        for piece in each.pieces:
            outputs, inputs = (slice(at, at + used) for at, used in zip(piece.at, piece.used, strict=True))
            filled[outputs, inputs] += 1
        assert (filled == 1).all()
    assert Plan.from_json(shared.plan.to_json()) == shared.plan


@pytest.mark.parametrize("templates", [1, 2, 8])
@pytest.mark.parametrize("method", METHODS)
def test_fresh_weights_have_the_spread_of_he_and_move_as_plain_ones(method, templates):
    """Over several seeds; a step on the templates moves a weight by gain^2 |a|^2 of what a plain one would move."""
    network = made("deep")
    budget = least(network, method) + (templates - 1) * 2500 + 500  # a few numbers alone have no spread
    ratios: dict[str, list[float]] = {}
    for seed in range(8):
        shared = share(network, budget, method, init="he", seed=seed)
        for name, weight in shared.materialise().items():
            ratios.setdefault(name, []).append(float(weight.detach().square().mean().sqrt()))
    for each in shared.plan.weights:
        assert sum(ratios[each.weight.name]) / 8 == pytest.approx(he(each.weight), rel=0.05)
    for bank in shared.banks:
        lengths = torch.cat([mixing.square().sum(1) for mixing in bank.mixing] or [torch.ones(1)])
        assert (lengths * bank.gain.square().max() <= 4.001).all() and (lengths * bank.gain.square().min() > 0.5).all()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("method", ["cells", "soft", "tiles", "superweights"])
def test_with_as_many_templates_as_rows_a_trained_network_is_kept(name, method):
    network = made(name).double().eval()
    shared = share(network, 20 * size(network), method, init="keep").eval()
    if all(row.templates >= min(len(bank.rows), row.size) for bank in shared.plan.banks for row in bank.rows):
        torch.testing.assert_close(
            shared(picture(torch.float64)), network(picture(torch.float64)), rtol=1e-9, atol=1e-10
        )
    else:
        assert method in ("tiles", "superweights")  # eight templates at most


def test_gradients_are_those_of_the_closed_form():
    """dL/dT = sum over rows of a_r g_r, and dL/da_r = T g_r."""
    shared = share(made("deep").double(), "40%", "soft")
    value = shared(picture(torch.float64)).square().sum()
    with shared.held() as weights:
        direct = shared.network(picture(torch.float64)).square().sum()
        gradients = dict(zip(weights, torch.autograd.grad(direct, list(weights.values())), strict=True))
    value.backward()
    (bank,) = (bank for bank in shared.banks if len(bank.bank.rows) > 1)
    templates = bank.templates(bank.bank.rows[0]).detach()
    rows = torch.stack([gradients[f"layers.{at}.weight"].flatten() for at in range(len(bank.bank.rows))])
    mixing = bank.mixing[0].detach() * bank.gain[:, None]
    torch.testing.assert_close(bank.numbers.grad.view_as(templates), mixing.T @ rows, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(bank.mixing[0].grad, rows @ templates.T * bank.gain[:, None], rtol=1e-10, atol=1e-12)


def test_gathered_gradients_are_those_of_all_passes_together():
    shared = share(made("often").double(), "80%")
    x = picture(torch.float64)
    (shared(x).square().mean() + shared(2 * x).abs().mean()).backward()
    expected = {name: value.grad.clone() for name, value in shared.named_parameters()}
    shared.zero_grad()
    with shared.gathered():
        shared(x).square().mean().backward()
        shared(2 * x).abs().mean().backward()
    for name, value in shared.named_parameters():
        torch.testing.assert_close(value.grad, expected[name], rtol=1e-10, atol=1e-12)


def test_a_layer_at_a_time_gives_the_same_and_leaves_nothing_behind():
    shared = share(made("mixed"), "50%").eval()
    expected = shared(picture())
    shared.layer_by_layer = True
    torch.testing.assert_close(shared(picture()), expected, rtol=1e-5, atol=1e-6)
    assert not any("weight" in module.__dict__ for module in shared.network.modules())
    x = torch.rand(2, 16, 8, 8)
    torch.testing.assert_close(shared.wide(x), shared.bake().wide(x), rtol=1e-5, atol=1e-6)
    with pytest.raises(RuntimeError):
        shared(torch.rand(2, 5, 8, 8))  # wrong channels: an error on the way
    assert not any("weight" in module.__dict__ for module in shared.network.modules())


def test_a_share_of_the_network_and_bytes_are_budgets_too():
    assert trained_numbers("25%", 1000) == 250 and trained_numbers("12.5 %", 1000) == 125
    assert trained_numbers("40kB@float32", 10**6) == 10_000 and trained_numbers("1MiB@bfloat16", 1) == 2**19
    assert trained_numbers("40_000", 1) == trained_numbers(40_000, 1) == trained_numbers("40,000", 1) == 40_000
    for wrong in ("", "a lot", "25", -3, 0, True, 2.5, "40kB", "40kB@float1", "-3%", "0%", None):
        if wrong == "25":
            continue
        with pytest.raises(ConfigurationError, match="budget = "):
            trained_numbers(wrong, 1000)


def test_what_cannot_be_shared_is_named():
    network = Mixed()
    torch.nn.utils.parametrizations.weight_norm(network.again)
    with pytest.raises(ConfigurationError, match="'again'"):
        share(network, "50%")
    lazy = nn.Sequential(nn.LazyConv2d(8, 3), nn.Conv2d(8, 64, 3))
    with pytest.raises(ConfigurationError, match=r"0\.weight.*lazy"):
        share(lazy, "50%")
    mixed = Mixed()
    mixed.again.double()
    with pytest.raises(ConfigurationError, match=r"(joined|again)\.weight.*float64"):
        share(mixed, "50%")
    with pytest.raises(ConfigurationError, match="names no layer"):
        share(Mixed(), "50%", keep=["nothing*"])
    with pytest.raises(ConfigurationError, match="already"):
        share(share(Mixed(), "50%"), "50%")
    with pytest.raises(ConfigurationError, match="made for another network"):
        share(Mixed(), plan=make_plan(made("deep"), "50%"))
    with pytest.raises(ConfigurationError, match=r"'cells' takes no templates; expected side"):
        share(Mixed(), "50%", templates=2)
    for arguments in ({}, {"budget": "50%", "plan": make_plan(Mixed(), "50%")}):
        with pytest.raises(ConfigurationError, match="either a plan or a budget"):
            share(Mixed(), **arguments)
    with pytest.raises(ConfigurationError, match="no trained numbers"):
        share(nn.ReLU(), "50%")


def test_private_are_ends_depthwise_small_and_kept_ones():
    weights, small, private = find(Mixed(), keep=["again"])
    reasons = {each.name: each.reason for each in private}
    assert reasons["again.weight"] == "kept" and reasons["depthwise.weight"] == "one input for each output"
    assert "stem.weight" in small and reasons["norm.weight"] == "no weight of a layer"
    assert {weight.name for weight in weights} >= {"up.weight", "joined.weight", "line.weight", "mix.weight"}
    assert {"stem.weight", "head.weight"} <= {each.name for each in make_plan(Mixed(), "90%").private}
    stages = nn.Sequential(
        *(nn.Sequential(nn.Conv2d(16, 16, 3), nn.Conv2d(16, 4, 3), nn.Conv2d(4, 16, 3)) for _ in range(8))
    )
    for budget, joined in (("70%", False), ("20%", True)):  # many small ones are a large part of a low budget
        plan = make_plan(stages, budget)
        assert ("3.1.weight" in plan.joined) == joined and (
            "3.1.weight" in {each.name for each in plan.private}
        ) != joined
        assert sum(each.numbers for each in plan.private) <= plan.budget / 2
    chain = nn.Sequential(*(nn.Linear(40, 40) for _ in range(6)))
    for budget, names in (
        ("80%", {"0.weight", "5.weight"}),
        ("40%", {"5.weight"}),
        ("20%", set()),
    ):  # where they take half of the budget, they join
        plan = make_plan(chain, budget)
        assert {each.name for each in plan.private if each.reason in ("first layer", "last layer")} == names
    pair = {"a": nn.Sequential(*chain), "b": nn.Sequential(*(nn.Linear(40, 40) for _ in range(6)))}
    plan = share(pair, "80%").plan
    assert {each.name for each in plan.private if each.reason in ("first layer", "last layer")} == {
        "a.0.weight", "a.5.weight", "b.0.weight", "b.5.weight"
    }  # fmt: skip


@pytest.mark.parametrize("resize", ["bilinear", "repeat", "mask", "wavg"])
@pytest.mark.parametrize("budget", ["22%", "40%"])
def test_a_layer_larger_than_its_vector_is_filled_from_it(resize, budget):
    network = made("deep")
    shared = share(network, budget, "ssn", resize=resize, init="he", seed=0).double()
    assert size(shared) <= shared.plan.budget and shared.plan.trainable == size(shared)
    assert Plan.from_json(shared.plan.to_json()) == shared.plan
    for each in shared.plan.weights:
        weight = shared.materialise()[each.weight.name]
        assert float(weight.detach().std()) == pytest.approx((2 / each.weight.fan_in) ** 0.5, rel=0.25)
    (bank,) = shared.banks
    if resize in ("mask", "wavg") and budget == "22%":  # by hand, of one layer
        theta, (row, _), own = bank.numbers, bank.own_groups()[0], bank.mixing[0][0]
        if resize == "mask":
            masks = [own[copy].repeat(len(theta) // 144 + 1)[: len(theta)] for copy in range(row.copies)]
            flat = torch.cat([theta, *(theta * mask for mask in masks)])[: row.size]
        else:
            pairs = theta[: len(theta) // 2 * 2].view(-1, 2)
            flat = torch.cat([own @ pair for pair in pairs])[: row.size]
        made_ = next(iter(shared.materialise().values()))
        torch.testing.assert_close(made_.flatten(), flat * bank.gain[0])
    shared(picture(torch.float64)).square().sum().backward()
    assert all(numbers.grad is not None and numbers.grad.any() for numbers in shared.banks.parameters())


def test_masks_that_cost_more_than_the_budget_are_refused_with_the_least_that_would_do():
    with pytest.raises(ConfigurationError, match=r"method 'ssn' needs ([\d,]+)") as told:
        share(made("deep"), "3%", "ssn", resize="mask")
    least = int(re.search(r"needs ([\d,]+)", str(told.value))[1].replace(",", ""))
    assert size(share(made("deep"), least, "ssn", resize="mask")) <= least
