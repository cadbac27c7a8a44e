"""The parts of a batch: who computes them does not matter, and what they add up to is what arithmetic says."""

import copy
import dataclasses
import math
import pathlib

import pytest
import tiny
import torch
from torch import nn

from hardware.errors import ConfigurationError
from lensless.train.batches import SceneBatches, derived_seed, part_seed
from lensless.train.parts import Parts, with_parts
from lensless.train.processes import Processes
from lensless.train.recipe import Recipe

HERE = pathlib.Path("a-folder")


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.BatchNorm1d(5, momentum=0.2), nn.Linear(5, 4), nn.BatchNorm1d(4), nn.GELU(), nn.Linear(4, 1)
    )


def batch(size: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return 3 + torch.randn(size, 5, generator=draw), torch.randn(size, 1, generator=draw)


def step(net: nn.Module, parts: Parts, given: tuple[torch.Tensor, torch.Tensor]) -> float:
    """Gradients and running statistics of one batch, and its loss; no weight is moved."""
    net.zero_grad()
    losses = []
    for _, (inputs, targets) in parts.of(given):
        losses.append((net(inputs) - targets).square().mean())
        losses[-1].backward()
    return parts.mean(losses)


def numbers(net: nn.Module) -> dict[str, torch.Tensor]:
    gradients = {f"gradient of {name}": weight.grad for name, weight in net.named_parameters()}
    return gradients | dict(net.named_buffers())


def check_close(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-7, msg=name)


def by_hand(net: nn.Module, parts: int) -> tuple[dict, float]:
    """Each part in a copy of the network of its own; the plain mean of what they have afterwards."""
    found, losses = [], []
    for inputs, targets in zip(*(tensor.chunk(parts) for tensor in batch()), strict=True):
        own = copy.deepcopy(net)
        losses.append((own(inputs) - targets).square().mean())
        losses[-1].backward()
        found.append(numbers(own))
    means = {name: sum(one[name] for one in found) / parts for name in found[0]}
    return means | {name: found[0][name] for name in means if "tracked" in name}, sum(losses).item() / parts


@pytest.mark.parametrize("count", [1, 2, 3, 6])
def test_a_batch_in_parts_is_the_mean_over_them_by_hand(count):
    net = network()
    expected, expected_loss = by_hand(net, count)
    loss = step(net, Parts(net, count, Processes()), batch())
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    check_close(numbers(net), expected)


class Exchanged(Processes):
    """A process whose exchange is done by hand: what it gives is kept, and what all give is put in its place."""

    def __init__(self, rank: int, count: int, total: torch.Tensor | None = None):
        super().__init__(rank, count)
        self.total = total

    def add_up(self, given: torch.Tensor) -> None:
        self.gave = given.clone()
        if self.total is not None:
            given.copy_(self.total)


@pytest.mark.parametrize(("count", "shards"), [(2, 2), (2, 4), (3, 6)])
def test_processes_with_parts_each_come_to_what_one_process_with_all_comes_to(count, shards):
    alone = network()
    loss = step(alone, Parts(alone, shards, Processes()), batch())
    given = []
    for rank in range(count):
        processes, net = Exchanged(rank, count), network()
        step(net, Parts(net, shards, processes), tuple(tensor[processes.share(12)] for tensor in batch()))
        given.append(processes.gave)
    assert len({len(one) for one in given}) == 1
    for rank in range(count):
        processes, net = Exchanged(rank, count, sum(given)), network()
        found = step(net, Parts(net, shards, processes), tuple(tensor[processes.share(12)] for tensor in batch()))
        assert found == pytest.approx(loss, rel=1e-6)
        check_close(numbers(net), numbers(alone))


def test_what_is_exchanged_is_each_gradient_each_running_statistic_and_the_loss():
    processes, net = Exchanged(0, 2), network()
    step(net, Parts(net, 2, processes), tuple(tensor[:6] for tensor in batch()))
    trained = sum(weight.numel() for weight in net.parameters())
    assert len(processes.gave) == trained + 2 * (5 + 4) + 1


def test_parts_of_all_processes_are_all_parts_once():
    for count, shards in ((1, 1), (1, 4), (2, 4), (4, 4), (3, 12)):
        parts = [Parts(network(), shards, Processes(rank, count)) for rank in range(count)]
        assert [part for one in parts for part in one.mine] == list(range(shards))
    for length in (0, 1, 7, 64):
        shares = [Processes(rank, 5).share(length) for rank in range(5)]
        assert [at for share in shares for at in range(length)[share]] == list(range(length))
        assert max(share.stop - share.start for share in shares) <= math.ceil(length / 5)


def test_shares_of_a_batch_are_the_batch():
    scenes = tiny.scenes()
    whole = SceneBatches(scenes.pictures, scenes.labels, tiny.RECIPE)[1, 2]
    shares = [Processes(rank, 4).share(tiny.RECIPE.batch_size) for rank in range(4)]
    pieces = [SceneBatches(scenes.pictures, scenes.labels, tiny.RECIPE, share)[1, 2] for share in shares]
    for at, tensor in enumerate(whole):
        assert torch.equal(torch.cat([piece[at] for piece in pieces]), tensor)


def test_the_first_part_has_the_seed_of_a_batch_in_one_part_and_others_have_their_own():
    assert part_seed(5, 3, 7, 0) == derived_seed(5, 3, 7)
    seeds = {part_seed(1, epoch, step, part) for epoch in range(10) for step in range(10) for part in range(64)}
    assert len(seeds) == 6400


def test_a_training_in_two_parts_is_another_one_and_goes_on_without_being_told(tmp_path):
    halves = dataclasses.replace(tiny.RECIPE, shards=2, epochs=2)
    whole = tiny.run(tmp_path / "whole", tiny.classify(), dataclasses.replace(halves, shards=1)).history
    history = tiny.run(tmp_path / "halves", tiny.classify(), halves).history
    assert [one.loss for one in history] != [one.loss for one in whole]
    again = tiny.run(tmp_path / "halves", tiny.classify(), dataclasses.replace(halves, shards=None)).history
    assert again == history
    with pytest.raises(ConfigurationError, match="holds a training run with shards = 2, not 4;"):
        tiny.run(tmp_path / "halves", tiny.classify(), dataclasses.replace(halves, shards=4))


def test_parts_that_a_batch_has_not_are_refused_with_batches_that_have_them():
    for size, shards, fitting in ((16, 3, "15 or 18"), (50, 64, "128"), (16, 16, "32"), (41, 2, "40 or 42")):
        with pytest.raises(ConfigurationError, match=rf"batch of {size} .* {shards} equal .* --batch-size {fitting}$"):
            Recipe(epochs=1, batch_size=size, shards=shards)
    assert Recipe(epochs=1, batch_size=1).shards is None


def test_the_number_of_parts_is_that_of_the_wish_of_the_run_or_of_the_processes():
    recipe, three = Recipe(epochs=1, batch_size=48), Processes(0, 3)
    begun = ({}, {"recipe": {"shards": 6}})
    asked = dataclasses.replace(recipe, shards=12)
    assert with_parts(recipe, None, three, HERE).shards == 3
    assert with_parts(recipe, begun, three, HERE).shards == 6
    assert with_parts(asked, begun, three, HERE).shards == 12  # and what the run was begun with is compared later
    assert with_parts(recipe, ({}, {"recipe": {}}), Processes(), HERE).shards == 1  # the first runs did not say
    for nonsense in ({}, {"recipe": 3}, {"recipe": {"shards": "two"}}, {"recipe": {"shards": -1}}):
        assert with_parts(recipe, ({}, nonsense), three, HERE).shards == 3
    with pytest.raises(ConfigurationError, match=r"^a-folder holds .* shards = 6: 4 .*start 1, 2, 3 or 6 of .*--out$"):
        with_parts(recipe, begun, Processes(0, 4), HERE)
    with pytest.raises(ConfigurationError, match=r"^--shards 1: 3 processes .*start 1 of them, or say --shards 3$"):
        with_parts(dataclasses.replace(recipe, shards=1), None, three, HERE)
