"""Augmentation of the scene, before the camera sees it: shift, turn, scale, shear and a smooth warp.

A shifted frame is not the frame of a shifted scene, so scenes are moved first and simulated afterwards. All randomness
comes in as a table of uniform numbers whose row i depends on (seed, epoch, i) alone: workers and batch sizes cannot
change what a picture becomes.
"""

import functools
import math
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hardware.errors import ConfigurationError

CONTROLS = 4  # the warp has 4 x 4 control points
RANDOMS_PER_PICTURE = 5 + 2 * CONTROLS**2  # shift x, shift y, turn, scale, shear, then the warp's x and y
_AT_ONCE = 4096  # floats of a whole data set never exist
_STREAM = 0x0A06  # keeps this stream apart from others that are drawn from the same (seed, epoch)


@dataclass(frozen=True)
class Augmentation:
    """How far a picture may be moved; every value is the end of a range that is symmetric about nothing.

    `shift_px` each way; `turn_deg`; `scale` the natural logarithm of the size; `shear` in pixels across per pixel down;
    `warp_px` the displacement at the control points of the warp (it may overshoot by a fifth between them).
    """

    shift_px: float = 2.0
    turn_deg: float = 10.0
    scale: float = 0.1
    shear: float = 0.1
    warp_px: float = 1.0

    def times(self, share: float) -> "Augmentation":
        """The same, so many times as far."""
        return Augmentation(**{field.name: share * getattr(self, field.name) for field in fields(self)})

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigurationError(f"augmentation: {field.name} is {value}, expected a finite number from 0 up")


def sample_randoms(seed: int, epoch: int, count: int, per_picture: int = RANDOMS_PER_PICTURE) -> Tensor:
    """Uniform numbers in [0, 1) for one epoch, (count, per_picture) float32; row i depends on (seed, epoch, i) only."""
    generator = np.random.default_rng((seed, epoch, _STREAM))
    return torch.from_numpy(generator.random((count, per_picture), dtype=np.float32))


def augment(pictures: Tensor, randoms: Tensor, augmentation: Augmentation) -> Tensor:
    """Pictures moved at random; what comes in from outside is black.

    Args:
        pictures: (B, C, H, W) float, on any device.
        randoms: (B, K) uniform in [0, 1), K at least `RANDOMS_PER_PICTURE`; further columns are not looked at.

    Raises:
        ValueError: shapes that do not belong together.
    """
    if pictures.ndim != 4 or randoms.ndim != 2 or len(pictures) != len(randoms):
        got = f"{tuple(pictures.shape)} and {tuple(randoms.shape)}"
        raise ValueError(f"pictures and randoms have shapes {got}, expected (B, C, H, W) and (B, K)")
    if randoms.shape[1] < RANDOMS_PER_PICTURE:
        raise ValueError(f"randoms have {randoms.shape[1]} columns, expected at least {RANDOMS_PER_PICTURE}")
    signed = randoms.to(pictures.device, torch.float32) * 2 - 1
    grid = sampling_grid(
        pictures.shape[-2:],
        shift_px=signed[:, :2] * augmentation.shift_px,
        turn_rad=signed[:, 2] * math.radians(augmentation.turn_deg),
        log_scale=signed[:, 3] * augmentation.scale,
        shear=signed[:, 4] * augmentation.shear,
        warp_px=signed[:, 5:RANDOMS_PER_PICTURE] * augmentation.warp_px,
    )
    return F.grid_sample(pictures.float(), grid, align_corners=False).to(pictures.dtype)


def moved(pictures: Tensor, right_px: float = 0.0, down_px: float = 0.0, turn_deg: float = 0.0) -> Tensor:
    """Pictures (N, C, H, W) uint8, turned (clockwise as seen) about their centre, then shifted; outside is black."""
    grid = sampling_grid(
        pictures.shape[-2:],
        shift_px=torch.tensor([[right_px, down_px]]),
        turn_rad=torch.tensor([math.radians(turn_deg)]),
        log_scale=torch.zeros(1),
        shear=torch.zeros(1),
        warp_px=torch.zeros(1, 2 * CONTROLS**2),
    )
    blocks = (
        F.grid_sample(block.float(), grid.expand(len(block), -1, -1, -1), align_corners=False)
        for block in pictures.split(_AT_ONCE)
    )
    return torch.cat([block.round().to(torch.uint8) for block in blocks])


def sampling_grid(
    shape: tuple[int, int], *, shift_px: Tensor, turn_rad: Tensor, log_scale: Tensor, shear: Tensor, warp_px: Tensor
) -> Tensor:
    """Where each pixel of a moved picture is read, in grid_sample's coordinates (align_corners=False).

    The picture is sheared, turned (clockwise as seen), scaled about its centre, then shifted; the grid is the inverse
    of that, plus the warp.

    Args:
        shape: H, W of the result.
        shift_px: (B, 2), right and down.
        turn_rad, log_scale, shear: (B,).
        warp_px: (B, 2 * CONTROLS**2), horizontal displacements first.

    Returns:
        (B, H, W, 2) float32.
    """
    height, width = shape
    x = (torch.arange(width, device=shift_px.device) - (width - 1) / 2)[None, None, :]  # 1 1 W
    y = (torch.arange(height, device=shift_px.device) - (height - 1) / 2)[None, :, None]  # 1 H 1
    cos, sin = (f(turn_rad) * torch.exp(-log_scale) for f in (torch.cos, torch.sin))
    rows = ((cos + shear * sin, sin - shear * cos), (-sin, cos))  # inverse of scale * turn * shear
    warp = warp_px.reshape(-1, CONTROLS**2) @ _warp_basis(height, width, shift_px.device)  # 2B HW
    warp = warp.float().view(-1, 2, height, width)
    # Element by element and not as a matrix product: those may run in TF32 or bfloat16, which is a tenth of a pixel.
    axes = []
    for axis, ((a, b), extent) in enumerate(zip(rows, (width, height), strict=True)):
        c = -(a * shift_px[:, 0] + b * shift_px[:, 1])
        a, b, c = (2 / extent * factor[:, None, None] for factor in (a, b, c))
        axes.append(torch.add(a * x + (b * y + c), warp[:, axis], alpha=2 / extent))
    return torch.stack(axes, dim=-1)  # B H W 2


@functools.lru_cache(maxsize=16)
def _warp_basis(height: int, width: int, device: torch.device) -> Tensor:
    """(CONTROLS**2, H * W): the bicubic bump of each control point, so that a warp is one small matrix product."""
    points = torch.eye(CONTROLS**2, device=device).view(-1, 1, CONTROLS, CONTROLS)
    return F.interpolate(points, (height, width), mode="bicubic", align_corners=True).view(CONTROLS**2, -1)
