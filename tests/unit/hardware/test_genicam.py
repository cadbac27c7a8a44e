"""GenICam cameras: a real GenTL producer, and a stand-in for what its cameras have not."""

import importlib.util
import itertools
import math
import pathlib
import signal
import types

import numpy as np
import pytest

from hardware import CameraSettings, open_camera
from hardware.errors import CameraError, ConfigurationError, InputError
from hardware.pixel_formats import of_genicam

pytest.importorskip("genicam", reason="no harvesters; pip install 'optics-free[genicam]'")
from hardware.genicam import GenICamCamera, parse_place

PRODUCER = pathlib.Path(importlib.util.find_spec("genicam").origin).with_name("viky.cti")


def test_a_real_producers_pixels_are_those_that_harvesters_gives():
    with GenICamCamera(f"0?cti={PRODUCER}") as camera:
        pixels = camera.snap(1)[0].pixels
        with camera._acquirer.fetch(timeout=2) as buffer:
            theirs = buffer.payload.components[0].represent_pixel_location().copy()  # before the producer goes on
    assert pixels.shape == theirs.shape and set(np.unique(pixels)) == set(np.unique(theirs)) == {0, 255}
    assert abs(int((pixels == 0).sum()) - int((theirs == 0).sum())) < 20  # a ball that flies


def test_ctrl_c_stays_whose_it_was():
    before = signal.getsignal(signal.SIGINT)
    with GenICamCamera(f"0?cti={PRODUCER}") as camera:
        camera.snap(1)
        assert signal.getsignal(signal.SIGINT) is before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_camera_is_found_again_by_its_serial_number(monkeypatch):
    monkeypatch.setenv("GENICAM_GENTL64_PATH", str(PRODUCER.parent))
    with open_camera("genicam:2") as camera:
        assert camera.facts["identity"] == "serial"
        address, camera_id = camera.facts["address"], camera.camera_id
    with open_camera(address) as camera:
        assert camera.camera_id == camera_id


@pytest.mark.parametrize(
    ("place", "kind", "says"),
    [
        ("", ConfigurationError, "expected a serial number, or an index"),
        ("0", ConfigurationError, r"no GenTL producer; install .* GENICAM_GENTL64_PATH, or name it: cti="),
        ("0?cti=/nowhere.cti", InputError, r"GenTL producer '/nowhere\.cti' is not there"),
        ("0?cit=x", ConfigurationError, "no option 'cit'; did you mean cti="),
        ("0?cti=HERE&pixel_format=Mono12Packed", ConfigurationError, "'Mono12Packed' is not read"),
        ("0?cti=HERE&pixel_format=Mono12", ConfigurationError, "has the pixel formats RGBa8, Mono8; expected Mono12"),
        ("0?cti=HERE&exposure_s=0.1", ConfigurationError, r"cannot set exposure_s to 0\.1; it has 0\.05"),
        ("SN-9?cti=HERE", CameraError, "is not there; connected are: 0: Viky 0, 1: Viky 1, 2: Viky 2"),
    ],
)
def test_what_cannot_be_is_refused(place, kind, says, monkeypatch):
    monkeypatch.delenv("GENICAM_GENTL64_PATH", raising=False)
    with pytest.raises(kind, match=says):
        open_camera("genicam:" + place.replace("HERE", str(PRODUCER)))


def test_a_file_that_is_no_producer_is_told(tmp_path):
    (tmp_path / "text.cti").write_text("no library")
    with pytest.raises(CameraError, match=r"did not open: .*text\.cti"):
        open_camera(f"genicam:0?cti={tmp_path / 'text.cti'}")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Mono8", (8, None, "words", "Mono8")),
        ("Mono12", (12, None, "words", "Mono12")),
        ("Mono10p", (10, None, "lsb", "Mono10")),
        ("BayerGB12p", (12, "GBRG", "lsb", "BayerGB12")),
        ("BayerRG16", (16, "RGGB", "words", "BayerRG16")),
    ],
)
def test_names_mean_what_the_pfnc_says(name, expected):
    found = of_genicam(name)
    assert (found.bits, found.cfa, found.layout.packing, found.name) == expected


class Node:
    """A feature of a stand-in, which rounds to steps and refuses what it has not."""

    def __init__(self, value, low=-math.inf, high=math.inf, step=0.0, symbolics=(), unit="", access=4):
        self.get_access_mode = lambda: access
        self.min, self.max, self.step, self.symbolics, self.unit = low, high, step, symbolics, unit
        self._value = value

    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, value):
        if self.symbolics and value not in self.symbolics:
            raise RuntimeError(f"{value} is no entry")
        self._value = round(value / self.step) * self.step if self.step else value


