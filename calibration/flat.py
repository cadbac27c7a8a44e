"""The flat field: how much more or less each pixel says to the same light."""

from collections.abc import Iterable

import numpy as np
from numpy.polynomial.legendre import legvander

from calibration.mosaic import cells
from calibration.stack import Stack
from hardware.errors import CalibrationMismatch
from hardware.frame import Frame

# EMVA 1288 fits its lines up to 70 % of saturation, and takes its flat fields at 50 %; a few hot pixels may clip.
DARKEST_SHARE, CLIPPED_SHARE = 0.05, 0.001
SHAPE_DEGREE = 4  # of a lamp or a diffuser close by: 15 numbers, where the sensor has thousands
_FAR_OFF = 6.0  # standard deviations


def measure_flat(
    frames: Iterable[Frame], dark_dn: np.ndarray | float, degree: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Relative response of each pixel, mean 1, and its standard error.

    response = (mean frame - dark) / (light), the light being the mean of that over all pixels, or with a `degree` a
    polynomial of that degree in row and column, fitted to it: a lamp that falls off smoothly is not taken for response,
    and neither is a response that does.

    Under a colour filter array the mean is that of the pixel's own plane. How much more the green pixels say than the
    blue ones is as much the colour of this lamp as their response, and white = 1 is one scalar for all four planes:
    what a filter passes belongs to the forward model (`filters` of `lensless.optics.mosaic.to_mosaic`).

    Args:
        frames: two or more under uniform light, at about half of full scale: from an integrating sphere or a diffuser
            close by, never the rig's own light.
        dark_dn: (H, W) mean dark frame of the same setting (`measure_dark`), or one number.
        degree: of the light's shape; 0 is even light, any fall-off of which is taken for response. `SHAPE_DEGREE`
            serves lamps.

    Returns:
        (H, W) float32 response, and (H, W) float32 standard error from the noise of these frames; that of the dark
        frame is not in it.

    Raises:
        CalibrationMismatch: frames of different cameras or settings, fewer than two, too bright, or too dark.
    """
    return measure_flat_of(Stack.of(frames), dark_dn, degree)


def measure_flat_of(
    stack: Stack, dark_dn: np.ndarray | float, degree: int = SHAPE_DEGREE
) -> tuple[np.ndarray, np.ndarray]:
    """The same from frames that are averaged already; a lamp that falls off smoothly, unless told otherwise."""
    mean, meta = stack.mean, stack.meta
    if np.shape(dark_dn) not in ((), mean.shape):
        raise CalibrationMismatch(f"flat field: dark frame of shape {np.shape(dark_dn)}; expected {mean.shape}")
    clipped = float((stack.highest >= meta.full_scale_dn).mean())
    if clipped > CLIPPED_SHARE:
        raise CalibrationMismatch(
            f"flat field of camera {meta.camera_id!r}: {clipped:.1%} of the pixels are clipped in some frame, limit "
            f"{CLIPPED_SHARE:.1%}; halve the light or the exposure"
        )
    signal_dn = mean - dark_dn
    level_dn = _levels(signal_dn, meta.cfa)
    darkest_dn = float(level_dn.min())  # a NaN in the dark frame is in it, too
    lowest_dn = DARKEST_SHARE * (meta.full_scale_dn - float(np.mean(dark_dn)))
    if not darkest_dn >= lowest_dn:
        plane = "" if meta.cfa is None else " in its darkest colour"
        raise CalibrationMismatch(
            f"flat field of camera {meta.camera_id!r}: {darkest_dn:.1f} DN above dark{plane}, expected at least "
            f"{lowest_dn:.1f}; use more light or a longer exposure, up to half of full scale"
        )
    if degree:
        level_dn = _shaped(signal_dn, meta.cfa, degree)
    return (signal_dn / level_dn).astype(np.float32), (stack.standard_error / level_dn).astype(np.float32)


def without_shape(signal_dn: np.ndarray, defects: np.ndarray | None = None, degree: int = SHAPE_DEGREE) -> np.ndarray:
    """A frame above dark (H, W), divided by the smooth light that made it: mean 1."""
    return signal_dn / light_shape(signal_dn, defects, degree)


def light_shape(signal_dn: np.ndarray, defects: np.ndarray | None = None, degree: int = SHAPE_DEGREE) -> np.ndarray:
    """The polynomial of a total degree in row and column that lies nearest to a frame (H, W), by least squares; pixels
    far off it, such as defects, are left out.
    """
    rows, columns = (np.linspace(-1, 1, side) for side in signal_dn.shape)
    powers = [(down, right) for down in range(degree + 1) for right in range(degree + 1 - down)]
    # Legendre polynomials are nearly orthogonal here, where powers of row and column would be nearly alike.
    down, right = (legvander(side, degree) for side in (rows, columns))
    terms = np.stack([np.outer(down[:, i], right[:, j]).ravel() for i, j in powers], 1)
    values = signal_dn.ravel()
    good = np.isfinite(values) if defects is None else np.isfinite(values) & ~defects.ravel()
    for _ in range(3):
        weights, *_ = np.linalg.lstsq(terms[good], values[good], rcond=None)
        off = np.abs(values - terms @ weights)
        good &= off <= _FAR_OFF * 1.4826 * np.median(off[good])
    return (terms @ weights).reshape(signal_dn.shape)


def _shaped(signal_dn: np.ndarray, cfa: str | None, degree: int) -> np.ndarray:
    """The light of each pixel: of all, or of its plane."""
    light = np.empty_like(signal_dn)
    for plane in planes_of(cfa):
        light[plane] = light_shape(signal_dn[plane], None, degree)
    return light


def planes_of(cfa: str | None) -> list[tuple[slice, slice]]:
    """Where the pixels of each colour of a mosaic stand; all of them together without one."""
    if cfa is None:
        return [(slice(None), slice(None))]
    return [(slice(row, None, 2), slice(column, None, 2)) for row in (0, 1) for column in (0, 1)]


def _levels(signal_dn: np.ndarray, cfa: str | None) -> np.ndarray:
    """What each pixel's signal is relative to: the mean over all, or over its plane; (1, 1) or (H, W)."""
    if cfa is None:
        return signal_dn.mean(keepdims=True)
    of_planes = cells(signal_dn).mean((2, 3))
    return np.tile(of_planes, (signal_dn.shape[0] // 2, signal_dn.shape[1] // 2))
