"""The classical solvers as commands use them: what may be asked of each, and what each chooses."""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable

import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.app.setting import Setting, statistics_of
from lensless.data.scenes import load_scenes
from lensless.recon import (
    SceneStatistics,
    admm,
    error_bars,
    fista,
    posterior_std,
    tikhonov_gains,
    truncated_gains,
    tv_weight,
    wiener_of,
)
from lensless.recon.admm import MOST_POINTS
from lensless.recon.spectral import Spectrum
from lensless.recon.tikhonov import weight_by
from lensless.recon.truncated_svd import discrepancy_rank, gcv_rank

CHOICES = {
    "tikhonov": ("gcv", "l-curve", "discrepancy"), "truncated-svd": ("gcv", "discrepancy"),
    "admm": ("sure", "discrepancy"), "fista": ("sure", "discrepancy"), "wiener": (),
}  # fmt: skip
ITERATIONS = {"admm": 1000, "fista": 3000}
TOLERANCE = {"admm": 1e-4, "fista": 1e-5}  # smaller ones change the PSNR of cannula-v1 by less than 0.1 dB
_FEW = 8  # measurements on which the weight of total variation is chosen


@dataclasses.dataclass(frozen=True)
class Asked:
    """The options that say how to solve, as they were given."""

    solver: str
    weight: str | None = None
    iterations: int | None = None
    error_bars: bool = False
    scenes: str | None = None
    data: pathlib.Path | None = None
    download: bool = False

    def check(self) -> None:
        """Raises ConfigurationError for what the solver has no use for, or lacks."""
        iterates, fitted = self.solver in ITERATIONS, self.solver == "wiener"
        for given, unfit, name, goes_with in (
            (self.weight is not None, fitted, "--weight", "the other solvers: it weighs by noise and scenes alone"),
            (
                self.iterations is not None,
                not iterates,
                "--iterations",
                "admm and fista: the others are in closed form",
            ),
            (self.error_bars, iterates, "--error-bars", "tikhonov, truncated-svd and wiener, which are linear"),
            (self.scenes is not None, iterates, "--scenes", "tikhonov, truncated-svd and wiener: the mean scene"),
        ):
            if given and unfit:
                raise ConfigurationError(f"--solver {self.solver} has no {name}, which goes with {goes_with}")
        if fitted and self.scenes is None:
            raise ConfigurationError(
                "--solver wiener is fitted on scenes: say which, as in --scenes mnist; without any, take admm"
            )
        if not fitted:
            self.number()

    def number(self) -> float | None:
        """The weight that was given; None where it is chosen, by `choice`.

        Raises:
            ConfigurationError: neither a number nor a choice of the solver.
        """
        ranks = self.solver == "truncated-svd"
        if self.weight is None or self.weight in CHOICES[self.solver]:
            return None
        try:
            number = int(self.weight) if ranks else float(self.weight)
            if 0 < number < float("inf") or (number == 0 and self.solver in ITERATIONS):
                return number
        except ValueError:
            pass
        expected = "the rank, a whole number from 1 on" if ranks else "a number above 0"
        raise ConfigurationError(
            f"--weight {self.weight}: of {self.solver} expected {expected}, or one of {', '.join(CHOICES[self.solver])}"
        )

    @property
    def choice(self) -> str:
        return self.weight or CHOICES[self.solver][0]

    def statistics(self, setting: Setting) -> SceneStatistics:
        """Of the training scenes."""
        scenes = load_scenes(self.scenes, "train", 0, None, self.data, self.download)
        return statistics_of(scenes, setting.rig.forward_model.picture_shape, setting.device)


@dataclasses.dataclass(frozen=True, eq=False)
class Solved:
    """Scenes (B, C, H, W) as radiance, not clamped; the standard deviation of each pixel, if it was asked for; how an
    iteration ended, for people and for programs.
    """

    x: Tensor
    std: Tensor | None = None
    ended: str = ""
    facts: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Solver:
    """From measurements (B, C, H', W') to scenes; `chosen` says which weight was taken and why."""

    solve: Callable[[Tensor], Solved]
    chosen: str
    facts: dict

    def __call__(self, y: Tensor) -> Solved:
        with torch.no_grad():
            return self.solve(y)


def solver_of(asked: Asked, setting: Setting, first: Tensor) -> Solver:
    """The solver that was asked for, with what it chooses for the first measurements and keeps for the others.

    Raises:
        ConfigurationError: no weight fits the noise, or scenes that are not there.
    """
    make = {"wiener": _wiener, "tikhonov": _linear, "truncated-svd": _linear}.get(asked.solver, _variation)
    with torch.no_grad():
        return make(asked, setting, first)


