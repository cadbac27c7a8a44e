"""Reconstructions beside Wiener's and Tikhonov's."""

import dataclasses
import math
from collections.abc import Callable

import torch
from torch import Tensor

from lensless.app.new_tasks import new_reconstruct
from lensless.app.setting import TEST_STREAM, Setting, example_frames, measured, statistics_of
from lensless.data.scenes import Scenes
from lensless.evaluate.evaluation import Evaluation, Examples, Line, drawn
from lensless.evaluate.metrics import picture_scores
from lensless.recon import tikhonov
from lensless.recon.tikhonov import gcv_weight
from lensless.tasks import PictureTask, Reconstruct

WEIGHT_STREAM = 105  # noise of the training frames that Tikhonov's weight is chosen on


def judge(task: PictureTask, setting: Setting, training: Scenes, test: Scenes) -> Evaluation:
    """Figures of a trained reconstruction on test scenes, beside the classical ones on the same frames."""
    ways = _ways_to_a_picture(task, setting, training)
    pictures, estimates = estimates_of({name: way for name, (way, _) in ways.items()}, setting, test)
    lines = [
        Line(name, dataclasses.asdict(picture_scores(estimates[name], pictures)), note)
        for name, (_, note) in ways.items()
    ]
    scenes, labels, y = example_frames(setting, test)
    shown = {"scene": scenes, "raw frame": y} | {name: way(y).clamp(0, 1) for name, (way, _) in ways.items()}
    examples = Examples({name: drawn(tensor) for name, tensor in shown.items()}, {"truth": test.names(labels)})
    return Evaluation(
        task.kind, task.metric_name, test.name, len(test), lines, task.numbers(), examples, task.resident_bytes()
    )


def _ways_to_a_picture(task: PictureTask, setting: Setting, training: Scenes) -> dict[str, tuple[Callable, str]]:
    """Name -> measurement to pictures, and a note."""
    dark, model = setting.rig.spec.scene.dark_level, setting.rig.forward_model
    statistics = statistics_of(training, task.picture_shape, setting.device)
    mean = dark + (1 - dark) * statistics.mean.float().reshape(task.picture_shape)
    svd = model.svd()
    weight = _weight(setting, training, mean, svd)
    linear = task if isinstance(task, Reconstruct) else new_reconstruct(setting, training, 1, statistics=statistics)
    alone = {}
    if task.colours > 1:
        blind = new_reconstruct(setting, training, 1, statistics=statistics.each_alone(task.colours))
        alone = {"Wiener, each colour alone": (blind.prepare, "the same, where no colour tells anything of another")}
    return {
        "network": (task, f"{task.numbers().trainable:,} trainable parameters"),
        "Wiener": (
            linear.prepare,
            f"the best linear estimate from {_reads(linear)}; mean and covariance fitted on scenes",
        ),
        **alone,
        "Tikhonov": (
            lambda y: (tikhonov(model, y, weight, mean, svd) - dark) / (1 - dark),
            f"about the mean scene, weight {weight:.1e} |A|^2 by generalised cross-validation on training frames",
        ),
    }


def _reads(task: Reconstruct) -> str:
    read, pixels = len(task.reads), math.prod(task.sensor_shape)
    return f"all {pixels:,} pixels" if read == pixels else f"the {read:,} of {pixels:,} pixels that are read"


def _weight(setting: Setting, training: Scenes, mean: Tensor, svd: tuple[Tensor, Tensor, Tensor]) -> float:
    """The GCV weight for a few hundred training frames."""
    model = setting.rig.forward_model
    _, _, y = next(measured(setting, training, model.picture_shape, WEIGHT_STREAM))
    U, s, _ = svd
    residual = (y - model.A(mean[None])).flatten(2)
    return gcv_weight(s, residual @ U, residual)


def estimates_of(
    ways: dict[str, Callable[[Tensor], Tensor]], setting: Setting, test: Scenes
) -> tuple[Tensor, dict[str, Tensor]]:
    """All test pictures, and the estimates of each way."""
    pictures, estimates = [], {name: [] for name in ways}
    for some, _, y in measured(setting, test, setting.rig.forward_model.picture_shape, TEST_STREAM):
        pictures.append(some)
        for name, way in ways.items():
            estimates[name].append(way(y).float())
    return torch.cat(pictures), {name: torch.cat(pieces) for name, pieces in estimates.items()}
