"""Tikhonov's estimate against the normal equations, and its weight against the score that defines it."""

import math

import numpy as np
import pytest
import torch
from planted import draw, model_with

from hardware.errors import ConfigurationError
from lensless.recon import (
    error_bars,
    gcv_weight,
    l_curve_weight,
    tikhonov,
    tikhonov_gains,
    truncated_gains,
    truncated_svd,
)

SHAPES = [((5, 6), (9, 10)), ((9, 10), (5, 6)), ((7, 5), (5, 7))]


def planted(scene_shape, sensor_shape, least=1e-3):
    rank = min(np.prod(scene_shape), np.prod(sensor_shape))
    return model_with(3 * np.geomspace(1, least, rank), scene_shape, sensor_shape)


def normal_equations(A: np.ndarray, y: np.ndarray, weight: float, mean: np.ndarray) -> np.ndarray:
    """Scenes (B, N) of measurements (B, n), by the definition: no decomposition of A."""
    penalty = weight * np.linalg.norm(A, 2) ** 2
    return mean + np.linalg.solve(A.T @ A + penalty * np.eye(A.shape[1]), A.T @ (y - mean @ A.T).T).T


@pytest.mark.parametrize("weight", [1e-7, 1e-3, 0.5, 30.0, 1])
@pytest.mark.parametrize("scene_shape, sensor_shape", SHAPES)
def test_the_estimate_solves_the_normal_equations(scene_shape, sensor_shape, weight):
    model = planted(scene_shape, sensor_shape)
    y, mean = draw(4, 2, *sensor_shape), draw(2, *scene_shape, seed=1)
    x = tikhonov(model, y, weight, mean)
    assert x.shape == (4, 2, *scene_shape)
    for channel in range(2):
        expected = normal_equations(
            model.as_matrix().numpy(), y[:, channel].flatten(1).numpy(), weight, mean[channel].flatten().numpy()
        )
        assert np.allclose(x[:, channel].flatten(1).numpy(), expected, rtol=0, atol=1e-7 * np.abs(expected).max())


def test_no_other_scene_has_a_smaller_sum_of_misfit_and_penalty():
    model = planted(*SHAPES[0])
    y, mean, weight = draw(1, 1, 9, 10), draw(1, 5, 6, seed=1), 1e-2

    def cost(x):
        return (model.A(x) - y).square().sum() + weight * model.norm() ** 2 * (x - mean).square().sum()

    x = tikhonov(model, y, weight, mean).requires_grad_()
    cost(x).backward()
    assert x.grad.abs().max() <= 1e-10
    for seed in range(5):
        assert cost(x.detach() + 1e-3 * draw(1, 1, 5, 6, seed=seed)) > cost(x.detach())


@pytest.mark.parametrize("scene_shape, sensor_shape", SHAPES)
def test_a_vanishing_weight_gives_the_pseudo_inverse(scene_shape, sensor_shape):
    model = planted(scene_shape, sensor_shape, least=0.05)
    y = draw(3, 1, *sensor_shape)
    expected = model.A_dagger(y)
    distances = [
        float((tikhonov(model, y, weight) - expected).norm() / expected.norm()) for weight in (1e-5, 1e-9, 1e-13)
    ]
    assert distances[0] > 1e3 * distances[1] and distances[2] <= 1e-9


def test_about_the_mean_is_the_mean_and_what_the_measurement_adds_to_it():
    model = planted(*SHAPES[0])
    y, mean = draw(3, 2, 9, 10), draw(2, 5, 6, seed=1)
    added = tikhonov(model, y - model.A(mean[None]), 1e-2)
    assert torch.allclose(tikhonov(model, y, 1e-2, mean), mean + added, rtol=0, atol=1e-10)
    # Too much weight leaves nothing but the mean; a scene that is the mean is left alone at any weight.
    assert torch.allclose(tikhonov(model, y, 1e12, mean), mean.expand(3, 2, 5, 6), rtol=0, atol=1e-9)
    assert torch.allclose(tikhonov(model, model.A(mean[None]), 1e-2, mean), mean[None], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "mean",
    [torch.tensor(0.3, dtype=torch.float64), torch.full((5, 6), 0.3, dtype=torch.float64)],
    ids=["number", "plane"],
)
def test_a_mean_is_broadcast_to_every_scene(mean):
    model, y = planted(*SHAPES[0]), draw(2, 3, 9, 10)
    full = torch.full((3, 5, 6), 0.3, dtype=torch.float64)
    assert torch.allclose(tikhonov(model, y, 1e-2, mean), tikhonov(model, y, 1e-2, full), rtol=0, atol=1e-12)


