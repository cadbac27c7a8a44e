"""Reconstruct by a self-consistent network: see `lensless.nn.cycle`. It knows nothing of the rig but its frames."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardware.errors import ConfigurationError
from lensless.nn.cycle import Cycle
from lensless.tasks.picture import PictureTask
from lensless.tasks.task import WIDEST, Numbers, trainable, whole_number

SMALLEST_SIDE = 24  # of the planes: their eighth must hold the rim that a dilated convolution reflects
LARGEST_SIDE = 128  # unless somebody asks for more: as published
ADVERSARY_RATE = 0.1  # of its steps beside the translators': 2e-5 and 2e-4 as published


class ReconstructCycle(PictureTask):
    """Pictures by a network that learns the camera and its inverse together.

    Frame and picture are brought to planes of one side: the frame by area averages, or enlarged, the picture likewise.

    Args:
        scene_shape, sensor_shape: of the rig; the sides of the scene are multiples of 4.
        side: of the planes, a multiple of 8; by default the longest of scene and sensor, at most the published 128.
        width: of the first scale; published: 64.
        backward_cycle: weight of picture to frame to picture: 1 by the authors' README, 0.1 by their code.
        colours: see `PictureTask`.

    Raises:
        ConfigurationError: a shape or a size that cannot be.
    """

    kind = "reconstruct-cycle"
    unshared = ("adversary",)

    def __init__(
        self,
        scene_shape: tuple[int, int],
        sensor_shape: tuple[int, int],
        side: int | None = None,
        width: int = 64,
        backward_cycle: float = 1.0,
        colours: int = 1,
    ):
        super().__init__(scene_shape, sensor_shape, colours)
        if side is None:
            longest = max(*self.scene_shape, *self.sensor_shape)
            side = min(LARGEST_SIDE, max(SMALLEST_SIDE, longest // 8 * 8))
        self.side = whole_number(self.kind, "side", side, SMALLEST_SIDE, WIDEST)
        if side % 8:
            raise ConfigurationError(f"task {self.kind!r}: side = {side}; expected a multiple of 8")
        self.width = whole_number(self.kind, "width", width, 1, WIDEST)
        self.backward_cycle = backward_cycle
        self.register_buffer("dark", torch.zeros(()))
        self.register_buffer("bright", torch.ones(()))
        self.network = Cycle(colours, width, backward_cycle=backward_cycle).to(memory_format=torch.channels_last)

    def fit(self, y: Tensor) -> None:
        """Set the light that frames (B, 1, H', W') of training scenes begin and end with: black and white to it."""
        planes = self._plane(y)
        self.dark.fill_(float(planes.min()))
        self.bright.fill_(float(planes.max()))

    def check(self) -> None:
        super().check()
        if not self.bright > self.dark:
            raise ConfigurationError(
                f"task {self.kind!r}: bright = {float(self.bright):g}; expected above dark = {float(self.dark):g}"
            )

    def prepare(self, y: Tensor) -> Tensor:
        """The frames as planes (B, 1, S, S) of about 0 to 1."""
        return (self._plane(y) - self.dark) / (self.bright - self.dark)

    def forward(self, y: Tensor) -> Tensor:
        return self._back(self.network(self.prepare(y)))

    def training_loss(self, network: nn.Module, inputs: Tensor, target: Tensor) -> Tensor:
        return network(inputs, self._plane(target))

    def metric(self, output: Tensor, target: Tensor) -> Tensor:
        return super().metric(self._back(output), target)

    def parameter_groups(self) -> list[dict]:
        adversary = list(self.network.adversary.parameters())
        groups = [
            group | {"params": [one for one in group["params"] if all(one is not other for other in adversary)]}
            for group in super().parameter_groups()
        ]
        return [*groups, {"params": adversary, "rate_share": ADVERSARY_RATE}]

    def _sizes(self) -> dict:
        return {"side": self.side, "width": self.width, "backward_cycle": self.backward_cycle}

    def numbers(self) -> Numbers:
        """Half of the translators and the adversary serve the training only."""
        return Numbers(trainable(self.network), 0, 2)

    def _plane(self, image: Tensor) -> Tensor:
        return _resized(image, (self.side, self.side))

    def _back(self, planes: Tensor) -> Tensor:
        return planes if planes.shape[-2:] == self.scene_shape else _resized(planes, self.scene_shape)


def _resized(image: Tensor, shape: tuple[int, int]) -> Tensor:
    """By area where it becomes smaller, else bilinear; in float32."""
    if math.prod(shape) < image.shape[-2] * image.shape[-1]:
        return F.adaptive_avg_pool2d(image.float(), shape)
    return F.interpolate(image.float(), shape, mode="bilinear", align_corners=False)
