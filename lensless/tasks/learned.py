"""Reconstruct with a first layer that is learned: for rigs whose physics nobody has written down."""

import math

import torch
from torch import Tensor, nn

from hardware.errors import ConfigurationError
from lensless.nn.global_layer import GlobalLayer
from lensless.nn.projection import pixels_of
from lensless.nn.unet import UNet
from lensless.recon.wiener import LinearEstimate, SceneStatistics
from lensless.tasks.losses import DEFAULT
from lensless.tasks.picture import PixelsTask
from lensless.tasks.task import WIDEST, Numbers, trainable, whole_number

MOST_RANK = 4096


class ReconstructLearned(PixelsTask):
    """A learned global layer of stated rank from the frame to a picture, then a compact network that corrects it.

    Args:
        scene_shape, sensor_shape: of the rig; the sides of the scene are multiples of 4.
        rank: of the global layer, at most the numbers of a picture.
        width, deep_width: channels of the network at half and at a quarter of the picture's scale.
        reads: pixels of the frame that are read; all of them by default.
        colours, loss: see `PictureTask`.

    Raises:
        ConfigurationError: a shape or a size that cannot be.
    """

    kind = "reconstruct-learned"

    def __init__(
        self,
        scene_shape: tuple[int, int],
        sensor_shape: tuple[int, int],
        rank: int = 16,
        width: int = 16,
        deep_width: int = 16,
        reads: int | None = None,
        colours: int = 1,
        loss: str = DEFAULT,
    ):
        super().__init__(scene_shape, sensor_shape, reads, colours, loss)
        self.rank = whole_number(self.kind, "rank", rank, 1, min(MOST_RANK, math.prod(self.picture_shape)))
        self.width = whole_number(self.kind, "width", width, 1, WIDEST)
        self.deep_width = whole_number(self.kind, "deep_width", deep_width, 1, WIDEST)
        self.register_buffer("mean", torch.zeros(len(self.reads)))
        self.register_buffer("spread", torch.ones(()))
        first = GlobalLayer(len(self.reads), rank, self.picture_shape)
        self.network = _Corrected(first, UNet(colours, width, deep_width, colours))

    def fit(self, mean: Tensor, spread: float, pictures: SceneStatistics, begin: LinearEstimate | None = None) -> None:
        """Set the fixed numbers, and where learning begins.

        Args:
            mean: of the pixels that are read over the training scenes, white = 1, (n,); `spread` about it, one number.
            pictures: moments of the training pictures.
            begin: an estimate from those pixels whose nearest one of this rank is learned on; None: from chance.
        """
        self.mean.copy_(mean)
        self.spread.fill_(spread)
        self.network.correct.see_about(pictures.level, pictures.spread)
        if begin is not None:
            offset = begin.offset + begin.matrix @ mean
            self.network.first.begin_with(begin.matrix * spread, offset)

    def check(self) -> None:
        super().check()
        if not self.spread > 0:
            raise ConfigurationError(f"task {self.kind!r}: spread = {float(self.spread):g}; expected above 0")

    def prepare(self, y: Tensor) -> Tensor:
        """The pixels that are read, about their mean, in units of their spread, (B, n)."""
        return (pixels_of(y, self.reads) - self.mean) / self.spread

    def _sizes(self) -> dict:
        return {"rank": self.rank, "width": self.width, "deep_width": self.deep_width, "reads": len(self.reads)}

    def numbers(self) -> Numbers:
        return Numbers(trainable(self.network), len(self.reads), self.mean.numel() + 3)


class _Corrected(nn.Module):
    def __init__(self, first: nn.Module, correct: nn.Module):
        super().__init__()
        self.first, self.correct = first, correct.to(memory_format=torch.channels_last)

    def forward(self, numbers: Tensor) -> Tensor:
        estimate = self.first(numbers)
        return estimate + self.correct(estimate).float()