def _linear(asked: Asked, setting: Setting, first: Tensor) -> Solver:
    model, dark = setting.rig.forward_model, setting.rig.spec.scene.dark_level
    mean, about = torch.full((1, 1), dark, device=setting.device), "black"
    if asked.scenes is not None:
        pictures = asked.statistics(setting).mean.float().reshape(model.picture_shape)
        mean, about = dark + (1 - dark) * pictures, f"the mean scene of {asked.scenes}"
    svd = model.svd()
    found, ranks = Spectrum.of(asked.solver, model, first, mean, svd), asked.solver == "truncated-svd"
    weight = asked.number()
    if weight is None:
        weight = _chosen_weight(asked, found, _noise_std(setting, first) if asked.choice == "discrepancy" else None)
        by = f"by {asked.choice}, on {len(first)} of the measurements" if len(first) > 1 else f"by {asked.choice}"
    else:
        by = "as it was given"
    if ranks and weight > len(found.s):
        raise ConfigurationError(f"--weight {weight}: of truncated-svd expected a rank of 1 to {len(found.s)}")
    gains = truncated_gains(found.s, weight) if ranks else tikhonov_gains(found.s, weight)

    def solve(y: Tensor) -> Solved:
        x = Spectrum.of(asked.solver, model, y, mean, svd).estimate(gains)
        if not asked.error_bars:
            return Solved(x)
        variances = setting.noise_variance_at(y.clamp_min(0))
        bars = [error_bars(svd, gains, variance[0], model.picture_shape) for variance in variances]
        return Solved(x, torch.stack(bars))

    what = f"the leading {weight} of {len(found.s)} directions" if ranks else f"weight {weight:.2g} |A|^2"
    return Solver(solve, f"{asked.solver} about {about}: {what}, {by}", {"weight": weight, "about": about})


def _chosen_weight(asked: Asked, found: Spectrum, noise_std: float | None) -> float:
    if asked.solver == "tikhonov":
        return weight_by(asked.choice, found.s, found.coefficients, found.residual, noise_std)
    if asked.choice == "gcv":
        return gcv_rank(found.coefficients, found.residual)
    return discrepancy_rank(found.coefficients, found.residual, noise_std)


def _noise_std(setting: Setting, y: Tensor) -> float:
    return float(setting.noise_variance_at(y.clamp_min(0)).double().mean().sqrt())


def _variation(asked: Asked, setting: Setting, first: Tensor) -> Solver:
    model, name = setting.rig.forward_model, asked.solver
    options = {
        "iterations": asked.iterations or ITERATIONS[name], "tolerance": TOLERANCE[name],
        "box": (setting.rig.spec.scene.dark_level, 1.0),
    }  # fmt: skip
    norm = model.norm()
    minimise = functools.partial(admm, model, **options)
    if name == "fista":
        minimise = functools.partial(fista, model, **options, norm=norm)
    weight, by = asked.number(), "as it was given"
    if weight is None:
        few = first[:: max(1, len(first) // _FEW)][:_FEW]
        quick = functools.partial(admm, model, box=options["box"])  # whichever solver, it is the same problem
        trial = quick if math.prod(model.scene_shape) <= MOST_POINTS else minimise
        weight = tv_weight(asked.choice, model, few, setting.noise_variance_at(few.clamp_min(0)), trial, norm)
        rule = {"sure": "Stein's estimate of the least risk (sure)", "discrepancy": "discrepancy"}[asked.choice]
        by = f"by {rule}, from the noise of the sensor, on {len(few)} of the measurements"

    def solve(y: Tensor) -> Solved:
        found = minimise(y, weight)
        ended = f"{found.iterations}, {'converged' if found.converged else 'stopped'}"
        facts = {
            "iterations": found.iterations, "converged": found.converged, "change": found.change,
            "tolerance": options["tolerance"],
        }  # fmt: skip
        return Solved(found.x, None, ended, facts)

    return Solver(solve, f"{name}, total variation: weight {weight:.2g}, {by}", {"weight": weight})


def _wiener(asked: Asked, setting: Setting, first: Tensor) -> Solver:
    model, dark = setting.rig.forward_model, setting.rig.spec.scene.dark_level
    pictures = asked.statistics(setting)
    power = (1 - dark) ** 2
    prior = None if pictures.prior is None else power * pictures.prior
    radiance = SceneStatistics(dark + (1 - dark) * pictures.mean, power * pictures.covariance, prior)
    variance = setting.noise_variance(pictures)
    estimate = wiener_of(model, variance, radiance)
    std = posterior_std(model.as_matrix(), variance, radiance).float() if asked.error_bars else None

    def solve(y: Tensor) -> Solved:
        x = estimate(y).reshape(len(y), -1, *model.scene_shape)
        return Solved(x, None if std is None else std.reshape(1, -1, *model.scene_shape).expand_as(x))

    chosen = f"wiener: mean and covariance fitted on the training scenes of {asked.scenes}, noise at the mean scene"
    return Solver(solve, chosen, {"scenes": asked.scenes})
