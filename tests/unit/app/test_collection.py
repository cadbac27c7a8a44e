"""Collecting scenes: what goes on, and everything that must not."""

import contextlib
import dataclasses
import json

import numpy as np
import pytest
from collection_tools import check_collection, write_rig

from calibration.in_step import Told
from hardware import CameraSettings, Recording
from hardware.display import FileDisplay
from hardware.errors import (
    CalibrationMismatch,
    CameraLost,
    ConfigurationError,
    DeviceError,
    FrameSaturated,
    InputError,
    StorageError,
)
from lensless.app.collection import collect as collecting
from lensless.app.collection import loop, stand
from lensless.app.collection.collect import Asked, Wish, collect
from lensless.app.collection.watch import Limits, StepWatch
from lensless.app.screen import Screen

SCENES = 20
LOOK = 2  # pictures that a look at the light takes
FEW = LOOK + 5  # pictures: a look, and a few scenes


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    return write_rig(tmp_path_factory.mktemp("rig"))


@pytest.fixture
def wish(rig, tmp_path) -> Wish:
    return Wish(str(rig), tmp_path / "out", Asked("glyphs", count=SCENES))


def change_stand(monkeypatch, change):
    """`change(camera, source)` before anything is shown."""

    @contextlib.contextmanager
    def changed(*arguments):
        with stand.open_stand(*arguments) as opened:
            change(opened.camera, opened.display)
            yield opened

    monkeypatch.setattr(collecting, "open_stand", changed)


def change_while_collecting(monkeypatch, change):
    """`change(camera, source)` before the first look at the light, when all is measured."""
    run = loop.Collecting.run

    def changed(self, *arguments):
        change(self.prepared.rig.camera, self.prepared.rig.source)
        return run(self, *arguments)

    monkeypatch.setattr(loop.Collecting, "run", changed)


def after(calls: int, old, new):
    """A function that is `old`, and `new` after so many calls."""
    count = 0

    def either(*arguments):
        nonlocal count
        count += 1
        return (old if count <= calls else new)(*arguments)

    return either


def lose(camera, source):
    """After a few scenes."""

    def gone(*arguments):
        raise CameraLost("camera 'SMALL-1' is gone")

    camera.snap = after(FEW, camera.snap, gone)


def test_every_scene_is_there_once_and_a_second_command_has_nothing_to_do(wish, rig, capsys):
    facts = collect(wish, Screen())
    assert (facts["scenes"], facts["collected"], facts["shown_again"]) == (SCENES, SCENES, 0)
    assert (
        facts["told"] > 10 and facts["largest_share_of_before"] < 0.02 and facts["display"]["settle"]["settle_s"] == 0
    )
    assert check_collection(wish.out, rig, SCENES, 2) == 1
    with Recording.open(wish.out / "run-00000") as recording:
        assert recording.provenance["splits"] == {"train": [0, 16], "val": [16, 18], "test": [18, 20]}
        assert recording.provenance["display"]["response"]["gamma"] == 1.0
        references = np.flatnonzero(recording.scene_ids < 0)
        assert len(references) == 8  # before and after: black and bright, two of each
        assert (recording.labels[references] == -1).all()
    assert collect(wish, Screen())["scenes"] == SCENES
    assert "20 are there, 0 to go" in capsys.readouterr().out
    assert len(list(wish.out.glob("run-*"))) == 1


def test_the_order_mixes_splits_and_classes(wish):
    collect(wish, Screen())
    with Recording.open(wish.out / "run-00000") as recording:
        ids = [one for one in recording.scene_ids.tolist() if one >= 0]
    assert ids[::2] == ids[1::2] and sorted(ids[::2]) == list(range(SCENES)) != ids[::2]


def test_a_camera_that_is_lost_ends_with_what_was_collected_and_it_goes_on(wish, rig, monkeypatch):
    with monkeypatch.context() as patch:
        change_while_collecting(patch, lose)
        patch.setattr(loop, "LOOK_SCENES", 3)  # what no look at the light came after does not count
        with pytest.raises(CameraLost, match=r"is gone; [3-9] of 20 scenes are collected; given again") as raised:
            collect(wish, Screen())
    assert raised.value.exit_code == 3
    facts = collect(wish, Screen())
    assert 0 < facts["collected"] < SCENES
    assert check_collection(wish.out, rig, SCENES, 2) == 2


