"""`lensless calibrate --check` on a small cannula: where the rod stands, how far it has moved, and the way back."""

import dataclasses
import pathlib

import numpy as np
import pytest

from hardware.errors import CalibrationMismatch, ConfigurationError, StorageError
from lensless.app.bench.calibration import to_toml
from lensless.app.calibrate import check, job
from lensless.app.calibrate.cost import figure
from lensless.app.load import setting_of
from lensless.app.rig import Rig, open_rig
from lensless.app.rig_file import read_spec
from lensless.app.screen import Screen
from lensless.app.setting import Setting
from lensless.data.scenes import load_scenes
from lensless.train import checkpoint

RAYS, DESIGN_RAYS = 2**17, 2**16  # a rig and what is known of its design are never the same


def rig_file(folder: pathlib.Path, name: str, **alignment: float) -> pathlib.Path:
    spec = read_spec("cannula-v1")
    spec = dataclasses.replace(
        spec, id=name, scene=dataclasses.replace(spec.scene, shape=(12, 12)),
        sensor=dataclasses.replace(spec.sensor, shape=(24, 24), pitch_um=55 / 1.5, serial="HIDDEN-2"),
        alignment=dataclasses.replace(spec.alignment, **alignment),
    )  # fmt: skip
    path = folder / f"{name}.toml"
    path.write_text(to_toml(dataclasses.asdict(spec)))
    return path


slow = pytest.mark.slow  # the rig is calibrated first


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("check")


@pytest.fixture(scope="module")
def design(folder):
    return rig_file(folder, "design")


@pytest.fixture(scope="module")
def measured(folder, design):
    """The folder of a rig that stands off, measured."""
    hidden = rig_file(folder, "hidden", shift_x_mm=1.0, roll_deg=0.4, sensor_shift_y_um=6.0)
    out = folder / "measured"
    wish = job.Wish(str(design), out, camera=f"simulated:{hidden}?rays={RAYS}", rays=DESIGN_RAYS, frames=4)
    return out, job.calibrate(wish, Screen())


@pytest.fixture(scope="module")
def moved(folder):
    return rig_file(folder, "moved", shift_x_mm=1.5, shift_y_mm=-0.6, roll_deg=0.4, sensor_shift_y_um=9.0)


def checked(measured, camera, **options):
    return check.check(
        check.Wish(str(measured[0]), f"simulated:{camera}?rays={RAYS}", rays=DESIGN_RAYS, **options), Screen()
    )


@slow
def test_a_calibration_says_where_the_rod_stands(measured):
    facts = measured[1]["matrix"]
    assert facts["way"] == "design" and facts["relative_error"] < 0.8 * facts["before_regularisation"]
    pose = {name: found["value"] for name, found in facts["pose"].items()}
    assert pose["shift_x_mm"] == pytest.approx(1.0, abs=0.08) and pose["shift_y_mm"] == pytest.approx(0, abs=0.08)
    assert pose["roll_deg"] == pytest.approx(0.4, abs=0.15)
    assert pose["sensor_shift_y_um"] == pytest.approx(6.0, abs=0.6)
    assert open_rig(str(measured[0])).spec.alignment.shift_x_mm == pose["shift_x_mm"]


@slow
def test_a_rig_that_stands_still_is_said_to(measured, folder):
    facts = checked(measured, folder / "hidden.toml")
    assert facts["still"] and facts["specks"] == 0 and facts["changed"] < 0.01


@slow
def test_what_has_moved_is_found_and_made_up_for(measured, moved, folder, lensless):
    trained = lensless(
        "train", "reconstruct", "--scenes", "glyphs", "--count", 2000, "--rig", measured[0], "--epochs", 2,
        "--out", folder / "run", "--device", "cpu",
    )  # fmt: skip
    assert trained.exit_code == 0, trained.output
    facts = checked(measured, moved, checkpoint=folder / "run", out=folder / "now")
    assert not facts["still"]
    for name, by, within in (("shift_x_mm", 0.5, 0.08), ("shift_y_mm", -0.6, 0.08), ("sensor_shift_y_um", 3.0, 0.4)):
        assert facts["moved"][name]["value"] == pytest.approx(by, abs=within), name
    cost = facts["cost"]
    assert cost["now"] < cost["before"] - 1
    # Not by what was found, but by frames of the rig that has moved.
    test = load_scenes("glyphs", "test", 0, 300, None)
    looking = Rig(read_spec(moved), rays=RAYS)
    old, new = (checkpoint.load(place) for place in (folder / "run", folder / "now" / "checkpoint"))
    figures = [
        figure(found.task, dataclasses.replace(setting_of(found, str(place)), rig=rig, real=False), test)
        for found, place, rig in (
            (old, folder / "run", Rig(read_spec(folder / "hidden.toml"), rays=RAYS)), (old, folder / "run", looking),
            (new, folder / "now" / "checkpoint", looking),
        )
    ]  # fmt: skip
    before, then, after = figures
    assert (after - then) / (before - then) >= 0.8, figures
    used = lensless(
        "reconstruct", folder / "now" / "checkpoint", f"simulated:{moved}?rays={RAYS}&scenes=glyphs", "--count", 2,
        "--out", folder / "pictures",
    )  # fmt: skip
    assert used.exit_code == 0, used.output
    again = checked((folder / "now", None), moved)
    assert again["still"], again


