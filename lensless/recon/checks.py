"""What all iterative solvers refuse."""

import math

from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.optics import ForwardModel

Box = tuple[float, float]


def check_problem(
    who: str, A: ForwardModel, y: Tensor, weight: float, box: Box, iterations: int, tolerance: float
) -> None:
    """Raises ConfigurationError for measurements, a weight, a box or a stopping rule that cannot be."""
    channels = A.measured_channels or A.channels
    fits = y.ndim == 4 and tuple(y.shape[-2:]) == A.sensor_shape and channels in (None, y.shape[1])
    if not fits:
        raise ConfigurationError(
            f"{who}: y has shape {tuple(y.shape)}; expected (batch, {channels or 'channels'}, "
            f"{A.sensor_shape[0]}, {A.sensor_shape[1]})"
        )
    if not y.is_floating_point() or not bool(y.isfinite().all()):
        raise ConfigurationError(f"{who}: y holds {y.dtype}, with NaN or infinity; expected finite real numbers")
    for name, value in (("weight", weight), ("tolerance", tolerance)):
        if not (isinstance(value, int | float) and math.isfinite(value) and value >= 0):
            raise ConfigurationError(f"{who}: {name} = {value!r}; expected a finite number from 0 on")
    if not (len(box) == 2 and box[0] < box[1]):  # NaN is below nothing
        raise ConfigurationError(f"{who}: box = {box!r}; expected (lowest, highest), which may be infinite")
    if not (isinstance(iterations, int) and iterations >= 1):
        raise ConfigurationError(f"{who}: iterations = {iterations!r}; expected a whole number from 1 on")
