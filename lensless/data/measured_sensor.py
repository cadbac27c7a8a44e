"""A real sensor in simulation: known by its calibration, and by nothing else."""

import math

import numpy as np
import torch

from calibration import Calibration
from hardware.rig import RigSpec
from lensless.optics import SensorNoise


def uncertainty(spec: RigSpec, calibration: Calibration) -> tuple[np.ndarray | float, np.ndarray | float]:
    """Standard errors of dark level (DN) and flat; what was not measured is as uncertain as the rig file's patterns."""
    sensor = spec.sensor
    pattern_electrons = math.hypot(sensor.dsnu_electrons, sensor.column_electrons, sensor.row_electrons)
    pattern_dn = pattern_electrons / sensor.gain_electrons_per_dn
    dark_std_dn = pattern_dn if calibration.dark_std_dn is None else calibration.dark_std_dn
    return dark_std_dn, sensor.prnu if calibration.flat_std is None else calibration.flat_std


def sensor_behind(noise: SensorNoise, spec: RigSpec, calibration: Calibration, seed: int = 0) -> SensorNoise:
    """A sensor on which the calibration may have been measured: its patterns, each a random standard error away.

    Defective pixels become good ones, because `Calibration.apply` fills them from their neighbours.

    Args:
        noise: of the rig at the gain of the calibration; its patterns and its white are replaced.
        spec: facts of the rig.
        calibration: of the real sensor.
        seed: of the errors.
    """
    dark_std_dn, flat_std = uncertainty(spec, calibration)
    draw, good = np.random.default_rng(seed), ~calibration.defects
    dark_dn, flat = measured_patterns(calibration)
    dark_dn = dark_dn + good * dark_std_dn * draw.standard_normal(calibration.shape)
    flat = np.maximum(0, flat + good * flat_std * draw.standard_normal(calibration.shape))
    gain_e_per_dn = noise.gain_electrons_per_dn
    noise.white_electrons = calibration.white_dn * gain_e_per_dn
    noise.response.copy_(torch.from_numpy(flat))
    noise.offset_electrons.copy_(
        torch.from_numpy((dark_dn - noise.black_level_dn) * gain_e_per_dn - noise.dark_electrons)
    )
    return noise


def measured_patterns(calibration: Calibration) -> tuple[np.ndarray, np.ndarray]:
    """Dark level (H, W) in DN and flat (H, W); at defective pixels, which know neither, the others' mean and 1."""
    dark_dn, flat = (
        np.array(np.broadcast_to(values, calibration.shape), np.float64)
        for values in (calibration.dark_dn, calibration.flat)
    )
    if calibration.defects.any():
        dark_dn[calibration.defects] = dark_dn[~calibration.defects].mean()
        flat[calibration.defects] = 1.0
    return dark_dn, flat
