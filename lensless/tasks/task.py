"""What a task is: what goes in, what may come out, how it is judged."""

import abc
import dataclasses

from torch import Tensor, nn


@dataclasses.dataclass(frozen=True)
class Numbers:
    """How many numbers a task holds, by where they come from.

    `trainable` are changed by gradient descent; `from_calibration` follow from the forward model alone;
    `fitted_on_scenes` are moments, filters and spreads of training scenes.
    """

    trainable: int
    from_calibration: int
    fitted_on_scenes: int


class Task(nn.Module, abc.ABC):
    """A network with all that belongs to it: its pre-processing, its loss and its metric.

    `prepare` turns a measurement into what the network takes, with fixed numbers only; `network` is what training
    changes. The pre-processing is a part of the task's state, so it travels in the checkpoint.
    """

    kind: str
    metric_name: str
    scene_shape: tuple[int, int]
    network: nn.Module

    @abc.abstractmethod
    def prepare(self, y: Tensor) -> Tensor:
        """Input of the network from measurements (B, 1, H', W'), white = 1."""

    def forward(self, y: Tensor) -> Tensor:
        """What the task gives for measurements (B, 1, H', W')."""
        return self.network(self.prepare(y))

    @abc.abstractmethod
    def target(self, pictures: Tensor, labels: Tensor) -> Tensor:
        """What the output is compared with: pictures (B, 1, H, W) in [0, 1], or labels (B,)."""

    @abc.abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """What training lowers; a scalar."""

    @abc.abstractmethod
    def metric(self, output: Tensor, target: Tensor) -> Tensor:
        """A figure of merit of each sample, (B,); higher is better."""

    @abc.abstractmethod
    def config(self) -> dict:
        """What `lensless.tasks.build` needs to make the same task, without its numbers; JSON."""

    @abc.abstractmethod
    def numbers(self) -> Numbers:
        """What the task holds, for the honest table."""


def trainable(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
