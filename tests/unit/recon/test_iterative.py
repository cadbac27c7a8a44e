"""Total variation by FISTA and ADMM against references that share no code with them."""

import math

import numpy as np
import pytest
import scipy.optimize
import torch
from planted import draw, model_with

from hardware.errors import ConfigurationError
from lensless.optics import BareSensor, Channels, Mask, TransferMatrix
from lensless.optics.operator import DenseModel
from lensless.recon import admm, fista, total_variation
from lensless.recon.total_variation import gradient, gradient_adjoint, nearest_with_less

SCENE = (12, 10)
SOLVERS = [admm, fista]


def dense() -> DenseModel:
    return DenseModel(torch.from_numpy(np.random.default_rng(1).random((200, 120))) / 60, SCENE, (20, 10))


def mask(seed: int = 0, scene=SCENE, sensor=(14, 9), psf=(9, 7)) -> Mask:
    return Mask(np.random.default_rng(seed).random(psf) ** 4, scene, sensor, dtype=torch.float64)


MODELS = {"dense": dense, "mask": mask, "wide mask": lambda: mask(2, sensor=(30, 31)), "bare": lambda: BareSensor(
    SCENE, (20, 24), specks=3, dtype=torch.float64, structured=True
)}  # fmt: skip


def scene(seed: int = 0) -> torch.Tensor:
    """Blocks, some of them at the ends of the box and at the edges of the picture."""
    x = torch.zeros(1, 1, *SCENE, dtype=torch.float64)
    x[..., 3:6, 2:8], x[..., 6:, 3:6], x[..., 0:3, 0] = 1.0, 0.4, 0.7
    return x + 0.02 * draw(1, 1, *SCENE, seed=seed).abs()


def measured(model, noise: float = 0.01) -> torch.Tensor:
    y = model.A(scene().to(next(model.buffers()).dtype))
    return y + noise * y.max() * draw(*y.shape, seed=3)


def reference(matrix: np.ndarray, y: np.ndarray, weight: float, box=(0.0, 1.0), steps: int = 12_000) -> np.ndarray:
    """By Chambolle and Pock's primal-dual steps (2011, doi:10.1007/s10851-010-0251-1), in numpy with dense matrices."""
    rows, columns = SCENE
    index = np.arange(rows * columns).reshape(SCENE)
    down, right = np.zeros((2, rows * columns, rows * columns))
    for one, pairs in ((down, (index[:-1], index[1:])), (right, (index[:, :-1], index[:, 1:]))):
        here, there = (part.ravel() for part in pairs)
        one[here, here], one[here, there] = -1, 1
    x = ahead = np.zeros(rows * columns)
    p, q = np.zeros((2, rows * columns)), np.zeros(len(y))
    size = math.sqrt(np.linalg.norm(matrix, 2) ** 2 + 8)
    step_x, step_p = 3 / size, 1 / (3 * size)
    for _ in range(steps):
        q = (q + step_p * (matrix @ ahead - y)) / (1 + step_p)
        p = p + step_p * np.stack([down @ ahead, right @ ahead])
        p /= np.maximum(1, np.hypot(*p) / weight)
        new = np.clip(x - step_x * (matrix.T @ q + down.T @ p[0] + right.T @ p[1]), *box)
        x, ahead = new, 2 * new - x
    return x.reshape(1, 1, *SCENE)


def objective(model, x: torch.Tensor, y: torch.Tensor, weight: float) -> float:
    """By the definition, in numpy."""
    picture = x.numpy()
    down = np.diff(picture, axis=-2, append=picture[..., -1:, :])
    right = np.diff(picture, axis=-1, append=picture[..., :, -1:])
    misfit = model.as_matrix().numpy() @ picture.reshape(-1) - y.numpy().reshape(-1)
    return float(misfit @ misfit / 2 + weight * np.sqrt(down**2 + right**2).sum())


