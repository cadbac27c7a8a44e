"""What shows a pattern to the rig: a display, a matrix of lamps, a lamp that a stage carries."""

from typing import Protocol, runtime_checkable

import numpy as np

from hardware.errors import ConfigurationError


@runtime_checkable
class PatternSource(Protocol):
    """Points of light in rows and columns; dark until something is shown."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of a picture."""

    def show(self, picture: np.ndarray) -> None:
        """Show a picture (H, W) of floating point values in [0, 1]; returns when it is shown.

        Raises:
            ConfigurationError: another type or shape, NaN, values outside [0, 1], or a picture that it cannot show.
            DeviceError: the device did not do it.
        """

    def clear(self) -> None:
        """Show black."""


def checked_picture(picture: np.ndarray, shape: tuple[int, int], source: str = "display") -> np.ndarray:
    """A read-only copy of a picture that can be shown.

    Args:
        picture: (H, W).
        shape: (rows, columns) that it must have.
        source: what is to show it, for people.

    Raises:
        ConfigurationError: another type or shape, NaN, or values outside [0, 1].
    """
    if not isinstance(picture, np.ndarray) or picture.dtype.kind != "f":
        kind = picture.dtype if isinstance(picture, np.ndarray) else type(picture).__name__
        # Integers are refused because 0..255 and 0..1 cannot be told apart when a picture is all 0 and 1.
        raise ConfigurationError(f"{source}: picture is {kind}; expected a floating point array in [0, 1]")
    if picture.shape != shape:
        raise ConfigurationError(f"{source}: picture of shape {picture.shape}; expected {shape}")
    low, high = float(picture.min()), float(picture.max())
    if not (low >= 0 and high <= 1):  # false for NaN, too
        raise ConfigurationError(f"{source}: picture from {low:g} to {high:g}; expected values in [0, 1] without NaN")
    copy = picture.copy()
    copy.flags.writeable = False
    return copy
