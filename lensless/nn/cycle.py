"""A self-consistent network: the inverse of a camera learned together with the camera.

F makes pictures of frames, G frames of pictures, and each must undo the other. After the network of Nelson and Menon
(Optica 9, 26, 2022, of which the abstract could be read) as its authors' laboratory published it in code,
theMenonlab/CCM_project: widths 64-128-256-256 down and 256-128-64 up, convolutions of 3 x 3 with dilation 2, instance
normalisation, reflected rims, 1, 2 and 1 residual blocks, no skips; a least-squares adversary (LSGAN) and 100 times the
mean absolute errors, of both directions and of both cycles. The adversary's own layers are not stated where we could
look: it is a small PatchGAN here (Isola et al. 2017, doi 10.1109/CVPR.2017.632).
"""

import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

ABSOLUTE = 100.0  # weight of the mean absolute errors beside the adversary's


class Translator(nn.Module):
    """One direction: planes (B, channels_in, S, S) to (B, channels_out, S, S) in (0, 1); S is a multiple of 8.

    Args:
        channels_in, channels_out: of the two kinds of planes.
        width: of the first scale; published: 64.
    """

    def __init__(self, channels_in: int, channels_out: int, width: int = 64):
        super().__init__()
        first, second, third = width, 2 * width, 4 * width
        self.layers = nn.Sequential(
            *_convolution(channels_in, first),
            *_convolution(first, second, stride=2),
            *_convolution(second, third, stride=2),
            _Residual(third),
            *_convolution(third, third, stride=2),  # (B, 4 width, S/8, S/8)
            _Residual(third),
            _Residual(third),
            *_larger(third, third),
            _Residual(third),
            *_larger(third, second),
            *_larger(second, first),
            nn.Conv2d(first, channels_out, 3, padding=1, padding_mode="reflect"),
            nn.Sigmoid(),
        )

    def forward(self, planes: Tensor) -> Tensor:
        return self.layers(planes)


class Adversary(nn.Module):
    """How real each patch of pictures (B, C, S, S) looks: 1 real, 0 made, (B, 1, S/4, S/4)."""

    def __init__(self, channels: int, width: int = 64):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.InstanceNorm2d(2 * width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 3, padding=1),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        return self.layers(pictures)


class Cycle(nn.Module):
    """Both directions and the adversary of the pictures, on planes of one side S.

    Args:
        colours: of the pictures; frames have one channel.
        width: see `Translator`.
        forward_cycle: weight of G(F(frame)) against the frame; backward_cycle: of F(G(picture)) against the picture.
    """

    def __init__(self, colours: int = 1, width: int = 64, forward_cycle: float = 1.0, backward_cycle: float = 1.0):
        super().__init__()
        self.to_picture = Translator(1, colours, width)
        self.to_frame = Translator(colours, 1, width)
        self.adversary = Adversary(colours, width)
        self.forward_cycle, self.backward_cycle = forward_cycle, backward_cycle

    def forward(self, frames: Tensor, pictures: Tensor | None = None) -> Tensor:
        """Pictures of frames (B, 1, S, S); with the true `pictures` (B, C, S, S), what training lowers, a scalar.

        Translators and adversary are trained in one step: each term reaches the numbers of one of them only.
        """
        made = self.to_picture(frames)
        if pictures is None:
            return made.float()
        shown = self.to_frame(pictures)
        absolute = F.l1_loss(made, pictures) + F.l1_loss(shown, frames)
        absolute = absolute + self.forward_cycle * F.l1_loss(self.to_frame(made), frames)
        absolute = absolute + self.backward_cycle * F.l1_loss(self.to_picture(shown), pictures)
        frozen = {name: value.detach() for name, value in self.adversary.named_parameters()}
        fooled = (functional_call(self.adversary, frozen, (made,)) - 1).square().mean()
        right = (self.adversary(pictures) - 1).square().mean() + self.adversary(made.detach()).square().mean()
        return fooled + ABSOLUTE * absolute + right / 2


class _Residual(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            *_convolution(width, width), _dilated(width, width), nn.InstanceNorm2d(width, affine=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _convolution(width_in: int, width_out: int, stride: int = 1) -> list[nn.Module]:
    return [_dilated(width_in, width_out, stride), nn.InstanceNorm2d(width_out, affine=True), nn.ReLU()]


def _larger(width_in: int, width_out: int) -> list[nn.Module]:
    return [nn.Upsample(scale_factor=2), *_convolution(width_in, width_out)]


def _dilated(width_in: int, width_out: int, stride: int = 1) -> nn.Module:
    return nn.Conv2d(width_in, width_out, 3, stride, padding=2, dilation=2, padding_mode="reflect", bias=False)
