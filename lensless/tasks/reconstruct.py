"""Reconstruct: a picture from one frame, beginning with what the physics says."""

import math

import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.nn.projection import pixels_of
from lensless.nn.unet import UNet
from lensless.nn.unrolled import Consistency, SharedStages, Unrolled
from lensless.recon.wiener import SceneStatistics, wiener
from lensless.tasks.losses import DEFAULT
from lensless.tasks.picture import PixelsTask
from lensless.tasks.task import WIDEST, Numbers, fixed_numbers, trainable, whole_number

# Standard deviation of the error that a stage's guess is taken to have, in picture units: about 25 dB.
GUESS_STD = 0.055
MOST_STAGES = 32
MOST_NUMBERS = 6144  # of a picture, for a step back to the measurement, which takes two matrices of its square


class Reconstruct(PixelsTask):
    """Wiener's estimate of the picture, then a compact network that corrects it.

    Args:
        scene_shape, sensor_shape: of the rig; the sides of the scene are multiples of 4.
        stages: networks, with a step back to the measurement in between.
        width, deep_width: channels of each network at half and at a quarter of the picture's scale.
        reads: pixels of the frame that are read; all of them by default.
        colours, loss: see `PictureTask`.
        shared: one network for all stages.

    Raises:
        ConfigurationError: a shape or a size that cannot be.
    """

    kind = "reconstruct"

    def __init__(
        self,
        scene_shape: tuple[int, int],
        sensor_shape: tuple[int, int],
        stages: int = 6,
        width: int = 16,
        deep_width: int = 12,
        reads: int | None = None,
        colours: int = 1,
        loss: str = DEFAULT,
        shared: bool = False,
    ):
        super().__init__(scene_shape, sensor_shape, reads, colours, loss)
        self.stages = whole_number(self.kind, "stages", stages, 1, MOST_STAGES)
        self.width = whole_number(self.kind, "width", width, 1, WIDEST)
        self.deep_width = whole_number(self.kind, "deep_width", deep_width, 1, WIDEST)
        self.shared = shared
        numbers = math.prod(self.picture_shape)
        if stages > 1 and numbers > MOST_NUMBERS:
            raise ConfigurationError(
                f"task {self.kind!r}: {stages} stages for pictures of {numbers} numbers; a step back to the "
                f"measurement is made for at most {MOST_NUMBERS}: take --stages 1"
            )
        self.register_buffer("wiener_matrix", torch.zeros(numbers, len(self.reads)))
        self.register_buffer("wiener_offset", torch.zeros(numbers))
        consistency = Consistency(numbers) if stages > 1 else None
        if shared:
            network = SharedStages(UNet(3 * colours, width, deep_width, colours), stages, consistency)
        else:
            seen = [colours] + [3 * colours] * (stages - 1)
            network = Unrolled([UNet(channels, width, deep_width, colours) for channels in seen], consistency)
        self.network = network.to(memory_format=torch.channels_last)

    def fit(self, matrix: Tensor, noise_variance: Tensor, dark_level: float, pictures: SceneStatistics) -> None:
        """Set the fixed numbers.

        Args:
            matrix: of the forward model, (n, C pixels), at the n pixels that are read.
            noise_variance: of each of them at the mean scene, white = 1, (n,).
            dark_level: radiance of a black pixel: x = dark_level + (1 - dark_level) picture.
            pictures: moments of the training pictures.
        """
        contrast = (1 - dark_level) * matrix.double()
        estimate = wiener(contrast, noise_variance, pictures)
        black = matrix.double().sum(1) * dark_level
        self.wiener_matrix.copy_(estimate.matrix)
        self.wiener_offset.copy_(estimate.offset - estimate.matrix.double() @ black)
        for stage in [self.network.stage] if self.shared else self.network.stages:
            stage.see_about(pictures.level, pictures.spread)
        if self.stages > 1:
            information = (contrast / noise_variance.double()[:, None]).T @ contrast
            self.network.consistency.set(information, pictures.regular_covariance, pictures.mean, GUESS_STD)

    def prepare(self, y: Tensor) -> Tensor:
        """Wiener's estimate of the pictures, (B, C, H, W), not clamped."""
        with torch.autocast(y.device.type, enabled=False):  # bfloat16 is coarser than the noise of the sensor
            estimate = pixels_of(y, self.reads) @ self.wiener_matrix.T + self.wiener_offset
        return estimate.view(-1, *self.picture_shape)

    def _sizes(self) -> dict:
        sizes = {"stages": self.stages, "width": self.width, "deep_width": self.deep_width}
        return sizes | {"reads": len(self.reads)} | ({"shared": True} if self.shared else {})

    def numbers(self) -> Numbers:
        fitted = self.wiener_matrix.numel() + self.wiener_offset.numel() + fixed_numbers(self.network)
        return Numbers(trainable(self.network), len(self.reads), fitted)
