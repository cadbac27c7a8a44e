"""Classify: a label from one frame, without reconstruction or after it."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.nn.classifier import NumbersClassifier, PictureClassifier
from lensless.nn.projection import Projection
from lensless.tasks.picture import PictureTask
from lensless.tasks.task import (
    WIDEST,
    Numbers,
    Task,
    checked_colours,
    fixed_numbers,
    in_colours,
    sharing_of,
    sides,
    trainable,
    whole_number,
)

MOST_NUMBERS = 128  # more than that per frame is not called "without reconstruction"
MOST_CLASSES, MOST_LAYERS = 10_000, 16
LABEL_SMOOTHING = 0.1


class Classifier(Task):
    """What all ways to a label share: classes, loss, metric, and how sure a label is.

    What comes out are logits. Those of the network are divided by `temperature`, one number that is fitted on scenes
    which the network was not trained on, so that their softmax are probabilities that hold: of the labels that are
    given with 0.9, nine in ten are right (Guo et al. 2017, arXiv 1706.04599). 1 until it is fitted.
    """

    metric_name = "accuracy"

    def __init__(
        self, scene_shape: tuple[int, int], sensor_shape: tuple[int, int], classes: tuple[str, ...], colours: int = 1
    ):
        super().__init__()
        self.colours = checked_colours(self.kind, colours)
        self.register_buffer("temperature", torch.ones(()))
        self.scene_shape = sides(self.kind, "scene_shape", scene_shape)
        self.sensor_shape = sides(self.kind, "sensor_shape", sensor_shape)
        self.classes = tuple(classes)
        whole_number(self.kind, "number of classes", len(self.classes), 1, MOST_CLASSES)

    def forward(self, y: Tensor) -> Tensor:
        """Logits (B, classes) of measurements (B, 1, H', W'); their softmax are probabilities."""
        return self.network(self.prepare(y)) / self.temperature

    def check(self) -> None:
        super().check()
        if not self.temperature > 0:
            raise ConfigurationError(f"task {self.kind!r}: temperature = {float(self.temperature):g}; expected above 0")

    def target(self, pictures: Tensor, labels: Tensor) -> Tensor:
        return labels

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, label_smoothing=LABEL_SMOOTHING)

    def metric(self, output: Tensor, target: Tensor) -> Tensor:
        """1 where the likeliest class is the right one, else 0."""
        return (output.argmax(1) == target).float()

    def _fitted(self) -> int:
        """Spreads of what goes through the network, and the temperature."""
        return fixed_numbers(self.network) + self.temperature.numel()


class Classify(Classifier):
    """A label straight from the frame: at most 128 fixed sums of its pixels, then a small network.

    No tensor of it lives in scene coordinates.

    Args:
        scene_shape, sensor_shape: of the rig.
        classes: names, in the order of the labels.
        count: sums per frame, at most 128.
        reads: pixels of the frame that are read.
        hidden: inner widths of the residual blocks of the network.
        dropout: share of each inner layer that is left out while training.
        colours: of the scenes.

    Raises:
        ConfigurationError: more sums than that, or another size that cannot be.
    """

    kind = "classify"

    def __init__(
        self,
        scene_shape: tuple[int, int],
        sensor_shape: tuple[int, int],
        classes: tuple[str, ...],
        count: int,
        reads: int,
        hidden: tuple[int, ...] = (80,),
        dropout: float = 0.0,
        colours: int = 1,
    ):
        super().__init__(scene_shape, sensor_shape, classes, colours)
        whole_number(self.kind, "numbers per frame", count, 1, MOST_NUMBERS)
        whole_number(self.kind, "pixels that are read", reads, 1, math.prod(self.sensor_shape))
        self.hidden, self.dropout = _widths(self.kind, "hidden", hidden), dropout
        self.projection = Projection(count, reads)
        self.network = NumbersClassifier(count, self.hidden, len(self.classes), dropout)

    @property
    def reads(self) -> Tensor:
        return self.projection.reads

    def prepare(self, y: Tensor) -> Tensor:
        """The sums, (B, count)."""
        return self.projection(y)

    def config(self) -> dict:
        count, reads = self.projection.matrix.shape
        return {
            "kind": self.kind, "scene_shape": list(self.scene_shape), "sensor_shape": list(self.sensor_shape),
            "classes": list(self.classes), "count": count, "reads": reads, "hidden": list(self.hidden),
            "dropout": self.dropout, **in_colours(self.colours), **sharing_of(self.network),
        }  # fmt: skip

    def numbers(self) -> Numbers:
        fixed = sum(buffer.numel() for buffer in self.projection.buffers())
        return Numbers(trainable(self.network), fixed, self._fitted())


class ClassifyPicture(Classifier):
    """A label from the picture itself: what the camera is measured against.

    Args:
        scene_shape: of the pictures.
        classes: names, in the order of the labels.
        widths: channels of the three scales of the network.
        colours: of the pictures.
    """

    kind = "classify-picture"

    def __init__(
        self, scene_shape: tuple[int, int], classes: tuple[str, ...], widths: tuple[int, int, int] = (16, 28, 48),
        colours: int = 1,
    ):  # fmt: skip
        super().__init__(scene_shape, scene_shape, classes, colours)
        self.widths = _widths(self.kind, "widths", widths)
        self.network = PictureClassifier(len(self.classes), self.widths, colours)

    def prepare(self, y: Tensor) -> Tensor:
        """The picture, (B, 1, H, W)."""
        return y

    def config(self) -> dict:
        return {
            "kind": self.kind, "scene_shape": list(self.scene_shape), "classes": list(self.classes),
            "widths": list(self.widths), **in_colours(self.colours), **sharing_of(self.network),
        }  # fmt: skip

    def numbers(self) -> Numbers:
        return Numbers(trainable(self.network), 0, self._fitted())


class ClassifyReconstruction(Classifier):
    """A label from the reconstructed picture: a trained `Reconstruct`, frozen, then a small convolutional network.

    Args:
        reconstruct: trained on the same rig.
        classes: names, in the order of the labels.
        widths: channels of the three scales of the network.
    """

    kind = "classify-reconstruction"

    def __init__(self, reconstruct: PictureTask, classes: tuple[str, ...], widths: tuple[int, int, int] = (16, 28, 48)):
        if not isinstance(reconstruct, PictureTask):
            raise ConfigurationError(
                f"task {self.kind!r}: got a task {reconstruct.kind!r} to look at, expected 'reconstruct'"
            )
        super().__init__(reconstruct.scene_shape, reconstruct.sensor_shape, classes, reconstruct.colours)
        self.widths = _widths(self.kind, "widths", widths)
        self.reconstruct = reconstruct.requires_grad_(False).eval()
        self.network = PictureClassifier(len(self.classes), self.widths, self.colours)

    def train(self, mode: bool = True) -> "ClassifyReconstruction":
        super().train(mode)
        self.reconstruct.eval()
        return self

    def settle(self, small: bool = False) -> str:
        notes = [self.reconstruct.settle(small), super().settle(small)]
        return "; ".join(note for note in notes if note)

    @property
    def reads(self) -> Tensor:
        return self.reconstruct.reads

    def prepare(self, y: Tensor) -> Tensor:
        """The reconstructed pictures, (B, 1, H, W), clamped to [0, 1]."""
        with torch.no_grad():
            return self.reconstruct(y).clamp(0, 1)

    def config(self) -> dict:
        return {
            "kind": self.kind, "reconstruct": self.reconstruct.config(), "classes": list(self.classes),
            "widths": list(self.widths), **sharing_of(self.network),
        }  # fmt: skip

    def numbers(self) -> Numbers:
        front = self.reconstruct.numbers()
        fitted = front.fitted_on_scenes + self._fitted()
        return Numbers(trainable(self.network), front.from_calibration, fitted, front.trainable)


def _widths(kind: str, name: str, widths: Sequence[int]) -> tuple[int, ...]:
    whole_number(kind, f"number of {name}", len(widths), 0, MOST_LAYERS)
    return tuple(whole_number(kind, name, width, 1, WIDEST) for width in widths)
