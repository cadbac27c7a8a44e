"""A small residual network with normalisation before each convolution (He et al. 2016, arXiv 1603.05027)."""

import torch.nn.functional as F
from torch import Tensor, nn


class _Block(nn.Module):
    """Two 3 x 3 convolutions beside a connection that skips them."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        changes = stride != 1 or inputs != outputs
        self.skip = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        seen = F.relu(self.norm1(x))
        beside = x if self.skip is None else self.skip(seen)
        return beside + self.conv2(F.relu(self.norm2(self.conv1(seen))))


class PreactivationNet(nn.Module):
    """Pictures (B, C, H, W) to logits (B, classes): three stages of width w, 2 w, 4 w.

    Args:
        width: channels of the first stage.
        blocks: in each stage; of two convolutions each.
        classes: how many.
        channels: of the pictures.
        stem_stride: of the first convolution, 2 for pictures of a single character.
    """

    def __init__(self, width: int = 12, blocks: int = 2, classes: int = 36, channels: int = 1, stem_stride: int = 2):
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, stem_stride, 1, bias=False)
        layers, inputs = [], width
        for stage in range(3):
            outputs = width * 2**stage
            for block in range(blocks):
                layers.append(_Block(inputs, outputs, 2 if stage and not block else 1))
                inputs = outputs
        self.blocks = nn.Sequential(*layers)
        self.norm = nn.BatchNorm2d(inputs)
        self.head = nn.Linear(inputs, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.norm(self.blocks(self.stem(x)))).mean((2, 3)))
