"""Colour filter arrays: what a sensor sees under a Bayer mosaic, and its frame as four planes.

A mosaic is named by the filters of its top left four pixels, row by row, as `FrameMeta.cfa` does: "RGGB" has red at
(0, 0), green at (0, 1) and (1, 0), blue at (1, 1). A region that starts at an odd row or column has another name.
Nothing here guesses the colours that a pixel did not see: a frame becomes four planes, each a quarter of its pixels.
All of this is linear; `to_mosaic_adjoint` is the transpose of `to_mosaic`, and `from_planes` both the transpose and the
inverse of `to_planes`.
"""

import torch
from torch import Tensor

from hardware.errors import ConfigurationError

PATTERNS = ("RGGB", "BGGR", "GRBG", "GBRG")
PLANES = ("R", "Gr", "Gb", "B")  # of any pattern, in this order; Gr is the green of the red rows, Gb of the blue rows


def to_mosaic(y: Tensor, pattern: str, filters: Tensor | None = None) -> Tensor:
    """What the pixels see of the illuminance of three colours: (B, 3, H', W') -> (B, 1, H', W').

    Args:
        y: illuminance of red, green and blue light, white = 1; any size, also an odd one.
        pattern: one of `PATTERNS`.
        filters: (3, 3), not negative: filters[f, c] is what the filter f passes of the light of colour c, both in the
            order red, green, blue. By default each passes all of its own colour and nothing else. A white scene looks
            alike in all pixels if every row has the same sum.

    Raises:
        ConfigurationError: another shape or pattern, or filters that cannot be.
    """
    _check_channels(y, 3)
    seen = y if filters is None else torch.einsum("fc,bchw->bfhw", _checked(filters, y), y)
    return seen.gather(1, _colours(y, pattern))


def to_mosaic_adjoint(frame: Tensor, pattern: str, filters: Tensor | None = None) -> Tensor:
    """The transpose of `to_mosaic`: (B, 1, H', W') -> (B, 3, H', W')."""
    _check_channels(frame, 1)
    batch, _, rows, columns = frame.shape
    seen = frame.new_zeros(batch, 3, rows, columns).scatter(1, _colours(frame, pattern), frame)
    return seen if filters is None else torch.einsum("fc,bfhw->bchw", _checked(filters, frame), seen)


def to_planes(frame: Tensor, pattern: str) -> Tensor:
    """The four planes of a frame, in the order of `PLANES`: (B, 1, H', W') -> (B, 4, H' / 2, W' / 2).

    Raises:
        ConfigurationError: another shape or pattern, or an odd number of rows or columns. Four planes of one size
            cannot hold these, and a pixel that is not there must not look like a dark one: leave the last one out.
    """
    _check_channels(frame, 1)
    rows, columns = frame.shape[-2:]
    if rows % 2 or columns % 2:
        raise ConfigurationError(
            f"mosaic: a frame of {rows} x {columns} pixels; expected even numbers of rows and columns; "
            f"leave out what is odd: frame[..., : {rows - rows % 2}, : {columns - columns % 2}]"
        )
    # Not by pixel_unshuffle, which leaves the shape of an empty batch as it is.
    batch, half_rows, half_columns = len(frame), rows // 2, columns // 2
    cells = frame.reshape(batch, half_rows, 2, half_columns, 2).permute(0, 2, 4, 1, 3)
    return cells.reshape(batch, 4, half_rows, half_columns)[:, _places(pattern)]


def from_planes(planes: Tensor, pattern: str) -> Tensor:
    """The inverse of `to_planes`, and its transpose: (B, 4, H, W) -> (B, 1, 2 H, 2 W)."""
    _check_channels(planes, 4)
    batch, _, rows, columns = planes.shape
    cells = planes[:, _places(pattern)].reshape(batch, 2, 2, rows, columns).permute(0, 3, 1, 4, 2)
    return cells.reshape(batch, 1, 2 * rows, 2 * columns)


def _places(pattern: str) -> list[int]:
    """Where the `PLANES` lie in the four pixels of a pattern, counted row by row; also which plane each of these is."""
    if pattern not in PATTERNS:
        raise ConfigurationError(f"mosaic: pattern {pattern!r}; expected one of {', '.join(PATTERNS)}")
    red = pattern.index("R")
    return [red, red ^ 1, red ^ 2, red ^ 3]  # bit 0 is the column, bit 1 the row; its own inverse


def _colours(like: Tensor, pattern: str) -> Tensor:
    """The filter of every pixel, 0 red, 1 green, 2 blue: (B, 1, H', W')."""
    batch, _, rows, columns = like.shape
    cell = torch.tensor([0, 1, 1, 2], device=like.device)[_places(pattern)].reshape(2, 2)
    tiled = cell.repeat((rows + 1) // 2, (columns + 1) // 2)
    return tiled[:rows, :columns].expand(batch, 1, rows, columns)


def _checked(filters: Tensor, like: Tensor) -> Tensor:
    filters = torch.as_tensor(filters, dtype=like.dtype, device=like.device)
    if filters.shape != (3, 3):
        raise ConfigurationError(f"mosaic: filters of shape {tuple(filters.shape)}; expected (3, 3): filter, colour")
    low, high = torch.aminmax(filters)  # NaN spreads to both
    if not (low >= 0 and torch.isfinite(high)):
        raise ConfigurationError(
            f"mosaic: filters pass from {float(low):g} to {float(high):g} of the light; expected finite values >= 0"
        )
    return filters


def _check_channels(image: Tensor, channels: int) -> None:
    if image.ndim != 4 or image.shape[1] != channels:
        raise ConfigurationError(
            f"mosaic: got an array of shape {tuple(image.shape)}, expected (batch, {channels}, rows, columns)"
        )
