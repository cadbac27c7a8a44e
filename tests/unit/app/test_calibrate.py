"""`lensless calibrate` on a small rig: what it finds is the truth, and what goes wrong is found out in the frames."""

import collections
import contextlib
import dataclasses
import json
import pathlib
import types

import numpy as np
import pytest
from collection_tools import write_rig

from calibration import Calibration
from calibration.plan import PATTERN
from hardware import CameraSettings
from hardware.errors import (
    CalibrationMismatch,
    CameraLost,
    ConfigurationError,
    DeviceError,
    FrameSaturated,
    InputError,
)
from lensless.app.calibrate import check, job, moves, ready
from lensless.app.calibrate.shoot import Shooting
from lensless.app.calibrate.taken import Taken
from lensless.app.collection import stand
from lensless.app.rig import open_rig
from lensless.app.screen import Screen


@pytest.fixture(scope="module")
def design(tmp_path_factory):
    path = write_rig(tmp_path_factory.mktemp("rig"))
    path.write_text(path.read_text().replace("shape = [16, 12]", "shape = [8, 8]"))
    return path


@pytest.fixture(scope="module")
def hidden(design, tmp_path_factory):
    """Another rig of that design: its own specks and sensor, moved, and with another gain."""
    text = design.read_text()
    for old, new in (
        ('serial = "SMALL-1"', 'serial = "HIDDEN-1"'), ("seed = 3", "seed = 8"), ('"small-v1"', '"hidden"'),
        ("gain_electrons_per_dn = 2.5", "gain_electrons_per_dn = 2.7"), ("dark_level = 0.01", "dark_level = 0.05"),
    ):  # fmt: skip
        assert old in text
        text = text.replace(old, new)
    path = tmp_path_factory.mktemp("hidden") / "hidden.toml"
    path.write_text(text + "[alignment]\nshift_x_mm = 0.4\ntilt_y_deg = 0.5\n")
    return path


@pytest.fixture
def wish(design, hidden, tmp_path) -> job.Wish:
    return job.Wish(str(design), tmp_path / "out", camera=f"simulated:{hidden}")


def change_stand(monkeypatch, change):
    """`change(stand)` before anything is shown."""

    @contextlib.contextmanager
    def changed(*arguments, **named):
        with stand.open_stand(*arguments, **named) as opened:
            change(opened)
            yield opened

    monkeypatch.setattr(ready, "open_stand", changed)


def change_at_patterns(monkeypatch, change):
    """`change(shooting)` when the first pattern is shown."""
    taken = Shooting.patterns

    def changed(self, *arguments, **named):
        change(self)
        return taken(self, *arguments, **named)

    monkeypatch.setattr(Shooting, "patterns", changed)


@pytest.fixture(scope="module")
def measured(design, hidden, tmp_path_factory):
    """The folder of the hidden rig, measured, and what was said of it."""
    out = tmp_path_factory.mktemp("measured") / "rig"
    facts = job.calibrate(job.Wish(str(design), out, camera=f"simulated:{hidden}", frames=8, with_lamp=True), Screen())
    return out, facts


def truth_of(hidden) -> np.ndarray:
    """(pixels, points), in units of its own white."""
    return open_rig(str(hidden)).forward_model.as_matrix().numpy()


def test_what_is_found_is_the_truth(measured, hidden):
    out, facts = measured
    spec = open_rig(str(hidden)).spec
    found = {name: (entry["value"], entry["std"]) for name, entry in facts["sensor"].items()}
    for name, true in (
        ("gain", 2.7), ("read noise", 5.0), ("dark current", 10.0), ("DSNU, columns", 2.0), ("DSNU, pixels", 3.0),
    ):  # fmt: skip
        value, std = found[name]
        assert abs(value - true) < 3.5 * std, name
        assert std < 0.3 * true
    assert found["gain"][1] < 0.02 * 2.7  # of 480 pixels
    assert facts["dark_level"] == pytest.approx(0.05, abs=0.002)
    assert found["PRNU, pixels"][0] == pytest.approx(1.0, abs=0.15)
    assert facts["linearity_error"] < 0.005
    rig = open_rig(str(out))
    A, truth = rig.forward_model.as_matrix().numpy(), truth_of(hidden)
    scale = float((A * truth).sum() / (A * A).sum())
    assert scale == pytest.approx(1, abs=0.01)
    error = np.linalg.norm(A - truth) / np.linalg.norm(truth)
    assert error < 1.5 * facts["matrix"]["relative_error"] + 0.01
    assert error < facts["matrix"]["before_regularisation"]
    assert rig.spec.sensor.serial == spec.sensor.serial and rig.id.startswith("small-v1@")


