"""What `lensless check` finds in cameras of known truth: every fault, and nothing in a raw sensor."""

import dataclasses
import json
import re

import numpy as np
import pytest
import sensors
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter
from sensors import Sensor

from hardware import CameraSettings, Recording, SimulatedCamera
from hardware.camera import register_camera
from hardware.errors import CameraError, CameraLost
from lensless.app import (
    check,
    check_drawing,
    check_flow,
    check_levels,
    check_numbers,
    check_page,
    check_raw,
    check_steady,
)
from lensless.app.check import Checked, judge
from lensless.app.check_capture import middle, take
from lensless.app.check_finding import changed
from lensless.app.check_noise import neighbours, photon_transfer

FRAMES = 24
RAW_SENSORS = 20
NOT_TOLD = "cannot be told"


def checked(camera) -> Checked:
    with camera:
        return judge("planted:0", camera.camera_id, take(camera, FRAMES), FRAMES)


def states(found: Checked) -> dict[str, str]:
    return {one.what: one.state for one in found.findings}


def failing(found: Checked) -> set[str]:
    return {one.what for one in found.findings if one.state == "fails"}


def test_nothing_is_found_on_raw_sensors():
    """Twenty sensors of 8 to 14 bits, 0.3 to 100 electrons per number, under even light, a spot, and blocks."""
    alarms, notes = [], 0
    for number in range(RAW_SENSORS):
        found = checked(sensors.raw(Sensor.drawn(number)))
        for one in found.findings:
            notes += NOT_TOLD in one.detail
            if one.state != "ok" and NOT_TOLD not in one.detail:
                alarms.append((number, one.what, one.detail))
    print(f"false alarms: {len(alarms)} of {RAW_SENSORS * len(found.findings)} checks on {RAW_SENSORS} raw sensors")
    print(f"could not be told: {notes}")
    assert not alarms and notes <= 2


