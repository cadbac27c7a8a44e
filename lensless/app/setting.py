"""What a task is trained and tested on: a rig in use, or, as a baseline, the sharp picture itself."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from calibration import Calibration
from hardware.errors import ConfigurationError
from lensless.app.perturbation import perturb
from lensless.app.rig import Rig
from lensless.data.measured_scenes import MeasuredScenes
from lensless.data.measured_sensor import sensor_behind, uncertainty
from lensless.data.pairs import FrameSimulator, ProjectedSimulator
from lensless.data.scenes import Scenes
from lensless.evaluate.evaluation import example_indices
from lensless.optics import SensorNoise
from lensless.recon.wiener import SceneStatistics
from lensless.tasks import Classify, Task
from lensless.train.inputs import RecordedInputs

STATISTICS_SCENES = 20_000  # pictures whose mean and covariance Wiener's filter takes
VALIDATION_STREAM, TEST_STREAM, EXAMPLE_STREAM = 101, 102, 106  # noise of each, never shared with training
AT_ONCE = 500

# From pictures (B, C, H, W) in [0, 1] of the scenes at positions (B,) to what is made of them: what is simulated looks
# at the pictures, moved or not, and what was recorded is found by the position.
FromScenes = Callable[[Tensor, Tensor], Tensor]


class Source(Protocol):
    """Where the input of a task comes from: a rig, or the sharp picture itself."""

    device: torch.device

    def training_input(self, task: Task, scenes: Scenes, autocast: Callable) -> FromScenes:
        """What the network of the task takes, with fresh noise where it is simulated."""

    def measure(self, scenes: Scenes, reads: Tensor | None, generator: torch.Generator) -> FromScenes:
        """Measurements, of which only the pixels `reads` will be looked at, with the noise of the generator."""

    def facts(self) -> dict:
        """What a card must say of it."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """A rig in use: with its calibration, and the number of frames that are averaged into one measurement.

    The calibration is of the rig's simulated sensor, or of a `real` one. `light` is the brightness of the display,
    black included, relative to what it was when it was calibrated.
    """

    rig: Rig
    calibration: Calibration
    frames: int
    real: bool = False
    light: float = 1.0

    @classmethod
    def of(cls, rig: Rig, frames: int | None = None, real: Calibration | None = None) -> "Setting":
        """The rig with its own number of averaged frames, and with its simulated sensor, unless told otherwise.

        Raises:
            CalibrationMismatch: the calibration of a real sensor that is not the rig's.
        """
        real = rig.own_calibration if real is None else real
        if real is not None:
            real.fits(rig.spec)
        calibration = rig.calibrate() if real is None else real
        return cls(rig, calibration, frames or rig.spec.sensor.frames, real is not None)

    def perturbed(self, seed: int, strength: float = 1.0) -> "Setting":
        """The rig after it drifted, still measured with the calibration from before."""
        if self.rig.own_calibration is not None:
            raise ConfigurationError(
                f"rig {self.rig.id!r} was measured: nobody knows how its matrix drifts; perturb the rig that it is of"
            )
        spec = perturb(self.rig.spec, seed, strength)
        return dataclasses.replace(self, rig=Rig(spec, str(self.device), self.rig.rays))

    @functools.cached_property
    def sensor(self) -> SensorNoise:
        """What frames are simulated with: the rig's own, or one on which the calibration may have been measured."""
        if self.real:
            noise = self.rig.noise(gain_db=self.calibration.gain_db)
            noise = sensor_behind(noise, self.rig.spec, self.calibration)
        else:
            noise = self.rig.noise()
        noise.white_electrons *= self.light
        return noise

    @property
    def device(self) -> torch.device:
        return self.rig.device

    def simulator(self, reads: Tensor | None = None) -> FrameSimulator:
        return self.rig.simulator(self.calibration, self.frames, reads, self.sensor)

    def noise_variance(self, pictures: SceneStatistics) -> Tensor:
        """Of each pixel at the mean scene, white = 1, (H' W',): of the sensor and of the calibration."""
        dark = self.rig.spec.scene.dark_level
        mean = dark + (1 - dark) * pictures.mean.float().to(self.device)
        model = self.rig.forward_model
        return self.noise_variance_at(model.A(mean.reshape(1, -1, *model.scene_shape))).flatten()

    def noise_variance_at(self, light: Tensor) -> Tensor:
        """The same at the illuminance (..., H', W')."""
        variance = self.sensor.variance(light, self.frames)
        dark_std_dn, flat_std = uncertainty(self.rig.spec, self.calibration)
        for std, scale in ((dark_std_dn, 1 / self.calibration.white_dn), (flat_std, light)):
            variance = variance + (torch.tensor(std, dtype=torch.float32, device=self.device) * scale).square()
        return variance

    def saturated_share(self, pictures: Tensor) -> float:
        """Share of the pictures (B, C, H, W) that bring the sensor near saturation in some pixel."""
        model, radiance = self.rig.forward_model, self.simulator().radiance
        brightest = torch.cat([model.A(radiance(some)).amax((1, 2, 3)) for some in pictures.split(50)])
        return float((brightest > self.sensor.linear_up_to).double().mean())

    def training_input(self, task: Task, scenes: Scenes, autocast: Callable) -> FromScenes:
        recorded = RecordedInputs(task, scenes, self.device, autocast) if isinstance(scenes, MeasuredScenes) else None
        if isinstance(task, Classify):
            projected = self.projected(task.projection.matrix, scenes, task.reads)
            if recorded is None:
                return lambda pictures, at: projected(pictures)
            # A recorded frame has the same noise in each epoch, which a network learns by heart: 1,000 digits taught
            # 84.2 % of MNIST's test part so, 87.2 % with as much noise again, and 87.9 % when simulated anew.
            return lambda pictures, at: recorded(pictures, at) + projected.noise(pictures)
        if recorded is not None:
            return recorded
        simulator = self.simulator(task.reads)

        def prepare(pictures: Tensor, at: Tensor) -> Tensor:
            with autocast():
                return task.prepare(simulator(pictures))

        return prepare

    def projected(self, projection: Tensor, scenes: Scenes, reads: Tensor | None = None) -> ProjectedSimulator:
        """Fixed sums of the frame, drawn at once; the mean of the scenes sets the shape of their noise."""
        some = scenes.spread(STATISTICS_SCENES).fit(self.rig.spec.scene.picture_shape)
        return ProjectedSimulator(self.simulator(reads), projection, (some.float().mean(0) / 255).to(self.device))

    def measure(self, scenes: Scenes, reads: Tensor | None, generator: torch.Generator) -> FromScenes:
        if isinstance(scenes, MeasuredScenes):
            return lambda pictures, at: scenes.measurements(at, reads).to(self.device)
        simulator = self.simulator(reads)
        return lambda pictures, at: simulator(pictures, generator)

    def facts(self) -> dict:
        """What a card tells of where a network was trained."""
        spec = self.rig.spec
        return {
            "rig": {
                "id": spec.id,
                "fingerprint": spec.fingerprint,
                "facts": dataclasses.asdict(spec),
                "rays": self.rig.rays,
            },
            "sampling_error": self.rig.forward_model.sampling_error,
            "frames": self.frames,
            "calibration": self.calibration.id,
            "real_sensor": self.real,
            "measured": self.rig.own_calibration is not None,
        }


