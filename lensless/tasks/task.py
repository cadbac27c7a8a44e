"""What a task is: what goes in, what may come out, how it is judged."""

import abc
import dataclasses
import math

import torch
from torch import Tensor, nn

from hardware.errors import ConfigurationError
from lensless.nn.unet import UNet
from lensless.sharing import SharedNetwork, share, summary

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
    colours: int = 1  # of a scene
    unshared: tuple[str, ...] = ()  # layers of the network that a budget leaves as they are, as patterns of names
    network: nn.Module

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """Colours, rows and columns of a scene."""
        return self.colours, *self.scene_shape

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
        """What the output is compared with: pictures (B, C, H, W) in [0, 1], or labels (B,)."""

    @abc.abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """What training lowers; a scalar."""

    def training_loss(self, network: nn.Module, inputs: Tensor, target: Tensor) -> Tensor:
        """`loss` of what the network, as the trainer has wrapped it, makes of prepared inputs."""
        return self.loss(network(inputs), target)

    def parameter_groups(self) -> list[dict]:
        """Of the optimiser, with `rate_share` of the learning rate; numbers that mix templates are not pulled to 0."""
        if not isinstance(self.network, SharedNetwork):
            return [{"params": list(self.network.parameters())}]
        mixing = self.network.mixing_numbers()
        apart = set(map(id, mixing))
        others = [parameter for parameter in self.network.parameters() if id(parameter) not in apart]
        own = [
            {"params": [numbers], "weight_decay": 0.0, "rate_share": rate}
            for numbers, rate in zip(mixing, self.network.mixing_rates(), strict=True)
        ]
        return [{"params": others}, *own]

    @abc.abstractmethod
    def metric(self, output: Tensor, target: Tensor) -> Tensor:
        """A figure of merit of each sample, (B,); higher is better."""

    def share(self, budget: int | str, method: str = "cells", seed: int = 0) -> None:
        """Compute the network's weights from shared templates, with at most `budget` trained numbers; fresh ones.

        Raises:
            ConfigurationError: see `lensless.sharing.share`.
        """
        self.network = share(self.network, budget, method, keep=self.unshared, seed=seed)

    def settle(self, small: bool = False) -> str:
        """Ready shared weights for inference: all made once and kept or, `small`, each when its layer is called.

        Returns:
            What that takes, for people; empty where no weights are shared.
        """
        shared = self.network
        if not isinstance(shared, SharedNetwork):
            return ""
        shared.layer_by_layer = small
        trained, plain = trainable(shared), shared.plan.natural
        if small:
            return f"shared weights: {trained:,} trained numbers, and one layer's weight at a time ({plain:,} of all)"
        self.network = shared.bake()
        return f"shared weights: {trained:,} trained numbers, made into {plain:,} once"

    def sharing_notes(self) -> list[str]:
        """What to say of shared weights; nothing where there are none."""
        return summary(self.network.plan) if isinstance(self.network, SharedNetwork) else []

    @abc.abstractmethod
    def config(self) -> dict:
        """What `lensless.tasks.build` needs to make the same task, without its numbers; JSON."""

    @abc.abstractmethod
    def numbers(self) -> Numbers:
        """What the task holds, for the honest table."""

    def check(self) -> None:
        """Refuse numbers that no training and no fit can give.

        Raises:
            ConfigurationError: one that is not finite, a scale that is not above 0, or a pixel that no frame has.
        """
        for name, value in self.state_dict().items():
            if value.is_floating_point() and not value.isfinite().all():
                raise ConfigurationError(f"task {self.kind!r}: {name!r} holds numbers that are not finite")
        for module in self.modules():
            if isinstance(module, UNet):
                module.check()
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


def checked_colours(kind: str, colours: int) -> int:
    """Raises ConfigurationError unless a scene is grey or has three colours."""
    if colours not in (1, 3):
        raise ConfigurationError(f"task {kind!r}: colours = {colours!r}; expected 1 or 3")
    return colours


def in_colours(colours: int) -> dict:
    """What the description of a task says of colours: nothing where its scenes are grey."""
    return {} if colours == 1 else {"colours": colours}


def sides(kind: str, name: str, shape: tuple[int, int], multiple: int = 1) -> tuple[int, int]:
    """Rows and columns, if they are whole numbers and multiples of `multiple`.

    Raises:
        ConfigurationError: they are not.
    """
    shape = tuple(shape)
    if len(shape) != 2 or any(whole_number(kind, name, side, 1, LONGEST_SIDE) % multiple for side in shape):
        raise ConfigurationError(f"task {kind!r}: {name} = {shape}; expected (rows, columns), multiples of {multiple}")
    return shape


def sharing_of(network: nn.Module) -> dict:
    """What the description of a task says of templates: nothing where its network has weights of its own."""
    return {"sharing": network.plan.facts()} if isinstance(network, SharedNetwork) else {}


def fixed_numbers(network: nn.Module) -> int:
    """Numbers of a network that no training changes, but for those that follow from the plan of its templates."""
    own = network.network if isinstance(network, SharedNetwork) else network
    return sum(buffer.numel() for buffer in own.buffers())


def trainable(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
