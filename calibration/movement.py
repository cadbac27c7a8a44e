"""How far something has moved: frames of it, and a model that says which frames each place would give.

With F_k(theta) the frame of pattern k that the model gives, and y_k the frame that was taken, both above background,

    y_ki = (1 + gain) (1 + s_i) F_ki(theta) + noise

s_i is the response of a pixel: near 0, or dust lies on it. Least squares with a normal prior for gain and theta, by
Gauss and Newton. A model that traces rays takes seconds for each place, so derivatives are taken once, by differences,
and then kept true along the way by Broyden's rule (1965, doi:10.1090/S0025-5718-1965-0198670-6).
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
from scipy import stats

from calibration.estimate import Estimate
from hardware.errors import ConfigurationError

_MOST_STEPS = 10
_PARTS = 1.0, 0.4  # of a step: what overshoots is tried again, nearer
_ENOUGH, _ENOUGH_SHARE = 2.0, 1e-4  # of chi^2, and as a share of it: who gains less by a step has arrived
_LEAST_DUST = 0.03  # of a pixel's light, before dust is called dust
_LEAST_LIGHT = 0.25  # of the brightest pixel: at the rim of an image light comes and goes with each movement


@dataclasses.dataclass(frozen=True)
class Unknown:
    """Something that may have moved.

    Args:
        unit: of its number.
        usual: how far it moves now and then; derivatives are taken over `step` of that.
        prior: standard deviation that it is given, in its unit.
    """

    unit: str
    usual: float
    prior: float
    step: float = 0.3


@dataclasses.dataclass(frozen=True, eq=False)
class Movement:
    """What explains the frames best.

    Args:
        moved: of each unknown, in its unit.
        gain: relative change of all light.
        response: (pixels,) 1 + s.
        dusty: (pixels,) bool, where dust lies.
        fitted: (K, pixels) the frames that all of this gives.
        chi2: per number of a frame, at the start and at the end.
    """

    moved: dict[str, Estimate]
    gain: Estimate
    response: np.ndarray
    dusty: np.ndarray
    fitted: np.ndarray
    chi2: tuple[float, float]

    @property
    def place(self) -> dict[str, float]:
        """Where it is, in numbers."""
        return {name: estimate.value for name, estimate in self.moved.items()}


def fit_movement(
    seen: np.ndarray, variance: np.ndarray, at: Callable[[dict[str, float]], np.ndarray],
    unknowns: Mapping[str, Unknown], gain_prior: float = 0.2, response_std: float = 0.02,
    tried: Callable[[int], None] = lambda count: None,
) -> Movement:  # fmt: skip
    """Find out how far it has moved.

    Args:
        seen: (K, pixels) frames above the background.
        variance: of them, (K, pixels) or of a shape that spreads to it.
        at: frames of the model, (K, pixels), where each unknown has this number; 0 is where it was. It may raise
            ConfigurationError for a place that cannot be, which is then not taken.
        unknowns: what may have moved, by name.
        gain_prior: relative standard deviation of the light.
        response_std: of the pixels' response that the model does not know; 0: it knows.
        tried: told how many places were computed.
    """
    problem = _Problem(seen, np.broadcast_to(variance, seen.shape), unknowns, gain_prior, response_std)
    count = 0

    def model(theta: np.ndarray) -> np.ndarray:
        nonlocal count
        frames = at(dict(zip(unknowns, theta.tolist(), strict=True))).astype(np.float32)
        count += 1
        tried(count)
        return frames

    start = model(np.zeros(len(unknowns)))
    sizes = np.array([one.step * one.usual for one in unknowns.values()])
    slopes = np.empty((len(unknowns), *seen.shape), np.float32)
    for number, size in enumerate(sizes):
        slopes[number] = _slope(model, start, np.where(np.arange(len(sizes)) == number, size, 0.0))
    effects = np.array([float(np.square(slope).sum(dtype=np.float64)) for slope in slopes])
    here = problem.state(np.zeros(len(unknowns)), problem.first_gain(start), start)
    # Slopes that follow the way say where to go, but no longer how well each is known.
    *_, covariance = problem.step(here, slopes)
    for _ in range(_MOST_STEPS):
        there = _better(problem, model, here, slopes, effects)
        if there is None:
            break
        gained, here = here.cost - there.cost, there
        if gained < max(_ENOUGH, _ENOUGH_SHARE * here.cost):
            break
    errors = np.sqrt(np.diag(covariance)).tolist()
    moved = zip(unknowns, here.theta.tolist(), errors[1:], strict=True)
    return Movement(
        {name: Estimate(value, error) for name, value, error in moved}, Estimate(here.gain, errors[0]), here.response,
        here.dusty, here.fitted, (problem.chi2(start), problem.chi2(here.fitted)),
    )  # fmt: skip


def _slope(model: Callable[[np.ndarray], np.ndarray], start: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Change of the frames with one unknown, by a step to a side to which it can go."""
    try:
        return (model(by) - start) / np.float32(by.sum())
    except ConfigurationError:
        return (start - model(-by)) / np.float32(by.sum())


