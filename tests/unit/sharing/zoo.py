"""Networks of all kinds to share."""

import torch
from torch import Tensor, nn

from lensless.nn.unet import UNet


class Mixed(nn.Module):
    """Every kind of layer that can be shared and some that cannot; sizes that nest and that do not; skips that are put
    side by side."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.wide = nn.Conv2d(16, 20, 3, padding=1)
        self.again = nn.Conv2d(20, 20, 3, padding=1)
        self.joined = nn.Conv2d(36, 24, 3, padding=1)
        self.narrow = nn.Conv2d(24, 13, 3, padding=1)
        self.up = nn.ConvTranspose2d(13, 29, 3, padding=1)
        self.groups = nn.GroupNorm(29, 29)
        self.depthwise = nn.Conv2d(29, 29, 3, padding=1, groups=29)
        self.point = nn.Conv2d(29, 40, 1)
        self.line = nn.Conv1d(40, 33, 3, padding=1)
        self.mix = nn.Linear(33, 47)
        self.head = nn.Linear(47, 10)

    def forward(self, x: Tensor) -> Tensor:
        begin = self.norm(self.stem(x)).relu()
        x = self.again(self.wide(begin).relu()).relu()
        x = self.narrow(self.joined(torch.cat([x, begin], 1)).relu())
        x = self.point(self.depthwise(self.groups(self.up(x))))
        x = self.line(x.flatten(2)).mean(2).relu()
        return self.head(self.mix(x).relu())


class Deep(nn.Module):
    """Layers of one shape between a first and a last one, without norms."""

    def __init__(self, width: int = 16, depth: int = 6, transposed: bool = False):
        super().__init__()
        kind = nn.ConvTranspose2d if transposed else nn.Conv2d
        self.enter = nn.Conv2d(3, width, 3, padding=1)
        self.layers = nn.Sequential(*(kind(width, width, 3, padding=1) for _ in range(depth)))
        self.leave = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.layers(self.enter(x)).relu())


class Often(nn.Module):
    """One layer that is used again and again."""

    def __init__(self):
        super().__init__()
        self.enter, self.layer, self.other = nn.Linear(16, 40), nn.Linear(40, 40), nn.Linear(40, 40)
        self.leave = nn.Linear(40, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x[:, 0, :4, :4].flatten(1))
        for _ in range(3):
            x = x + self.other(self.layer(x).tanh())
        return self.leave(x)


NETWORKS = {"mixed": Mixed, "deep": Deep, "transposed": lambda: Deep(transposed=True), "often": Often,
            "unet": lambda: UNet(3, 24, 18)}  # fmt: skip
METHODS = ("cells", "soft", "ssn", "superweights", "tiles")


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    network = NETWORKS[name]()
    for parameter in network.parameters():  # a U-Net's last layer begins at zero, and would hide all before it
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return network


def picture(dtype=torch.float32) -> Tensor:
    return torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(1)).to(dtype)


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