# What the frames of each faulty camera must be found to be, beside what else is said of them.
FAULTS = [
    (sensors.gamma, {"exposure", "photon transfer", "raw"}),
    (sensors.stretched, {"numbers", "raw"}),
    (sensors.digital_gain, {"numbers", "raw"}),
    (sensors.smoothed, {"noise of neighbours", "raw"}),
    (sensors.sharpened, {"noise of neighbours", "raw"}),
    (sensors.demosaiced, {"noise of neighbours", "raw"}),
    (sensors.jpeg, {"compression", "noise of neighbours", "raw"}),
    (sensors.automatic_exposure, {"automatic exposure", "exposure"}),
    (sensors.stuck, {"automatic exposure", "exposure"}),
    (sensors.repeating, {"repeated frames"}),
    (sensors.too_bright, {"saturation"}),
    (sensors.black_cut_off, {"black level"}),
]


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize(("fault", "expected"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_each_fault_is_found_and_no_other(fault, expected, number):
    deep = fault in (sensors.gamma, sensors.jpeg)
    sensor = Sensor.drawn(number, **({"bit_depth": 10} if deep else {}))
    found = checked(fault(sensor))
    assert expected <= failing(found), [one for one in found.findings if one.what in expected]
    processed = "raw" in expected
    assert processed or not failing(found) - expected
    # Whatever was done to the numbers, the frames came, each once.
    assert {"frames", "lost frames", "settings"}.isdisjoint(failing(found))


@pytest.mark.parametrize(
    ("camera", "noted"),
    [
        (sensors.capped, {"light", "exposure", "automatic exposure", "photon transfer"}),
        (sensors.flickering, {"steady light"}),
        (sensors.moving, {"noise of neighbours", "photon transfer"}),
        (sensors.shifted_up, {"numbers"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_raw_sensor_in_bad_light_is_not_called_processed(camera, noted):
    found = checked(camera(Sensor.drawn(1, bit_depth=12)))
    assert not failing(found)
    assert noted <= {one.what for one in found.findings if one.state == "note"}
    assert states(found)["raw"] == "ok"


@pytest.mark.parametrize("each", [1, 2, 3])
def test_a_raw_sensor_before_a_display_is_not_called_processed(each):
    """What changes from scene to scene goes with its neighbours as smoothed noise does, and is no noise."""
    found = checked(sensors.showing(Sensor.drawn(1, bit_depth=12), each))
    assert not failing(found) & {"noise of neighbours", "photon transfer", "raw"}
    by_name = {one.what: one for one in found.findings}
    assert by_name["photon transfer"].state == "note" and "the picture changes" in by_name["photon transfer"].detail


@pytest.mark.parametrize("number", range(3))
def test_noise_that_is_smoothed_is_found_under_a_lamp_that_flickers(number):
    sensor = Sensor.drawn(number)
    with sensors.flickering(sensor) as camera:
        taken = take(camera, FRAMES)
    bursts = [dataclasses.replace(one, pixels=smooth(one.pixels)) for one in (taken.found, *taken.series)]
    found = judge("planted:0", "x", dataclasses.replace(taken, found=bursts[0], series=bursts[1:]), FRAMES)
    assert "noise of neighbours" in failing(found)


def smooth(pixels: np.ndarray) -> np.ndarray:
    return np.stack([uniform_filter(one, 3) for one in pixels])


def test_the_gain_is_measured_within_a_few_percent():
    for number in range(6):
        sensor = Sensor.drawn(number, bit_depth=12)
        found = checked(sensors.raw(sensor))
        transfer = next(one for one in found.findings if one.what == "photon transfer")
        assert transfer.figures["gain_e_per_dn"] == pytest.approx(sensor.e_per_dn, rel=0.04)
        exposure = next(one for one in found.findings if one.what == "exposure")
        assert exposure.figures["implied_black_dn"] == pytest.approx(sensor.black_dn, abs=0.002 * sensor.full_dn)
        assert exposure.figures["worst_deviation"] < 0.005


def test_the_camera_is_left_as_it_was_found():
    with sensors.raw(Sensor.drawn(3)) as camera:
        take(camera, 8)
        assert camera.snap(1)[0].meta.exposure_s == 0.008


class Refusing(SimulatedCamera):
    """A device that cannot be set."""

    live = True

    def configure(self, wanted):
        if wanted.asked():
            raise CameraError("control 'exposure' was set to 0.1 and reads 0.3; switch automatic exposure off")
        return super().configure(wanted)


def test_a_device_that_cannot_be_set_fails_and_says_why():
    sensor = Sensor.drawn(4)
    with sensors.raw(sensor) as good:
        camera = Refusing(
            good._expose, camera_id="R", shape=sensor.shape, bit_depth=sensor.bit_depth,
            black_level_dn=sensor.black_dn, exposure_s=0.008,
        )  # fmt: skip
        found = checked(camera)
    assert failing(found) == {"settings"}
    assert "reads 0.3" in next(one.detail for one in found.findings if one.what == "settings")


class Dead(SimulatedCamera):
    def frames(self):
        return iter(())


def test_a_camera_without_frames_is_lost():
    camera = Dead(None, camera_id="D", shape=(4, 4), bit_depth=8, black_level_dn=0, exposure_s=0.01)
    with pytest.raises(CameraLost, match="'D' gave no frame"):
        take(camera, 8)


def recorded(path, sensor: Sensor, exposures_s: tuple[float, ...]):
    with sensors.raw(sensor) as camera:
        first = camera.snap(1)[0]
        with Recording.create(path, like=first) as writer:
            writer.append(first)
            for exposure_s in exposures_s:
                camera.configure(CameraSettings(exposure_s=exposure_s))
                for frame in camera.snap(8):
                    writer.append(frame)
    return path


def test_a_recording_cannot_be_exposed_again(lensless, tmp_path):
    path = recorded(tmp_path / "one.h5", Sensor.drawn(1), (0.008,))
    result = lensless("check", f"replay:{path}", "--json", "-", "--page", tmp_path / "page.html")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    by_name = {one["what"]: one for one in facts["findings"]}
    assert by_name["settings"]["state"] == by_name["exposure"]["state"] == "note"
    assert "cannot be asked" in by_name["exposure"]["detail"]
    assert by_name["noise of neighbours"]["state"] == "ok"
    assert "cannot be exposed again" not in by_name["settings"]["detail"]  # nobody but the check asked for it
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") >= 3 and not re.search(r'(src|href)="(http|//)', page)


def test_a_recording_of_several_exposures_tells_as_much_as_a_camera(tmp_path, lensless):
    path = recorded(tmp_path / "series.h5", Sensor.drawn(2), (0.002, 0.004, 0.008))
    result = lensless("check", f"replay:{path}", "--json", "-")
    facts = json.loads(result.stdout)
    assert result.exit_code == 0 and not facts["fails"]
    by_name = {one["what"]: one for one in facts["findings"]}
    assert by_name["exposure"]["state"] == "ok" and by_name["exposure"]["figures"]["exposures"] == 3


def test_the_command_ends_with_1_when_a_check_fails(lensless, tmp_path):
    register_camera("planted-gamma", lambda place: sensors.gamma(Sensor.drawn(int(place), bit_depth=10)))
    result = lensless("check", "planted-gamma:1", "--page", tmp_path / "page.html", "--frames", 12)
    assert result.exit_code == 1
    assert "fails" in result.output and "gamma" in result.output and "Traceback" not in result.output
    assert "checks fail" in (tmp_path / "page.html").read_text()


def test_the_simulated_rig_is_well(lensless, tiny, tmp_path):
    result = lensless("check", f"simulated:{tiny}?rays=1024", "--json", tmp_path / "facts.json")
    assert result.exit_code == 0, result.output
    facts = json.loads((tmp_path / "facts.json").read_text())
    assert not facts["fails"] and facts["camera"] == "SIM-TINY"


def test_an_unknown_camera_is_a_usage_error(lensless):
    result = lensless("check", "nowhere:0")
    assert result.exit_code == 2 and "no scheme 'nowhere'" in result.stderr


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [("page.txt", 2, "ends in .html"), ("new/page.html", 4, "its folder does not exist"), (".html", 2, "ends in")],
)
def test_a_page_that_cannot_be_is_refused_before_the_work(monkeypatch, lensless, tmp_path, name, code, says):
    monkeypatch.setattr(check, "open_camera", lambda address: pytest.fail(f"{address} was opened"))
    result = lensless("check", "opencv:0", "--page", tmp_path / name)
    assert result.exit_code == code and says in " ".join(result.stderr.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("clip.mkv", "did you mean 'opencv:clip.mkv'"),
        ("frames.h5", "did you mean 'replay:frames.h5'"),
        ("/dev/video0", "did you mean 'opencv:/dev/video0'"),
        ("/dev/ttyACM0", "did you mean 'serial:/dev/ttyACM0'"),
        ("replay:", "names no recording"),
        ("simulated:x?foo=1", "'simulated:x?foo=1': unknown option 'foo'"),
    ],
)
def test_an_address_that_cannot_be_is_told_in_the_words_it_was_typed_in(monkeypatch, lensless, tmp_path, address, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip.mkv").touch()
    result = lensless("check", address)
    assert result.exit_code == 2 and says in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ["record", "replay:{}", "--out", "new/x"],
        ["export", "{}", "--out", "new/x.npy"],
        ["check", "replay:{}", "--page", "new/x.html"],
        ["info", "{}", "--json", "new/x.json"],
        ["repair", "{}", "--out", "new/x"],
    ],
    ids=lambda one: one[0],
)
def test_a_folder_that_is_not_there_is_told_alike_by_all(lensless, tmp_path, monkeypatch, arguments):
    path = recorded(tmp_path / "a.h5", Sensor.drawn(1), (0.008,))
    monkeypatch.chdir(tmp_path)
    result = lensless(*(one.format(path) for one in arguments))
    assert result.exit_code == 4 and "its folder does not exist; make it, or name another" in result.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["a.h5"]


def test_the_page_does_not_contradict_its_findings():
    """Light at the end of the scale is not well; a gain that cannot be told is not drawn; exposures are named."""
    bright = checked(sensors.too_bright(Sensor.drawn(1, bit_depth=12)))
    assert {"light", "saturation"}.isdisjoint(what for what, state in states(bright).items() if state == "ok")
    page = check_page.page(bright)
    assert f"of {bright.noise_exposure_s * 1e3:.4g} ms" in page and "as the camera was found" in page
    moving = checked(sensors.moving(Sensor.drawn(1, bit_depth=12)))
    assert moving.transfer is not None and states(moving)["photon transfer"] == "note"
    assert "electrons per DN" not in check_page.page(moving)
    still = checked(sensors.raw(Sensor.drawn(1, bit_depth=12)))
    assert "electrons per DN" in check_drawing.photon_transfer(still.transfer, 4095)


def test_without_a_camera_the_way_to_those_that_are_there_is_told(monkeypatch, lensless):
    def nothing(address):
        raise CameraError(f"{address} cannot be opened: is it plugged in?")

    monkeypatch.setattr(check, "open_camera", nothing)
    result = lensless("check", "opencv:0")
    assert result.exit_code == 3 and "plugged in? (see 'lensless devices'" in " ".join(result.stderr.split())


def test_a_change_that_rounds_to_nothing_has_no_sign():
    assert [changed(share) for share in (-0.00001, 0.00001, -0.01, 0.01)] == ["0.00%", "0.00%", "-1.00%", "+1.00%"]
    assert changed(-0.004, 0) == "0%"


def metas(times_ms, lost=None, sequence=None):
    with sensors.raw(Sensor.drawn(0)) as camera:
        meta = camera.snap(1)[0].meta
    lost = lost or [0] * len(times_ms)
    numbers = sequence or np.cumsum([1 + n for n in lost]).tolist()
    facts = zip(times_ms, lost, numbers, strict=True)
    return tuple(
        dataclasses.replace(meta, t_host_ns=round(1e6 * at), lost_before=n, sequence=number) for at, n, number in facts
    )


@pytest.mark.parametrize(
    ("times_ms", "live", "state", "says"),
    [
        ([0, 33, 67, 100, 133], True, "ok", "30.*a second"),
        ([0, 33, 67, 133, 167], True, "note", "1 gaps are longer"),
        ([0, 33, 67, 133, 167], False, "ok", "waits for its reader"),
        ([0, 33, 33, 67, 100], True, "fails", "times do not rise"),
        ([0], True, "fails", "stopped"),
    ],
)
def test_rate_and_regularity(times_ms, live, state, says):
    found = check_flow.frames_come(metas(times_ms), (4, 4), 5, live)
    assert found.state == state
    assert re.search(says, found.detail)
    if state == "ok":
        assert found.figures["rate_hz"] == pytest.approx(1e3 * (len(times_ms) - 1) / times_ms[-1])


def test_a_gap_that_is_accounted_for_is_not_blamed_twice():
    facts = metas([0, 33, 67, 133, 167], [0, 0, 0, 1, 0])
    assert check_flow.frames_come(facts, (4, 4), 5, True).state == "ok"
    lost = check_flow.none_lost(facts)
    assert (lost.state, lost.figures["lost"], lost.figures["missing_numbers"]) == ("fails", 1, 0)


def test_numbers_that_are_left_out_are_noticed():
    found = check_flow.none_lost(metas([0, 33, 67], sequence=[0, 1, 4]))
    assert (found.state, found.figures["missing_numbers"]) == ("note", 2)
    assert check_flow.none_lost(metas([0, 33, 67], sequence=[0, 1, 1])).state == "fails"


def test_numbers_clipped_below_full_scale_are_noticed():
    """Video levels: white is 235."""
    draw = np.random.default_rng(0)
    pixels = np.minimum(draw.normal(200, 30, (4, 60, 60)), 235).astype(np.uint8)
    found = check_levels.saturation(pixels, 255)
    assert found.state == "fails" and "clip_dn=235" in found.detail


def test_settings_that_all_end_alike_fail():
    assert check_levels.settings_read_back([(0.01, 0.01), (0.02, 0.02), (0.04, 0.04)]).state == "ok"
    assert check_levels.settings_read_back([(0.01, 0.012), (0.02, 0.025), (0.04, 0.05)]).state == "note"
    assert check_levels.settings_read_back([(0.01, 0.03), (0.02, 0.03), (0.04, 0.03)]).state == "fails"


def test_frames_of_three_channels_are_never_raw():
    with sensors.raw(Sensor.drawn(0)) as camera:
        meta = camera.snap(1)[0].meta
    assert check_raw.says_raw(meta, (4, 4, 3), []).state == "fails"
    assert check_raw.says_raw(meta, (4, 4), []).state == "ok"
    assert check_raw.says_raw(dataclasses.replace(meta, raw=False), (4, 4), []).state == "note"


def test_identical_frames_have_no_noise_to_look_at():
    pixels = np.repeat(np.random.default_rng(0).integers(10, 200, (1, 40, 40), np.uint8), 6, 0)
    assert neighbours(pixels, 5, 255) is None
    assert check_raw.own_noise(None, (40, 40)).state == "fails"
    assert check_flow.none_repeated([1] * 6, pixels).state == "fails"
    assert check_flow.none_repeated([1] * 6, np.full((6, 4, 4), 255, np.uint8)).state == "note"


def test_too_little_to_fit_is_said_so():
    assert photon_transfer([np.full((4, 8, 8), 100, np.uint16)], 64, 4095) is None
    assert check_raw.linear_noise(None, 4095).state == "note"


def test_the_rows_tell_how_many_waves_of_mains_light_there_are():
    with sensors.flickering(Sensor.drawn(0, bit_depth=12)) as camera:
        pixels = np.stack([frame.pixels for frame in camera.snap(12)])
    black_dn = Sensor.drawn(0, bit_depth=12).black_dn
    found = check_steady.steadiness(pixels, black_dn, 4095)
    assert found.waves == 3 and found.rows == pytest.approx(0.05, rel=0.3)


@given(st.integers(2, 300), st.integers(0, 2**32 - 1))
def test_the_step_between_numbers_is_found(step, seed):
    pixels = np.random.default_rng(seed).integers(1, 60, (2, 12, 12)).astype(np.uint16)
    pixels[0, 0, :3] = (1, 2, 59)
    assert check_numbers.count_numbers(pixels * step, 65535).step == step


@given(st.integers(1, 300), st.integers(1, 300), st.integers(300, 50_000))
def test_the_middle_keeps_mosaics_and_blocks_in_place(rows, columns, most):
    places = np.add.outer(np.arange(rows) % 16 * 16, np.arange(columns) % 16).astype(np.uint8)
    kept = middle(places, most)
    assert kept.size <= max(most, 256 * 19) and kept[0, 0] == 0
    assert (kept == places[: kept.shape[0], : kept.shape[1]]).all()


def test_too_few_frames_are_refused(lensless):
    result = lensless("check", "simulated:cannula-v1", "--frames", 2)
    assert result.exit_code == 2 and "Traceback" not in result.output


class Short(SimulatedCamera):
    """A device that refuses what is out of its range, as some drivers do."""

    def configure(self, wanted):
        if wanted.exposure_s is not None and wanted.exposure_s < 0.002:
            raise CameraError("exposure_s = 0.001 was asked for, 0.002 s is read back; ask within the range")
        return super().configure(wanted)


def test_one_exposure_that_is_refused_spoils_nothing():
    sensor = Sensor.drawn(5)
    with sensors.raw(sensor) as good:
        camera = Short(
            good._expose, camera_id="S", shape=sensor.shape, bit_depth=sensor.bit_depth,
            black_level_dn=sensor.black_dn, exposure_s=0.008,
        )  # fmt: skip
        found = checked(camera)
    assert not failing(found) and states(found)["settings"] == "note" and states(found)["exposure"] == "ok"


def test_a_mosaic_is_compared_with_its_own_colours():
    """Filters that pass 1 : 3 are no fixed pattern."""
    draw = np.random.default_rng(0)
    light = np.tile([[1500.0, 500.0], [500.0, 900.0]], (40, 50)) * (1 + 0.01 * draw.standard_normal((80, 100)))
    pixels = np.rint(draw.normal(light + 64, 10, (8, 80, 100))).astype(np.uint16)
    of_colours = check_raw.fixed_pattern(pixels, 64, "GRBG").figures
    assert of_colours["fixed_dn"] < 20 < 200 < check_raw.fixed_pattern(pixels, 64, None).figures["fixed_dn"]
    assert of_colours["outlier_share"] == 0
    # Neither the light nor the noise of one colour makes it look processed.
    assert check_raw.own_noise(neighbours(pixels, 64, 4095), (80, 100)).state == "ok"
