"""What shows a picture to the rig."""

from typing import Protocol, runtime_checkable

import numpy as np

from hardware.pattern_source import PatternSource, checked_picture


@runtime_checkable
class Display(PatternSource, Protocol):
    """A pattern source whose points are square pixels of a plane in front of the rig."""


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
