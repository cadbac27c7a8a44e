"""One battery that every camera passes. A new back end adds one line to CAMERAS."""

import contextlib
import dataclasses
import importlib.util
import os
import pathlib
import time

import numpy as np
import pytest
from fake_cv2 import FakeCv2, FakeDevice
from fake_picamera2 import FakePicamera2
from video import write_ffv1

from hardware import (
    Camera,
    CameraSettings,
    Frame,
    Recording,
    ReplayCamera,
    SimulatedCamera,
    open_camera,
    register_camera,
)
from hardware.emulators.board import EmulatedBoard
from hardware.emulators.board_on_line import BoardOnLine
from hardware.emulators.terminal import Terminal
from hardware.errors import CameraError, CameraLost, ConfigurationError, InputError
from hardware.frame import dtype_of
from hardware.isolated import IsolatedCamera
from hardware.opencv import OpenCvCamera
from hardware.opencv.backends import RAWEST_FIRST
from hardware.picamera2 import PiCamera
from hardware.testing import CameraBattery

SHAPE, BIT_DEPTH = (13, 17), 12


def expose(settings: CameraSettings, sequence: int) -> np.ndarray:
    noise = np.random.default_rng((1, sequence)).integers(0, 32, SHAPE)
    return (64 + noise + 1000 * settings.exposure_s).astype(np.uint16)


def simulated(folder) -> SimulatedCamera:
    return SimulatedCamera(
        expose, camera_id="SIM-1", shape=SHAPE, bit_depth=BIT_DEPTH, black_level_dn=64, exposure_s=0.01
    )


def record(path, frames) -> None:
    with Recording.create(path, frames[0], reserve_bytes=0) as writer:
        for frame in frames:
            writer.append(frame)


def replay_of_one(folder) -> ReplayCamera:
    record(folder / "one.h5", simulated(folder).snap(20))
    return ReplayCamera(folder / "one.h5")


def replay_with_losses(folder) -> ReplayCamera:
    kept = [0, 1, 4, 5, 6, 9, 10, 11, 12, 13, 14, 15]
    frames, last = simulated(folder).snap(20), -1
    for index in kept:
        lost = dataclasses.replace(frames[index].meta, lost_before=index - last - 1)
        frames[index], last = Frame(frames[index].pixels, lost), index
    record(folder / "lossy.h5", [frames[index] for index in kept])
    return open_camera(f"replay:{folder / 'lossy.h5'}")


def replay_of_many(folder) -> ReplayCamera:
    for name in ("a", "b", "c"):  # each starts again at 0
        record(folder / f"{name}.h5", simulated(folder).snap(4))
    return open_camera(f"replay:{folder}")


def replay_of_parts(folder) -> ReplayCamera:
    frames = simulated(folder).snap(20)
    with Recording.create(folder / "parts", frames[0], reserve_bytes=0, rotate_frames=6) as writer:
        writer.append_all(frames)
    return open_camera(f"replay:{folder / 'parts'}")


def isolated(folder) -> IsolatedCamera:
    """The same sensor, in a child process."""
    driver = pathlib.Path(__file__).resolve().parents[1] / "torture" / "driver_child.py"
    return IsolatedCamera([str(driver), "waits"], "fake:waits")


def video_file(folder) -> Camera:
    """Frames of the same sensor through the real codec, FFV1; OpenCV writes even rows and columns only."""
    rows, columns = EVEN
    write_ffv1(folder / "clip.mkv", [frame.pixels[:rows, :columns] for frame in simulated(folder).snap(20)])
    return OpenCvCamera.at(f"{folder / 'clip.mkv'}?exposure_s=0.01")


def webcam(folder) -> Camera:
    """OpenCV's camera on a fake driver, with a light and a noise of its own."""
    wire = next(wire for wire in RAWEST_FIRST if wire.fourcc == f"Y{BIT_DEPTH}")
    driver = FakeCv2({0: FakeDevice(formats=(wire,), shape=SHAPE)})
    return OpenCvCamera.at("0", driver, "linux", folder, folder)


def pi(folder) -> Camera:
    """A Raspberry Pi's, on a stand-in for its library."""
    return PiCamera("0", FakePicamera2)


def genicam(folder) -> Camera:
    """One of the three of the GenTL producer that comes with the library."""
    producer = pathlib.Path(importlib.util.find_spec("genicam").origin).with_name("viky.cti")
    return open_camera(f"genicam:1?cti={producer}")


