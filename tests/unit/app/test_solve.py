"""`lensless reconstruct RIG SOURCE --solver NAME`: pictures without training, and what is refused."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from hardware import Recording
from lensless.app.rig import open_rig
from lensless.app.setting import Setting
from lensless.app.solvers import CHOICES, ITERATIONS, Asked, solver_of
from lensless.data.scenes import load_scenes

LINEAR = ("tikhonov", "truncated-svd")


@pytest.fixture(scope="module")
def solved(lensless, tiny, recording, tmp_path_factory):
    """What a solver made of the recording: its result and its folder."""

    def run(*options):
        out = tmp_path_factory.mktemp("solved") / "pictures"
        result = lensless("reconstruct", tiny, recording, "--out", out, "--json", out.parent / "found.json", *options)
        assert result.exit_code == 0, result.output
        return json.loads((out.parent / "found.json").read_text()), out, result.stdout

    return run


@pytest.fixture(scope="module")
def setting(tiny):
    """As the recording was made: with few rays."""
    return Setting.of(open_rig(tiny, rays=1024))


@pytest.mark.parametrize("name", [*LINEAR, *ITERATIONS])
def test_each_solver_shows_more_than_an_even_picture(solved, name):
    found, out, said = solved("--solver", name)
    pictures = [np.asarray(Image.open(out / one["file"])) / 255 for one in found["pictures"]]
    assert len(pictures) == 12 and pictures[0].shape == (16, 16) and (out / "sheet.png").is_file()
    with Recording.open(found["source"]) as recording:
        scenes = [recording.scene(at) / 255 for at in range(12)]
    even = np.mean([-10 * np.log10(np.var(scene)) for scene in scenes])
    own = np.mean([-10 * np.log10(np.square(p - s).mean()) for p, s in zip(pictures, scenes, strict=True)])
    assert found["mean_psnr_db"] == pytest.approx(own, abs=0.1)  # the files have 8 bits
    assert own > even + 1
    assert found["chosen"] in said and "|A x - y| / |y|" in said


def test_the_misfit_is_that_of_the_scene_and_the_noise_is_as_said(solved, setting, recording):
    """Of the true scenes themselves the misfit would be what stands there as noise alone."""
    found, _, _ = solved("--solver", "tikhonov")
    model, dark = setting.rig.forward_model, setting.rig.spec.scene.dark_level
    with Recording.open(recording) as frames:
        scene = torch.from_numpy(np.stack([frames.scene(at) for at in range(12)]))[:, None].float() / 255
        y = torch.from_numpy(np.stack([setting.calibration.apply(frames[at]).y for at in range(12)]))[:, None]
    misfit = (model.A(dark + (1 - dark) * scene) - y).flatten(1).norm(dim=1) / y.flatten(1).norm(dim=1)
    noise = np.mean([one["misfit_of_noise"] for one in found["pictures"]])
    assert float(misfit.mean()) == pytest.approx(noise, rel=0.05)
    assert np.mean([one["misfit"] for one in found["pictures"]]) < noise


@pytest.mark.parametrize("name", LINEAR)
def test_error_bars_are_the_spread_over_many_noises(solved, setting, name):
    """One scene seen 400 times."""
    simulate, draw = setting.simulator(), torch.Generator().manual_seed(5)
    picture = load_scenes("glyphs", "test", 0, 1).fit((16, 16)).float() / 255
    y = torch.cat([simulate(picture, draw) for _ in range(400)])
    solver = solver_of(Asked(name, error_bars=True), setting, y[:8])
    found = solver(y)
    assert float((found.x.std(0) / found.std.mean(0)).mean()) == pytest.approx(1, abs=0.05)


def test_error_bars_lie_beside_the_pictures(solved):
    found, out, said = solved("--solver", "tikhonov", "--error-bars", "--count", 2)
    one = found["pictures"][0]
    picture = np.asarray(Image.open(out / "000000-std.png")) / 255 * one["std_largest"]
    assert picture.mean() == pytest.approx(one["std_mean"], rel=0.02) and "error bar" in said


def test_wiener_is_fitted_on_scenes_and_beats_what_is_not(solved):
    fitted, _, _ = solved("--solver", "wiener", "--scenes", "glyphs", "--error-bars")
    plain, _, _ = solved("--solver", "tikhonov")
    about, _, _ = solved("--solver", "tikhonov", "--scenes", "glyphs")
    assert plain["mean_psnr_db"] < about["mean_psnr_db"] < fitted["mean_psnr_db"]


def test_iterations_are_told_with_why_they_ended(solved):
    found, _, said = solved("--solver", "admm", "--weight", "1e-4", "--iterations", 20)
    assert found["weight"] == 1e-4 and "as it was given" in found["chosen"]
    assert {(one["iterations"], one["converged"]) for one in found["pictures"]} == {(20, False)}
    assert "20, stopped" in said
    found, _, said = solved("--solver", "admm", "--weight", "discrepancy")
    assert found["pictures"][0]["converged"] and "converged" in said
    misfit, noise = (np.square([one[key] for one in found["pictures"]]).mean() for key in ("misfit", "misfit_of_noise"))
    assert misfit == pytest.approx(noise, rel=0.1)


def test_a_rank_is_a_weight_too(solved):
    found, _, _ = solved("--solver", "truncated-svd", "--weight", "9")
    assert found["weight"] == 9 and "the leading 9 of" in found["chosen"]


def test_all_stand_side_by_side(solved):
    found, out, said = solved("--solver", "all", "--scenes", "glyphs", "--count", 3)
    assert [one["solver"] for one in found["solvers"]] == list(CHOICES)
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.height == (2 + len(CHOICES)) * 200 + 8  # scenes, frames, and each solver
    assert all(one["psnr_db"] > 5 and one["chosen"] in said for one in found["solvers"])


def test_as_many_frames_are_averaged_as_were_taken(lensless, tiny, tmp_path):
    lensless("simulate", "--rig", tiny, "--rays", 1024, "--count", 2, "--frames", 3, "--out", tmp_path / "f.h5")
    arguments = ["reconstruct", tiny, tmp_path / "f.h5", "--solver", "tikhonov", "--json", "-"]
    found = json.loads(lensless(*arguments, "--out", tmp_path / "a").stdout)
    assert (found["frames"], len(found["pictures"])) == (3, 2)
    found = json.loads(lensless(*arguments, "--out", tmp_path / "b", "--frames", 1).stdout)
    assert (found["frames"], len(found["pictures"])) == (1, 6)


def test_a_camera_is_a_source_and_drift_is_seen_in_the_misfit(lensless, tiny, tmp_path):
    address = f"simulated:{tiny}~2x10?rays=1024"
    result = lensless("reconstruct", tiny, address, "--solver", "tikhonov", "--weight", "1e-2", "--out", tmp_path / "x")
    assert result.exit_code == 0, result.output
    assert "after it drifted (seed 2" in result.stdout and "calibrate --check" in result.stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--solver", "tikhonov", "--iterations", 5], "--iterations, which goes with admm and fista"),
        (["--solver", "admm", "--error-bars"], "--error-bars, which goes with tikhonov"),
        (["--solver", "fista", "--scenes", "glyphs"], "--scenes, which goes with"),
        (["--solver", "wiener"], "say which, as in --scenes"),
        (["--solver", "wiener", "--scenes", "glyphs", "--weight", "1"], "--weight, which goes with"),
        (["--solver", "tikhonov", "--weight", "sure"], "gcv, l-curve, discrepancy"),
        (["--solver", "tikhonov", "--weight", "0"], "a number above 0"),
        (["--solver", "admm", "--weight", "nan"], "sure, discrepancy"),
        (["--solver", "truncated-svd", "--weight", "0.5"], "the rank, a whole number"),
        (["--solver", "truncated-svd", "--weight", "300"], "rank of 1 to"),
        (["--solver", "all", "--weight", "1"], "each has its own"),
        (["--solver", "admm", "--rig", "bare-v1"], "the rig is the first argument"),
        (["--weight", "1"], "--weight goes with --solver"), ([], "is a rig, not a checkpoint"),
        (["--solver", "best"], "Invalid value"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(lensless, tiny, recording, tmp_path, options, says):
    result = lensless("reconstruct", tiny, recording, "--out", tmp_path / "out", *options)
    assert result.exit_code == 2 and says in " ".join(result.stderr.split()), result.output
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_is_no_rig_and_another_rig_is_refused(lensless, reconstruct_run, recording, tmp_path):
    result = lensless("reconstruct", reconstruct_run, recording, "--solver", "admm", "--out", tmp_path / "out")
    assert result.exit_code == 2 and "is a checkpoint, which needs no solver" in result.stderr
    result = lensless("reconstruct", recording, "cannula-v1", "--solver", "admm", "--out", tmp_path / "out")
    assert result.exit_code == 2 and "is a recording, no rig" in " ".join(result.stderr.split())
    result = lensless("reconstruct", "cannula-v1", recording, "--solver", "admm", "--out", tmp_path / "out")
    assert result.exit_code == 6 and "'tiny-v1'" in result.stderr
    result = lensless("reconstruct", "cannula-v1", recording, "--out", tmp_path / "out")
    assert result.exit_code == 2 and "--solver admm" in result.stderr
