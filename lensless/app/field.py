"""How far to the side a bare sensor can be asked to see."""

import math

import torch

from hardware.errors import ConfigurationError
from hardware.rig import RigSpec
from lensless.optics.pose import Pose

STEEPEST_DEG = 85.0  # there, a surface takes 6e-5 of the light that it takes from the front


def check_field(spec: RigSpec) -> None:
    """Refuse a scene whose light meets a bare sensor so flat that it takes none, or that no pixel sees over the walls.

    Raises:
        ConfigurationError: with the width of the scene and the widest that can be.
    """
    scene = spec.scene
    steepest_deg = _steepest_deg(spec, scene.width_mm)
    if steepest_deg > STEEPEST_DEG:
        what = f"its light meets the sensor at up to {steepest_deg:.4g} degrees from the normal, "
        _refuse(spec, what + f"where hardly any gets in; expected at most {STEEPEST_DEG:g} degrees", _steepest_deg)
    if spec.cover_glass.wall_height_mm and (beyond := _behind_walls(spec, scene.width_mm)) > 0:
        glass = spec.cover_glass
        what = (
            f"walls of cover_glass.wall_height_mm = {glass.wall_height_mm:g} mm hide its outermost {beyond:.4g} mm "
            "from every pixel; expected all of it to be seen by some"
        )
        _refuse(spec, what, lambda spec, width_mm: STEEPEST_DEG + _behind_walls(spec, width_mm))


def _refuse(spec: RigSpec, what: str, measure) -> None:
    """`measure(spec, width_mm)` grows with the width, and may not exceed `STEEPEST_DEG`."""
    low, high = 0.0, spec.scene.width_mm
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if measure(spec, middle) <= STEEPEST_DEG else (low, middle)
    fits = low > 1e-6 * spec.scene.width_mm
    remedy = f"a width of at most {low:.4g} mm" if fits else "another distance_mm or [alignment]: no width fits"
    raise ConfigurationError(
        f"scene.width_mm = {spec.scene.width_mm:g} mm at scene.distance_mm = {spec.scene.distance_mm:g} mm: {what}, "
        f"which is {remedy}"
    )


def _corners(spec: RigSpec, width_mm: float) -> list[torch.Tensor]:
    """Of the scene as the sensor sees it, x, y and z, (2, 2) or (1, 1)."""
    a, (rows, columns) = spec.alignment, spec.scene.shape
    half_x, half_y = width_mm / 2, width_mm / 2 * rows / columns
    x, y = (torch.tensor([-half, half], dtype=torch.float64) for half in (half_x, half_y))
    pose = Pose(spec.scene.distance_mm, a.tilt_x_deg, a.tilt_y_deg, a.roll_deg, a.shift_x_mm, a.shift_y_mm)
    return pose.seen(x[None, :], y[:, None])


def _half_sensor_mm(spec: RigSpec) -> tuple[float, float]:
    return tuple(side * spec.sensor.pitch_um * 1e-3 / 2 for side in spec.sensor.shape)


def _steepest_deg(spec: RigSpec, width_mm: float) -> float:
    """Between the normal of the sensor and the lines from its corners to those of the scene."""
    x, y, z = _corners(spec, width_mm)
    half_y, half_x = _half_sensor_mm(spec)
    across = torch.hypot(x.abs() + half_x, y.abs() + half_y)
    return math.degrees(float(torch.atan2(across, z).max()))


def _behind_walls(spec: RigSpec, width_mm: float) -> float:
    """How far the scene reaches, in mm, beyond what the pixels on the other side see over the wall; below 0: not."""
    x, y, z = _corners(spec, width_mm)
    high, wide = _half_sensor_mm(spec)
    glass = spec.cover_glass
    over = (z - glass.wall_height_mm) / glass.wall_height_mm
    beyond = [
        c.abs() - (half + glass.wall_clearance_mm + (2 * half + glass.wall_clearance_mm) * over)
        for c, half in ((x, wide), (y, high))
    ]
    return float(torch.maximum(*torch.broadcast_tensors(*beyond)).max())
