"""Wiener's estimate against the conditional mean of jointly normal variables, in its other, equivalent form."""

import itertools

import numpy as np
import pytest
import torch
from planted import draw, model_with

from lensless.recon import LinearEstimate, SceneStatistics, expected_error, tikhonov, wiener, wiener_of
from lensless.recon.wiener import stationary

SCENE, SENSOR = (4, 5), (6, 7)
N, n = 20, 42


def statistics(seed=0, spread=0.3) -> SceneStatistics:
    root = spread * draw(N, N, seed=seed) / N**0.5
    return SceneStatistics(draw(N, seed=seed + 1), root @ root.T)


def planted(noise=0.05):
    model = model_with(np.geomspace(1, 0.01, N), SCENE, SENSOR)
    variance = noise**2 * torch.from_numpy(np.random.default_rng(7).uniform(0.5, 2.0, n))
    return model, variance


def posterior(A, noise_variance, scenes):
    """Gain and covariance of x given y, from the joint covariance of (x, y): C A* (A C A* + N)^-1."""
    A, C, noise = A.numpy(), scenes.regular_covariance.numpy(), np.diag(noise_variance.numpy())
    gain = np.linalg.solve(A @ C @ A.T + noise, A @ C).T
    return gain, C - gain @ A @ C


@pytest.mark.parametrize("noise", [1e-3, 0.05, 3.0])
def test_the_estimate_is_the_conditional_mean_of_normal_scenes(noise):
    model, variance = planted(noise)
    scenes = statistics()
    estimate = wiener(model.as_matrix(), variance, scenes)
    gain, _ = posterior(model.as_matrix(), variance, scenes)
    assert estimate.matrix.shape == (N, n) and estimate.offset.shape == (N,)
    assert np.abs(estimate.matrix.numpy() - gain).max() <= 1e-6 * np.abs(gain).max()
    y = draw(5, n, seed=3)
    expected = scenes.mean.numpy() + (y.numpy() - (model.as_matrix() @ scenes.mean).numpy()) @ gain.T
    assert np.allclose(
        estimate(y.float().reshape(5, 1, *SENSOR)).numpy(), expected, rtol=0, atol=3e-5 * np.abs(expected).max()
    )


def test_its_error_is_the_trace_of_the_posterior_covariance():
    model, variance = planted()
    scenes, count = statistics(), 20_000
    root = torch.linalg.cholesky(scenes.regular_covariance)
    x = scenes.mean + draw(count, N, seed=4) @ root.T
    y = x @ model.as_matrix().T + draw(count, n, seed=5) * variance.sqrt()
    estimate = wiener(model.as_matrix(), variance, scenes)
    error = estimate(y.float()) - x
    _, covariance = posterior(model.as_matrix(), variance, scenes)
    # The squared error of one scene has the variance 2 tr(covariance^2).
    deviation = np.sqrt(2 * np.trace(covariance @ covariance) / count)
    measured = float(error.square().sum(1).mean())
    assert measured == pytest.approx(np.trace(covariance), abs=5 * deviation)
    assert float(error.mean(0).abs().max()) <= 5 * np.sqrt(covariance.diagonal().max() / count)
    # The best linear map of the same pairs, fitted without knowing A, is not better by more than it overfits.
    design = torch.cat([y, torch.ones(count, 1)], 1)
    fitted = design @ torch.linalg.lstsq(design, x).solution - x
    assert measured <= float(fitted.square().sum(1).mean()) * (1 + 2 * (n + 1) / count + 0.01)


def test_any_other_linear_estimate_errs_more():
    """Expected error of x = m + K (y - A m): tr((I - K A) C (I - K A)* + K N K*), least at Wiener's K."""
    model, variance = planted()
    scenes = statistics()
    A, C = model.as_matrix(), scenes.regular_covariance

    def expected_error(K):
        left = torch.eye(N, dtype=torch.float64) - K @ A
        return float((left @ C @ left.T + (K * variance) @ K.T).trace())

    best = wiener(A, variance, scenes).matrix.double()
    for seed in range(10):
        assert expected_error(best + 1e-2 * draw(N, n, seed=seed)) > expected_error(best)


def test_without_noise_the_scene_comes_back_and_without_signal_the_mean():
    model, variance = planted()
    scenes = statistics()
    x = scenes.mean + draw(3, N, seed=8)
    exact = wiener(model.as_matrix(), 1e-14 * variance, scenes)
    assert (exact((x @ model.as_matrix().T).float()) - x).norm() <= 1e-3 * x.norm()
    blind = wiener(model.as_matrix(), 1e14 * variance, scenes)
    assert torch.allclose(blind(draw(3, n).float()).double(), scenes.mean.expand(3, N), rtol=0, atol=1e-5)


