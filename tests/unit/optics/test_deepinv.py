"""Our forward models in the hands of DeepInverse; without it (extra `deepinv`) only the refusal is tested."""

import math
import sys

import numpy as np
import pytest
import torch

from hardware.errors import ConfigurationError
from lensless.optics import BareSensor, Cannula, Channels, Mask, to_deepinv
from lensless.optics import deepinv as bridge
from lensless.recon import admm, fista, tikhonov, total_variation
from lensless.recon.total_variation import nearest_with_less

SCENE = (16, 16)


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPTICS_FREE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def deepinv():
    module = pytest.importorskip("deepinv", reason="DeepInverse is not installed: pip install deepinv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tqdm.tqdm.monitor_interval", 0)  # its progress bars start a thread that never ends
        yield module


def small_models() -> dict:
    mask = Mask(np.random.default_rng(0).random((7, 10)), (9, 13), (11, 8))
    return {
        "cannula": Cannula((9, 9), (13, 13), rays=256),
        "bare_sensor": BareSensor((9, 13), (16, 11), specks=2),
        "mask": mask,
        "colours": Channels([mask, mask, Mask(np.ones((3, 3)), (9, 13), (11, 8))], (1.0, 0.5, 0.5)),
    }


@pytest.mark.parametrize("name", ["cannula", "bare_sensor", "mask", "colours"])
@pytest.mark.parametrize("dtype, limit", [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=str)
def test_the_adjoint_passes_deepinverses_own_test(deepinv, name, dtype, limit):
    model = small_models()[name].to(dtype)
    physics = to_deepinv(model)
    assert isinstance(physics, deepinv.physics.LinearPhysics)
    assert physics.img_size == (model.channels or 1, *model.scene_shape)
    assert float(physics.adjointness_test(num_samples=8, dtype=dtype)) <= limit


def test_all_names_are_those_of_the_model(deepinv):
    model = small_models()["bare_sensor"].double()
    physics = to_deepinv(model, channels=2)
    x, y = (torch.rand(3, 2, *shape, dtype=torch.float64) for shape in (model.scene_shape, model.sensor_shape))
    assert physics.img_size == (2, 9, 13)
    assert torch.equal(physics(x), model.A(x)) and torch.equal(physics.A(x), model.A(x))
    assert torch.equal(physics.A_adjoint(y), model.A_adjoint(y))
    assert torch.equal(physics.A_adjoint_A(x), model.normal(x))
    assert torch.equal(physics.A_A_adjoint(y), model.A(model.A_adjoint(y)))
    assert torch.equal(physics.A_dagger(y, solver="lsqr", max_iter=3), model.A_dagger(y))
    squared = physics.compute_sqnorm(x, max_iter=1000, tol=1e-9, verbose=False)
    assert float(squared) == pytest.approx(model.norm() ** 2, rel=1e-6)
    proximal = physics.prox_l2(x, y, gamma=2.0, max_iter=500, tol=1e-10)
    matrix = model.as_matrix()
    right = 2 * model.A_adjoint(y).flatten(2) + x.flatten(2)
    expected = torch.linalg.solve(2 * matrix.T @ matrix + torch.eye(117, dtype=torch.float64), right.mT).mT
    assert torch.allclose(proximal.flatten(2), expected, rtol=0, atol=1e-5)


def test_the_model_moves_with_the_physics(deepinv):
    physics = to_deepinv(small_models()["mask"]).to(torch.float64)
    assert physics.A(torch.rand(1, 1, 9, 13, dtype=torch.float64)).dtype == torch.float64
    if torch.cuda.is_available():
        assert physics.cuda().A(torch.rand(1, 1, 9, 13, dtype=torch.float64).cuda()).is_cuda


def test_another_number_of_channels_is_refused(deepinv):
    with pytest.raises(ConfigurationError, match="channels = 2, the forward model takes 3"):
        to_deepinv(small_models()["colours"], channels=2)
    with pytest.raises(ConfigurationError, match="channels = 0"):
        to_deepinv(small_models()["mask"], channels=0)


def blocks(count: int) -> torch.Tensor:
    """Dark scenes with bright rectangles, (count, 1, 16, 16)."""
    random = np.random.default_rng(3)
    x = torch.zeros(count, 1, *SCENE)
    for scene in x:
        for _ in range(2):
            (top, left), (height, width) = random.integers(1, 9, 2), random.integers(3, 8, 2)
            scene[0, top : top + height, left : left + width] = float(random.uniform(0.4, 1))
    return x


def psnr_db(estimate: torch.Tensor, x: torch.Tensor) -> float:
    errors = (estimate.clamp(0, 1) - x).square().flatten(1).mean(1)
    return float((-10 * errors.log10()).mean())


def test_plug_and_play_on_a_cannula_beats_what_knows_the_model_alone(deepinv):
    torch.manual_seed(0)
    model = Cannula(SCENE, (32, 32), rays=2**12)
    x = blocks(6)
    y = model.A(x)
    y = y + 0.003 * torch.randn(y.shape)
    physics = to_deepinv(model)
    solver = deepinv.optim.PGD(
        data_fidelity=deepinv.optim.L2(),
        prior=deepinv.optim.PnP(denoiser=deepinv.models.TVDenoiser(n_it_max=50)),
        stepsize=1 / model.norm() ** 2,
        g_param=3e-4,
        max_iter=300,
    )
    with torch.no_grad():
        found = solver(y, physics, init=tikhonov(model, y))
    plain, inverse = psnr_db(tikhonov(model, y), x), psnr_db(model.A_dagger(y), x)
    assert psnr_db(found, x) > max(plain, inverse) + 0.7


def test_total_variation_and_its_denoiser_are_deepinverses(deepinv):
    x = torch.rand(2, 1, 12, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(total_variation(x), deepinv.optim.prior.TVPrior().fn(x))
    expected = deepinv.models.TVDenoiser(n_it_max=20_000, crit=1e-12)(x, ths=0.1)
    dual = torch.zeros(2, *x.shape, dtype=torch.float64)
    found, _ = nearest_with_less(x, 0.1, (-math.inf, math.inf), dual, 4000)
    assert torch.allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_the_least_objective_is_deepinverses_and_reached_sooner(deepinv):
    """Without a box, as its proximal gradient has none."""
    model, weight = Mask(np.random.default_rng(0).random((9, 7)) ** 4, (12, 10), (14, 9)).double(), 1e-3
    draw = torch.Generator().manual_seed(1)
    y = model.A(torch.rand(1, 1, 12, 10, dtype=torch.float64, generator=draw))
    y = y + 0.01 * torch.randn(y.shape, dtype=torch.float64, generator=draw)
    prior = deepinv.optim.prior.TVPrior(def_crit=1e-10, n_it_max=2000)
    descent = deepinv.optim.PGD(
        data_fidelity=deepinv.optim.L2(), prior=prior, lambda_reg=weight, stepsize=1 / model.norm() ** 2, max_iter=2000
    )
    with torch.no_grad():
        theirs = descent(y, to_deepinv(model), init=torch.zeros(1, 1, 12, 10, dtype=torch.float64))
    least = float((model.A(theirs) - y).square().sum() / 2 + weight * prior.fn(theirs))
    for solver in (admm, fista):
        found = solver(model, y, weight, iterations=500, tolerance=1e-9, box=(-math.inf, math.inf))
        assert float(found.objective) == pytest.approx(least, rel=1e-6), solver
        assert (found.x - theirs).abs().max() < 1e-2, solver


def test_without_deepinverse_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "deepinv", None)
    monkeypatch.setitem(sys.modules, "deepinv.physics", None)
    bridge._physics_class.cache_clear()
    with pytest.raises(ConfigurationError, match=r"pip install deepinv, .* pip install '\.\[deepinv\]'"):
        to_deepinv(Mask(np.ones((2, 2)), (4, 4), (4, 4)))
