"""From a rig and a set of scenes to a checkpoint: the wiring of the learning flow."""

import dataclasses
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from calibration import Calibration
from hardware.errors import ConfigurationError
from lensless.app.rig import Rig
from lensless.app.version import code_version
from lensless.data.augment import Augmentation
from lensless.data.pairs import FrameSimulator, ProjectedSimulator
from lensless.data.scenes import Scenes
from lensless.recon.projection import leading_directions, leading_pixels
from lensless.recon.wiener import SceneStatistics
from lensless.tasks import Classify, ClassifyPicture, ClassifyReconstruction, Reconstruct, Task
from lensless.tasks.classify import MOST_NUMBERS
from lensless.train import checkpoint, fabric_on
from lensless.train.files import make_folder
from lensless.train.loop import EpochRecord, Progress, Recipe, Trainer

STATISTICS_SCENES = 20_000  # pictures whose mean and covariance Wiener's filter takes
READS = 8192  # pixels that a private classifier reads at most
VALIDATION_STREAM, TEST_STREAM = 101, 102  # noise of the two, never shared with training
AT_ONCE = 500

# Handwriting bends more than it moves: a strong warp and a small shift gave the best validation.
BENT = Augmentation(shift_px=0.5, turn_deg=12.0, scale=0.12, shear=0.15, warp_px=2.0)
RECIPES = {
    "reconstruct": Recipe(epochs=12, batch_size=50),
    "classify": Recipe(epochs=150, batch_size=250, learning_rate=4e-3, augmentation=BENT, precision="32-true"),
    "classify-reconstruction": Recipe(epochs=12, batch_size=100, augmentation=BENT),
}


