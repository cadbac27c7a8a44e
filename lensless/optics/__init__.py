"""Physics: forward models of rigs, and the sensor that records what they make."""

from lensless.optics.bare_sensor import BareSensor
from lensless.optics.cannula import Cannula
from lensless.optics.mosaic import from_planes, to_mosaic, to_mosaic_adjoint, to_planes
from lensless.optics.operator import ForwardModel
from lensless.optics.sensor import SensorNoise

__all__ = [
    "BareSensor",
    "Cannula",
    "ForwardModel",
    "SensorNoise",
    "from_planes",
    "to_mosaic",
    "to_mosaic_adjoint",
    "to_planes",
]
