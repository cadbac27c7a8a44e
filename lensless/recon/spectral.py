"""What the solvers have in common that weigh singular vectors: x = mean + V diag(gains) U* (y - A mean)."""

import dataclasses
import math
from typing import Self

import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.optics import ForwardModel

SVD = tuple[Tensor, Tensor, Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class Spectrum:
    """Measurements in the singular vectors of a model.

    Args:
        U, s, Vh: as `ForwardModel.svd` gives them.
        scene: the mean, (B, C, H, W).
        residual: (B, C, n), y - A mean; coefficients: (B, C, r), U* residual.
    """

    U: Tensor
    s: Tensor
    Vh: Tensor
    scene: Tensor
    residual: Tensor
    coefficients: Tensor

    @classmethod
    def of(cls, who: str, A: ForwardModel, y: Tensor, mean: Tensor | None, svd: SVD | None) -> Self:
        """Raises ConfigurationError for measurements of another shape."""
        U, s, Vh = A.svd() if svd is None else svd
        offset = torch.zeros(1, device=y.device, dtype=y.dtype) if mean is None else mean
        scene = offset.expand(len(y), A.scene_channels(y), *A.scene_shape)
        predicted = A.A(scene)
        if y.shape != predicted.shape:  # it would be broadcast in silence
            raise ConfigurationError(f"{who}: y has shape {tuple(y.shape)}; expected {tuple(predicted.shape)}")
        residual = (y - predicted).flatten(2)
        return cls(U, s, Vh, scene, residual, residual @ U)

    def estimate(self, gains: Tensor) -> Tensor:
        """Scenes (B, C, H, W) with these gains, (r,)."""
        correction = (self.coefficients * gains) @ self.Vh
        return self.scene + correction.reshape(self.scene.shape)


def error_bars(svd: SVD, gains: Tensor, noise_variance: Tensor | float, scene_shape: tuple[int, ...]) -> Tensor:
    """What the noise of the pixels makes of each scene pixel: its standard deviation, of the shape (H, W) or (C, H, W).

        sqrt(diag(V g U* N U g V*))

    What is lost by weighing is not in it: that is an error of another kind, which depends on the scene.

    Args:
        svd: of the model.
        gains: (r,), how the solver weighs: `tikhonov_gains`, `truncated_gains`.
        noise_variance: (H', W'), or one number for all pixels; in units of y squared.

    Raises:
        ConfigurationError: a variance of another shape, or below 0.
    """
    U, _, Vh = svd
    variance = torch.as_tensor(noise_variance, dtype=U.dtype, device=U.device)
    if variance.numel() not in (1, len(U)) or not bool(((variance >= 0) & variance.isfinite()).all()):
        raise ConfigurationError(
            f"error bars: noise_variance has shape {tuple(variance.shape)}; expected one number from 0 on, or one for "
            f"each of {len(U)} pixels"
        )
    spread = Vh.T * gains
    if variance.numel() == 1:
        return (spread.square().sum(1) * variance.reshape(())).sqrt().reshape(scene_shape)
    inner = (U.T * variance.flatten()) @ U
    return ((spread @ inner) * spread).sum(1).clamp_min(0).sqrt().reshape(scene_shape)


def energies(coefficients: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squares of each coefficient (r,), and of all that lies outside the range of U; float64."""
    n, rank = residual.shape[-1], coefficients.shape[-1]
    energy = coefficients.double().square().reshape(-1, rank).mean(0)
    outside = (residual.double().square().reshape(-1, n).sum(1).mean() - energy.sum()).clamp_min(0)
    if n == rank:
        outside = outside * 0  # U spans all measurements: that was a rounding error, which a small weight would blow up
    return energy, outside


def check_noise(who: str, choice: object, noise_std: float | None) -> None:
    """Raises ConfigurationError if the discrepancy principle has no noise, or another choice has some."""
    if noise_std is not None and choice != "discrepancy":
        raise ConfigurationError(f"{who}: noise_std = {noise_std} goes with 'discrepancy', not {choice!r}")
    if choice == "discrepancy" and (noise_std is None or not (math.isfinite(noise_std) and noise_std > 0)):
        raise ConfigurationError(f"{who}: noise_std = {noise_std}; 'discrepancy' expects a number > 0")
