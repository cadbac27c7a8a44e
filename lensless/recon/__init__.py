"""Classical solvers: from a measurement to the scene by linear algebra, with nothing trained by gradient descent."""

from lensless.recon.projection import leading_directions, leading_pixels
from lensless.recon.tikhonov import gcv_weight, tikhonov
from lensless.recon.wiener import LinearEstimate, SceneStatistics, wiener, wiener_of

__all__ = [
    "LinearEstimate",
    "SceneStatistics",
    "gcv_weight",
    "leading_directions",
    "leading_pixels",
    "tikhonov",
    "wiener",
    "wiener_of",
]
