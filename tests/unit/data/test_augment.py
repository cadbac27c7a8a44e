"""Augmentation: where light goes, and that randomness is an argument."""

import json
import math
import pathlib
import subprocess
import sys

import pytest
import torch

from hardware.errors import ConfigurationError
from lensless.data import RANDOMS_PER_PICTURE, Augmentation, augment, sample_randoms

NONE = Augmentation(shift_px=0, turn_deg=0, scale=0, shear=0, warp_px=0)
SIZES = [(8, 8), (13, 17), (38, 38), (47, 29), (64, 48)]
ROOT = pathlib.Path(__file__).resolve().parents[3]
COS, SIN = math.cos(math.radians(30)), math.sin(math.radians(30))
TOP = 1 - 2**-24  # the largest number that the table can hold: the far end of a range


def randoms_with(**columns: float) -> torch.Tensor:
    order = ("right", "down", "turn", "scale", "shear")
    randoms = torch.full((1, RANDOMS_PER_PICTURE), 0.5)
    for name, value in columns.items():
        randoms[0, order.index(name)] = value
    return randoms


def blob(shape, x_px: float, y_px: float, sigma_px: float = 2.0) -> torch.Tensor:
    """A round spot at (x, y) from the centre, right and down."""
    x = torch.arange(shape[1]) - (shape[1] - 1) / 2
    y = torch.arange(shape[0]) - (shape[0] - 1) / 2
    return torch.exp(-((x[None] - x_px) ** 2 + (y[:, None] - y_px) ** 2) / (2 * sigma_px**2))[None, None]


def centre(picture: torch.Tensor) -> tuple[float, float]:
    picture = picture[0, 0] / picture.sum()
    y, x = (torch.arange(length) - (length - 1) / 2 for length in picture.shape)
    return float((picture.sum(0) * x).sum()), float((picture.sum(1) * y).sum())


@pytest.mark.parametrize("shape", SIZES)
def test_zero_strength_is_identity(shape):
    pictures = torch.rand(5, 3, *shape)
    assert (augment(pictures, sample_randoms(0, 0, 5), NONE) - pictures).abs().max() <= 1e-5


@pytest.mark.parametrize(
    ("augmentation", "columns", "expected_px"),
    [
        (Augmentation(3, 0, 0, 0, 0), {"right": TOP}, (11, 4)),
        (Augmentation(3, 0, 0, 0, 0), {"down": 0.0}, (8, 1)),
        (Augmentation(0, 30, 0, 0, 0), {"turn": TOP}, (8 * COS - 4 * SIN, 8 * SIN + 4 * COS)),  # x right, y down
        (Augmentation(0, 0, 0.2, 0, 0), {"scale": TOP}, (8 * math.exp(0.2), 4 * math.exp(0.2))),
        (Augmentation(0, 0, 0, 0.3, 0), {"shear": TOP}, (8 + 0.3 * 4, 4)),
    ],
    ids=["right", "up", "turn", "scale", "shear"],
)
def test_light_goes_where_the_parameters_say(augmentation, columns, expected_px):
    moved = augment(blob((39, 51), 8, 4), randoms_with(**columns), augmentation)
    assert centre(moved) == pytest.approx(expected_px, abs=0.05)


def test_combined_moves_shear_then_turn_then_scale_then_shift():
    moved = augment(
        blob((61, 61), 6, -5),
        randoms_with(right=TOP, down=0.0, turn=TOP, scale=0.0, shear=TOP),
        Augmentation(2, 20, 0.1, 0.2, 0),
    )
    x, y = 6 + 0.2 * -5, -5
    cos, sin = math.cos(math.radians(20)), math.sin(math.radians(20))
    x, y = (math.exp(-0.1) * value for value in (cos * x - sin * y, sin * x + cos * y))
    assert centre(moved) == pytest.approx((x + 2, y - 2), abs=0.05)


def test_the_warp_is_smooth_and_bounded():
    ramp = torch.arange(40.0).expand(64, 1, 40, 40).clone()
    warped = augment(ramp, sample_randoms(1, 0, 64), Augmentation(0, 0, 0, 0, 1.5))
    moved = (warped - ramp)[..., 3:-3, 3:-3]
    assert 0.3 < moved.abs().mean() < 1.5 and moved.abs().max() < 1.5 * 1.3
    assert moved.diff(dim=-1).abs().max() < 0.4  # a control point every 13 pixels


def test_what_comes_in_is_black():
    moved = augment(torch.ones(1, 1, 20, 20), randoms_with(right=TOP), Augmentation(4, 0, 0, 0, 0))
    assert moved[..., :3].max() == 0 and moved[..., 5:].min() > 0.99


def test_row_i_depends_on_seed_epoch_and_i_only():
    table = sample_randoms(3, 2, 100)
    assert table.shape == (100, RANDOMS_PER_PICTURE) and table.dtype == torch.float32
    assert table.min() >= 0 and table.max() < 1
    assert torch.equal(sample_randoms(3, 2, 40), table[:40])
    assert not torch.equal(sample_randoms(3, 3, 100), table) and not torch.equal(sample_randoms(4, 2, 100), table)
    pictures = torch.rand(100, 1, 28, 28)
    whole = augment(pictures, table, Augmentation())
    for batch in (1, 7, 64):
        parts = [augment(*part, Augmentation()) for part in zip(pictures.split(batch), table.split(batch), strict=True)]
        assert torch.allclose(torch.cat(parts), whole, atol=1e-5)


@pytest.mark.slow
def test_other_processes_draw_the_same_numbers():
    code = "from lensless.data import sample_randoms; print(sample_randoms(3, 2, 5).double().sum(1).tolist())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == sample_randoms(3, 2, 5).double().sum(1).tolist()


def test_bad_strengths_and_shapes_are_refused():
    with pytest.raises(ConfigurationError, match="turn_deg is -1"):
        Augmentation(turn_deg=-1)
    with pytest.raises(ConfigurationError, match="warp_px is nan"):
        Augmentation(warp_px=math.nan)
    with pytest.raises(ValueError, match="have shapes"):
        augment(torch.rand(2, 1, 8, 8), sample_randoms(0, 0, 3), NONE)
    with pytest.raises(ValueError, match="4 columns"):
        augment(torch.rand(2, 1, 8, 8), sample_randoms(0, 0, 2, 4), NONE)


def test_an_augmentation_can_be_made_weaker_or_stronger():
    half = Augmentation(shift_px=2.0, turn_deg=10.0, scale=0.1, shear=0.2, warp_px=1.0).times(0.5)
    assert half == Augmentation(shift_px=1.0, turn_deg=5.0, scale=0.05, shear=0.1, warp_px=0.5)
