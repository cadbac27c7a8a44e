"""How much total variation: the weight by what is known of the noise.

Two choices for any solver, of which nothing is known but what it returns:

- "sure": the least risk, the mean squared error of A x, by Stein's unbiased estimate (1981, doi:10.1214/aos/1176345632)

      |A x(y) - y|^2 - trace(N) + 2 trace(N d(A x) / dy)

  whose last term is measured by solving once more with a little more noise (Ramani, Blu and Unser 2008,
  doi:10.1109/TIP.2008.2001404). It asks how much of the noise comes back in A x, so that noise outside of the range of
  A, most of it where a frame has more pixels than A has modes, is without effect.
- "discrepancy": the weight that leaves the misfit trace(N). It hangs on how exactly the noise is known.
"""

import functools
import math
from collections.abc import Callable

import scipy.optimize
import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.optics import ForwardModel
from lensless.recon.solution import Solution

CHOICES = ("sure", "discrepancy")
_LEAST, _MOST, _BEGIN = -10.0, 0.0, -5.0  # decades of weights, relative to the square of the norm of A
_MORE_NOISE = 0.1  # in standard deviations: total variation bends with the active set, which more would change
_DRAWN = 2**16  # numbers of noise: with a quarter of them the weight is found within a decade, and not half of one
_STEPS = (1.0, 0.5, 0.25)  # decades: the risk is flat about its least, a finer step gains nothing


@torch.no_grad()
def tv_weight(
    choice: str,
    A: ForwardModel,
    y: Tensor,
    noise_variance: Tensor,
    solve: Callable[[Tensor, float], Solution],
    norm: float | None = None,
) -> float:
    """The weight of the total variation for these measurements, one for all of them.

    Args:
        choice: "sure" or "discrepancy", see the top of the file.
        A: forward model.
        y: measurements, (B, C, H', W'); a few are enough.
        noise_variance: of each pixel of y, in units of y squared; broadcast to y.
        solve: measurements and a weight to a solution, with the iterations that will be used.
        norm: |A|, where it is at hand.

    Raises:
        ConfigurationError: another choice, a variance that is not above 0, or a discrepancy that no weight leaves.
    """
    if choice not in CHOICES:
        raise ConfigurationError(f"total variation: weight = {choice!r}; expected {' or '.join(map(repr, CHOICES))}")
    variance = torch.as_tensor(noise_variance, dtype=y.dtype, device=y.device)
    if not bool(((variance > 0) & variance.isfinite()).all()):
        raise ConfigurationError(
            f"total variation: weight by {choice!r} expects a noise variance above 0 in each pixel"
        )
    variance = variance.expand(y.shape)
    square = (A.norm() if norm is None else norm) ** 2
    if choice == "sure":
        return square * 10 ** _downhill(functools.partial(_risk, A, y, variance, solve, square))
    return square * 10 ** _balanced(functools.partial(_misfit, y, solve, square), float(variance.mean()))


def _risk(A: ForwardModel, y: Tensor, variance: Tensor, solve, square: float, exponent: float) -> float:
    """Stein's estimate, mean over the pixels, less what does not depend on the weight."""
    draw = torch.Generator().manual_seed(0)  # the same noise for each weight, so that they can be compared
    draws = math.ceil(_DRAWN / y.numel())
    noise = torch.randn((draws, *y.shape), generator=draw).to(y) * variance.sqrt()
    found = solve(torch.cat([y, *(y + _MORE_NOISE * noise)]), square * 10**exponent)
    plain, *shaken = A.A(found.x).split(len(y))
    spread = (noise * (torch.stack(shaken) - plain)).mean(0) / _MORE_NOISE
    return float(((plain - y).square() + 2 * spread).double().mean())


def _misfit(y: Tensor, solve, square: float, exponent: float) -> float:
    return float(solve(y, square * 10**exponent).misfit.double().square().mean())


def _downhill(risk: Callable[[float], float]) -> float:
    """Where the risk is least, walking down from the middle with steps that shrink."""
    risk, at = functools.cache(risk), _BEGIN
    for step in _STEPS:
        while (best := min((at, at - step, at + step), key=risk)) != at and _LEAST <= best <= _MOST:
            at = best
    return at


def _balanced(misfit: Callable[[float], float], noise: float) -> float:
    """Where the misfit is that of the noise; it grows with the weight."""
    least, most = misfit(_LEAST), misfit(_MOST)
    if not least < noise < most:
        raise ConfigurationError(
            f"total variation: noise_std = {math.sqrt(noise):g}; with 'discrepancy' expected between "
            f"{math.sqrt(least):g} and {math.sqrt(most):g}, the misfits (root mean square) at the ends of the weights; "
            "choose the weight by 'sure'"
        )
    return float(scipy.optimize.brentq(lambda at: misfit(at) - noise, _LEAST, _MOST, xtol=0.02))
