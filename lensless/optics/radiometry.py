"""How much light a bare pixel takes from a point of the scene: distances, angles, the window, a thin layer.

A point of a plane scene sends a pixel the light L cos(a)^(1 + g) cos(t) / r^2 per area: a is its angle from the normal
of the scene, t from that of the sensor, r the distance and g the emission exponent. The pixel's response multiplies it.
"""

import dataclasses
import math

import torch
from torch import Tensor

from lensless.optics.glass import window_transmittance
from lensless.optics.pose import Pose

_SMALLEST_HARMONIC = 1e-9  # of the fringes of a layer; below, they are left out


@dataclasses.dataclass(frozen=True)
class Layer:
    """A thin layer on the pixels whose two faces make fringes; see `CoverGlassSpec`."""

    reflectance: float
    thickness_um: float
    index: float
    wedge_mrad: float
    azimuth_deg: float
    wavelength_nm: float
    bandwidth_nm: float

    def transmission(self, x_mm: Tensor, y_mm: Tensor, cosine: Tensor) -> Tensor:
        """Of light that meets pixels at (x, y) with this cosine in air, relative to its mean over all phases.

        Airy's sum over the reflections between both faces, (1 - R)^2 / (1 + R^2 - 2 R cos d) with the phase
        d = 4 pi n t cos(t') / wavelength, is (1 - R) / (1 + R) times 1 + 2 sum_k R^k cos(k d) (Born and Wolf,
        Principles of Optics, section 7.6). A band that is even over 1/wavelength +- bandwidth / (2 wavelength^2)
        multiplies the term k by sin(k w) / (k w), where w is the half width of the phase.
        """
        azimuth = math.radians(self.azimuth_deg)
        along_mm = x_mm * math.cos(azimuth) + y_mm * math.sin(azimuth)
        thickness_um = (self.thickness_um + self.wedge_mrad * along_mm).clamp_min(0)  # mrad * mm = um
        inside = (1 - (1 - cosine.square()) / self.index**2).clamp_min(0).sqrt()
        phase = (4e3 * math.pi * self.index / self.wavelength_nm) * thickness_um * inside
        relative_width = self.bandwidth_nm / (2 * self.wavelength_nm)
        total = torch.ones_like(phase)
        for k in range(1, math.ceil(math.log(_SMALLEST_HARMONIC) / math.log(self.reflectance)) + 1):
            seen = torch.sinc(k * relative_width / math.pi * phase)
            total += (2 * self.reflectance**k) * seen * torch.cos(k * phase)
        return total


@dataclasses.dataclass(frozen=True)
class Radiometry:
    """Light from points of the scene to pixels, up to a constant factor.

    `gradients` are (pixels, 2), per radian in x and y, from the normal of the sensor.
    """

    pose: Pose
    pixel_x: Tensor  # (pixels,), mm
    pixel_y: Tensor
    emission_exponent: float = 0.0
    acceptance_deg: float | None = None
    chief_ray_deg_per_mm: float = 0.0
    gradients: Tensor | None = None
    glass_index: float | None = None  # None: its faces reflect nothing
    layer: Layer | None = None

    def light(self, pixels: Tensor | slice, x: Tensor, y: Tensor) -> Tensor:
        """(n, m), from m points (x, y) of the scene, in mm, to n pixels of these flat indices."""
        px, py = self.pixel_x[pixels, None], self.pixel_y[pixels, None]
        qx, qy, qz = self.pose.seen(x, y)
        dx, dy = qx - px, qy - py
        across2 = dx.square() + dy.square()
        r2 = across2 + qz.square()
        axis_x, axis_y, _ = self.pose.axes
        depth = self.pose.distance_mm - axis_x[2] * px - axis_y[2] * py  # of the scene plane before the pixel
        light = qz * depth / r2.square()
        if self.emission_exponent:
            light *= (depth / r2.sqrt()) ** self.emission_exponent
        if self.acceptance_deg is None and self.gradients is None and self.glass_index is None and self.layer is None:
            return light
        r = r2.sqrt()
        cosine = qz / r
        if self.acceptance_deg is not None:
            light *= self._acceptance(px, py, dx / r, dy / r, cosine)
        if self.gradients is not None:
            across = across2.sqrt()
            angle = torch.atan2(across, qz.expand_as(across)) / across.clamp_min(torch.finfo(across.dtype).tiny)
            gx, gy = self.gradients[pixels, 0, None], self.gradients[pixels, 1, None]
            light *= (1 + angle * (gx * dx + gy * dy)).clamp_min(0)  # a poor pixel is blind, it makes no light
        if self.glass_index is not None:
            light *= window_transmittance(1 - cosine.square(), self.glass_index)
        if self.layer is not None:
            light *= self.layer.transmission(px, py, cosine)
        return light

    def _acceptance(self, px: Tensor, py: Tensor, ux: Tensor, uy: Tensor, uz: Tensor) -> Tensor:
        """exp(-t^2 / (2 acceptance^2)), t the angle of the direction u from the pixel's preferred one."""
        lean = math.radians(self.chief_ray_deg_per_mm) * torch.hypot(px, py)
        outwards = math.radians(self.chief_ray_deg_per_mm) * torch.sinc(lean / math.pi)  # sin(lean) / distance
        along = outwards * (px * ux + py * uy) + torch.cos(lean) * uz
        angle = torch.acos(along.clamp(-1, 1))
        return torch.exp(-0.5 * (angle / math.radians(self.acceptance_deg)).square())
