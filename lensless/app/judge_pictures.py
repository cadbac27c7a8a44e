"""Reconstructions beside Wiener's and Tikhonov's."""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from lensless.app.setting import TEST_STREAM, Setting, batches, statistics_of
from lensless.data.scenes import Scenes
from lensless.evaluate.evaluation import Evaluation, Examples, Line, example_indices
from lensless.evaluate.metrics import picture_scores
from lensless.recon import tikhonov
from lensless.recon.tikhonov import gcv_weight
from lensless.tasks import Reconstruct

WEIGHT_STREAM = 105  # noise of the training frames that Tikhonov's weight is chosen on


def judge(task: Reconstruct, setting: Setting, training: Scenes, test: Scenes) -> Evaluation:
    """Figures of a trained reconstruction on test scenes, beside the classical ones on the same frames."""
    ways = _ways_to_a_picture(task, setting, training)
    chosen = example_indices(len(test))
    pictures, estimates, frames = _estimates(ways, setting, test, chosen)
    lines = [
        Line(name, dataclasses.asdict(picture_scores(estimates[name], pictures)), note)
        for name, (_, note) in ways.items()
    ]
    shown = {"scene": pictures[chosen, 0], "raw frame": frames}
    shown |= {name: estimate[chosen, 0].clamp(0, 1) for name, estimate in estimates.items()}
    examples = Examples(
        {name: tensor.cpu() for name, tensor in shown.items()}, {"truth": test.names(test.labels[chosen])}
    )
    return Evaluation(
        task.kind, task.metric_name, test.name, len(test), lines, task.numbers(), examples, task.resident_bytes()
    )


def _ways_to_a_picture(task: Reconstruct, setting: Setting, training: Scenes) -> dict[str, tuple[Callable, str]]:
    """Name -> measurement to pictures, and a note."""
    dark, model = setting.rig.spec.scene.dark_level, setting.rig.forward_model
    mean = statistics_of(training, task.scene_shape, setting.device).mean.float().reshape(1, *task.scene_shape)
    mean = dark + (1 - dark) * mean
    weight = _weight(setting, training, mean)
    return {
        "network": (task, f"{task.numbers().trainable:,} trainable parameters"),
        "Wiener": (task.prepare, "the best linear estimate; mean and covariance fitted on scenes"),
        "Tikhonov": (
            lambda y: (tikhonov(model, y, weight, mean) - dark) / (1 - dark),
            f"about the mean scene, weight {weight:.1e} |A|^2 by generalised cross-validation on training frames",
        ),
    }


def _weight(setting: Setting, training: Scenes, mean: Tensor) -> float:
    """The GCV weight for a few hundred training frames."""
    model = setting.rig.forward_model
    pictures, _ = next(batches(training, model.scene_shape, setting.device))
    y = setting.simulator()(pictures, torch.Generator(setting.device).manual_seed(WEIGHT_STREAM))
    U, s, _ = model.svd()
    residual = (y - model.A(mean[None])).flatten(2)
    return gcv_weight(s, residual @ U, residual)


def _estimates(
    ways: dict[str, tuple[Callable, str]], setting: Setting, test: Scenes, chosen: list[int]
) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    """All test pictures, the estimates of each way, and the raw frames of the chosen scenes."""
    generator = torch.Generator(setting.device).manual_seed(TEST_STREAM)
    simulator = setting.simulator()
    pictures, frames, estimates = [], [], {name: [] for name in ways}
    for some, _ in batches(test, setting.rig.forward_model.scene_shape, setting.device):
        y = simulator(some, generator)
        first = sum(map(len, pictures))
        frames += [y[at - first, 0] for at in chosen if first <= at < first + len(y)]
        pictures.append(some)
        for name, (way, _) in ways.items():
            estimates[name].append(way(y).float())
    return torch.cat(pictures), {name: torch.cat(pieces) for name, pieces in estimates.items()}, torch.stack(frames)
