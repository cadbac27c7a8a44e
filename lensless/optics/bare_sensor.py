"""A sensor with nothing in front of it but its cover glass: radiometry, and specks that cast shadows.

A plane scene lights a parallel plane of pixels at the distance d: E = L dA cos^4(theta) / d^2. Alone, that passes
about three numbers (total light and two tilts). An opaque speck on the glass, at the height h above the pixels, takes
from each pixel the light of the part of the scene that it hides: an inverted pinhole, whose shadow shows the scene
upside down and h / (d - h) times its size (Cohen 1982, "Anti-pinhole imaging", Optica Acta 29, 63, doi
10.1080/713820791).

What is left out here: diffraction. Shadows are geometric, which overstates specks of 10 um radius or less: the Fresnel
scale sqrt(wavelength h) is 20 um for green light at 0.7 mm.
"""

import math

import numpy as np
import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.optics.operator import DenseModel, checked_shapes

_SHADOW_NODES = 24  # least midpoints across the blur of a shadow's edge, and across a speck; its area errs by 1e-3


class BareSensor(DenseModel):
    """A bare sensor in front of a display, as a matrix of (pixels, scene pixels) in closed form.

    Args:
        scene_shape: rows and columns of square scene pixels, `scene_width_mm` wide in all.
        sensor_shape, pitch_um: rows, columns and pitch of the pixels.
        distance_mm: from scene to pixels.
        cover_glass_height_mm: of the specks above the pixels.
        specks, speck_radius_um: opaque discs, spread evenly at random over the glass above the pixels by `seed`.
        dtype, device: of the matrix.

    Raises:
        ConfigurationError: a geometry that cannot be.
    """

    def __init__(
        self,
        scene_shape: tuple[int, int] = (32, 32),
        sensor_shape: tuple[int, int] = (240, 240),
        distance_mm: float = 250.0,
        scene_width_mm: float = 50.0,
        pitch_um: float = 6.0,
        cover_glass_height_mm: float = 0.7,
        specks: int = 5,
        speck_radius_um: float = 20.0,
        seed: int = 3,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ):
        scene_shape, sensor_shape = checked_shapes(scene_shape, sensor_shape)
        for name, value, low, high in (
            ("distance_mm", distance_mm, 0, math.inf),
            ("scene_width_mm", scene_width_mm, 0, math.inf),
            ("pitch_um", pitch_um, 0, math.inf),
            ("cover_glass_height_mm", cover_glass_height_mm, 0, distance_mm),
            ("speck_radius_um", speck_radius_um, 0.1, math.inf),  # the midpoints of _cast_shadow resolve it
        ):
            if not low < value < high:
                raise ConfigurationError(f"BareSensor: {name} = {value} is outside ({low}, {high})")
        if specks < 0:
            raise ConfigurationError(f"BareSensor: specks = {specks}; expected 0 or more")
        real = dict(dtype=dtype, device=device)
        pitch_mm, pixel_mm = pitch_um * 1e-3, scene_width_mm / scene_shape[1]
        sensor_y, sensor_x = (_centres(n, pitch_mm, **real) for n in sensor_shape)
        scene_y, scene_x = (_centres(n, pixel_mm, **real) for n in scene_shape)
        extent = (sensor_shape[0] * pitch_mm, sensor_shape[1] * pitch_mm)
        centres = speck_centres_mm(specks, extent, seed)

        squares_y = (sensor_y[:, None] - scene_y).square()  # (H', H)
        squares_x = (sensor_x[:, None] - scene_x).square()  # (W', W)
        light = (distance_mm**2 + squares_y[:, None, :, None] + squares_x[None, :, None, :]).reciprocal_()
        light.square_()  # cos^4 / d^2 = d^2 / r^4, up to the constant that white = 1 fixes; (H', W', H, W)
        shrink = cover_glass_height_mm / distance_mm
        boxes_mm = (pitch_mm * (1 - shrink), pixel_mm * shrink)
        for centre_y, centre_x in centres:
            _cast_shadow(
                light, sensor_y * (1 - shrink) - centre_y, sensor_x * (1 - shrink) - centre_x,
                scene_y * shrink, scene_x * shrink, boxes_mm, radius_mm=speck_radius_um * 1e-3,
            )  # fmt: skip
        matrix = light.reshape(sensor_y.numel() * sensor_x.numel(), -1)
        matrix /= matrix.sum(1).max()
        super().__init__(matrix, scene_shape, sensor_shape)
        self.speck_centres_mm = centres


