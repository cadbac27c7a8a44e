"""A Raspberry Pi's camera on a stand-in for its library: what is asked, what is read back, what is lost."""

import itertools

import numpy as np
import pytest
from fake_picamera2 import ID, FakePicamera2

from hardware import CameraSettings, open_camera
from hardware.errors import CameraError, CameraLost, ConfigurationError
from hardware.picamera2 import PiCamera
from hardware.pixel_formats import of_libcamera


def like(**facts) -> type[FakePicamera2]:
    return type("Fake", (FakePicamera2,), facts)


@pytest.mark.parametrize("place", ["0", "0?format=SRGGB10_CSI2P", "0?mode=1", ID, f"{ID}?format=SBGGR10"])
@pytest.mark.parametrize("pi5", [False, True])
def test_pixels_are_those_of_the_sensor_in_every_format(place, pi5):
    if pi5 and "CSI2P" in place:
        with pytest.raises(
            ConfigurationError, match=r"'RGGB_PISP_COMP1' is compressed with loss; ask for one that is not"
        ):
            PiCamera(place, like(pi5=pi5))
        return
    with PiCamera(place, like(pi5=pi5)) as camera:
        bits, shape = (8, (12, 16)) if "mode=1" in place else (10, (13, 17))
        frame, device = camera.snap(1)[0], camera._device
        assert (frame.pixels == device.light(device._frame, 10000)).all() and frame.shape == shape
        assert frame.meta.bit_depth == bits and frame.meta.black_level_dn == 2 ** (bits - 4)
        assert frame.meta.cfa == ("BGGR" if "SBGGR" in place and not pi5 else "RGGB")
        assert frame.meta.temperature_c == 31.0
        assert camera.facts["identity"] == "port" and camera.facts["address"].startswith(f"picamera2:{ID}")
    assert device.held == 0 and not device.started and device.closed == 1


def test_exposure_and_gain_are_read_back_from_frames_of_the_new_settings():
    with PiCamera("0?exposure_s=0.002&gain_db=3", FakePicamera2) as camera:
        assert camera.configure(CameraSettings()).exposure_s == pytest.approx(0.002)
        applied = camera.configure(CameraSettings(exposure_s=0.00301, gain_db=6.0))
        assert applied.exposure_s == pytest.approx(0.003)  # by lines
        assert applied.gain_db == pytest.approx(6.0)
        frame = camera.snap(1)[0]
        assert frame.meta.settings == applied
        assert frame.meta.t_device_ns - frame.meta.t_host_ns == round(applied.exposure_s * 1e9)
        with pytest.raises(ConfigurationError, match=r"exposure_s = 20 was asked for; it can do 7\.5e-05 to 11\.7668"):
            camera.configure(CameraSettings(exposure_s=20))
        with pytest.raises(ConfigurationError, match=r"gain_db = 30 was asked for; it can do 0 to 20\.563"):
            camera.configure(CameraSettings(gain_db=30))
        assert camera.configure(CameraSettings()) == applied


def test_frames_that_the_system_loses_are_counted():
    with PiCamera("0", like(drops={12, 13, 20})) as camera:
        frames = [frame.meta for frame in itertools.islice(camera.frames(), 16)]
    assert [meta.lost_before for meta in frames if meta.lost_before] == [2, 1]
    assert frames[-1].sequence == 18


def test_what_does_not_do_as_it_is_told_is_found_out():
    with pytest.raises(
        CameraError, match=r"'ExposureTime': 10000.*was asked for, exposure 20000 us and gain 2 are read"
    ):
        PiCamera("0", like(deaf=True))
    with PiCamera("0", like(pi5=True, noise_below=3)) as camera, pytest.raises(CameraError, match="lower 6; they were"):
        camera.snap(1)
    with PiCamera("0?bit_depth=16", like(pi5=True, noise_below=3)) as camera:
        assert camera.snap(1)[0].meta.bit_depth == 16
    with pytest.raises(CameraError, match="no raw stream; a USB camera opens as opencv:"):
        PiCamera("0", like(modes=({"format": "YUYV"}, {"format": "MJPEG"})))


def test_picamera2_without_libcamera_is_told(monkeypatch):
    """pip brings the one; the other is of the system."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "libcamera" else object())
    with pytest.raises(ConfigurationError, match="sudo apt install python3-picamera2, and make the environment with"):
        open_camera("picamera2:0")


def test_a_camera_that_never_sends_does_not_open():
    with pytest.raises(CameraError, match=r"sent no frame for 1\.5 s; is its ribbon cable in"):
        PiCamera("0", like(silent_after=0))


def test_a_camera_that_falls_silent_is_lost():
    with PiCamera("0", like(silent_after=20)) as camera:
        frames = camera.frames()
        with pytest.raises(CameraLost, match=r"is lost after frame \d+: it sent no frame for 1\.5 s; connect it again"):
            list(frames)
        with pytest.raises(CameraLost, match="is lost"):
            camera.snap(1)


@pytest.mark.parametrize(
    ("place", "kind", "says"),
    [
        ("1", CameraError, "is not there; connected are: 0: imx219"),
        ("/base/other", CameraError, "is not there"),
        ("", ConfigurationError, "expected its number"),
        ("imx219", ConfigurationError, "expected its number"),
        ("0?mode=2", ConfigurationError, "has no mode 2; it has 0: 17 x 13 SRGGB10_CSI2P, 1: 16 x 12 SRGGB8"),
        ("0?mdoe=2", ConfigurationError, "no option 'mdoe'; did you mean mode="),
        ("0?bit_depth=12", ConfigurationError, "bit_depth='12'; expected 16"),
        ("0?gain_db=1&gain_db=2", ConfigurationError, "gain_db= stands twice"),
        ("0?format=YUYV", ConfigurationError, "raw format 'YUYV' is not read; expected e.g. SRGGB10_CSI2P"),
    ],
)
def test_what_cannot_be_is_refused(place, kind, says):
    with pytest.raises(kind, match=says):
        PiCamera(place, FakePicamera2)


@pytest.mark.parametrize(
    ("name", "sensor_bits", "expected"),
    [
        ("SBGGR10_CSI2P", 10, (10, "BGGR", "csi2", 0, "BayerBG10")),
        ("SGRBG12_CSI2P", 12, (12, "GRBG", "csi2", 0, "BayerGR12")),
        ("SRGGB12", 12, (12, "RGGB", "words", 0, "BayerRG12")),
        ("R10", 10, (10, None, "words", 0, "Mono10")),
        ("R8", 8, (8, None, "words", 0, "Mono8")),
        ("R10_CSI2P", 10, (10, None, "csi2", 0, "Mono10")),
        ("BGGR16", 12, (12, "BGGR", "words", 4, "BayerBG12")),
        ("R16", 10, (10, None, "words", 6, "Mono10")),
        ("SRGGB16", 16, (16, "RGGB", "words", 0, "BayerRG16")),
    ],
)
def test_libcameras_names_mean_what_its_pages_say(name, sensor_bits, expected):
    found = of_libcamera(name, sensor_bits)
    assert (found.bits, found.cfa, found.layout.packing, found.shift, found.name) == expected
    assert found.unpack(np.zeros(3 * 32, np.uint8), 5, 3, 32).shape == (3, 5)
