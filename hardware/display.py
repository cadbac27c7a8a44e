"""What shows a picture to the rig: displays, simulated ones too."""

import collections
import math
import os
import pathlib
import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np

from hardware.errors import ConfigurationError, InputError, StorageError
from hardware.pattern_source import PatternSource, checked_picture

_KEPT_CHANGES = 64
_STORED = np.dtype("<f4")


@runtime_checkable
class Display(PatternSource, Protocol):
    """A pattern source whose points are square pixels of a plane in front of the rig."""


class SimulatedDisplay:
    """A display that holds what it shows; with a `refresh_hz`, as late and as slowly as a real one.

    `show` then returns at once, as a window does. The picture appears `lag_s` later at the next refresh, and what was
    there before goes over into it exponentially.

    Args:
        shape: (rows, columns).
        refresh_hz: how often a new picture can appear; None: at any time.
        lag_s: from `show` to the refresh that it is ready for.
        response_s: time constant of a pixel.
        gamma: radiance of a pixel is its value to this power.
        clock_ns: the clock that `light` counts on.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        refresh_hz: float | None = None,
        lag_s: float = 0.0,
        response_s: float = 0.0,
        gamma: float = 1.0,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ):
        self._shape = tuple(shape)
        self._refresh_hz, self._lag_s, self._response_s, self._gamma = refresh_hz, lag_s, response_s, gamma
        self._clock_ns = clock_ns
        # When a picture appeared (s), its radiance, and what light there was at that moment.
        self._changes: collections.deque[tuple[float, np.ndarray, np.ndarray]] = collections.deque(maxlen=_KEPT_CHANGES)
        self.clear()

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    @property
    def shown(self) -> np.ndarray:
        """What was shown last: (H, W), read-only."""
        return self._shown

    def show(self, picture: np.ndarray) -> None:
        """Show a picture, now or at the refresh that it is ready for; see `PatternSource`."""
        self._shown = checked_picture(picture, self._shape)
        radiance = self._shown if self._gamma == 1 else self._shown**self._gamma
        if not self._changes:
            self._changes.append((-math.inf, radiance, radiance))
            return
        at_s = self._clock_ns() * 1e-9 + self._lag_s
        if self._refresh_hz is not None:
            at_s = math.ceil(at_s * self._refresh_hz) / self._refresh_hz
        if self._changes[-1][0] >= at_s:  # it takes the place of one that has not appeared yet
            self._changes.pop()
        self._changes.append((at_s, radiance, self._at(at_s)))

    def clear(self) -> None:
        self.show(np.zeros(self._shape, np.float32))

    def light(self, start_ns: int, stop_ns: int) -> np.ndarray:
        """Mean radiance (H, W) over a time, white = 1: what a camera sees that exposes from then to then."""
        start_s, stop_s = start_ns * 1e-9, stop_ns * 1e-9
        if self._changes[-1][0] + 40 * self._response_s <= start_s:
            return self._changes[-1][1]
        total = np.zeros(self._shape)
        ends_s = [*(began_s for began_s, _, _ in list(self._changes)[1:]), math.inf]
        for (began_s, goal, before), end_s in zip(self._changes, ends_s, strict=True):
            low_s, high_s = max(start_s, began_s), min(stop_s, end_s)
            if high_s > low_s:
                left_s = 0.0
                if self._response_s and math.isfinite(began_s):
                    fades = (math.exp((began_s - at_s) / self._response_s) for at_s in (low_s, high_s))
                    left_s = self._response_s * (next(fades) - next(fades))
                total += goal * (high_s - low_s) + (before - goal) * left_s
        return total / (stop_s - start_s)

    def _at(self, at_s: float) -> np.ndarray:
        began_s, goal, before = self._changes[-1]
        if not self._response_s or math.isinf(began_s):
            return goal
        return goal + (before - goal) * math.exp((began_s - at_s) / self._response_s)


class FileDisplay:
    """A display that is a file: a simulated rig in another process looks at it (`simulated:RIG?display=FILE`).

    Args:
        path: of the file; its folder exists. A display of this shape that lies there is used.
        shape: (rows, columns).

    Raises:
        InputError: something else lies there.
        StorageError: the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike, shape: tuple[int, int]):
        self._path, self._shape = pathlib.Path(path), tuple(shape)
        if os.path.lexists(self._path):
            shown_in(self._path, self._shape)  # somebody's file is not overwritten
        self.clear()

    @property
    def shape(self) -> tuple[int, int]:
        return self._shape

    def show(self, picture: np.ndarray) -> None:
        """Show a picture: the file is replaced at once; see `PatternSource`.

        Raises:
            StorageError: the file cannot be written.
        """
        content = checked_picture(picture, self._shape).astype(_STORED).tobytes()
        partial = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            partial.write_bytes(content)
            os.replace(partial, self._path)  # whoever looks sees the one picture or the other
        except OSError as error:
            raise StorageError(
                f"display 'file:{self._path}' cannot be written: {error.strerror}; name a file in a folder of yours"
            ) from error

    def clear(self) -> None:
        self.show(np.zeros(self._shape, np.float32))


def shown_in(path: str | os.PathLike, shape: tuple[int, int]) -> np.ndarray:
    """What a `FileDisplay` shows now, (H, W); black as long as there is no file.

    Raises:
        InputError: the file holds something else.
    """
    expected_bytes = math.prod(shape) * _STORED.itemsize
    try:
        with open(path, "rb") as file:
            content = file.read(expected_bytes + 1)
        if len(content) != expected_bytes:
            raise ValueError(f"{len(content)} bytes or more; expected {expected_bytes}")
        return checked_picture(np.frombuffer(content, _STORED).reshape(shape), tuple(shape), "its content")
    except FileNotFoundError:
        return np.zeros(shape, np.float32)
    except (OSError, ValueError, ConfigurationError) as error:
        raise InputError(
            f"'{path}' is no display of {shape[0]} x {shape[1]} points ({error}); delete it, or name another file"
        ) from error
