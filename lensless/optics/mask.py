"""A mask or a diffuser in front of a sensor: a convolution with its point-spread function (PSF).

A point of the scene casts the pattern of the mask on the sensor; where the point moves, the pattern moves along, and
changes neither its form nor its light. Hence y = crop(psf * x). What falls beside the sensor is lost.

What is left out here: how the pattern changes over a wide field and with the depth of the scene, and everything that a
measured PSF does not show.
"""

import math

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn.functional import pad

from hardware.errors import ConfigurationError
from lensless.optics.checks import check_range, check_seed, checked_shape
from lensless.optics.operator import ForwardModel, largest_singular_value, noise_reach, real_tensor

LARGEST_MATRIX_BYTES = 4 * 2**30
_SMALL_MATRIX = 2**22  # entries: up to here the norm is that of the dense matrix


class Mask(ForwardModel):
    """A mask or diffuser camera: the linear convolution of the scene with a PSF, seen by a sensor of any size.

        y[i] = sum_j psf[(i - n') - (j - n) + k] x[j],    n, n', k = H // 2, H' // 2, kh // 2, and so for the columns:

    the middle of N pixels is the pixel N // 2. A point in the middle of the scene casts the PSF with its middle on that
    of the sensor. Scene pixels are as wide as what the PSF takes to move by one sensor pixel: with a mask at the
    distance b from the sensor and a scene at the distance a from the mask, pitch * a / b. A scene is given the way its
    shadow lies on the sensor: upside down.

    Colours have a PSF each: `Channels([Mask(red, ...), Mask(green, ...), Mask(blue, ...)], weights)`.

    Args:
        psf: light of one scene pixel on the sensor's grid, (kh, kw), of any size and scale; white = 1 sets its scale.
        scene_shape, sensor_shape: rows and columns.
        noise_std: of the entries of `psf`, in its units; it may lie about 5 of them below zero. `sampling_error` is
            the share of that noise in the PSF.
        dtype, device: of the model.

    Raises:
        ConfigurationError: a PSF that holds NaN, infinity, negative light or none, or casts none of it on the sensor.
    """

    def __init__(
        self,
        psf: ArrayLike | Tensor,
        scene_shape: tuple[int, int] = (32, 32),
        sensor_shape: tuple[int, int] = (64, 64),
        noise_std: float = 0.0,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ):
        kernel = _checked(real_tensor(psf, "psf").to(device, torch.float64), noise_std)
        noise_share = noise_std * kernel.numel() ** 0.5 / float(kernel.norm())
        super().__init__(scene_shape, sensor_shape, sampling_error=noise_share)
        kernel = kernel / kernel.max()
        axes = [_Axis(*sizes) for sizes in zip(self.scene_shape, kernel.shape, self.sensor_shape, strict=True)]
        self._axes, self._period = axes, tuple(axis.period for axis in axes)
        self.register_buffer("psf", kernel, persistent=False)
        self._transform()
        white = float(self.A(torch.ones(1, 1, *self.scene_shape, dtype=torch.float64, device=device)).max())
        if white <= 1e-12 * float(kernel.abs().sum()):  # what rounding leaves
            raise ConfigurationError(
                f"Mask: a psf of shape {tuple(kernel.shape)} casts no light of a scene of {self.scene_shape} pixels "
                f"on a sensor of {self.sensor_shape}; expected it around its middle"
            )
        self.psf /= white
        self.to(dtype)

    def _apply(self, fn, recurse: bool = True):
        """Whatever moves the PSF to another device or precision: its transform follows."""
        super()._apply(fn, recurse)
        self._transform()
        return self

    def _transform(self) -> None:
        # No buffer: `to(torch.float64)` would take the imaginary part from it.
        self._transfer = torch.fft.rfft2(self.psf, s=self._period)

    @property
    def period(self) -> tuple[int, int]:
        """Rows and columns of the plane on which the convolution is a periodic one; the scene lies at its beginning."""
        return self._period

    @property
    def transfer(self) -> Tensor:
        """The PSF's transform on that plane, as `torch.fft.rfft2` gives it."""
        return self._transfer

    @property
    def seen(self) -> tuple[slice, slice]:
        """Rows and columns of that plane that lie on the sensor."""
        return tuple(axis.seen for axis in self._axes)

    @property
    def lit(self) -> tuple[slice, slice]:
        """Rows and columns of the sensor that lie on that plane, as many as `seen`; all others stay dark."""
        return tuple(axis.lit for axis in self._axes)

    def A(self, x: Tensor) -> Tensor:
        self._flat_scene(x)
        rows, columns = self._axes
        full = torch.fft.irfft2(torch.fft.rfft2(x, s=self._period) * self._transfer, s=self._period)
        return pad(full[..., *self.seen], (*columns.dark, *rows.dark))

    def A_adjoint(self, y: Tensor) -> Tensor:
        self._flat_measurement(y)
        rows, columns = self._axes
        full = pad(y[..., *self.lit], (*columns.around, *rows.around))
        x = torch.fft.irfft2(torch.fft.rfft2(full, s=self._period) * self._transfer.conj(), s=self._period)
        return x[..., : self.scene_shape[0], : self.scene_shape[1]].contiguous()

    def as_matrix(self) -> Tensor:
        """The map as a dense matrix, (H' W', H W), written down from the PSF without a Fourier transform.

        Raises:
            ConfigurationError: it would take more than 4 GiB.
        """
        cells, pixels = math.prod(self.sensor_shape), math.prod(self.scene_shape)
        size_bytes = cells * pixels * self.psf.element_size()
        if size_bytes > LARGEST_MATRIX_BYTES:
            raise ConfigurationError(
                f"Mask: as a dense matrix it is {cells} x {pixels}, {size_bytes / 2**30:.1f} GiB, limit "
                f"{LARGEST_MATRIX_BYTES / 2**30:g} GiB; use A, A_adjoint, normal and norm, or smaller planes"
            )
        rows, columns = (axis.places(self.psf.device) for axis in self._axes)
        framed = pad(self.psf, (1, 1, 1, 1))  # places outside of the PSF point to its dark frame
        return framed[rows[:, None, :, None], columns[None, :, None, :]].reshape(cells, pixels)

    def norm(self) -> float:
        """The largest singular value of A; of a large model without its matrix."""
        if math.prod(self.sensor_shape) * math.prod(self.scene_shape) <= _SMALL_MATRIX:
            return super().norm()
        return largest_singular_value(self, self.psf)


