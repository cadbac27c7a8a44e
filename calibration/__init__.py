"""Frames in, arrays with uncertainty out."""

from calibration.bundle import Calibration, Measurement
from calibration.dark import measure_dark
from calibration.flat import measure_flat
from calibration.response import DisplayResponse, measure_response
from calibration.settle import Settle, measure_settle
from calibration.show_and_snap import ShowAndSnap

__all__ = [
    "Calibration",
    "DisplayResponse",
    "Measurement",
    "Settle",
    "ShowAndSnap",
    "measure_dark",
    "measure_flat",
    "measure_response",
    "measure_settle",
]
