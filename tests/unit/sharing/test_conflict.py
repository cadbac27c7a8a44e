"""Whose gradients agree: by hooks as by hand, clusters whatever the order, planted conflicts found."""

import itertools

import pytest
import torch
from zoo import made, picture, size

from hardware.errors import ConfigurationError
from lensless.sharing import conflict, refine, share
from lensless.sharing.conflict import cosines, split


def loss(network, batch):
    return network(batch).square().mean()


def test_cosines_are_those_of_the_weights_gradients_and_ignore_the_scale_of_the_loss():
    shared = share(made("deep").double(), "75%", "superweights", tied=True)
    batches = [picture(torch.float64) * scale for scale in (1, 2, 3)]
    found = conflict(shared, batches, loss)
    plain = shared.bake()
    plain(batches[1]).square().mean().backward()
    gradients = [plain.get_parameter(name).grad for name in found.names]
    torch.testing.assert_close(found.cosines[1], cosines(gradients))
    for at, behind in itertools.combinations(range(len(gradients)), 2):
        one, other = gradients[at].flatten(), gradients[behind].flatten()
        assert float(found.cosines[1, at, behind]) == pytest.approx(float(one @ other / one.norm() / other.norm()))
    scaled = conflict(shared, batches, lambda network, batch: 1000 * loss(network, batch))
    torch.testing.assert_close(scaled.cosines, found.cosines)
    assert torch.equal(found.mean, found.mean.T) and (found.mean.diagonal() == 1).all()
    assert (found.spread().diagonal() < 1e-12).all() and found.spread()[0, 1] > 0


def chain() -> torch.Tensor:
    similar = torch.eye(4)
    for one, other, value in ((0, 1, 0.7), (1, 2, 0.8), (2, 3, 0.9)):
        similar[one, other] = similar[other, one] = value
    return similar


def test_a_chain_is_one_cluster_whatever_its_order():
    """Merging pair by pair without union-find makes three of it."""
    assert split(chain(), [range(4)], 0.1) == [[0, 1, 2, 3]]
    assert split(chain(), [range(4)], 0.1, "complete") == [[0, 1], [2, 3]]
    for order in itertools.permutations(range(4)):
        moved = chain()[list(order)][:, list(order)]
        assert split(moved, [range(4)], 0.75) in [
            sorted([sorted(order.index(each) for each in part) for part in ([0], [1, 2, 3])])
        ]


def test_a_lower_threshold_only_joins():
    torch.manual_seed(0)
    similar = torch.rand(9, 9) * 2 - 1
    similar = (similar + similar.T) / 2
    groups = [range(5), range(5, 9)]
    before = split(similar, groups, 2)
    assert before == [[each] for each in range(9)]
    for tau in torch.linspace(1, -1.1, 40):
        after = split(similar, groups, float(tau))
        assert all(any(set(part) <= set(other) for other in after) for part in before)
        before = after
    assert before == [list(range(5)), list(range(5, 9))]


def test_refining_keeps_the_budget_and_the_network():
    network = made("deep")
    shared = share(network, "75%", "superweights", tied=True, bins=2)
    plan = refine(shared, [picture(), picture() ** 2], loss)
    better = share(network, plan=plan)
    assert size(better) <= plan.budget == shared.plan.budget and plan != shared.plan
    better(picture())
    with pytest.raises(ConfigurationError, match="expected 'superweights'"):
        refine(share(network, "50%"), [picture()], loss)
    with pytest.raises(ConfigurationError, match="no batch"):
        refine(shared, [], loss)
    for wrong in ({"tau": float("nan")}, {"tau": 1e9}, {"step": 1e-12}, {"linkage": "ward"}):
        with pytest.raises(ConfigurationError, match="expected a cosine"):
            refine(shared, [picture()], loss, **wrong)
