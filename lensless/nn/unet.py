"""A small residual U-Net for estimates of a picture."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardware.errors import ConfigurationError


class ResidualBlock(nn.Module):
    """x + conv(gelu(conv(gelu(x)))), without normalisation (He et al. 2016, doi 10.1007/978-3-319-46493-0_38)."""

    def __init__(self, width: int):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.gelu(self.first(F.gelu(x))))


class UNet(nn.Module):
    """Two scales, half and a quarter of the picture's (Ronneberger et al. 2015, doi 10.1007/978-3-319-24574-4_28).

    Pixels are folded into channels first, because convolutions over few, wide planes are what a CPU does fast. The last
    layer begins at zero: an untrained network adds nothing.

    Buffers: `level` and `spread`, numbers that inputs are seen about and in units of, and corrections given in; 0 and 1
    until `see_about`. Photographs, of half the light and little contrast, are hardly learned from otherwise.

    Args:
        channels: that come in: estimates of the picture, each with all of its colours.
        colours: of the correction that goes out.
        width: channels at half scale.
        deep_width: channels at a quarter of the scale.
    """

    def __init__(self, channels: int, width: int, deep_width: int, colours: int = 1):
        super().__init__()
        self.register_buffer("level", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))
        self.enter = nn.Conv2d(4 * channels, width, 3, padding=1)
        self.down_block = ResidualBlock(width)
        self.down = nn.Conv2d(width, deep_width, 2, stride=2)
        self.deep = ResidualBlock(deep_width)
        self.up = nn.Conv2d(deep_width, 4 * width, 1)
        self.up_block = ResidualBlock(width)
        self.leave = nn.Conv2d(width, 4 * colours, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def see_about(self, level: Tensor, spread: Tensor) -> None:
        """Mean and standard deviation of the pictures that come."""
        self.level.copy_(level)
        self.spread.copy_(spread)

    def check(self) -> None:
        """Raises ConfigurationError unless pictures are seen in units of something."""
        if not self.spread > 0:
            raise ConfigurationError(f"UNet: spread = {float(self.spread):g}; expected above 0")

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.level) / self.spread
        wide = self.down_block(self.enter(F.pixel_unshuffle(x, 2)))  # (B, width, H/2, W/2)
        deep = self.deep(self.down(wide))  # (B, deep_width, H/4, W/4)
        wide = self.up_block(wide + F.pixel_shuffle(self.up(deep), 2))
        return F.pixel_shuffle(self.leave(wide), 2) * self.spread  # (B, colours, H, W)