def speck_centres_mm(specks: int, extent_mm: tuple[float, float], seed: int) -> np.ndarray:
    """Centres (y, x) of the specks, (specks, 2), from the middle of the sensor; the first n of a seed never move."""
    return (np.random.default_rng(seed).random((specks, 2)) - 0.5) * np.asarray(extent_mm)


def _centres(count: int, pitch_mm: float, dtype, device) -> Tensor:
    return (torch.arange(count, dtype=dtype, device=device) - (count - 1) / 2) * pitch_mm


def _cast_shadow(
    light: Tensor, pixel_y: Tensor, pixel_x: Tensor, scene_y: Tensor, scene_x: Tensor, boxes_mm, radius_mm: float
) -> None:
    """Take from `light` (H', W', H, W) what one speck hides, in place; all lengths lie in the plane of the speck, mm.

    Where the speck is the origin, rows of pixels lie at `pixel_y` (H',), columns at `pixel_x` (W',), those of the scene
    at `scene_y` (H,) and `scene_x` (W,); `boxes_mm` are the sides of a pixel and of a scene pixel.

    The line from pixel p to scene point s crosses that plane at p (1 - h/d) + s h/d. Pixel and scene pixel have areas,
    which the crossing point sees as two boxes: what is hidden is the share of their convolution inside the disc.
    """
    reach = radius_mm + sum(boxes_mm) / 2
    rows = _within(pixel_y, scene_y, reach)
    columns = _within(pixel_x, scene_x, reach)
    if not len(rows) or not len(columns):
        return
    dy = pixel_y[rows, None] + scene_y  # (h, H)
    dx = pixel_x[columns, None] + scene_x  # (w, W)
    count = math.ceil(_SHADOW_NODES * max(1, sum(boxes_mm) / (2 * radius_mm)))
    offsets, weights = _trapezoid_nodes(boxes_mm, count, dx)
    hidden = 0.0
    for offset, weight in zip(offsets, weights, strict=True):
        half_chord = (radius_mm**2 - (dx + offset).square()).clamp_min(0).sqrt()[None, :, None, :]
        y = dy[:, None, :, None]
        hidden = hidden + weight * (_trapezoid_cdf(y + half_chord, boxes_mm) - _trapezoid_cdf(y - half_chord, boxes_mm))
    light[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] *= (1 - hidden).clamp_(0, 1)


def _within(pixels: Tensor, scene: Tensor, reach: float) -> Tensor:
    """Indices of the pixels from which a part of the scene is seen through the speck's surroundings."""
    touched = (pixels + scene.min() < reach) & (pixels + scene.max() > -reach)
    return torch.nonzero(touched).squeeze(1)


def _trapezoid_nodes(boxes_mm, count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Midpoints and weights of the convolution of two boxes centred on 0."""
    edges = torch.linspace(-0.5, 0.5, count + 1, dtype=torch.float64, device=like.device) * sum(boxes_mm)
    weights = _trapezoid_cdf(edges, boxes_mm).diff()
    return ((edges[1:] + edges[:-1]) / 2).to(like.dtype), weights.to(like.dtype)


def _trapezoid_cdf(t: Tensor, boxes_mm) -> Tensor:
    """Share of the convolution of two boxes of the widths a and b, centred on 0, that lies below t."""
    a, b = boxes_mm
    half_sum, half_difference = (a + b) / 2, (a - b) / 2
    t = t.clamp(-half_sum, half_sum)  # beyond, the squares below grow and their differences would be rounding errors

    def ramp(u: float) -> Tensor:
        return (t + u).clamp_min(0).square()

    corners = ramp(half_sum) - ramp(half_difference) - ramp(-half_difference) + ramp(-half_sum)
    return (corners / (2 * a * b)).clamp(0, 1)
