"""Rigs that drifted: what changes, by how much, and what training and tests make of them."""

import contextlib
import dataclasses
import json
import math

import numpy as np
import pytest
import tiny
import torch

from hardware.errors import ConfigurationError
from lensless import open_rig
from lensless.app.perturbation import (
    DISTANCE,
    GAIN,
    IMAGE_SHIFT_UM,
    ROLL_DEG,
    SHIFT_MM,
    TILT_DEG,
    drift_of,
    perturb,
    split_name,
)
from lensless.app.robustness import perturbed_lines
from lensless.app.setting import Perturbed

SPECS = {name: open_rig(name).spec for name in ("cannula-v1", "bare-v1")}


@pytest.mark.parametrize("name", SPECS)
def test_a_seed_is_one_drift_and_another_seed_another(name):
    first, again, other = (perturb(SPECS[name], seed) for seed in (3, 3, 4))
    assert first == again and first.fingerprint != other.fingerprint != SPECS[name].fingerprint
    assert first.id == f"{name}~3" and perturb(SPECS[name], 3, 0.5).id == f"{name}~3x0.5"


@pytest.mark.parametrize("name", SPECS)
def test_no_strength_is_no_drift(name):
    still = dataclasses.replace(perturb(SPECS[name], 7, 0.0), id=name)
    assert still.alignment == SPECS[name].alignment and still.sensor == SPECS[name].sensor
    assert still.cover_glass == SPECS[name].cover_glass
    assert still.scene.fov_deg == pytest.approx(SPECS[name].scene.fov_deg)


@pytest.mark.parametrize("strength", [1.0, 2.0])
@pytest.mark.parametrize("name", SPECS)
def test_amounts_have_the_stated_spread_around_the_rig(name, strength):
    spec = SPECS[name]
    found = [perturb(spec, seed, strength) for seed in range(600)]
    expected = {
        "tilt_x_deg": TILT_DEG, "tilt_y_deg": TILT_DEG, "roll_deg": ROLL_DEG, "shift_x_mm": SHIFT_MM,
        "shift_y_mm": SHIFT_MM, "sensor_shift_x_um": IMAGE_SHIFT_UM if spec.cannula else 0.0,
    }  # fmt: skip
    for fact, deviation in expected.items():
        values = np.array([getattr(one.alignment, fact) for one in found])
        assert values.std() == pytest.approx(strength * deviation, rel=0.15)
        assert abs(values.mean()) <= 5 * strength * deviation / math.sqrt(600)
    distance = np.array([one.scene.distance_mm / spec.scene.distance_mm - 1 for one in found])
    assert distance.std() == pytest.approx(strength * DISTANCE, rel=0.15)
    gain = np.array([one.sensor.white_electrons / spec.sensor.white_electrons - 1 for one in found])
    assert gain.std() == pytest.approx(strength * GAIN, rel=0.15)
    if spec.cannula is None:
        new = np.array([one.cover_glass.specks - spec.cover_glass.specks for one in found])
        assert new.min() == 0 and new.mean() == pytest.approx(strength, abs=5 * math.sqrt(strength / 600))


def test_a_scene_that_moves_away_keeps_its_width():
    spec = SPECS["cannula-v1"]
    moved = perturb(spec, 3)
    widths = [2 * one.scene.distance_mm * math.tan(math.radians(one.scene.fov_deg / 2)) for one in (spec, moved)]
    assert widths[0] == pytest.approx(widths[1]) and moved.scene.distance_mm != spec.scene.distance_mm


def test_old_specks_stay_where_they_are():
    spec = dataclasses.replace(tiny.rig().spec)
    with_new = next(one for seed in range(50) if (one := perturb(spec, seed, 3.0)).cover_glass.specks > 7)
    assert (with_new.cover_glass.seed, with_new.cover_glass.speck_radius_um) == (3, 20.0)


def test_any_command_takes_a_drifted_rig_by_its_name():
    assert open_rig("bare-v1~3").spec == perturb(SPECS["bare-v1"], 3)
    assert open_rig("bare-v1~3x0.5").spec == perturb(SPECS["bare-v1"], 3, 0.5)
    assert split_name("~/rigs/mine.toml") == ("~/rigs/mine.toml", None, 1.0)
    assert split_name("/home/me~1/mine.toml") == ("/home/me~1/mine.toml", None, 1.0)
    assert split_name("mine.toml~12x2") == ("mine.toml", 12, 2.0)


@pytest.mark.parametrize("name, says", [
    ("bare-v1~x", "expected ID~SEED or ID~SEEDxSTRENGTH"), ("bare-v1~1.5", "expected ID~SEED"),
    ("bare-v1~-1", "expected ID~SEED"), ("bare-v1~1x11", r"'bare-v1': drift of strength = 11; expected 0 \.\. 10"),
    ("bare-v1~1xnan", "expected ID~SEED"), ("nothing~1", "rig 'nothing': no such file"),
])  # fmt: skip
def test_a_drift_that_cannot_be_is_refused(name, says):
    with pytest.raises(ConfigurationError, match=says):
        open_rig(name)