class _Axis:
    """One axis of a convolution of n scene pixels with k of a PSF, seen by m sensor pixels.

    The full convolution has n + k - 1 places; sensor pixel 0 lies at the place `first`, which may be negative.

    `seen` are the places that the sensor sees, `lit` its pixels there; `dark` counts its pixels before and after them.
    A period that is too short folds places from the ends into one another; this one is just long enough to leave those
    alone that are seen. It has no prime factor above 5: other sizes are slow, and cuFFT has been wrong on some.
    `around` are the places before and after the seen ones in one period.
    """

    def __init__(self, n: int, k: int, m: int):
        self.n, self.k, self.m = n, k, m
        self.first, places = n // 2 + k // 2 - m // 2, n + k - 1
        begin, end = max(self.first, 0), min(self.first + m, places)
        self.period = next_fast_len(max(places - begin, end, n, k), real=True)
        self.seen, self.around = slice(begin, end), (begin, self.period - end)
        self.lit = slice(begin - self.first, end - self.first)
        self.dark = (self.lit.start, m - self.lit.stop)

    def places(self, device: torch.device) -> Tensor:
        """Where in a PSF with one dark pixel at each end sensor pixel i finds scene pixel j, (m, n)."""
        sensor, scene = torch.arange(self.m, device=device), torch.arange(self.n, device=device)
        return (self.first + sensor[:, None] - scene + 1).clamp_(0, self.k + 1)


