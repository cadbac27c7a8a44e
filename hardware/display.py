"""What shows a picture to the rig."""

from typing import Protocol, runtime_checkable

import numpy as np

from hardware.errors import ConfigurationError


@runtime_checkable
class Display(Protocol):
    """A plane of square pixels in front of the rig; black until something is shown."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of a picture."""

    def show(self, picture: np.ndarray) -> None:
        """Show a picture (H, W) of floating point values in [0, 1]; returns when it is shown.

        Raises:
            ConfigurationError: another type or shape, NaN, or values outside [0, 1].
        """

    def clear(self) -> None:
        """Show black."""


class SimulatedDisplay:
    """A display that holds what it shows.

    Args:
        shape: (rows, columns).
    """

    def __init__(self, shape: tuple[int, int]):
        self._shape = tuple(shape)
        self.clear()

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @property
    def shown(self) -> np.ndarray:
        """What is on the display now: (H, W), read-only."""
        return self._shown

    def show(self, picture: np.ndarray) -> None:
        self._shown = checked_picture(picture, self._shape)

    def clear(self) -> None:
        self.show(np.zeros(self._shape, np.float32))


def checked_picture(picture: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A read-only copy of a picture that can be shown.

    Raises:
        ConfigurationError: another type or shape, NaN, or values outside [0, 1].
    """
    if not isinstance(picture, np.ndarray) or picture.dtype.kind != "f":
        kind = picture.dtype if isinstance(picture, np.ndarray) else type(picture).__name__
        # Integers are refused because 0..255 and 0..1 cannot be told apart when a picture is all 0 and 1.
        raise ConfigurationError(f"display: picture is {kind}; expected a floating point array in [0, 1]")
    if picture.shape != shape:
        raise ConfigurationError(f"display: picture of shape {picture.shape}; expected {shape}")
    low, high = float(picture.min()), float(picture.max())
    if not (low >= 0 and high <= 1):  # false for NaN, too
        raise ConfigurationError(f"display: picture from {low:g} to {high:g}; expected values in [0, 1] without NaN")
    copy = picture.copy()
    copy.flags.writeable = False
    return copy