@pytest.mark.parametrize(
    "name", ["dense", "mask", *(pytest.param(n, marks=pytest.mark.slow) for n in ("wide mask", "bare"))]
)
@pytest.mark.parametrize("weight", [1e-4, 3e-3])
def test_both_reach_the_least_objective(name, weight):
    model = MODELS[name]()
    y = measured(model)
    exact = torch.from_numpy(reference(model.as_matrix().numpy(), y.numpy().ravel(), weight))
    least = objective(model, exact, y, weight)
    for solver, iterations in ((admm, 1500), (fista, 1500)):
        found = solver(model, y, weight, iterations=iterations, tolerance=1e-9)
        assert float(found.objective) == pytest.approx(objective(model, found.x, y, weight), rel=1e-9)
        assert float(found.objective) <= least * (1 + 2e-6), solver
        assert float(found.misfit) == pytest.approx(float((model.A(found.x) - y).square().mean().sqrt()))
        assert (found.x - exact).abs().max() < 0.02, solver  # the objective is flat where little light comes from


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_hundred_iterations_are_nearly_enough(solver):
    model = mask()
    y = measured(model)
    whole, short = (solver(model, y, 1e-3, iterations=count, tolerance=0) for count in (600, 100))
    assert float(short.objective) < 1.002 * float(whole.objective)
    assert not short.converged and short.iterations == 100 and "stopped after 100" in str(short)


@pytest.mark.parametrize("solver", SOLVERS)
def test_without_weight_it_is_least_squares_in_the_box(solver):
    model = dense()
    y = measured(model, 0.05)
    expected = scipy.optimize.lsq_linear(model.as_matrix().numpy(), y.numpy().ravel(), (0, 1), tol=1e-14).cost
    found = solver(model, y, 0.0, iterations=20_000, tolerance=1e-10)
    assert float(found.objective) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("box", [(0.0, 1.0), (0.2, 0.5), (0.0, math.inf), (-math.inf, math.inf)])
def test_scenes_stay_in_the_box(solver, box):
    for model in (dense(), mask()):
        x = solver(model, 1.5 * measured(model), 1e-3, box=box).x
        assert x.min() >= box[0] and x.max() <= box[1]
        assert box[1] < 1 or x.max() > 1 or box == (0.0, 1.0)


@pytest.mark.parametrize("solver", SOLVERS)
def test_each_scene_of_a_batch_and_each_channel_is_for_itself(solver):
    model = mask()
    y = torch.cat([measured(model), 0.5 * measured(model, 0.03)])
    together = solver(model, y.transpose(0, 1), 1e-3, iterations=1000, tolerance=1e-7).x
    batch = solver(model, y, 1e-3, iterations=1000, tolerance=1e-7)
    for k in range(2):
        alone = solver(model, y[k : k + 1], 1e-3, iterations=1000, tolerance=1e-7)
        assert torch.allclose(batch.x[k], alone.x[0], rtol=0, atol=2e-5)
        assert torch.allclose(together[0, k], alone.x[0, 0], rtol=0, atol=2e-5)
        assert float(batch.objective[k]) == pytest.approx(float(alone.objective), rel=1e-6)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("kind", ["masks", "masks of two sizes", "matrices"])
