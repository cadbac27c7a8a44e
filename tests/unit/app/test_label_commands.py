"""Labels as a user meets them: how certain, what is refused, and what is no task for a classifier."""

import dataclasses
import json
import re
import shutil

import collected
import h5py
import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from hardware.errors import ConfigurationError, InputError
from lensless import tensor_file
from lensless.app.evaluate_job import check_classes
from lensless.app.load import load
from lensless.app.rig import open_rig
from lensless.app.sources import measurements
from lensless.app.training import RECIPES, check_scenes
from lensless.data.scenes import load_scenes
from lensless.train import checkpoint

RECIPE = dataclasses.replace(RECIPES["classify"], batch_size=16)


def said(result, code: int, *parts: str) -> None:
    text = " ".join(result.output.split())
    assert result.exit_code == code, text
    assert all(part in text for part in parts) and "Traceback" not in text, text


def test_what_is_less_certain_gets_no_label(lensless, classify_run, recording):
    whole = json.loads(lensless("classify", classify_run, recording, "--json", "-").stdout)
    sure = sorted(one["probability"] for one in whole["labels"])[6]
    result = lensless("classify", classify_run, recording, "--abstain", sure, "--json", "-")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    kept = [one["label"] for one in whole["labels"] if one["probability"] >= sure]
    assert [one["label"] for one in facts["labels"] if one["label"] is not None] == kept
    assert [one["probability"] for one in facts["labels"]] == [one["probability"] for one in whole["labels"]]
    assert facts["answered"] == len(kept) == 6 and facts["abstain"] == sure
    right = [one["label"] == one["truth"] for one in facts["labels"] if one["label"] is not None]
    assert facts["accuracy"] == sum(right) / 6
    assert "6 of 12 answered" in result.stderr and re.search(r" \? ", result.stderr)
    assert f"{sum(right)} of 6 labels right" in result.stderr


def test_nobody_need_answer_and_a_threshold_is_a_probability(lensless, classify_run, recording):
    facts = json.loads(lensless("classify", classify_run, recording, "--abstain", 1, "--json", "-").stdout)
    assert facts["answered"] == 0 and "accuracy" not in facts
    for threshold in ("nan", 1.1, -0.1):
        said(lensless("classify", classify_run, recording, "--abstain", threshold), 2, "Invalid value for '--abstain'")


def test_the_probability_is_that_of_the_calibrated_network(lensless, classify_run, recording):
    found = checkpoint.load(classify_run)
    one = next(measurements(str(recording), found.calibration, 1))
    task = load(classify_run)
    with torch.no_grad():
        logits = task.network(task.prepare(one.y)).double() / float(task.temperature)
    shown = json.loads(lensless("classify", classify_run, recording, "--json", "-").stdout)["labels"][0]
    assert shown["probability"] == pytest.approx(float(logits.softmax(1).max()), rel=1e-5)
    assert float(task.temperature) != 1


def test_evaluate_tells_of_classes_and_certainty(lensless, classify_run, tmp_path):
    result = lensless("evaluate", classify_run, "--no-sharp", "--json", tmp_path / "e.json")
    assert result.exit_code == 0, result.output
    (one,) = json.loads((tmp_path / "e.json").read_text())["evaluations"]
    assert one["top"]["1"] == one["figure"] < one["top"]["3"]
    assert len(one["per_class"]) == 47 and sum(each["count"] for each in one["per_class"]) == one["count"]
    assert (
        one["confidence"]["after"]["negative_log_likelihood"] < one["confidence"]["before"]["negative_log_likelihood"]
    )
    assert [each["threshold"] for each in one["confidence"]["answered"]] == [0.5, 0.8, 0.9, 0.95, 0.99]
    for text in ("top-2", "expected calibration error", "worst 5 of 47 classes", "if at least so certain"):
        assert text in result.output
    page = (classify_run / "report.html").read_text()
    for text in ("all 47 classes", "What is gained by not answering", "negative log-likelihood"):
        assert text in page


def test_classes_that_the_checkpoint_does_not_know_are_neither_right_nor_wrong(lensless, classify_run, tiny, tmp_path):
    shown = load_scenes("glyphs", "test", 0, 4)
    other = dataclasses.replace(shown, classes=tuple(f"sign {name}" for name in shown.classes))
    path = collected.record(tmp_path / "a.h5", open_rig(tiny, rays=1024), other, range(4), {"test": [0, 4]}, 1)
    result = lensless("classify", classify_run, path, "--json", "-")
    said(result, 0, "classes that the checkpoint does not know (sign 0", "neither right nor wrong")
    assert "accuracy" not in json.loads(result.stdout)


# --- refusals ---


def test_one_class_is_no_task_for_a_classifier(lensless, tmp_path):
    (tmp_path / "pictures" / "cat").mkdir(parents=True)
    for at in range(60):
        Image.fromarray(np.full((16, 16), 4 * at, np.uint8)).save(tmp_path / "pictures" / "cat" / f"{at}.png")
    options = ["--scenes", f"folder:{tmp_path / 'pictures'}", "--batch-size", 8, "--out", tmp_path / "run"]
    said(lensless("train", "classify", *options), 2, "all of one class, 'cat'", "needs two")
    assert not (tmp_path / "run").exists()


