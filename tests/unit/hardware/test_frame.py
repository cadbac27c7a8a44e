"""Frames, settings and displays: what they hold, and what they refuse."""

import dataclasses
import json

import numpy as np
import pytest
from shots import META

from hardware import CameraSettings, Display, Frame, SimulatedDisplay
from hardware.errors import CameraError, ConfigurationError
from hardware.frame import from_plain


def test_a_frame_keeps_its_own_read_only_pixels():
    buffer = np.full((3, 4), 100, np.uint16)
    frame = Frame(buffer, META)
    buffer[:] = 0
    assert (frame.pixels == 100).all()
    with pytest.raises(ValueError, match="read-only"):
        frame.pixels[0, 0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        frame.meta.sequence = 8


@pytest.mark.parametrize(
    ("pixels", "says"),
    [
        (np.zeros((3, 4), np.uint8), "expected uint16"),
        (np.zeros((3, 4), np.int16), "expected uint16"),
        (np.zeros((3, 4), np.float32), "expected uint16"),
        (np.zeros(12, np.uint16), "shape"),
        (np.zeros((0, 4), np.uint16), "shape"),
        (np.full((3, 4), 4096, np.uint16), "at most 4095"),
    ],
)
def test_pixels_that_the_facts_contradict_are_refused(pixels, says):
    with pytest.raises(CameraError, match=says) as caught:
        Frame(pixels, META)
    assert "frame 0 of camera 'S-1'" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sequence", -1),
        ("lost_before", -1),
        ("exposure_s", 0.0),
        ("exposure_s", float("nan")),
        ("gain_db", float("inf")),
        ("bit_depth", 0),
        ("bit_depth", 17),
        ("black_level_dn", 4096),
        ("camera_id", ""),
        ("settings_id", ""),
        ("settings_id", "x" * 17),
    ],
)
def test_facts_that_cannot_be_are_refused(name, value):
    with pytest.raises(CameraError, match=name):
        dataclasses.replace(META, **{name: value})


def test_colour_frames_and_eight_bits():
    meta = dataclasses.replace(META, bit_depth=8, black_level_dn=0, pixel_format="RGB8", raw=False)
    assert Frame(np.full((2, 3, 3), 255, np.uint8), meta).shape == (2, 3, 3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("exposure_s", 0.0),
        ("exposure_s", float("nan")),
        ("gain_db", float("nan")),
        ("region", (0, 0, 0, 8)),
        ("region", (-1, 0, 8, 8)),
        ("binning", (0, 1)),
    ],
)
def test_settings_that_cannot_be_are_refused(name, value):
    with pytest.raises(ConfigurationError, match=name):
        CameraSettings(**{name: value})


def test_the_id_of_settings_changes_with_each_value_and_only_then():
    settings = [
        CameraSettings(),
        CameraSettings(exposure_s=0.01),
        CameraSettings(exposure_s=0.02),
        CameraSettings(gain_db=0.01),
        CameraSettings(binning=(1, 2)),
        CameraSettings(region=(0, 0, 8, 8)),
        CameraSettings(pixel_format="Mono8"),
    ]
    assert len({each.id for each in settings}) == len(settings)
    assert CameraSettings(exposure_s=0.01).id == settings[1].id


def test_ids_that_stand_in_recordings_stay_and_controls_change_them():
    plain = CameraSettings(exposure_s=0.01, gain_db=0.0, pixel_format="Mono8", binning=(1, 1))
    assert plain.id == "27fcd9d992ff"
    with_controls = [dataclasses.replace(plain, controls=(("gain", number),)) for number in (0.0, 64.0)]
    assert len({each.id for each in (plain, *with_controls)}) == 3
    assert with_controls[0] == plain  # what a frame tells of its settings is as much
    again = from_plain(CameraSettings, json.loads(json.dumps(dataclasses.asdict(with_controls[1]))))
    assert again.id == with_controls[1].id and again.controls == (("gain", 64.0),)


def test_asking_for_nothing_leaves_everything():
    current = CameraSettings(exposure_s=0.01, gain_db=3.0, binning=(1, 1))
    assert CameraSettings().onto(current) == current
    assert CameraSettings(gain_db=0.0).onto(current) == CameraSettings(exposure_s=0.01, gain_db=0.0, binning=(1, 1))


def test_a_simulated_display_holds_what_it_shows():
    display = SimulatedDisplay((2, 3))
    assert isinstance(display, Display)
    assert not display.shown.any()
    picture = np.full((2, 3), 0.25, np.float32)
    display.show(picture)
    picture[:] = 1
    assert (display.shown == 0.25).all() and not display.shown.flags.writeable
    display.clear()
    assert not display.shown.any()


@pytest.mark.parametrize(
    ("picture", "says"),
    [
        (np.full((2, 3), np.nan), "NaN"),
        (np.full((2, 3), 1.001), "0, 1"),
        (np.full((2, 3), -1e-9), "0, 1"),
        (np.zeros((3, 2)), "shape"),
        (np.zeros((2, 3), np.uint8), "floating point"),
        ([[0.0] * 3] * 2, "floating point"),
    ],
)
def test_a_display_refuses_what_it_cannot_show_and_keeps_the_last_picture(picture, says):
    display = SimulatedDisplay((2, 3))
    display.show(np.full((2, 3), 0.5))
    with pytest.raises(ConfigurationError, match=says):
        display.show(picture)
    assert (display.shown == 0.5).all()
