"""A scene in colours, seen by a sensor of which each pixel sees one of them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.optics.channels import Channels
from lensless.optics.mosaic import to_mosaic, to_mosaic_adjoint
from lensless.optics.operator import GRAM_FLOOR, ForwardModel, leading_svd, roots


class Mosaicked(ForwardModel):
    """Red, green and blue through a matrix each, then a Bayer mosaic: y = w to_mosaic(A_r x_r, A_g x_g, A_b x_b).

    Scenes are (B, 3, H, W), measurements (B, 1, H', W'); the matrix is (H' W', 3 H W), channel first. No pixel sees two
    colours, so A* A is block diagonal. The weight w makes the brightest pixel of a white scene 1.

    Args:
        models: for red, green and blue; of the same shapes, dtype and device, each for any number of channels.
        pattern: filters of the top left four pixels, row by row, such as "RGGB".

    Raises:
        ConfigurationError: not three models that fit together, or an unknown pattern.
    """

    channels, measured_channels = 3, 1

    def __init__(self, models: Sequence[ForwardModel], pattern: str):
        if len(models) != 3:
            raise ConfigurationError(f"Mosaicked: {len(models)} models; expected three, for red, green and blue")
        white = Channels(models)
        ones = torch.ones(1, 3, *white.scene_shape).to(next(white.buffers()))
        peak = float(to_mosaic(white.A(ones), pattern).max())
        colours = Channels(models, (1 / peak,) * 3 if peak > 0 else None)
        super().__init__(colours.scene_shape, colours.sensor_shape, colours.sampling_error, colours.sampling_spectrum)
        self.colours, self.pattern = colours, pattern
        everywhere = torch.ones(1, 1, *self.sensor_shape).to(ones)
        sites = to_mosaic_adjoint(everywhere, pattern)[0].flatten(1)  # (3, H' W'), 1 where a pixel sees the colour
        self.register_buffer("sites", sites, persistent=False)

    def A(self, x: Tensor) -> Tensor:
        return to_mosaic(self.colours.A(x), self.pattern)

    def A_adjoint(self, y: Tensor) -> Tensor:
        self._flat_measurement(y)
        return self.colours.A_adjoint(to_mosaic_adjoint(y, self.pattern))

    def as_matrix(self) -> Tensor:
        """The map as a dense matrix, (H' W', 3 H W)."""
        return self.rows(torch.arange(self.sites.shape[1], device=self.sites.device))

    def rows(self, pixels: Tensor) -> Tensor:
        scene_pixels = self.scene_shape[0] * self.scene_shape[1]
        rows = self.sites.new_zeros(len(pixels), 3 * scene_pixels)
        for colour, model in enumerate(self.colours.models):
            seen = self.sites[colour, pixels] > 0
            rows[seen, colour * scene_pixels : (colour + 1) * scene_pixels] = model.rows(pixels[seen])
        return rows.mul_(self.colours.weights[0])

    def gram(self, weights: Tensor | None = None) -> Tensor:
        return torch.block_diag(*self._grams(weights))

    def singular_values(self) -> Tensor:
        values = torch.cat([roots(gram) for gram in self._grams()]).sort(descending=True).values
        return values[: self.sites.shape[1]]  # where there are fewer pixels, the others are 0

    def svd(self, rank: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """`ForwardModel.svd`, colour by colour: each vector is of one of them."""
        parts, pixels = [], self.sites.shape[1]
        tall = pixels >= 3 * self.scene_shape[0] * self.scene_shape[1]
        for colour, model in enumerate(self.colours.models):
            seen = self.sites[colour].nonzero()[:, 0]
            U, s, Vh = leading_svd(self.colours.weights[0] * model.rows(seen), rank, exact_right=tall)
            parts.append((self.sites.new_zeros(pixels, len(s)).index_copy_(0, seen, U), s, Vh))
        s = torch.cat([part[1] for part in parts])
        order = s.argsort(descending=True)[:rank]
        order = order[s[order] > GRAM_FLOOR * s.max()]
        U, Vh = torch.cat([part[0] for part in parts], 1), torch.block_diag(*(part[2] for part in parts))
        return U[:, order], s[order], Vh[order]

    def _grams(self, weights: Tensor | None = None) -> list[Tensor]:
        per_pixel = self.sites * (1 if weights is None else weights) * self.colours.weights[0] ** 2
        return [model.gram(w) for model, w in zip(self.colours.models, per_pixel, strict=True)]
