"""From a rig and a set of scenes to a checkpoint: the wiring of the learning flow."""

import dataclasses
import os
import pathlib
import time
from collections.abc import Callable

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
from lensless.tasks import Classify, ClassifyReconstruction, Reconstruct, Task
from lensless.tasks.classify import MOST_NUMBERS
from lensless.train import checkpoint, fabric_on
from lensless.train.files import make_folder
from lensless.train.loop import EpochRecord, Progress, Recipe, Trainer

STATISTICS_SCENES = 20_000  # pictures whose mean and covariance Wiener's filter takes
READS = 8192  # pixels that a private classifier reads at most
VALIDATION_STREAM, TEST_STREAM = 101, 102  # noise of the two, never shared with training
AT_ONCE = 500

RECIPES = {
    "reconstruct": Recipe(epochs=20, batch_size=100),
    "classify": Recipe(epochs=50, batch_size=250, augmentation=Augmentation()),
    "classify-reconstruction": Recipe(epochs=10, batch_size=100, augmentation=Augmentation()),
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """What every training and evaluation stands on."""

    rig: Rig
    calibration: Calibration
    frames: int

    @classmethod
    def of(cls, rig: Rig, frames: int | None = None, calibration: Calibration | None = None) -> "Setting":
        """The rig with its own number of averaged frames and a measured calibration, unless told otherwise."""
        return cls(rig, calibration or rig.calibrate(), frames or rig.spec.sensor.frames)

    def simulator(self, reads: Tensor | None = None) -> FrameSimulator:
        return self.rig.simulator(self.calibration, self.frames, reads)

    def noise_variance(self, pictures: SceneStatistics) -> Tensor:
        """Of each pixel at the mean scene, white = 1, (H' W',)."""
        dark = self.rig.spec.scene.dark_level
        mean = dark + (1 - dark) * pictures.mean.float().to(self.rig.device)
        return self.rig.noise().variance(self.rig.forward_model.as_matrix() @ mean, self.frames)


def statistics_of(scenes: Scenes, shape: tuple[int, int], device: torch.device) -> SceneStatistics:
    """Moments of the pictures, fitted to the rig's scene."""
    some = scenes.fit(shape)[:STATISTICS_SCENES]
    return SceneStatistics.of(some.to(device).float() / 255)


def new_reconstruct(setting: Setting, scenes: Scenes, stages: int = 2, width: int = 32, deep_width: int = 24) -> Reconstruct:
    """A task whose fixed numbers are set from the rig and the training scenes."""
    model = setting.rig.forward_model
    statistics = statistics_of(scenes, model.scene_shape, setting.rig.device)
    task = Reconstruct(model.scene_shape, model.sensor_shape, stages, width, deep_width).to(setting.rig.device)
    dark = setting.rig.spec.scene.dark_level
    task.fit(model.as_matrix(), setting.noise_variance(statistics), dark, statistics)
    return task


def new_classify(setting: Setting, scenes: Scenes, count: int = MOST_NUMBERS, hidden: tuple[int, ...] = (192, 64)) -> Classify:
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


def training_input(task: Task, setting: Setting, scenes: Scenes, autocast: Callable) -> Callable[[Tensor], Tensor]:
    """Pictures to what the network takes, with fresh noise."""
    if isinstance(task, Classify):
        simulator = setting.simulator(task.projection.reads)
        mean = scenes.fit(task.scene_shape)[:STATISTICS_SCENES].float().mean(0).to(setting.rig.device) / 255
        return ProjectedSimulator(simulator, task.projection.matrix, mean)
    simulator = setting.simulator()

    def prepare(pictures: Tensor) -> Tensor:
        with autocast():
            return task.prepare(simulator(pictures))

    return prepare


def prepared(task: Task, setting: Setting, scenes: Scenes, seed: int, at_once: int = AT_ONCE) -> tuple[Tensor, Tensor]:
    """Network inputs from whole noisy frames of all scenes, and targets, for validation and test."""
    device = setting.rig.device
    simulator = setting.simulator(task.projection.reads if isinstance(task, Classify) else None)
    generator = torch.Generator(device).manual_seed(seed)
    inputs, targets = [], []
    with torch.no_grad():
        for pictures, labels in zip(scenes.fit(task.scene_shape).split(at_once), scenes.labels.split(at_once), strict=True):
            pictures = pictures.to(device).float() / 255
            inputs.append(task.prepare(simulator(pictures, generator)))
            targets.append(task.target(pictures, labels.to(device)))
    return torch.cat(inputs), torch.cat(targets)


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
    setting: Setting,
    scenes: Scenes,
    validation: Scenes,
    recipe: Recipe,
    out: pathlib.Path,
    workers: int = 0,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Trained:
    """Train a task and keep its best epoch, by validation, in the folder `out`; a run found there is continued."""
    began_s = time.perf_counter()
    if isinstance(task, Classify | ClassifyReconstruction) and int(scenes.labels.min()) < 0:
        raise ConfigurationError(
            f"scenes {scenes.name!r} hold pictures without a label; put them in one folder per class, or train reconstruct"
        )
    if len(scenes) < recipe.batch_size:
        raise ConfigurationError(
            f"scenes {scenes.name!r}: {len(scenes)} training scenes are less than one batch of {recipe.batch_size}; "
            "add scenes, or lower --batch-size"
        )
    fabric = fabric_on(setting.rig.device, recipe.precision)
    out = pathlib.Path(out)
    _keep_calibration(setting, out)
    card = card_of(setting, scenes, validation, recipe)

    def save(task: Task, history: list[EpochRecord]) -> None:
        records = [dataclasses.asdict(record) for record in history]
        checkpoint.save(out, task, {**card, "metric": task.metric_name, "history": records})

    seed = VALIDATION_STREAM
    trainer = Trainer(
        task, scenes, training_input(task, setting, scenes, fabric.autocast), prepared(task, setting, validation, seed),
        recipe, save, out, fabric, workers, watch,
    )  # fmt: skip
    history = trainer.run()
    return Trained(out, history, time.perf_counter() - began_s)


def _keep_calibration(setting: Setting, out: pathlib.Path) -> None:
    """The calibration goes into the checkpoint before its weights; an earlier part of the run left the same one."""
    path = out / checkpoint.CALIBRATION
    if not path.exists():
        make_folder(out)
        setting.calibration.save(path)
    elif Calibration.load(path).id != setting.calibration.id:
        raise ConfigurationError(f"{path} is of another calibration than this run; name another folder with --out")


def card_of(setting: Setting, scenes: Scenes, validation: Scenes, recipe: Recipe) -> dict:
    """Where a checkpoint comes from: the ids of everything that went in."""
    spec = setting.rig.spec
    return {
        "rig": {"id": spec.id, "fingerprint": spec.fingerprint, "facts": dataclasses.asdict(spec), "rays": setting.rig.rays},
        "sampling_error": setting.rig.forward_model.sampling_error,
        "frames": setting.frames,
        "calibration": setting.calibration.id,
        "scenes": {"train": [scenes.name, scenes.fingerprint()], "validation": [validation.name, validation.fingerprint()]},
        "recipe": dataclasses.asdict(recipe),
        "code": code_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
    }
