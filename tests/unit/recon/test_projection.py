"""Chosen pixels and directions: the noise is white, and no other choice keeps more of the scene."""

import numpy as np
import pytest
import torch
from planted import draw, model_with

from lensless.optics.operator import DenseModel
from lensless.recon import leading_directions, leading_pixels

SCENE, SENSOR = (4, 5), (6, 7)


def planted(rank=20):
    return model_with(np.geomspace(1, 0.01, rank), SCENE, SENSOR)


def noise_variance():
    return torch.from_numpy(np.random.default_rng(1).uniform(0.1, 5.0, 42))


@pytest.mark.parametrize("rank", [1, 7, 20])
def test_the_noise_of_the_coefficients_has_the_identity_as_covariance(rank):
    variance = noise_variance()
    P = leading_directions(planted().as_matrix(), variance, rank)
    assert P.shape == (rank, 42)
    covariance = (P * variance) @ P.T
    assert torch.allclose(covariance, torch.eye(rank, dtype=torch.float64), rtol=0, atol=1e-9)
    drawn = draw(100_000, 42) * variance.sqrt() @ P.T
    assert np.abs(np.cov(drawn.numpy().T) - np.eye(rank)).max() <= 5 * np.sqrt(2 / 100_000)


@pytest.mark.parametrize("rank", [1, 7, 20])
def test_the_coefficients_keep_the_largest_singular_values_of_the_whitened_matrix(rank):
    A, variance = planted().as_matrix(), noise_variance()
    P = leading_directions(A, variance, rank)
    s = np.linalg.svd(A.numpy() / np.sqrt(variance.numpy())[:, None], compute_uv=False)[:rank]
    kept = np.linalg.svd((P @ A).numpy(), compute_uv=False)
    assert np.allclose(kept, s, rtol=1e-9)
    # Each coefficient alone, too: the rows of P A are orthogonal and sorted by their signal to noise.
    gram = ((P @ A) @ (P @ A).T).numpy()
    assert np.allclose(gram, np.diag(s**2), rtol=0, atol=1e-9 * s[0] ** 2)


def test_no_other_projection_of_that_rank_keeps_more_signal_to_noise():
    A, variance = planted().as_matrix(), noise_variance()
    best = float((leading_directions(A, variance, 5) @ A).square().sum())
    for seed in range(20):
        orthonormal, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(42, 5)))
        other = torch.from_numpy(orthonormal.T) * variance.rsqrt()
        assert float((other @ A).square().sum()) < best


def test_noise_moves_the_directions_away_from_noisy_pixels():
    variance = torch.ones(42, dtype=torch.float64)
    variance[:10] = 1e8
    P = leading_directions(planted().as_matrix(), variance, 5)
    assert P[:, :10].abs().max() < 1e-6 * P.abs().max()


def test_there_are_no_more_directions_than_the_model_has():
    assert leading_directions(planted(rank=6).as_matrix(), noise_variance(), 20).shape == (6, 42)


@pytest.mark.parametrize("rank, most", [(1, 5), (6, 10), (20, 30)])
def test_leading_pixels_have_the_largest_leverage(rank, most):
    model = planted()
    U, _, _ = np.linalg.svd(model.as_matrix().numpy(), full_matrices=False)
    leverage = (U[:, :rank] ** 2).sum(1)
    chosen = leading_pixels(model, rank, most).tolist()
    assert chosen == sorted(np.argsort(-leverage)[:most].tolist())


def test_pixels_that_see_nothing_are_not_chosen():
    matrix = draw(42, 20)
    lit = [3, 8, 9, 17, 18, 25, 30, 41]
    dark = sorted(set(range(42)) - set(lit))
    matrix[dark] *= 1e-9
    assert leading_pixels(DenseModel(matrix, SCENE, SENSOR), 4, len(lit)).tolist() == lit


@pytest.mark.parametrize("most", [42, 100])
def test_a_small_sensor_is_read_as_a_whole(most):
    assert leading_pixels(planted(), 3, most).tolist() == list(range(42))
