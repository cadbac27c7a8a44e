"""The matrix of a cannula: where its parts stand, and how its columns are computed, by symmetry or pixel by pixel."""

import dataclasses
import math

import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from hardware.rig import AlignmentSpec
from lensless.optics.operator import gram_of, roots
from lensless.optics.pose import Pose
from lensless.optics.rings import RINGS, Cells, Rings, sobol
from lensless.optics.rod import Relay, Rod

_RAYS_AT_ONCE = 2**17


@dataclasses.dataclass(frozen=True)
class Geometry:
    """A rod with everything around it, in numbers: what the matrix depends on but for the rays."""

    rod: Rod
    scene_shape: tuple[int, int]
    pixel_mm: float
    sensor_shape: tuple[int, int]
    cell_mm: float
    magnification: float
    relay: Relay
    alignment: AlignmentSpec

    @property
    def misaligned_relay(self) -> Relay:
        """The relay with the misalignment of the sensor side, at the scale of the rod.

        A lens that is tilted by t tilts its image plane by (1 + M) t (Scheimpflug), towards which the sensor then
        stands tilted the other way.
        """
        M, a = self.magnification, self.alignment
        tilt_x, tilt_y = (
            math.tan(math.radians(sensor)) - (1 + M) * math.tan(math.radians(relay))
            for sensor, relay in ((a.sensor_tilt_x_deg, a.relay_tilt_x_deg), (a.sensor_tilt_y_deg, a.relay_tilt_y_deg))
        )
        return dataclasses.replace(
            self.relay, shift_x_mm=a.relay_shift_x_um * 1e-3, shift_y_mm=a.relay_shift_y_um * 1e-3,
            defocus_mm=a.defocus_um * 1e-3 / M**2, tilt_x=tilt_x / M, tilt_y=tilt_y / M,
        )  # fmt: skip

    @property
    def image_shift_mm(self) -> tuple[float, float]:
        """How far the image lies beside the middle of the sensor (x, y), at the scale of the rod: a relay that is
        moved by s moves the image by (1 + M) s.
        """
        M, a = self.magnification, self.alignment
        relay = (a.relay_shift_x_um, a.relay_shift_y_um)
        sensor = (a.sensor_shift_x_um, a.sensor_shift_y_um)
        return tuple(((1 + M) * lens - cell) * 1e-3 / M for lens, cell in zip(relay, sensor, strict=True))

    def check_sight(self) -> None:
        """Refuse a pose in which a part of the scene lies beside or behind the front face of the rod, or that pushes
        the middle of one of its sides out of what the rod guides. Corners may be dark, and so may top and bottom of a
        scene that is higher than wide: the field is that of its width.
        """
        half_y, half_x = (n * self.pixel_mm / 2 for n in self.scene_shape)
        y, x = (torch.tensor(ends, dtype=torch.float64) for ends in ((-half_y, half_y), (-half_x, half_x)))
        _, _, z = self.pose.seen(x, y[:, None])
        a = self.alignment
        if not float(z.min()) > 0:
            raise ConfigurationError(
                f"Cannula: tilt_x_deg = {a.tilt_x_deg:g}, tilt_y_deg = {a.tilt_y_deg:g} and a shift by "
                f"({a.shift_x_mm:g}, {a.shift_y_mm:g}) mm leave a part of the scene {float(z.min()):.4g} mm before the "
                "face of the rod; expected all of it at more than 0 mm"
            )
        across, up = torch.tensor([-half_x, half_x, 0, 0]), torch.tensor([0, 0, -half_y, half_y])
        x, y, z = self.pose.seen(across, up)
        off_axis_deg = torch.rad2deg(torch.atan2(torch.hypot(x, y), z))
        accepted_deg = math.degrees(math.asin(min(1.0, self.rod.numerical_aperture)))
        aligned_deg = torch.rad2deg(torch.atan2(torch.hypot(across, up), torch.tensor(self.rod.distance_mm)))
        pushed_out = (off_axis_deg > accepted_deg * (1 + 1e-6)) & (aligned_deg <= accepted_deg)
        if bool(pushed_out.any()):
            steepest_deg = float(off_axis_deg[pushed_out].max())
            raise ConfigurationError(
                f"Cannula: tilt_x_deg = {a.tilt_x_deg:g}, tilt_y_deg = {a.tilt_y_deg:g} and a shift by "
                f"({a.shift_x_mm:g}, {a.shift_y_mm:g}) mm put a side of the scene {steepest_deg:.4g} degrees off the "
                f"axis of the rod; expected at most {accepted_deg:.4g} degrees, the half field of its "
                f"numerical_aperture = {self.rod.numerical_aperture:g}: take a smaller scene, or align the rod"
            )

    def seen_from_rod(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where points (x, y) of the display seem to lie on a plane square to the rod at its distance, and the light
        that they send beside what points of that plane would.

        The depth of a point changes with tilt by some mm; the rays of one point, which meet the rod within a / d of
        each other, are taken as if it had not: for a tilt of 1 degree they land less than 0.1 um off.
        """
        d = self.rod.distance_mm
        x, y, z = self.pose.seen(x, y)
        distance = torch.sqrt(x**2 + y**2 + z**2)
        cos_display, cos_rod = d / distance, z / distance
        exponent = self.rod.emission_exponent
        sent = cos_display ** (1 + exponent) * cos_rod * (d / distance) ** 2
        return x * (d / z), y * (d / z), sent / cos_rod ** (4 + exponent)

    @property
    def pose(self) -> Pose:
        """Of the rod; the roll is the sensor's alone."""
        a = self.alignment
        return Pose(self.rod.distance_mm, a.tilt_x_deg, a.tilt_y_deg, 0.0, a.shift_x_mm, a.shift_y_mm)


def trace_matrix(
    geometry: Geometry, rays: int, seed: int, device: str | torch.device, halves: int = 2
) -> dict[str, Tensor]:
    """`matrix` in units of the light that one pixel would send through a transparent face; `white`, the brightest cell
    of an all-white scene; `sampling_error`; and `sampling_spectrum`, the singular values of the error, largest first:
    both from two `halves` of the rays, and 0 where all are in one.
    """
    build = _by_rings if geometry.misaligned_relay.round else _pixel_by_pixel
    matrix, error = build(geometry, rays, seed, torch.device(device), halves)
    spectrum = roots(gram_of(error if error.shape[0] >= error.shape[1] else error.T))
    return {
        "matrix": matrix,
        "white": matrix.sum(1, dtype=torch.float64).max(),
        "sampling_error": error.norm(dtype=torch.float64) / matrix.norm(dtype=torch.float64),
        "sampling_spectrum": spectrum,
    }


def _by_rings(geometry: Geometry, rays: int, seed: int, device: torch.device, halves: int) -> tuple[Tensor, Tensor]:
    """Matrix and its error; only one scene pixel of each class of symmetry is computed."""
    centres_x, centres_y = _pixel_centres(geometry, device)
    seen_x, seen_y, _ = geometry.seen_from_rod(centres_x, centres_y)
    from_axis = torch.hypot(seen_x, seen_y)
    steepest = (float(from_axis.max()) + geometry.pixel_mm + geometry.rod.radius_mm) / geometry.rod.distance_mm
    traced = Rings(
        geometry.rod, geometry.misaligned_relay, geometry.pixel_mm, geometry.cell_mm, steepest,
        rays=max(1, rays // (halves * RINGS)), seed=seed, device=device, halves=halves,
    )  # fmt: skip
    cells = Cells(traced, geometry.sensor_shape, geometry.cell_mm, *geometry.image_shift_mm)
    roll = math.radians(geometry.alignment.roll_deg)
    images = _Halves(geometry, symmetries(geometry), device)
    for pixel in sorted(images.representatives, key=lambda pixel: float(from_axis[pixel])):
        across = traced.points_across(float(from_axis[pixel]), geometry.pixel_mm)
        steps = ((torch.arange(across, device=device) + 0.5) / across - 0.5) * geometry.pixel_mm
        x, y = centres_x[pixel] + steps.repeat(across), centres_y[pixel] + steps.repeat_interleave(across)
        x, y, weight = geometry.seen_from_rod(x, y)
        images.put(pixel, cells.collect(traced.turned(x, y, weight / across**2, roll)))
    return images.mean_and_error()


def _pixel_by_pixel(
    geometry: Geometry, rays: int, seed: int, device: torch.device, halves: int
) -> tuple[Tensor, Tensor]:
    """The same for a rig that nothing leaves as it was: every pixel has its own rays."""
    centres_x, centres_y = _pixel_centres(geometry, device)
    relay, (shift_x, shift_y) = geometry.misaligned_relay, geometry.image_shift_mm
    (rows, columns), cell_mm = geometry.sensor_shape, geometry.cell_mm
    roll = math.radians(geometry.alignment.roll_deg)
    points = [sobol(5, rays // halves, seed, half, device) for half in range(halves)]
    images = _Halves(geometry, symmetries(geometry), device)
    for pixel in images.representatives:
        shift = torch.rand(5, generator=torch.Generator().manual_seed(seed * 1_000_003 + pixel)).to(device)
        light_of = torch.zeros(halves, rows * columns, dtype=torch.float64, device=device)
        for image, half in zip(light_of, points, strict=True):
            for u in ((half + shift) % 1).split(_RAYS_AT_ONCE):
                x = centres_x[pixel] + (u[:, 3] - 0.5) * geometry.pixel_mm
                y = centres_y[pixel] + (u[:, 4] - 0.5) * geometry.pixel_mm
                x, y, weight = geometry.seen_from_rod(x, y)
                x, y, light = geometry.rod.trace(u, x, y, relay)
                x, y = math.cos(roll) * x + math.sin(roll) * y, math.cos(roll) * y - math.sin(roll) * x
                column = torch.floor((x + shift_x) / cell_mm + columns / 2)
                row = torch.floor((y + shift_y) / cell_mm + rows / 2)
                inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
                cell = (row * columns + column).long().clamp_(0, rows * columns - 1)
                image += torch.bincount(cell, weights=weight * light * inside, minlength=rows * columns)
        images.put(pixel, (light_of / len(points[0])).float().reshape(halves, rows, columns))
    return images.mean_and_error()


class _Halves:
    """A matrix from two independent halves of the rays, column by column; symmetric columns are copies.

    `representatives` are the pixels that must be computed.
    """

    def __init__(self, geometry: Geometry, moves: list, device: torch.device):
        count = math.prod(geometry.scene_shape)
        plane = torch.arange(count).reshape(geometry.scene_shape)
        self._moves = moves
        self._targets = torch.stack([move(plane).flatten().argsort() for move in moves], dim=1)
        self.representatives = torch.nonzero(self._targets.amin(1) == torch.arange(count)).squeeze(1).tolist()
        self._mean, self._error = torch.zeros(2, math.prod(geometry.sensor_shape), count, device=device)

    def put(self, pixel: int, images: Tensor) -> None:
        """The images (halves, rows, columns) of a pixel, and all that are their mirror images."""
        mean, error = images.mean(0), (images[0] - images[-1]) / 2
        targets = self._targets[pixel].tolist()
        for target, move in zip(targets, self._moves, strict=True):
            share = 1 / targets.count(target)  # a pixel on an axis of symmetry is its own mirror image
            self._mean[:, target] += share * move(mean).flatten()
            self._error[:, target] += share * move(error).flatten()

    def mean_and_error(self) -> tuple[Tensor, Tensor]:
        """Light is not negative: the series of cosines in `Rings` rings a little, 2e-6 of the light in all."""
        return self._mean.clamp_(min=0), self._error


def symmetries(geometry: Geometry) -> list:
    """The maps of a plane onto itself that leave the rig unchanged.

    Of a rig in alignment these are 8 if scene and sensor are square, else 4. What is moved or tilted along one axis
    leaves the mirror image across it, what is turned leaves half a turn.
    """
    out_of_place = {
        name for name, value in dataclasses.asdict(geometry.alignment).items() if value and name != "defocus_um"
    }
    along_x, along_y = (any(f"_{axis}_" in name for name in out_of_place) for axis in "xy")
    turned = "roll_deg" in out_of_place
    maps = [lambda plane: plane]
    if not along_y and not turned:
        maps.append(lambda plane: plane.flip(0))
    if not along_x and not turned:
        maps.append(lambda plane: plane.flip(1))
    if not along_x and not along_y:
        maps.append(lambda plane: plane.flip(0, 1))
    if out_of_place or any(rows != columns for rows, columns in (geometry.scene_shape, geometry.sensor_shape)):
        return maps
    return maps + [lambda plane, flip=flip: flip(plane).T for flip in maps]


def _pixel_centres(geometry: Geometry, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where the scene pixels lie on the display, x and y of each, from the middle, mm."""
    rows, columns = geometry.scene_shape
    x = (torch.arange(columns, device=device) - (columns - 1) / 2) * geometry.pixel_mm
    y = (torch.arange(rows, device=device) - (rows - 1) / 2) * geometry.pixel_mm
    return x.repeat(rows), y.repeat_interleave(columns)
