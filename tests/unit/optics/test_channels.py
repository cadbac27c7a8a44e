"""Channels with a model each; the battery is tests/contract/test_operators.py."""

import math

import numpy as np
import pytest
import torch

from hardware.errors import ConfigurationError
from lensless.optics import BareSensor, Channels, Mask, TransferMatrix
from lensless.optics.operator import DenseModel

SCENE, SENSOR = (4, 5), (6, 7)


def matrices(count=3) -> list[torch.Tensor]:
    return list(torch.rand(count, 42, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64))


def models(count=3) -> list[DenseModel]:
    return [DenseModel(matrix, SCENE, SENSOR) for matrix in matrices(count)]


def test_each_channel_goes_through_its_own_model_times_its_weight():
    weights = (1.0, 0.5, 0.25)
    model = Channels(models(), weights)
    x = torch.rand(2, 3, *SCENE, dtype=torch.float64)
    expected = torch.einsum(
        "c,cmn,bcn->bcm", torch.tensor(weights, dtype=torch.float64), torch.stack(matrices()), x.flatten(2)
    )
    assert torch.allclose(model.A(x).flatten(2), expected, rtol=1e-14)
    assert model.channels == 3 and (model.scene_shape, model.sensor_shape) == (SCENE, SENSOR)


def test_the_matrix_holds_the_models_on_its_diagonal_and_nothing_else():
    matrix = Channels(models(2), (1.0, 0.5)).as_matrix()
    first, second = matrices(2)
    assert torch.equal(matrix[:42, :20], first) and torch.equal(matrix[42:, 20:], second / 2)
    assert not matrix[:42, 20:].any() and not matrix[42:, :20].any()
    weights, few = torch.rand(84, dtype=torch.float64), torch.tensor([5, 0, 83])
    model = Channels(models(2), (1.0, 0.5))
    assert torch.allclose(model.gram(weights), matrix.T @ torch.diag(weights) @ matrix, rtol=1e-12)
    assert torch.equal(model.rows(few), matrix[few])


def test_alike_models_are_one_model():
    alone = models(1)[0]
    model = Channels([alone] * 3)
    x, y = torch.rand(2, 3, *SCENE, dtype=torch.float64), torch.rand(2, 3, *SENSOR, dtype=torch.float64)
    assert torch.allclose(model.A(x), alone.A(x)) and torch.allclose(model.A_dagger(y), alone.A_dagger(y))
    assert model.norm() == pytest.approx(alone.norm())
    assert torch.allclose(model.singular_values(), alone.singular_values().repeat_interleave(3))


def test_the_pseudo_inverse_is_that_of_the_whole_matrix():
    model = Channels(models(), (1.0, 0.5, 0.02))
    y = torch.rand(2, 3, *SENSOR, dtype=torch.float64)
    expected = y.flatten(1).numpy() @ np.linalg.pinv(model.as_matrix().numpy()).T
    assert np.allclose(model.A_dagger(y).flatten(1).numpy(), expected, rtol=0, atol=1e-8)


def test_a_faint_channel_is_left_out_of_the_svd_and_of_no_result():
    model = Channels(models(2), (1.0, 1e-9))
    U, s, Vh = model.svd()
    assert len(s) == 20 and not U[42:].any() and not Vh[:, 20:].any()
    assert model.A(torch.ones(1, 2, *SCENE, dtype=torch.float64))[0, 1].any()


def test_the_sampling_error_of_the_whole_is_at_most_that_of_its_worst_channel():
    noisy = [
        TransferMatrix(matrix, SCENE, SENSOR, noise_std=std)
        for matrix, std in zip(matrices(2), (0.01, 0.03), strict=True)
    ]
    model = Channels(noisy, (1.0, 0.2))
    whole = math.hypot(0.01, 0.2 * 0.03) * (42 * 20) ** 0.5 / float(model.as_matrix().norm())
    assert whole <= model.sampling_error == noisy[1].sampling_error


def test_a_scene_of_another_number_of_channels_is_refused():
    model = Channels(models())
    for count in (1, 2, 4):
        for call, shape in (
            (model.A, SCENE),
            (model.A_adjoint, SENSOR),
            (model.normal, SCENE),
            (model.A_dagger, SENSOR),
        ):
            with pytest.raises(ConfigurationError, match=rf"expected \(batch, 3, {shape[0]}, {shape[1]}\)"):
                call(torch.ones(1, count, *shape, dtype=torch.float64))


def test_models_that_do_not_belong_together_are_refused():
    other = DenseModel(torch.ones(42, 16), (4, 4), SENSOR)
    with pytest.raises(ConfigurationError, match=r"\(4, 5\).*\(4, 4\).*expected one pair"):
        Channels([models(1)[0], other])
    with pytest.raises(ConfigurationError, match="expected one pair"):
        Channels([])
    with pytest.raises(ConfigurationError, match="takes 3 channels"):
        Channels([Channels(models())])


@pytest.mark.parametrize(
    "weights", [(1.0,), (1.0, 0.0, 1.0), (1.0, -1.0, 1.0), (1.0, math.nan, 1.0), (1.0, math.inf, 1.0)]
)
def test_weights_that_do_not_fit_are_refused(weights):
    with pytest.raises(ConfigurationError, match="expected 3 finite numbers above 0"):
        Channels(models(), weights)


def test_models_of_all_kinds_move_together():
    model = Channels([BareSensor(SCENE, SENSOR), Mask(np.ones((3, 3)), SCENE, SENSOR)]).double()
    assert model.A(torch.rand(1, 2, *SCENE, dtype=torch.float64)).dtype == torch.float64
    assert not model.state_dict() and not list(model.parameters())
