"""A structured model is its dense matrix, done with less."""

import numpy as np
import pytest
import torch

from hardware.rig import AlignmentSpec
from lensless.optics import BareSensor
from lensless.optics.analysis import signal_to_noise
from lensless.optics.operator import DenseModel
from lensless.optics.structured import Block, StructuredModel, interpolated

WEDGE = dict(layer_reflectance=0.04, layer_wedge_mrad=3.0, bandwidth_nm=30.0)
FACTS = {
    "plain": {},
    "no specks": dict(specks=0),
    "overlapping specks": dict(specks=30, seed=1),
    "a speck as large as the sensor": dict(specks=1, speck_radius_um=200.0),
    "waves": dict(specks=2, diffraction=True),
    "walls": dict(wall_height_mm=1.5, wall_clearance_mm=0.05),
    "pixels": dict(acceptance_deg=15.0, chief_ray_deg_per_mm=8.0, acceptance_gradient_per_rad=0.2, serial="7"),
    "window": dict(fresnel=True, emission_exponent=1.5, veiling=0.1, **WEDGE),
    "out of line": dict(alignment=AlignmentSpec(tilt_x_deg=3, tilt_y_deg=-2, roll_deg=20, shift_x_mm=4, shift_y_mm=-9)),
}


def both(dtype=torch.float32, **facts) -> tuple[StructuredModel, DenseModel]:
    facts = dict(scene_shape=(11, 13), sensor_shape=(60, 50), pitch_um=12.0) | facts
    models = [BareSensor(**facts, dtype=dtype, structured=wanted).model for wanted in (True, False)]
    assert [type(model) for model in models] == [StructuredModel, DenseModel]
    return tuple(models)


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).double().norm() / b.double().norm())


@pytest.mark.parametrize("facts", FACTS.values(), ids=FACTS.keys())
def test_it_equals_the_dense_matrix_to_2e_6(facts):
    structured, dense = both(**facts)
    assert relative(structured.as_matrix(), dense.matrix) <= 2e-6
    x, y = torch.rand(3, 2, 11, 13), torch.rand(3, 2, 60, 50)
    assert relative(structured.A(x), dense.A(x)) <= 2e-6
    assert relative(structured.A_adjoint(y), dense.A_adjoint(y)) <= 2e-6
    assert structured.products < dense.matrix.numel()


@pytest.mark.parametrize("facts", [FACTS["waves"], FACTS["walls"], FACTS["window"]], ids=str)
def test_rows_gram_and_singular_values_are_those_of_the_matrix(facts):
    structured, _ = both(torch.float64, **facts)
    matrix = structured.as_matrix()
    pixels = torch.tensor([2999, 0, 57, 57, 1501])
    assert torch.allclose(structured.rows(pixels), matrix[pixels], rtol=1e-12, atol=1e-14)
    weights = torch.rand(3000, dtype=torch.float64)
    assert torch.allclose(structured.gram(), matrix.T @ matrix, rtol=1e-9)
    assert torch.allclose(structured.gram(weights), matrix.T @ (weights[:, None] * matrix), rtol=1e-9)
    expected = np.linalg.svd(matrix.numpy(), compute_uv=False)
    assert np.abs(structured.singular_values().numpy() - expected).max() <= 1e-7 * expected[0]
    U, s, Vh = structured.svd(20)
    assert np.allclose(s, expected[:20], rtol=1e-6) and relative(U.T @ U, torch.eye(20)) <= 1e-6
    assert relative((U * s) @ Vh @ Vh.T, matrix @ Vh.T) <= 1e-6
    assert np.allclose(
        signal_to_noise(structured, weights + 0.1)[:20],
        0.3 * np.linalg.svd((weights + 0.1).rsqrt()[:, None] * matrix, compute_uv=False)[:20], rtol=1e-6,
    )  # fmt: skip


def test_a_wider_sensor_than_scene_is_no_condition():
    few, dense = both(torch.float64, scene_shape=(16, 20), sensor_shape=(9, 7), specks=1)
    expected = np.linalg.svd(dense.matrix.numpy(), compute_uv=False)
    assert np.allclose(few.singular_values()[:20], expected[:20], rtol=1e-6, atol=1e-7 * expected[0])
    assert relative((few.svd()[0] * few.svd()[1]) @ few.svd()[2], dense.matrix) <= 1e-6


def test_gradients_pass_through():
    structured, dense = both(torch.float64)
    for model in (structured, dense):
        model.x = torch.full((2, 1, 11, 13), 0.5, dtype=torch.float64, requires_grad=True)
        model.A(model.x).square().sum().backward()
    assert relative(structured.x.grad, dense.x.grad) <= 1e-9


def test_a_large_frame_lies_elsewhere_and_is_the_same():
    structured, dense = both()
    x = torch.rand(800, 1, 11, 13)
    large = structured.A(x)
    assert large.numel() > 2**21 and relative(large, dense.A(x)) <= 1e-6
    assert torch.equal(large[:5].clone().add_(1), large[:5] + 1)
    with_graph = structured.A(x.requires_grad_())
    assert with_graph.requires_grad and torch.allclose(with_graph, large, rtol=1e-5)


def test_what_is_not_of_low_rank_stays_dense_by_itself():
    touching = dict(scene_width_mm=4.0, distance_mm=1.0, cover_glass_height_mm=0.1, specks=0)
    model = BareSensor((20, 20), (40, 40), pitch_um=72.0, **touching).model
    assert type(model) is DenseModel
    crowded = BareSensor((16, 16), (48, 48), specks=8).model
    assert type(crowded) is DenseModel
    assert type(BareSensor((24, 24), (100, 100), specks=1).model) is StructuredModel


def test_interpolation_stops_at_the_tolerance_and_gives_up_where_there_is_none():
    pixels = torch.linspace(-1, 1, 300, dtype=torch.float64)
    places = (
        torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None],
        torch.linspace(-2, 2, 8, dtype=torch.float64)[:, None],
    )
    one = torch.ones(1, dtype=torch.float64)

    def smooth(p, y, x):
        return torch.exp(0.3 * pixels[p, None] * y) + x**2

    U, V = interpolated(smooth, 300, places, one, 1e-10)
    y, x = (a.flatten() for a in torch.meshgrid(places[0][:, 0], places[1][:, 0], indexing="ij"))
    assert torch.allclose(U @ V, smooth(slice(None), y, x), rtol=0, atol=1e-8)
    assert torch.allclose(V @ V.T, torch.eye(len(V), dtype=torch.float64), atol=1e-12) and len(V) < 10
    assert interpolated(lambda p, y, x: torch.sign(y - pixels[p, None]), 300, places, one, 1e-6) is None
    assert interpolated(lambda p, y, x: smooth(p, y, x) * torch.nan, 300, places, one, 1e-6) is None


def test_a_block_is_compressed_where_it_pays_and_within_the_tolerance():
    draw = torch.Generator().manual_seed(0)
    thin = torch.randn(40, 3, generator=draw).double() @ torch.randn(3, 30, generator=draw).double()
    slices = slice(0, 8), slice(2, 7), slice(1, 6), slice(0, 6)
    for tolerance in (1e-5, 1e-2):
        noisy = thin + 0.1 * tolerance / 1200**0.5 * torch.randn(40, 30, generator=draw)
        found = Block(*slices, noisy).compressed(tolerance)
        assert found.left.shape == (40, 3) and (found.matrix - noisy).norm() <= tolerance
        assert Block(*slices, noisy.T.contiguous()).compressed(tolerance).right.shape == (3, 40)
    full = torch.randn(40, 30, generator=draw).double()
    assert Block(*slices, full).compressed(1e-6).left is None
