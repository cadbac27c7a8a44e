"""A lamp that a stage carries from point to point."""

import math

import numpy as np

from hardware.errors import ConfigurationError
from hardware.pattern_source import checked_picture
from hardware.stage import Pair, Stage


class LampOnStage:
    """Shows one point of a grid at a time; pictures with several points are shown point after point by who asks.

    Row 0, column 0 is at `origin_mm`; x grows with columns and y with rows, by `pitch_mm`, which may be negative.

    Args:
        stage: homed; stays open, and belongs to who opened it.
        shape: (rows, columns).
        pitch_mm: (x, y) between two points.
        origin_mm: (x, y) on the stage's scale.

    Raises:
        ConfigurationError: no grid, or one that the stage cannot reach.
    """

    def __init__(self, stage: Stage, shape: tuple[int, int], pitch_mm: Pair, origin_mm: Pair):
        self._stage, self._shape = stage, tuple(shape)
        self._pitch_mm, self._origin_mm = tuple(pitch_mm), tuple(origin_mm)
        if len(self._shape) != 2 or min(self._shape) < 1:
            raise ConfigurationError(f"lamp on stage: shape {shape}; expected (rows, columns), at least 1")
        rows, columns = self._shape
        corners = (self.place_mm(0, 0), self.place_mm(rows - 1, columns - 1))
        for axis, (low, high), ends in zip("xy", stage.ranges_mm, zip(*corners, strict=True), strict=True):
            if not (all(map(math.isfinite, ends)) and low <= min(ends) and max(ends) <= high):
                raise ConfigurationError(
                    f"lamp on stage: points from {axis} = {ends[0]:g} to {ends[1]:g} mm; expected {low:g} to {high:g}, "
                    "the stage's travel; choose another pitch_mm, origin_mm or shape"
                )

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    def place_mm(self, row: int, column: int) -> Pair:
        """(x, y) of a point."""
        (x_mm, y_mm), (x_pitch_mm, y_pitch_mm) = self._origin_mm, self._pitch_mm
        return x_mm + column * x_pitch_mm, y_mm + row * y_pitch_mm

    def show(self, picture: np.ndarray) -> None:
        """Take the lamp to the one point above 0 and give it that share of its power; without one it stays dark.

        Raises:
            ConfigurationError: more than one point is above 0, or it is no picture of this shape in [0, 1].
            DeviceError: the stage did not do it.
        """
        picture = checked_picture(picture, self._shape, "lamp on stage")
        lit = np.argwhere(picture)
        if len(lit) > 1:
            raise ConfigurationError(
                f"lamp on stage: picture with {len(lit)} points above 0; one lamp shows one point: "
                "show them one after another"
            )
        self._stage.lamp(0)  # no light on the way
        for row, column in lit:
            self._stage.move_to(*self.place_mm(row, column))
            self._stage.lamp(float(picture[row, column]))

    def clear(self) -> None:
        self._stage.lamp(0)
