"""Every known trap of OpenCV, sprung by a driver that behaves as the reports say (numbers: opencv's threads)."""

import dataclasses
import itertools
import logging
import math
import sys
import threading
import time

import numpy as np
import pytest
from fake_cv2 import NAMES, FakeCv2, FakeDevice
from fake_sysfs import Tree

from hardware import CameraSettings
from hardware.alive import heard_by
from hardware.errors import CameraError, CameraLost, ConfigurationError
from hardware.opencv.address import OpenCvOptions, parse_place
from hardware.opencv.backends import BACKENDS, CONVERTED, GREY, MJPG, RAWEST_FIRST, UYVY, YUYV, backend_for
from hardware.opencv.camera import OpenCvCamera
from hardware.opencv.handle import load_cv2
from hardware.opencv.plausible import carries_noise, exposure_followed
from hardware.stream import Ring, Stream

FORMATS = {wire.pixel_format + wire.fourcc: wire for wire in RAWEST_FIRST}
Y10, Y16 = (next(wire for wire in RAWEST_FIRST if wire.fourcc == code) for code in ("Y10", "Y16"))


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """Opens the camera behind an address, on a fake driver of these devices, and closes it when the test ends."""
    monkeypatch.setattr("hardware.opencv.fresh.SETTLE_S", 0.0)
    cameras = []

    def open_(place: str, *devices: FakeDevice, system: str = "linux") -> OpenCvCamera:
        driver = FakeCv2(dict(enumerate(devices)))
        cameras.append(OpenCvCamera.at(place, driver=driver, system=system, sysfs=tmp_path, dev=tmp_path))
        return cameras[-1]

    yield open_
    for camera in cameras:
        camera.close()


@pytest.mark.parametrize("wire", FORMATS.values(), ids=list(FORMATS))
def test_every_format_arrives_in_its_true_depth_and_says_whether_it_is_raw(opened, wire):
    camera = opened("0", FakeDevice(formats=(YUYV, wire)))
    frame = camera.snap(1)[0]
    assert frame.shape == (12, 16) and frame.pixels.dtype == (np.uint8 if wire.bit_depth == 8 else np.uint16)
    assert (frame.meta.pixel_format, frame.meta.bit_depth) == (wire.pixel_format, wire.bit_depth)
    assert frame.meta.cfa == wire.cfa and frame.meta.raw == (wire.cfa is not None or wire.bit_depth > 8)
    assert frame.pixels.mean() == pytest.approx((10 + 80 + 4) / 256 * 2**wire.bit_depth, rel=0.1)


def test_the_rawest_format_is_taken_and_another_one_only_if_it_is_asked_for(opened):
    formats = (MJPG, YUYV, GREY, Y10, Y16)
    assert opened("0", FakeDevice(formats=formats)).snap(1)[0].meta.pixel_format == "Mono16"
    assert opened("0?fourcc=GREY", FakeDevice(formats=formats)).snap(1)[0].meta.pixel_format == "Mono8"
    colours = opened("0?fourcc=MJPG", FakeDevice(formats=formats)).snap(1)[0]
    assert colours.meta.pixel_format == "BGR8" and colours.shape == (12, 16, 3) and not colours.meta.raw
    with pytest.raises(CameraError, match="UYVY was asked for, 'MJPG' is read back"):
        opened("0?fourcc=UYVY", FakeDevice(formats=formats))
    with pytest.raises(ConfigurationError, match=r"fourcc=H264 is not read.*known: .*Y16"):
        opened("0?fourcc=H264", FakeDevice(formats=formats))
    with pytest.raises(CameraError, match="MJPG' is read back; ask for fourcc=MJPG"):
        opened("0", FakeDevice(formats=(MJPG,)))


def test_only_the_brightness_of_yuv_is_kept(opened):
    for wire in (YUYV, UYVY):
        assert 80 < opened("0", FakeDevice(formats=(wire,))).snap(1)[0].pixels.mean() < 110  # and not 128, the colour