def _better(
    problem: "_Problem", model: Callable[[np.ndarray], np.ndarray], here: "_State", slopes: np.ndarray,
    effects: np.ndarray,
) -> "_State | None":  # fmt: skip
    """A step further, or a part of it; None where neither is better. The slopes learn from each place."""
    by, gain_by, _ = problem.step(here, slopes)
    for part in _PARTS:
        theta = here.theta + part * by
        try:
            frames = model(theta)
        except ConfigurationError:  # it cannot stand there
            continue
        there = problem.state(theta, here.gain + part * gain_by, frames)
        _follow(slopes, part * by, effects, there.frames - here.frames)
        if there.cost < here.cost:
            return there
    return None


def _follow(slopes: np.ndarray, by: np.ndarray, weights: np.ndarray, change: np.ndarray) -> None:
    """Broyden's rule: the least change of the slopes that makes them true along the step.

    Each unknown is measured by how much it changes the frames, or what one does is laid to another that hardly shows.
    """
    off = change - np.tensordot(by.astype(np.float32), slopes, 1)
    along = by * weights
    if not (length := float(along @ by)) > 0:  # nothing has moved, or nothing that shows
        return
    slopes += (along / length).astype(np.float32)[:, None, None] * off


@dataclasses.dataclass(frozen=True, eq=False)
class _State:
    """A place that was tried, and how well it explains the frames."""

    theta: np.ndarray
    gain: float
    frames: np.ndarray
    response: np.ndarray
    dusty: np.ndarray
    fitted: np.ndarray
    cost: float


class _Problem:
    """The sums that the fit is made of."""

    def __init__(
        self, seen: np.ndarray, variance: np.ndarray, unknowns: Mapping[str, Unknown], gain_prior: float,
        response_std: float,
    ):  # fmt: skip
        self.seen, self.weights = seen.astype(np.float32), (1 / variance).astype(np.float32)
        self.priors = np.array([gain_prior, *(one.prior for one in unknowns.values())])
        self.response_std = response_std

    def first_gain(self, frames: np.ndarray) -> float:
        """By which frames are brighter than these in all, before anything has moved."""
        power = float((self.weights * frames * frames).sum(dtype=np.float64))
        return float((self.weights * frames * self.seen).sum(dtype=np.float64)) / max(power, 1e-30) - 1

    def state(self, theta: np.ndarray, gain: float, frames: np.ndarray) -> _State:
        response, dusty = _shares(self.seen, self.weights, frames * np.float32(1 + gain), self.response_std)
        fitted = frames * ((1 + gain) * response).astype(np.float32)
        beliefs = np.square(np.array([gain, *theta]) / self.priors).sum()
        beliefs += np.square((response[~dusty] - 1) / max(self.response_std, 1e-6)).sum()
        cost = self.chi2(fitted) * fitted.size + float(beliefs)
        return _State(theta, gain, frames, response, dusty, fitted, cost)

    def chi2(self, fitted: np.ndarray) -> float:
        """Per number of a frame."""
        off = self.seen - fitted
        return float((off * off * self.weights).mean(dtype=np.float64))

    def step(self, here: _State, slopes: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
        """Change of theta, of the gain, and the covariance of both, gain first.

        The response of each pixel may change with them: what it can do is taken out of what they do (Schur complement).
        """
        unknowns, pixels = len(self.priors), here.response.size
        gained = (1 + here.gain) * here.response
        information, pull = np.diag(self.priors**-2), np.zeros(unknowns)
        shared, alone, left = np.zeros((unknowns, pixels)), np.zeros(pixels), np.zeros(pixels)
        # Twins among the unknowns are told apart by their priors alone, which single precision would drown.
        for number, (frame, fitted) in enumerate(zip(here.frames, here.fitted, strict=True)):
            columns = np.concatenate([(frame * here.response)[None], slopes[:, number] * gained])
            weighted = columns * self.weights[number]
            off, of_response = self.seen[number] - fitted, (1 + here.gain) * frame
            information += weighted @ columns.T
            pull += weighted @ off
            shared += weighted * of_response
            alone += self.weights[number] * of_response**2
            left += self.weights[number] * of_response * off
        belief = np.where(here.dusty, 0.0, max(self.response_std, 1e-6) ** -2)
        alone += belief
        left -= (here.response - 1) * belief
        relative = shared / np.maximum(alone, 1e-30)
        information -= relative @ shared.T
        pull -= relative @ left
        pull -= np.array([here.gain, *here.theta]) * self.priors**-2
        covariance = np.linalg.inv(information)
        found = covariance @ pull
        return found[1:], float(found[0]), covariance


def _shares(
    seen: np.ndarray, weights: np.ndarray, expected: np.ndarray, std: float
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Response of each pixel whose frames were expected to be these, (K, pixels), and whether dust lies on it.

    A response is drawn to 1, from which it strays by `std`. Dust takes clearly more than that: more than noise, and
    than what is not explained otherwise, which scatters the shares of all pixels.
    """
    power = np.maximum((weights * expected * expected).sum(0, dtype=np.float64), 1e-30)
    share = (weights * expected * seen).sum(0, dtype=np.float64) / power
    light = np.sqrt((expected * expected).mean(0))
    lit = light > _LEAST_LIGHT * light.max()
    scatter = 1.4826 * np.median(np.abs(share[lit] - np.median(share[lit])))
    limit = stats.norm.isf(1e-3 / len(share)) * np.hypot(power**-0.5, scatter)
    dusty = lit & (1 - share > np.maximum(limit, _LEAST_DUST))
    belief = 1 / max(std, 1e-6) ** 2
    return np.where(dusty, share, (share * power + belief) / (power + belief)), dusty
