"""Untrained tasks: initial weights from a seed, fixed numbers from the rig and, where a task says so, from scenes."""

import math

import torch

from lensless.app.setting import Setting, measured, statistics_of
from lensless.data.scenes import Scenes
from lensless.recon.projection import leading_directions, leading_pixels
from lensless.recon.wiener import LinearEstimate, SceneStatistics
from lensless.tasks import (
    Classify,
    ClassifyPicture,
    ClassifyReconstruction,
    PictureTask,
    Reconstruct,
    ReconstructCycle,
    ReconstructLearned,
    Task,
)
from lensless.tasks.classify import MOST_NUMBERS
from lensless.tasks.losses import DEFAULT
from lensless.tasks.reconstruct import MOST_NUMBERS as MOST_NUMBERS_BACK
from lensless.train.batches import derived_seed

READS = 8192  # pixels that a task reads at most: a bare sensor has 300,000, and few of them know much
FIRST_LOOK_STREAM = 104  # noise of the frames that tell how bright frames are
_INITIAL = 0x1717  # keeps initial weights apart from other draws of the same seed


def new_reconstruct(
    setting: Setting, scenes: Scenes, stages: int | None = None, width: int | None = None, *, seed: int = 0,
    loss: str = DEFAULT, shared: bool = False, statistics: SceneStatistics | None = None,
) -> Reconstruct:  # fmt: skip
    """A task whose fixed numbers are set from the rig and the training scenes, or other `statistics` of them.

    Six narrow stages unless told otherwise, or a wide one where a picture has too many numbers for a step back to the
    measurement.
    """
    model = setting.rig.forward_model
    numbers = math.prod(model.picture_shape)
    stages = stages or (6 if numbers <= MOST_NUMBERS_BACK else 1)
    width = width or (16 if stages > 1 else 32)
    deep_width = max(1, 3 * width // 4)
    statistics = statistics or statistics_of(scenes, model.picture_shape, setting.rig.device)
    reads = leading_pixels(model, numbers, READS)
    _begin(seed)
    task = Reconstruct(
        model.scene_shape, model.sensor_shape, stages, width, deep_width, len(reads), model.channels or 1, loss, shared
    )
    task = task.to(setting.rig.device)
    task.read_pixels.copy_(reads)
    noise_variance = setting.noise_variance(statistics).flatten()[reads]
    task.fit(model.rows(reads), noise_variance, setting.rig.spec.scene.dark_level, statistics)
    return task


def new_learned(
    setting: Setting, scenes: Scenes, rank: int = 16, width: int = 16, deep_width: int = 16,
    *, seed: int = 0, loss: str = DEFAULT,
) -> ReconstructLearned:  # fmt: skip
    """A task with a learned first layer, which begins as the nearest map of its rank to Wiener's estimate."""
    statistics = statistics_of(scenes, setting.rig.forward_model.picture_shape, setting.rig.device)
    begin = new_reconstruct(setting, scenes, 1, seed=seed, statistics=statistics)
    reads = begin.reads
    _begin(seed)
    task = ReconstructLearned(
        begin.scene_shape, begin.sensor_shape, rank, width, deep_width, len(reads), begin.colours, loss
    ).to(setting.device)
    task.read_pixels.copy_(reads)
    y = _some_frames(setting, scenes, reads)[:, 0]
    estimate = LinearEstimate(begin.wiener_matrix, begin.wiener_offset)
    task.fit(y.mean(0), float((y - y.mean(0)).square().mean().sqrt()), statistics, estimate)
    return task


def new_cycle(setting: Setting, scenes: Scenes, width: int = 64, *, seed: int = 0) -> ReconstructCycle:
    """A self-consistent network, which knows nothing of the rig but how bright its frames are."""
    model = setting.rig.forward_model
    _begin(seed)
    task = ReconstructCycle(model.scene_shape, model.sensor_shape, None, width, colours=model.channels or 1)
    task = task.to(setting.device)
    task.fit(_some_frames(setting, scenes, None))
    return task


def _some_frames(setting: Setting, scenes: Scenes, reads: torch.Tensor | None) -> torch.Tensor:
    """Measurements of a few hundred training scenes: of the pixels that are read, or whole ones."""
    some = scenes.spread(500 if reads is not None else 50)
    return next(measured(setting, some, setting.rig.spec.scene.picture_shape, FIRST_LOOK_STREAM, reads))[2]


def new_classify(
    setting: Setting, scenes: Scenes, sums: int = MOST_NUMBERS, hidden: tuple[int, ...] = (80,), *, seed: int = 0
) -> Classify:
    """A private classifier: its fixed sums follow from the forward model alone."""
    model = setting.rig.forward_model
    count = min(sums, math.prod(model.picture_shape))
    reads = leading_pixels(model, count, READS)
    matrix = model.rows(reads)
    half_lit = setting.sensor.variance(0.5 * matrix.sum(1), setting.frames)
    directions = leading_directions(matrix, half_lit, count)
    _begin(seed)
    task = Classify(
        model.scene_shape, model.sensor_shape, scenes.classes, len(directions), len(reads), hidden,
        colours=model.channels or 1,
    )  # fmt: skip
    task = task.to(setting.rig.device)
    task.projection.reads.copy_(reads)
    task.projection.matrix.copy_(directions)
    return task


def new_after_reconstruction(reconstruct: PictureTask, scenes: Scenes, *, seed: int = 0) -> ClassifyReconstruction:
    """A classifier of the pictures that a trained reconstruction gives."""
    _begin(seed)
    return ClassifyReconstruction(reconstruct, scenes.classes).to(next(reconstruct.parameters()).device)


def sharp_twin(task: Task, scenes: Scenes, device: torch.device, *, seed: int = 0) -> Task:
    """The same network for the sharp picture: all of it, or as many principal components as `task` has sums."""
    _begin(seed)
    if isinstance(task, ClassifyReconstruction):
        return ClassifyPicture(task.scene_shape, task.classes, task.widths, task.colours).to(device)
    colours, rows, columns = task.picture_shape
    count, planes = task.projection.matrix.shape[0], (colours * rows, columns)
    twin = Classify(
        task.scene_shape, planes, task.classes, count, math.prod(planes), task.hidden, task.dropout, colours
    )
    components = torch.linalg.eigh(statistics_of(scenes, task.picture_shape, device).covariance).eigenvectors
    twin.projection.reads.copy_(torch.arange(math.prod(planes)))
    twin.projection.matrix.copy_(components.flip(1)[:, :count].T)
    return twin.to(device)


def _begin(seed: int) -> None:
    """Initial weights follow from the seed, and not from what was drawn before."""
    torch.manual_seed(derived_seed(seed, _INITIAL))
