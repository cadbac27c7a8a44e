"""Untrained tasks: initial weights from a seed, fixed numbers from the rig and, where a task says so, from scenes."""

import math

import torch

from lensless.app.setting import Setting, statistics_of
from lensless.data.scenes import Scenes
from lensless.recon.projection import leading_directions, leading_pixels
from lensless.tasks import Classify, ClassifyPicture, ClassifyReconstruction, Reconstruct, Task
from lensless.tasks.classify import MOST_NUMBERS
from lensless.train.batches import derived_seed

READS = 8192  # pixels that a task reads at most: a bare sensor has 300,000, and few of them know much
_INITIAL = 0x1717  # keeps initial weights apart from other draws of the same seed


def new_reconstruct(
    setting: Setting, scenes: Scenes, stages: int = 2, width: int = 32, deep_width: int = 24, *, seed: int = 0
) -> Reconstruct:
    """A task whose fixed numbers are set from the rig and the training scenes."""
    model = setting.rig.forward_model
    statistics = statistics_of(scenes, model.scene_shape, setting.rig.device)
    reads = leading_pixels(model, math.prod(model.scene_shape), READS)
    _begin(seed)
    task = Reconstruct(model.scene_shape, model.sensor_shape, stages, width, deep_width, len(reads))
    task = task.to(setting.rig.device)
    task.read_pixels.copy_(reads)
    noise_variance = setting.noise_variance(statistics).flatten()[reads]
    task.fit(model.rows(reads), noise_variance, setting.rig.spec.scene.dark_level, statistics)
    return task


def new_classify(
    setting: Setting, scenes: Scenes, count: int = MOST_NUMBERS, hidden: tuple[int, ...] = (80,), *, seed: int = 0
) -> Classify:
    """A private classifier: its fixed sums follow from the forward model alone."""
    model = setting.rig.forward_model
    count = min(count, model.scene_shape[0] * model.scene_shape[1])
    reads = leading_pixels(model, count, READS)
    matrix = model.rows(reads)
    half_lit = setting.sensor.variance(0.5 * matrix.sum(1), setting.frames)
    directions = leading_directions(matrix, half_lit, count)
    _begin(seed)
    task = Classify(model.scene_shape, model.sensor_shape, scenes.classes, len(directions), len(reads), hidden)
    task = task.to(setting.rig.device)
    task.projection.reads.copy_(reads)
    task.projection.matrix.copy_(directions)
    return task


def new_after_reconstruction(reconstruct: Reconstruct, scenes: Scenes, *, seed: int = 0) -> ClassifyReconstruction:
    """A classifier of the pictures that a trained reconstruction gives."""
    _begin(seed)
    return ClassifyReconstruction(reconstruct, scenes.classes).to(next(reconstruct.parameters()).device)


def sharp_twin(task: Task, scenes: Scenes, device: torch.device, *, seed: int = 0) -> Task:
    """The same network for the sharp picture: all of it, or as many principal components as `task` has sums."""
    _begin(seed)
    if isinstance(task, ClassifyReconstruction):
        return ClassifyPicture(task.scene_shape, task.classes, task.widths).to(device)
    height, width = task.scene_shape
    count = task.projection.matrix.shape[0]
    twin = Classify(task.scene_shape, task.scene_shape, task.classes, count, height * width, task.hidden, task.dropout)
    components = torch.linalg.eigh(statistics_of(scenes, task.scene_shape, device).covariance).eigenvectors
    twin.projection.reads.copy_(torch.arange(height * width))
    twin.projection.matrix.copy_(components.flip(1)[:, :count].T)
    return twin.to(device)


def _begin(seed: int) -> None:
    """Initial weights follow from the seed, and not from what was drawn before."""
    torch.manual_seed(derived_seed(seed, _INITIAL))
