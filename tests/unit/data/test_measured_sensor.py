"""A real sensor in simulation: as uncertain as its calibration, and no more."""

import dataclasses

import numpy as np
import pytest
import tiny
import torch

from calibration import Calibration
from hardware.errors import CalibrationMismatch
from lensless.app.setting import Setting
from lensless.data.measured_sensor import sensor_behind

SHAPE = (60, 60)


@pytest.fixture(scope="module")
def rig():
    return tiny.rig((8, 8), SHAPE)


@pytest.fixture(scope="module")
def measured(rig) -> Calibration:
    draw = np.random.default_rng(3)
    return dataclasses.replace(
        Calibration.nominal(rig.spec, camera_id="REAL-7"), white_dn=3300.0, frames=16,
        dark_dn=70 + 20 * draw.random(SHAPE), dark_std_dn=0.5 * np.ones(SHAPE),
        flat=draw.uniform(0.7, 1.3, SHAPE), flat_std=0.02 * np.ones(SHAPE),
    )  # fmt: skip


def spread(values) -> float:
    return float(np.asarray(values).std())


def test_its_patterns_are_a_standard_error_away_from_those_measured(rig, measured):
    sensor = sensor_behind(rig.noise(), rig.spec, measured)
    dark = sensor.mean_dn(torch.zeros(SHAPE)).double().numpy()
    white = sensor.mean_dn(torch.ones(SHAPE)).double().numpy() - dark
    count = measured.flat.size
    for error, std in ((dark - measured.dark_dn, 0.5), (white / measured.white_dn - measured.flat, 0.02)):
        assert abs(error.mean()) < 5 * std / count**0.5
        assert spread(error) == pytest.approx(std, rel=5 / (2 * count) ** 0.5)


def test_what_was_not_measured_is_as_uncertain_as_the_rig_file_says(rig):
    nominal = Calibration.nominal(rig.spec)
    sensor = sensor_behind(rig.noise(), rig.spec, nominal)
    facts = rig.spec.sensor
    assert spread(sensor.response) == pytest.approx(facts.prnu, rel=0.06)
    assert spread(sensor.offset_electrons) == pytest.approx(
        np.hypot(facts.dsnu_electrons, facts.column_electrons), rel=0.06
    )


def test_frames_of_it_come_out_as_light_again(rig, measured):
    setting = Setting.of(rig, 400, measured)
    pictures = tiny.scenes(4).fit((8, 8)).float() / 255
    y = setting.simulator()(pictures, torch.Generator().manual_seed(0))
    dark = rig.spec.scene.dark_level
    light = rig.forward_model.A(dark + (1 - dark) * pictures)
    relative = (y - light) / light
    assert abs(float(relative.mean())) < 0.002
    assert float(relative.std()) == pytest.approx(0.02, rel=0.5)  # the error of its flat


def test_defective_pixels_do_no_harm(rig, measured):
    defects = np.zeros(SHAPE, bool)
    defects[3, 4] = defects[10, 20:24] = True
    flat = np.where(defects, 0, measured.flat)
    setting = Setting.of(rig, 1, dataclasses.replace(measured, defects=defects, flat=flat))
    pictures = tiny.scenes(4).fit((8, 8)).float() / 255
    y = setting.simulator()(pictures, torch.Generator().manual_seed(0))
    assert bool(torch.isfinite(y).all()) and float(y.max()) < 1.5


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bit_depth": 10, "clip_dn": None}, "bit depth 10"),
        ({"exposure_s": (1.0, 2.0)}, "exposure"),
        ({"cfa": "RGGB"}, "colour filter array RGGB, rig '.*' has None"),
    ],
)
def test_a_calibration_of_other_frames_is_refused(rig, measured, changes, says):
    with pytest.raises(CalibrationMismatch, match=says):
        dataclasses.replace(measured, **changes).fits(rig.spec)