def test_single_precision_is_near_double():
    model = planted(*SHAPES[0])
    single = model_with(3 * np.geomspace(1, 1e-3, 30), *SHAPES[0], dtype=torch.float32)
    x = draw(3, 1, 5, 6)
    y = model.A(x)
    exact = tikhonov(model, y, 1e-4)
    assert (tikhonov(single, y.float(), 1e-4) - exact).norm() <= 1e-4 * exact.norm()


# --- generalised cross-validation ---


def score(A: np.ndarray, y: np.ndarray, weight: float) -> float:
    """|(I - H) y|^2 / tr(I - H)^2 with H = A (A* A + weight |A|^2)^-1 A*, mean over the rows of y: the definition."""
    penalty = weight * np.linalg.norm(A, 2) ** 2
    left = np.eye(len(A)) - A @ np.linalg.solve(A.T @ A + penalty * np.eye(A.shape[1]), A.T)
    return ((y @ left.T) ** 2).sum(1).mean() / np.trace(left) ** 2


def noisy(scene_shape, sensor_shape, noise, least=1e-3, seed=0):
    model = planted(scene_shape, sensor_shape, least)
    x = draw(5, 1, *scene_shape, seed=seed)
    return model, x, model.A(x) + noise * draw(5, 1, *sensor_shape, seed=seed + 100)


@pytest.mark.parametrize("noise", [1e-3, 1e-2, 0.1, 1.0])
@pytest.mark.parametrize("shapes", [*SHAPES[::2], ((6, 5), (8, 9))], ids=str)
def test_the_weight_has_the_least_score_of_a_search_by_the_definition(shapes, noise):
    model, _, y = noisy(*shapes, noise)
    A, flat = model.as_matrix().numpy(), y.flatten(1).numpy()
    grid = np.logspace(-12, 0, 97)
    scores = np.array([score(A, flat, weight) for weight in grid])
    U, s, _ = model.svd()
    chosen = gcv_weight(s, y.flatten(2) @ U, y.flatten(2))
    # For a square A both sides of the definition vanish with the weight, and numpy's rounding shows.
    assert score(A, flat, chosen) <= scores.min() * (1 + (1e-3 if len(A) == A.shape[1] else 1e-6))
    assert torch.equal(tikhonov(model, y), tikhonov(model, y, chosen))
    assert torch.equal(tikhonov(model, y, "gcv"), tikhonov(model, y, chosen))


def test_directions_that_the_model_does_not_pass_count_as_noise():
    """A rank of 12 out of 30: the part of y outside belongs to the score as much as the part within."""
    model = model_with(np.geomspace(1, 0.01, 12), (5, 6), (6, 7))
    y = model.A(draw(4, 1, 5, 6)) + 0.03 * draw(4, 1, 6, 7, seed=1)
    U, s, _ = model.svd()
    assert len(s) == 12
    chosen = gcv_weight(s, y.flatten(2) @ U, y.flatten(2))
    grid = np.logspace(-12, 0, 97)
    scores = [score(model.as_matrix().numpy(), y.flatten(1).numpy(), weight) for weight in grid]
    assert chosen == pytest.approx(grid[int(np.argmin(scores))], rel=1e-6)


@pytest.mark.parametrize("noise", [1e-3, 1e-2, 0.1])
def test_the_weight_found_without_the_scene_does_nearly_as_well_as_the_best(noise):
    model, x, y = noisy((8, 8), (12, 12), noise)
    best = min(float((tikhonov(model, y, weight) - x).square().mean()) for weight in np.logspace(-10, 0, 61).tolist())
    assert float((tikhonov(model, y) - x).square().mean()) <= 1.25 * best


