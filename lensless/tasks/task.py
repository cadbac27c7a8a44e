"""What a task is: what goes in, what may come out, how it is judged."""

import abc
import dataclasses
import math

import torch
from torch import Tensor, nn

from hardware.errors import ConfigurationError

LONGEST_SIDE = 16_384  # of a scene or a sensor
WIDEST = 4096  # channels, or units of a hidden layer


@dataclasses.dataclass(frozen=True)
class Numbers:
    """How many numbers a task holds, by where they come from.

    `trainable` are changed by gradient descent; `from_calibration` follow from the forward model alone;
    `fitted_on_scenes` are moments, filters and spreads of training scenes; `trained_before` were changed by gradient
    descent in an earlier training, and are frozen now.
    """

    trainable: int
    from_calibration: int
    fitted_on_scenes: int
    trained_before: int = 0


class Task(nn.Module, abc.ABC):
    """A network with all that belongs to it: its pre-processing, its loss and its metric.

    `prepare` turns a measurement into what the network takes, with fixed numbers only; `network` is what training
    changes. The pre-processing is a part of the task's state, so it travels in the checkpoint.
    """

    kind: str
    metric_name: str
    scene_shape: tuple[int, int]
    sensor_shape: tuple[int, int]
    network: nn.Module

    @property
    def reads(self) -> Tensor | None:
        """Flat indices of the pixels that it reads, (n,); None if it takes the whole measurement."""
        return None

    @abc.abstractmethod
    def prepare(self, y: Tensor) -> Tensor:
        """Input of the network from measurements (B, 1, H', W'), white = 1."""

    def forward(self, y: Tensor) -> Tensor:
        """What the task gives for measurements (B, 1, H', W')."""
        return self.network(self.prepare(y))

    def resident_bytes(self) -> int:
        """What its numbers take in memory at inference."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.state_dict().values())

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

    def check(self) -> None:
        """Refuse numbers that no training and no fit can give.

        Raises:
            ConfigurationError: one that is not finite, or a pixel that no frame has.
        """
        for name, value in self.state_dict().items():
            if value.is_floating_point() and not value.isfinite().all():
                raise ConfigurationError(f"task {self.kind!r}: {name!r} holds numbers that are not finite")
        if self.reads is not None:
            first, last = (int(end) for end in torch.aminmax(self.reads))
            pixels = math.prod(self.sensor_shape)
            if first < 0 or last >= pixels:
                raise ConfigurationError(
                    f"task {self.kind!r}: reads pixels {first} to {last} of a frame; expected 0 to {pixels - 1}"
                )


def whole_number(kind: str, name: str, value: int, low: int, high: int) -> int:
    """The value, if it is a whole number of the range.

    Raises:
        ConfigurationError: it is not.
    """
    if not (isinstance(value, int) and low <= value <= high):
        raise ConfigurationError(f"task {kind!r}: {name} = {value!r}; expected a whole number from {low} to {high}")
    return value


def sides(kind: str, name: str, shape: tuple[int, int], multiple: int = 1) -> tuple[int, int]:
    """Rows and columns, if they are whole numbers and multiples of `multiple`.

    Raises:
        ConfigurationError: they are not.
    """
    shape = tuple(shape)
    if len(shape) != 2 or any(whole_number(kind, name, side, 1, LONGEST_SIDE) % multiple for side in shape):
        raise ConfigurationError(f"task {kind!r}: {name} = {shape}; expected (rows, columns), multiples of {multiple}")
    return shape


def trainable(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