def test_facts_and_times_of_a_frame(opened):
    camera = opened("0", FakeDevice())
    before_ns = time.monotonic_ns()
    frames = camera.snap(5)
    for earlier, later in itertools.pairwise(frames):
        assert later.meta.sequence == earlier.meta.sequence + 1 and later.meta.lost_before == 0
        assert later.meta.t_host_ns > earlier.meta.t_host_ns and later.meta.t_device_ns > earlier.meta.t_device_ns
    assert abs(frames[0].meta.t_host_ns + 10_000_000 - before_ns) < 1e9  # the exposure of 10 ms is taken off
    assert frames[0].meta.exposure_s == pytest.approx(0.01) and frames[0].meta.gain_db == 0
    assert camera.live and camera.camera_id == "opencv-v4l2-0" and camera.identity == "none"
    assert camera.controls["gain"] == 16 and camera.controls["auto_exposure"] == 1


def test_14044_the_camera_is_left_after_the_first_failed_read_for_the_second_one_would_succeed(opened):
    device = FakeDevice()
    camera = opened("0", device)
    running = camera.frames()
    next(running)
    device.unplugged = True
    with pytest.raises(CameraLost, match="no frame"):
        next(running)
    assert device.open_captures == 0
    reads = device.reads
    for _ in range(3):
        with pytest.raises(CameraLost, match="plug it in again"):
            camera.snap(1)
    assert device.reads == reads


@pytest.mark.parametrize(
    ("after", "says"), [("true and nothing", "empty"), ("true and empty", "empty"), ("raises", "Unknown C")]
)
def test_10927_a_timeout_that_reports_success_is_a_lost_camera(opened, after, says):
    device = FakeDevice(after_unplug=after)
    camera = opened("0", device)
    device.unplugged = True
    with pytest.raises(CameraLost, match=says):
        camera.snap(1)
    assert device.open_captures == 0


def test_14044_a_camera_that_repeats_its_last_frame_for_ever_is_lost_and_none_of_them_is_delivered(opened):
    device = FakeDevice(after_unplug="last frame for ever")
    camera = opened("0", device)
    camera.snap(2)
    device.unplugged = True
    with pytest.raises(CameraLost, match="repeats its last frame"):
        camera.snap(1)


def test_14044_a_repeated_frame_is_counted_as_lost_and_never_delivered_as_new(opened):
    device = FakeDevice()
    camera = opened("0", device)
    first = camera.snap(1)[0]
    device.repeats = 2
    second = camera.snap(1)[0]
    assert second.meta.lost_before == 2 and second.meta.sequence == first.meta.sequence + 3
    assert (second.pixels != first.pixels).any()


def test_equal_frames_without_noise_are_no_repeats(opened):
    for quiet in (FakeDevice(light=0, black=0, noise=0), FakeDevice(light=1e6)):
        assert [frame.meta.lost_before for frame in opened("0", quiet).snap(6)] == [0] * 6


def test_4468_5197_a_hung_read_holds_its_thread_alone_and_close_returns_at_once(opened):
    device = FakeDevice()
    camera = []
    ready, finished = threading.Event(), []

    def work():
        camera.append(opened("0", device))
        ready.set()
        try:
            for _ in camera[0].frames():
                device.hang = device.hang or threading.Event()
        finally:
            finished.append(device.open_captures)

    worker = threading.Thread(target=work)
    worker.start()
    assert ready.wait(5)
    while device.hang is None:
        time.sleep(0.001)
    begin_s = time.monotonic()
    camera[0].close()
    camera[0].close()
    assert time.monotonic() - begin_s < 1
    assert device.open_captures == 1  # the reading thread alone may let it go
    device.hang.set()
    worker.join(5)
    assert finished == [0]


def test_7519_7275_reading_in_another_thread_is_refused(opened):
    camera, errors = opened("0", FakeDevice()), []

    def work():
        try:
            camera.snap(1)
        except CameraError as error:
            errors.append(str(error))

    worker = threading.Thread(target=work)
    worker.start()
    worker.join(5)
    assert "another thread" in errors[0]
    assert camera.snap(1)


def test_27294_10546_another_camera_under_the_old_number_is_not_taken(opened, tmp_path):
    with pytest.raises(CameraError, match=r"'usb-046d:0825-ABCD1234' is not plugged in; there is no camera"):
        opened("id:usb-046d:0825-ABCD1234", FakeDevice())


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Tree:
    monkeypatch.setattr("hardware.opencv.fresh.SETTLE_S", 0.0)
    return Tree(tmp_path)


