"""The point-spread function of a mask or a diffuser: what one point of light makes of the whole sensor.

Everything that such a camera sees is this picture, moved and added up, so it needs to be clean: the background taken
off, no light negative, and centred to a fraction of a pixel, or reconstructions lie beside the scene.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from calibration.stack import Stack
from hardware.errors import CalibrationMismatch

_CLIPPED_SHARE = 0.001
_NOISE_ABOVE = 3.0  # standard deviations: what is less is no light of the point
_LEAST_CONTRAST = 20.0


@dataclasses.dataclass(frozen=True, eq=False)
class PointSpread:
    """Args: `psf` (H, W) float32, sum 1, centred; `centre` (row, column) of its light on the sensor as it was measured;
    `noise`, relative error of the psf in the Euclidean norm; `background_dn` that was taken off.
    """

    psf: np.ndarray
    centre: tuple[float, float]
    noise: float
    background_dn: float


def measure_psf(lit: Stack, dark: Stack | None = None, centred: bool = True) -> PointSpread:
    """The point-spread function from frames of a point source.

    Args:
        lit: two or more frames of the point.
        dark: the same without the point, everything else as it was; without it the dimmest tenth of the pixels is
            taken for background.
        centred: move its centre of light to the middle of the sensor, by a Fourier shift.

    Raises:
        CalibrationMismatch: clipped, too dim, or frames of two settings.
    """
    clipped = float((lit.highest >= lit.meta.full_scale_dn).mean())
    if clipped > _CLIPPED_SHARE:
        raise CalibrationMismatch(
            f"point-spread function: {clipped:.1%} of the pixels are clipped, limit {_CLIPPED_SHARE:.1%}; a dimmer "
            "point, or a shorter exposure"
        )
    if dark is not None and (dark.meta.exposure_s, dark.meta.gain_db) != (lit.meta.exposure_s, lit.meta.gain_db):
        raise CalibrationMismatch(
            f"point-spread function: frames without the point have {dark.meta.exposure_s:g} s and "
            f"{dark.meta.gain_db:g} dB, those of it {lit.meta.exposure_s:g} s and {lit.meta.gain_db:g} dB; take both "
            "alike"
        )
    background = np.quantile(lit.mean, 0.05) if dark is None else dark.mean
    light = lit.mean - background
    noise_dn = float(
        np.sqrt(lit.variance.mean() / lit.frames + (0 if dark is None else dark.variance.mean() / dark.frames))
    )
    if light.max() < _LEAST_CONTRAST * noise_dn:
        raise CalibrationMismatch(
            f"point-spread function: its brightest pixel is {light.max():.1f} DN above the background, with noise of "
            f"{noise_dn:.2f} DN; expected {_LEAST_CONTRAST:g} times the noise: more light, or more frames"
        )
    kept = np.where(light > _NOISE_ABOVE * noise_dn, light, 0.0)
    centre = centre_of(kept)
    if centred:
        middle = tuple((side - 1) / 2 for side in light.shape)
        light = shifted(light, (middle[0] - centre[0], middle[1] - centre[1])).clip(0)
    else:
        light = light.clip(0)
    noise = noise_dn * np.sqrt(light.size) / float(np.linalg.norm(light))
    return PointSpread((light / light.sum()).astype(np.float32), centre, float(noise), float(np.mean(background)))


def at_depths(stacks: Mapping[float, Stack], dark: Stack | None = None) -> dict[float, PointSpread]:
    """One for each distance of the point, all moved as the nearest to the middle of the depths has to be: what differs
    between them is then their depth, and not how they were centred.
    """
    distances = sorted(stacks)
    middle = distances[len(distances) // 2]
    reference = measure_psf(stacks[middle], dark)
    found = {}
    for distance_mm in distances:
        as_it_is = measure_psf(stacks[distance_mm], dark, centred=False)
        by = tuple((side - 1) / 2 - at for side, at in zip(as_it_is.psf.shape, reference.centre, strict=True))
        psf = shifted(as_it_is.psf.astype(np.float64), by).clip(0)
        found[distance_mm] = dataclasses.replace(as_it_is, psf=(psf / psf.sum()).astype(np.float32))
    return found


def centre_of(light: np.ndarray) -> tuple[float, float]:
    """(row, column) of the centre of light, in pixels."""
    row, column = ndimage.center_of_mass(light)
    return float(row), float(column)


def shifted(picture: np.ndarray, by: tuple[float, float]) -> np.ndarray:
    """Moved by fractions of a pixel through the Fourier transform; what leaves on one side comes in on the other."""
    return np.fft.ifft2(ndimage.fourier_shift(np.fft.fft2(picture), by)).real