def test_a_drifted_rig_is_measured_with_the_calibration_from_before():
    setting = tiny.setting()
    drifted = setting.perturbed(5, 2.0)
    assert drifted.calibration is setting.calibration and drifted.frames == setting.frames
    pictures = tiny.scenes(20).pictures.float() / 255
    before, after = (one.simulator()(pictures, torch.Generator().manual_seed(0)) for one in (setting, drifted))
    gain = drifted.rig.spec.sensor.white_electrons / setting.rig.spec.sensor.white_electrons
    model = drifted.rig.forward_model
    dark = setting.rig.spec.scene.dark_level
    expected = gain * model.A(dark + (1 - dark) * pictures)
    error = float((after - expected).norm() / expected.norm())
    assert error < 0.02 < float((before - expected).norm() / expected.norm())


def test_training_meets_all_rigs_and_the_same_ones_again():
    source = Perturbed(tiny.setting(), 3, 2.0)
    assert [one.rig.id for one in source.settings] == ["tiny", "tiny~0x2", "tiny~1x2", "tiny~2x2"]
    task, scenes = tiny.reconstruct(), tiny.scenes()
    prepare = source.training_input(task, scenes, contextlib.nullcontext)
    pictures = scenes.pictures[:4].float() / 255
    seen = []
    for seed in [*range(40), *range(40)]:
        torch.manual_seed(seed)
        seen.append(prepare(pictures, torch.arange(4)).mean().item())
    assert seen[:40] == seen[40:]
    lights = np.sort(np.array(seen[:40]))
    assert (np.diff(lights) > 5 * np.median(np.diff(lights))).sum() >= 2  # clusters: the rigs differ, and all come up


def test_lines_of_an_evaluation_say_mean_and_range():
    setting, task = tiny.setting(), tiny.reconstruct()
    lines = perturbed_lines(task, setting, tiny.scenes(30, seed=9), range(3), 1.0)
    assert [line.name for line in lines] == ["network, perturbed", "Wiener, perturbed"]
    for line in lines:
        assert set(line.figures) == {"psnr_db", "ssim"}
        assert line.note.startswith("mean of 3 rigs that drifted (strength 1): ")
        low, high = (float(word) for word in line.note.rpartition(": ")[2].split(" .. "))
        assert low <= line.figures["psnr_db"] <= high + 0.01


def test_a_file_with_a_tilde_in_its_name_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine~7").write_text("")
    assert split_name("mine~7") == ("mine~7", None, 1.0) and split_name("yours~7") == ("yours", 7, 1.0)


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_a_strength_without_perturbed_rigs_is_refused(lensless, command, tmp_path):
    what = "classify" if command == "train" else tmp_path
    result = lensless(command, what, "--strength", 0.5)
    assert result.exit_code == 2 and "--perturbed" in result.stderr


@pytest.mark.slow
def test_the_commands_train_and_test_on_perturbed_rigs(lensless, train, tiny, tmp_path):
    folder = train(tmp_path / "steady", "classify", "--epochs", 1, "--perturbed", 2, "--strength", 0.5)
    result = lensless("evaluate", folder, "--perturbed", 2, "--no-sharp", "--json", tmp_path / "e.json")
    assert result.exit_code == 0, result.output
    page = (folder / "report.html").read_text()
    assert f"lensless evaluate {folder} --perturbed 2 --strength 1 --no-sharp" in page
    for option in ("scenes glyphs, count 600", "rays 1024", "perturbed 2, strength 0.5", "epochs 1", "seed 0"):
        assert option in page
    lines = json.loads((tmp_path / "e.json").read_text())["evaluations"][0]["lines"]
    assert any(line["name"] == "without reconstruction, perturbed" for line in lines)
    drifted = lensless("simulate", "--rig", f"{tiny}~3", "--rays", 1024, "--count", 2, "--out", tmp_path / "d.h5")
    assert drifted.exit_code == 0, drifted.output


def test_frames_of_the_drifted_rig_are_served_and_those_of_another_rig_that_drifted_are_not(
    lensless, tiny, classify_run, reconstruct_run, tmp_path
):
    frames, says = tmp_path / "drifted.h5", "tiny-v1 after it drifted (seed 3, strength 0.5)"
    assert lensless("simulate", "--rig", f"{tiny}~3x0.5", "--rays", 1024, "--count", 2, "--out", frames).exit_code == 0
    for source in (frames, f"simulated:{tiny}~3x0.5?rays=1024"):
        result = lensless("classify", classify_run, source)
        assert result.exit_code == 0 and result.output.count(says) == 1, result.output
    result = lensless("reconstruct", reconstruct_run, frames, "--out", tmp_path / "pictures")
    assert result.exit_code == 0 and says in result.output, result.output
    (tmp_path / "new.toml").write_text(tiny.read_text().replace("12.5", "11.5"))  # the same id, and another rig
    for other in ("cannula-v1~3x0.5", f"{tmp_path / 'new.toml'}~3x0.5"):
        result = lensless("classify", classify_run, f"simulated:{other}")
        assert result.exit_code == 6 and "~3x0.5" in result.stderr, result.output


def test_the_id_tells_the_whole_drift():
    spec = SPECS["bare-v1"]
    for strength in (0.1234567, 1, 1.00000001, 1 / 3):
        drifted = perturb(spec, 7, strength)
        assert drift_of(spec, drifted.id, drifted.fingerprint) is not None
    assert drift_of(spec, drifted.id, SPECS["cannula-v1"].fingerprint) is None
    assert drift_of(SPECS["cannula-v1"], drifted.id, drifted.fingerprint) is None
    assert drift_of(spec, "bare-v1~7x99", drifted.fingerprint) is None
