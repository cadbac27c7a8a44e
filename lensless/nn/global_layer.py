"""A learned first layer that sees the whole frame."""

import torch
from torch import Tensor, nn


class GlobalLayer(nn.Module):
    """All numbers of a frame to all numbers of a picture, through `rank` numbers in between.

    Each point of a scene lights the whole frame, so that a convolution, which sees a neighbourhood, cannot undo it. A
    matrix can, and one of low rank is compact: (inputs + outputs) rank + outputs numbers.

    Args:
        inputs: of a frame.
        rank: numbers in between.
        picture_shape: (C, H, W) of what goes out.
    """

    def __init__(self, inputs: int, rank: int, picture_shape: tuple[int, int, int]):
        super().__init__()
        self.picture_shape = tuple(picture_shape)
        outputs = picture_shape[0] * picture_shape[1] * picture_shape[2]
        self.gather = nn.Linear(inputs, rank, bias=False)
        self.spread = nn.Linear(rank, outputs)

    @torch.no_grad()
    def begin_with(self, matrix: Tensor, offset: Tensor) -> None:
        """Take the nearest map of this rank to x = matrix y + offset; `matrix` is (outputs, inputs)."""
        U, s, Vh = torch.linalg.svd(matrix.double(), full_matrices=False)
        rank = self.gather.out_features
        root = s[:rank].sqrt()
        self.gather.weight.copy_(root[:, None] * Vh[:rank])
        self.spread.weight.copy_(U[:, :rank] * root)
        self.spread.bias.copy_(offset)

    def forward(self, numbers: Tensor) -> Tensor:
        """(B, inputs) to (B, C, H, W), in float32 also under autocast: bfloat16 is coarser than the sensor's noise."""
        with torch.autocast(numbers.device.type, enabled=False):
            return self.spread(self.gather(numbers.float())).view(-1, *self.picture_shape)
