"""Colours under a mosaic; the battery is tests/contract/test_operators.py."""

import numpy as np
import pytest
import torch

from hardware.errors import ConfigurationError
from lensless.optics import Mosaicked
from lensless.optics.operator import DenseModel
from lensless.recon import admm, fista, tikhonov, truncated_svd

SCENE, SENSOR = (4, 5), (6, 8)


def matrices() -> torch.Tensor:
    return torch.rand(3, 48, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def model(pattern="RGGB") -> Mosaicked:
    return Mosaicked([DenseModel(matrix, SCENE, SENSOR) for matrix in matrices()], pattern)


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG"])
def test_each_pixel_sees_the_colour_of_its_filter_through_that_colours_matrix(pattern):
    x = torch.rand(2, 3, *SCENE, dtype=torch.float64)
    light = torch.einsum("cmn,bcn->bcm", matrices(), x.flatten(2)).reshape(2, 3, *SENSOR)
    white = matrices().sum(2).reshape(3, *SENSOR)
    found, peak = model(pattern).A(x), 0.0
    expected = torch.zeros(2, *SENSOR, dtype=torch.float64)
    for row in range(SENSOR[0]):
        for column in range(SENSOR[1]):
            colour = "RGB".index(pattern[row % 2 * 2 + column % 2])
            expected[:, row, column] = light[:, colour, row, column]
            peak = max(peak, float(white[colour, row, column]))
    assert found.shape == (2, 1, *SENSOR)
    assert torch.allclose(found[:, 0], expected / peak, rtol=1e-13)


def test_every_solver_takes_it():
    A = model()
    x = torch.rand(2, 3, *SCENE, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    y = A.A(x)
    shape = (2, 3, *SCENE)
    matrix = A.as_matrix().numpy()
    shortest = (np.linalg.pinv(matrix) @ y.flatten(1).numpy().T).T.reshape(shape)
    assert tikhonov(A, y, 1e-12).numpy() == pytest.approx(shortest, abs=1e-5)
    assert truncated_svd(A, y, 40).shape == A.A_dagger(y).shape == shape
    by_fista, by_admm = fista(A, y, 1e-3, 2000, 1e-9), admm(A, y, 1e-3, 2000, 1e-9)
    assert by_fista.x.shape == shape
    assert torch.allclose(by_fista.objective, by_admm.objective, rtol=1e-4)


def test_it_takes_three_models():
    with pytest.raises(ConfigurationError, match="2 models; expected three"):
        Mosaicked([DenseModel(matrix, SCENE, SENSOR) for matrix in matrices()[:2]], "RGGB")
    with pytest.raises(ConfigurationError, match="pattern 'RGBG'; expected one of RGGB"):
        model("RGBG")
    with pytest.raises(ConfigurationError, match=r"got an array of shape \(1, 3, 6, 8\), expected \(batch, 1, 6, 8\)"):
        model().A_adjoint(torch.zeros(1, 3, *SENSOR))