@dataclasses.dataclass(frozen=True)
class Perturbed:
    """A rig and perturbed copies of it, one for each batch by turns: what is trained on it must bear all of them.

    (Domain randomisation: Tobin et al. 2017, doi 10.1109/IROS.2017.8202133.)
    """

    setting: Setting
    copies: int
    strength: float = 1.0

    @functools.cached_property
    def settings(self) -> list[Setting]:
        return [self.setting, *(self.setting.perturbed(seed, self.strength) for seed in range(self.copies))]

    @property
    def device(self) -> torch.device:
        return self.setting.device

    @property
    def calibration(self) -> Calibration:
        return self.setting.calibration

    @property
    def rig(self) -> Rig:
        return self.setting.rig

    def training_input(self, task: Task, scenes: Scenes, autocast: Callable) -> FromScenes:
        inputs = [setting.training_input(task, scenes, autocast) for setting in self.settings]
        # The trainer seeds torch's own generator for each step, so a run that goes on meets the same rigs.
        return lambda pictures, at: inputs[int(torch.randint(len(inputs), ()))](pictures, at)

    def measure(self, scenes: Scenes, reads: Tensor | None, generator: torch.Generator) -> FromScenes:
        measures = itertools.cycle([setting.measure(scenes, reads, generator) for setting in self.settings])
        return lambda pictures, at: next(measures)(pictures, at)

    def facts(self) -> dict:
        return self.setting.facts() | {"perturbed": {"copies": self.copies, "strength": self.strength}}


