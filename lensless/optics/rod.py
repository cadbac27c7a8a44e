"""Rays through a glass rod and the lens behind it: where each one lands, and how much of its light is left.

Lengths are in mm, slopes are dx/dz and dy/dz in air. On the sensor side everything is measured at the scale of the
rod's back face, in the orientation of the frame: the lens magnifies, it does not change what is beside what.
"""

import dataclasses
import math

import torch
from torch import Tensor

from lensless.optics.glass import index_at, transmittance


@dataclasses.dataclass(frozen=True)
class Relay:
    """The lens that images the back face of the rod on the sensor; telecentric on the side of the sensor.

    `numerical_aperture` (None: any) is the sine of the steepest ray that it takes in from a point on its axis; its
    entrance pupil lies `pupil_distance_mm` behind the face (None: at infinity), its axis `shift_x_mm`, `shift_y_mm`
    beside that of the rod. A sensor at `defocus_mm` behind the image, or one whose depth changes by `tilt_x` and
    `tilt_y` per length of the face, is hit beside the image point by that depth times the slope of the ray. Both are
    at the scale of the rod: a depth z behind a lens of the magnification M counts as z / M^2.
    """

    numerical_aperture: float | None = None
    pupil_distance_mm: float | None = None
    shift_x_mm: float = 0.0
    shift_y_mm: float = 0.0
    defocus_mm: float = 0.0
    tilt_x: float = 0.0
    tilt_y: float = 0.0

    @property
    def round(self) -> bool:
        """Whether turning a ray about the axis of the rod turns where it lands."""
        pupil_aside = self.numerical_aperture is not None and self.pupil_distance_mm is not None
        aside = pupil_aside and (self.shift_x_mm != 0 or self.shift_y_mm != 0)
        return not aside and self.tilt_x == 0 and self.tilt_y == 0

    def image(self, x: Tensor, y: Tensor, slope_x: Tensor, slope_y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where rays that leave the face at (x, y) land, and whether the lens takes them in."""
        depth = self.defocus_mm + self.tilt_x * x + self.tilt_y * y
        return x + depth * slope_x, y + depth * slope_y, self._takes_in(x, y, slope_x, slope_y)

    def _takes_in(self, x: Tensor, y: Tensor, slope_x: Tensor, slope_y: Tensor) -> Tensor:
        if self.numerical_aperture is None:
            return torch.ones_like(x, dtype=torch.bool)
        if self.numerical_aperture >= 1:  # every ray in air
            steepest = math.inf
        else:
            steepest = self.numerical_aperture / math.sqrt(1 - self.numerical_aperture**2)
        if self.pupil_distance_mm is not None:
            slope_x = slope_x + (x - self.shift_x_mm) / self.pupil_distance_mm
            slope_y = slope_y + (y - self.shift_y_mm) / self.pupil_distance_mm
        return slope_x**2 + slope_y**2 <= steepest**2


@dataclasses.dataclass(frozen=True)
class Rod:
    """A glass rod before a plane of light sources, `distance_mm` away and square to its axis.

    Its wall reflects what meets it at less than the angle that `numerical_aperture` allows; `roughness_nm` (rms) lets
    each reflection lose the share that total integrated scatter tells of. `core_index` holds at 587.6 nm. The sources
    shine at `wavelength_nm`, spread evenly over `bandwidth_nm`, with a radiance of cos(angle)^emission_exponent.
    """

    radius_mm: float
    length_mm: float
    distance_mm: float
    core_index: float
    numerical_aperture: float
    abbe_number: float | None = None
    fresnel: bool = False
    roughness_nm: float = 0.0
    wavelength_nm: float = 550.0
    bandwidth_nm: float = 0.0
    emission_exponent: float = 0.0

    def trace(self, points: Tensor, source_x: Tensor, source_y: Tensor, relay: Relay) -> tuple[Tensor, Tensor, Tensor]:
        """Where the rays land, (x, y), and the light that they carry: cos^4 of the angle in air, less all losses.

        Args:
            points: (rays, 3) in 0 .. 1: squared radius and azimuth of the entrance point, place in the band.
            source_x, source_y: where each ray starts.
            relay: what it meets behind the rod.
        """
        r, azimuth = self.radius_mm * torch.sqrt(points[:, 0]), 2 * math.pi * points[:, 1]
        x0, y0 = r * torch.cos(azimuth), r * torch.sin(azimuth)
        wavelength_nm = self.wavelength_nm + self.bandwidth_nm * (points[:, 2] - 0.5)
        index = index_at(wavelength_nm, self.core_index, self.abbe_number)
        slope_x, slope_y = (x0 - source_x) / self.distance_mm, (y0 - source_y) / self.distance_mm
        leaves = fold(x0, y0, slope_x, slope_y, self.radius_mm, self.length_mm, index)
        cos2 = 1 - leaves.sin2
        light = cos2**2  # two cosines and the square of the longer way
        if self.emission_exponent:
            light = light * cos2 ** (self.emission_exponent / 2)
        # A skew ray meets the wall at a flatter angle than its angle to the axis says.
        wall_sin2 = leaves.sin2 * (1 - (leaves.b / self.radius_mm) ** 2)
        guided = (wall_sin2 <= self.numerical_aperture**2) | (leaves.bounces == 0)
        if self.fresnel:
            light = light * transmittance(leaves.sin2, index) ** 2
        if self.roughness_nm:
            light = light * torch.exp(-leaves.bounces * scatter(self.roughness_nm, wall_sin2, wavelength_nm))
        x, y, taken = relay.image(leaves.x, leaves.y, leaves.slope_x, leaves.slope_y)
        return x, y, light * (guided & taken)


@dataclasses.dataclass(frozen=True)
class Exits:
    """Where rays leave the rod: place (x, y) and slopes in air; chord distance b, squared sine of the angle in air,
    and how often the wall was met.
    """

    x: Tensor
    y: Tensor
    slope_x: Tensor
    slope_y: Tensor
    b: Tensor
    sin2: Tensor
    bounces: Tensor


def fold(
    x0: Tensor, y0: Tensor, slope_x: Tensor, slope_y: Tensor, radius: float, length: float, index: float | Tensor
) -> Exits:
    """Where rays leave a rod, in closed form.

    A ray enters the front face at (x0, y0) with the slopes dx/dz, dy/dz that it has in air. Refraction keeps its
    azimuth and divides the sine of its angle by the index. In the cross-section it then runs as in a round billiard
    table: the distance b of its chord from the axis is conserved, and each reflection turns it by the angle phi with
    cos phi = 2 b^2 / a^2 - 1, sin phi = -2 b c / a^2, where c = sqrt(a^2 - b^2) is half the chord. Its angle to the
    axis never changes, so the back face lets it out at the angle at which it came in.

    Args:
        x0, y0: entrance points in units of length of `radius` and `length`, any shape.
        slope_x, slope_y: slopes in air, same shape.
        index: of the rod, for all rays or for each.
    """
    slope2 = slope_x * slope_x + slope_y * slope_y
    sin2 = slope2 / (1 + slope2)
    sin2_glass = sin2 / index**2
    run = length * torch.sqrt(sin2_glass / (1 - sin2_glass))  # length of the path's projection on the cross-section
    slope = torch.sqrt(slope2)
    unit = slope.clamp_min(torch.finfo(x0.dtype).tiny)
    tx, ty = slope_x / unit, slope_y / unit
    along = x0 * tx + y0 * ty
    b = y0 * tx - x0 * ty
    c = torch.sqrt((radius * radius - b * b).clamp_min(torch.finfo(x0.dtype).eps * radius * radius))
    bounces = torch.floor((along + c + run) / (2 * c))
    along = along + run - 2 * c * bounces
    turn = bounces * torch.atan2(-2 * b * c, 2 * b * b - radius * radius)
    cos, sin = torch.cos(turn), torch.sin(turn)
    # A straight ray (slope 0) has no azimuth: t is the zero vector, the chord collapses and the point stays.
    ux, uy = tx * cos - ty * sin, tx * sin + ty * cos
    x, y = along * ux - b * uy, along * uy + b * ux
    straight = slope2 == 0
    return Exits(
        torch.where(straight, x0, x), torch.where(straight, y0, y), slope * ux, slope * uy, b, sin2, bounces
    )  # fmt: skip


def scatter(roughness_nm: float, wall_sin2: Tensor, wavelength_nm: float | Tensor) -> Tensor:
    """Exponent of what one reflection at a rough wall leaves: R = exp(-(4 pi n roughness cos psi / lambda)^2).

    psi is the angle to the wall's normal inside the glass, and n cos psi the square root of `wall_sin2`, the squared
    sine of the angle in air that lies across the wall (Bennett and Porteus, J. Opt. Soc. Am. 51, 123, 1961, doi
    10.1364/JOSA.51.000123). What is scattered is taken as lost.
    """
    return (4 * math.pi * roughness_nm / wavelength_nm) ** 2 * wall_sin2
