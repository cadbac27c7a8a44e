"""A few fixed numbers of a frame."""

import torch
from torch import Tensor, nn


class Projection(nn.Module):
    """The first step of a private classifier: `count` fixed sums over the pixels that are read.

    Buffers: `reads` (n,) flat indices of the pixels that are read, `matrix` (count, n).
    """

    def __init__(self, count: int, reads: int):
        super().__init__()
        self.register_buffer("reads", torch.zeros(reads, dtype=torch.int64))
        self.register_buffer("matrix", torch.zeros(count, reads))

    def forward(self, y: Tensor) -> Tensor:
        """(B, count) from whole measurements (B, 1, H', W'), or from the pixels that are read, (B, 1, n)."""
        return pixels_of(y, self.reads) @ self.matrix.T


def pixels_of(y: Tensor, reads: Tensor) -> Tensor:
    """(B, n) pixels at the flat indices `reads` (n,) of whole measurements (B, 1, H', W'), or those read, (B, 1, n)."""
    flat = y.flatten(1)
    return flat[:, reads] if y.ndim == 4 else flat
