"""How well a rig's scenes can be estimated by linear means: expected in closed form, and measured."""

import dataclasses
import math

import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.app.setting import TEST_STREAM, Setting, batches
from lensless.data.measured_sensor import uncertainty
from lensless.data.scenes import Scenes
from lensless.evaluate.evaluation import Examples, drawn, example_indices
from lensless.optics import ForwardModel, analysis
from lensless.recon import SceneStatistics, discrepancy_weight, expected_error, gcv_weight
from lensless.tasks.picture import psnr_db

MEASURED_VALUES, MEASURED_MOST = 2**26, 2000  # of the simulated test frames together; test frames
TIKHONOV_FRAMES = 100  # on which the weights are chosen and compared
_WEIGHTS = torch.logspace(-10, 0, 61, dtype=torch.float64).tolist()


@dataclasses.dataclass(frozen=True)
class Estimates:
    """How well the scenes can be estimated by linear means; PSNR in dB.

    `expected_db` is in closed form, `measured_db` of as many simulated `frames`, both of the mean squared error and not
    clamped; `clamped_db` is the mean over the pictures, clamped. `tikhonov` holds (choice, weight, PSNR as the latter).
    """

    expected_db: float
    measured_db: float
    clamped_db: float
    measured: int
    saturated: float
    tikhonov: list[tuple[str, float | None, float | None]]
    tikhonov_frames: int
    examples: Examples


@dataclasses.dataclass(frozen=True)
class Noise:
    """Noise of a measurement, and what it leaves of the scenes, in units of pictures.

    `told` is the variance that the filter knows, (H' W'); `information` is A* N^-1 A with it, `excess` what the noise
    of the frames adds; `contrast` is the radiance of a white picture over black, `background` that of black, in the
    units of pictures.
    """

    told: Tensor
    information: Tensor
    excess: Tensor
    contrast: float
    background: float

    @classmethod
    def of(cls, setting: Setting, pictures: SceneStatistics) -> "Noise":
        """The filter takes the noise at the mean scene; errors of the flat grow with the square of the light, which the
        spread of the scenes makes larger than that of the mean.
        """
        model, dark = setting.rig.forward_model, setting.rig.spec.scene.dark_level
        told, contrast = setting.noise_variance(pictures), 1 - dark
        _, flat_std = uncertainty(setting.rig.spec, setting.calibration)
        flat_variance = torch.tensor(flat_std, dtype=torch.float32, device=told.device).square().flatten()
        more = flat_variance * contrast**2 * _variance_of_light(model, pictures.covariance)
        J = contrast**2 * analysis.information(model, told)
        return cls(told, J, contrast**2 * model.gram(more / told.square()), contrast, dark / contrast)

    def expected_error(self, pictures: SceneStatistics, seen: Tensor | None = None) -> float:
        """Of Wiener's filter, in pictures; `seen` as of `lensless.recon.expected_error`."""
        return expected_error(self.information, pictures, seen, self.background, self.excess)


def _variance_of_light(model: ForwardModel, covariance: Tensor) -> Tensor:
    """diag(A C A*), (H' W')."""
    pieces = model.as_matrix().split(16384)
    return torch.cat([((piece @ covariance.to(piece.dtype)) * piece).sum(1) for piece in pieces])


def linear_estimates(
    setting: Setting, pictures: SceneStatistics, test: Scenes, noise: Noise, gram: Tensor
) -> Estimates:
    """Wiener's and Tikhonov's estimates of test scenes; `gram` is that of the forward model."""
    model, simulator = setting.rig.forward_model, setting.simulator()
    some = test.spread(max(TIKHONOV_FRAMES, min(MEASURED_MOST, MEASURED_VALUES // math.prod(model.sensor_shape))))
    few = torch.arange(len(some))[:: max(1, len(some) // TIKHONOV_FRAMES)]  # evenly spread
    generator = torch.Generator(setting.device).manual_seed(TEST_STREAM)
    truth = torch.cat([batch for batch, _ in batches(some, model.picture_shape, setting.device)])
    y = torch.cat([simulator(part, generator) for part in truth.split(50)])
    shown = few[example_indices(len(few))]
    frames = y[shown, 0].cpu()
    mean = simulator.radiance(pictures.mean)
    y -= model.A(mean.float().reshape(1, *model.picture_shape))
    posterior = torch.linalg.inv(noise.information + torch.linalg.inv(pictures.regular_covariance))
    matched = noise.contrast * analysis.matched_filter(model, noise.told, y.flatten(1).T)
    wiener = (pictures.mean + matched.T @ posterior).float().reshape(truth.shape)
    choices, chosen = _tikhonov(setting, y[few], truth[few], mean, noise.told, gram)
    views = {"scene": truth[shown], "Tikhonov (GCV)": chosen[example_indices(len(few))], "Wiener": wiener[shown]}
    views = {name: drawn(view) for name, view in views.items()}
    return Estimates(
        decibel(noise.expected_error(pictures)), decibel(float((wiener - truth).double().square().mean())),
        float(psnr_db(wiener, truth).double().mean()), len(truth),
        setting.saturated_share(truth), choices, len(few),
        Examples({"scene": views.pop("scene"), "raw frame": frames, **views},
                 {"truth": some.names(some.labels[shown])}),
    )  # fmt: skip


def _tikhonov(
    setting: Setting, residual: Tensor, truth: Tensor, mean: Tensor, variance: Tensor, gram: Tensor
) -> tuple[list[tuple[str, float | None, float | None]], Tensor]:
    """Weights by several choices and the PSNR of each, and the pictures by the first of them.

    As `lensless.recon.tikhonov`, but through the Gram matrix: left singular vectors of a bare sensor take a gigabyte.
    """
    model, dark = setting.rig.forward_model, setting.rig.spec.scene.dark_level
    squares, vectors = torch.linalg.eigh(gram)
    keep = squares.clamp_min(0).sqrt() > 1e-6 * squares[-1].sqrt()  # far below the noise of any rig
    s, V = squares[keep].flip(0).sqrt(), vectors[:, keep].flip(1)
    residual = residual.flatten(2)
    projected = analysis.matched_filter(model, torch.ones_like(variance), residual[:, 0].T)
    coefficients = ((V.T @ projected).T / s)[:, None]

    def estimate(weight: float) -> Tensor:
        x = mean + (coefficients * s / (s.square() + weight * s[0] ** 2)) @ V.T
        return ((x - dark) / (1 - dark)).float().reshape(truth.shape)

    def quality(weight: float | None) -> float | None:
        return None if weight is None else float(psnr_db(estimate(weight), truth).double().mean())

    gcv = gcv_weight(s, coefficients, residual)
    try:
        morozov = discrepancy_weight(s, coefficients, residual, float(variance.mean()) ** 0.5)
    except ConfigurationError:  # more misfit, or less, than the stated noise at any weight
        morozov = None
    best = max(_WEIGHTS, key=quality)
    named = {"generalised cross-validation": gcv, "discrepancy principle": morozov, "best, if the scene is known": best}
    return [(name, weight, quality(weight)) for name, weight in named.items()], estimate(gcv)


def decibel(mean_square: float) -> float:
    """PSNR of a mean squared error, range 1."""
    return -10 * math.log10(max(mean_square, 1e-12))
