"""Frames in, arrays with uncertainty out."""

from calibration.bundle import Calibration, Measurement
from calibration.dark import measure_dark
from calibration.flat import measure_flat

__all__ = ["Calibration", "Measurement", "measure_dark", "measure_flat"]