def test_27294_10546_the_same_camera_is_opened_under_its_new_number(tree):
    tree.plug(0, serial="SOMEBODY")
    tree.plug(1, port="1-6")
    driver = FakeCv2({0: FakeDevice(formats=(GREY,)), 1: FakeDevice(formats=(Y16,))})
    with OpenCvCamera.at("id:usb-046d:0825-A1B2C3D4", driver, "linux", *tree.at) as camera:
        assert camera.identity == "serial" and camera.camera_id == "usb-046d:0825-A1B2C3D4"
        assert camera.snap(1)[0].meta.pixel_format == "Mono16" and driver.devices[0].reads == 0
    tree.unplug(1)
    with pytest.raises(CameraError, match=r"A1B2C3D4' is not plugged in; there is 'usb-046d:0825-SOMEBODY'"):
        OpenCvCamera.at("id:usb-046d:0825-A1B2C3D4", driver, "linux", *tree.at)


def test_a_camera_that_was_opened_beside_its_twin_keeps_its_name_when_it_is_alone(tree):
    tree.plug(0, port="1-2")
    tree.plug(1, port="1-3")
    driver = FakeCv2({0: FakeDevice(), 1: FakeDevice()})
    with OpenCvCamera.at("0", driver, "linux", *tree.at) as camera:
        mine = camera.camera_id
        assert camera.identity == "port"
    tree.unplug(1)
    with OpenCvCamera.at(f"id:{mine}", driver, "linux", *tree.at) as again:
        assert (again.camera_id, again.identity) == (mine, "port") and driver.devices[0].open_captures == 1


def test_a_twin_that_came_once_is_told_for_ever(tree):
    tree.plug(0, port="1-2")
    with OpenCvCamera.at("0", FakeCv2({0: FakeDevice()}), "linux", *tree.at) as camera:
        assert camera.facts["twin"] is False
        tree.plug(1, port="1-3")
        assert camera.facts["twin"] is True
        tree.unplug(1)
        assert camera.facts["twin"] is True


def test_27294_10546_a_number_that_changes_hands_while_it_is_opened_is_not_taken(tree):
    tree.plug(0)
    driver = FakeCv2({0: FakeDevice()})
    honest = driver.VideoCapture

    def slow(source, api, params=None):
        tree.unplug(0)
        tree.plug(0, port="1-5", serial="SOMEBODY")
        return honest(source, api, params)

    driver.VideoCapture = slow
    with pytest.raises(CameraError, match="another device took its number"):
        OpenCvCamera.at("0", driver, "linux", *tree.at)
    assert driver.devices[0].open_captures == 0


def test_13145_frames_that_waited_in_the_queue_are_thrown_away(opened):
    device = FakeDevice(queue=4, fps=100)
    camera = opened("0", device)
    assert camera.snap(1)[0].meta.sequence == 0
    device.controls["EXPOSURE"] = 100
    begin_ns = time.monotonic_ns()
    frame = camera.snap(1, not_before_ns=begin_ns)[0]
    assert frame.meta.t_host_ns >= begin_ns and device.reads >= 2 * 6
    assert (frame.meta.sequence, frame.meta.lost_before) == (1, 0)  # what is thrown away on purpose is not lost


def test_13145_after_a_change_of_exposure_no_frame_of_the_old_one_comes(opened):
    camera = opened("0", FakeDevice(queue=4))
    before = camera.snap(1)[0]
    camera.configure(CameraSettings(exposure_s=0.02))
    after = camera.snap(1)[0]
    assert after.pixels.mean() > 1.5 * before.pixels.mean() and after.meta.exposure_s == pytest.approx(0.02)
    assert after.meta.settings_id != before.meta.settings_id and after.meta.sequence == before.meta.sequence + 1


def test_whoever_waits_for_a_camera_that_settles_hears_that_it_goes_on(opened):
    signs = []
    with heard_by(lambda: signs.append(time.monotonic())):
        camera = opened("0", FakeDevice())
        assert len(signs) > 6  # one for each frame that is thrown away
        signs.clear()
        camera.configure(CameraSettings(exposure_s=0.02))
        assert len(signs) > 6
    camera.configure(CameraSettings(exposure_s=0.01))
    assert len(signs) < 20


