"""Classical solvers: from a measurement to the scene by linear algebra, with nothing trained by gradient descent."""

from lensless.recon.projection import leading_directions, leading_pixels
from lensless.recon.tikhonov import discrepancy_weight, gcv_weight, tikhonov
from lensless.recon.wiener import (
    LinearEstimate,
    SceneStatistics,
    expected_error,
    wiener,
    wiener_of,
)

__all__ = [
    "LinearEstimate",
    "SceneStatistics",
    "discrepancy_weight",
    "expected_error",
    "gcv_weight",
    "leading_directions",
    "leading_pixels",
    "tikhonov",
    "wiener",
    "wiener_of",
]