def micromanager(folder) -> Camera:
    """Micro-Manager's own demo camera."""
    adapters = pathlib.Path(importlib.util.find_spec("mm_test_adapters").origin).with_name("libs")
    return open_camera(f"micromanager:demo?adapters={adapters}")


@contextlib.contextmanager
def sensor_board(folder):
    """The same sensor behind a real pseudo-terminal; the board looks through it once before its frame 0."""
    sensor = SimulatedCamera(
        lambda settings, sequence: expose(settings, max(0, sequence - 1)),
        camera_id="SENSOR", shape=SHAPE, bit_depth=BIT_DEPTH, black_level_dn=64, exposure_s=0.01,
    )  # fmt: skip
    with (
        BoardOnLine(EmulatedBoard(sensor, "1"), Terminal(folder / "board")),
        open_camera(f"serial:{folder / 'board'}") as camera,
    ):
        yield camera


@dataclasses.dataclass(frozen=True)
class Expected:
    """What one camera is known for; `computed`: its pixels are those of `expose`."""

    name: str = "SIM-1"
    shape: tuple[int, int] = SHAPE
    bit_depth: int = BIT_DEPTH
    raw: bool = True
    computed: bool = True


EVEN = (12, 16)
CAMERAS = {
    simulated: Expected(),
    isolated: Expected(),
    replay_of_one: Expected(),
    replay_with_losses: Expected(),
    replay_of_many: Expected(),
    replay_of_parts: Expected(),
    video_file: Expected(name="file-", shape=EVEN, bit_depth=16, raw=False),  # nothing proves what a file has been
    webcam: Expected(name="opencv-v4l2-0", computed=False),
    pi: Expected(name="pi-i2c_1-imx219_10", bit_depth=10, computed=False),
}
if os.name == "posix":  # others have no pseudo-terminals
    CAMERAS[sensor_board] = Expected(name="board-1")
if importlib.util.find_spec("genicam"):
    CAMERAS[genicam] = Expected(name="genicam-Viky-1", shape=(400, 400), bit_depth=8, computed=False)
if importlib.util.find_spec("mm_test_adapters"):
    CAMERAS[micromanager] = Expected("micromanager-DemoCamera-DCam", (512, 512), 8, computed=False)


# Each case of these starts a native driver of other makers.
SLOW = (genicam, micromanager)


@pytest.fixture(
    params=[pytest.param(make, marks=[pytest.mark.slow] * (make in SLOW)) for make in CAMERAS],
    ids=[make.__name__ for make in CAMERAS],
)
def make(request):
    return request.param


@pytest.fixture
def camera(make, tmp_path):
    with make(tmp_path) as camera:
        yield camera


@pytest.fixture
def expected(make) -> Expected:
    return CAMERAS[make]


class TestCameras(CameraBattery):
    """Each of CAMERAS."""


def test_it_has_the_name_that_it_is_known_by(camera, expected):
    assert camera.camera_id.startswith(expected.name)


def test_frames_are_raw_and_what_their_facts_say(camera, expected):
    rows, columns = expected.shape
    for frame in camera.snap(3):
        assert frame.pixels.dtype == dtype_of(expected.bit_depth) and frame.shape == expected.shape
        assert frame.meta.bit_depth == expected.bit_depth and frame.meta.raw == expected.raw
        if expected.computed:
            pixels = expose(frame.meta.settings, _recorded_sequence(camera, frame))
            assert (frame.pixels == pixels[:rows, :columns]).all()


def _recorded_sequence(camera, frame) -> int:
    many = isinstance(camera, ReplayCamera) and camera._path.is_dir()
    return frame.meta.sequence % 4 if many else frame.meta.sequence


def test_a_simulated_camera_applies_what_it_can():
    with simulated(None) as camera:
        assert camera.configure(CameraSettings(exposure_s=1e-9)).exposure_s == 1e-6
        assert camera.configure(CameraSettings(exposure_s=0.5, gain_db=6.0)).gain_db == 6.0
        assert camera.snap(1)[0].pixels.min() >= 564
        with pytest.raises(ConfigurationError, match="limit 60 s"):
            camera.snap(1, not_before_ns=time.monotonic_ns() + 10**12)


