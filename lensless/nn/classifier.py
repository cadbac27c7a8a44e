"""Classifiers: of numbers that are no picture, and of pictures."""

from collections.abc import Sequence

from torch import Tensor, nn


class NumbersClassifier(nn.Module):
    """Standardised numbers, hidden layers, classes. No tensor in it is a picture.

    Args:
        numbers: that come in, (B, numbers).
        hidden: widths of the hidden layers.
        classes: logits that go out, (B, classes).
        dropout: share of each hidden layer that is left out while training.
    """

    def __init__(self, numbers: int, hidden: Sequence[int], classes: int, dropout: float = 0.0):
        super().__init__()
        # Mean and spread are fitted on the scenes, not by gradient descent.
        self.standardise = nn.BatchNorm1d(numbers, affine=False, momentum=0.01)
        layers: list[nn.Module] = []
        for width_in, width_out in zip([numbers, *hidden], hidden, strict=False):
            layers += [nn.Linear(width_in, width_out), nn.LayerNorm(width_out), nn.GELU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden[-1] if hidden else numbers, classes))

    def forward(self, numbers: Tensor) -> Tensor:
        return self.layers(self.standardise(numbers.float()))


class PictureClassifier(nn.Module):
    """Convolutions at a half, a quarter and an eighth of the scale, then the mean over the plane.

    Args:
        classes: logits that go out, (B, classes).
        widths: channels of the three scales.
    """

    def __init__(self, classes: int, widths: tuple[int, int, int] = (16, 28, 48)):
        super().__init__()
        first, second, third = widths
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(2),  # (B, 4, H/2, W/2)
            *_convolution(4, first),
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
