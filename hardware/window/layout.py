"""Where a scene lies on a monitor: each point an exact square of pixels, and black around them."""

import dataclasses

import numpy as np

from hardware.errors import ConfigurationError
from hardware.window.address import WindowOptions


@dataclasses.dataclass(frozen=True)
class Layout:
    """Points as squares, mirrored first, then turned, then placed.

    Args:
        shape: (rows, columns) of the scene.
        width_px, height_px: of the monitor.
        pixels_per_point: side of each square.
        left_px, top_px: of the corner of all squares, within the monitor.
        mirror: left and right exchanged.
        turn_deg: clockwise, 0, 90, 180 or 270.
    """

    shape: tuple[int, int]
    width_px: int
    height_px: int
    pixels_per_point: int
    left_px: int
    top_px: int
    mirror: bool
    turn_deg: int

    @classmethod
    def of(cls, shape: tuple[int, int], width_px: int, height_px: int, options: WindowOptions, where: str) -> "Layout":
        """The layout that options ask for.

        Raises:
            ConfigurationError: the scene does not fit the monitor.
        """
        rows, columns = shape[::-1] if options.turn_deg in (90, 270) else shape
        side = options.pixels_per_point or max(1, min(height_px // rows, width_px // columns))
        left_px = (width_px - side * columns) // 2 + options.right_px
        top_px = (height_px - side * rows) // 2 + options.down_px
        most = min(height_px // rows, width_px // columns)
        if side > most:
            advice = f"pixels_per_point is {most} at most" if most else "take a larger monitor, or a smaller scene"
            raise ConfigurationError(
                f"{where}: {rows} x {columns} points of {side} x {side} pixels are {side * rows} x {side * columns} "
                f"pixels (rows x columns); expected {height_px} x {width_px} at most: {advice}"
            )
        if not (0 <= left_px <= width_px - side * columns and 0 <= top_px <= height_px - side * rows):
            raise ConfigurationError(
                f"{where}: the scene would lie {left_px} px from the left and {top_px} px from the top; expected 0 to "
                f"{width_px - side * columns} and 0 to {height_px - side * rows}: change right_px and down_px, or take "
                "fewer pixels_per_point"
            )
        return cls(shape, width_px, height_px, side, left_px, top_px, options.mirror == "on", options.turn_deg)

    def on_screen(self, levels: np.ndarray) -> np.ndarray:
        """All pixels of the monitor for the levels (rows, columns) of the points; 8 bits."""
        points = np.rot90(levels[:, ::-1] if self.mirror else levels, -(self.turn_deg // 90))
        squares = points.repeat(self.pixels_per_point, 0).repeat(self.pixels_per_point, 1)
        screen = np.zeros((self.height_px, self.width_px), np.uint8)
        rows, columns = squares.shape
        screen[self.top_px : self.top_px + rows, self.left_px : self.left_px + columns] = squares
        return screen
