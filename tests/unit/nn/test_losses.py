"""Losses of pictures, and the networks that are trained with them."""

import numpy as np
import pytest
import skimage.metrics
import torch

from hardware.errors import ConfigurationError
from lensless.nn.cycle import Cycle
from lensless.nn.global_layer import GlobalLayer
from lensless.nn.unrolled import SharedStages
from lensless.tasks.losses import loss_named

DRAW = torch.Generator().manual_seed(0)
PICTURES = torch.rand(4, 1, 16, 16, generator=DRAW)
ESTIMATES = (PICTURES + 0.1 * torch.randn(4, 1, 16, 16, generator=DRAW)).clamp(0.01, 0.99)


def test_each_loss_is_what_its_name_says():
    off = (ESTIMATES - PICTURES).numpy()
    assert float(loss_named("l1")(ESTIMATES, PICTURES)) == pytest.approx(np.abs(off).mean(), rel=1e-5)
    assert float(loss_named("l2")(ESTIMATES, PICTURES)) == pytest.approx((off**2).mean(), rel=1e-5)
    entropy = -(PICTURES * ESTIMATES.log() + (1 - PICTURES) * (1 - ESTIMATES).log()).mean()
    assert float(loss_named("cross-entropy")(ESTIMATES, PICTURES)) == pytest.approx(float(entropy), rel=1e-5)
    alike = np.mean(
        [
            skimage.metrics.structural_similarity(
                one[0].numpy(), other[0].numpy(), data_range=1, gaussian_weights=True, sigma=1.5,
                use_sample_covariance=False,
            )
            for one, other in zip(ESTIMATES, PICTURES, strict=True)
        ]
    )  # fmt: skip
    assert float(loss_named("ssim")(ESTIMATES, PICTURES)) == pytest.approx(1 - alike, abs=1e-2)
    both = loss_named("l1+ssim")(ESTIMATES, PICTURES)
    assert float(both) == pytest.approx(float(loss_named("l1")(ESTIMATES, PICTURES)) + 1 - alike, abs=1e-2)


@pytest.mark.parametrize("name", ["l1", "l2", "ssim", "cross-entropy", "log-mse"])
def test_each_loss_pulls_an_estimate_to_the_picture_also_from_outside(name):
    estimate = (3 * (PICTURES - 0.5)).requires_grad_()  # far below black and above white
    loss = loss_named(name)
    optimizer = torch.optim.Adam([estimate], lr=0.03)
    for _ in range(400):
        optimizer.zero_grad()
        loss(estimate, PICTURES).backward()
        optimizer.step()
    assert float((estimate.detach() - PICTURES).abs().mean()) < 0.05


@pytest.mark.parametrize("name", ["l3", "l1+", "", "l1+l1+x", None])
def test_an_unknown_loss_is_refused_with_those_there_are(name):
    with pytest.raises(ConfigurationError, match="is unknown; expected one of log-mse, l1, l2, ssim, cross-entropy"):
        loss_named(name)


def test_a_global_layer_begins_as_the_nearest_map_of_its_rank():
    matrix, offset = torch.randn(12, 20, generator=DRAW), torch.randn(12, generator=DRAW)
    layer = GlobalLayer(20, 5, (1, 3, 4))
    layer.begin_with(matrix, offset)
    U, s, Vh = np.linalg.svd(matrix.numpy(), full_matrices=False)
    y = torch.randn(7, 20, generator=DRAW)
    expected = y.numpy() @ ((U[:, :5] * s[:5]) @ Vh[:5]).T + offset.numpy()
    assert layer(y).detach().numpy().reshape(7, 12) == pytest.approx(expected, abs=1e-4)
    assert sum(parameter.numel() for parameter in layer.parameters()) == (20 + 12) * 5 + 12


def test_each_term_of_the_cycle_reaches_the_numbers_of_one_side_only():
    torch.manual_seed(0)
    network = Cycle(1, 2)
    frames, pictures = torch.rand(2, 1, 24, 24), torch.rand(2, 1, 24, 24)
    made = network(frames)
    with torch.no_grad():
        shown = network.to_frame(pictures)
        fooled = (network.adversary(made) - 1).square().mean()
        right = (network.adversary(pictures) - 1).square().mean() + network.adversary(made).square().mean()
        absolute = sum(
            (one - other).abs().mean()
            for one, other in (
                (made, pictures), (shown, frames), (network.to_frame(made), frames),
                (network.to_picture(shown), pictures),
            )
        )  # fmt: skip
    loss = network(frames, pictures)
    assert loss.item() == pytest.approx(float(fooled + 100 * absolute + right / 2), rel=1e-4)
    loss.backward()
    found = [parameter.grad.clone() for parameter in network.adversary.parameters()]
    network.zero_grad()
    real, fake = network.adversary(pictures), network.adversary(made.detach())
    ((real - 1).square().mean() + fake.square().mean()).div(2).backward()
    for grad, parameter in zip(found, network.adversary.parameters(), strict=True):
        assert torch.allclose(grad, parameter.grad, atol=1e-6)  # not pulled to be fooled


def test_shared_stages_are_one_network_used_again_and_again():
    seen = []

    class Stage(torch.nn.Module):
        def forward(self, planes):
            seen.append(planes)
            return torch.ones_like(planes[:, :1])

    class Times10(torch.nn.Module):
        def measured(self, wiener):
            return wiener

        def forward(self, guess, measured):
            return 10 * guess

    found = SharedStages(Stage(), 3, Times10())(torch.zeros(2, 1, 4, 4))
    assert float(found[0, 0, 0, 0]) == 10 * (10 * 1 + 1) + 1
    assert [planes[0, :, 0, 0].tolist() for planes in seen] == [[0, 0, 0], [10, 1, 0], [110, 11, 0]]