@dataclasses.dataclass(frozen=True)
class SharpPictures:
    """The picture itself in place of a measurement: what a task could reach with perfect optics and no noise."""

    device: torch.device

    def training_input(self, task: Task, scenes: Scenes, autocast: Callable) -> FromScenes:
        return lambda pictures, at: task.prepare(pictures)

    def measure(self, scenes: Scenes, reads: Tensor | None, generator: torch.Generator) -> FromScenes:
        return lambda pictures, at: pictures

    def facts(self) -> dict:
        return {"rig": None, "frames": None}


def statistics_of(scenes: Scenes, shape: tuple[int, ...], device: torch.device) -> SceneStatistics:
    """Moments of the pictures, fitted to the rig's scene."""
    some = scenes.spread(STATISTICS_SCENES).fit(shape)
    return SceneStatistics.of(some.to(device).float() / 255)


def prepared(task: Task, source: Source, scenes: Scenes, seed: int) -> tuple[Tensor, Tensor]:
    """Network inputs from whole noisy frames of all scenes, and targets: for validation, test and baselines."""
    inputs, targets = [], []
    with torch.no_grad():
        for pictures, labels, y in measured(source, scenes, task.picture_shape, seed, task.reads):
            inputs.append(task.prepare(y))
            targets.append(task.target(pictures, labels))
    return torch.cat(inputs), torch.cat(targets)


def measured(
    source: Source, scenes: Scenes, shape: tuple[int, ...], seed: int, reads: Tensor | None = None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """All scenes in order, a few hundred at once: pictures (B, *shape), labels (B,), and what is measured of them."""
    measure, done = source.measure(scenes, reads, torch.Generator(source.device).manual_seed(seed)), 0
    for pictures, labels in batches(scenes, shape, source.device):
        yield pictures, labels, measure(pictures, torch.arange(done, done + len(pictures)))
        done += len(pictures)


def batches(scenes: Scenes, shape: tuple[int, ...], device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """All scenes in order, a few hundred at once: pictures (B, *shape) in [0, 1] and labels (B,), on the device."""
    for pictures, labels in zip(scenes.fit(shape).split(AT_ONCE), scenes.labels.split(AT_ONCE), strict=True):
        yield pictures.to(device).float() / 255, labels.to(device)


def example_frames(setting: Setting, test: Scenes) -> tuple[Tensor, Tensor, Tensor]:
    """A few test scenes (n, C, H, W), their labels, and whole measurements of them (n, 1, H', W'); few, because a bare
    sensor's are large. Every task of a rig is shown the same ones.
    """
    some = test.subset(example_indices(len(test)))
    return next(measured(setting, some, setting.rig.forward_model.picture_shape, EXAMPLE_STREAM))