def test_more_noise_asks_for_more_weight():
    weights = []
    for noise in (1e-3, 1e-2, 1e-1, 1.0):
        model, _, y = noisy((8, 8), (12, 12), noise)
        U, s, _ = model.svd()
        weights.append(gcv_weight(s, y.flatten(2) @ U, y.flatten(2)))
    assert weights == sorted(weights) and weights[-1] > 1e3 * weights[0]


# --- the discrepancy principle ---


@pytest.mark.parametrize("noise", [1e-3, 1e-2, 0.1])
@pytest.mark.parametrize("shapes", [*SHAPES[:1], ((8, 8), (12, 12))], ids=str)
def test_the_misfit_is_what_the_noise_explains(shapes, noise):
    model, _, y = noisy(*shapes, noise)
    x = tikhonov(model, y, "discrepancy", noise_std=noise)
    n = math.prod(shapes[1])
    assert float((model.A(x) - y).square().sum() / len(y)) == pytest.approx(n * noise**2, rel=1e-8)


def test_about_a_mean_the_misfit_is_the_same():
    model, x, y = noisy((8, 8), (12, 12), 0.05)
    estimate = tikhonov(model, y, "discrepancy", mean=x.mean(0), noise_std=0.05)
    assert float((model.A(estimate) - y).square().mean()) == pytest.approx(0.05**2, rel=1e-8)


def test_it_does_nearly_as_well_as_the_best_weight():
    model, x, y = noisy((8, 8), (12, 12), 0.03)
    best = min(float((tikhonov(model, y, weight) - x).square().mean()) for weight in np.logspace(-10, 0, 61).tolist())
    found = tikhonov(model, y, "discrepancy", noise_std=0.03)
    assert float((found - x).square().mean()) <= 1.5 * best


@pytest.mark.parametrize("noise_std", [None, 0.0, -1.0, math.nan, math.inf])
def test_the_discrepancy_wants_noise(noise_std):
    with pytest.raises(ConfigurationError, match=r"noise_std = .*'discrepancy' expects a number > 0"):
        tikhonov(planted(*SHAPES[0]), draw(1, 1, 9, 10), "discrepancy", noise_std=noise_std)


@pytest.mark.parametrize("noise_std", [1e-9, 1e3])
def test_noise_that_no_weight_leaves_is_refused(noise_std):
    model, _, y = noisy((8, 8), (12, 12), 0.05)
    with pytest.raises(ConfigurationError, match=r"noise_std = .*expected between .* and .*'gcv'"):
        tikhonov(model, y, "discrepancy", noise_std=noise_std)


def test_noise_without_the_choice_that_needs_it_is_refused():
    with pytest.raises(ConfigurationError, match=r"noise_std = 0.1 goes with 'discrepancy', not 'gcv'"):
        tikhonov(planted(*SHAPES[0]), draw(1, 1, 9, 10), noise_std=0.1)


# --- the L-curve ---


def test_the_l_curve_is_bent_most_at_its_weight():
    """Against the definition: log misfit and log size at each weight from the estimates, the bend by differences."""
    model, _, y = noisy((8, 8), (12, 12), 0.03)
    U, s, _ = model.svd()
    chosen = l_curve_weight(s, y.flatten(2) @ U, y.flatten(2))
    exponents = np.linspace(-11, -0.5, 600)
    points = []
    for weight in 10**exponents:
        estimate = tikhonov(model, y, float(weight))
        points.append((float((model.A(estimate) - y).norm().log()), float(estimate.norm().log())))
    (x1, y1), (x2, y2) = (np.gradient(np.gradient(points, axis=0) if n else points, axis=0).T for n in (0, 1))
    bend = (x1 * y2 - x2 * y1) / (x1**2 + y1**2) ** 1.5
    assert math.log10(chosen) == pytest.approx(exponents[bend.argmax()], abs=0.1)
    assert torch.equal(tikhonov(model, y, "l-curve"), tikhonov(model, y, chosen))


# --- error bars ---