@pytest.mark.slow
def test_a_measured_rig_serves_wherever_a_rig_is_named(measured, hidden, lensless, tmp_path):
    out, _ = measured
    with open_rig(str(hidden)).camera_at(lambda *_: np.full((8, 8), 0.3, np.float32), 0) as camera:
        (frame,) = camera.snap(1)
    rig = open_rig(str(out))
    y = Calibration.load(out / "calibration.npz").apply(frame).y
    expected = rig.forward_model.as_matrix().numpy() @ np.full(64, 0.05 + 0.95 * 0.3, np.float32)
    assert y.ravel() == pytest.approx(expected, abs=0.06)
    collected = lensless(
        "record", f"simulated:{hidden}", "--scenes", "glyphs", "--count", 40, "--rig", out, "--out", tmp_path / "pairs",
        "--frames", 2,
    )  # fmt: skip
    assert collected.exit_code == 0, collected.output
    trained = lensless(
        "train", "classify", "--scenes", "glyphs", "--count", 200, "--rig", out, "--epochs", 2, "--batch-size", 50,
        "--out", tmp_path / "run", "--device", "cpu", "--frames", 2,
    )  # fmt: skip
    assert trained.exit_code == 0, trained.output
    for scenes in ("glyphs", f"recorded:{tmp_path / 'pairs'}"):
        tested = lensless("evaluate", tmp_path / "run", "--scenes", scenes, "--no-sharp", "--device", "cpu")
        assert tested.exit_code == 0, tested.output
    refused = lensless("train", "classify", "--rig", out, "--rays", 64, "--scenes", "glyphs", "--out", tmp_path / "r")
    assert refused.exit_code == 2 and "its matrix takes no rays" in refused.output
    refused = lensless(
        "train", "classify", "--rig", out, "--perturbed", 2, "--scenes", "glyphs", "--out", tmp_path / "r"
    )
    assert refused.exit_code == 2 and "nobody knows how its matrix drifts" in " ".join(refused.output.split())


def test_another_camera_than_the_one_that_was_measured_is_refused(measured, design, lensless, tmp_path):
    out, _ = measured
    result = lensless(
        "record", f"simulated:{design}", "--scenes", "glyphs", "--count", 40, "--rig", out, "--out", tmp_path / "pairs"
    )
    assert result.exit_code == 6 and "was measured with 'HIDDEN-1'; calibrate this one" in " ".join(
        result.output.split()
    )


