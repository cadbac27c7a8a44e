"""What light passes from a scene to the pixels of a bare sensor, and how the matrix of that is kept best."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.optics.operator import DenseModel, ForwardModel
from lensless.optics.pose import Pose
from lensless.optics.radiometry import Radiometry
from lensless.optics.specks import SharpShadow, Walls, WaveShadow
from lensless.optics.structured import Block, StructuredModel, interpolated

_TILE = (8, 16)  # pixels; small, so that specks hide few of the scene's pixels from one; large, so that they are few
_SMALL = 2**19  # entries of a matrix that is dense in any case
_AREA_ERROR = 1e-4  # of the integral over a scene pixel
_NODES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # of Gauss and Legendre, along a scene pixel


@dataclasses.dataclass(frozen=True)
class BareLight:
    """Scene, obstacles and pixels, and what light passes between them, float64, in units of a lamp."""

    scene_shape: tuple[int, int]
    sensor_shape: tuple[int, int]
    pitch_mm: float
    scene_pixel_mm: float
    height_mm: float
    wall_height_mm: float
    wall_clearance_mm: float
    specks_mm: np.ndarray
    radius_mm: float
    diffraction: bool
    wavelength_nm: float
    bandwidth_nm: float
    veiling: float
    device: torch.device
    pose: Pose
    response: dict

    def model(
        self, dtype: torch.dtype, structured: bool | None, brightest: float | None = None
    ) -> tuple[ForwardModel, float]:
        """The model in units of the light `brightest`, by default that of its own brightest pixel, and that light."""
        entries = math.prod(self.scene_shape) * math.prod(self.sensor_shape)
        tolerance = 1e-7 if dtype == torch.float32 else 1e-12
        found = None
        if structured or (structured is None and entries > _SMALL and self._touched.double().mean() < 0.5):
            found = self._structured(tolerance)
        if found is not None and (structured or found.products < entries / 2):
            white = found.A(torch.ones(1, 1, *self.scene_shape, dtype=torch.float64, device=self.device))
            brightest = float(white.max()) if brightest is None else brightest
            found.U /= brightest
            for block in found.blocks:
                (block.right if block.left is None else block.left).div_(brightest)
            return found.to(dtype), brightest
        matrix, total = self._dense(dtype)
        brightest = total if brightest is None else brightest
        matrix /= brightest
        return DenseModel(matrix, self.scene_shape, self.sensor_shape), brightest

    def check_sight(self) -> None:
        """Refuse a pose in which a point of the scene lies below anything that belongs to the sensor."""
        sides = [n * self.scene_pixel_mm / 2 for n in self.scene_shape]
        y, x = (torch.tensor(ends, dtype=torch.float64) for ends in ((-sides[0], sides[0]), (-sides[1], sides[1])))
        lowest = float(self.pose.seen(x, y[:, None])[2].min())
        highest = max(self.height_mm, self.wall_height_mm)
        half_y, half_x = (n * self.pitch_mm / 2 for n in self.sensor_shape)
        (_, _, lean_x), (_, _, lean_y), _ = self.pose.axes
        nearest = self.pose.distance_mm - abs(lean_x) * half_x - abs(lean_y) * half_y
        if not nearest > 0:
            raise ConfigurationError(
                f"BareSensor: tilt_x_deg = {self.pose.tilt_x_deg:g} and tilt_y_deg = {self.pose.tilt_y_deg:g} put the "
                f"nearest pixel {nearest:.4g} mm before the plane of the scene; expected more than 0 mm"
            )
        if not lowest > highest:
            raise ConfigurationError(
                f"BareSensor: tilt_x_deg = {self.pose.tilt_x_deg:g} and tilt_y_deg = {self.pose.tilt_y_deg:g} leave a "
                f"part of the scene {lowest:.4g} mm above the plane of the pixels; expected more than {highest:g} mm, "
                "the height of what stands on it"
            )

    # --- light without obstacles ---

    @functools.cached_property
    def _axes(self) -> tuple[Tensor, Tensor]:
        """Centres of the pixels, y (H',) and x (W',)."""
        return tuple(_centres(n, self.pitch_mm, self.device) for n in self.sensor_shape)

    @functools.cached_property
    def _radiometry(self) -> Radiometry:
        y, x = torch.meshgrid(*self._axes, indexing="ij")
        return Radiometry(self.pose, x.flatten(), y.flatten(), **self.response)

    def _light(self, pixels: Tensor, y: Tensor, x: Tensor) -> Tensor:
        return self._radiometry.light(pixels, x, y)

    @functools.cached_property
    def _quadrature(self) -> tuple[Tensor, Tensor, Tensor]:
        """Places y (H, k), x (W, k) in the scene pixels, and their weights (k,); as few as keep `_AREA_ERROR`."""
        draw = torch.Generator().manual_seed(0)
        pixels = torch.randint(math.prod(self.sensor_shape), (64,), generator=draw).to(self.device)
        pixels[:2] = torch.tensor([0, math.prod(self.sensor_shape) - 1])
        place = torch.rand(2, 64, 1, generator=draw, dtype=torch.float64).to(self.device)
        place[:, 0], place[:, 1] = 0, 1  # the corners, too
        counts = torch.tensor(self.scene_shape, device=self.device)[:, None, None]
        y, x = ((place * counts).floor().clamp(max=counts - 1) - (counts - 1) / 2) * self.scene_pixel_mm

        def integral(nodes: int) -> Tensor:
            offsets, weights = self._gauss(nodes)
            dy, dx = (a.flatten() for a in torch.meshgrid(offsets, offsets, indexing="ij"))
            return (self._light(pixels, (y + dy).flatten(), (x + dx).flatten()).unflatten(1, (64, -1))
                    @ torch.outer(weights, weights).flatten())  # fmt: skip

        before = integral(_NODES[0])
        for few, more in itertools.pairwise(_NODES):
            now = integral(more)
            if (before - now).abs().max() <= _AREA_ERROR * now.abs().max():
                break
            few, before = more, now
        else:
            raise ConfigurationError(
                f"BareSensor: light changes too fast over a scene pixel of {self.scene_pixel_mm:.4g} mm for {few} x "
                f"{few} points in it to {_AREA_ERROR:g}; expected smaller scene pixels, or a layer of fewer fringes "
                "(layer_thickness_um)"
            )
        offsets, weights = self._gauss(few)
        return *(_centres(n, self.scene_pixel_mm, self.device)[:, None] + offsets for n in self.scene_shape), weights

    def _gauss(self, nodes: int) -> tuple[Tensor, Tensor]:
        offsets, weights = (torch.from_numpy(a).to(self.device) for a in np.polynomial.legendre.leggauss(nodes))
        return offsets * self.scene_pixel_mm / 2, weights / 2

    def _smooth(self, pixels: Tensor) -> Tensor:
        """(n, H W): to pixels of these flat indices, without specks and walls."""
        y, x, weights = self._quadrature
        total = 0.0
        for i, weight_y in enumerate(weights):
            for j, weight_x in enumerate(weights):
                node_y, node_x = torch.broadcast_tensors(y[:, None, i], x[:, j])
                total = total + weight_y * weight_x * self._light(pixels, node_y.flatten(), node_x.flatten())
        return total

    # --- obstacles ---

    def _boxes_mm(self, height_mm: float) -> tuple[float, float]:
        """Sides of a pixel and of a scene pixel, as the plane of that height sees them."""
        shrink = height_mm / self.pose.distance_mm
        return self.pitch_mm * (1 - shrink), self.scene_pixel_mm * shrink

    def _crossings(self, height_mm: float) -> tuple[Tensor, Tensor]:
        """Where lines to scene pixels cross that plane: y (H', 1, H, W) and x (1, W', H, W), or with sides of 1."""
        scene_y, scene_x = (_centres(n, self.scene_pixel_mm, self.device) for n in self.scene_shape)
        x, y, z = self.pose.seen(scene_x[None, :], scene_y[:, None])
        shrink = height_mm / z
        pixel_y, pixel_x = self._axes
        return (
            pixel_y[:, None, None, None] * (1 - shrink) + y * shrink,
            pixel_x[None, :, None, None] * (1 - shrink) + x * shrink,
        )

    @functools.cached_property
    def _at_specks(self) -> tuple[Tensor, Tensor]:
        return self._crossings(self.height_mm)

    @functools.cached_property
    def _at_walls(self) -> tuple[Tensor, Tensor]:
        return self._crossings(self.wall_height_mm)

    @functools.cached_property
    def _shadow(self) -> SharpShadow | WaveShadow:
        boxes_mm = self._boxes_mm(self.height_mm)
        if not self.diffraction:
            return SharpShadow(self.radius_mm, boxes_mm)
        path_mm = self.height_mm * (1 - self.height_mm / self.pose.distance_mm)
        return WaveShadow(self.radius_mm, boxes_mm, self.wavelength_nm, self.bandwidth_nm, path_mm, self.device)

    @functools.cached_property
    def _walls(self) -> Walls | None:
        if not self.wall_height_mm:
            return None
        half_mm = tuple(n * self.pitch_mm / 2 + self.wall_clearance_mm for n in self.sensor_shape)
        return Walls(half_mm, self._boxes_mm(self.wall_height_mm))

    @functools.cached_property
    def _shaded(self) -> list[tuple[np.ndarray, slice, slice]]:
        """Of each speck that shades a pixel: its centre, and the rows and columns of pixels that it may shade."""
        ends = [
            (c.amin((2, 3)).flatten().cpu().numpy(), c.amax((2, 3)).flatten().cpu().numpy()) for c in self._at_specks
        ]
        found = []
        for centre in self.specks_mm:
            touched = [
                np.flatnonzero((low < middle + self._shadow.reach_mm) & (high > middle - self._shadow.reach_mm))
                for (low, high), middle in zip(ends, centre, strict=True)
            ]
            if all(map(len, touched)):
                found.append((centre, *(slice(int(side[0]), int(side[-1]) + 1) for side in touched)))
        return found

    @functools.cached_property
    def _touched(self) -> Tensor:
        """Which pixels may miss light because of specks or walls, (H', W')."""
        mask = torch.zeros(self.sensor_shape, dtype=torch.bool)
        for _, rows, columns in self._shaded:
            mask[rows, columns] = True
        if self._walls is not None:
            sides = [
                (c.abs().amax((2, 3)).flatten() > half - self._walls.reach_mm).cpu()
                for c, half in zip(self._at_walls, self._walls.half_mm, strict=True)
            ]
            mask |= sides[0][:, None] | sides[1]
        return mask

    def _passing(self, rows: slice, columns: slice) -> Tensor:
        """Share of the light that specks and walls let pass to a rectangle of pixels, (h, w, H, W)."""
        sides = rows.stop - rows.start, columns.stop - columns.start
        share = torch.ones(*sides, *self.scene_shape, dtype=torch.float64, device=self.device)
        if self._walls is not None:
            y, x = self._at_walls
            share *= self._walls(y[rows], x[:, columns])
        y, x = self._at_specks
        for centre, own_rows, own_columns in self._shaded:
            both_rows, both_columns = _common(rows, own_rows), _common(columns, own_columns)
            if both_rows is None or both_columns is None:
                continue
            hidden = self._shadow(y[both_rows] - centre[0], x[:, both_columns] - centre[1])
            share[_counted_from(rows, both_rows), _counted_from(columns, both_columns)] *= (1 - hidden).clamp_(min=0)
        return share

    # --- both together ---

    def _within(self, rows: slice, columns: slice) -> Tensor:
        """Flat indices of the pixels of a rectangle."""
        width = self.sensor_shape[1]
        first = torch.arange(rows.start, rows.stop, device=self.device) * width
        return (first[:, None] + torch.arange(columns.start, columns.stop, device=self.device)).flatten()

    def _dense(self, dtype: torch.dtype) -> tuple[Tensor, float]:
        """The whole matrix, and the light of its brightest pixel."""
        scene_pixels, (height, width) = math.prod(self.scene_shape), self.sensor_shape
        matrix = torch.empty(height * width, scene_pixels, dtype=dtype, device=self.device)
        at_once = max(1, 2**20 // (width * scene_pixels))
        for first in range(0, height, at_once):
            rows = slice(first, min(first + at_once, height))
            everywhere = slice(0, width)
            share = self._passing(rows, everywhere).flatten(0, 1).flatten(1)
            light = self._smooth(self._within(rows, everywhere))
            matrix[rows.start * width : rows.stop * width] = light.mul_(share)
        if self.veiling:
            mean = matrix.mean(0, dtype=torch.float64)
            matrix.mul_(1 - self.veiling).add_((self.veiling * mean).to(dtype))
        return matrix, float(matrix.sum(1, dtype=torch.float64).max())

    def _structured(self, tolerance: float) -> StructuredModel | None:
        """None where the light without obstacles is not of low rank."""
        *places, weights = self._quadrature
        pixels = math.prod(self.sensor_shape)
        factors = interpolated(self._light, pixels, places, weights, tolerance)
        if factors is None:
            return None
        U, V = factors
        # A truncated block may err by its share of pixels of a small part of the whole.
        whole = float(((U.T @ U) * (V @ V.T)).sum().clamp_min(0)) ** 0.5
        allowed = 10 * tolerance * whole / pixels**0.5
        blocks = []
        for rows, columns in self._tiles():
            hidden = self._passing(rows, columns).flatten(0, 1).flatten(1).sub_(1)
            block = _block(rows, columns, hidden.mul_(U[self._within(rows, columns)] @ V), self.scene_shape)
            if block is not None:
                exact = tolerance < 1e-9  # a model in double precision is for checks, not for speed
                blocks.append(block if exact else block.compressed(allowed * block.right.shape[0] ** 0.5))
        model = StructuredModel(U, V, blocks, self.scene_shape, self.sensor_shape)
        return _veiled(model, self.veiling) if self.veiling else model

    def _tiles(self) -> Iterator[tuple[slice, slice]]:
        """Rectangles of touched pixels, which do not overlap, in tiles of a fixed grid."""
        for first_row in range(0, self.sensor_shape[0], _TILE[0]):
            for first_column in range(0, self.sensor_shape[1], _TILE[1]):
                tile = self._touched[first_row : first_row + _TILE[0], first_column : first_column + _TILE[1]]
                if tile.any():
                    yield tuple(
                        _span(tile.any(1 - side), first) for side, first in enumerate((first_row, first_column))
                    )


def _block(rows: slice, columns: slice, matrix: Tensor, scene_shape: tuple[int, int]) -> Block | None:
    """Without the pixels and scene pixels along its edges where it is 0; None where it is 0 everywhere."""
    sides = rows.stop - rows.start, columns.stop - columns.start
    whole = matrix.view(*sides, *scene_shape)
    lit = whole != 0
    if not lit.any():
        return None
    r, c, h, w = (_span(lit.sum([other for other in range(4) if other != side]) > 0, 0) for side in range(4))
    right = whole[r, c, h, w].flatten(2).flatten(0, 1)
    moved = [slice(outer.start + inner.start, outer.start + inner.stop) for outer, inner in ((rows, r), (columns, c))]
    return Block(*moved, h, w, right.contiguous())


def _veiled(model: StructuredModel, veiling: float) -> StructuredModel:
    """With the share `veiling` of every pixel's light spread evenly over all of them."""
    pixels = model.U.shape[0]
    everywhere = model.A_adjoint(model.U.new_full((1, 1, *model.sensor_shape), 1 / pixels)).flatten()
    for block in model.blocks:
        (block.right if block.left is None else block.left).mul_(1 - veiling)
    U = torch.cat([model.U * (1 - veiling), torch.ones_like(model.U[:, :1])], 1)
    V = torch.cat([model.V, veiling * everywhere[None]])
    return StructuredModel(U, V, list(model.blocks), model.scene_shape, model.sensor_shape)


def _centres(count: int, pitch_mm: float, device) -> Tensor:
    return (torch.arange(count, dtype=torch.float64, device=device) - (count - 1) / 2) * pitch_mm


def _span(flags: Tensor, first: int) -> slice:
    """From the first to the last one set, counted from `first`."""
    places = torch.nonzero(flags)
    return slice(first + int(places[0]), first + int(places[-1]) + 1)


def _common(a: slice, b: slice) -> slice | None:
    start, stop = max(a.start, b.start), min(a.stop, b.stop)
    return slice(start, stop) if start < stop else None


def _counted_from(outer: slice, inner: slice) -> slice:
    return slice(inner.start - outer.start, inner.stop - outer.start)