class Source(Protocol):
    """Where the input of a task comes from: a rig, or the sharp picture itself."""

    device: torch.device

    def training_input(self, task: Task, scenes: Scenes, autocast: Callable) -> Callable[[Tensor], Tensor]:
        """Pictures (B, 1, H, W) in [0, 1] to what the network of the task takes, with fresh noise."""

    def measure(self, task: Task, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
        """Pictures to what `task.prepare` takes, with the noise of the generator."""

    def facts(self) -> dict:
        """What a card must say of it."""

    def origin(self) -> dict:
        """What must be the same when a run goes on."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """A rig in use: with its calibration, and the number of frames that are averaged into one measurement."""

    rig: Rig
    calibration: Calibration
    frames: int

    @classmethod
    def of(cls, rig: Rig, frames: int | None = None, calibration: Calibration | None = None) -> "Setting":
        """The rig with its own number of averaged frames and a measured calibration, unless told otherwise."""
        return cls(rig, calibration or rig.calibrate(), frames or rig.spec.sensor.frames)

    @property
    def device(self) -> torch.device:
        return self.rig.device

    def simulator(self, reads: Tensor | None = None) -> FrameSimulator:
        return self.rig.simulator(self.calibration, self.frames, reads)

    def noise_variance(self, pictures: SceneStatistics) -> Tensor:
        """Of each pixel at the mean scene, white = 1, (H' W',)."""
        dark = self.rig.spec.scene.dark_level
        mean = dark + (1 - dark) * pictures.mean.float().to(self.device)
        return self.rig.noise().variance(self.rig.forward_model.as_matrix() @ mean, self.frames)

    def training_input(self, task: Task, scenes: Scenes, autocast: Callable) -> Callable[[Tensor], Tensor]:
        if isinstance(task, Classify):
            return self.projected(task.projection.matrix, scenes, task.projection.reads)
        simulator = self.simulator()

        def prepare(pictures: Tensor) -> Tensor:
            with autocast():
                return task.prepare(simulator(pictures))

        return prepare

    def projected(self, projection: Tensor, scenes: Scenes, reads: Tensor | None = None) -> ProjectedSimulator:
        """Fixed sums of the frame, drawn at once; the mean of the scenes sets the shape of their noise."""
        some = scenes.fit(self.rig.spec.scene.shape)[:STATISTICS_SCENES]
        return ProjectedSimulator(self.simulator(reads), projection, (some.float().mean(0) / 255).to(self.device))

    def measure(self, task: Task, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
        simulator = self.simulator(task.projection.reads if isinstance(task, Classify) else None)
        return lambda pictures: simulator(pictures, generator)

    def facts(self) -> dict:
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
        }

    def origin(self) -> dict:
        spec = self.rig.spec
        return {
            "rig": f"{spec.id} {spec.fingerprint}",
            "rays": self.rig.rays,
            "frames": self.frames,
            "calibration": self.calibration.id,
        }


@dataclasses.dataclass(frozen=True)
class SharpPictures:
    """The picture itself in place of a measurement: what a task could reach with perfect optics and no noise."""

    device: torch.device

    def training_input(self, task: Task, scenes: Scenes, autocast: Callable) -> Callable[[Tensor], Tensor]:
        return task.prepare

    def measure(self, task: Task, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
        return lambda pictures: pictures

    def facts(self) -> dict:
        return {"rig": None, "frames": None}

    def origin(self) -> dict:
        return {"rig": None}


def statistics_of(scenes: Scenes, shape: tuple[int, int], device: torch.device) -> SceneStatistics:
    """Moments of the pictures, fitted to the rig's scene."""
    some = scenes.fit(shape)[:STATISTICS_SCENES]
    return SceneStatistics.of(some.to(device).float() / 255)


def new_reconstruct(
    setting: Setting, scenes: Scenes, stages: int = 2, width: int = 32, deep_width: int = 24
) -> Reconstruct:
    """A task whose fixed numbers are set from the rig and the training scenes."""
    model = setting.rig.forward_model
    statistics = statistics_of(scenes, model.scene_shape, setting.rig.device)
    task = Reconstruct(model.scene_shape, model.sensor_shape, stages, width, deep_width).to(setting.rig.device)
    dark = setting.rig.spec.scene.dark_level
    task.fit(model.as_matrix(), setting.noise_variance(statistics), dark, statistics)
    return task


def new_classify(
    setting: Setting, scenes: Scenes, count: int = MOST_NUMBERS, hidden: tuple[int, ...] = (80,)
) -> Classify:
    """A private classifier: its fixed sums follow from the forward model alone."""
    model = setting.rig.forward_model
    count = min(count, model.scene_shape[0] * model.scene_shape[1])
    reads = leading_pixels(model, count, READS)
    matrix = model.as_matrix()[reads]
    half_lit = setting.rig.noise().variance(0.5 * matrix.sum(1), setting.frames)
    directions = leading_directions(matrix, half_lit, count)
    task = Classify(model.scene_shape, model.sensor_shape, scenes.classes, len(directions), len(reads), hidden)
    task = task.to(setting.rig.device)
    task.projection.reads.copy_(reads)
    task.projection.matrix.copy_(directions)
    return task


def new_after_reconstruction(reconstruct: Reconstruct, scenes: Scenes) -> ClassifyReconstruction:
    """A classifier of the pictures that a trained reconstruction gives."""
    return ClassifyReconstruction(reconstruct, scenes.classes).to(next(reconstruct.parameters()).device)


def sharp_twin(task: Task, scenes: Scenes, device: torch.device) -> Task:
    """The same network for the sharp picture: all of it, or as many principal components as `task` has sums."""
    if isinstance(task, ClassifyReconstruction):
        return ClassifyPicture(task.scene_shape, task.classes, task.widths).to(device)
    height, width = task.scene_shape
    count = task.projection.matrix.shape[0]
    twin = Classify(task.scene_shape, task.scene_shape, task.classes, count, height * width, task.hidden, task.dropout)
    components = torch.linalg.eigh(statistics_of(scenes, task.scene_shape, device).covariance).eigenvectors
    twin.projection.reads.copy_(torch.arange(height * width))
    twin.projection.matrix.copy_(components.flip(1)[:, :count].T)
    return twin.to(device)


def prepared(task: Task, source: Source, scenes: Scenes, seed: int) -> tuple[Tensor, Tensor]:
    """Network inputs from whole noisy frames of all scenes, and targets: for validation, test and baselines."""
    measure = source.measure(task, torch.Generator(source.device).manual_seed(seed))
    inputs, targets = [], []
    with torch.no_grad():
        for pictures, labels in batches(scenes, task.scene_shape, source.device):
            inputs.append(task.prepare(measure(pictures)))
            targets.append(task.target(pictures, labels))
    return torch.cat(inputs), torch.cat(targets)


def batches(scenes: Scenes, shape: tuple[int, int], device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """All scenes in order, a few hundred at once: pictures (B, 1, H, W) in [0, 1] and labels (B,), on the device."""
    for pictures, labels in zip(scenes.fit(shape).split(AT_ONCE), scenes.labels.split(AT_ONCE), strict=True):
        yield pictures.to(device).float() / 255, labels.to(device)


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a training gives: where the checkpoint lies, how it went, how long it took."""

    folder: pathlib.Path
    history: list[EpochRecord]
    seconds: float

    @property
    def best(self) -> EpochRecord:
        return max(self.history, key=lambda record: record.validation)


def train(
    task: Task,
    source: Source,
    scenes: Scenes,
    validation: Scenes,
    recipe: Recipe,
    out: pathlib.Path,
    workers: int = 0,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Trained:
    """Train a task and keep its best epoch, by validation, in the folder `out`; a run found there is continued."""
    began_s = time.perf_counter()
    check_scenes(task, scenes, recipe)
    fabric = fabric_on(source.device, recipe.precision)
    out = pathlib.Path(out)
    make_folder(out)
    if isinstance(source, Setting):
        _keep_calibration(source.calibration, out / checkpoint.CALIBRATION)
    card = card_of(source, scenes, validation, recipe)

    def save(task: Task, history: list[EpochRecord]) -> None:
        records = [dataclasses.asdict(record) for record in history]
        checkpoint.save(out, task, {**card, "metric": task.metric_name, "history": records})

    origin = {**source.origin(), "validation": f"{validation.name} {validation.fingerprint()}"}
    trainer = Trainer(
        task, scenes, source.training_input(task, scenes, fabric.autocast),
        prepared(task, source, validation, VALIDATION_STREAM), recipe, save, out, fabric, workers, watch, origin,
    )  # fmt: skip
    history = trainer.run()
    return Trained(out, history, time.perf_counter() - began_s)


def check_scenes(task: Task, scenes: Scenes, recipe: Recipe) -> None:
    """Refuse scenes that this task cannot learn from."""
    if task.metric_name == "accuracy" and int(scenes.labels.min()) < 0:
        raise ConfigurationError(
            f"scenes {scenes.name!r} hold pictures without a label; put them in one folder per class, "
            "or train reconstruct"
        )
    if len(scenes) < recipe.batch_size:
        raise ConfigurationError(
            f"scenes {scenes.name!r}: {len(scenes)} training scenes are less than one batch of {recipe.batch_size}; "
            "add scenes, or lower --batch-size"
        )


def _keep_calibration(calibration: Calibration, path: pathlib.Path) -> None:
    """The calibration goes into the checkpoint before its weights; an earlier part of the run left the same one."""
    if not path.exists():
        calibration.save(path)
    elif Calibration.load(path).id != calibration.id:
        raise ConfigurationError(f"{path} is of another calibration than this run; name another folder with --out")


def card_of(source: Source, scenes: Scenes, validation: Scenes, recipe: Recipe) -> dict:
    """Where a checkpoint comes from: the ids of everything that went in."""
    return {
        **source.facts(),
        "scenes": {
            "train": [scenes.name, scenes.fingerprint()],
            "validation": [validation.name, validation.fingerprint()],
        },
        "recipe": dataclasses.asdict(recipe),
        "code": code_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
    }
