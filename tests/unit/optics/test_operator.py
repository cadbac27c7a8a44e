"""What every forward model inherits, on one that is no matrix; the battery is tests/contract/test_operators.py."""

import numpy as np
import pytest
import torch

import lensless.optics
from lensless.optics import ForwardModel
from lensless.optics.operator import DenseModel, leading_svd


class Doubled(ForwardModel):
    """Each scene row lands on two sensor rows, twice as bright on the second: a model without a stored matrix."""

    def __init__(self):
        super().__init__((3, 4), (6, 4), sampling_error=0.25)

    def A(self, x):
        self._flat_scene(x)
        return torch.stack([x, 2 * x], -2).reshape(*x.shape[:2], 6, 4)

    def A_adjoint(self, y):
        return y[..., 0::2, :] + 2 * y[..., 1::2, :]

    def as_matrix(self):
        basis = torch.eye(12, dtype=torch.float64).reshape(12, 1, 3, 4)
        return self.A(basis).flatten(1).T


def test_a_model_without_a_matrix_has_everything_that_is_inherited():
    model = Doubled()
    x = torch.rand(2, 3, 3, 4, dtype=torch.float64)
    y = torch.rand(2, 3, 6, 4, dtype=torch.float64)
    assert (model.A(x) * y).sum() == pytest.approx(float((x * model.A_adjoint(y)).sum()))
    assert torch.allclose(model.normal(x), 5 * x)
    assert torch.allclose(model.gram(), 5 * torch.eye(12, dtype=torch.float64))
    assert model.norm() == pytest.approx(5**0.5)
    assert torch.allclose(model.A_dagger(model.A(x)), x)
    assert torch.allclose(model.A_dagger(y), model.A_adjoint(y) / 5)
    assert model.sampling_error == 0.25 and torch.equal(model(x), model.A(x))


def test_a_model_that_leaves_something_out_cannot_be_made():
    class Half(ForwardModel):
        def A(self, x):
            return x

    with pytest.raises(TypeError, match="abstract"):
        Half((2, 2), (2, 2))


def test_the_matrix_moves_with_the_model_and_stays_out_of_checkpoints():
    model = DenseModel(torch.ones(4, 4), (2, 2), (2, 2)).double()
    assert model.as_matrix().dtype == torch.float64
    assert not model.state_dict() and not list(model.parameters())


def test_shapes_become_plain_integers():
    model = DenseModel(torch.ones(6, 4), np.array([2, 2]), torch.Size([2, 3]))
    assert model.scene_shape == (2, 2) and model.sensor_shape == (2, 3)
    assert {type(n) for n in model.scene_shape + model.sensor_shape} == {int}


def test_a_tall_matrix_is_squared_in_pieces_and_in_float64():
    tall = torch.randn(40_000, 5, generator=torch.Generator().manual_seed(0))
    gram = DenseModel(tall, (1, 5), (200, 200)).gram()
    expected = tall.double().T @ tall.double()
    assert gram.dtype == torch.float64
    assert (gram - expected).abs().max() <= 1e-12 * expected.max()


@pytest.mark.parametrize("shape", [(30, 8), (8, 30)])
@pytest.mark.parametrize("rank", [None, 1, 5, 8, 100])
def test_a_rank_is_at_most_what_there_is(shape, rank):
    matrix = torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    U, s, Vh = leading_svd(matrix, rank)
    kept = 8 if rank is None else min(rank, 8)
    assert U.shape == (shape[0], kept) and s.shape == (kept,) and Vh.shape == (kept, shape[1])
    assert np.allclose(s, np.linalg.svd(matrix.numpy(), compute_uv=False)[:kept], rtol=1e-12)


def test_directions_below_the_floor_of_the_gram_matrix_are_left_out():
    left, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(20, 4)))
    model = DenseModel(torch.from_numpy(left * [1, 1e-3, 1e-6, 1e-9]), (2, 2), (4, 5))
    _, s, _ = model.svd()
    assert np.allclose(s, [1, 1e-3, 1e-6], rtol=1e-3)
    assert model.singular_values().shape == (4,)


def test_the_public_names_of_optics_are_real():
    for name in lensless.optics.__all__:
        assert getattr(lensless.optics, name).__name__ == name
