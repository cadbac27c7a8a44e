"""Physics: forward models of rigs, and the sensor that records what they make."""

from lensless.optics.analysis import signal_to_noise
from lensless.optics.bare_sensor import BareSensor
from lensless.optics.cannula import Cannula
from lensless.optics.channels import Channels
from lensless.optics.deepinv import to_deepinv
from lensless.optics.mask import Mask, coded_aperture_psf, fresnel_number, psf_from_picture
from lensless.optics.mosaic import from_planes, to_mosaic, to_mosaic_adjoint, to_planes
from lensless.optics.mosaicked import Mosaicked
from lensless.optics.operator import ForwardModel
from lensless.optics.sensor import SensorNoise
from lensless.optics.transfer import TransferMatrix

__all__ = [
    "BareSensor",
    "Cannula",
    "Channels",
    "ForwardModel",
    "Mask",
    "Mosaicked",
    "SensorNoise",
    "TransferMatrix",
    "coded_aperture_psf",
    "fresnel_number",
    "from_planes",
    "psf_from_picture",
    "signal_to_noise",
    "to_deepinv",
    "to_mosaic",
    "to_mosaic_adjoint",
    "to_planes",
]