def test_for_white_scenes_and_even_noise_it_is_tikhonov_about_the_mean():
    model, _ = planted()
    variance, spread = 0.01, 0.25
    scenes = SceneStatistics(draw(N, seed=1), (spread - 1e-4) * torch.eye(N, dtype=torch.float64))
    y = draw(4, 1, *SENSOR)
    expected = tikhonov(model, y, variance / spread / model.norm() ** 2, scenes.mean.reshape(1, *SCENE))
    estimate = wiener_of(model, torch.full(SENSOR, variance, dtype=torch.float64), scenes)(y.float())
    assert torch.allclose(estimate.double(), expected.flatten(1), rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_the_whole_model_and_its_matrix_give_one_estimate():
    model, variance = planted()
    whole = wiener_of(model, variance.reshape(SENSOR), statistics())
    by_matrix = wiener(model.as_matrix(), variance, statistics())
    assert torch.equal(whole.matrix, by_matrix.matrix) and torch.equal(whole.offset, by_matrix.offset)


def test_a_pixel_that_is_black_in_every_scene_does_no_harm():
    pictures = torch.rand(200, 1, *SCENE, generator=torch.Generator().manual_seed(0))
    pictures[:, :, 0] = 0
    model, variance = planted()
    estimate = wiener_of(model, variance.reshape(SENSOR), SceneStatistics.of(pictures))
    rebuilt = estimate(model.A(pictures.double()).float()).reshape(pictures.shape)
    assert rebuilt.isfinite().all() and rebuilt[:, :, 0].abs().max() < 0.1


def test_moments_are_those_of_numpy():
    pictures = torch.rand(50, 1, *SCENE, generator=torch.Generator().manual_seed(0))
    moments = SceneStatistics.of(pictures)
    flat = pictures.flatten(1).double().numpy()
    assert moments.mean.dtype == moments.covariance.dtype == torch.float64
    assert np.allclose(moments.mean, flat.mean(0), rtol=1e-12)
    assert np.allclose(moments.covariance, np.cov(flat.T, bias=True), rtol=0, atol=1e-14)


def test_many_scenes_are_believed_whatever_they_look_like():
    """Pixels whose spread is not the same everywhere: what is stationary is not true of them."""
    spread = torch.linspace(0, 1, SCENE[0] * SCENE[1]).reshape(SCENE)
    pictures = torch.rand(40_000, 1, *SCENE, generator=torch.Generator().manual_seed(0)) * spread
    moments = SceneStatistics.of(pictures)
    assert (moments.prior - moments.covariance).norm() < 0.003 * moments.covariance.norm()
    assert torch.allclose(moments.regular_covariance, moments.prior + 1e-4 * torch.eye(N, dtype=torch.float64))


def test_what_is_stationary_is_the_mean_product_of_all_pairs():
    """Of smooth scenes, whose spectrum has no negative power to cut off."""
    rough = torch.randn(300, 2, 9, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scenes = rough[..., :3, :4] + rough[..., 1:4, 1:5] + 0.5 * rough[..., 2:5, :4]
    found = stationary(scenes).reshape(2, 3, 4, 2, 3, 4)
    for c, d, down, right in itertools.product(range(2), range(2), (-1, 0, 2), (-2, 0, 1)):
        pairs = [
            float((scenes[:, c, i, j] * scenes[:, d, i + down, j + right]).mean())
            for i, j in itertools.product(range(3), range(4))
            if 0 <= i + down < 3 and 0 <= j + right < 4
        ]
        i, j = max(0, -down), max(0, -right)
        curve = np.exp(-0.5 * ((down / 3) ** 2 + (right / 4) ** 2))
        assert float(found[c, i, j, d, i + down, j + right]) == pytest.approx(np.mean(pairs) * curve, abs=0.03)
    assert torch.allclose(found.reshape(24, 24), found.reshape(24, 24).T, atol=1e-12)


def test_what_is_stationary_is_a_covariance():
    scenes = torch.randn(3, 2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert float(torch.linalg.eigvalsh(stationary(scenes)).min()) > -1e-12


def test_the_covariance_of_few_scenes_is_nearer_to_the_truth_than_that_of_the_sample():
    """Smooth noise, which is stationary: 40 scenes of 64 pixels."""
    place = torch.stack(torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij"), -1).reshape(-1, 2)
    truth = torch.exp(-torch.cdist(place, place) / 3).double()
    draws = torch.randn(40, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    scenes = (draws @ torch.linalg.cholesky(truth).T).reshape(40, 1, 8, 8)
    sample = torch.from_numpy(np.cov(scenes.flatten(1).numpy().T, bias=True))
    assert (SceneStatistics.of(scenes).prior - truth).norm() < 0.6 * (sample - truth).norm()


def test_fewer_pixels_than_the_scene_has_give_the_same_estimate():
    model, variance = planted()
    few = torch.arange(9)
    matrix, moments = model.as_matrix()[few], statistics()
    estimate = wiener(matrix, variance[few], moments)
    weighted = (matrix.double() / variance[few].double()[:, None]).T
    inverse = torch.linalg.inv(weighted @ matrix.double() + torch.linalg.inv(moments.regular_covariance))
    assert torch.allclose(estimate.matrix.double(), inverse @ weighted, rtol=0, atol=1e-6)


def test_an_estimate_takes_frames_of_any_shape():
    estimate = LinearEstimate(torch.ones(3, 6), torch.arange(3.0))
    assert torch.equal(estimate(torch.ones(2, 1, 2, 3)), torch.tensor([[6.0, 7.0, 8.0]] * 2))


# --- the expected error, in closed form ---


def information(left: torch.Tensor, variance: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return (left / variance[:, None]).T @ right


def measured(matrix, variance, scenes, true_matrix, true_variance, background=0.0, count=40_000):
    """Mean squared error per pixel of Wiener's filter, and its standard error: scenes and noise drawn at random."""
    values, vectors = torch.linalg.eigh(scenes.covariance)
    x = scenes.mean + draw(count, N, seed=4) @ (vectors * values.clamp_min(0).sqrt()).T
    y = (x + background) @ true_matrix.T + draw(count, n, seed=5) * true_variance.sqrt()
    estimate = wiener(matrix, variance, scenes)((y - matrix.sum(1) * background).float())
    errors = (estimate - x).square().mean(1)
    return float(errors.mean()), float(errors.std() / count**0.5)


@pytest.mark.parametrize("noise", [0.01, 0.3])
def test_the_expected_error_is_that_of_random_scenes(noise):
    model, variance = planted(noise)
    A, scenes = model.as_matrix(), statistics()
    mean, deviation = measured(A, variance, scenes, A, variance)
    assert expected_error(information(A, variance, A), scenes) == pytest.approx(mean, abs=5 * deviation)


def test_of_scenes_that_are_what_the_filter_was_told_it_is_the_trace_of_the_posterior():
    """But for the regular part of the covariance, which the scenes do not have: large variances hide it."""
    model, variance = planted()
    A, scenes = model.as_matrix(), statistics(spread=30.0)
    _, covariance = posterior(A, variance, scenes)
    assert expected_error(information(A, variance, A), scenes) == pytest.approx(np.trace(covariance) / N, rel=1e-3)


@pytest.mark.parametrize("background", [0.0, 0.4])
def test_the_expected_error_on_another_rig_than_the_filter_knows(background):
    model, variance = planted()
    A, scenes = model.as_matrix(), statistics()
    moved, noisier = A + 0.02 * draw(n, N, seed=9), 1.7 * variance
    mean, deviation = measured(A, variance, scenes, moved, noisier, background)
    J, seen = information(A, variance, A), information(A, variance, moved)
    excess = information(A, variance.square() / (noisier - variance), A)
    found = expected_error(J, scenes, seen, background, excess)
    assert found == pytest.approx(mean, abs=5 * deviation)
    assert found > 1.2 * expected_error(J, scenes)


def test_colours_alone_know_nothing_of_one_another():
    scenes = torch.rand(500, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    scenes[:, 1] = scenes[:, 0]
    both = SceneStatistics.of(scenes)
    alone = both.each_alone(3)
    blocks = alone.covariance.reshape(3, 4, 3, 4)
    assert torch.equal(blocks[1, :, 1], both.covariance.reshape(3, 4, 3, 4)[1, :, 1])
    assert torch.equal(alone.prior[:4, :4], both.prior[:4, :4]) and not alone.prior[:4, 4:].any()
    assert not blocks[0, :, 1].any() and not blocks[2, :, 0].any() and torch.equal(alone.mean, both.mean)


def test_level_and_spread_are_those_of_all_pixels_together():
    pictures = torch.rand(50, 3, *SCENE, generator=torch.Generator().manual_seed(0)) * torch.linspace(0, 1, SCENE[1])
    found = SceneStatistics.of(pictures)
    assert float(found.level) == pytest.approx(float(pictures.mean()), rel=1e-6)
    assert float(found.spread) == pytest.approx(float(pictures.std(correction=0)), rel=1e-6)
    assert float(SceneStatistics.of(torch.zeros(4, 1, *SCENE)).spread) > 0