def with_labels(labels: torch.Tensor, **changes):
    return dataclasses.replace(tiny.scenes(len(labels)), labels=labels, **changes)


def test_labels_that_do_not_fit_are_refused_before_the_training():
    good = tiny.scenes(40)
    check_scenes("classify", good, good, RECIPE)
    unknown = with_labels(torch.tensor([0, 1, -1, 2]))
    with pytest.raises(ConfigurationError, match="1 of 4 pictures have no label; put each into the folder"):
        check_scenes("classify", good, unknown, RECIPE)
    check_scenes("reconstruct", good, unknown, RECIPE)
    with pytest.raises(ConfigurationError, match="labels up to 7 and 4 classes, the training scenes 4"):
        check_scenes("classify", with_labels(torch.arange(8).repeat(5)), good, RECIPE)
    fewer = with_labels(torch.tensor([0, 1]), classes=("a", "b"))
    with pytest.raises(ConfigurationError, match="2 classes, the training scenes 4; validate on"):
        check_scenes("classify", good, fewer, RECIPE)
    with pytest.raises(ConfigurationError, match="15 training scenes are less than one batch of 16"):
        check_scenes("classify", tiny.scenes(15), good, RECIPE)
    with pytest.raises(ConfigurationError, match="--batch-size 1: a classifier normalises over its batch"):
        check_scenes("classify-reconstruction", good, good, dataclasses.replace(RECIPE, batch_size=1))
    check_scenes("reconstruct", good, good, dataclasses.replace(RECIPE, batch_size=1))


def test_class_lists_that_differ_are_told_apart_where_they_differ():
    task = tiny.classify()
    swapped = with_labels(torch.arange(4), classes=(*tiny.CLASSES[:2], tiny.CLASSES[3], tiny.CLASSES[2]))
    words = re.escape(
        "trained on 4 classes (... bottom left, bottom right), and scenes 'blobs-0' have 4 (... bottom right, b"
    )
    with pytest.raises(ConfigurationError, match=words):
        check_classes(task, swapped, "here")
    with pytest.raises(ConfigurationError, match=r"left, .*\), and scenes .* have 2; name scenes of the same classes"):
        check_classes(task, with_labels(torch.tensor([0, 1]), classes=tiny.CLASSES[:2]), "here")


def test_labels_of_a_pairs_file_that_are_out_of_range_are_refused(lensless, tiny, tmp_path):
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["frames"] = np.zeros((20, 24, 24), np.float32)
        file["pictures"] = np.zeros((20, 16, 16), np.uint8)
        file["labels"] = np.full(20, -3)
    scenes = ["--scenes", f"pairs:{tmp_path / 'mine.h5'}", "--rig", tiny, "--rays", 1024, "--out", tmp_path / "run"]
    said(lensless("train", "classify", *scenes), 5, "labels 'labels' run from -3 to -3", "-1 where unknown")


def test_recorded_scenes_cannot_be_moved(lensless, classify_run, recording):
    result = lensless("evaluate", classify_run, "--scenes", f"recorded:{recording}", "--robustness")
    said(result, 2, "--robustness moves scenes before they are simulated", "was recorded", "shown:PATH")


def test_too_few_scenes_for_the_sharp_baseline_are_said_with_the_option_that_helps(lensless, classify_run, tmp_path):
    shown = load_scenes("glyphs", "train", 0, 47 * 3)
    for at, (picture, label) in enumerate(zip(shown.pictures[:, 0], shown.labels.tolist(), strict=True)):
        folder = tmp_path / f"{label:02}"
        folder.mkdir(exist_ok=True)
        Image.fromarray(picture.numpy()).save(folder / f"{at}.png")
    run = shutil.copytree(classify_run, tmp_path.parent / f"{tmp_path.name}-run")
    tensors, card = tensor_file.read(run / checkpoint.WEIGHTS)
    card["task"]["classes"] = [f"{label:02}" for label in range(47)]
    tensor_file.write(run / checkpoint.WEIGHTS, {name: one.clone() for name, one in tensors.items()}, card)
    result = lensless("evaluate", run, "--scenes", f"folder:{tmp_path}")
    said(result, 2, "less than one batch of 250", "--no-sharp")


def test_a_split_without_scenes_is_refused(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        for kind, shape in (("images-idx3", (8, 28, 28)), ("labels-idx1", (8,))):
            head = bytes((0, 0, 8, len(shape))) + b"".join(side.to_bytes(4, "big") for side in shape)
            (raw / f"{part}-{kind}-ubyte").write_bytes(head + bytes(int(np.prod(shape))))
    with pytest.raises(InputError, match="hold none for 'val'"):  # a twelfth of 8
        load_scenes("mnist", "val", data_root=tmp_path)