def test_colours_have_a_model_each(solver, kind):
    models = {
        "masks": [mask(1), mask(2)], "masks of two sizes": [mask(1), mask(2, psf=(5, 11))],
        "matrices": [BareSensor(SCENE, (14, 9), specks=2, dtype=torch.float64), mask(2)],
    }[kind]  # fmt: skip
    weights = (1.0, 0.6)
    y = torch.cat([w * measured(model) for model, w in zip(models, weights, strict=True)], 1)
    found = solver(Channels(models, weights), y, 1e-3, iterations=1000, tolerance=1e-8)
    for k, (model, w) in enumerate(zip(models, weights, strict=True)):
        alone = DenseModel(w * model.as_matrix(), SCENE, model.sensor_shape)
        expected = solver(alone, y[:, k : k + 1], 1e-3, iterations=1000, tolerance=1e-8)
        assert objective(alone, found.x[:, k : k + 1], y[:, k : k + 1], 1e-3) <= float(expected.objective) * (1 + 1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
def test_single_precision_is_near_double(solver):
    model = mask()
    y = measured(model)
    exact = solver(model, y, 1e-3, tolerance=0)
    single = solver(mask().float(), y.float(), 1e-3, tolerance=0)
    assert single.x.dtype == torch.float32
    assert float(single.objective) == pytest.approx(float(exact.objective), rel=1e-3)


@pytest.mark.parametrize("solver", SOLVERS)
def test_it_ends_where_little_changes_and_says_so(solver):
    model = dense()
    found = solver(model, measured(model), 1e-3, iterations=5000, tolerance=1e-4)
    assert found.converged and found.iterations < 2000 and found.change < 1e-4
    assert f"converged after {found.iterations} iterations" in str(found)


def test_single_precision_converges_where_the_matrix_is_ill_conditioned():
    """In float32 the inner step's rounding errors are as large as 1 / penalty times those of numbers of size 1."""
    model = model_with(np.logspace(0, -5, 120), SCENE, (20, 10), dtype=torch.float32)
    found = admm(model, measured(model, 1e-3).float(), 1e-6, iterations=2000, tolerance=1e-4)
    assert found.converged and found.x.dtype == torch.float32


def test_a_good_start_is_a_head_start():
    model = dense()
    y = measured(model)
    whole = fista(model, y, 1e-3, iterations=5000, tolerance=1e-9)
    again = fista(model, y, 1e-3, iterations=3, tolerance=0, start=whole.x, norm=model.norm())
    assert float(again.objective) == pytest.approx(float(whole.objective), rel=1e-5)


# --- total variation ---


def test_the_variation_of_a_block_is_its_outline():
    """Of the height h: h times its outline, less 2 - sqrt(2) where two differences share a pixel."""
    x = torch.zeros(2, 1, 9, 11, dtype=torch.float64)
    x[0, 0, 2:5, 3:9], x[1, 0, :, :4] = 0.5, 0.25
    assert total_variation(x).tolist() == pytest.approx([0.5 * (2 * 3 + 2 * 6 - 2 + math.sqrt(2)), 0.25 * 9])


def test_the_adjoint_of_the_gradient_is_its_transpose():
    x, field = draw(2, 3, 7, 5), draw(2, 2, 3, 7, 5, seed=1)
    assert float((gradient(x) * field).sum()) == pytest.approx(float((x * gradient_adjoint(field)).sum()))
    assert gradient(torch.ones(1, 1, 4, 6)).abs().max() == 0


def test_two_pixels_come_nearer_by_the_weight():
    """min (u - x)^2 / 2 + w |u1 - u0|: both ends move by w, until they meet."""
    x = torch.tensor([[[[0.2, 0.8]]]], dtype=torch.float64)
    none = torch.zeros(2, *x.shape, dtype=torch.float64)
    assert nearest_with_less(x, 0.1, (0, 1), none, 500)[0].flatten().tolist() == pytest.approx([0.3, 0.7])
    assert nearest_with_less(x, 0.5, (0, 1), none, 500)[0].flatten().tolist() == pytest.approx([0.5, 0.5])
    assert nearest_with_less(x, 0.1, (0, 0.6), none, 2000)[0].flatten().tolist() == pytest.approx([0.3, 0.6])


# --- refusals ---


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"y": draw(1, 1, 9, 14)}, r"y has shape \(1, 1, 9, 14\); expected \(batch, channels, 14, 9\)"),
        ({"y": draw(14, 9)}, "y has shape"), ({"y": torch.full((1, 1, 14, 9), math.nan)}, "NaN or infinity"),
        ({"y": torch.ones(1, 1, 14, 9, dtype=torch.int64)}, "torch.int64"), ({"weight": -1.0}, "weight = -1.0"),
        ({"weight": math.nan}, "weight = nan"), ({"weight": "gcv"}, "weight = 'gcv'"),
        ({"tolerance": -1e-3}, "tolerance"), ({"iterations": 0}, "iterations = 0"), ({"iterations": 2.5}, "iterations"),
        ({"box": (1.0, 0.0)}, "box = "), ({"box": (0.0, math.nan)}, "box = "), ({"box": (0.0,)}, "box = "),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(solver, change, says):
    with pytest.raises(ConfigurationError, match=f"{solver.__name__}: .*{says}"):
        solver(**({"A": mask(), "y": draw(1, 1, 14, 9)} | change))


@pytest.mark.parametrize("penalty", [0.0, -1.0, math.nan, "much"])
def test_a_penalty_is_above_0(penalty):
    with pytest.raises(ConfigurationError, match="admm: penalty = "):
        admm(mask(), draw(1, 1, 14, 9), penalty=penalty)


def test_a_model_too_large_to_invert_is_sent_to_fista():
    model = TransferMatrix.low_rank(torch.ones(4, 1), torch.ones(1, 100 * 100), (100, 100), (2, 2))
    with pytest.raises(ConfigurationError, match=r"scenes of 10000 pixels, limit 8192 .*use fista"):
        admm(model, torch.ones(1, 1, 2, 2))
    assert fista(model, torch.ones(1, 1, 2, 2), 1e-6, iterations=20).x.shape == (1, 1, 100, 100)
