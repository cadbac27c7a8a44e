"""The flat field: how much more or less each pixel says to the same light."""

from collections.abc import Iterable

import numpy as np

from calibration.mosaic import cells
from calibration.stack import mean_and_standard_error
from hardware.errors import CalibrationMismatch
from hardware.frame import Frame

# EMVA 1288 fits its lines up to 70 % of saturation, and takes its flat fields at 50 %; a few hot pixels may clip.
DARKEST_SHARE, CLIPPED_SHARE = 0.05, 0.001


def measure_flat(frames: Iterable[Frame], dark_dn: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Relative response of each pixel, mean 1, and its standard error.

    response = (mean frame - dark) / (mean of that over all pixels)

    Under a colour filter array the mean is that of the pixel's own plane. How much more the green pixels say than the
    blue ones is as much the colour of this lamp as their response, and white = 1 is one scalar for all four planes:
    what a filter passes belongs to the forward model (`filters` of `lensless.optics.mosaic.to_mosaic`).

    Args:
        frames: two or more under uniform light, at about half of full scale. Any fall-off of the light is taken for
            response: use an integrating sphere or a diffuser close by, never the rig's own light.
        dark_dn: (H, W) mean dark frame of the same setting (`measure_dark`), or one number.

    Returns:
        (H, W) float32 response, and (H, W) float32 standard error from the noise of these frames; that of the dark
        frame is not in it.

    Raises:
        CalibrationMismatch: frames of different cameras or settings, fewer than two, too bright, or too dark.
    """
    mean, standard_error, highest, meta = mean_and_standard_error(frames)
    if np.shape(dark_dn) not in ((), mean.shape):
        raise CalibrationMismatch(f"flat field: dark frame of shape {np.shape(dark_dn)}; expected {mean.shape}")
    clipped = float((highest >= meta.full_scale_dn).mean())
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
    return (signal_dn / level_dn).astype(np.float32), (standard_error / level_dn).astype(np.float32)


def _levels(signal_dn: np.ndarray, cfa: str | None) -> np.ndarray:
    """What each pixel's signal is relative to: the mean over all, or over its plane; (1, 1) or (H, W)."""
    if cfa is None:
        return signal_dn.mean(keepdims=True)
    of_planes = cells(signal_dn).mean((2, 3))
    return np.tile(of_planes, (signal_dn.shape[0] // 2, signal_dn.shape[1] // 2))