def test_a_display_that_stalls_is_noticed_scene_by_scene(wish, monkeypatch):
    def stall(camera, source):
        source.show = after(FEW, source.show, lambda picture: None)

    change_while_collecting(monkeypatch, stall)
    with pytest.raises(CalibrationMismatch, match=r"display is not followed any more: .* 0% of the light.*awake"):
        collect(wish, Screen())


@pytest.mark.parametrize("left", [1, 6, *(pytest.param(left, marks=pytest.mark.slow) for left in (2, 3))])
def test_a_display_that_stands_still_near_the_end_leaves_no_wrong_pair(wish, rig, monkeypatch, left):
    def stall(camera, source):
        source.show = after(LOOK + SCENES - left, source.show, lambda picture: None)

    with monkeypatch.context() as patch:
        change_while_collecting(patch, stall)
        with pytest.raises(CalibrationMismatch, match="display is not followed any more"):
            collect(wish, Screen())
    collect(wish, Screen())
    check_collection(wish.out, rig, SCENES, 2)


def test_another_display_than_it_was_begun_with_is_found_out(wish, monkeypatch):
    def dark_greys(camera, source):
        show = source.show
        source.show = lambda picture: show((picture**1.8).astype(np.float32))

    with monkeypatch.context() as patch:
        change_while_collecting(patch, lose)
        patch.setattr(loop, "LOOK_SCENES", 3)  # or none would be kept, and set a standard
        with pytest.raises(CameraLost):
            collect(wish, Screen())
    with monkeypatch.context() as patch:
        change_stand(patch, dark_greys)
        with pytest.raises(CalibrationMismatch, match=r"has gamma 1\.80, and had 1\.00 when the collection was begun"):
            collect(wish, Screen())
    with pytest.raises(ConfigurationError, match=r"was begun with display 'simulated', and would go on with 'sim"):
        collect(dataclasses.replace(wish, display="simulated?gamma=1.8"), Screen())


def test_a_display_with_gamma_whose_white_clips_goes_on_as_it_was_begun(wish, tmp_path, monkeypatch):
    bright_rig = write_rig(tmp_path, 20_000.0)
    bent = dataclasses.replace(wish, rig=str(bright_rig), display="simulated?gamma=2.2")
    with monkeypatch.context() as patch:
        change_while_collecting(patch, lose)
        patch.setattr(loop, "LOOK_SCENES", 3)
        with pytest.raises(CameraLost):
            collect(bent, Screen())
    facts = collect(bent, Screen())
    assert facts["scenes"] == SCENES and 0 < facts["collected"] <= SCENES
    assert facts["display"]["response"]["gamma"] == pytest.approx(2.2, abs=0.02)
    assert facts["display"]["bright"] == pytest.approx(0.5**2.2, rel=0.02)
    check_collection(wish.out, bright_rig, SCENES, 2)


def test_light_that_comes_from_elsewhere_is_drift_too(wish, monkeypatch):
    def lamp(camera, source):
        show = source.show
        source.show = after(LOOK + SCENES, show, lambda picture: show((0.9 * picture + 0.1).astype(np.float32)))

    change_while_collecting(monkeypatch, lamp)
    with pytest.raises(CalibrationMismatch, match=r"the light has drifted by \+1\d\.\d%"):
        collect(wish, Screen())


def test_scenes_in_another_order_than_they_are_shown_are_noticed(wish, monkeypatch):
    """The display is one picture late: it shows what it was told before."""

    def late(camera, source):
        show, told = source.show, np.zeros(source.shape, np.float32)

        def one_late(picture):
            nonlocal told
            if not (picture == picture[0, 0]).all():  # black and white come at once
                picture, told = told, picture
            show(picture)

        source.show = after(FEW, show, one_late)

    change_while_collecting(monkeypatch, late)
    with pytest.raises(CalibrationMismatch, match=r"do not belong together: \d+ of the last \d+ frames"):
        collect(wish, Screen())


def test_one_picture_that_was_not_shown_is_shown_again(wish, rig, monkeypatch):
    def miss(camera, source):
        show, count = source.show, 0

        def sometimes(picture):
            nonlocal count
            count += 1
            if count not in (FEW, FEW + 4):
                show(picture)

        source.show = sometimes

    change_while_collecting(monkeypatch, miss)
    facts = collect(wish, Screen())
    assert 1 <= facts["shown_again"] <= 2 and facts["scenes"] == SCENES
    check_collection(wish.out, rig, SCENES, 2)


