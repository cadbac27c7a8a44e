"""A colour sensor's frames: kept as they are, and split into the planes of their filters; never demosaiced.

A mosaic is named by the filters of the top left four pixels of the *frame*, row by row: "RGGB" has red at (0, 0), green
at (0, 1) and (1, 0), blue at (1, 1). A frame that begins elsewhere on the sensor has another name: `shifted_cfa`.
Nothing here guesses the colours that a pixel did not see. Planes stand in reading order, the order of the pattern's
letters; `lensless.optics.mosaic` has the same four as tensors, in one order for every pattern.
"""

import numpy as np

from hardware.errors import ConfigurationError

PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")


def plane_names(cfa: str) -> tuple[str, str, str, str]:
    """The planes of a pattern in reading order, the two greens told apart: "RGGB" -> ("R", "G1", "G2", "B").

    Raises:
        ConfigurationError: an unknown pattern.
    """
    check_cfa(cfa)
    names = (f"G{cfa[: at + 1].count('G')}" if letter == "G" else letter for at, letter in enumerate(cfa))
    return tuple(names)


def split_planes(pixels: np.ndarray, cfa: str = "RGGB") -> np.ndarray:
    """The four planes of a frame: (H, W) -> (4, H / 2, W / 2) in the order of `plane_names`, of the same type.

    It is a copy; `cells` are the same numbers without one.

    Raises:
        ConfigurationError: an unknown pattern, an odd number of rows or columns, or more dimensions than two.
    """
    check_cfa(cfa)
    at = cells(pixels)
    return at.reshape(4, *at.shape[2:])


def join_planes(planes: np.ndarray, cfa: str = "RGGB") -> np.ndarray:
    """The inverse of `split_planes`: (4, H, W) -> (2 H, 2 W).

    Raises:
        ConfigurationError: an unknown pattern, or another shape.
    """
    check_cfa(cfa)
    if planes.ndim != 3 or len(planes) != 4:
        raise ConfigurationError(f"mosaic: planes of shape {planes.shape}; expected (4, rows, columns)")
    _, rows, columns = planes.shape
    return planes.reshape(2, 2, rows, columns).transpose(2, 0, 3, 1).reshape(2 * rows, 2 * columns)


def cells(pixels: np.ndarray) -> np.ndarray:
    """A view of a frame by the place of a pixel in its cell of four: (H, W) -> (2, 2, H / 2, W / 2).

    Raises:
        ConfigurationError: an odd number of rows or columns, or more dimensions than two.
    """
    if pixels.ndim != 2:
        raise ConfigurationError(
            f"mosaic: a frame of shape {pixels.shape}; expected (rows, columns): a frame with channels is demosaiced "
            "already; ask the camera for its raw format"
        )
    rows, columns = pixels.shape
    if rows % 2 or columns % 2:
        raise ConfigurationError(
            f"mosaic: a frame of {rows} x {columns} pixels; expected even numbers of rows and columns; "
            f"leave out what is odd: pixels[: {rows - rows % 2}, : {columns - columns % 2}]"
        )
    return pixels.reshape(rows // 2, 2, columns // 2, 2).transpose(1, 3, 0, 2)


def shifted_cfa(cfa: str, top: int, left: int) -> str:
    """The pattern of a frame that begins `top` rows below and `left` columns right of one with the pattern `cfa`.

    Raises:
        ConfigurationError: an unknown pattern.
    """
    check_cfa(cfa)
    return "".join(cfa[(row + top) % 2 * 2 + (column + left) % 2] for row in (0, 1) for column in (0, 1))


def check_cfa(cfa: str) -> None:
    """Raises ConfigurationError unless `cfa` is one of `PATTERNS`."""
    if cfa not in PATTERNS:
        raise ConfigurationError(f"mosaic: pattern {cfa!r}; expected one of {', '.join(PATTERNS)}")
