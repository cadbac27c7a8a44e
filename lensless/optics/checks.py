"""Refusing numbers that cannot be, in one form of words."""

import dataclasses
import math
import numbers

from hardware.errors import ConfigurationError
from hardware.rig import AlignmentSpec

# Names carry units at their ends; the longer ending goes first.
_UNITS = {
    "_electrons_per_dn": "electrons/DN", "_electrons_per_s": "electrons/s", "_deg_per_mm": "degrees/mm",
    "_per_rad": "1/rad", "_electrons": "electrons", "_mrad": "mrad", "_deg": "degrees", "_mm": "mm", "_um": "um",
    "_nm": "nm", "_dn": "DN", "_s": "s", "_c": "degrees C",
}  # fmt: skip


def check_range(
    owner: str,
    name: str,
    value: float,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> None:
    """Refuse a number outside of its range; NaN, and what is no number, is outside of every range.

    Raises:
        ConfigurationError: with the owner, the name, the value, its unit and the range.
    """
    limits = (
        (above, "above", lambda: value > above),
        (least, "at least", lambda: value >= least),
        (below, "below", lambda: value < below),
        (most, "at most", lambda: value <= most),
    )
    stated = [(limit, words, holds) for limit, words, holds in limits if limit is not None]
    try:
        inside = all(holds() for _, _, holds in stated)
    except TypeError:  # text, or nothing
        inside = False
    if not inside:
        expected = " and ".join(f"{words} {limit:g}" for limit, words, _ in stated)
        if len(stated) == 2 and least is not None and most is not None:
            expected = f"{least:g} to {most:g}"
        unit = next((f" {unit}" for ending, unit in _UNITS.items() if name.endswith(ending)), "")
        raise ConfigurationError(f"{owner}: {name} = {value!r}{unit}; expected {expected}{unit}")


def checked_shape(name: str, shape: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns as plain integers.

    Raises:
        ConfigurationError: it is not (rows, columns), each a whole number of at least 1.
    """
    try:
        fits = len(shape) == 2 and all(isinstance(n, numbers.Integral) and n >= 1 for n in shape)
    except TypeError:
        fits = False
    if not fits:
        raise ConfigurationError(f"{name} is {shape}; expected (rows, columns), each a whole number >= 1")
    return int(shape[0]), int(shape[1])


def check_alignment(owner: str, alignment: AlignmentSpec) -> None:
    """Refuse tilts of a right angle and more, and what is not finite.

    Raises:
        ConfigurationError: see `check_range`.
    """
    for name, value in dataclasses.asdict(alignment).items():
        limit = 90 if "tilt" in name else math.inf
        check_range(owner, f"alignment.{name}", value, above=-limit, below=limit)


def check_white(owner: str, white: float) -> None:
    """Refuse a rig whose all-white scene lights nothing, or beyond what numbers hold.

    Raises:
        ConfigurationError: naming what to look at.
    """
    if not 0 < white < math.inf:
        raise ConfigurationError(
            f"{owner}: the brightest pixel of an all-white scene has the light {white:g}; expected more than 0. "
            "Check the lengths, distances and apertures"
        )


def check_seed(owner: str, seed: int) -> None:
    """Refuse a seed that is no whole number of 0 to 2^32 - 1.

    Raises:
        ConfigurationError: with the owner and the seed.
    """
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ConfigurationError(f"{owner}: seed = {seed!r}; expected a whole number of 0 to {2**32 - 1}")