def test_a_display_that_has_become_slow_leaves_a_share_of_the_scene_before(wish, monkeypatch):
    def slow(camera, source):
        show, last = source.show, np.zeros(source.shape, np.float32)

        def mixed(picture):
            nonlocal last
            if not (picture == picture[0, 0]).all():  # black and white are waited for
                show((0.92 * picture + 0.08 * last).astype(np.float32))
            else:
                show(picture)
            last = picture

        source.show = after(FEW, show, mixed)

    change_while_collecting(monkeypatch, slow)
    with pytest.raises(CalibrationMismatch, match=r"frames hold \d+\.\d% of the scene before their own"):
        collect(dataclasses.replace(wish, asked=Asked("glyphs", count=200)), Screen())


@pytest.mark.parametrize("factor", [0.8, 0.5])
def test_light_that_drifts_ends_the_collection_and_what_is_there_stays(wish, rig, monkeypatch, factor):
    def dim(camera, source):
        show = source.show
        source.show = after(FEW, show, lambda picture: show((picture * factor).astype(np.float32)))

    with monkeypatch.context() as patch:
        change_while_collecting(patch, dim)
        patch.setattr(loop, "LOOK_SCENES", 5)
        with pytest.raises(
            CalibrationMismatch, match=r"the light has drifted by -\d\d\.\d% .*limit 5\.0%.*last good look"
        ):
            collect(wish, Screen())
    assert collect(wish, Screen())["collected"] > 10  # the light is back
    check_collection(wish.out, rig, SCENES, 2)


def test_drift_between_two_commands_is_found_too(wish, monkeypatch):
    def dim(camera, source):
        show = source.show
        source.show = lambda picture: show((picture * 0.9).astype(np.float32))

    with monkeypatch.context() as patch:
        change_while_collecting(patch, lose)
        patch.setattr(loop, "LOOK_SCENES", 3)  # or none would be kept, and set a standard
        with pytest.raises(CameraLost):
            collect(wish, Screen())
    change_stand(monkeypatch, dim)
    with pytest.raises(CalibrationMismatch, match=r"drifted by -1\d\.\d%"):
        collect(wish, Screen())
    # Who knows better may say so; frames are then compared with what the light is now.
    assert collect(dataclasses.replace(wish, max_drift=0.2), Screen())["scenes"] == SCENES


def test_a_first_run_before_a_display_that_was_not_right_spoils_no_other(wish, monkeypatch):
    """It kept no scene: what it saw is no standard for the next one."""

    def dark(camera, source):
        show = source.show
        source.show = lambda picture: show((picture * 0.01).astype(np.float32))

    with monkeypatch.context() as patch:
        change_while_collecting(patch, dark)
        with pytest.raises(CalibrationMismatch):
            collect(wish, Screen())
    assert (wish.out / "run-00000").is_dir()
    assert collect(wish, Screen())["scenes"] == SCENES


def test_a_finished_collection_gets_its_calibration_back(wish):
    collect(wish, Screen())
    first = (wish.out / "calibration.npz").read_bytes()
    (wish.out / "calibration.npz").unlink()
    collect(wish, Screen())
    assert (wish.out / "calibration.npz").read_bytes() == first
    (wish.out / "calibration.npz").write_text("hi")
    with pytest.raises(InputError, match="calibration"):
        collect(wish, Screen())


def test_scenes_that_saturate_are_refused_before_the_first_one_is_recorded(wish, tmp_path):
    bright = dataclasses.replace(wish, rig=str(write_rig(tmp_path, 90_000.0)))
    with pytest.raises(FrameSaturated, match=r"one of the brightest, saturates: .*--exposure-s \(it is 0\.004 s;"):
        collect(bright, Screen())
    assert not wish.out.exists()
    blinding = dataclasses.replace(wish, rig=str(write_rig(tmp_path, 2e7)))
    with pytest.raises(FrameSaturated, match="saturat"):
        collect(blinding, Screen())


def test_an_exposure_that_the_calibration_is_not_of_is_refused_before_anything(wish):
    with pytest.raises(CalibrationMismatch, match=r"exposure_s is 0\.003, calibration .* for '0\.004 to 0\.004'"):
        collect(dataclasses.replace(wish, settings=CameraSettings(exposure_s=0.003)), Screen())
    assert not wish.out.exists()


