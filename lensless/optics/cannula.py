"""A glass rod that pipes light: a forward model by rays.

A scene pixel lights the front face of the rod; each ray refracts, folds down the cylinder as in a round billiard table
and leaves the back face, which a relay lens images on the cells of the sensor. Light of different scene pixels adds in
intensity (the display is incoherent), hence y = A x with A >= 0.

What is left out here: interference (the rod has a Fresnel number of about 2.6, so rays are approximate), Fresnel
losses, roughness and colour.
"""

import math

import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.optics import cache
from lensless.optics.operator import DenseModel, checked_shapes

RAYS = 2**22  # per scene pixel: a sampling error of about 2 % on the default rig, in seconds
_RAYS_AT_ONCE = 2**17  # a few arrays of this size stay in the second-level cache of a core


class Cannula(DenseModel):
    """The rod of a cannula camera, as a matrix of (cells, scene pixels) built by tracing rays.

    Args:
        scene_shape: rows and columns of square scene pixels; the width of the scene fills `fov_deg`.
        sensor_shape: rows and columns of cells; they cover the image of the back face if
            columns * pitch_um = diameter * magnification.
        diameter_mm, length_mm: of the rod.
        distance_mm: from the scene to the front face.
        fov_deg: full angle that the width of the scene fills, seen from the front face.
        core_index: refractive index of the rod.
        numerical_aperture: of core and cladding; a ray that meets the wall more steeply leaves the rod.
        magnification: of the relay between back face and sensor.
        pitch_um: of the sensor cells; by default the width of the sensor just holds the image of the back face.
        rays: per scene pixel. The relative error falls with its square root; `sampling_error` states it.
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
        rays: int = RAYS,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ):
        scene_shape, sensor_shape = checked_shapes(scene_shape, sensor_shape)
        for name, value, low, high in (
            ("diameter_mm", diameter_mm, 0, math.inf),
            ("length_mm", length_mm, 0, math.inf),
            ("distance_mm", distance_mm, 0, math.inf),
            ("fov_deg", fov_deg, 0, 180),
            ("core_index", core_index, 1, 5),
            ("numerical_aperture", numerical_aperture, 0, core_index),
            ("magnification", magnification, 0, math.inf),
            ("pitch_um", 1 if pitch_um is None else pitch_um, 0, math.inf),
        ):
            if not low < value < high:
                raise ConfigurationError(f"Cannula: {name} = {value} is outside ({low}, {high})")
        if not isinstance(rays, int) or rays < 2 or rays % 2:
            raise ConfigurationError(f"Cannula: rays = {rays}; expected an even number of at least 2 per scene pixel")
        radius_mm = diameter_mm / 2
        cell_mm = diameter_mm / sensor_shape[1] if pitch_um is None else pitch_um * 1e-3 / magnification
        geometry = dict(
            scene_shape=list(scene_shape), sensor_shape=list(sensor_shape), radius_mm=radius_mm, length_mm=length_mm,
            distance_mm=distance_mm, half_width_mm=distance_mm * math.tan(math.radians(fov_deg / 2)),
            core_index=core_index, numerical_aperture=numerical_aperture, cell_mm=cell_mm, rays=rays, seed=seed,
        )  # fmt: skip
        stored = cache.tensors(
            "cannula", geometry, code=__file__, compute=lambda: _trace_matrix(**geometry, device=device)
        )
        error = float(stored["sampling_error"])
        super().__init__(stored["matrix"].to(device), scene_shape, sensor_shape, error)


def fold(x0: Tensor, y0: Tensor, slope_x: Tensor, slope_y: Tensor, radius: float, length: float, index: float):
    """Where rays leave a rod, in closed form.

    A ray enters the front face at (x0, y0) with the slopes dx/dz, dy/dz that it has in air. Refraction keeps its
    azimuth and divides the sine of its angle by the index. In the cross-section it then runs as in a round billiard
    table: the distance b of its chord from the axis is conserved, and each reflection turns it by the angle phi with
    cos phi = 2 b^2 / a^2 - 1, sin phi = -2 b c / a^2, where c = sqrt(a^2 - b^2) is half the chord.

    Args:
        x0, y0: entrance points in units of length of `radius` and `length`, any shape.
        slope_x, slope_y: slopes in air, same shape.

    Returns:
        x, y: exit points; b, sin2, bounces: chord distance, squared sine of the angle in air, and how often the wall
        is met, for the aperture test.
    """
    slope2 = slope_x * slope_x + slope_y * slope_y
    sin2 = slope2 / (1 + slope2)
    sin2_glass = sin2 / index**2
    run = length * torch.sqrt(sin2_glass / (1 - sin2_glass))  # length of the path's projection on the cross-section
    slope = torch.sqrt(slope2).clamp_min(torch.finfo(x0.dtype).tiny)
    tx, ty = slope_x / slope, slope_y / slope
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
    return torch.where(straight, x0, x), torch.where(straight, y0, y), b, sin2, bounces


def _trace_matrix(
    *, scene_shape, sensor_shape, radius_mm, length_mm, distance_mm, half_width_mm, core_index, numerical_aperture,
    cell_mm, rays, seed, device,
) -> dict[str, Tensor]:  # fmt: skip
    """The matrix and its sampling error; only one scene pixel of each class of symmetry is traced."""
    rows, columns = scene_shape
    cells = sensor_shape[0] * sensor_shape[1]
    pixel_mm = 2 * half_width_mm / columns
    scene_index = torch.arange(rows * columns).reshape(rows, columns)
    operations = _symmetries(scene_shape, sensor_shape)
    halves = torch.zeros(2, cells, rows * columns, dtype=torch.float64)
    visits = torch.zeros(rows * columns, dtype=torch.float64)
    points = [_sobol(rays // 2, seed, half, device) for half in (0, 1)]
    for pixel in range(rows * columns):
        orbit = [int(operation(scene_index).flatten().argsort()[pixel]) for operation in operations]
        if pixel != min(orbit):
            continue
        row, column = divmod(pixel, columns)
        corner_x, corner_y = (column - columns / 2) * pixel_mm, (row - rows / 2) * pixel_mm
        shift = torch.rand(4, generator=torch.Generator().manual_seed(seed * 1_000_003 + pixel)).to(device)
        images = [
            _image_of_pixel(
                (half + shift) % 1, corner_x, corner_y, pixel_mm, radius_mm, length_mm, distance_mm, core_index,
                numerical_aperture, cell_mm, sensor_shape,
            )
            for half in points
        ]  # fmt: skip
        for target, operation in zip(orbit, operations, strict=True):
            for half, image in zip(halves, images, strict=True):
                half[:, target] += operation(image).flatten()
            visits[target] += 1
    halves /= visits
    matrix = halves.mean(0)
    error = float((halves[0] - halves[1]).norm() / (2 * matrix.norm()))
    matrix /= matrix.sum(1).max()
    return {"matrix": matrix.float(), "sampling_error": torch.tensor(error, dtype=torch.float64)}


def _symmetries(scene_shape, sensor_shape) -> list:
    """The maps of a plane onto itself that leave rod, scene and sensor unchanged: 8 if both are square, else 4."""
    flips = [
        lambda plane: plane,
        lambda plane: plane.flip(0),
        lambda plane: plane.flip(1),
        lambda plane: plane.flip(0, 1),
    ]
    if scene_shape[0] != scene_shape[1] or sensor_shape[0] != sensor_shape[1]:
        return flips
    return flips + [lambda plane, flip=flip: flip(plane).T for flip in flips]


def _sobol(count: int, seed: int, half: int, device) -> Tensor:
    engine = torch.quasirandom.SobolEngine(4, scramble=True, seed=2 * seed + half)
    return engine.draw(count).to(device)


def _image_of_pixel(
    points, corner_x, corner_y, pixel_mm, radius_mm, length_mm, distance_mm, core_index, numerical_aperture, cell_mm,
    sensor_shape,
) -> Tensor:  # fmt: skip
    """Light that one scene pixel sends to each cell, (rows, columns), in units of the pixel's mean radiance.

    `points` (rays, 4) in 0 .. 1 say where each ray starts in the pixel and where it enters the rod; the corner of the
    pixel lies at (corner_x, corner_y), in mm; cells are measured at the rod's end.
    """
    rows, columns = sensor_shape
    image = torch.zeros(rows * columns, dtype=torch.float64)
    for u in points.split(_RAYS_AT_ONCE):
        source_x, source_y = corner_x + u[:, 0] * pixel_mm, corner_y + u[:, 1] * pixel_mm
        r, azimuth = radius_mm * torch.sqrt(u[:, 2]), 2 * math.pi * u[:, 3]
        x0, y0 = r * torch.cos(azimuth), r * torch.sin(azimuth)
        slope_x, slope_y = (x0 - source_x) / distance_mm, (y0 - source_y) / distance_mm
        x, y, b, sin2, bounces = fold(x0, y0, slope_x, slope_y, radius_mm, length_mm, core_index)
        weight = (1 - sin2) ** 2  # cos(theta)^4: two cosines and the square of the longer way
        # A skew ray meets the wall at a flatter angle than its angle to the axis says.
        guided = (sin2 * (1 - (b / radius_mm) ** 2) <= numerical_aperture**2) | (bounces == 0)
        column = torch.floor(x / cell_mm + columns / 2)
        row = torch.floor(y / cell_mm + rows / 2)
        inside = guided & (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        cell = (row * columns + column).long().clamp_(0, rows * columns - 1)
        image += torch.bincount(cell, weights=weight * inside, minlength=rows * columns).cpu()
    return (image / len(points)).reshape(rows, columns)