@pytest.mark.slow
def test_a_bare_sensor_that_has_moved_says_how_far(tmp_path):
    def rig_at(name, x_mm, y_mm, design=False):
        text = write_rig(tmp_path).read_text()
        for old, new in (
            ("shape = [16, 12]", "shape = [8, 8]"), ("shape = [20, 24]", "shape = [96, 128]"),
            ("pitch_um = 20.0", "pitch_um = 6.0"), ("seed = 3", f"seed = {3 if design else 8}"),
            ("width_mm = 12.0", "width_mm = 24.0"), ("distance_mm = 20.0", "distance_mm = 60.0"),
        ):  # fmt: skip
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / f"{name}.toml"
        path.write_text(f"{text}[alignment]\nshift_x_mm = {x_mm}\nshift_y_mm = {y_mm}\n")
        return path

    design, hidden, moved = rig_at("design", 0, 0, design=True), rig_at("hidden", 0.4, 0.1), rig_at("moved", 1.9, -0.9)
    out = tmp_path / "measured"
    wish = job.Wish(str(design), out, camera=f"simulated:{hidden}", frames=12, patterns="hadamard")
    assert job.calibrate(wish, Screen())["matrix"]["specks"]
    still, facts = (check.check(check.Wish(str(out), f"simulated:{one}"), Screen()) for one in (hidden, moved))
    assert still["still"] and not facts["still"]
    for name, by in (("shift_x_mm", 1.5), ("shift_y_mm", -1.0)):
        assert abs(still["moved"][name]["value"]) < 3 * still["moved"][name]["std"] + 0.1, name
        assert facts["moved"][name]["value"] == pytest.approx(by, rel=0.15), name
    # A folder that does not say how they move: it is found out. One that knows of none: light and dust, no movement.
    said = json.loads((out / "rig.json").read_text())
    del said["measured"]["matrix"]["shadow_step_px"]
    (out / "rig.json").write_text(json.dumps(said))
    again = check.check(check.Wish(str(out), f"simulated:{moved}"), Screen())
    assert again["moved"]["shift_x_mm"]["value"] == pytest.approx(facts["moved"]["shift_x_mm"]["value"], rel=0.1)
    said["measured"]["matrix"]["specks"] = None
    (out / "rig.json").write_text(json.dumps(said))
    unknown = check.check(check.Wish(str(out), f"simulated:{moved}"), Screen())
    assert unknown["moved"] == {} and unknown["changed"] > 0.005


@pytest.mark.slow
def test_it_goes_on_after_an_interruption_and_takes_nothing_twice(wish, monkeypatch):
    whole = dataclasses.replace(wish, out=wish.out.with_name("whole"))
    job.calibrate(whole, Screen())

    def lose(after):
        def change(shooting):
            take, count = shooting._expose, iter(range(10_000))

            def losing(shot):
                if next(count) == after:
                    raise CameraLost("camera 'HIDDEN-1' is gone")
                return take(shot)

            shooting._expose = losing

        return change

    with monkeypatch.context() as patch:
        change_at_patterns(patch, lose(90))
        with pytest.raises(CameraLost, match=r"what was taken is kept; given again, the command goes on"):
            job.calibrate(wish, Screen())
    facts = job.calibrate(wish, Screen())
    assert facts["matrix"]["left_out"] == 0
    with Taken(wish.out, None) as taken, Taken(whole.out, None) as other:
        assert taken.ids() == other.ids() and taken.runs > other.runs
    matrices = [open_rig(str(one.out)).forward_model.as_matrix().numpy() for one in (wish, whole)]
    assert np.linalg.norm(matrices[0] - matrices[1]) < 2 * facts["matrix"]["relative_error"] * np.linalg.norm(
        matrices[1]
    )
    again = job.calibrate(wish, Screen())  # finished: measured again from the same frames
    assert again["calibration"] == facts["calibration"]


@pytest.mark.slow
def test_a_pattern_that_was_not_shown_is_found_out_and_shown_again(wish, monkeypatch):
    def skip(shooting):
        show, count = shooting._rig.source.show, iter(range(10_000))
        # Now and then the display stands still: the frame is of the picture before.
        shooting._rig.source.show = lambda picture: None if next(count) in (30, 77, 160) else show(picture)

    change_at_patterns(monkeypatch, skip)
    # A rig that sees hardly more than total light needs some frames to tell patterns apart.
    facts = job.calibrate(dataclasses.replace(wish, frames=16, patterns="hadamard"), Screen())
    assert facts["matrix"]["left_out"] >= 2


@pytest.mark.slow
def test_a_frame_that_saturates_is_taken_again_and_one_that_always_does_is_refused(wish, monkeypatch):
    def flash(times):
        def change(shooting):
            snap, count = shooting._rig.camera.snap, iter(range(10_000))

            def flashing(n, not_before_ns=None):
                frames = snap(n, not_before_ns)
                if next(count) in times:
                    bright = frames[0].pixels.copy()
                    bright[:10] = frames[0].meta.full_scale_dn
                    frames[0] = dataclasses.replace(frames[0], pixels=bright)
                return frames

            shooting._rig.camera.snap = flashing

        return change

    with monkeypatch.context() as patch:
        change_at_patterns(patch, flash({47, 90}))
        facts = job.calibrate(wish, Screen())
    assert facts["matrix"]["left_out"] == 0
    with Taken(wish.out, None) as taken:
        assert all(len(taken.frames(shot)) == 1 for shot in _pattern_shots(taken))
    change_at_patterns(monkeypatch, flash(range(30, 10_000)))
    with pytest.raises(FrameSaturated, match=r"pattern \d+ saturates"):
        job.calibrate(dataclasses.replace(wish, out=wish.out.with_name("blind")), Screen())


