"""Batches on which the gradients of layers are compared."""

from torch import Tensor

from lensless.app.setting import Source, prepared
from lensless.data.scenes import Scenes
from lensless.tasks import Task

BATCHES, BATCH = 10, 100  # one batch alone is too noisy
_STREAM = 105  # of their noise


def gradient_batches(task: Task, source: Source, training: Scenes) -> list[tuple[Tensor, Tensor]]:
    """Inputs of the network and targets: of ten batches of training scenes, evenly spread; the same in each run."""
    inputs, targets = prepared(task, source, training.spread(BATCHES * BATCH), _STREAM)
    return list(zip(inputs.split(BATCH), targets.split(BATCH), strict=True))
