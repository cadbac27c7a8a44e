"""Rows that part where weights disagree: nothing changes at that moment, and only what should part does."""

import dataclasses

import pytest
import torch
from torch import nn
from zoo import Deep, made, picture, size

from hardware.errors import ConfigurationError
from lensless.sharing import random_split, refine, share, untie


def loss(network, batch):
    return network(batch).square().mean()


def tied(budget: int | str = "80%"):
    """Two networks of one shape whose layers mix with the same rows."""
    torch.manual_seed(0)
    networks = {"a": Deep(), "b": Deep()}
    together = [[f"{member}.layers.{number}.weight" for member in networks] for number in range(6)]
    return share(networks, budget, "superweights", together=together, seed=0).double()


def apart(network, batch):
    """A loss that wants the one network to grow and the other one to shrink."""
    return network.network["a"](batch).square().mean() - network.network["b"](batch).square().mean()


def test_what_parts_is_a_copy_and_keeps_outputs_and_optimiser():
    shared = tied()
    optimizer = torch.optim.Adam(shared.parameters(), lr=1e-3)
    with shared.expanded():
        apart(shared, picture(torch.float64)).backward()
    optimizer.step()
    state = {key: dict(value) for key, value in optimizer.state.items()}
    before, weights, trained = shared.plan, shared.materialise(), size(shared)
    new = untie(shared, [picture(torch.float64)], apart, tau=0.9)
    assert new and size(shared) == trained + sum(numbers.numel() for numbers in new) == shared.plan.trainable
    assert shared.plan != before and shared.plan.trainable <= shared.plan.budget
    for name, weight in shared.materialise().items():
        assert torch.equal(weight, weights[name])
    assert {key: dict(value) for key, value in optimizer.state.items()} == state
    assert all(any(numbers is each for each in shared.parameters()) for numbers in new)
    optimizer.add_param_group({"params": new, "weight_decay": 0})
    with shared.expanded():
        apart(shared, picture(torch.float64)).backward()
    optimizer.step()
    made_ = shared.materialise()
    assert not torch.equal(made_["a.layers.0.weight"], made_["b.layers.0.weight"])
    again = share({"a": Deep(), "b": Deep()}, plan=shared.plan).double()
    again.load_state_dict(shared.state_dict())  # the plan tells all that a checkpoint needs
    for name, weight in again.materialise().items():
        assert torch.equal(weight, made_[name])


def test_each_weight_counts_by_itself():
    """Its own wish for a row that it shares is templates times its gradient; all of them add up to autograd's."""
    shared = tied()
    with shared.held() as weights:
        apart(shared, picture(torch.float64)).backward()
        gradients = {name: weight.grad for name, weight in weights.items()}
    found = {}
    for name, gradient in gradients.items():
        for place, numbers in shared.mixing_gradients(name, gradient).items():
            found[place] = found.get(place, 0) + numbers
    with shared.gathered():
        apart(shared, picture(torch.float64)).backward()
    for at, bank in enumerate(shared.banks):
        for numbers, (_, rows) in zip(bank.mixing, bank.groups, strict=True):
            for place, row in enumerate(rows):
                torch.testing.assert_close(found[at, row], numbers.grad[place])


def test_weights_that_agree_stay_together():
    shared = tied()
    shared.network["b"].load_state_dict(shared.network["a"].state_dict())  # one network, twice
    before = shared.plan
    both = [lambda network, batch, sign=sign: sum(network.network[name](batch)[0, 0].sum() * sign for name in "ab")
            for sign in (1, -1)]  # fmt: skip
    assert all(untie(shared, [picture(torch.float64)], loss) == [] for loss in both) and shared.plan == before
    assert untie(shared, [picture(torch.float64)], apart, tau=0.999)
    assert untie(shared, [picture(torch.float64)], apart, tau=0.999) == []  # all of them are apart
    with pytest.raises(ConfigurationError, match=r"tau = 2; expected a cosine"):
        untie(shared, [picture(torch.float64)], apart, tau=2)


def test_rows_part_as_far_as_the_budget_goes():
    shared = tied()
    shared.plan = dataclasses.replace(shared.plan, budget=shared.plan.trainable + 3)
    new = untie(shared, [picture(torch.float64)], apart, tau=0.999)
    assert 1 <= sum(numbers.numel() for numbers in new) <= 3 and size(shared) <= shared.plan.budget


def test_a_random_split_has_the_sizes_of_the_learned_one_and_none_across_clusters():
    shared = share(made("deep"), "90%", "superweights", tied=True, bins=2)
    learned = refine(shared, [picture(), picture() ** 2], loss, tau=0.3)
    other = random_split(shared.plan, learned, seed=1)

    def groups(plan):
        found = {}
        for each in plan.weights:
            found.setdefault(min(piece.bank for piece in each.pieces), []).append(each.weight.name)
        return list(found.values())

    assert sorted(map(len, groups(other))) == sorted(map(len, groups(learned)))
    coarse = groups(shared.plan)
    assert all(any(set(group) <= set(cluster) for cluster in coarse) for group in groups(other))
    assert size(share(made("deep"), plan=other)) <= other.budget
    assert other == random_split(shared.plan, learned, seed=1)


class Branches(nn.Module):
    """Two branches of equal shape that see the same and are asked for different things."""

    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(40, 40)
        self.one = nn.ModuleList(nn.Linear(40, 40) for _ in range(2))
        self.other = nn.ModuleList(nn.Linear(40, 40) for _ in range(2))
        self.leave = nn.Linear(40, 40)

    def forward(self, x):
        x = self.enter(x)
        return [self.leave(sum(layer(x) for layer in branch)) for branch in (self.one, self.other)]


def test_planted_branches_are_found():
    """Layers of one branch add up, so their gradients are one; those of the other branch see another target."""
    torch.manual_seed(0)
    network = Branches()
    shared = share(network, "90%", "superweights", tied=True, bins=1, keep=["enter", "leave"])
    batches = [(torch.randn(64, 40), torch.randn(64, 40), torch.randn(64, 40)) for _ in range(10)]

    def far(network, batch):
        x, *targets = batch
        return sum((got - wanted).square().mean() for got, wanted in zip(network(x), targets, strict=True))

    with torch.no_grad():  # what all share at first would hide what they do not
        shared.banks[0].numbers.zero_()
    plan = refine(shared, batches, far, tau=0.9)
    found = {}
    for each in plan.weights:
        found.setdefault(min(piece.bank for piece in each.pieces), []).append(each.weight.name.split(".")[0])
    assert sorted(map(tuple, found.values())) == [("one", "one"), ("other", "other")]
