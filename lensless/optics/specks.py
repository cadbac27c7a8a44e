"""What stands between a bare sensor and its scene: opaque specks on the cover glass, and the walls of the package.

The line from pixel p to the point s of a scene at the distance d crosses the plane at the height h at
c = p (1 - h/d) + s h/d. Pixel and scene pixel have areas, which that plane sees as two boxes: what a speck hides is its
shadow at c, averaged over the convolution of both.

A sharp shadow is 1 inside the disc. The shadow by waves follows from Fresnel's integral for a disc of radius R (Born
and Wolf, Principles of Optics, section 8.8), with N = R^2 / (wavelength z), z = h (1 - h/d), and r the distance from
the middle in units of R:

    U(r) = -2 pi i N exp(i pi N r^2) integral_0^1 exp(i pi N t^2) J0(2 pi N r t) t dt,      hidden(r) = 1 - |1 - U(r)|^2

by Babinet's principle. It is paraxial: at the angle a from the normal the path is longer by 1 / cos(a), left out here.
"""

import dataclasses
import math

import numpy as np
import torch
from scipy.special import j0
from torch import Tensor

from hardware.errors import ConfigurationError

_SHADOW_NODES = 24  # midpoints across the blur of a shadow's edge, or strips of a speck; its area errs by 1e-3
# Where a shadow by waves is cut, in Fresnel scales sqrt(wavelength z) beyond the radius; its last fifth fades out. The
# rings outside have 1 / (pi^2 N r) of the light that the speck takes, r being that radius over R: 1.4 % for N = 1, lost
# evenly among thousands of pixels. What one pixel of 6 um loses is below 1e-3 of its light.
_CUT = 6.0
LARGEST_FRESNEL_NUMBER = 100.0
_MOST_BANDS = 32  # of a wide band; far rings, which would need more, are too fine for a pixel to see


@dataclasses.dataclass(frozen=True)
class SharpShadow:
    """Of an opaque disc: all lengths lie in its plane, in mm; `boxes_mm` are the sides of pixel and scene pixel."""

    radius_mm: float
    boxes_mm: tuple[float, float]

    @property
    def reach_mm(self) -> float:
        return self.radius_mm + sum(self.boxes_mm) / 2

    def __call__(self, dy: Tensor, dx: Tensor) -> Tensor:
        """Share hidden (h, w, H, W) at the crossing points dy (h, 1, H, W or 1), dx (1, w, H or 1, W)."""
        if sum(self.boxes_mm) > 2 * self.radius_mm:
            return self._in_strips(dy, dx)
        hidden = 0.0
        for offset, weight in zip(*_trapezoid_nodes(self.boxes_mm, _SHADOW_NODES, dx), strict=True):
            half_chord = (self.radius_mm**2 - (dx + offset).square()).clamp_min(0).sqrt()
            upper, lower = trapezoid_cdf(dy + half_chord, self.boxes_mm), trapezoid_cdf(dy - half_chord, self.boxes_mm)
            hidden = hidden + weight * (upper - lower)
        return hidden

    def _in_strips(self, dy: Tensor, dx: Tensor) -> Tensor:
        """The same by strips of the disc, of which wide boxes need no more than narrow ones."""
        step, hidden = math.pi / _SHADOW_NODES, 0.0
        mean_radius_mm = self.radius_mm * (step / 2) / math.sin(step / 2)  # so that their area is that of the disc
        for at in range(_SHADOW_NODES):
            left, right = (self.radius_mm * math.sin((at + end) * step - math.pi / 2) for end in (0, 1))
            half_chord = mean_radius_mm * math.cos((at + 0.5) * step - math.pi / 2)
            across = trapezoid_cdf(right - dx, self.boxes_mm) - trapezoid_cdf(left - dx, self.boxes_mm)
            along = trapezoid_cdf(dy + half_chord, self.boxes_mm) - trapezoid_cdf(dy - half_chord, self.boxes_mm)
            hidden = hidden + across * along
        return hidden


