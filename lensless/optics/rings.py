"""The matrix of a rod from its symmetry: rays are traced once for each radius of the scene, and turned.

Turning a source about the axis of the rod turns its image by the same angle. So all there is to know are the images
T(rho; r, phi) of sources at the radius rho, in polar coordinates of the face. A scene pixel, wherever it lies, is a
sum of turned images over the radii and azimuths alpha that it covers:

    I(r, phi) = sum_k integral w_k(alpha) T_k(r, phi - alpha) d alpha,

a product in Fourier space of phi. Each ray serves all pixels that its ring crosses, and so a hundredth of the rays
gives the error of tracing every pixel by itself. The mirror symmetry of the rod makes each ray count twice.
"""

import math
import warnings

import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.optics.rod import Relay, Rod

RINGS = 16  # radii for one scene pixel's width; 8 would leave 0.3 % of the default rig's matrix wrong
_PER_CELL = 16  # radial bins for one cell: images have caustics, which are rings; 4 bins would leave 1 %
_PER_CELL_AROUND = 4  # bins in azimuth for one cell at the rim, at least
_KEPT = 3 * RINGS  # rings in memory; a pixel takes half of them, and its successors nearly the same
_MOST_GIB = 8.0  # of memory for those
_SPLITS = 4  # of each bin in azimuth, to share it among the cells that it touches
_RAYS_AT_ONCE = 2**17  # a few arrays of this size stay in the second-level cache of a core


