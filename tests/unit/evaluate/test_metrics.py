import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from lensless.evaluate.metrics import accuracy, confusion, picture_scores


def test_psnr_is_the_mean_over_pictures_of_clamped_estimates():
    pictures = torch.zeros(2, 1, 16, 16)
    estimates = torch.stack([torch.full((1, 16, 16), 0.1), torch.full((1, 16, 16), -3.0)])
    estimates[1, 0, 0, 0] = 1.0
    expected = (20 + -10 * np.log10(1 / 256)) / 2
    assert picture_scores(estimates, pictures).psnr_db == pytest.approx(expected, abs=1e-4)


def test_ssim_agrees_with_scikit_image():
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(3, 1, 32, 32, generator=generator)
    estimates = (pictures + 0.2 * torch.randn(3, 1, 32, 32, generator=generator)).clamp(0, 1)
    theirs = [
        structural_similarity(
            picture[0].numpy(), estimate[0].numpy(), data_range=1.0, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False,
        )
        for picture, estimate in zip(pictures, estimates, strict=True)
    ]  # fmt: skip
    # The two treat the rim of five pixels differently.
    assert picture_scores(estimates, pictures).ssim == pytest.approx(np.mean(theirs), abs=0.02)


def test_confusion_has_truth_in_rows():
    labels, predicted = torch.tensor([0, 0, 1, 2]), torch.tensor([0, 1, 1, 0])
    assert confusion(predicted, labels, 3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    assert accuracy(predicted, labels) == 0.5
