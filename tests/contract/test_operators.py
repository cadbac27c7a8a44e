"""One battery that every forward model passes, at odd sizes on purpose.

A new model adds a line to MODELS.
"""

import copy

import numpy as np
import pytest
import torch

from hardware.errors import ConfigurationError
from lensless.optics import BareSensor, Cannula, Channels, ForwardModel, Mask, Mosaicked, TransferMatrix
from lensless.optics.operator import DenseModel

SIZES = [(8, 8), (13, 17), (38, 38), (47, 29), (64, 48)]
# Each size once as both planes, and once as the scene of another sensor.
PAIRS = [(scene, SIZES[(i + step) % len(SIZES)]) for step in (0, 2) for i, scene in enumerate(SIZES)]
SMALL = [((8, 8), (13, 17)), ((13, 17), (8, 8)), ((8, 8), (8, 8))]


def plain(scene_shape, sensor_shape) -> DenseModel:
    shape = (np.prod(sensor_shape), np.prod(scene_shape))
    return DenseModel(torch.from_numpy(np.random.default_rng(0).normal(size=shape)), scene_shape, sensor_shape)


def cannula(scene_shape, sensor_shape) -> Cannula:
    return Cannula(scene_shape, sensor_shape, rays=64)


def bare_sensor(scene_shape, sensor_shape) -> BareSensor:
    return BareSensor(scene_shape, sensor_shape, specks=1, dtype=torch.float64)


def structured_bare_sensor(scene_shape, sensor_shape) -> BareSensor:
    return BareSensor(scene_shape, sensor_shape, specks=1, dtype=torch.float64, structured=True)


def whole_bare_sensor(scene_shape, sensor_shape) -> BareSensor:
    return BareSensor(
        scene_shape, sensor_shape, specks=1, dtype=torch.float64, diffraction=True, fresnel=True, veiling=0.05,
        acceptance_deg=20.0, acceptance_gradient_per_rad=0.1, wall_height_mm=1.0, layer_reflectance=0.04,
    )  # fmt: skip


def mask(scene_shape, sensor_shape) -> Mask:
    return Mask(np.random.default_rng(0).random((11, 6)) ** 4, scene_shape, sensor_shape, dtype=torch.float64)


def transfer_matrix(scene_shape, sensor_shape) -> TransferMatrix:
    A = torch.from_numpy(np.random.default_rng(0).random((np.prod(sensor_shape), np.prod(scene_shape))))
    return TransferMatrix(A / A.sum(1).max(), scene_shape, sensor_shape)


def low_rank(scene_shape, sensor_shape) -> TransferMatrix:
    random = np.random.default_rng(0)
    left, right = random.random((np.prod(sensor_shape), 7)), random.random((7, np.prod(scene_shape)))
    return TransferMatrix.low_rank(left / (left @ right.sum(1)).max(), right, scene_shape, sensor_shape)


def colours(scene_shape, sensor_shape) -> Channels:
    each = [build(scene_shape, sensor_shape) for build in (bare_sensor, mask, low_rank)]
    return Channels(each, weights=(0.3, 1.0, 0.7))


def mosaicked(scene_shape, sensor_shape) -> Mosaicked:
    return Mosaicked([build(scene_shape, sensor_shape) for build in (bare_sensor, low_rank, transfer_matrix)], "GRBG")


MODELS = {
    "plain": plain,
    "cannula": cannula,
    "bare_sensor": bare_sensor,
    "structured_bare_sensor": structured_bare_sensor,
    "whole_bare_sensor": whole_bare_sensor,
    "mask": mask,
    "transfer_matrix": transfer_matrix,
    "low_rank": low_rank,
    "colours": colours,
    "mosaicked": mosaicked,
}


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPTICS_FREE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


CASES = [(name, *pair) for name in MODELS for pair in PAIRS]
for name in ("colours", "mosaicked"):  # three blocks in a matrix of 680 MB
    CASES.remove((name, (64, 48), (64, 48)))
