"""Two halves that become one: exactly their sum at first, whatever layers they have."""

import pytest
import torch
from torch import nn
from zoo import NETWORKS, made, picture, size

from hardware.errors import ConfigurationError
from lensless.sharing import grow, make_plan, share, widen


def halves(name: str, budget: str = "60%"):
    network = made(name)
    plan = make_plan(network, budget)
    return [share(network, plan=plan, seed=seed).double() for seed in (1, 2)]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("training", [True, False])
def test_without_connections_a_grown_network_gives_what_both_halves_give(name, training):
    one, other = halves(name)
    x = picture(torch.float64)
    for combine, factor in (("sum", 1.0), ("mean", 0.5)):
        grown = grow(one, other, combine=combine).train(training)
        together = factor * (one.train(training)(x) + other.train(training)(x))
        torch.testing.assert_close(grown(x), together, rtol=1e-10, atol=1e-10)
        assert torch.equal(grown.eval().bake()(x), grown(x))


@pytest.mark.parametrize("cross", ["orthogonal", "random", "copy"])
def test_connections_cost_mixing_numbers_only_and_learn(cross):
    one, other = halves("unet")
    grown = grow(one, other, cross, seed=3)
    mixing = sum(numbers.numel() for half in (one, other) for bank in half.banks for numbers in bank.mixing)
    assert size(grown) == size(one) + size(other) + mixing
    assert not torch.allclose(
        grown(picture(torch.float64)), one(picture(torch.float64)) + other(picture(torch.float64))
    )
    grown(picture(torch.float64)).square().sum().backward()
    assert all(numbers.grad is not None and numbers.grad.any() for numbers in grown.cross.parameters())


def test_orthogonal_connections_are_at_right_angles_to_the_halfs_own_and_as_long():
    one, other = halves("deep")
    grown = grow(one, other, "orthogonal", seed=0)
    for half, cross in zip((one, other), grown.cross, strict=True):
        own = [mixing for bank in half.banks for mixing in bank.mixing]
        for new, mixing in zip(cross, own, strict=True):
            assert (new * mixing).sum(1).abs().max() < 1e-10
            torch.testing.assert_close(new.norm(dim=1), mixing.norm(dim=1))


def test_copied_connections_repeat_the_block_beside_them():
    one, other = halves("deep")
    for name, weight in grow(one, other, "copy").materialise().items():
        if name.startswith("layers"):
            outputs, inputs = (side // 2 for side in weight.shape[:2])
            assert torch.equal(weight[:outputs, :inputs], weight[:outputs, inputs:])
            assert torch.equal(weight[outputs:, :inputs], weight[outputs:, inputs:])


def test_what_cannot_grow_is_refused():
    one, _ = halves("deep")
    _, other = halves("unet")
    with pytest.raises(ConfigurationError, match="not shared alike"):
        grow(one, other)
    whole = share(made("often"), "90%", "soft", templates=1)
    if any(not row.mixed for bank in whole.plan.banks for row in bank.rows):
        with pytest.raises(ConfigurationError, match="taken as it is"):
            grow(whole, whole)
    with pytest.raises(ConfigurationError, match="cross = 'all'"):
        grow(one, one, "all")

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.layers = nn.Parameter(torch.ones(())), made("deep")

        def forward(self, x):
            return self.scale * self.layers(x)

    scaled = share(Scaled(), "60%")
    with pytest.raises(ConfigurationError, match="holds numbers beside its layers"):
        grow(scaled, scaled)


@pytest.mark.parametrize("name", ["deep", "unet", "mixed"])
def test_a_widened_network_begins_as_the_network_it_was(name):
    shared, x = halves(name)[0].eval(), picture(torch.float64)
    torch.testing.assert_close(widen(shared, noise=0)(x), shared(x))
    wide = widen(shared, noise=0.01, seed=0)
    assert not torch.equal(wide(x), shared(x)) and size(wide) > 2 * size(shared) - 1
    assert torch.equal(widen(shared, noise=0.01, seed=0).eval()(x), wide.eval()(x))
    with pytest.raises(ConfigurationError, match="noise = -1"):
        widen(shared, noise=-1)
