"""The weight of total variation, against errors that only a simulation knows."""

import functools

import numpy as np
import pytest
import torch
from planted import draw, model_with

from hardware.errors import ConfigurationError
from lensless.optics import Mask
from lensless.recon import admm, fista, tv_weight

SCENE, SENSOR, STD = (12, 10), (16, 15), 0.01


def scene() -> torch.Tensor:
    x = torch.zeros(1, 1, *SCENE, dtype=torch.float64)
    x[..., 2:7, 2:8], x[..., 8:, 4:9] = 1.0, 0.5
    return x


@pytest.fixture(scope="module", params=["dense", "mask"])
def model(request):
    if request.param == "mask":
        return Mask(np.random.default_rng(0).random((9, 7)) ** 4, SCENE, SENSOR, dtype=torch.float64)
    return model_with(np.logspace(0, -4, 120), SCENE, SENSOR)


def measured(model, count: int = 4) -> torch.Tensor:
    clean = model.A(scene())
    return clean + STD * draw(count, 1, *SENSOR, seed=1)


def solver(model, iterations: int = 100):
    return functools.partial(admm, model, iterations=iterations, tolerance=0.0)


def test_the_risk_is_near_the_least_that_any_weight_leaves(model):
    """The true error of A x, which the estimate cannot see, within a quarter of its least over all weights."""
    y, solve = measured(model), solver(model)
    error = {
        weight: float((model.A(solve(y, weight).x) - model.A(scene())).square().sum())
        for weight in model.norm() ** 2 * np.logspace(-7, -1, 25)
    }
    found = tv_weight("sure", model, y, torch.tensor(STD**2), solve)
    chosen = float((model.A(solve(y, found).x) - model.A(scene())).square().sum())
    assert chosen < 1.25 * min(error.values()) < 0.5 * max(error.values())


def test_the_discrepancy_leaves_the_misfit_of_the_noise(model):
    y, solve = measured(model), solver(model)
    found = tv_weight("discrepancy", model, y, torch.tensor(STD**2), solve)
    assert float(solve(y, found).misfit.square().mean()) == pytest.approx(STD**2, rel=0.02)


@pytest.mark.slow
def test_the_risk_hardly_minds_noise_that_is_said_wrong(model):
    y, solve = measured(model), solver(model)
    weights = [tv_weight("sure", model, y, torch.tensor((said * STD) ** 2), solve) for said in (0.9, 1.1)]
    assert max(weights) <= 10**0.51 * min(weights)


@pytest.mark.slow
def test_any_solver_serves():
    model = model_with(np.linspace(1, 0.1, 120), SCENE, SENSOR)
    y = measured(model)
    weights = [
        tv_weight("sure", model, y, torch.full(SENSOR, STD**2), functools.partial(solve, model, iterations=100), 1.0)
        for solve in (admm, fista)
    ]
    assert weights[0] == pytest.approx(weights[1], rel=0.8)


@pytest.mark.parametrize(
    ("choice", "variance", "says"),
    [("gcv", 1e-4, "'sure' or 'discrepancy'"), ("sure", 0.0, "above 0"), ("discrepancy", 1e9, "choose .* by 'sure'")],
)
def test_what_cannot_be_is_refused(choice, variance, says):
    model = model_with(np.linspace(1, 0.1, 120), SCENE, SENSOR)
    with pytest.raises(ConfigurationError, match=f"total variation: .*{says}"):
        tv_weight(choice, model, measured(model), torch.tensor(variance), solver(model, 20))
