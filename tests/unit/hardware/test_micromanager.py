"""Micro-Manager's demo camera, in C++: settings, losses, configurations."""

import importlib.util
import pathlib
import time

import numpy as np
import pytest

from hardware import CameraSettings, open_camera
from hardware.errors import CameraError, ConfigurationError, InputError

pytest.importorskip("pymmcore", reason="no pymmcore; pip install 'optics-free[micromanager]'")
pytest.importorskip("mm_test_adapters", reason="no demo adapters; pip install mm-test-adapters")
from hardware.micromanager import MicroManagerCamera

ADAPTERS = pathlib.Path(importlib.util.find_spec("mm_test_adapters").origin).with_name("libs")
CONFIG = """
Device,Eye,DemoCamera,DCam
Property,Core,Initialize,1
Property,Core,Camera,Eye
Property,Eye,PixelType,16bit
Property,Eye,BitDepth,12
Property,Eye,Binning,2
"""


@pytest.fixture
def configured(tmp_path) -> str:
    (tmp_path / "eye.cfg").write_text(CONFIG)
    return f"{tmp_path / 'eye.cfg'}?adapters={ADAPTERS}"


def test_a_configuration_is_what_the_camera_does(configured):
    with open_camera(f"micromanager:{configured}&exposure_s=0.004&gain_raw=2") as camera:
        applied = camera.configure(CameraSettings())
        assert (applied.exposure_s, applied.gain_db, applied.pixel_format) == (0.004, 0.0, "Mono12")
        assert (applied.region, applied.binning, applied.controls) == ((0, 0, 256, 256), (2, 2), (("Gain", 2.0),))
        frame = camera.snap(1)[0]
        assert frame.pixels.shape == (256, 256) and frame.pixels.dtype == np.uint16 and np.ptp(frame.pixels) > 100
        assert frame.meta.t_device_ns > 0 and frame.meta.settings_id == applied.id
        other = camera.configure(CameraSettings(controls=(("Gain", 3.0),)))
        assert other == applied and other.id != applied.id  # equal but for what frames do not carry
        with pytest.raises(ConfigurationError, match="Gain = 99 was asked for; it can do -5 to 8"):
            camera.configure(CameraSettings(controls=(("Gain", 99.0),)))
        with pytest.raises(ConfigurationError, match="no control 'Brightness'; it has Gain"):
            camera.configure(CameraSettings(controls=(("Brightness", 1.0),)))
        assert camera.configure(CameraSettings()).id == other.id
        assert camera.snap(1)[0].meta.settings_id == other.id


def test_what_an_overflowing_buffer_loses_is_counted(configured):
    with MicroManagerCamera(f"{configured}&exposure_s=0.001") as camera:
        core = camera._core
        core.stopSequenceAcquisition()
        core.setCircularBufferMemoryFootprint(1)  # 7 frames of 128 KiB
        core.startContinuousSequenceAcquisition(0)
        first = camera.snap(1)[0].meta
        time.sleep(0.3)
        frames = [frame.meta for frame in camera.snap(20)]
        assert sum(meta.lost_before for meta in frames) > 5
        assert frames[-1].sequence == first.sequence + len(frames) + sum(meta.lost_before for meta in frames)


@pytest.mark.parametrize(
    ("place", "kind", "says"),
    [
        ("", ConfigurationError, r"names nothing; expected a CONFIG\.cfg, or demo"),
        ("nowhere.cfg", InputError, r"'nowhere\.cfg' is not there"),
        ("demo?adapters=/nowhere", ConfigurationError, "'/nowhere' is no folder"),
        ("demo?adapter=/nowhere", ConfigurationError, "did you mean adapters="),
        ("demo?adapters=EMPTY", CameraError, 'did not open: RuntimeError: .*"DemoCamera"'),
        ("demo?adapters=HERE&gain_raw=50", ConfigurationError, "Gain = 50 was asked for; it can do -5 to 8"),
        ("demo?adapters=HERE&camera=Nose", CameraError, 'did not open: .*"Nose"'),
    ],
)
def test_what_cannot_be_is_refused(place, kind, says, tmp_path):
    place = place.replace("HERE", str(ADAPTERS)).replace("EMPTY", str(tmp_path))
    with pytest.raises(kind, match=says):
        open_camera(f"micromanager:{place}")


def test_colours_are_refused_with_what_helps(tmp_path):
    (tmp_path / "rgb.cfg").write_text(CONFIG.replace("16bit\nProperty,Eye,BitDepth,12", "32bitRGB"))
    with pytest.raises(CameraError, match="sends 4 components of 8 bits; expected grey"):
        open_camera(f"micromanager:{tmp_path / 'rgb.cfg'}?adapters={ADAPTERS}")
    (tmp_path / "blind.cfg").write_text("Property,Core,Initialize,1\n")
    with pytest.raises(ConfigurationError, match="names no camera; say camera=LABEL"):
        open_camera(f"micromanager:{tmp_path / 'blind.cfg'}?adapters={ADAPTERS}")


def test_a_driver_that_crashes_is_a_lost_camera(configured):
    """The demo camera does so on request; whoever records goes on."""
    (pathlib.Path(configured.partition("?")[0])).write_text(
        CONFIG + "Property,Eye,SimulateCrash,Dereference Null Pointer\n"
    )
    with pytest.raises(CameraError, match="killed by signal 11"):
        open_camera(f"micromanager:{configured}")