def test_a_time_too_far_away_is_refused(opened):
    with pytest.raises(ConfigurationError, match="limit 60 s"):
        opened("0", FakeDevice()).snap(1, not_before_ns=time.monotonic_ns() + 10**12)


@pytest.mark.parametrize("control", ["AUTO_EXPOSURE", "AUTO_WB", "AUTOFOCUS"])
def test_9738_automatics_that_stay_on_although_set_says_true_are_refused_or_make_frames_processed(opened, control):
    with pytest.raises(CameraError, match=r"auto.*asked for, [13] is read back.*auto=allow"):
        opened("0", FakeDevice(formats=(Y10,), stuck={control}))
    camera = opened("0?auto=allow", FakeDevice(formats=(Y10,), stuck={control}))
    assert not camera.snap(1)[0].meta.raw
    assert (
        camera.snap(1)[0].meta.exposure_s == 1 / 500
    )  # of one frame: what the control tells now is not to be believed
    with pytest.raises(ConfigurationError, match="no exposure to be set"):
        camera.configure(CameraSettings(exposure_s=0.1))


def test_automatics_are_switched_off(opened):
    device = FakeDevice()
    opened("0", device)
    assert (device.controls["AUTO_EXPOSURE"], device.controls["AUTO_WB"], device.controls["AUTOFOCUS"]) == (1, 0, 0)


def test_a_camera_without_any_control_of_exposure_is_refused_or_processed(opened):
    with pytest.raises(CameraError, match="no control of it"):
        opened("0", FakeDevice(controls={}))
    assert opened("0?auto=allow", FakeDevice(formats=(Y16,), controls={})).snap(1)[0].meta.raw is False
    assert (
        opened("0", FakeDevice(formats=(Y16,), controls={"EXPOSURE": 100})).snap(1)[0].meta.raw
    )  # nothing is automatic


def test_15958_an_exposure_that_is_not_taken_is_an_error_that_names_both_and_the_old_one_stands(opened):
    device = FakeDevice(limits={"EXPOSURE": (1, 500)})
    camera = opened("0", device)
    before = camera.configure(CameraSettings())
    with pytest.raises(CameraError, match=r"exposure_s = 2 was asked for.*0\.05 s \(500\) is read back"):
        camera.configure(CameraSettings(exposure_s=2.0))
    assert camera.configure(CameraSettings()) == before and device.controls["EXPOSURE"] == 100
    assert camera.configure(CameraSettings(exposure_s=0.04)).exposure_s == pytest.approx(0.04)


def test_an_exposure_that_is_nearly_taken_is_recorded_as_it_was_read_back(opened):
    camera = opened("0", FakeDevice(limits={"EXPOSURE": (1, 156)}))
    assert camera.configure(CameraSettings(exposure_s=0.02)).exposure_s == pytest.approx(0.0156)
    assert camera.snap(1)[0].meta.exposure_s == pytest.approx(0.0156)


def test_14494_an_exposure_that_is_read_back_and_has_no_effect_is_contradicted_by_the_frames(opened):
    camera = opened("0", FakeDevice(without_effect=True))
    with pytest.raises(
        CameraError, match=r"from 0\.01 to 0\.02 s \(0\.02 s read back\), but the mean level from 9\d\.\d"
    ):
        camera.configure(CameraSettings(exposure_s=0.02))
    assert camera.exposure_verified is False


def test_exposure_is_verified_both_ways_or_left_open(opened):
    camera = opened("0", FakeDevice())
    assert camera.exposure_verified is None
    for exposure_s in (0.02, 0.005):
        camera.configure(CameraSettings(exposure_s=exposure_s))
        assert camera.exposure_verified is True
    dark = opened("0", FakeDevice(light=0))
    dark.configure(CameraSettings(exposure_s=0.1))
    assert dark.exposure_verified is None
    bright = opened("0", FakeDevice(light=1e6))
    bright.configure(CameraSettings(exposure_s=0.02))
    assert bright.exposure_verified is None


