"""Colours that a rig treats differently: a forward model for each, side by side."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hardware.errors import ConfigurationError
from lensless.optics.operator import GRAM_FLOOR, ForwardModel


class Channels(ForwardModel):
    """Channel k of the scene goes through models[k] alone: y[:, k] = weights[k] models[k](x[:, k]).

    Dispersion gives a cannula, and the acceptance of its pixels a bare sensor, another matrix for red, green and blue.
    Scenes are (B, n, H, W), measurements (B, n, H', W'); as vectors they are ordered channel first, so that the matrix,
    (n H' W', n H W), is block diagonal.

    Args:
        models: one for each channel, all of the same shapes, dtype and device, each for any number of channels.
        weights: response of each channel to white, above 0; each model alone has white = 1. 1 by default.

    Raises:
        ConfigurationError: no models, models of different shapes, or weights that do not fit them.

    `sampling_error` is the largest of the models', which the error of the whole does not exceed.
    """

    def __init__(self, models: Sequence[ForwardModel], weights: Sequence[float] | None = None):
        models = list(models)
        shapes = [(model.scene_shape, model.sensor_shape) for model in models]
        if not models or len(set(shapes)) > 1:
            raise ConfigurationError(f"Channels: models of (scene, sensor) shapes {shapes}; expected one pair for all")
        if taken := [model.channels for model in models if model.channels is not None]:
            raise ConfigurationError(f"Channels: a model of its own takes {taken[0]} channels; expected any number")
        super().__init__(*shapes[0], sampling_error=max(model.sampling_error for model in models))
        self.channels = len(models)
        self.models = nn.ModuleList(models)
        self.weights = (1.0,) * len(models) if weights is None else tuple(float(weight) for weight in weights)
        if len(self.weights) != len(models) or not all(0 < weight < math.inf for weight in self.weights):
            raise ConfigurationError(
                f"Channels: weights = {self.weights}; expected {len(models)} finite numbers above 0, one for each model"
            )

        spectra = [model.sampling_spectrum for model in models]
        if any(spectrum is not None for spectrum in spectra):
            scaled = [w * s for w, s in zip(self.weights, spectra, strict=True) if s is not None]
            self.sampling_spectrum = torch.cat(scaled).sort(descending=True).values

    def A(self, x: Tensor) -> Tensor:
        self._flat_scene(x)
        return torch.cat([w * model.A(x[:, k : k + 1]) for k, model, w in self._each()], 1)

    def A_adjoint(self, y: Tensor) -> Tensor:
        self._flat_measurement(y)
        return torch.cat([w * model.A_adjoint(y[:, k : k + 1]) for k, model, w in self._each()], 1)

    def normal(self, x: Tensor) -> Tensor:
        self._flat_scene(x)
        return torch.cat([w * w * model.normal(x[:, k : k + 1]) for k, model, w in self._each()], 1)

    def A_dagger(self, y: Tensor) -> Tensor:
        self._flat_measurement(y)
        return torch.cat([model.A_dagger(y[:, k : k + 1]) / w for k, model, w in self._each()], 1)

    def as_matrix(self) -> Tensor:
        """The map as a dense matrix, (n H' W', n H W): block diagonal, channel first, row-major in each plane."""
        return torch.block_diag(*(w * model.as_matrix() for _, model, w in self._each()))

    def gram(self, weights: Tensor | None = None) -> Tensor:
        parts = [None] * len(self.models) if weights is None else weights.chunk(len(self.models))
        return torch.block_diag(*(w * w * model.gram(parts[k]) for k, model, w in self._each()))

    def norm(self) -> float:
        return max(w * model.norm() for _, model, w in self._each())

    def singular_values(self) -> Tensor:
        return torch.cat([w * model.singular_values() for _, model, w in self._each()]).sort(descending=True).values

    def svd(self, rank: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        parts = [model.svd(rank) for model in self.models]
        s = torch.cat([w * part[1] for part, w in zip(parts, self.weights, strict=True)])
        order = s.argsort(descending=True)[:rank]
        order = order[s[order] > GRAM_FLOOR * s.max()]
        U = torch.block_diag(*(part[0] for part in parts))
        Vh = torch.block_diag(*(part[2] for part in parts))
        return U[:, order], s[order], Vh[order]

    def _each(self):
        return zip(range(len(self.models)), self.models, self.weights, strict=True)
