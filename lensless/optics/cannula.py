"""A glass rod that pipes light: a forward model by rays.

A scene pixel lights the front face of the rod; each ray refracts, folds down the cylinder as in a round billiard table
and leaves the back face, which a relay lens images on the cells of the sensor. Light of different scene pixels adds in
intensity (the display is incoherent), hence y = A x with A >= 0.

What is left out here: interference (the rod has a Fresnel number of about 2.6, so rays are approximate), and light that
the wall scatters or lets out and that reaches the sensor all the same.
"""

import dataclasses
import math

import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from hardware.rig import AlignmentSpec
from lensless.optics import cache, rings, rod
from lensless.optics.checks import check_range
from lensless.optics.operator import DenseModel, checked_shapes, gram_of
from lensless.optics.rings import RINGS, Cells, Rings, sobol
from lensless.optics.rod import Relay, Rod

RAYS = 2**22  # for each scene pixel: a sampling error of about 0.5 % on the default rig, in seconds
_RAYS_AT_ONCE = 2**17


class Cannula(DenseModel):
    """The rod of a cannula camera, as a matrix of (cells, scene pixels) built by tracing rays.

    Args:
        scene_shape: rows and columns of square scene pixels; the width of the scene fills `fov_deg`.
        sensor_shape: rows and columns of cells; they cover the image of the back face if
            columns * pitch_um = diameter * magnification.
        diameter_mm, length_mm: of the rod.
        distance_mm: from the scene to the front face.
        fov_deg: full angle that the width of the scene fills, seen from the front face.
        core_index: refractive index of the rod, at 587.6 nm.
        numerical_aperture: of core and cladding; a ray that meets the wall more steeply leaves the rod. At most
            sqrt(core_index^2 - 1), that of a rod in air.
        magnification: of the relay between back face and sensor.
        pitch_um: of the sensor cells; by default the width of the sensor just holds the image of the back face.
        abbe_number: dispersion of the rod; None, the same index for all light. A matrix for each colour is a model for
            each `wavelength_nm`, joined by `Channels`.
        fresnel: count the reflections at both faces.
        roughness_nm: rms height of the wall, which scatters light out of the rod.
        relay_numerical_aperture, pupil_distance_mm: what the relay takes in, see `rod.Relay`; None, everything.
        wavelength_nm, bandwidth_nm: middle and full width of the light's spectrum.
        emission_exponent: the display's radiance is cos(angle)^this; 0 is Lambert's law.
        alignment: how far the parts stand from where they belong. y = 1 stays the brightest cell of an all-white scene
            of the aligned rig. Relay and sensor are moved along x and y of the frame.
        near_field: allow a scene nearer than the rod is long; without it, that is taken for a slip.
        rays: for each scene pixel, at least. The relative error falls with its square root; `sampling_error` states it.
            The rays of a ring around the axis serve all scene pixels on it, if the relay leaves the rig round;
            a relay or a sensor that is tilted makes each pixel need rays of its own, and minutes.
        seed: of the rays.
        device: where the rays are traced and the matrix lives.

    Raises:
        ConfigurationError: a geometry that cannot be.
    """

    def __init__(
        self,
        scene_shape: tuple[int, int] = (32, 32),
        sensor_shape: tuple[int, int] = (64, 64),
        diameter_mm: float = 0.22,
        length_mm: float = 12.5,
        distance_mm: float = 350.0,
        fov_deg: float = 18.0,
        core_index: float = 1.46,
        numerical_aperture: float = 0.22,
        magnification: float = 4.0,
        pitch_um: float | None = None,
        abbe_number: float | None = None,
        fresnel: bool = False,
        roughness_nm: float = 0.0,
        relay_numerical_aperture: float | None = None,
        pupil_distance_mm: float | None = None,
        wavelength_nm: float = 550.0,
        bandwidth_nm: float = 0.0,
        emission_exponent: float = 0.0,
        alignment: AlignmentSpec | None = None,
        near_field: bool = False,
        rays: int = RAYS,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ):
        scene_shape, sensor_shape = checked_shapes(scene_shape, sensor_shape)
        positive = {"above": 0, "below": math.inf}
        for name, value, unit, limits in (
            ("diameter_mm", diameter_mm, "mm", positive),
            ("length_mm", length_mm, "mm", positive),
            ("distance_mm", distance_mm, "mm", positive),
            ("fov_deg", fov_deg, "degrees", {"above": 0, "below": 180}),
            ("core_index", core_index, "", {"above": 1, "most": 5}),
            ("numerical_aperture", numerical_aperture, "", positive),
            ("magnification", magnification, "", positive),
            ("pitch_um", pitch_um, "um", positive),
            ("abbe_number", abbe_number, "", {"least": 10, "most": 150}),
            ("relay_numerical_aperture", relay_numerical_aperture, "", {"above": 0, "most": 5}),
            ("pupil_distance_mm", pupil_distance_mm, "mm", positive),
            ("wavelength_nm", wavelength_nm, "nm", {"least": 100, "most": 20_000}),
            ("bandwidth_nm", bandwidth_nm, "nm", {"least": 0, "most": wavelength_nm}),
            ("roughness_nm", roughness_nm, "nm", {"least": 0, "most": 100}),
            ("emission_exponent", emission_exponent, "", {"least": 0, "most": 100}),
        ):
            if value is not None:
                check_range("Cannula", name, value, unit, **limits)
        in_air = math.sqrt(core_index**2 - 1)
        if not numerical_aperture <= in_air * (1 + 1e-9):
            raise ConfigurationError(
                f"Cannula: numerical_aperture = {numerical_aperture} is more than a core of the index {core_index} has "
                f"in air; expected at most sqrt({core_index}^2 - 1) = {in_air:.3g}"
            )
        if not near_field and length_mm > distance_mm:
            raise ConfigurationError(
                f"Cannula: length_mm = {length_mm} mm is more than distance_mm = {distance_mm} mm, which is measured "
                "from the scene to the front face; are they exchanged? say near_field=True if not"
            )
        if math.sin(math.radians(fov_deg / 2)) > numerical_aperture:
            accepted = 2 * math.degrees(math.asin(min(1.0, numerical_aperture)))
            raise ConfigurationError(
                f"Cannula: fov_deg = {fov_deg} degrees: the edges of the scene are outside of the field of a rod of "
                f"numerical aperture {numerical_aperture}; expected at most {accepted:.4g} degrees"
            )
        if not isinstance(rays, int) or rays < 2 or rays % 2:
            raise ConfigurationError(f"Cannula: rays = {rays}; expected an even number of at least 2 per scene pixel")
        radius_mm = diameter_mm / 2
        geometry = Geometry(
            rod=Rod(
                radius_mm, length_mm, distance_mm, core_index, numerical_aperture, abbe_number, fresnel, roughness_nm,
                wavelength_nm, bandwidth_nm, emission_exponent,
            ),
            scene_shape=scene_shape,
            pixel_mm=2 * distance_mm * math.tan(math.radians(fov_deg / 2)) / scene_shape[1],
            sensor_shape=sensor_shape,
            cell_mm=diameter_mm / sensor_shape[1] if pitch_um is None else pitch_um * 1e-3 / magnification,
            magnification=magnification,
            relay=Relay(relay_numerical_aperture, pupil_distance_mm),
            alignment=AlignmentSpec(),
        )  # fmt: skip
        aligned = _traced(geometry, rays, seed, device)
        stored = aligned
        if alignment is not None and alignment != AlignmentSpec():
            stored = _traced(dataclasses.replace(geometry, alignment=alignment), rays, seed, device)
        matrix = stored["matrix"].to(device) / float(aligned["white"])
        super().__init__(matrix, scene_shape, sensor_shape, float(stored["sampling_error"]))
        self.sampling_spectrum = stored["sampling_spectrum"] / float(aligned["white"])


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

    def seen_from_rod(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where points (x, y) of the display seem to lie on a plane square to the rod at its distance, and the light
        that they send beside what points of that plane would.

        The depth of a point changes with tilt by some mm; the rays of one point, which meet the rod within a / d of
        each other, are taken as if it had not: for a tilt of 1 degree they land less than 0.1 um off.
        """
        a, d = self.alignment, self.rod.distance_mm
        x, y, z = x - a.shift_x_mm, y - a.shift_y_mm, torch.full_like(x, d)
        tilt_x, tilt_y = math.radians(a.tilt_x_deg), math.radians(a.tilt_y_deg)
        distance = torch.sqrt(x**2 + y**2 + z**2)
        cos_display = z / distance
        x, z = math.cos(tilt_x) * x - math.sin(tilt_x) * z, math.sin(tilt_x) * x + math.cos(tilt_x) * z
        y, z = math.cos(tilt_y) * y - math.sin(tilt_y) * z, math.sin(tilt_y) * y + math.cos(tilt_y) * z
        cos_rod = z / distance
        exponent = self.rod.emission_exponent
        sent = cos_display ** (1 + exponent) * cos_rod * (d / distance) ** 2
        return x * (d / z), y * (d / z), sent / cos_rod ** (4 + exponent)


def _traced(geometry: Geometry, rays: int, seed: int, device: str | torch.device) -> dict[str, Tensor]:
    key = dataclasses.asdict(geometry) | {"rays": rays, "seed": seed}
    code = [module.__file__ for module in (rings, rod)] + [__file__]
    return cache.tensors("cannula", key, code=code, compute=lambda: trace_matrix(geometry, rays, seed, device))


def trace_matrix(geometry: Geometry, rays: int, seed: int, device: str | torch.device) -> dict[str, Tensor]:
    """`matrix` in units of the light that one pixel would send through a transparent face; `white`, the brightest cell
    of an all-white scene; `sampling_error`; and `sampling_spectrum`, the singular values of the error, largest first.
    """
    build = _by_rings if geometry.misaligned_relay.round else _pixel_by_pixel
    matrix, error = build(geometry, rays, seed, torch.device(device))
    spectrum = torch.linalg.eigvalsh(gram_of(error if error.shape[0] >= error.shape[1] else error.T))
    return {
        "matrix": matrix,
        "white": matrix.sum(1, dtype=torch.float64).max(),
        "sampling_error": error.norm(dtype=torch.float64) / matrix.norm(dtype=torch.float64),
        "sampling_spectrum": spectrum.flip(0).clamp_min(0).sqrt(),
    }


def _by_rings(geometry: Geometry, rays: int, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Matrix and its error; only one scene pixel of each class of symmetry is computed."""
    centres_x, centres_y = _pixel_centres(geometry, device)
    seen_x, seen_y, _ = geometry.seen_from_rod(centres_x, centres_y)
    from_axis = torch.hypot(seen_x, seen_y)
    steepest = (float(from_axis.max()) + geometry.pixel_mm + geometry.rod.radius_mm) / geometry.rod.distance_mm
    traced = Rings(
        geometry.rod, geometry.misaligned_relay, geometry.pixel_mm, geometry.cell_mm, steepest,
        rays=max(1, rays // (2 * RINGS)), seed=seed, device=device,
    )  # fmt: skip
    cells = Cells(traced, geometry.sensor_shape, geometry.cell_mm, *geometry.image_shift_mm)
    roll = math.radians(geometry.alignment.roll_deg)
    halves = _Halves(geometry, symmetries(geometry), device)
    for pixel in sorted(halves.representatives, key=lambda pixel: float(from_axis[pixel])):
        across = traced.points_across(float(from_axis[pixel]), geometry.pixel_mm)
        steps = ((torch.arange(across, device=device) + 0.5) / across - 0.5) * geometry.pixel_mm
        x, y = centres_x[pixel] + steps.repeat(across), centres_y[pixel] + steps.repeat_interleave(across)
        x, y, weight = geometry.seen_from_rod(x, y)
        halves.put(pixel, cells.collect(traced.turned(x, y, weight / across**2, roll)))
    return halves.mean_and_error()


def _pixel_by_pixel(geometry: Geometry, rays: int, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The same for a rig that nothing leaves as it was: every pixel has its own rays."""
    centres_x, centres_y = _pixel_centres(geometry, device)
    relay, (shift_x, shift_y) = geometry.misaligned_relay, geometry.image_shift_mm
    (rows, columns), cell_mm = geometry.sensor_shape, geometry.cell_mm
    roll = math.radians(geometry.alignment.roll_deg)
    points = [sobol(5, rays // 2, seed, half, device) for half in (0, 1)]
    halves = _Halves(geometry, [lambda plane: plane], device)
    for pixel in halves.representatives:
        shift = torch.rand(5, generator=torch.Generator().manual_seed(seed * 1_000_003 + pixel)).to(device)
        images = torch.zeros(2, rows * columns, dtype=torch.float64, device=device)
        for image, half in zip(images, points, strict=True):
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
        halves.put(pixel, (images / len(points[0])).float().reshape(2, rows, columns))
    return halves.mean_and_error()


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
        """The two images (2, rows, columns) of a pixel, and all that are their mirror images."""
        mean, error = (images[0] + images[1]) / 2, (images[0] - images[1]) / 2
        targets = self._targets[pixel].tolist()
        for target, move in zip(targets, self._moves, strict=True):
            share = 1 / targets.count(target)  # a pixel on an axis of symmetry is its own mirror image
            self._mean[:, target] += share * move(mean).flatten()
            self._error[:, target] += share * move(error).flatten()

    def mean_and_error(self) -> tuple[Tensor, Tensor]:
        return self._mean, self._error


def symmetries(geometry: Geometry) -> list:
    """The maps of a plane onto itself that leave the rig unchanged: 8 if scene and sensor are square, else 4; only the
    identity if something is out of place.
    """
    if geometry.alignment != AlignmentSpec():
        return [lambda plane: plane]
    flips = [
        lambda plane: plane,
        lambda plane: plane.flip(0),
        lambda plane: plane.flip(1),
        lambda plane: plane.flip(0, 1),
    ]
    if any(rows != columns for rows, columns in (geometry.scene_shape, geometry.sensor_shape)):
        return flips
    return flips + [lambda plane, flip=flip: flip(plane).T for flip in flips]


def _pixel_centres(geometry: Geometry, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where the scene pixels lie on the display, x and y of each, from the middle, mm."""
    rows, columns = geometry.scene_shape
    x = (torch.arange(columns, device=device) - (columns - 1) / 2) * geometry.pixel_mm
    y = (torch.arange(rows, device=device) - (rows - 1) / 2) * geometry.pixel_mm
    return x.repeat(rows), y.repeat_interleave(columns)