@slow
@pytest.mark.parametrize(("change", "error", "words"), [
    ({"rig": "cannula-v1"}, ConfigurationError, "no folder of a measured rig"),
    ({"camera": "simulated:cannula-v1"}, CalibrationMismatch, "looks at scenes of"),
    ({"out": pathlib.Path(".")}, StorageError, "it exists, and nothing is overwritten"),
    ({"checkpoint": pathlib.Path("nowhere")}, Exception, "nowhere"),
])  # fmt: skip
def test_what_cannot_be_checked_is_refused_at_once(measured, folder, change, error, words):
    wish = check.Wish(str(measured[0]), f"simulated:{folder / 'hidden.toml'}?rays={RAYS}", rays=DESIGN_RAYS)
    with pytest.raises(error, match=words):
        check.check(dataclasses.replace(wish, **change), Screen())


@slow
def test_another_camera_is_refused(measured, folder):
    other = folder / "other.toml"
    other.write_text((folder / "hidden.toml").read_text().replace("HIDDEN-2", "OTHER-3"))
    with pytest.raises(CalibrationMismatch, match="'OTHER-3'"):
        checked(measured, other)


@slow
def test_a_covered_rig_is_not_taken_for_one_that_has_moved(measured, folder):
    dark = folder / "dark.toml"
    text = (folder / "hidden.toml").read_text()
    dark.write_text(text.replace("white_electrons = 20000.0", "white_electrons = 1.0"))
    assert dark.read_text() != text
    with pytest.raises(CalibrationMismatch):
        checked(measured, dark)


def test_shadows_on_a_bare_sensor_move_all_alike_and_noise_does_not(tmp_path):
    from collection_tools import write_rig

    from calibration.shadows import fit_shadows
    from lensless.app.calibrate.moves import MeasuredShadows, shadow_step_px

    text = write_rig(tmp_path).read_text()
    for old, new in (
        ("[16, 12]", "[8, 8]"), ("[20, 24]", "[120, 160]"), ("pitch_um = 20.0", "pitch_um = 6.0"),
        ("width_mm = 12.0", "width_mm = 8.0"), ("distance_mm = 20.0", "distance_mm = 60.0"), 
        ("specks = 6", "specks = 2"),
    ):  # fmt: skip
        assert old in text
        text = text.replace(old, new)
    file = tmp_path / "rig.toml"
    file.write_text(text)
    rig = open_rig(str(file))
    there = {"shift_x_mm": 0.4, "shift_y_mm": -0.1}
    spec = dataclasses.replace(rig.spec, alignment=dataclasses.replace(rig.spec.alignment, **there))
    truth, was = (one.forward_model.as_matrix().numpy() for one in (Rig(spec), rig))
    noise = 1e-4 * np.random.default_rng(0).standard_normal(was.shape).astype(np.float32)
    measured, entry, step_px = was + noise, np.full(len(was), 1e-4), shadow_step_px(rig.spec)
    shapes = rig.spec.scene.shape, rig.spec.sensor.shape
    moves = MeasuredShadows(rig.spec, measured, fit_shadows(measured, entry, *shapes, step_px, step_px * np.eye(2)))
    moved = moves.matrix(there)
    assert np.linalg.norm(moved - truth - noise) < 0.36 * np.linalg.norm(was - truth)
    weights = np.random.default_rng(0).random((3, was.shape[1])).astype(np.float32)
    assert moves.frames(weights, there) == pytest.approx(weights @ moved.T, rel=1e-3)
    assert Setting.of(rig).rig is rig and moves.spec(there).alignment.shift_x_mm == 0.4