for long in [  # seconds of rays, or of numbers
    *(("cannula", *pair) for pair in PAIRS if np.prod(pair[0]) > 1000 and np.prod(pair[1]) > 200),
    ("whole_bare_sensor", (64, 48), (64, 48)), ("colours", (38, 38), (64, 48)),
]:  # fmt: skip
    CASES[CASES.index(long)] = pytest.param(long, marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=CASES, ids=str)
def model(request) -> ForwardModel:
    """In float64, every model at every pair of sizes."""
    name, scene_shape, sensor_shape = request.param
    return MODELS[name](scene_shape, sensor_shape).double()


@pytest.fixture(scope="module", params=[(name, *pair) for name in MODELS for pair in SMALL], ids=str)
def small(request) -> ForwardModel:
    """In float64, every model at sizes where a Jacobian and a full decomposition cost nothing."""
    name, scene_shape, sensor_shape = request.param
    return MODELS[name](scene_shape, sensor_shape).double()


def draw(*shape, seed=0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scenes(model, batch=2, channels=3) -> torch.Tensor:
    return draw(batch, model.channels or channels, *model.scene_shape, seed=1)


def measurements(model, batch=2, channels=3) -> torch.Tensor:
    return draw(batch, measured_channels(model) or channels, *model.sensor_shape, seed=2)


def measured_channels(model) -> int | None:
    return model.measured_channels or model.channels


def vectors(model, planes: torch.Tensor) -> torch.Tensor:
    """Scenes or measurements as the matrix takes them, along the last axis."""
    return planes.flatten(2 if model.channels is None else 1)


def test_the_adjoint_is_the_transpose(model):
    x, y = scenes(model), measurements(model)
    Ax = model.A(x)
    assert abs((Ax * y).sum() - (x * model.A_adjoint(y)).sum()) <= 1e-10 * Ax.norm() * y.norm()


def test_a_measurement_has_the_sensors_shape_and_a_scene_the_scenes(model):
    assert model.A(scenes(model)).shape == (2, measured_channels(model) or 3, *model.sensor_shape)
    assert model.A_adjoint(measurements(model)).shape == (2, 3, *model.scene_shape)
    planes = (measured_channels(model) or 1) * np.prod(model.sensor_shape)
    assert model.as_matrix().shape == (planes, (model.channels or 1) * np.prod(model.scene_shape))
    x = scenes(model)
    assert model.scene_channels(model.A(x)) == 3
    assert torch.equal(model.vectors(x), x.flatten(2) if model.channels is None else x.flatten(1)[:, None])


def test_single_precision_is_within_1e_4_of_double(model):
    x, y = scenes(model), measurements(model)
    Ax, Aty = model.A(x), model.A_adjoint(y)
    single = copy.deepcopy(model).float()
    assert single.A(x.float()).dtype == single.as_matrix().dtype == torch.float32
    assert (single.A(x.float()) - Ax).norm() <= 1e-4 * Ax.norm()
    assert (single.A_adjoint(y.float()) - Aty).norm() <= 1e-4 * Aty.norm()


def test_linear_in_every_batch_and_channel_alike(model):
    x = scenes(model)
    assert torch.allclose(model.A(2 * x - 3 * x.flip(0)), 2 * model.A(x) - 3 * model.A(x).flip(0), rtol=0, atol=1e-10)
    together = model.A(x)
    for i in range(2):
        for c in range(3):
            place = c if model.channels else 0
            alone = torch.zeros(1, model.channels or 1, *model.scene_shape, dtype=x.dtype)
            alone[0, place] = x[i, c]
            parts = model.A(alone)[0]
            if model.measured_channels:  # no pixel sees two colours
                lit = model.as_matrix().view(len(parts.flatten()), 3, -1)[:, c].any(1).reshape(model.sensor_shape)
                assert torch.allclose(together[i, 0] * lit, parts[0], rtol=0, atol=1e-11)
                continue
            assert torch.allclose(together[i, c], parts[place], rtol=0, atol=1e-11)
            assert parts.any(-1).any(-1).sum() == 1  # no channel leaks into another
    assert torch.equal(model(x), together)


def test_no_scene_gives_no_measurement(model):
    assert model.A(scenes(model, batch=0)).shape == (0, measured_channels(model) or 3, *model.sensor_shape)


def test_normal_is_the_adjoint_of_the_measurement(model):
    x = scenes(model)
    expected = vectors(model, x) @ model.gram()
    assert (vectors(model, model.normal(x)) - expected).norm() <= 1e-12 * expected.norm()


def test_physical_models_add_light_and_an_all_white_scene_peaks_at_one(model):
    if type(model) is DenseModel:
        return  # any matrix
    assert model.as_matrix().min() >= 0 and model.as_matrix().isfinite().all()
    white = model.A(torch.ones(1, model.channels or 1, *model.scene_shape, dtype=torch.float64))
    assert float(white.max()) == pytest.approx(1, abs=1e-5)


def test_the_matrix_is_autograds_jacobian(small):
    x = scenes(small, 1, 1)
    jacobian = torch.autograd.functional.jacobian(small.A, x)
    assert torch.allclose(jacobian.reshape(small.as_matrix().shape), small.as_matrix(), rtol=1e-12, atol=1e-15)


def test_the_adjoint_is_autograds_gradient(small):
    x, y = scenes(small, 2, 2).requires_grad_(), measurements(small, 2, 2)
    (small.A(x) * y).sum().backward()
    assert torch.allclose(x.grad, small.A_adjoint(y), rtol=1e-12, atol=1e-13)


def test_norm_and_singular_values_agree_with_numpy(small):
    expected = np.linalg.svd(small.as_matrix().numpy(), compute_uv=False)
    assert small.norm() == pytest.approx(expected[0], rel=1e-12)
    values = small.singular_values().numpy()
    assert values.shape == expected.shape
    assert np.abs(values - expected).max() <= 1e-7 * expected[0]
    x = scenes(small, 4, 1)
    assert (small.A(x).flatten(1).norm(dim=1) <= small.norm() * x.flatten(1).norm(dim=1) * (1 + 1e-12)).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_svd_rebuilds_the_matrix_from_orthonormal_vectors(small, dtype):
    model = copy.deepcopy(small).to(dtype)
    matrix = model.as_matrix()
    U, s, Vh = model.svd()
    assert {U.dtype, s.dtype, Vh.dtype} == {dtype}
    assert (s.diff() <= 0).all() and s[-1] > 0.99e-7 * s[0]
    eps = torch.finfo(dtype).eps
    # What the Gram matrix does not know is at most 1e-7 of the largest direction.
    assert torch.linalg.matrix_norm((U * s) @ Vh - matrix, 2) <= (2e-7 + 20 * eps) * s[0]
    loss = s[0] / s[-1]
    large, little = (U, Vh.T) if len(U) >= Vh.shape[1] else (Vh.T, U)
    tolerance = 10 * eps * (loss**2 if dtype == torch.float64 else loss)
    assert _departure(little) <= 20 * eps and _departure(large) <= 20 * eps + tolerance


def _departure(vectors: torch.Tensor) -> float:
    vectors = vectors.double()
    return float((vectors.T @ vectors - torch.eye(vectors.shape[1])).abs().max())


def test_a_leading_svd_is_the_best_approximation_of_its_rank(small):
    matrix = small.as_matrix()
    U, s, Vh = small.svd(rank=5)
    assert U.shape == (len(matrix), 5) and s.shape == (5,) and Vh.shape == (5, matrix.shape[1])
    left = np.linalg.svd(matrix.numpy(), compute_uv=False)[5:]
    residual = (matrix - (U * s) @ Vh).norm()
    assert float(residual) == pytest.approx(float(np.linalg.norm(left)), rel=1e-9)


def test_the_pseudo_inverse_explains_every_measurement_of_a_scene(small):
    x = scenes(small)
    y = small.A(x)
    estimate = small.A_dagger(y)
    assert estimate.shape == x.shape
    assert (small.A(estimate) - y).norm() <= 1e-6 * y.norm()
    assert estimate.norm() <= x.norm() * (1 + 1e-6)  # no scene that explains it is shorter


def well_conditioned(rows: int, columns: int, rank: int) -> torch.Tensor:
    random = np.random.default_rng(rows + columns + rank)
    left, _ = np.linalg.qr(random.normal(size=(rows, rank)))
    right, _ = np.linalg.qr(random.normal(size=(columns, rank)))
    return torch.from_numpy(left * np.geomspace(1, 0.01, rank) @ right.T)


@pytest.mark.parametrize("rank", [12, 30])
@pytest.mark.parametrize("scene_shape, sensor_shape", [((5, 6), (7, 9)), ((7, 9), (5, 6)), ((6, 5), (5, 6))])
def test_the_pseudo_inverse_meets_the_four_conditions_of_moore_and_penrose(scene_shape, sensor_shape, rank):
    A = well_conditioned(np.prod(sensor_shape), np.prod(scene_shape), rank)
    model = DenseModel(A, scene_shape, sensor_shape)
    basis = torch.eye(len(A), dtype=A.dtype).reshape(-1, 1, *sensor_shape)
    P = model.A_dagger(basis).flatten(1).T
    assert torch.allclose(A @ P @ A, A, rtol=0, atol=1e-10)
    assert torch.allclose(P @ A @ P, P, rtol=0, atol=1e-8)
    assert torch.allclose((A @ P).T, A @ P, rtol=0, atol=1e-10)
    assert torch.allclose((P @ A).T, P @ A, rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", [(8, 8), (1, 8, 8), (1, 1, 8, 9), (1, 1, 1, 8, 8), (1, 1, 64), (1, 1, 1, 1)])
@pytest.mark.parametrize("name", MODELS)
def test_a_wrong_shape_is_refused_with_both_shapes(name, shape):
    model = MODELS[name]((8, 8), (8, 8)).double()
    for call in (model.A, model.A_adjoint, model.A_dagger, model.normal, model):
        channels = measured_channels(model) if call in (model.A_adjoint, model.A_dagger) else model.channels
        expected = f"(batch, {channels or 'channels'}, 8, 8)"
        if shape == (1, 1, 8, 8) and channels == 1:
            continue
        with pytest.raises(ConfigurationError) as refusal:
            call(torch.ones(shape, dtype=torch.float64))
        assert str(shape) in str(refusal.value) and expected in str(refusal.value)


@pytest.mark.parametrize("name", MODELS)
def test_scene_and_measurement_are_not_taken_for_one_another(name):
    model = MODELS[name]((8, 9), (9, 8)).double()
    count = model.channels or 1
    with pytest.raises(ConfigurationError, match=r"expected \(batch, \w+, 8, 9\)"):
        model.A(torch.ones(1, count, 9, 8, dtype=torch.float64))
    with pytest.raises(ConfigurationError, match=r"expected \(batch, \w+, 9, 8\)"):
        model.A_adjoint(torch.ones(1, measured_channels(model) or 1, 8, 9, dtype=torch.float64))


@pytest.mark.parametrize("wrong", [(0, 8), (8, 0), (-8, 8), (8,), (8, 8, 3), (8, 8.5), (8, float("nan"))])
@pytest.mark.parametrize("name", ["cannula", "bare_sensor", "mask"])
def test_a_plane_of_no_shape_is_refused(name, wrong):
    for scene_shape, sensor_shape, which in ((wrong, (8, 8), "scene_shape"), ((8, 8), wrong, "sensor_shape")):
        with pytest.raises(ConfigurationError, match=f"{which} is .*expected \\(rows, columns\\)"):
            MODELS[name](scene_shape, sensor_shape)


def test_a_matrix_that_does_not_fit_its_planes_is_refused():
    with pytest.raises(ConfigurationError, match=r"\(64, 20\), expected \(64, 30\)"):
        DenseModel(torch.zeros(64, 20), (5, 6), (8, 8))