def test_a_run_that_kept_no_pair_leaves_nothing(wish, monkeypatch):
    with monkeypatch.context() as patch:
        change_while_collecting(patch, lose)
        patch.setattr(loop, "LOOK_SCENES", 3)
        with pytest.raises(CameraLost):
            collect(wish, Screen())

    def dim(camera, source):
        show = source.show
        source.show = lambda picture: show((picture * 0.8).astype(np.float32))

    change_stand(monkeypatch, dim)
    with pytest.raises(CalibrationMismatch, match="drifted"):
        collect(wish, Screen())
    assert [path.name for path in sorted(wish.out.glob("run-*"))] == ["run-00000"]


def test_looks_at_black_and_white_are_no_scenes_for_who_reconstructs(wish):
    from calibration import Calibration
    from lensless.app.sources import measurements

    collect(wish, Screen())
    calibration = Calibration.load(wish.out / "calibration.npz")
    seen = list(measurements(str(wish.out / "run-00000"), calibration, 2, scenes=True))
    assert len(seen) == SCENES and all(one.label >= 0 and len(np.unique(one.scene)) > 1 for one in seen)


def test_a_camera_that_changes_its_exposure_is_noticed(wish, monkeypatch):
    def creep(camera, source):
        snap = camera.snap

        def brighter(*arguments):
            camera.configure(CameraSettings(exposure_s=0.0041))
            return snap(*arguments)

        camera.snap = after(FEW, snap, brighter)

    change_while_collecting(monkeypatch, creep)
    with pytest.raises(DeviceError, match=r"changed by itself to exposure 0\.0041 s"):
        collect(wish, Screen())


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"asked": Asked("glyphs", count=30)}, "splits"),
        ({"asked": Asked("glyphs", count=SCENES, seed=1)}, "seed"),
        ({"frames": 3}, "frames"),
        ({"calibration": "nominal"}, "calibration"),
    ],
)
def test_another_collection_is_not_mixed_in(wish, monkeypatch, changes, names):
    with monkeypatch.context() as patch:
        change_while_collecting(patch, lose)
        patch.setattr(loop, "LOOK_SCENES", 3)  # or none would be kept, and set a standard
        with pytest.raises(CameraLost):
            collect(wish, Screen())
    with pytest.raises(ConfigurationError, match=rf"was begun with {names}"):
        collect(dataclasses.replace(wish, **changes), Screen())


def test_a_scene_that_was_collected_twice_is_said_so(wish):
    import shutil

    collect(wish, Screen())
    shutil.copytree(wish.out / "run-00000", wish.out / "run-00001")
    with pytest.raises(InputError, match=r"run-00001': scene 0 stands there and in '.*run-00000'"):
        collect(wish, Screen())


def test_a_file_shows_the_scenes_to_a_camera_that_looks_at_it(wish, rig, tmp_path):
    shown = tmp_path / "shown"
    through_file = dataclasses.replace(wish, camera=f"simulated:{rig}?display={shown}", display=f"file:{shown}")
    assert collect(through_file, Screen())["scenes"] == SCENES
    check_collection(wish.out, rig, SCENES, 2)
    assert isinstance(FileDisplay(shown, (16, 12)).shape, tuple)


