"""The temperature of a classifier: what closed forms and an independent optimiser say, and where it is kept."""

import dataclasses
import math

import numpy as np
import pytest
import scipy.optimize
import tiny
import torch

from lensless import tensor_file
from lensless.app.setting import VALIDATION_STREAM, prepared
from lensless.train import checkpoint
from lensless.train.temperature import fit_temperature, fitted_temperature

VALIDATION = tiny.scenes(20, seed=9)  # as `tiny.run` validates


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_of_labels_that_were_drawn_with_one_is_found(temperature):
    draw = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(50_000, 5, generator=draw)
    labels = torch.multinomial((logits / temperature).softmax(1), 1, generator=draw)[:, 0]
    assert fitted_temperature(logits, labels) == pytest.approx(temperature, rel=0.03)


def test_it_is_the_least_of_the_likelihood_that_another_optimiser_finds():
    draw = np.random.default_rng(1)
    logits, labels = 4 * draw.standard_normal((500, 7)), draw.integers(0, 7, 500)
    logits[np.arange(500), labels] += 3
    right = (500 + 1) / (500 + 2)

    def loss(inverse: np.ndarray) -> float:
        shares = scipy.special.log_softmax(logits * inverse, 1)
        own = shares[np.arange(500), labels]
        return -(right * own + (1 - right) / 6 * (shares.sum(1) - own)).mean()

    best = scipy.optimize.minimize(loss, [1.0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-14})
    assert fitted_temperature(torch.tensor(logits), torch.tensor(labels)) == pytest.approx(1 / best.x[0], rel=1e-4)


def test_where_all_are_right_it_says_as_much_as_so_many_scenes_allow():
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]]).repeat(49, 1)  # 98 scenes, each right by 2
    found = fitted_temperature(logits, torch.tensor([0, 1]).repeat(49))
    assert found == pytest.approx(2 / math.log(99), rel=1e-4)  # sigmoid(2 / T) = 99 / 100
    assert fitted_temperature(torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64)) == 1.0


@pytest.mark.parametrize("make", [tiny.classify, tiny.classify_reconstruction])
def test_a_checkpoint_holds_the_one_of_the_weights_that_were_kept(tmp_path, make):
    tiny.run(tmp_path, make(), dataclasses.replace(tiny.RECIPE, epochs=6, learning_rate=2e-2))
    task = checkpoint.load(tmp_path).task
    inputs, labels = prepared(task, tiny.setting(), VALIDATION, VALIDATION_STREAM)
    with torch.no_grad():
        expected = fitted_temperature(task.network(inputs), labels)
        y = torch.rand(3, 1, 12, 12)
        torch.testing.assert_close(task(y), task.network(task.prepare(y)) / expected)
    assert float(task.temperature) == pytest.approx(expected, rel=1e-6) != 1.0
    fit_temperature(task, inputs, labels)
    assert float(task.temperature) == pytest.approx(expected, rel=1e-6)


def test_a_checkpoint_from_before_there_was_one_gives_what_it_gave(tmp_path):
    tiny.run(tmp_path, tiny.classify(), dataclasses.replace(tiny.RECIPE, epochs=1))
    path = tmp_path / checkpoint.WEIGHTS
    tensors, card = tensor_file.read(path)
    older = {name: value.clone() for name, value in tensors.items() if name != "temperature"}
    tensor_file.write(path, older, card)
    task = checkpoint.load(tmp_path).task
    y = torch.rand(3, 1, 12, 12)
    with torch.no_grad():
        assert float(task.temperature) == 1 and torch.equal(task(y), task.network(task.prepare(y)))