@pytest.mark.parametrize("gamma", [1, 0.45])
@pytest.mark.parametrize("black", [0, 20])
@pytest.mark.parametrize("factor", [1.5, 2, 4, 1 / 1.5, 1 / 4])
def test_levels_that_follow_are_told_from_levels_that_do_not(gamma, black, factor):
    level = 150 / max(factor**gamma, 1)
    before, after = (np.full((4, 4), black + light) for light in (level, level * factor**gamma))
    assert exposure_followed(before, after, factor, 255) == "followed"
    assert exposure_followed(before, before, factor, 255) == "contradicted"
    assert exposure_followed(after, before, factor, 255) == "contradicted"


def test_17019_windows_counts_in_octaves_and_is_switched_to_manual_by_the_exposure_itself(opened):
    for name in ("msmf", "dshow"):
        camera = opened(f"0?backend={name}", FakeDevice(controls={"EXPOSURE": -7}, formats=(Y16,)), system="win32")
        assert camera.snap(1)[0].meta.exposure_s == 2**-7
        assert camera.configure(CameraSettings(exposure_s=0.015)).exposure_s == 2**-6 and camera.exposure_verified
    with pytest.raises(CameraError, match="no control of it"):
        opened("0", FakeDevice(controls={}, formats=(Y16,)), system="win32")


def test_avfoundation_controls_nothing_and_says_so(opened):
    device = FakeDevice(formats=(CONVERTED,), controls={}, fps=100)
    with pytest.raises(CameraError, match="avfoundation has no control"):
        opened("0", device, system="darwin")
    frame = opened("0?auto=allow", device, system="darwin").snap(1)[0]
    assert frame.meta.pixel_format == "BGR8" and not frame.meta.raw and frame.meta.exposure_s == 0.01


def test_units_there_and_back_are_within_half_an_octave():
    for backend in BACKENDS.values():
        for exposure_s in (1e-4, 0.003, 0.01, 0.7) if backend.raw_of else ():
            assert abs(math.log2(backend.seconds_of(backend.raw_of(exposure_s)) / exposure_s)) <= 0.501


@pytest.mark.skipif(sys.platform != "linux", reason="numbers of /dev/video")
def test_the_real_driver_knows_every_name_and_says_clearly_that_there_is_no_camera():
    driver = load_cv2()
    names = {name for backend in BACKENDS.values() for name, _ in backend.first} | set(NAMES)
    assert not [name for name in (*names, *(each.constant for each in BACKENDS.values())) if not hasattr(driver, name)]
    with pytest.raises(CameraError, match=r"number 9999, v4l2\) cannot be opened through v4l2: is it plugged in"):
        OpenCvCamera.at("9999")
    with pytest.raises(CameraError, match=r"by-id/nobody' is not plugged in; see 'lensless devices'"):
        OpenCvCamera.at("/dev/v4l/by-id/nobody")


def test_a_back_end_is_always_named_and_has_to_be_the_one(opened):
    with pytest.raises(CameraError, match="GSTREAMER opened it"):
        opened("0", FakeDevice(reports="GSTREAMER"))
    with pytest.raises(ConfigurationError, match=r"'msmf' is not on 'linux'; expected one of: v4l2"):
        opened("0?backend=msmf", FakeDevice())
    with pytest.raises(ConfigurationError, match="expected one of: none"):
        backend_for(None, "freebsd14")
    with pytest.raises(CameraError, match=r"cannot be opened.*plugged in"):
        opened("7", FakeDevice())


@pytest.mark.parametrize("culprit", ["EXPOSURE", "FOURCC", "FRAME_WIDTH", "AUTO_WB", "GAIN"])
def test_11398_14084_conversion_that_another_property_brings_back_is_switched_off_again(opened, culprit):
    device = FakeDevice(formats=(Y16,), resets_convert={culprit})
    camera = opened("0?width=16&height=12&gain_raw=20", device)
    camera.configure(CameraSettings(exposure_s=0.02))
    assert camera.snap(1)[0].pixels.dtype == np.uint16


def test_11398_conversion_that_cannot_be_switched_off_is_refused(opened):
    with pytest.raises(CameraError, match=r"CONVERT_RGB = 0 was asked for, 1 is read back"):
        opened("0", FakeDevice(formats=(Y16,), converts_always=True))


