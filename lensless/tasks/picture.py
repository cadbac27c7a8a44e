"""What all tasks share that give a picture."""

import abc
import math

import torch
from torch import Tensor

from lensless.tasks.losses import DEFAULT, loss_named
from lensless.tasks.task import Task, checked_colours, in_colours, sharing_of, sides, whole_number


class PictureTask(Task):
    """A picture (B, C, H, W) from one measurement, black = 0, white = 1, not clamped.

    Args:
        scene_shape, sensor_shape: of the rig; the sides of the scene are multiples of 4.
        colours: of a picture, 1 or 3.
        loss: see `lensless.tasks.losses`.

    Raises:
        ConfigurationError: a shape, a size or a loss that cannot be.
    """

    metric_name = "psnr_db"

    def __init__(self, scene_shape: tuple[int, int], sensor_shape: tuple[int, int], colours: int, loss: str = DEFAULT):
        super().__init__()
        self.scene_shape = sides(self.kind, "scene_shape", scene_shape, multiple=4)
        self.sensor_shape = sides(self.kind, "sensor_shape", sensor_shape)
        self.colours = checked_colours(self.kind, colours)
        self.loss_name, self._loss = loss, loss_named(loss)

    def target(self, pictures: Tensor, labels: Tensor) -> Tensor:
        return pictures

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return self._loss(output, target)

    def metric(self, output: Tensor, target: Tensor) -> Tensor:
        """PSNR of each picture: range 1, estimates clamped to [0, 1]."""
        return psnr_db(output, target)

    def config(self) -> dict:
        loss = {} if self.loss_name == DEFAULT else {"loss": self.loss_name}
        return {
            "kind": self.kind, "scene_shape": list(self.scene_shape), "sensor_shape": list(self.sensor_shape),
            **self._sizes(), **in_colours(self.colours), **loss, **sharing_of(self.network),
        }  # fmt: skip

    @abc.abstractmethod
    def _sizes(self) -> dict:
        """What else `config` says."""


class PixelsTask(PictureTask):
    """One that reads some pixels of the frame, `reads` of them; all by default.

    Buffers: `read_pixels` (n,), their flat indices.
    """

    def __init__(
        self,
        scene_shape: tuple[int, int],
        sensor_shape: tuple[int, int],
        reads: int | None,
        colours: int,
        loss: str,
    ):
        super().__init__(scene_shape, sensor_shape, colours, loss)
        cells = math.prod(self.sensor_shape)
        reads = whole_number(self.kind, "pixels that are read", cells if reads is None else reads, 1, cells)
        self.register_buffer("read_pixels", torch.arange(reads))

    @property
    def reads(self) -> Tensor:
        return self.read_pixels


def psnr_db(estimates: Tensor, pictures: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each estimate (B, C, H, W), clamped to [0, 1], for the range 1."""
    error = (estimates.clamp(0, 1) - pictures).square().flatten(1).mean(1)
    return -10 * error.clamp_min(1e-12).log10()
