"""Pictures in, frames out: what shows them and the camera that looks at it, in step."""

import time

import numpy as np

from calibration.response import DisplayResponse
from hardware import Camera, Frame, PatternSource


class ShowAndSnap:
    """A pattern source and the camera that looks at it: frames are exposed while a picture stands, and not before.

    Args:
        source: what shows.
        camera: what looks.
        settle_s: how long after `show` has returned a frame must begin; `measure_settle` finds it.
        response: of the source; with one, pictures are radiances, and the source is told what makes them.
    """

    def __init__(
        self, source: PatternSource, camera: Camera, settle_s: float = 0.0, response: DisplayResponse | None = None
    ):
        self.source, self.camera, self.settle_s, self.response = source, camera, settle_s, response
        self._not_before_ns = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of a picture."""
        return self.source.shape

    def show(self, picture: np.ndarray) -> None:
        """Show a picture (H, W) in [0, 1]; what is snapped from now on shows it.

        Raises:
            ConfigurationError, DeviceError: what the source raises.
        """
        self.source.show(picture if self.response is None else self.response.inverse(picture))
        self._not_before_ns = time.monotonic_ns() + round(self.settle_s * 1e9)

    def snap(self, n: int = 1) -> list[Frame]:
        """The next `n` frames that were exposed while the picture stood.

        Raises:
            CameraError: what the camera raises.
        """
        return self.camera.snap(n, self._not_before_ns)

    def __call__(self, picture: np.ndarray, n: int = 1) -> list[Frame]:
        """Show a picture and snap `n` frames of it."""
        self.show(picture)
        return self.snap(n)

    def level(self, value: float, n: int = 1) -> list[Frame]:
        """The same with a picture of one value everywhere."""
        return self(np.full(self.shape, value, np.float32), n)