class FakeHarvester:
    """One camera of 5 x 3 pixels with the features of the SFNC, whose pictures are numbers."""

    loses = ()
    extra = {}  # noqa: RUF012

    def __init__(self):
        self.device_info_list = [types.SimpleNamespace(serial_number="SN 1", model="Fake", id_="1")]
        self.nodes = {
            "PixelFormat": Node("RGB8", symbolics=("RGB8", "Mono8", "Mono12p", "BayerRG8")),
            "ExposureTime": Node(5000.0, 20.0, 1e6, 10.0),
            "Gain": Node(0.0, 0.0, 24.0, 0.1, unit="dB"),
            "ExposureAuto": Node("Continuous", symbolics=("Off", "Continuous")),
            "TriggerMode": Node("On", symbolics=("Off", "On")),
            "AcquisitionFrameRate": Node(100.0),
            "Width": Node(5),
            "Height": Node(3),
            "OffsetX": Node(16),
            "OffsetY": Node(8),
        } | self.extra
        nodes = types.SimpleNamespace(**self.nodes, has_node=self.nodes.__contains__, get_node=self.nodes.get)
        self.remote_device, self._numbers, self._acquiring = types.SimpleNamespace(node_map=nodes), None, False
        self.stopped = self.destroyed = 0
        self.add_file = lambda file, check_existence, check_validity: None
        self.update = self.reset = lambda: None
        self.create = lambda at: self

    def is_acquiring(self):
        return self._acquiring

    def start(self):
        self._acquiring, self._numbers = True, (n for n in itertools.count(1) if n not in self.loses)

    def stop(self):
        self._acquiring = False

    def destroy(self):
        self.destroyed += 1

    def try_fetch(self, timeout, is_raw):
        if timeout < 0.01:  # nothing waits
            return None
        number = next(self._numbers)
        stream = sum((number + at) % 4096 << 12 * at for at in range(15))
        parent = types.SimpleNamespace(queue_buffer=lambda buffer: None)
        return types.SimpleNamespace(
            width=5, height=3, frame_id=number, timestamp_ns=number * 10**7, raw_buffer=stream.to_bytes(30, "little"),
            parent=parent,
        )  # fmt: skip


def like(**facts) -> type[FakeHarvester]:
    return type("Fake", (FakeHarvester,), facts)


def fake(driver=FakeHarvester, options: str = "") -> GenICamCamera:
    return GenICamCamera(f"SN 1?cti={PRODUCER}{options}", driver)


def test_the_rawest_format_is_taken_and_what_is_automatic_is_switched_off():
    with fake() as camera:
        nodes = camera._harvester.nodes
        assert [nodes[name].value for name in ("PixelFormat", "ExposureAuto", "TriggerMode")] == [
            "Mono12p",
            "Off",
            "Off",
        ]
        applied = camera.configure(CameraSettings())
        assert (applied.pixel_format, applied.region) == ("Mono12", (8, 16, 3, 5))
        assert camera.camera_id == "genicam-Fake-SN_1"
        frame = camera.snap(1)[0]
        assert frame.pixels.tolist() == [[1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11, 12, 13, 14, 15]]
        assert frame.meta.t_device_ns == 10**7 and frame.meta.raw
    assert camera._harvester.destroyed == 1


def test_exposure_and_gain_are_read_back_and_kept_in_range():
    with fake(options="&exposure_s=0.001&gain_db=6") as camera:
        applied = camera.configure(CameraSettings())
        assert applied.exposure_s == pytest.approx(0.001) and applied.gain_db == pytest.approx(6.0)
        assert camera.configure(CameraSettings(exposure_s=0.001234)).exposure_s == pytest.approx(0.00123)
        with pytest.raises(ConfigurationError, match=r"exposure_s = 2 was asked for; it can do 2e-05 to 1$"):
            camera.configure(CameraSettings(exposure_s=2))
        assert camera.snap(1)[0].meta.exposure_s == pytest.approx(0.00123)
    steps = Node(0.0, 0.0, 24.0, unit="steps")
    with fake(like(extra={"Gain": steps})) as camera, pytest.raises(ConfigurationError, match="cannot set gain_db"):
        camera.configure(CameraSettings(gain_db=3))


def test_features_that_stand_in_the_description_alone_are_none():
    absent = {name: Node(None, access=access) for name, access in (("ExposureTime", 1), ("Gain", 0), ("GainAuto", 2))}
    with fake(like(extra=absent)) as camera:
        applied = camera.configure(CameraSettings())
        assert (applied.exposure_s, applied.gain_db) == (0.01, 0.0)  # as long as a frame
    fixed = Node(5000.0, access=3)
    with fake(like(extra={"ExposureTime": fixed})) as camera:
        assert camera.configure(CameraSettings()).exposure_s == 0.005
        with pytest.raises(ConfigurationError, match=r"cannot set exposure_s to 1; it has 0\.005"):
            camera.configure(CameraSettings(exposure_s=1))


def test_frames_that_are_missing_from_the_devices_count_are_lost():
    with fake(like(loses={3, 4, 7})) as camera:
        frames = [frame.meta for frame in itertools.islice(camera.frames(), 6)]
        assert [(meta.sequence, meta.lost_before) for meta in frames] == [
            (0, 0),
            (1, 0),
            (4, 2),
            (5, 0),
            (7, 1),
            (8, 0),
        ]
        camera.configure(CameraSettings(exposure_s=0.002))  # the device counts anew
        assert [frame.meta.sequence for frame in camera.snap(3)] == [9, 10, 13]


def test_processed_pixels_say_so_and_what_stays_automatic_is_refused():
    with fake(like(extra={"GammaEnable": Node(True)})) as camera:
        assert not camera.snap(1)[0].meta.raw
    with pytest.raises(CameraError, match="GainAuto = Off cannot be set"):
        fake(like(extra={"GainAuto": Node("On", symbolics=("On",))}))


def test_options_are_what_they_say():
    where, options = parse_place(f"SN-1?cti={PRODUCER}&pixel_format=Mono10p&exposure_s=1e-3")
    assert (where, options.cti, options.pixel_format, options.exposure_s) == ("SN-1", str(PRODUCER), "Mono10p", 1e-3)
