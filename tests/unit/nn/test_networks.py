"""The networks: sizes, shapes, and what they do before they have learned anything."""

import pytest
import torch

from lensless.nn.classifier import NumbersClassifier, PictureClassifier
from lensless.nn.projection import Projection
from lensless.nn.unet import ResidualBlock, UNet


def size(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def unet_size(channels: int, width: int, deep: int) -> int:
    """Counted by hand: weights and biases of ten convolutions."""
    enter, leave = 9 * 4 * channels * width + width, 9 * width * 4 + 4
    down, up = 4 * width * deep + deep, deep * 4 * width + 4 * width
    wide_block, deep_block = (2 * (9 * w * w + w) for w in (width, deep))
    return enter + 2 * wide_block + deep_block + down + up + leave


@pytest.mark.parametrize(("channels", "width", "deep"), [(1, 8, 8), (1, 32, 24), (3, 32, 24), (3, 7, 5)])
def test_the_unet_has_as_many_parameters_as_its_drawing(channels, width, deep):
    assert size(UNet(channels, width, deep)) == unet_size(channels, width, deep)


def test_the_default_reconstruction_stays_compact():
    assert unet_size(1, 32, 24) == 56_044 and unet_size(3, 32, 24) == 58_348


@pytest.mark.parametrize("shape", [(4, 4), (8, 12), (28, 28), (32, 32)])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_untrained_unet_adds_nothing(channels, shape):
    x = torch.rand(2, channels, *shape)
    out = UNet(channels, 8, 6)(x)
    assert out.shape == (2, 1, *shape) and not out.any()


def test_a_unet_corrects_pictures_of_any_light_and_contrast_alike():
    """Seen about their level and in units of their spread, all are the same to it: f(l + s x) = s f(x)."""
    torch.manual_seed(0)
    network = UNet(3, 8, 6)
    torch.nn.init.normal_(network.leave.weight)
    x = torch.randn(2, 3, 8, 12)
    with torch.no_grad():
        expected = 0.2 * network(x)
        network.see_about(torch.tensor(0.4), torch.tensor(0.2))
        torch.testing.assert_close(network(0.4 + 0.2 * x), expected)


def test_the_unet_sees_as_far_as_two_scales_and_ten_convolutions_reach():
    """A pixel of the middle is corrected by what lies some 20 pixels away, and by nothing across the picture."""
    torch.manual_seed(0)
    network = UNet(1, 8, 8)
    torch.nn.init.normal_(network.leave.weight)
    x = torch.zeros(1, 1, 128, 128, requires_grad=True)
    network(x)[0, 0, 64, 64].backward()
    rows = x.grad[0, 0].abs().sum(1).nonzero().flatten()
    assert 12 < 64 - int(rows.min()) < 40 and 12 < int(rows.max()) - 64 < 40


def test_a_residual_block_of_zeros_is_the_identity():
    block = ResidualBlock(5)
    torch.nn.init.zeros_(block.second.weight), torch.nn.init.zeros_(block.second.bias)
    x = torch.randn(2, 5, 6, 7)
    assert torch.equal(block(x), x)


def test_the_classifier_of_numbers_standardises_them_by_what_it_has_seen():
    torch.manual_seed(0)
    network = NumbersClassifier(6, (8,), 3)
    numbers = 50 + torch.randn(5000, 6) * torch.arange(1, 7)
    for _ in range(1000):  # it forgets 1 % at each step
        network.standardise(numbers)
    network.eval()
    seen = network.standardise(numbers)
    assert seen.mean(0).abs().max() < 0.01 and (seen.std(0) - 1).abs().max() < 0.01
    assert network(numbers.double()).dtype == torch.float32
    mix, block, out = 6 * 6 + 6, (2 * 6) + (6 * 8 + 8) + (2 * 8) + (8 * 6 + 6), (2 * 6) + (6 * 3 + 3)
    assert size(network) == mix + block + out  # the mean and the spread are not trained


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (32, 24)])
def test_the_classifier_of_pictures_takes_any_size(shape):
    network = PictureClassifier(7, (4, 6, 8)).eval()
    assert network(torch.rand(3, 1, *shape)).shape == (3, 7)
    assert size(network) == 9 * (4 * 4 + 4 * 4 + 4 * 6 + 6 * 6 + 6 * 8) + 2 * (4 + 4 + 6 + 6 + 8) + 8 * 7 + 7


def test_a_projection_is_the_same_of_whole_frames_and_of_the_pixels_that_it_reads():
    draw = torch.Generator().manual_seed(0)
    projection = Projection(3, 5)
    projection.reads.copy_(torch.tensor([2, 3, 11, 17, 29]))
    projection.matrix.copy_(torch.randn(3, 5, generator=draw))
    y = torch.rand(4, 1, 5, 6, generator=draw)
    read = y.flatten(2)[:, :, projection.reads]
    expected = torch.einsum("ij,bj->bi", projection.matrix, read[:, 0])
    assert torch.allclose(projection(y), expected, atol=1e-6) and torch.equal(projection(y), projection(read))