def test_11398_a_converted_frame_among_others_is_refused_and_counted(opened):
    device = FakeDevice(formats=(Y16,))
    camera = opened("0", device)
    first = camera.snap(1)[0]
    capture = camera._handle._capture
    capture._convert = True
    with pytest.raises(CameraError, match=r"got uint8 of shape \(12, 16, 3\); expected uint16 of shape \(12, 16\)"):
        camera.snap(1)
    capture._convert = False
    assert camera.snap(1)[0].meta.lost_before == 1 and first.meta.sequence == 0


@pytest.mark.parametrize("wire", [Y16, Y10, GREY, next(wire for wire in RAWEST_FIRST if wire.fourcc == "RG12")])
def test_27166_flat_frames_get_their_shape_if_the_size_matches_exactly_with_one_note(opened, caplog, wire):
    with caplog.at_level(logging.WARNING):
        camera = opened("0", FakeDevice(formats=(wire,), flat=True))
        assert {frame.shape for frame in camera.snap(3)} == {(12, 16)}
    assert len([record for record in caplog.records if "flat rows" in record.message]) == 1


def test_27166_a_flat_frame_of_another_size_is_refused():
    flat = np.zeros((1, 12 * 16 * 2 - 2), np.uint8)
    with pytest.raises(CameraError, match="expected uint16 of shape"):
        Y16.unpack(flat, 12, 16, "camera")
    with pytest.raises(CameraError, match="expected uint16"):
        Y16.unpack(np.zeros((12, 32), np.uint8), 12, 16, "camera")  # not flat, though of the right size


def test_a_number_above_full_scale_is_refused(opened):
    camera = opened("0", FakeDevice(formats=(Y10,)))
    camera._handle._capture._wire = dataclasses.replace(Y10, bit_depth=12)
    with pytest.raises(CameraError, match="at most 1023"):
        camera.snap(1)


def test_gain_has_no_unit_and_is_set_raw_and_read_back(opened):
    with pytest.raises(ConfigurationError, match="gain_raw="):
        opened("0", FakeDevice()).configure(CameraSettings(gain_db=6.0))
    assert opened("0?gain_raw=20", FakeDevice()).controls["gain"] == 20
    with pytest.raises(CameraError, match="gain_raw = 200 was asked for, 64 is read back"):
        opened("0?gain_raw=200", FakeDevice(limits={"GAIN": (0, 64)}))


def test_frames_of_another_gain_or_brightness_do_not_look_alike(opened):
    controls = {"EXPOSURE": 100, "AUTO_EXPOSURE": 1, "GAIN": 16, "BRIGHTNESS": -4}
    ids = []
    for change in ({}, {}, {"GAIN": 17}, {"BRIGHTNESS": -1}):
        camera = opened("0", FakeDevice(controls=controls | change))
        applied = camera.configure(CameraSettings())
        assert camera.configure(applied).id == applied.id == camera.snap(1)[0].meta.settings_id
        ids.append(applied.id)
    assert ids[0] == ids[1] and len(set(ids)) == 3
    assert applied.controls == (("gain", 16.0), ("brightness", -1.0)) and camera.controls["brightness"] == -1


def test_controls_are_set_again_or_refused(opened):
    camera = opened("0", device := FakeDevice(limits={"GAIN": (0, 64)}))
    before = camera.configure(CameraSettings())
    after = camera.configure(CameraSettings(controls=(("gain", 20.0),)))
    assert device.controls["GAIN"] == 20 and dict(after.controls)["gain"] == 20 and after.id != before.id
    assert camera.configure(before).id == before.id and device.controls["GAIN"] == 16
    with pytest.raises(ConfigurationError, match="gain = 200 was asked for, 64 is read back"):
        camera.configure(CameraSettings(controls=(("gain", 200.0),)))
    assert dict(camera.configure(CameraSettings()).controls)["gain"] == 64  # it is what it is, and says so
    with pytest.raises(ConfigurationError, match="no control hue"):
        camera.configure(CameraSettings(controls=(("hue", 1.0),)))