def _checked(psf: Tensor, noise_std: float) -> Tensor:
    if psf.ndim != 2 or not psf.numel():
        raise ConfigurationError(
            f"Mask: psf has shape {tuple(psf.shape)}, expected (rows, columns); "
            "colours have a Mask each: Channels([Mask(psf, ...) for psf in psfs])"
        )
    check_range("Mask", "noise_std", noise_std, least=0, below=math.inf)
    if not bool(psf.isfinite().all()):
        raise ConfigurationError(f"Mask: psf holds {int((~psf.isfinite()).sum())} entries that are NaN or infinity")
    low, high = (float(end) for end in torch.aminmax(psf))
    if high <= 0:
        raise ConfigurationError("Mask: psf holds no light; expected at least one entry above 0")
    if low < -(reach := noise_reach(psf.numel())) * noise_std - 1e-6 * high:
        row, column = divmod(int(psf.argmin()), psf.shape[1])
        raise ConfigurationError(
            f"Mask: psf is {low:g} at row {row}, column {column}, more than {reach:.2g} noise_std of {noise_std:g} "
            "below 0; take off no more than its background (psf_from_picture does), or state its noise_std"
        )
    return psf


def psf_from_picture(
    picture: ArrayLike,
    background: float | tuple[slice, slice] = 0.05,
    shape: tuple[int, int] | None = None,
) -> np.ndarray:
    """The PSF in a picture of a point of light: less its background, clamped at 0, and its sum set to 1.

    Args:
        picture: linear in the light, (rows, columns), or (rows, columns, colours).
        background: the quantile of all pixels that counts as dark, 0 to below 1, or the region whose mean does, as
            (rows, columns); of each colour on its own.
        shape: rows and columns to which it is brought by area, none lost; by default those of the picture.

    Returns:
        float64, (kh, kw), or (colours, kh, kw), of which the brightest sums to 1, so that the sums are the weights of
        `Channels`.

    Raises:
        ConfigurationError: a picture or a background that cannot be.
    """
    light = np.asarray(picture, dtype=np.float64)
    if light.ndim not in (2, 3) or not light.size or not np.isfinite(light).all():
        raise ConfigurationError(
            f"psf_from_picture: got shape {light.shape}, {np.sum(~np.isfinite(light))} entries NaN or infinity; "
            "expected finite (rows, columns) or (rows, columns, colours)"
        )
    light = light[None] if light.ndim == 2 else np.moveaxis(light, 2, 0)
    dark = _background(light, background)
    light = (light - dark[:, None, None]).clip(0)
    if shape is not None:
        shape = checked_shape("psf_from_picture: shape", shape)
        rows, columns = (_shares(n, old / n, old, 1.0) for n, old in zip(shape, light.shape[1:], strict=True))
        light = rows @ light @ columns.T
    brightest = light.sum((1, 2)).max()
    if brightest <= 0:
        raise ConfigurationError(f"psf_from_picture: no light is left above a background of {dark.round(3).tolist()}")
    light /= brightest
    return light[0] if np.ndim(picture) == 2 else light


def _background(light: np.ndarray, background: float | tuple[slice, slice]) -> np.ndarray:
    if isinstance(background, tuple):
        region = light[:, *background]
        if region.size:
            return region.mean((1, 2))
        raise ConfigurationError(f"psf_from_picture: the region {background} holds none of {light.shape[1:]} pixels")
    check_range("psf_from_picture", "background", background, least=0, below=1)
    return np.quantile(light, background, axis=(1, 2))


