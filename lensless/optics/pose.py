"""Where a rig stands before its scene."""

import dataclasses
import math

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Pose:
    """Where a sensor, or the front face of a rod, stands before the centre of a scene plane at `distance_mm`.

    It leans towards +x, then towards +y, and turns about its own axis by the roll, from +x to +y; x is to the right and
    y down, as seen towards the scene.
    """

    distance_mm: float
    tilt_x_deg: float = 0.0
    tilt_y_deg: float = 0.0
    roll_deg: float = 0.0
    shift_x_mm: float = 0.0
    shift_y_mm: float = 0.0

    @property
    def turned(self) -> bool:
        return any((self.tilt_x_deg, self.tilt_y_deg, self.roll_deg))

    @property
    def axes(self) -> list[list[float]]:
        """Its unit vectors, x, y and z, in the coordinates of the scene."""
        (sx, cx), (sy, cy), (sr, cr) = (
            (math.sin(a), math.cos(a)) for a in map(math.radians, (self.tilt_x_deg, self.tilt_y_deg, self.roll_deg))
        )
        x, y, z = [cx, 0.0, -sx], [-sy * sx, cy, -sy * cx], [cy * sx, sy, cy * cx]
        turned_x, turned_y = ([cr * a + sr * b for a, b in zip(x, y, strict=True)],
                              [cr * b - sr * a for a, b in zip(x, y, strict=True)])  # fmt: skip
        return [turned_x, turned_y, z]

    def seen(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Points (x, y) of the scene from its middle and along its axes, z towards the scene; of broadcastable
        shapes.
        """
        x, y = x - self.shift_x_mm, y - self.shift_y_mm
        if not self.turned:
            return x, y, torch.full((1,) * x.ndim, self.distance_mm, dtype=x.dtype, device=x.device)
        return tuple(a * x + b * y + c * self.distance_mm for a, b, c in self.axes)