class WaveShadow:
    """Of an opaque disc, by scalar diffraction of light from a point; a table, blurred by the boxes of `SharpShadow`.

    Args:
        radius_mm, boxes_mm: as there.
        wavelength_nm, bandwidth_nm: the light is spread evenly over the band.
        path_mm: z, the distance behind the disc at which a plane wave would give this shadow.

    Raises:
        ConfigurationError: a speck so large that its edge is sharp and its table would be huge.
    """

    def __init__(
        self, radius_mm: float, boxes_mm: tuple[float, float], wavelength_nm: float, bandwidth_nm: float,
        path_mm: float, device: str | torch.device = "cpu",
    ):  # fmt: skip
        scale_mm = math.sqrt(wavelength_nm * 1e-6 * path_mm)
        if (radius_mm / scale_mm) ** 2 > LARGEST_FRESNEL_NUMBER:
            limit = LARGEST_FRESNEL_NUMBER**0.5
            raise ConfigurationError(
                f"BareSensor: speck_radius_um = {1e3 * radius_mm:g} with diffraction; expected at most "
                f"{1e3 * scale_mm * limit:.4g} ({limit:g} Fresnel scales); the shadow of a larger speck is as sharp as "
                "without diffraction"
            )
        self.cut_mm = radius_mm + _CUT * scale_mm
        self.reach_mm = self.cut_mm + sum(boxes_mm) / 2
        finest = min(min(scale_mm, radius_mm) / 16, sum(boxes_mm) / 64)
        count = min(4096, max(512, 2 ** math.ceil(math.log2(2 * self.reach_mm / finest)))) + 1
        places = np.linspace(-self.reach_mm, self.reach_mm, count)
        radii = np.linspace(0, self.cut_mm, 8 * 512 + 1)
        profile = hidden_by_disc(radii, radius_mm, wavelength_nm, bandwidth_nm, path_mm)
        profile *= np.cos(np.pi / 2 * np.clip(5 * radii / self.cut_mm - 4, 0, 1)) ** 2
        table = np.interp(np.hypot(places[:, None], places), radii, profile, right=0.0)
        frequencies = np.fft.fftfreq(count, places[1] - places[0])
        blur = np.sinc(frequencies * boxes_mm[0]) * np.sinc(frequencies * boxes_mm[1])
        table = np.fft.irfft2(np.fft.rfft2(table) * (blur[:, None] * blur[: count // 2 + 1]), (count, count))
        self.table = torch.from_numpy(table).to(device)

    def __call__(self, dy: Tensor, dx: Tensor) -> Tensor:
        """Share hidden, as `SharpShadow` gives it, by linear interpolation; below 0 where the rings add light."""
        places = torch.stack(torch.broadcast_tensors(dx, dy), -1) / self.reach_mm
        flat = places.flatten(2, 3).flatten(0, 1)[None].to(self.table.dtype)
        hidden = torch.nn.functional.grid_sample(self.table[None, None], flat, align_corners=True)
        return hidden.reshape(places.shape[:-1]).to(dx.dtype)


def wave_of_disc(radii_mm: np.ndarray, radius_mm: float, wavelength_nm: float, path_mm: float) -> np.ndarray:
    """U at these distances from the axis, relative to the incident wave: behind a hole; behind a disc it is 1 - U."""
    r = np.asarray(radii_mm) / radius_mm
    fresnel_number = radius_mm**2 / (wavelength_nm * 1e-6 * path_mm)
    count = 48 + math.ceil(2 * fresnel_number * (1 + 2 * r.max()))  # four for every turn of the phase
    t, weights = np.polynomial.legendre.leggauss(count)
    t, weights = (t + 1) / 2, weights / 2
    lens = weights * t * np.exp(1j * np.pi * fresnel_number * t**2)
    pieces = np.array_split(r, math.ceil(r.size * count / 2**22))
    integral = np.concatenate(
        [j0((2 * np.pi * fresnel_number) * np.multiply.outer(piece, t)) @ lens for piece in pieces]
    )
    return -2j * np.pi * fresnel_number * np.exp(1j * np.pi * fresnel_number * r**2) * integral


def hidden_by_disc(
    radii_mm: np.ndarray, radius_mm: float, wavelength_nm: float, bandwidth_nm: float, path_mm: float
) -> np.ndarray:
    """Share of the light that an opaque disc takes at these distances from its axis: 1 - |1 - U|^2 over the band."""
    turns = np.max(radii_mm) ** 2 * bandwidth_nm / (wavelength_nm**2 * 1e-6 * path_mm)
    nodes, weights = np.polynomial.legendre.leggauss(
        1 if bandwidth_nm == 0 else min(_MOST_BANDS, 4 + math.ceil(2 * turns))
    )
    bands = wavelength_nm + bandwidth_nm / 2 * nodes
    passed = [np.abs(1 - wave_of_disc(radii_mm, radius_mm, band, path_mm)) ** 2 for band in bands]
    return 1 - np.tensordot(weights / 2, passed, 1)


@dataclasses.dataclass(frozen=True)
class Walls:
    """Four walls around the pixels, whose upper edges leave an opening of these half sides, (y, x)."""

    half_mm: tuple[float, float]
    boxes_mm: tuple[float, float]

    @property
    def reach_mm(self) -> float:
        return sum(self.boxes_mm) / 2

    def __call__(self, y: Tensor, x: Tensor) -> Tensor:
        """Share that passes at the crossing points y (h, 1, H, W or 1) and x (1, w, H or 1, W)."""
        within = [
            trapezoid_cdf(half - c, self.boxes_mm) - trapezoid_cdf(-half - c, self.boxes_mm)
            for c, half in zip((y, x), self.half_mm, strict=True)
        ]
        return within[0] * within[1]


def _trapezoid_nodes(boxes_mm, count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Midpoints and weights of the convolution of two boxes centred on 0."""
    edges = torch.linspace(-0.5, 0.5, count + 1, dtype=torch.float64, device=like.device) * sum(boxes_mm)
    weights = trapezoid_cdf(edges, boxes_mm).diff()
    return ((edges[1:] + edges[:-1]) / 2).to(like.dtype), weights.to(like.dtype)


def trapezoid_cdf(t: Tensor, boxes_mm) -> Tensor:
    """Share of the convolution of two boxes of the widths a and b, centred on 0, that lies below t."""
    a, b = boxes_mm
    half_sum, half_difference = (a + b) / 2, (a - b) / 2
    t = t.clamp(-half_sum, half_sum)  # beyond, the squares below grow and their differences would be rounding errors

    def ramp(u: float) -> Tensor:
        return (t + u).clamp_min(0).square()

    corners = ramp(half_sum) - ramp(half_difference) - ramp(-half_difference) + ramp(-half_sum)
    return (corners / (2 * a * b)).clamp(0, 1)
