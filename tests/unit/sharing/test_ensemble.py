"""Several networks on one set of templates."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from zoo import made, picture, size

from hardware.errors import ConfigurationError
from lensless.sharing import Ensemble, share


@pytest.fixture(scope="module")
def ensemble():
    torch.manual_seed(0)
    nets = {"a": made("mixed"), "b": made("mixed")}
    return Ensemble(share(nets, "40%").eval())


def test_one_budget_holds_all_of_them():
    nets = {"a": made("mixed"), "b": made("mixed")}
    shared = share(nets, 30_000)
    assert size(shared) <= 30_000 < sum(map(size, nets.values()))
    plain = shared.bake()
    assert torch.equal(plain["a"].eval()(picture()), Ensemble(shared).eval().outputs(picture(), ["a"])[0])


def test_the_mean_over_one_member_is_that_member(ensemble):
    one = ensemble(picture(), members=["b"])
    torch.testing.assert_close(one, ensemble.outputs(picture())[1].softmax(-1))
    both = ensemble(picture())
    torch.testing.assert_close(both, ensemble.outputs(picture()).softmax(-1).mean(0))


def test_at_the_end_an_anytime_answer_is_that_of_all(ensemble):
    steps = list(ensemble.anytime(picture()))
    torch.testing.assert_close(steps[-1][0], ensemble(picture()))
    assert [step.member for _, step in steps] == ["a", "b"] and not steps[0][1].spread.any()
    assert steps[0][1].flops < steps[1][1].flops == sum(ensemble.flops(picture()).values())
    expected = ensemble.outputs(picture()).softmax(-1).std(0, correction=0)
    torch.testing.assert_close(steps[1][1].spread, expected)
    assert [step.member for _, step in ensemble.anytime(picture(), ["b"])] == ["b"]


def test_members_cost_what_plain_networks_cost(ensemble):
    plain = ensemble.shared.bake()["a"]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        plain(picture())
    assert ensemble.flops(picture())["a"] == counter.get_total_flops()


def test_the_best_set_below_a_cost_is_picked(ensemble):
    cost = ensemble.flops(picture())["a"]
    scores = {("a",): 0.7, ("b",): 0.8, ("a", "b"): 0.9}
    assert ensemble.pick(2 * cost, picture(), scores) == ("a", "b")
    assert ensemble.pick(1.5 * cost, picture(), scores) == ("b",)
    with pytest.raises(ConfigurationError, match="no set of members"):
        ensemble.pick(0.5 * cost, picture(), scores)


def test_what_is_no_ensemble_is_refused(ensemble):
    with pytest.raises(ConfigurationError, match="several networks by name"):
        Ensemble(share(made("deep"), "50%"))
    with pytest.raises(ConfigurationError, match="combine = 'vote'"):
        Ensemble(ensemble.shared, "vote")
    with pytest.raises(ConfigurationError, match=r"members \['c'\]"):
        ensemble(picture(), ["c"])


def test_the_median_of_two_lies_between_them_and_counting_leaves_norms_as_they_are():
    torch.manual_seed(0)
    shared = share({"a": made("mixed"), "b": made("mixed")}, "60%").train()
    middle, before = Ensemble(shared, "median"), shared.state_dict()
    before = {name: value.clone() for name, value in before.items()}
    middle.flops(picture())
    assert all(torch.equal(value, before[name]) for name, value in shared.state_dict().items())
    assert all(module.training for module in shared.modules())
    one, other = middle.eval().outputs(picture())
    torch.testing.assert_close(middle(picture()), (one + other) / 2)