def _pattern_shots(taken):
    from calibration.patterns import Patterns
    from calibration.plan import make_plan

    same = taken.provenance["same"]
    plan = make_plan(480, 0.004, taken.provenance["full_s"], Patterns.of_facts(same["patterns"]))
    return plan.of(PATTERN)


def flash(monkeypatch, when):
    """A flash in the first frame of whatever is taken with `when(shot, how often so far)`."""
    expose, seen = Shooting._expose, collections.Counter()

    def flashing(self, shot):
        first, *others = expose(self, shot)
        seen[shot.id] += 1
        if when(shot, seen[shot.id]):
            first = dataclasses.replace(first, pixels=np.full_like(first.pixels, 4095))
        return [first, *others]

    monkeypatch.setattr(Shooting, "_expose", flashing)
    return seen


@pytest.mark.slow
def test_a_flash_while_the_sensor_is_measured_is_taken_again(wish, monkeypatch):
    seen = flash(monkeypatch, lambda shot, times: shot.id in (1, 1002) and times == 1)
    facts = job.calibrate(wish, Screen())
    assert seen[1] == seen[1002] == 2 and seen[0] == seen[1001] == 1
    assert abs(facts["sensor"]["gain"]["value"] - 2.7) < 3.5 * facts["sensor"]["gain"]["std"]


def test_a_light_that_flashes_again_and_again_is_refused_and_what_is_there_is_kept(wish, monkeypatch):
    with monkeypatch.context() as patch:
        flash(patch, lambda shot, times: shot.id == 1002)
        with pytest.raises(CalibrationMismatch, match=r"lit sensor at .* is off by \+.* DN from the others"):
            job.calibrate(dataclasses.replace(wish, gamma=1.0), Screen())
    with Taken(wish.out, None) as taken:
        assert taken.ids() == [0, 1, 2, 3, 1000, 1001]


@pytest.mark.slow
def test_a_camera_that_moves_in_between_is_refused(wish, monkeypatch):
    def move(shooting):
        snap, count = shooting._rig.camera.snap, iter(range(10_000))

        def moving(n, not_before_ns=None):
            frames = snap(n, not_before_ns)
            if next(count) >= 140:
                frames = [dataclasses.replace(f, pixels=np.roll(f.pixels, 9, 1)) for f in frames]
            return frames

        shooting._rig.camera.snap = moving

    change_at_patterns(monkeypatch, move)
    with pytest.raises(CalibrationMismatch, match=r"camera, optics or display have moved, or the light has changed"):
        job.calibrate(dataclasses.replace(wish, frames=4, patterns="hadamard"), Screen())


def test_a_sensor_that_is_not_covered_is_found_out(wish, monkeypatch):
    change_stand(monkeypatch, lambda opened: object.__setattr__(opened, "surround", lambda where: None))
    with pytest.raises(CalibrationMismatch, match=r"the sensor is not covered: before a bright display"):
        job.calibrate(wish, Screen())


def test_automatic_exposure_is_found_out(wish, monkeypatch):
    def automatic(opened):
        snap = opened.camera.snap

        def changing(n, not_before_ns=None):
            frames = snap(n, not_before_ns)
            return [dataclasses.replace(f, meta=dataclasses.replace(f.meta, exposure_s=0.004 * 1.5)) for f in frames]

        opened.camera.snap = changing

    change_stand(monkeypatch, automatic)
    with pytest.raises((DeviceError, CalibrationMismatch), match=r"switch its automatic exposure off"):
        job.calibrate(wish, Screen())