@pytest.mark.parametrize(
    ("pixels", "says"),
    [
        (np.full(SHAPE, np.nan), "NaN"),
        (np.zeros(SHAPE), "expected uint16"),
        (np.zeros((17, 13), np.uint16), "shape"),
        (np.zeros(SHAPE, np.uint8), "expected uint16"),
        (np.full(SHAPE, 4096, np.uint16), "at most 4095"),
        (None, "NoneType"),
    ],
)
def test_a_simulated_sensor_that_returns_nonsense_is_found_out(pixels, says):
    camera = SimulatedCamera(
        lambda settings, sequence: pixels,
        camera_id="BAD",
        shape=SHAPE,
        bit_depth=BIT_DEPTH,
        black_level_dn=0,
        exposure_s=1.0,
    )
    with camera, pytest.raises(CameraError, match=says):
        camera.snap(1)


def test_a_replay_ends_with_a_clear_error(tmp_path):
    with replay_of_one(tmp_path) as camera:
        assert len(list(camera.frames())) == 20
        with pytest.raises(CameraLost, match="has ended"):
            camera.snap(1)
        assert camera.configure(CameraSettings()).exposure_s == 0.01
        with pytest.raises(ConfigurationError, match="cannot be exposed again"):
            camera.configure(CameraSettings(exposure_s=0.02))


def test_a_replay_plays_files_and_folders_of_parts_in_the_order_of_their_names(tmp_path):
    with replay_of_parts(tmp_path):
        record(tmp_path / "z.h5", simulated(tmp_path).snap(3))
        with ReplayCamera(tmp_path) as camera:
            assert [frame.meta.sequence for frame in camera.frames()] == list(range(23))
    (tmp_path / "parts" / "part-00001.h5").unlink()
    with pytest.raises(InputError, match=r"'part-00001\.h5' is missing"):
        ReplayCamera(tmp_path)


def test_parts_without_their_manifest_are_refused_as_by_info_and_single_recordings_are_not(tmp_path):
    with replay_of_parts(tmp_path):
        pass
    parts = tmp_path / "parts"
    (parts / "recording.json").unlink()
    for opened in (ReplayCamera, Recording.open):
        with pytest.raises(InputError, match=r"holds no 'recording\.json'.*`lensless repair`"):
            opened(parts)
    with pytest.raises(InputError, match=r"parts' holds no 'recording\.json'"):
        ReplayCamera(tmp_path)  # nor is the folder passed over by who plays all that lie beside it
    (tmp_path / "plain").mkdir()
    record(tmp_path / "plain" / "part-00000.h5", simulated(tmp_path).snap(3))
    with ReplayCamera(tmp_path / "plain") as camera:
        assert len(list(camera.frames())) == 3
        with pytest.raises(ConfigurationError, match=r"exposure_s = 0\.0333333 asked for, recorded with 0\.01;"):
            camera.configure(CameraSettings(exposure_s=1 / 30))


def test_a_replay_of_nothing_of_links_and_of_two_cameras_is_refused(tmp_path):
    with pytest.raises(InputError, match="no recording in folder"):
        ReplayCamera(tmp_path)
    with pytest.raises(InputError, match=r"nowhere\.h5"):
        ReplayCamera(tmp_path / "nowhere.h5")
    other = SimulatedCamera(
        expose, camera_id="SIM-2", shape=SHAPE, bit_depth=BIT_DEPTH, black_level_dn=64, exposure_s=0.01
    )
    record(tmp_path / "a.h5", simulated(tmp_path).snap(1))
    record(tmp_path / "b.h5", other.snap(1))
    with pytest.raises(InputError, match="of one camera"):
        ReplayCamera(tmp_path)
    (tmp_path / "b.h5").unlink()
    (tmp_path / "b.h5").symlink_to(tmp_path / "a.h5")
    with pytest.raises(InputError, match="is a link"):
        ReplayCamera(tmp_path)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("replya:x", "did you mean 'replay:'"),
        ("replay", "names no device"),
        ("os.path:join", "no scheme"),
        ("", "no scheme"),
        ("/dev/ttyACM0", "no scheme"),
    ],
)
def test_an_unknown_address_is_refused_with_the_nearest_scheme(address, says):
    with pytest.raises(ConfigurationError, match=says):
        open_camera(address)


def test_a_registered_scheme_gets_what_stands_behind_the_colon(monkeypatch):
    monkeypatch.setattr("hardware.camera._factories", {})
    asked = []
    register_camera("battery-1", lambda rest: asked.append(rest) or simulated(None))
    with open_camera("battery-1:rig.toml?seed=1:2"):
        assert asked == ["rig.toml?seed=1:2"]
    with pytest.raises(ConfigurationError, match="taken"):
        register_camera("battery-1", simulated)
    for scheme in ("", "os.path", "a/b", "Upper"):
        with pytest.raises(ConfigurationError, match="expected lower-case"):
            register_camera(scheme, simulated)