@pytest.mark.parametrize("takes", [True, False])
def test_a_camera_that_comes_back_with_another_gain_gets_its_own_again_or_that_is_told(monkeypatch, tmp_path, takes):
    monkeypatch.setattr("hardware.opencv.fresh.SETTLE_S", 0.0)
    device, told = FakeDevice(), []
    driver = FakeCv2({0: device})
    connect = lambda: OpenCvCamera(0, driver=driver, system="linux", sysfs=tmp_path, dev=tmp_path)  # noqa: E731
    with Stream(connect, ring=Ring(1 << 20), on_event=told.append) as stream:
        before = stream.get(5).meta.settings_id
        device.unplugged = True
        while not any(event.kind == "lost" for event in told):
            time.sleep(0.005)
        device.controls["GAIN"] = 64  # what it has when it is switched on
        if not takes:
            device.stuck.add("GAIN")
        device.unplugged = False
        while not any(event.kind == "back" for event in told):
            time.sleep(0.005)
        time.sleep(0.1)
        assert (stream.newest(5).meta.settings_id == before) == takes
        assert device.controls["GAIN"] == (16 if takes else 64)
    differ = [event.text for event in told if event.kind == "settings differ"]
    assert differ == [] if takes else "gain=64.0 (before 16.0)" in differ[0]


def test_sizes_and_rates_are_read_back(opened):
    opened("0?width=16&height=12&fps=500", FakeDevice())
    with pytest.raises(CameraError, match="width = 640 was asked for, 16 is read back"):
        opened("0?width=640&height=480", FakeDevice())
    with pytest.raises(CameraError, match="fps = 60 was asked for, 500 is read back"):
        opened("0?fps=60", FakeDevice())


def test_the_first_exposure_may_stand_in_the_address(opened):
    assert opened("0?exposure_s=0.03", FakeDevice()).configure(CameraSettings()).exposure_s == pytest.approx(0.03)


def test_everything_is_let_go_when_opening_fails(opened):
    device = FakeDevice(stuck={"AUTO_EXPOSURE"})
    with pytest.raises(CameraError):
        opened("0", device)
    assert device.open_captures == 0


def test_a_frame_carries_noise_unless_it_is_black_clipped_or_spotted():
    rng = np.random.default_rng(1)
    assert carries_noise(rng.integers(0, 8, (32, 32)))
    spotted = np.zeros((32, 32), np.uint8)
    spotted[3, 4] = 200
    for pixels in (np.zeros((32, 32), np.uint8), np.full((32, 32), 255, np.uint8), spotted):
        assert not carries_noise(pixels)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("0?fourc=Y16", "did you mean 'fourcc='"),
        ("0?exposure=1", "did you mean 'exposure_s='"),
        ("0?fps=0", "above 0"),
        ("0?fps=nan", "above 0"),
        ("0?fps=1e999", "above 0"),
        ("0?width=640", "both of width and height"),
        ("0?width=1&width=2&height=2", "given twice"),
        ("0?backend=gstreamer", "expected one of v4l2"),
        ("0?fourcc=Y16;x", "letters or digits"),
        ("0?auto=yes", "off or allow"),
        ("0?", None),
        ("rtsp://host/stream", "no camera and no file"),
        ("v4l2src ! appsink", "is not there"),
        ("frame_%03d.png", "no camera and no file"),
        ("/dev/ttyACM0", "no camera and no file"),
        ("/dev/video0/../sda", "no camera and no file"),
        ("-1", "is not there"),
        ("", "no camera and no file"),
        ("id:", "is not there"),
    ],
)
def test_nothing_but_a_device_an_identity_and_a_file_is_a_place(place, says):
    if says is None:
        assert parse_place(place).device == 0
        return
    with pytest.raises((ConfigurationError, CameraError, Exception), match=says) as caught:
        parse_place(place)
    assert caught.type.__name__ in ("ConfigurationError", "InputError")


def test_an_address_is_read_whole():
    place = parse_place(
        "0?backend=v4l2&fourcc=Y16&width=640&height=480&fps=29.97&exposure_s=1e-2&gain_raw=-3&auto=allow"
    )
    assert place.device == 0
    assert place.options == OpenCvOptions(
        backend="v4l2", fourcc="Y16", width=640, height=480, fps=29.97, exposure_s=0.01, gain_raw=-3.0, auto="allow"
    )
    assert parse_place("/dev/v4l/by-id/usb-046d_C270-video-index0").device.endswith("index0")
    assert parse_place("id:usb-046d:0825-AB?fps=30").camera_id == "usb-046d:0825-AB"
