"""Modes above the noise, where they can be counted by hand."""

import numpy as np
import pytest
import torch

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