@pytest.mark.slow
def test_a_display_that_clips_is_found_out(wish, monkeypatch):
    def clip(opened):
        show = opened.display.show
        opened.display.show = lambda picture: show(np.minimum(picture, 0.6).astype(np.float32))

    change_stand(monkeypatch, clip)
    with pytest.raises(CalibrationMismatch, match=r"off a power law"):
        job.calibrate(wish, Screen())


@pytest.mark.slow
def test_a_lamp_that_flickers_is_found_out(wish, monkeypatch):
    def flicker(opened):
        draw, snap = np.random.default_rng(0), opened.camera.snap

        def flickering(n, not_before_ns=None):
            return [_scaled(frame, 1 + 0.02 * draw.standard_normal()) for frame in snap(n, not_before_ns)]

        opened.camera.snap = flickering

    change_stand(monkeypatch, flicker)
    with pytest.raises(CalibrationMismatch, match=r"varies by .* from frame to frame|drifted|error of"):
        job.calibrate(dataclasses.replace(wish, gamma=1.0, max_drift=1.0), Screen())


def _scaled(frame, by):
    pixels = ((frame.pixels.astype(float) - 64) * by + 64).round().clip(0, 4095).astype(np.uint16)
    return dataclasses.replace(frame, pixels=pixels)


@pytest.mark.parametrize("shown", [[], {}, "", 3, [[1, 0]], [["a", 0], [0, 1]], [[10**400, 0], [0, 1]]])
def test_whatever_stands_for_the_step_of_shadows_is_a_step_or_none(monkeypatch, shown):
    found = {"measured": {"matrix": {"specks": 2, "shadow_step_px": shown}}}
    monkeypatch.setattr(moves, "read_facts", lambda folder: found)
    rig = types.SimpleNamespace(matrix_file=pathlib.Path("rig/matrix"))
    assert moves._known_shadows(rig) == (True, None)
    found["measured"]["matrix"]["shadow_step_px"] = [[1, 0.5], [0, "1"]]
    assert moves._known_shadows(rig)[1].tolist() == [[1, 0.5], [0, 1]]
    for nothing in ({}, {"measured": []}, {"measured": {"matrix": None}}, {"measured": {"matrix": {"specks": 0}}}):
        monkeypatch.setattr(moves, "read_facts", lambda folder, nothing=nothing: nothing)
        assert moves._known_shadows(rig) == (False, None)


def test_the_plan_is_shown_and_nothing_is_taken(wish, capsys):
    facts = job.calibrate(dataclasses.replace(wish, only_plan=True), Screen())
    assert [row["stage"] for row in facts["plan"]] == ["covered", "lit", "pattern"]
    assert all(row["frames"] > 0 and row["seconds"] > 0 for row in facts["plan"])
    assert not wish.out.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"patterns": "random"}, "patterns"),
        ({"frames": 3}, "pattern_frames"),
    ],
)
def test_another_calibration_is_not_mixed_in(wish, monkeypatch, changes, says):
    def lose(shooting):
        def gone(shot):
            raise CameraLost("gone")

        shooting._expose = gone

    with monkeypatch.context() as patch:
        change_at_patterns(patch, lose)
        with pytest.raises(CameraLost):
            job.calibrate(wish, Screen())
    with pytest.raises(ConfigurationError, match=says):
        job.calibrate(dataclasses.replace(wish, **changes), Screen())


@pytest.mark.slow
def test_dark_frames_may_be_recorded_before(wish, hidden, lensless, tmp_path):
    from hardware import Recording
    from hardware.surroundings import Surroundings

    rig = open_rig(str(hidden))
    black = np.zeros((8, 8), np.float32)
    for name, exposure_s in (("dark", 0.004), ("other", 0.02)):
        with rig.camera_at(lambda *_: black, 5, around=lambda: Surroundings.COVERED) as camera:
            camera.configure(CameraSettings(exposure_s=exposure_s))
            frames = camera.snap(48)
        with Recording.create(tmp_path / f"{name}.h5", frames[0]) as writer:
            for frame in frames:
                writer.append(frame)
    facts = job.calibrate(dataclasses.replace(wish, dark=tmp_path / "dark.h5"), Screen())
    assert "dark current" not in facts["sensor"] and facts["sensor"]["gain"]["value"] == pytest.approx(2.7, rel=0.1)
    with pytest.raises(CalibrationMismatch, match=r"record dark frames at that exposure"):
        job.calibrate(dataclasses.replace(wish, out=wish.out.with_name("o"), dark=tmp_path / "other.h5"), Screen())


