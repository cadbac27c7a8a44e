"""The step back to the measurement, and the stages around it."""

import numpy as np
import pytest
import torch
from torch import nn

from lensless.nn.unet import UNet
from lensless.nn.unrolled import Consistency, Unrolled

SIDE, CELLS, GUESS_STD = 4, 11, 0.07
PIXELS = SIDE * SIDE


@pytest.fixture
def problem() -> dict[str, np.ndarray]:
    """A random linear camera, scenes with a mean and a covariance, and one noisy measurement."""
    draw = np.random.default_rng(3)
    A = draw.random((CELLS, PIXELS))
    N = np.diag(0.01 + 0.02 * draw.random(CELLS))
    root = 0.2 * draw.standard_normal((PIXELS, PIXELS))
    C, m = root @ root.T + 0.01 * np.eye(PIXELS), draw.random(PIXELS)
    x = m + root @ draw.standard_normal(PIXELS)
    y = A @ x + np.sqrt(np.diag(N)) * draw.standard_normal(CELLS)
    return {"A": A, "N": N, "C": C, "m": m, "y": y, "guess": x + GUESS_STD * draw.standard_normal(PIXELS)}


def posterior_mean(A, N, y, mean, covariance) -> np.ndarray:
    """Of a normal prior, by way of the covariance of the measurement: no step is shared with the code."""
    gain = covariance @ A.T @ np.linalg.inv(A @ covariance @ A.T + N)
    return mean + gain @ (y - A @ mean)


def consistency_of(problem) -> Consistency:
    A, N, C, m = (torch.from_numpy(problem[name]) for name in ("A", "N", "C", "m"))
    step = Consistency(PIXELS)
    step.set(A.T @ torch.linalg.inv(N) @ A, C, m, GUESS_STD)
    return step


def step_of(step: Consistency, guess: torch.Tensor, wiener: torch.Tensor) -> torch.Tensor:
    return step(guess, step.measured(wiener))


def picture(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values).float().view(1, 1, SIDE, SIDE)


def test_it_gives_the_posterior_mean_for_a_normal_prior_about_the_guess(problem):
    wiener = posterior_mean(problem["A"], problem["N"], problem["y"], problem["m"], problem["C"])
    prior = GUESS_STD**2 * np.eye(PIXELS)
    expected = posterior_mean(problem["A"], problem["N"], problem["y"], problem["guess"], prior)
    found = step_of(consistency_of(problem), picture(problem["guess"]), picture(wiener))
    assert found.flatten().numpy() == pytest.approx(expected, abs=2e-4)
    assert np.abs(expected - problem["guess"]).max() > 0.01  # and that is a step


def test_a_guess_that_explains_the_measurement_stays(problem):
    """Without noise: the Wiener estimate and the guess differ only where the camera is blind."""
    y = problem["A"] @ problem["guess"]
    wiener = posterior_mean(problem["A"], problem["N"], y, problem["m"], problem["C"])
    found = step_of(consistency_of(problem), picture(problem["guess"]), picture(wiener))
    assert found.flatten().numpy() == pytest.approx(problem["guess"], abs=2e-4)


def test_it_is_single_precision_under_bfloat16(problem):
    step = consistency_of(problem)
    guess, wiener = picture(problem["guess"]), picture(problem["m"])
    exact = step_of(step, guess, wiener)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(step_of(step, guess, wiener), exact)
        assert step_of(step, guess.bfloat16(), wiener).dtype == torch.float32


def test_unrolled_gives_single_precision_under_bfloat16_and_trains(problem):
    network = Unrolled([UNet(1, 8, 8), UNet(3, 8, 8)], consistency_of(problem))
    wiener = torch.rand(3, 1, SIDE, SIDE)
    with torch.autocast("cpu", torch.bfloat16):
        assert network.stages[0](wiener).dtype == torch.bfloat16
        output = network(wiener)
    assert output.dtype == torch.float32 and output.shape == wiener.shape
    output.square().mean().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


class Note(nn.Module):
    """A stage that remembers what it was given and answers with a constant."""

    def __init__(self, answer: float):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        self.given = x
        return torch.full_like(x[:, :1], self.answer)


def test_later_stages_see_the_consistent_estimate_the_one_before_and_wieners(problem):
    stages, step = [Note(0.25), Note(0.5), Note(0.125)], consistency_of(problem)
    wiener = torch.rand(2, 1, SIDE, SIDE)
    output = Unrolled(stages, step)(wiener)
    estimate = wiener + 0.25
    assert torch.equal(stages[0].given, wiener)
    for stage in stages[1:]:
        consistent = step_of(step, estimate, wiener)
        assert torch.equal(stage.given, torch.cat([consistent, estimate, wiener], 1))
        estimate = consistent + stage.answer
    assert torch.equal(output, estimate)