class Rings:
    """Images of the rings of a scene, traced when they are asked for.

    Args:
        rod, relay: what lies between; the relay must be `round`.
        width_mm: of one scene pixel, which takes RINGS rings.
        cell_mm: side of a cell, at the scale of the face.
        steepest: slope of the steepest ray.
        rays: in each of the independent halves, for each ring.
        halves: two tell the sampling error; one takes half the time.
        seed: of the rays.
    """

    def __init__(
        self,
        rod: Rod,
        relay: Relay,
        width_mm: float,
        cell_mm: float,
        steepest: float,
        rays: int,
        seed: int,
        device: torch.device,
        halves: int = 2,
    ):
        self.rod, self.relay, self.seed, self.device = rod, relay, seed, device
        self.step_mm = width_mm / RINGS
        self.reach_mm = rod.radius_mm + abs(relay.defocus_mm) * steepest
        self.radial = max(16, math.ceil(self.reach_mm / cell_mm * _PER_CELL))
        rim_cells = 2 * math.pi * self.reach_mm / cell_mm
        self.around = max(64, 2 ** math.ceil(math.log2(rim_cells * _PER_CELL_AROUND)))
        needed_gib = 4 * halves * (self.around // 2 + 1) * _KEPT * self.radial / 2**30
        if needed_gib > _MOST_GIB:
            raise ConfigurationError(
                f"Cannula: images of {self.radial} x {self.around} bins take {needed_gib:.1f} GiB; expected at most "
                f"{_MOST_GIB:g} GiB: take larger cells (pitch_um), or less defocus_um"
            )
        self.harmonics = torch.arange(self.around // 2 + 1, device=device)
        # Bins of phi are centred half a bin further on, and both counting in bins and sharing them out blurs by one.
        self._blur = torch.sinc(self.harmonics / self.around) ** 2
        self._half_bin = math.pi * self.harmonics / self.around
        self._points = [sobol(4, rays, seed, half, device) for half in range(halves)]
        self._kept = torch.empty(halves, len(self.harmonics), _KEPT, self.radial, device=self.device)
        self._first = self._last = 0

    def images(self, first: int, last: int) -> Tensor:
        """Cosine coefficients of the images of the rings first .. last - 1, of the halves of the rays.

        (halves, harmonics, rings, radial bins); each ring's light adds up to what one unit of its area sends. Rings far
        below the last ones are forgotten: ask in ascending order.
        """
        room = self._kept.shape[2]
        if first < self._first or first > self._last or last - first > room:
            room = max(room, last - first)
            self._kept = torch.empty(len(self._points), len(self.harmonics), room, self.radial, device=self.device)
            self._first = self._last = first
        if last > self._first + room:
            lowest = max(self._first, last - room, first - 4)  # the next pixel may begin a few rings lower
            still = self._last - lowest
            self._kept[:, :, :still] = self._kept[:, :, lowest - self._first : self._last - self._first].clone()
            self._first = lowest
        for ring in range(self._last, last):
            self._kept[:, :, ring - self._first] = self._image(ring)
        self._last = max(last, self._last)
        return self._kept[:, :, first - self._first : last - self._first]

    def _image(self, ring: int) -> Tensor:
        bins = self.around // 2
        shift = torch.rand(4, generator=torch.Generator().manual_seed(self.seed * 1_000_003 + ring)).to(self.device)
        halves = []
        for points in self._points:
            counts = torch.zeros(self.radial * bins, dtype=torch.float64, device=self.device)
            for u in ((points + shift) % 1).split(_RAYS_AT_ONCE):
                rho = (ring + u[:, 3]) * self.step_mm
                x, y, light = self.rod.trace(u, rho, torch.zeros_like(rho), self.relay)
                r = (torch.hypot(x, y) * (self.radial / self.reach_mm)).long().clamp_(max=self.radial - 1)
                phi = (torch.atan2(y, x).abs() * (bins / math.pi)).long().clamp_(max=bins - 1)
                counts += torch.bincount(r * bins + phi, weights=light, minlength=len(counts))
            image = (counts.reshape(self.radial, bins) / (2 * len(points))).float()
            spectrum = torch.fft.rfft(torch.cat([image, image.flip(1)], dim=1))
            turned = spectrum * torch.polar(torch.ones_like(self._half_bin), -self._half_bin)
            halves.append((turned.real / self._blur).T)  # even in phi: the coefficients are real
        return torch.stack(halves)

    def turned(self, x: Tensor, y: Tensor, weight: Tensor, roll: float) -> Tensor:
        """Light of sources at (x, y) with these weights, (n,), in polar bins: (halves, radial bins x azimuth bins).

        The frame is turned by `roll` radians.
        """
        ring = (torch.hypot(x, y) / self.step_mm).long()
        first, last = int(ring.min()), int(ring.max()) + 1
        angle = self.harmonics[:, None] * (torch.atan2(y, x) - roll)
        waves = torch.stack([torch.cos(angle), -torch.sin(angle)]) * weight
        sums = torch.zeros(2, len(self.harmonics), last - first, device=self.device)
        sums.index_add_(2, ring - first, waves)
        real, imaginary = (sums.transpose(0, 1) @ self.images(first, last)).unbind(2)  # (2, harmonics, radial bins)
        spectrum = (
            torch.complex(real, imaginary) * torch.polar(torch.ones_like(self._half_bin), self._half_bin)[:, None]
        )
        return torch.fft.irfft(spectrum.transpose(1, 2), n=self.around).flatten(1)

    def points_across(self, distance_mm: float, width_mm: float) -> int:
        """How many points across a scene pixel stand for it: two bins apart in azimuth, seen from the axis."""
        wanted = self.around * width_mm / (4 * math.pi * max(distance_mm, 0.3 * width_mm))
        return min(128, max(16, math.ceil(wanted)))


class Cells:
    """Which share of each polar bin falls on which cell of the sensor.

    Args:
        rings: whose bins they are.
        shape: rows and columns of cells.
        cell_mm: their side.
        shift_x_mm, shift_y_mm: how far the image lies beside the middle of the sensor.
    """

    def __init__(
        self, rings: Rings, shape: tuple[int, int], cell_mm: float, shift_x_mm: float = 0.0, shift_y_mm: float = 0.0
    ):
        rows, columns = self.shape = shape
        real = dict(device=rings.device, dtype=torch.float64)
        r = (torch.arange(rings.radial, **real) + 0.5) * (rings.reach_mm / rings.radial)
        phi = (torch.arange(rings.around * _SPLITS, **real) + 0.5) * (2 * math.pi / rings.around / _SPLITS)
        column = torch.floor((r[:, None] * torch.cos(phi) + shift_x_mm) / cell_mm + columns / 2)
        row = torch.floor((r[:, None] * torch.sin(phi) + shift_y_mm) / cell_mm + rows / 2)
        inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
        cell = (row * columns + column).long()[inside]
        bins = rings.radial * rings.around
        pairs, parts = torch.unique(
            cell * bins + torch.nonzero(inside.flatten()).squeeze(1) // _SPLITS, return_counts=True
        )
        starts = torch.searchsorted(pairs, torch.arange(rows * columns + 1, device=rings.device) * bins)
        with warnings.catch_warnings():  # torch calls these a beta, and knows nothing as fast
            warnings.simplefilter("ignore", UserWarning)
            self._shares = torch.sparse_csr_tensor(
                starts, pairs % bins, parts.float() / _SPLITS, (rows * columns, bins), check_invariants=True
            )

    def collect(self, images: Tensor) -> Tensor:
        """Light on each cell, (n, rows, columns), of images in polar bins, (n, bins)."""
        return torch.stack([self._shares @ image for image in images]).reshape(-1, *self.shape)


def sobol(dimensions: int, count: int, seed: int, half: int, device: str | torch.device) -> Tensor:
    """Scrambled Sobol points (count, dimensions) in 0 .. 1; the two halves of a seed are independent."""
    engine = torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=2 * seed + half)
    return engine.draw(count).to(device)
