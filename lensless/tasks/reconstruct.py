"""Reconstruct: a picture from one frame."""

import math

import torch
from torch import Tensor

from lensless.nn.projection import pixels_of
from lensless.nn.unet import UNet
from lensless.nn.unrolled import Consistency, Unrolled
from lensless.recon.wiener import SceneStatistics, wiener
from lensless.tasks.task import WIDEST, Numbers, Task, sides, trainable, whole_number

# Standard deviation of the error that a stage's guess is taken to have, in picture units: about 25 dB.
GUESS_STD = 0.055
MOST_STAGES = 32


class Reconstruct(Task):
    """Wiener's estimate of the picture, then a compact network that corrects it.

    Args:
        scene_shape, sensor_shape: of the rig; the sides of the scene are multiples of 4.
        stages: networks, with a step back to the measurement in between.
        width, deep_width: channels of each network at half and at a quarter of the picture's scale.
        reads: pixels of the frame that are read; all of them by default.

    Raises:
        ConfigurationError: a shape or a size that cannot be.
    """

    kind = "reconstruct"
    metric_name = "psnr_db"

    def __init__(
        self,
        scene_shape: tuple[int, int],
        sensor_shape: tuple[int, int],
        stages: int = 2,
        width: int = 32,
        deep_width: int = 24,
        reads: int | None = None,
    ):
        super().__init__()
        self.scene_shape = sides(self.kind, "scene_shape", scene_shape, multiple=4)
        self.sensor_shape = sides(self.kind, "sensor_shape", sensor_shape)
        self.stages = whole_number(self.kind, "stages", stages, 1, MOST_STAGES)
        self.width = whole_number(self.kind, "width", width, 1, WIDEST)
        self.deep_width = whole_number(self.kind, "deep_width", deep_width, 1, WIDEST)
        pixels, cells = math.prod(self.scene_shape), math.prod(self.sensor_shape)
        reads = whole_number(self.kind, "pixels that are read", cells if reads is None else reads, 1, cells)
        self.register_buffer("read_pixels", torch.arange(reads))
        self.register_buffer("wiener_matrix", torch.zeros(pixels, reads))
        self.register_buffer("wiener_offset", torch.zeros(pixels))
        networks = [UNet(1 if stage == 0 else 3, width, deep_width) for stage in range(stages)]
        self.network = Unrolled(networks, Consistency(pixels)).to(memory_format=torch.channels_last)

    @property
    def reads(self) -> Tensor:
        return self.read_pixels

    def fit(self, matrix: Tensor, noise_variance: Tensor, dark_level: float, pictures: SceneStatistics) -> None:
        """Set the fixed numbers.

        Args:
            matrix: of the forward model, (n, pixels), at the n pixels that are read.
            noise_variance: of each of them at the mean scene, white = 1, (n,).
            dark_level: radiance of a black pixel: x = dark_level + (1 - dark_level) picture.
            pictures: moments of the training pictures.
        """
        contrast = (1 - dark_level) * matrix.double()
        estimate = wiener(contrast, noise_variance, pictures)
        black = matrix.double().sum(1) * dark_level
        self.wiener_matrix.copy_(estimate.matrix)
        self.wiener_offset.copy_(estimate.offset - estimate.matrix.double() @ black)
        information = (contrast / noise_variance.double()[:, None]).T @ contrast
        self.network.consistency.set(information, pictures.regular_covariance, pictures.mean, GUESS_STD)

    def prepare(self, y: Tensor) -> Tensor:
        """Wiener's estimate of the pictures, (B, 1, H, W), not clamped."""
        with torch.autocast(y.device.type, enabled=False):  # bfloat16 is coarser than the noise of the sensor
            estimate = pixels_of(y, self.reads) @ self.wiener_matrix.T + self.wiener_offset
        return estimate.view(-1, 1, *self.scene_shape)

    def target(self, pictures: Tensor, labels: Tensor) -> Tensor:
        return pictures

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean log of each picture's squared error: what the mean PSNR is made of."""
        return (output - target).square().mean((1, 2, 3)).add(1e-5).log().mean()

    def metric(self, output: Tensor, target: Tensor) -> Tensor:
        """PSNR of each picture: range 1, estimates clamped to [0, 1]."""
        return psnr_db(output, target)

    def config(self) -> dict:
        return {
            "kind": self.kind, "scene_shape": list(self.scene_shape), "sensor_shape": list(self.sensor_shape),
            "stages": self.stages, "width": self.width, "deep_width": self.deep_width,
            "reads": len(self.reads),
        }  # fmt: skip

    def numbers(self) -> Numbers:
        fitted = [self.wiener_matrix, self.wiener_offset, *self.network.buffers()]
        return Numbers(trainable(self.network), len(self.reads), sum(buffer.numel() for buffer in fitted))


def psnr_db(estimates: Tensor, pictures: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each estimate (B, C, H, W), clamped to [0, 1], for the range 1."""
    error = (estimates.clamp(0, 1) - pictures).square().flatten(1).mean(1)
    return -10 * error.clamp_min(1e-12).log10()
