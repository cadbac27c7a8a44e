"""What a picture is held against, by name; several with "+" between them are added up."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from hardware.errors import ConfigurationError

_FLOOR = 1e-5  # mean squared error that counts as none: 50 dB
_SURE = 1e-3  # how near to black or white a cross-entropy lets an estimate come: its slope stays below 1000


def log_mse(estimate: Tensor, picture: Tensor) -> Tensor:
    """Mean log of each picture's squared error: what the mean PSNR is made of."""
    return (estimate - picture).square().mean((1, 2, 3)).add(_FLOOR).log().mean()


def dissimilarity(estimate: Tensor, picture: Tensor) -> Tensor:
    """1 - SSIM, for the range 1; window as in `evaluate.metrics` (Wang et al. 2004, doi 10.1109/TIP.2003.819861)."""
    from torchmetrics.functional.image import structural_similarity_index_measure  # takes a second to import

    return 1 - structural_similarity_index_measure(estimate, picture, data_range=1.0)


def cross_entropy(estimate: Tensor, picture: Tensor) -> Tensor:
    """Of pictures whose pixels are the probability of white; what leaves (0, 1) is pulled back by its square."""
    inside = estimate.clamp(_SURE, 1 - _SURE)
    with torch.autocast(estimate.device.type, enabled=False):  # torch refuses it in half precision
        entropy = F.binary_cross_entropy(inside.float(), picture.float())
    return entropy + (estimate - inside).square().mean() / _SURE


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "log-mse": log_mse,
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "ssim": dissimilarity,
    "cross-entropy": cross_entropy,
}
DEFAULT = "log-mse"


def loss_named(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Estimates and pictures (B, C, H, W) to a scalar.

    Raises:
        ConfigurationError: a name that is none of `LOSSES`, nor several of them with "+" between.
    """
    parts = name.split("+") if isinstance(name, str) else [name]
    if unknown := [part for part in parts if part not in LOSSES]:
        raise ConfigurationError(
            f"loss {unknown[0]!r} is unknown; expected one of {', '.join(LOSSES)}, or several with + between, "
            "such as l1+ssim"
        )
    chosen = [LOSSES[part] for part in parts]
    return lambda estimate, picture: sum(loss(estimate, picture) for loss in chosen)