def coded_aperture_psf(
    features: tuple[int, int] = (31, 31),
    feature_um: float = 30.0,
    mask_distance_mm: float = 1.0,
    point_distance_mm: float = 250.0,
    pitch_um: float = 6.0,
    shape: tuple[int, int] | None = None,
    open_share: float = 0.5,
    wavelength_nm: float = 550.0,
    seed: int = 0,
) -> np.ndarray:
    """The shadow that a random binary mask casts in the light of a point, by geometry.

    A point at the distance a casts a mask at the distance b from the sensor (a + b) / a times its size. Light goes
    straight while the Fresnel number feature^2 / (wavelength z), z = a b / (a + b), is well above 1
    (`fresnel_number`); at 1 or below the blur of diffraction, sqrt(wavelength z), is as wide as a feature.

    Args:
        features: rows and columns of square holes and stops; `feature_um` is their side.
        mask_distance_mm: from mask to sensor. point_distance_mm: from point to mask; infinity is allowed.
        pitch_um: of the sensor pixels, over which the shadow is averaged.
        shape: of the PSF; by default it just holds the shadow.
        open_share: chance of each feature to be open.
        seed: of the mask.

    Returns:
        float64 (kh, kw), the lit share of each pixel, 0 to 1.

    Raises:
        ConfigurationError: a geometry that cannot be, or a Fresnel number of 1 or below.
    """
    for name, value, high in (
        ("feature_um", feature_um, 1e6),
        ("mask_distance_mm", mask_distance_mm, 1e6),
        ("point_distance_mm", point_distance_mm, math.inf),
        ("pitch_um", pitch_um, 1e6),
        ("open_share", open_share, 1.0),
        ("wavelength_nm", wavelength_nm, 1e6),
    ):
        check_range("coded_aperture_psf", name, value, above=0, most=high)
    features = checked_shape("coded_aperture_psf: features", features)
    shape = None if shape is None else checked_shape("coded_aperture_psf: shape", shape)
    check_seed("coded_aperture_psf", seed)
    fresnel = fresnel_number(feature_um, mask_distance_mm, point_distance_mm, wavelength_nm)
    if fresnel <= 1:
        raise ConfigurationError(
            f"coded_aperture_psf: Fresnel number {fresnel:.2g}, expected above 1; geometry does not hold there: "
            "take larger features, or bring the mask closer"
        )
    shadow_um = feature_um * (1 + mask_distance_mm / point_distance_mm)
    if shape is None:
        shape = tuple(math.ceil(n * shadow_um / pitch_um) for n in features)
    mask = np.random.default_rng(seed).random(features) < open_share
    rows, columns = (_shares(n, pitch_um, m, shadow_um) for n, m in zip(shape, features, strict=True))
    return rows @ mask @ columns.T


def fresnel_number(
    feature_um: float, mask_distance_mm: float, point_distance_mm: float = math.inf, wavelength_nm: float = 550.0
) -> float:
    """feature^2 / (wavelength z) with 1 / z = 1 / mask distance + 1 / point distance.

    Raises:
        ConfigurationError: a length that is not above 0.
    """
    for name, value in (
        ("feature_um", feature_um), ("mask_distance_mm", mask_distance_mm), ("point_distance_mm", point_distance_mm),
        ("wavelength_nm", wavelength_nm),
    ):  # fmt: skip
        check_range("fresnel_number", name, value, above=0)
    z_mm = 1 / (1 / mask_distance_mm + 1 / point_distance_mm)
    return (feature_um * 1e-3) ** 2 / (wavelength_nm * 1e-6 * z_mm)


def _shares(cells: int, cell: float, parts: int, part: float) -> np.ndarray:
    """What share of each cell each part covers, (cells, parts); both rows are centred on one point."""
    cell_edges, part_edges = (np.arange(cells + 1) - cells / 2) * cell, (np.arange(parts + 1) - parts / 2) * part
    ends = np.minimum(cell_edges[1:, None], part_edges[1:])
    begins = np.maximum(cell_edges[:-1, None], part_edges[:-1])
    return (ends - begins).clip(0) / cell
