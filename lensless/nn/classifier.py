"""Classifiers: of numbers that are no picture, and of pictures."""

from collections.abc import Sequence

from torch import Tensor, nn


class NumbersClassifier(nn.Module):
    """Standardised numbers, mixed once, then residual blocks, then classes. No tensor in it is a picture.

    Args:
        numbers: that come in, (B, numbers).
        hidden: inner width of each residual block; the path between them is as wide as what comes in.
        classes: logits that go out, (B, classes).
        dropout: share of each inner layer that is left out while training.
    """

    def __init__(self, numbers: int, hidden: Sequence[int], classes: int, dropout: float = 0.0):
        super().__init__()
        # Mean and spread are fitted on the scenes, not by gradient descent.
        self.standardise = nn.BatchNorm1d(numbers, affine=False, momentum=0.01)
        self.layers = nn.Sequential(
            nn.Linear(numbers, numbers),
            *(ResidualMix(numbers, inner, dropout) for inner in hidden),
            nn.BatchNorm1d(numbers),
            nn.GELU(),
            nn.Linear(numbers, classes),
        )

    def forward(self, numbers: Tensor) -> Tensor:
        return self.layers(self.standardise(numbers.float()))


class ResidualMix(nn.Module):
    """x + a small network of x, (B, width), normalised before each step (He et al. 2016, doi as in `unet.py`)."""

    def __init__(self, width: int, inner: int, dropout: float = 0.0):
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(width),
            nn.GELU(),
            nn.Linear(width, inner),
            nn.BatchNorm1d(inner),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(inner, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class PictureClassifier(nn.Module):
    """Convolutions at a half, a quarter and an eighth of the scale, then the mean over the plane.

    Args:
        classes: logits that go out, (B, classes).
        widths: channels of the three scales.
        colours: of the pictures, (B, colours, H, W).
    """

    def __init__(self, classes: int, widths: tuple[int, int, int] = (16, 28, 48), colours: int = 1):
        super().__init__()
        first, second, third = widths
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),  # (B, 4 colours, H/2, W/2)
            *_convolution(4 * colours, first),
            *_convolution(first, first),
            nn.MaxPool2d(2),
            *_convolution(first, second),
            *_convolution(second, second),
            nn.MaxPool2d(2),
            *_convolution(second, third),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(third, classes),
        )

    def forward(self, picture: Tensor) -> Tensor:
        return self.layers(picture)


def _convolution(width_in: int, width_out: int) -> list[nn.Module]:
    return [nn.Conv2d(width_in, width_out, 3, padding=1, bias=False), nn.BatchNorm2d(width_out), nn.GELU()]
