"""Training and evaluation on recorded pairs: the commands as they are typed, from frames on disk to figures."""

import functools
import json

import collected
import h5py
import numpy as np
import pytest
import torch

from calibration import Calibration
from hardware import Recording
from lensless.app.rig import open_rig
from lensless.data.scenes import load_scenes
from lensless.train import checkpoint

SPLITS = {"train": [0, 300], "val": [300, 360], "test": [360, 440]}


@pytest.fixture(scope="module")
def shown():
    return load_scenes("glyphs", "train", 0, 440)


@pytest.fixture(scope="module")
def collection(tiny, shown, tmp_path_factory):
    """440 glyphs before the tiny rig, two frames each, in two runs of which the first was interrupted."""
    folder = tmp_path_factory.mktemp("collection") / "glyphs"
    folder.mkdir()
    rig = open_rig(tiny, rays=1024)
    rig.calibrate().save(folder / "calibration.npz")
    collected.record(folder / "run-0.h5", rig, shown, range(200), SPLITS, torn=199)
    collected.record(folder / "run-1.h5", rig, shown, range(199, 440), SPLITS, noise_seed=1)
    return folder


@pytest.fixture(scope="module")
def trained(lensless, tiny, collection, tmp_path_factory):
    """The checkpoint of a task that was trained on the recorded frames, and what was said."""

    @functools.cache  # of tests that run in several processes, each asks for one task
    def run(task: str):
        out = tmp_path_factory.mktemp("runs") / task
        epochs = {"reconstruct": 30, "classify": 40}[task]
        result = lensless(
            "train", task, "--scenes", f"recorded:{collection}", "--rig", tiny, "--epochs", epochs, "--batch-size", 50,
            "--out", out, "--device", "cpu",
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        return out, result.output

    return run


def said(result, code: int, *words: str) -> None:
    text = " ".join(result.output.split())
    assert result.exit_code == code, text
    assert all(word in text for word in words) and "Traceback" not in text, text


def figures(lensless, *arguments) -> dict:
    result = lensless("evaluate", *arguments, "--no-sharp", "--json", "-", "--device", "cpu")
    assert result.exit_code == 0, result.output
    (one,) = json.loads(result.stdout)["evaluations"]
    return one


def lines(evaluation: dict) -> dict:
    return {line["name"]: line for line in evaluation["lines"]}


@pytest.mark.slow
def test_recorded_pairs_train_and_are_evaluated(lensless, collection, trained, shown):
    out, text = trained("reconstruct")
    assert "300 of recorded:glyphs/train" in text and "are not moved" not in text
    assert f"next: lensless evaluate {out} --scenes recorded:{collection}" in text
    card = checkpoint.load(out).card
    assert card["frames"] == 2 and card["real_sensor"] is False and card["rig"]["rays"] == 1024
    assert card["scenes"]["validation"][2] == 60
    one = figures(lensless, out, "--scenes", f"recorded:{collection}")
    assert one["count"] == 80 and one["scenes"] == "recorded:glyphs/test"
    found = lines(one)
    assert found["network"]["psnr_db"] > found["Wiener"]["psnr_db"] > found["Tikhonov"]["psnr_db"]
    assert (out / "report.html").exists()


def test_recorded_labels_are_learned_without_moving_the_scenes(lensless, collection, trained):
    out, text = trained("classify")
    assert "recorded scenes are not moved for training" in text
    assert checkpoint.load(out).card["recipe"]["augmentation"] is None
    found = lines(figures(lensless, out, "--scenes", f"recorded:{collection}"))
    assert {"without reconstruction", "linear rule", "total light only", "chance"} <= set(found)
    assert found["without reconstruction"]["accuracy"] > 3 * found["chance"]["accuracy"]


def test_measurements_are_those_of_the_frames(collection, tiny):
    """What the network is trained on is the mean of the calibrated frames, and nothing else."""
    from lensless.data.recorded import Collection

    calibration = Calibration.load(collection / "calibration.npz")
    scenes = Collection.open(collection).scenes("test", calibration, lambda items, what, total: items)
    with Recording.open(collection / "run-1.h5") as recording:
        at = np.flatnonzero(recording.scene_ids == 400)
        mean = np.mean([calibration.apply(recording[int(row)]).y for row in at], axis=0)
    y = scenes.measurements((scenes.groups == 400).nonzero()[0])
    torch.testing.assert_close(y[0, 0], torch.from_numpy(mean.astype(np.float32)))


@pytest.mark.slow
def test_what_was_trained_on_frames_is_tested_on_simulated_ones_and_the_other_way_round(
    lensless, tiny, collection, trained, tmp_path
):
    out, _ = trained("classify")
    on_simulated = figures(lensless, out, "--scenes", f"shown:{collection}")
    assert on_simulated["scenes"] == "shown:glyphs/test" and on_simulated["count"] == 80
    result = lensless(
        "train", "classify", "--scenes", f"shown:{collection}", "--rig", tiny, "--rays", 1024, "--frames", 2,
        "--no-augment", "--epochs", 40, "--batch-size", 50, "--out", tmp_path / "simulated", "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert checkpoint.load(tmp_path / "simulated").card["recipe"]["augmentation"] is None
    on_recorded = figures(lensless, tmp_path / "simulated", "--scenes", f"recorded:{collection}")
    names = ("without reconstruction", "total light only")
    one, other = (lines(each) for each in (on_simulated, on_recorded))
    assert all(abs(one[name]["accuracy"] - other[name]["accuracy"]) < 0.25 for name in names)


def test_test_scenes_alone_are_evaluated_beside_baselines_of_the_training(
    lensless, tiny, shown, reconstruct_run, tmp_path
):
    rig = open_rig(tiny, rays=1024)
    path = collected.record(tmp_path / "only-test.h5", rig, shown, range(30), {"test": [0, 30]}, 1)
    one = figures(lensless, reconstruct_run, "--scenes", f"recorded:{path}")
    assert one["count"] == 30 and lines(one)["Wiener"]["psnr_db"] > 10


@pytest.mark.slow
def test_a_label_after_a_reconstruction_is_learned_from_frames_too(lensless, collection, trained, tmp_path):
    front, _ = trained("reconstruct")
    result = lensless(
        "train", "classify", "--after", front, "--scenes", f"recorded:{collection}", "--epochs", 1, "--batch-size", 50,
        "--out", tmp_path / "after", "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert figures(lensless, tmp_path / "after", "--scenes", f"recorded:{collection}")["count"] == 80


def test_what_does_not_fit_is_refused_with_a_next_step(lensless, tiny, collection, trained, shown, tmp_path):
    recorded = f"recorded:{collection}"
    out, _ = trained("classify")
    quick = ["--out", tmp_path / "no", "--device", "cpu"]
    said(lensless("train", "classify", "--scenes", recorded, *quick), 2, "tiny-v1", "--rig")
    said(lensless("train", "classify", "--scenes", recorded, "--rig", "bare-v1", *quick), 6, "tiny-v1", "bare-v1")
    said(lensless("train", "classify", "--scenes", recorded, "--rig", tiny, "--frames", 3, *quick), 2, "2 frames")
    said(lensless("train", "classify", "--scenes", recorded, "--rig", tiny, "--perturbed", 2, *quick), 2, "shown:PATH")
    said(lensless("train", "classify", "--scenes", recorded, "--rig", tiny, "--count", 301, *quick), 2, "there are 300")
    said(lensless("train", "classify", "--scenes", "recorded:nowhere.h5", "--rig", tiny, *quick), 5, "nowhere.h5")
    said(lensless("train", "classify", "--scenes", "recorded:", "--rig", tiny, *quick), 2, "recorded:PATH")
    said(lensless("evaluate", out), 2, "--scenes recorded:PATH")
    said(lensless("evaluate", out, "--scenes", recorded, "--perturbed", 1), 2, "shown:PATH")
    said(lensless("simulate", "--scenes", recorded, "--out", tmp_path / "a.h5"), 2, "shown:PATH")
    one_frame = collected.record(tmp_path / "one.h5", open_rig(tiny, rays=1024), shown, range(20), {"test": [0, 20]}, 1)
    said(lensless("evaluate", out, "--scenes", f"recorded:{one_frame}"), 6, "1 of each scene")
    said(lensless("train", "classify", "--scenes", f"recorded:{one_frame}", "--rig", tiny, *quick), 5, "no calibration")


@pytest.fixture(scope="module")
def pairs_file(collection, tmp_path_factory):
    """The same frames and pictures, as another program might keep them: raw, and calibrated."""
    path = tmp_path_factory.mktemp("pairs") / "mine.h5"
    calibration = Calibration.load(collection / "calibration.npz")
    with Recording.open(collection / "run-1.h5") as recording, h5py.File(path, "w") as file:
        chosen = np.flatnonzero(recording.scene_ids >= 0)[::2]
        frames = [recording[int(row)] for row in chosen]
        file["raw"] = np.stack([frame.pixels for frame in frames])
        file.create_dataset("y", data=np.stack([calibration.apply(frame).y for frame in frames]), compression="gzip")
        file["scenes"] = np.stack([recording.scene(int(row)) for row in chosen])
        file["labels"] = recording.labels[chosen]
    return path


@pytest.mark.slow
def test_pairs_in_a_file_of_another_program_train_the_same_raw_or_calibrated(
    lensless, tiny, collection, pairs_file, tmp_path
):
    rig = ["--rig", tiny, "--rays", 1024, "--device", "cpu", "--epochs", 2, "--batch-size", 50]
    raw, measured = (f"pairs:{pairs_file}?frames={name}" for name in ("raw", "y"))
    said(lensless("train", "reconstruct", "--scenes", raw, *rig, "--out", tmp_path / "raw"), 5, "no calibration")
    calibrated = ["--calibration", collection / "calibration.npz"]
    histories = []
    for scenes, more in ((raw, calibrated), (measured, [])):
        out = tmp_path / scenes[-3:].strip("=")
        result = lensless("train", "reconstruct", "--scenes", scenes, *rig, *more, "--out", out)
        assert result.exit_code == 0, result.output
        history = checkpoint.load(out).card["history"]
        histories.append([(one["loss"], one["validation"]) for one in history])
        assert figures(lensless, out, "--scenes", scenes)["count"] > 10
    assert histories[0] == histories[1]