@pytest.mark.parametrize("even", [True, False])
def test_error_bars_are_the_spread_of_estimates_of_one_scene(even):
    model, x, _ = noisy((8, 8), (12, 12), 0.0)
    variance = torch.full((12, 12), 4e-4, dtype=torch.float64) if even else 1e-3 * draw(12, 12, seed=4).square()
    y = model.A(x[:1]) + variance.sqrt() * draw(20_000, 1, 12, 12, seed=5)
    weight, svd = 1e-2, model.svd()
    gains, noise = tikhonov_gains(svd[1], weight), variance[0, 0].item() if even else variance
    bars = error_bars(svd, gains, noise, model.scene_shape)
    spread = tikhonov(model, y, weight).std(0)[0]
    assert torch.allclose(bars, spread, rtol=0.04)
    bars = error_bars(svd, truncated_gains(svd[1], 9), variance, model.scene_shape)
    assert torch.allclose(bars, truncated_svd(model, y, 9).std(0)[0], rtol=0.04)


@pytest.mark.parametrize("variance", [-1.0, math.nan, torch.ones(5), -torch.ones(12, 12)], ids=str)
def test_error_bars_want_a_variance(variance):
    model = planted((8, 8), (12, 12))
    with pytest.raises(ConfigurationError, match="noise_variance"):
        error_bars(model.svd(), torch.ones(64), variance, (8, 8))


# --- truncation ---


def test_truncation_keeps_the_leading_directions_and_the_mean():
    model = planted(*SHAPES[0])
    U, s, Vh = model.svd()
    y, mean = draw(3, 2, 9, 10), draw(2, 5, 6, seed=1)
    expected = mean.flatten(1) + ((y.flatten(2) - model.A(mean[None]).flatten(2)) @ U[:, :7] / s[:7]) @ Vh[:7]
    assert torch.allclose(truncated_svd(model, y, 7, mean).flatten(2), expected, rtol=0, atol=1e-9)
    assert torch.allclose(truncated_svd(model, y, 30), model.A_dagger(y), rtol=0, atol=1e-9)


def test_the_rank_is_the_one_with_the_least_score_or_the_first_with_little_misfit():
    model, x, y = noisy((8, 8), (12, 12), 0.03)
    ranks = range(1, 65)
    estimates = [truncated_svd(model, y, rank) for rank in ranks]
    misfits = [float((model.A(one) - y).square().sum((1, 2, 3)).mean()) for one in estimates]
    scores = [misfit / (144 - rank) ** 2 for rank, misfit in zip(ranks, misfits, strict=True)]
    assert torch.equal(truncated_svd(model, y), estimates[int(np.argmin(scores))])
    enough = next(k for k, misfit in enumerate(misfits) if misfit <= 144 * 0.05**2)
    assert torch.equal(truncated_svd(model, y, "discrepancy", noise_std=0.05), estimates[enough])
    best = min(float((one - x).square().mean()) for one in estimates)
    assert float((truncated_svd(model, y) - x).square().mean()) <= 1.5 * best


@pytest.mark.parametrize("rank", [0, -1, 31, 2.5, "gvc", None], ids=repr)
def test_a_rank_that_is_none_is_refused(rank):
    with pytest.raises(ConfigurationError, match=r"truncated_svd: rank = .*; expected a whole number from 1 to 30"):
        truncated_svd(planted(*SHAPES[0]), draw(1, 1, 9, 10), rank)


def test_noise_that_no_rank_leaves_is_refused():
    model, _, y = noisy((8, 8), (12, 12), 0.05)
    with pytest.raises(ConfigurationError, match=r"expected at least .*'gcv'"):
        truncated_svd(model, y, "discrepancy", noise_std=1e-9)


# --- refusals ---


@pytest.mark.parametrize("weight", [0, 0.0, -1e-3, math.nan, math.inf, "gvc", None], ids=repr)
def test_a_weight_that_is_none_is_refused(weight):
    with pytest.raises(
        ConfigurationError,
        match=r"tikhonov: weight = .*; expected a number > 0, or one of 'gcv', 'l-curve', 'discrepancy'",
    ):
        tikhonov(planted(*SHAPES[0]), draw(1, 1, 9, 10), weight)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 1, 10, 9), (1, 1, 5, 6), (1, 1, 9, 1)])
def test_a_measurement_of_another_shape_is_refused_and_not_broadcast(shape):
    with pytest.raises(ConfigurationError, match=r"tikhonov: y has shape .* expected \(1, 1, 9, 10\)"):
        tikhonov(planted(*SHAPES[0]), draw(*shape), 1e-2)
