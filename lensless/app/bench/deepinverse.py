"""DeepInverse's solvers on a problem of ours: how long until they are as far as we are."""

import dataclasses
import time
from collections.abc import Callable

import torch
from torch import Tensor

from lensless.optics import ForwardModel, to_deepinv

# (solver, step, inner iterations of its denoiser): the quickest of some twenty that were tried. Its own defaults (1000
# inner iterations, a step of the denoiser of 0.01 in place of 0.3) are many times slower.
SETTINGS = (("ADMM", 30.0, 10), ("ADMM", 50.0, 10), ("ADMM", 50.0, 5), ("ADMM", 100.0, 10), ("FISTA", 1.0, 5))
_DENOISER_STEP = 0.3
_LOOK_OFTEN, _LOOK_SELDOM = 50, 10  # at each of the first iterations, and then at every tenth


@dataclasses.dataclass(frozen=True)
class Reached:
    """Seconds and iterations until the objective was reached, or until the patience ended; where it then was."""

    solver: str
    seconds: float
    iterations: int
    objective: float
    reached: bool


class _Enough(Exception):
    """Ends an iteration of DeepInverse, which knows no other stop by the objective."""


def until(
    setting: tuple[str, float, int], A: ForwardModel, y: Tensor, weight: float, objective: Callable[[Tensor], float],
    goal: float, most_s: float,
) -> Reached:  # fmt: skip
    """Iterate until the objective is at most `goal`; looking at it does not count.

    DeepInverse has no total variation within a box: its denoised picture is clamped, which nearly is the same.

    Args:
        most_s: patience, in seconds.
    """
    import deepinv

    name, step, inner = setting
    spent_s, done, now, began_s = 0.0, 0, float("inf"), time.perf_counter()

    class Boxed(deepinv.optim.TVPrior):
        def prox(self, x: Tensor, *arguments, **options) -> Tensor:
            nonlocal spent_s, done, now, began_s
            found, done = super().prox(x, *arguments, **options).clamp(0, 1), done + 1
            if done <= _LOOK_OFTEN or done % _LOOK_SELDOM == 0:
                spent_s += time.perf_counter() - began_s
                now = objective(found)
                if now <= goal or spent_s > most_s:
                    raise _Enough
                began_s = time.perf_counter()
            return found

    prior = Boxed(n_it_max=inner)
    prior.TVModel.tau = _DENOISER_STEP
    solver = getattr(deepinv.optim, name)(
        data_fidelity=deepinv.optim.L2(), prior=prior, lambda_reg=weight, stepsize=step, max_iter=10**6
    )
    try:
        with torch.no_grad():
            solver(y, to_deepinv(A))
    except _Enough:
        pass
    return Reached(f"{name}, step {step:g}, {inner} inner", spent_s, done, now, now <= goal)
