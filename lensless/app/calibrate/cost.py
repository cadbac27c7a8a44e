"""What the movement of a rig costs a trained network, and what is left of that when its fixed numbers follow."""

import copy
import dataclasses
import pathlib

import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.app.measured_rig import MeasuredRig
from lensless.app.setting import AT_ONCE, TEST_STREAM, Setting, prepared, statistics_of
from lensless.data.scenes import Scenes, load_scenes
from lensless.recon.wiener import SceneStatistics
from lensless.tasks import Classify, Reconstruct, Task
from lensless.train.checkpoint import Checkpoint

SCENES = 2000  # of the validation part, that the cost is told by


@dataclasses.dataclass(frozen=True)
class Cost:
    """Args: `metric` of the task; its mean `before` the rig moved, `now`, and `after` re-registration; the `task` that
    was registered again.
    """

    metric: str
    before: float
    now: float
    after: float
    task: Task | None

    @property
    def loss(self) -> float:
        return self.before - self.now

    @property
    def restored(self) -> float:
        """Share of the loss that is back."""
        return (self.after - self.now) / self.loss if self.loss > 0 else 1.0


def scenes_of(found: Checkpoint, data: pathlib.Path | None) -> tuple[Scenes, Scenes]:
    """Those that a checkpoint was trained on, and some that it was validated with.

    Raises:
        ConfigurationError: it does not know where they lie now.
        InputError: they are not there any more.
    """
    name = found.card["scenes"]["train"][0].rpartition("/")[0]
    if ":" in name:
        raise ConfigurationError(
            f"the checkpoint was trained on {name}, and cannot tell where that lies now; leave --checkpoint out"
        )
    training, validation = (load_scenes(name, part, 0, None, data) for part in ("train", "val"))
    return training, validation.spread(SCENES)


def cost_of(found: Checkpoint, setting: Setting, now: MeasuredRig, scenes: tuple[Scenes, Scenes]) -> Cost:
    """Measured on simulated frames.

    Args:
        found: the checkpoint, and its `setting`.
        now: the rig as it stands now.
        scenes: see `scenes_of`.
    """
    training, validation = scenes
    moved = dataclasses.replace(setting, rig=now)
    again = register(found.task, setting, moved, training)
    return Cost(
        found.task.metric_name, figure(found.task, setting, validation), figure(found.task, moved, validation),
        figure(again, moved, validation), again,
    )  # fmt: skip


def register(task: Task, was: Setting, now: Setting, scenes: Scenes) -> Task:
    """A copy of a task whose fixed numbers are those of the rig as it stands now; its network is the same.

    Args:
        was, now: the rig that it was trained for, and as it stands now.
        scenes: that it was trained on.
    """
    task = copy.deepcopy(task)
    pictures = statistics_of(scenes, was.rig.spec.scene.shape, was.device)
    if isinstance(task, Classify):
        matrix = _carried_over(task.projection.matrix, task.reads, was, now, pictures)
        task.projection.matrix.copy_(matrix)
        return task
    front = task if isinstance(task, Reconstruct) else task.reconstruct
    variance = now.noise_variance(pictures).flatten()[front.reads]
    front.fit(now.rig.forward_model.rows(front.reads), variance, now.rig.spec.scene.dark_level, pictures)
    return task


def _carried_over(P: Tensor, reads: Tensor, was: Setting, now: Setting, pictures: SceneStatistics) -> Tensor:
    """The sums of a frame of the rig now that come nearest to what the sums P of a frame of the rig before were.

        P' = P A0 (A1* N^-1 A1 + S^-1)^-1 A1* N^-1

    the linear estimate of least mean squared error of P A0 x, with S = E[x x*] of what the display shows.
    """
    A0, A1 = (one.rig.forward_model.rows(reads).double() for one in (was, now))
    dark = was.rig.spec.scene.dark_level
    mean = dark + (1 - dark) * pictures.mean
    second = (1 - dark) ** 2 * pictures.regular_covariance + torch.outer(mean, mean)
    weighted = (A1 / now.noise_variance(pictures).flatten()[reads].double()[:, None]).T
    estimate = torch.linalg.solve(weighted @ A1 + torch.linalg.inv(second), weighted)
    return (P.double() @ A0 @ estimate).float()


def figure(task: Task, setting: Setting, scenes: Scenes) -> float:
    """Mean of the task's metric on frames that a rig makes of scenes."""
    inputs, targets = prepared(task, setting, scenes, TEST_STREAM)
    with torch.no_grad():
        pieces = zip(inputs.split(AT_ONCE), targets.split(AT_ONCE), strict=True)
        found = [task.metric(task.network(some), target) for some, target in pieces]
    return float(torch.cat(found).double().mean())