@pytest.mark.parametrize(
    ("camera", "display", "error", "says"),
    [
        ("replay:{rig}", None, ConfigurationError, "name what shows the scenes with --display: simulated"),
        ("replay:{rig}", "simulated", ConfigurationError, "is seen by a simulated camera only"),
        (
            "simulated:{rig}?scenes=mnist",
            None,
            ConfigurationError,
            "--scenes says what is shown; leave scenes=mnist out",
        ),
        ("simulated:{rig}?display=x", None, ConfigurationError, "show there, with --display file:x"),
        ("simulated:bare-v1", None, CalibrationMismatch, "is of rig 'bare-v1', not of 'small-v1'"),
        (
            "simulated:{rig}",
            "simulated?refresh=60",
            ConfigurationError,
            "no option 'refresh'; did you mean refresh_hz=",
        ),
        (
            "simulated:{rig}",
            "simulated?refresh_hz=fast",
            ConfigurationError,
            "refresh_hz='fast'; expected a number from 1 to 1000",
        ),
        ("simulated:{rig}", "wall:0", ConfigurationError, "no such display; there are"),
        ("simulated:{rig}", "file:", ConfigurationError, "no such display"),
        ("simulated:{rig}", "file:nowhere/shown", StorageError, "cannot be written"),
        ("simulated:{rig}", "file:{rig}.shown", CalibrationMismatch, "expected to see the display"),
    ],
)
def test_addresses_that_cannot_be_are_refused_in_one_sentence(wish, rig, camera, display, error, says):
    place = None if display is None else display.format(rig=rig)
    with pytest.raises(error, match=says.replace("(", r"\(")):
        collect(dataclasses.replace(wish, camera=camera.format(rig=rig), display=place), Screen())
    assert not wish.out.exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--scenes", "glyphs"], "name the rig that looks at them with --rig"),
        (["--scenes", "glyphs", "--rig", "cannula-v1", "--seconds", "3"], "--seconds goes not with --scenes"),
        (["--rig", "cannula-v1", "simulated:bare-v1"], "--rig goes only with --scenes"),
        (["--scenes", "glyphs", "--rig", "cannula-v1", "--count", "5"], "expected at least 10 scenes"),
        ([], "name a camera"),
    ],
)
def test_options_that_do_not_go_together_are_refused(lensless, tmp_path, options, says):
    result = lensless("record", *options, "--out", tmp_path / "out")
    assert result.exit_code == 2 and says in result.stderr


def test_the_command_writes_what_it_did_as_json(lensless, rig, tmp_path):
    out, facts = tmp_path / "out", tmp_path / "facts.json"
    options = ["--scenes", "glyphs", "--rig", rig, "--count", 12, "--split", "test", "--json", facts]
    result = lensless("record", *options, "--out", out)
    assert result.exit_code == 0, result.output
    told = json.loads(facts.read_text())
    assert told["scenes"] == told["of"] == 12 and told["splits"] == {"test": [0, 12]} and told["frames"] == 2
    assert (out / "calibration.npz").exists()
    assert f"next: lensless train classify --rig {rig} --scenes recorded:{out}" in result.stdout.replace("\n", "")


def test_a_scene_that_blocks_explain_badly_is_taken_when_it_looks_the_same_again():
    light = np.array([1000.0, 200.0])
    strange = Told(0.1, 900.0, 0.03, 0.02, light)
    again = dataclasses.replace(strange, light=light + np.array([1.0, -2.0]))
    other = dataclasses.replace(strange, light=light * np.array([1.0, -1.0]))
    watch = StepWatch(Limits())
    assert [watch.take(one, 7) for one in (strange, other, again, again)] == [False, False, False, True]
    assert watch.retaken == 3
    asked = []
    for scene_id in range(8, 20):
        asked.append(watch.light_is_asked_for)
        if asked[-1]:
            watch.light_was_looked_at()
        assert not watch.take(strange, scene_id)
    assert asked == [False, False, False, True, False, False, True, False, False, True, False, False]
    with pytest.raises(CalibrationMismatch, match=r"21 of the last \d+ frames"):
        for scene_id in range(20, 40):
            watch.take(strange, scene_id)


def test_frames_of_the_scene_before_end_it_at_once_however_they_repeat():
    stale = Told(1.0, 900.0, 0.5, 0.02, np.array([10.0]))
    watch = StepWatch(Limits())
    with pytest.raises(CalibrationMismatch, match=r"4 of the last 4 frames .*100% of the way to the scene before"):
        for _ in range(4):
            assert not watch.take(stale, 3)


def test_info_tells_of_a_collection_and_of_its_runs(wish, lensless, tmp_path):
    collect(wish, Screen())
    facts = tmp_path / "facts.json"
    told = lensless("info", wish.out, "--verify", "--json", facts)
    assert told.exit_code == 0 and "20 of 20 of glyphs, 2 frames of each" in told.stdout
    found = json.loads(facts.read_text())
    assert found["splits"] == {"train": [16, 16], "val": [2, 2], "test": [2, 2]} and found["verified"]
    told = lensless("info", wish.out / "run-00000")
    assert told.exit_code == 0 and "gamma 1" in told.stdout and "passed over" in told.stdout
    told = lensless("export", wish.out, "--out", tmp_path / "a.npy")
    assert told.exit_code == 5 and "holds recordings, and is none itself; name one of them, e.g." in told.stderr
