"""Colour filter arrays: every pixel sees its own colour, planes lose nothing, and transposes are transposes."""

import math

import numpy as np
import pytest
import torch

from hardware.errors import ConfigurationError
from lensless.optics import SensorNoise, from_planes, to_mosaic, to_mosaic_adjoint, to_planes
from lensless.optics.mosaic import PATTERNS, PLANES

SHAPES = [(2, 2), (4, 6), (38, 20)]
ODD = [(1, 1), (5, 4), (4, 7), (13, 17)]
# Broad filters: green passes some of all, and nothing adds up to the same.
FILTERS = torch.tensor([[0.8, 0.15, 0.02], [0.1, 0.7, 0.12], [0.01, 0.2, 0.6]], dtype=torch.float64)


def draw(*shape, seed=0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def colours(shape) -> torch.Tensor:
    """Red is 1, green 2, blue 3 everywhere."""
    return torch.tensor([1.0, 2.0, 3.0]).reshape(1, 3, 1, 1).expand(1, 3, *shape)


@pytest.mark.parametrize("shape", SHAPES + ODD, ids=str)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_pixel_sees_the_colour_that_the_name_of_the_pattern_says(pattern, shape):
    frame = to_mosaic(colours(shape), pattern)
    assert frame.shape == (1, 1, *shape)
    for row in range(shape[0]):
        for column in range(shape[1]):
            letter = pattern[2 * (row % 2) + column % 2]
            assert frame[0, 0, row, column] == {"R": 1, "G": 2, "B": 3}[letter], (row, column)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_four_corners_of_an_even_sensor_are_the_pattern_itself(pattern):
    frame = to_mosaic(colours((6, 8)), pattern)[0, 0]
    seen = [int(frame[row, column]) for row in (0, -1) for column in (0, -1)]
    assert "".join(" RGB"[value] for value in seen) == pattern


@pytest.mark.parametrize("pattern", PATTERNS)
def test_planes_come_in_one_order_whatever_the_pattern(pattern):
    planes = to_planes(to_mosaic(colours((6, 8)), pattern), pattern)
    assert planes.shape == (1, 4, 3, 4) and PLANES == ("R", "Gr", "Gb", "B")
    assert (planes == torch.tensor([1.0, 2.0, 2.0, 3.0]).reshape(1, 4, 1, 1)).all()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_two_greens_are_told_apart_by_the_rows_that_they_share(pattern):
    rows = torch.arange(6.0).reshape(1, 1, 6, 1).expand(1, 1, 6, 8)
    red, green_of_red, green_of_blue, blue = to_planes(rows, pattern)[0]
    assert torch.equal(red, green_of_red) and torch.equal(blue, green_of_blue)
    assert torch.equal(red[:, 0].sort().values, red[:, 0]) and not torch.equal(red, blue)
    columns = torch.arange(8.0).expand(1, 1, 6, 8)
    red, green_of_red, green_of_blue, blue = to_planes(columns, pattern)[0]
    assert torch.equal(red, green_of_blue) and torch.equal(blue, green_of_red)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_plane_is_every_second_pixel_of_every_second_row(pattern):
    frame = draw(2, 1, 10, 6).numpy()
    row, column = divmod(pattern.index("R"), 2)
    expected = [frame[:, 0, i::2, j::2] for i in (row, 1 - row) for j in (column, 1 - column)]
    assert np.array_equal(to_planes(torch.from_numpy(frame), pattern), np.stack(expected, 1))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_planes_and_back_is_the_same_frame_and_the_other_way_round(pattern, shape):
    frame, planes = draw(3, 1, *shape), draw(3, 4, shape[0] // 2, shape[1] // 2, seed=1)
    assert torch.equal(from_planes(to_planes(frame, pattern), pattern), frame)
    assert torch.equal(to_planes(from_planes(planes, pattern), pattern), planes)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_from_planes_is_the_transpose_of_to_planes(pattern, shape):
    frame, planes = draw(2, 1, *shape), draw(2, 4, shape[0] // 2, shape[1] // 2, seed=1)
    left, right = (to_planes(frame, pattern) * planes).sum(), (frame * from_planes(planes, pattern)).sum()
    assert float(left) == pytest.approx(float(right), rel=1e-12)


@pytest.mark.parametrize("filters", [None, FILTERS], ids=["ideal", "broad"])
@pytest.mark.parametrize("shape", SHAPES + ODD, ids=str)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_adjoint_is_the_transpose_and_autograds_gradient(pattern, shape, filters):
    y, frame = draw(2, 3, *shape), draw(2, 1, *shape, seed=1)
    adjoint = to_mosaic_adjoint(frame, pattern, filters)
    left = (to_mosaic(y, pattern, filters) * frame).sum()
    assert float(left) == pytest.approx(float((y * adjoint).sum()), rel=1e-12, abs=1e-12)
    y.requires_grad_()
    (to_mosaic(y, pattern, filters) * frame).sum().backward()
    assert torch.allclose(y.grad, adjoint, rtol=1e-14, atol=0)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_filters_mix_colours_as_three_scalar_products(pattern):
    y = draw(2, 3, 5, 7)
    frame = to_mosaic(y, pattern, FILTERS)
    for row, column in ((0, 0), (0, 1), (1, 0), (1, 1), (4, 6), (3, 2)):
        weights = FILTERS["RGB".index(pattern[2 * (row % 2) + column % 2])]
        expected = sum(float(weights[c]) * y[:, c, row, column] for c in range(3))
        assert torch.allclose(frame[:, 0, row, column], expected, rtol=1e-14, atol=1e-15)
    assert torch.equal(to_mosaic(y, pattern, torch.eye(3, dtype=y.dtype)), to_mosaic(y, pattern))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_both_are_linear(pattern):
    a, b = draw(2, 3, 5, 7), draw(2, 3, 5, 7, seed=1)
    mixed = to_mosaic(2 * a - 3 * b, pattern, FILTERS)
    assert torch.allclose(mixed, 2 * to_mosaic(a, pattern, FILTERS) - 3 * to_mosaic(b, pattern, FILTERS), atol=1e-13)
    p, q = draw(2, 1, 4, 6), draw(2, 1, 4, 6, seed=1)
    assert torch.equal(to_planes(p - q, pattern), to_planes(p, pattern) - to_planes(q, pattern))


@pytest.mark.parametrize("filters", [None, [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.1, 0.2, 0.7]]], ids=["ideal", "broad"])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_white_scene_gives_equal_planes(pattern, filters):
    white = torch.ones(2, 3, 8, 6, dtype=torch.float64)
    assert torch.allclose(to_planes(to_mosaic(white, pattern, filters), pattern), torch.ones(()).double(), atol=1e-15)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_sensor_behind_its_filters_gives_planes_of_its_own_noise(pattern):
    """Shot noise follows the light that passes the filter: four closed forms on one sensor."""
    sensor = SensorNoise(
        "MOSAIC-1", (120, 160), white_electrons=8000.0, full_well_electrons=1e6, read_noise_electrons=3.0, prnu=0.0,
        dark_electrons_per_s=0.0, exposure_s=0.1, dsnu_electrons=0.0, bit_depth=16, black_level_dn=64,
        gain_electrons_per_dn=0.5,
    )  # fmt: skip
    light = torch.tensor([0.9, 0.4, 0.05]).reshape(1, 3, 1, 1).expand(1, 3, 120, 160)
    planes = to_planes(sensor.expose(to_mosaic(light, pattern), torch.Generator().manual_seed(0)), pattern)
    count = 60 * 80
    for plane, level in zip(planes[0].double(), (0.9, 0.4, 0.4, 0.05), strict=True):
        mean, variance = 64 + level * 8000 / 0.5, (level * 8000 + 9) / 0.25 + 1 / 12
        assert float(plane.mean()) == pytest.approx(mean, abs=5 * math.sqrt(variance / count))
        assert float(plane.var()) == pytest.approx(variance, rel=5 * math.sqrt(2 / count))


def test_no_frames_give_no_planes():
    assert to_planes(torch.zeros(0, 1, 4, 6), "RGGB").shape == (0, 4, 2, 3)
    assert to_mosaic(torch.zeros(0, 3, 5, 7), "RGGB").shape == (0, 1, 5, 7)


# --- refused ---


@pytest.mark.parametrize("shape", [(5, 4), (4, 7), (13, 17), (1, 1)])
def test_planes_of_an_odd_frame_are_refused_and_told_what_to_leave_out(shape):
    with pytest.raises(ConfigurationError, match=rf"{shape[0]} x {shape[1]} pixels; expected even numbers") as refusal:
        to_planes(torch.zeros(1, 1, *shape), "RGGB")
    assert f"frame[..., : {shape[0] // 2 * 2}, : {shape[1] // 2 * 2}]" in str(refusal.value)


@pytest.mark.parametrize("pattern", ["RGBG", "rggb", "", "RGGBRGGB", "RGB", None, 0])
def test_an_unknown_pattern_names_those_there_are(pattern):
    for call, channels in ((to_mosaic, 3), (to_mosaic_adjoint, 1), (to_planes, 1), (from_planes, 4)):
        with pytest.raises(ConfigurationError, match="expected one of RGGB, BGGR, GRBG, GBRG"):
            call(torch.zeros(1, channels, 4, 4), pattern)


@pytest.mark.parametrize("shape", [(4, 4), (3, 4, 4), (1, 2, 4, 4), (1, 5, 4, 4), (1, 1, 3, 4, 4)])
def test_a_wrong_shape_is_refused_with_both_shapes(shape):
    for call, channels in ((to_mosaic, 3), (to_mosaic_adjoint, 1), (to_planes, 1), (from_planes, 4)):
        with pytest.raises(ConfigurationError) as refusal:
            call(torch.zeros(shape), "RGGB")
        assert str(shape) in str(refusal.value) and f"(batch, {channels}, rows, columns)" in str(refusal.value)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -0.01])
def test_filters_that_cannot_be_are_refused(wrong):
    filters = torch.eye(3)
    filters[1, 2] = wrong
    for call, channels in ((to_mosaic, 3), (to_mosaic_adjoint, 1)):
        with pytest.raises(ConfigurationError, match="expected finite values >= 0"):
            call(torch.zeros(1, channels, 4, 4), "RGGB", filters)
        with pytest.raises(ConfigurationError, match=r"filters of shape \(2, 3\)"):
            call(torch.zeros(1, channels, 4, 4), "RGGB", torch.ones(2, 3))
