"""Truncated singular value decomposition: the directions that stand out of the noise as they are, and no others."""

import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.optics import ForwardModel
from lensless.recon.spectral import SVD, Spectrum, check_noise, energies


def truncated_svd(
    A: ForwardModel,
    y: Tensor,
    rank: int | str = "gcv",
    mean: Tensor | None = None,
    svd: SVD | None = None,
    noise_std: float | None = None,
) -> Tensor:
    """The shortest x - mean of those with the least misfit |A x - y| for the leading `rank` directions of A.

        x = mean + sum_k<rank v_k (u_k* (y - A mean)) / s_k          (Hansen 1987, doi:10.1007/BF01937276)

    Args:
        A: forward model.
        y: measurements, (B, C, H', W').
        rank: how many; "gcv" chooses it by generalised cross-validation, "discrepancy" as the fewest that leave no more
            misfit than n noise_std^2. One for the whole batch.
        mean, svd, noise_std: as of `tikhonov`.

    Returns:
        Scenes (B, C, H, W), not clamped.

    Raises:
        ConfigurationError: a shape or a rank that cannot be, or noise that no rank fits.
    """
    found = Spectrum.of("truncated_svd", A, y, mean, svd)
    check_noise("truncated_svd", rank, noise_std)
    if rank == "gcv":
        rank = gcv_rank(found.coefficients, found.residual)
    elif rank == "discrepancy":
        rank = discrepancy_rank(found.coefficients, found.residual, noise_std)
    if not (isinstance(rank, int) and 1 <= rank <= len(found.s)):
        raise ConfigurationError(
            f"truncated_svd: rank = {rank!r}; expected a whole number from 1 to {len(found.s)}, 'gcv' or 'discrepancy'"
        )
    return found.estimate(truncated_gains(found.s, rank))


def truncated_gains(s: Tensor, rank: int) -> Tensor:
    """How much of each coefficient goes into the scene, (r,): what `error_bars` needs."""
    return torch.where(torch.arange(len(s), device=s.device) < rank, 1 / s, 0.0)


def gcv_rank(coefficients: Tensor, residual: Tensor) -> int:
    """The rank with the least score |misfit|^2 / (n - rank)^2; arguments as of `gcv_weight`."""
    misfit, n = _misfits(coefficients, residual), residual.shape[-1]
    ranks = torch.arange(1, len(misfit) + 1, device=misfit.device)
    allowed = ranks[ranks < n]  # at n the score is 0 / 0
    return int(allowed[(misfit[: len(allowed)] / (n - allowed).square()).argmin()]) if len(allowed) else 1


def discrepancy_rank(coefficients: Tensor, residual: Tensor, noise_std: float) -> int:
    """The fewest directions that leave a mean misfit of at most n noise_std^2.

    Raises:
        ConfigurationError: all of them leave more.
    """
    misfit, n = _misfits(coefficients, residual), residual.shape[-1]
    enough = torch.nonzero(misfit <= n * noise_std**2)
    if not len(enough):
        least = float((misfit[-1] / n).sqrt())
        raise ConfigurationError(
            f"truncated_svd: noise_std = {noise_std:g}; with 'discrepancy' expected at least {least:g}, the misfit "
            "(root mean square) of all directions; choose the rank by 'gcv'"
        )
    return int(enough[0]) + 1


def _misfits(coefficients: Tensor, residual: Tensor) -> Tensor:
    """Mean |A x - y|^2 at each rank from 1 on, float64."""
    energy, outside = energies(coefficients, residual)
    return (energy.sum() - energy.cumsum(0)).clamp_min(0) + outside
