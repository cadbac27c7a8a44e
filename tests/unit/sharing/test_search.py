"""The whole procedure: stages in order, a budget that holds, and a search that goes on where it was."""

import pytest
import torch
from torch import nn
from zoo import Deep, made, picture, size

from hardware.errors import ConfigurationError, InputError
from lensless.sharing import search


def loss(network, batch):
    members = network.network.values() if isinstance(network.network, nn.ModuleDict) else [network]
    with network.expanded():
        return sum(member(batch).square().mean() for member in members)


class Training:
    """A few steps, counted by their stage; it can be made to fail."""

    def __init__(self, fails=None):
        self.stages, self.fails = [], fails

    def __call__(self, shared, stage):
        if stage == self.fails:
            raise KeyboardInterrupt
        self.stages.append(stage)
        optimizer = torch.optim.SGD(shared.parameters(), lr=1e-3)
        for _ in range(3):
            optimizer.zero_grad()
            loss(shared, picture()).backward()
            optimizer.step()
        return shared


def batches():
    return [picture(), picture() ** 2, 1 - picture()]


def run(training, folder=None, network=None, **options):
    return search(network or made("deep"), "90%", training, batches, loss, bins=2, folder=folder, **options)


def test_stages_come_in_order_and_the_budget_holds():
    training = Training()
    found = run(training)
    assert training.stages == ["warm-up", "tied", "final"]
    assert size(found.shared) == found.shared.plan.trainable <= found.shared.plan.budget
    names = [name for names in found.clusters for name in names]
    assert sorted(names) == sorted(each.weight.name for each in found.shared.plan.weights)
    assert found.conflict.cosines.shape[0] == 3


def test_several_networks_begin_with_the_rows_of_one_another():
    torch.manual_seed(0)
    found = run(Training(), network={"a": Deep(), "b": Deep(depth=4)})
    assert size(found.shared) <= found.shared.plan.budget
    assert {each.weight.member for each in found.shared.plan.weights} == {"a", "b"}


def test_a_search_goes_on_where_it_was_and_ends_the_same(tmp_path):
    whole = run(Training()).shared.materialise()
    for fails, done in (("tied", ["warm-up"]), ("final", ["tied"])):
        training = Training(fails)
        with pytest.raises(KeyboardInterrupt):
            run(training, tmp_path)
        assert training.stages == done
    training = Training()
    found = run(training, tmp_path)
    assert training.stages == ["final"]
    for name, weight in found.shared.materialise().items():
        assert torch.equal(weight, whole[name])
    assert run(Training("final"), tmp_path).shared.plan == found.shared.plan  # all is there


def test_a_folder_of_another_search_and_a_damaged_file_are_refused(tmp_path):
    run(Training(), tmp_path)
    with pytest.raises(ConfigurationError, match=r"warm-up\.safetensors: is of another search"):
        search(made("deep"), "80%", Training(), batches, loss, bins=2, folder=tmp_path)
    (tmp_path / "warm-up.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match=r"warm-up\.safetensors is damaged"):
        run(Training(), tmp_path)
