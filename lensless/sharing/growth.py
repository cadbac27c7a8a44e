"""Growing: two trained half networks become one, with connections between them (Pham et al., WACV 2024, arXiv 2311.04251).

Both halves run at once, one behind the other in the batch: what works on each sample alone (activations, pooling,
concatenation, resizing) needs no change, and every norm sees the numbers that it saw before. A layer of halves a and b is

    [y_a]   [W_a   C_ab] [x_a]
    [y_b] = [C_ba  W_b ] [x_b]

in which each C mixes the templates that its outputs' half already has. With C = 0 the grown network gives just what the
two halves give together.
"""

import contextlib
import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardware.errors import ConfigurationError
from lensless.sharing.network import SharedNetwork
from lensless.sharing.weights import STRAIGHT, TRANSPOSED, place

CROSS = ("zero", "orthogonal", "random", "copy")
COMBINE = ("sum", "mean")


class Halves(nn.Module):
    """One layer of two networks whose samples lie behind one another in the batch: each half goes through its own."""

    def __init__(self, first: nn.Module, second: nn.Module):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2)
        return torch.cat([self.first(a), self.second(b)])


class Crossed(Halves):
    """The same, each half also fed with the other's numbers: one layer of twice the width.

    Its `weight` (both outputs, both inputs, *kernel), as layers of its kind store it, is put there by `Grown`.
    """

    def forward(self, x: Tensor) -> Tensor:
        wide = torch.cat(x.chunk(2), 1 if x.ndim > 2 or not isinstance(self.first, nn.Linear) else -1)
        out = _apply(self.first, wide, self.weight, self._bias())
        axis = -1 if isinstance(self.first, nn.Linear) else 1
        return torch.cat(out.chunk(2, axis))

    def _bias(self) -> Tensor | None:
        return None if self.first.bias is None else torch.cat([self.first.bias, self.second.bias])


def _apply(layer: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight, bias)
    if isinstance(layer, STRAIGHT):
        return layer._conv_forward(x, weight, bias)
    run = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[weight.ndim - 2]
    return run(x, weight, bias, layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation)
