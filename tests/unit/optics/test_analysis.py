"""Modes above the noise, where they can be counted by hand."""

import numpy as np
import pytest
import torch

from lensless.optics import analysis
from lensless.optics.analysis import signal_to_noise
from lensless.optics.operator import DenseModel


def model(matrix: torch.Tensor) -> DenseModel:
    return DenseModel(matrix, (1, matrix.shape[1]), (matrix.shape[0], 1))


def test_each_pixel_that_sees_one_scene_pixel_is_a_mode_with_its_own_noise():
    A = model(torch.diag(torch.tensor([4.0, 2.0, 1.0, 0.5])))
    variance = torch.tensor([16.0, 1.0, 0.01, 0.25])
    expected = 0.3 * torch.tensor([10.0, 2.0, 1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(signal_to_noise(A, variance), expected)
    # A hundred frames: a tenth of the noise.
    torch.testing.assert_close(signal_to_noise(A, variance / 100), 10 * expected)


@pytest.mark.parametrize("shape", [(7, 5), (5, 7)])
def test_it_agrees_with_the_decomposition_by_numpy(shape):
    draw = np.random.default_rng(0)
    matrix, variance = draw.normal(size=shape), draw.uniform(0.1, 2, shape[0])
    by_numpy = 0.5 * np.linalg.svd(matrix / np.sqrt(variance)[:, None], compute_uv=False)
    ours = signal_to_noise(model(torch.from_numpy(matrix)), torch.from_numpy(variance), scene_rms=0.5)
    np.testing.assert_allclose(ours.numpy(), by_numpy, rtol=1e-6)


# --- independent channels, where everything is known: pixel i sees scene pixel i alone ---

GAINS = torch.tensor([4.0, 2.0, 1.0, 0.5], dtype=torch.float64)
VARIANCE = torch.tensor([16.0, 1.0, 0.01, 0.25], dtype=torch.float64)


def test_the_information_of_independent_channels_is_shannons():
    J = analysis.information(model(torch.diag(GAINS)), VARIANCE)
    torch.testing.assert_close(J, torch.diag(torch.tensor([1.0, 4.0, 100.0, 1.0]).double()))
    expected = 0.5 * np.log2(1 + 0.09 * np.array([1.0, 4.0, 100.0, 1.0])).sum()
    ratios = signal_to_noise(model(torch.diag(GAINS)), VARIANCE)
    assert analysis.information_bits(ratios) == pytest.approx(expected, rel=1e-12)
    # Scenes that do not vary tell nothing; correlated ones less than independent ones of the same variances.
    spread = torch.tensor([0.0, 0.25, 0.01, 0.04]).double()
    bits = analysis.information_bits(analysis.scene_signal_to_noise(J, torch.diag(spread)))
    assert bits == pytest.approx(0.5 * np.log2(1 + spread.numpy() * np.array([1.0, 4.0, 100.0, 1.0])).sum(), rel=1e-12)


def test_the_information_about_correlated_scenes_is_half_the_log_determinant():
    draw = np.random.default_rng(1)
    A, root, variance = draw.normal(size=(9, 6)), draw.normal(size=(6, 6)), draw.uniform(0.1, 2, 9)
    C = root @ root.T
    J = analysis.information(model(torch.from_numpy(A)), torch.from_numpy(variance))
    ours = analysis.information_bits(analysis.scene_signal_to_noise(J, torch.from_numpy(C)))
    # Of the measurements' covariance with and without the scene, by another determinant of another size.
    _, with_scene = np.linalg.slogdet(A @ C @ A.T + np.diag(variance))
    assert ours == pytest.approx((with_scene - np.log(variance).sum()) / (2 * np.log(2)), rel=1e-10)


def test_a_filter_matched_to_other_columns_is_the_weighted_product():
    draw = np.random.default_rng(2)
    A, B, variance = draw.normal(size=(7, 4)), draw.normal(size=(7, 3)), draw.uniform(0.1, 2, 7)
    got = analysis.matched_filter(model(torch.from_numpy(A)), *(torch.from_numpy(one) for one in (variance, B)))
    np.testing.assert_allclose(got.numpy(), A.T @ np.diag(1 / variance) @ B, rtol=1e-12)


def test_independent_channels_have_no_crosstalk_and_the_width_of_one_pixel():
    R = analysis.resolution_matrix(torch.diag(torch.tensor([1.0, 4.0, 100.0, 0.0]).double()))
    expected = 0.09 * torch.tensor([1.0, 4.0, 100.0, 0.0]).double()
    torch.testing.assert_close(R.diagonal(), expected / (1 + expected))
    assert analysis.width(R)[:3].tolist() == pytest.approx([1, 1, 1])
    assert analysis.crosstalk(R)[:3].tolist() == pytest.approx([0, 0, 0])
    assert analysis.width(R)[3].isnan() and analysis.crosstalk(R)[3].isnan()  # it is not seen


@pytest.mark.parametrize("n", [1, 2, 3])
def test_sums_of_n_by_n_pixels_have_the_width_n(n):
    """Nothing but the sums is measured, and these almost without noise."""
    sums = torch.kron(torch.eye(2), torch.ones(1, n))
    A = DenseModel(torch.kron(sums, sums).double(), (2 * n, 2 * n), (2, 2))
    R = analysis.resolution_matrix(analysis.information(A, torch.full((4,), 1e-10).double()))
    np.testing.assert_allclose(analysis.width(R).numpy(), n, rtol=1e-6)
    np.testing.assert_allclose(analysis.crosstalk(R).numpy(), 1 - 1 / n**2, atol=1e-6)


def test_modes_below_the_largest_error_do_not_count():
    values = torch.tensor([10.0, 3.0, 1.0, 0.5, 0.1]).double()
    assert analysis.modes_above_sampling(values, torch.tensor([0.7, 0.2]).double()) == 3
    assert analysis.modes_above_sampling(values, None) == 5


def test_a_low_rank_matrix_under_sampling_error_shows_no_more_modes_than_it_has():
    draw = np.random.default_rng(3)
    for rank in (1, 4, 9):
        exact = draw.normal(size=(60, rank)) @ draw.normal(size=(rank, 30))
        halves = [exact + 0.3 * draw.normal(size=exact.shape) for _ in range(2)]
        mean, error = (halves[0] + halves[1]) / 2, (halves[0] - halves[1]) / 2
        values, floor = (torch.from_numpy(np.linalg.svd(one, compute_uv=False)) for one in (mean, error))
        assert (values > 0.5 * floor[0]).sum() > rank
        assert analysis.modes_above_sampling(values, 1.1 * floor) <= rank


# --- point-spread functions ---


def test_the_correlation_is_pearsons_over_the_pixels_that_light_reaches():
    draw = np.random.default_rng(4)
    lit = draw.uniform(size=(20, 6))
    A = model(torch.from_numpy(np.concatenate([lit, np.zeros((9, 6))])))
    np.testing.assert_allclose(analysis.psf_correlation(A).numpy(), np.corrcoef(lit.T), atol=1e-12)
    np.testing.assert_allclose(analysis.psf_correlation(A, A.gram()).numpy(), np.corrcoef(lit.T), atol=1e-12)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (1, 12)])
def test_where_a_linear_fall_of_the_correlation_is_one_half(shape):
    rows, columns = (index.flatten().double() for index in np_grid(shape))
    apart = (rows[:, None] - rows).abs() + (columns[:, None] - columns).abs()
    half = analysis.half_distance(1 - 0.2 * apart, shape)
    torch.testing.assert_close(half, torch.full(shape, 2.5).double())
    assert analysis.half_distance(1 - 0.01 * apart, shape).isinf().all()


def np_grid(shape):
    return (torch.from_numpy(index) for index in np.indices(shape))


def test_the_change_of_a_model_is_that_of_numpy():
    draw = np.random.default_rng(5)
    A = draw.uniform(size=(30, 6))
    B = A + 0.1 * draw.normal(size=A.shape)
    found = analysis.change(*(model(torch.from_numpy(one)) for one in (A, B)))
    assert found.relative == pytest.approx(np.linalg.norm(B - A) / np.linalg.norm(A), rel=1e-12)
    expected = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(A.T, B.T, strict=True)])
    assert found.correlation == pytest.approx(expected, rel=1e-10)
    same = analysis.change(*(model(torch.from_numpy(one)) for one in (A, A)))
    assert same.relative == 0 and same.correlation == pytest.approx(1)