@pytest.mark.parametrize("option", ["dark", "lamp", "warm"])
def test_a_recording_of_too_few_frames_is_refused_before_anything_is_taken(wish, hidden, lensless, tmp_path, option):
    few = tmp_path / "few.h5"
    lensless("record", f"simulated:{hidden}?covered=1", "--frames", "1", "--out", str(few))
    with pytest.raises(InputError, match="fewer than 2 frames of some exposure; record more"):
        job.calibrate(dataclasses.replace(wish, **{option: (few,) if option == "warm" else few}), Screen())
    assert not wish.out.exists()


@pytest.mark.slow
def test_how_dark_current_grows_with_temperature(wish, hidden, lensless, tmp_path):
    """From recordings of the covered sensor; what the rig keeps of it is what holds at 20 degrees."""

    def at(temperature_c):
        path, text = tmp_path / f"at-{temperature_c:g}.toml", hidden.read_text()
        assert "dark_electrons_per_s = 10.0" in text
        text = text.replace("dark_electrons_per_s = 10.0", "dark_electrons_per_s = 90.0")
        path.write_text(text.replace("[sensor]", f"[sensor]\ntemperature_c = {temperature_c}\ndark_doubling_c = 6.5"))
        return path

    warm = []
    for temperature_c in (36.0, 43.5):
        for exposure_s in (0.02, 0.5):
            warm.append(tmp_path / f"warm-{temperature_c:g}-{exposure_s:g}.h5")
            lensless(
                "record", f"simulated:{at(temperature_c)}?covered=1", "--frames", "48", "--exposure-s",
                str(exposure_s), "--out", str(warm[-1]),
            )  # fmt: skip
    wish = dataclasses.replace(wish, camera=f"simulated:{at(31.0)}")
    facts = job.calibrate(dataclasses.replace(wish, warm=tuple(warm)), Screen())
    found = facts["sensor"]["dark current doubles every"]
    assert abs(found["value"] - 6.5) < 3 * found["std"] and found["std"] < 0.2
    measured = open_rig(str(wish.out)).spec.sensor
    assert measured.temperature_c == facts["temperature_c"] == 31.0 and measured.dark_doubling_c == found["value"]
    assert measured.dark_electrons_per_s == pytest.approx(90, rel=0.1)
    assert "it doubles every" in (wish.out / "calibration.html").read_text()
    with pytest.raises(CalibrationMismatch, match=r"at 36\.0 degrees C there are frames of 0\.5 s only"):
        job.calibrate(dataclasses.replace(wish, warm=(warm[1],)), Screen())
    with pytest.raises(CalibrationMismatch, match=r"the same frames are given twice"):
        job.calibrate(dataclasses.replace(wish, warm=(*warm, warm[0])), Screen())


@pytest.mark.parametrize("spoil", ["rig.json", "matrix.safetensors", "calibration.npz"])
def test_a_measured_rig_that_is_damaged_is_one_clear_error(measured, tmp_path, spoil):
    import shutil

    out = tmp_path / "copy"
    shutil.copytree(measured[0], out, ignore=shutil.ignore_patterns("frames"))
    for content in (b"", b"{}", b"\0" * 100):
        (out / spoil).write_bytes(content)
        with pytest.raises(InputError) as caught:
            _ = open_rig(str(out)).forward_model
        assert caught.value.exit_code == 5
    facts = json.loads((measured[0] / "rig.json").read_text())
    facts["calibration"] = "0123456789abcdef"
    shutil.copytree(measured[0], out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("frames"))
    (out / "rig.json").write_text(json.dumps(facts))
    with pytest.raises(InputError, match="copy the whole folder again"):
        open_rig(str(out))
