"""Figures of merit over a whole test set, each with one stated convention."""

import dataclasses

import torch
from torch import Tensor

from lensless.tasks.picture import psnr_db


@dataclasses.dataclass(frozen=True)
class PictureScores:
    """PSNR and SSIM for the range 1, estimates clamped to [0, 1], each the mean over the pictures."""

    psnr_db: float
    ssim: float


def picture_scores(estimates: Tensor, pictures: Tensor, at_once: int = 500) -> PictureScores:
    """Scores of estimates against pictures, both (N, C, H, W).

    SSIM is torchmetrics' with its default window: Gaussian of 1.5 pixels, 11 x 11
    (Wang et al. 2004, doi 10.1109/TIP.2003.819861).
    """
    from torchmetrics.functional.image import structural_similarity_index_measure  # takes a second to import

    ssim = [
        structural_similarity_index_measure(estimate.clamp(0, 1), picture, data_range=1.0, reduction="none")
        for estimate, picture in zip(estimates.split(at_once), pictures.split(at_once), strict=True)
    ]
    return PictureScores(float(psnr_db(estimates, pictures).double().mean()), float(torch.cat(ssim).double().mean()))


def accuracy(predicted: Tensor, labels: Tensor) -> float:
    """Share of labels (N,) that were predicted."""
    return float((predicted == labels).double().mean())


def confusion(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """How often class i was taken for class j: counts (classes, classes), truth in rows."""
    return torch.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
