"""Classical solvers: from a measurement to the scene by linear algebra, with nothing trained by gradient descent."""

from lensless.recon.admm import admm
from lensless.recon.fista import fista
from lensless.recon.projection import leading_directions, leading_pixels
from lensless.recon.solution import Solution
from lensless.recon.spectral import error_bars
from lensless.recon.tikhonov import discrepancy_weight, gcv_weight, l_curve_weight, tikhonov, tikhonov_gains
from lensless.recon.total_variation import total_variation
from lensless.recon.truncated_svd import truncated_gains, truncated_svd
from lensless.recon.tv_weight import tv_weight
from lensless.recon.wiener import (
    LinearEstimate,
    SceneStatistics,
    expected_error,
    posterior_std,
    wiener,
    wiener_of,
)

__all__ = [
    "LinearEstimate",
    "SceneStatistics",
    "Solution",
    "admm",
    "discrepancy_weight",
    "error_bars",
    "expected_error",
    "fista",
    "gcv_weight",
    "l_curve_weight",
    "leading_directions",
    "leading_pixels",
    "posterior_std",
    "tikhonov",
    "tikhonov_gains",
    "total_variation",
    "truncated_gains",
    "truncated_svd",
    "tv_weight",
    "wiener",
    "wiener_of",
]
