"""Tasks where something has changed: scenes that moved, another light, rigs that drifted."""

import dataclasses
import json

import pytest
import tiny
import torch

from lensless.app import robustness
from lensless.app.evaluate_job import summary
from lensless.app.judge_labels import predict
from lensless.app.setting import TEST_STREAM, prepared
from lensless.data.augment import moved
from lensless.evaluate.confidence import confidence
from lensless.evaluate.evaluation import Evaluation, Examples, Line
from lensless.tasks import Numbers

TEST = tiny.scenes(40, seed=9)
NAMES = [
    "as they are",
    *(f"shift {px} px" for px in (1, 2, 4)), *(f"turn {turn}°" for turn in (5, 10, 20)),
    *(f"light x {light}" for light in (0.5, 0.8, 1.2)), *(f"drift {strength}" for strength in (0.25, 0.5)),
]  # fmt: skip


def test_whole_pixels_and_right_angles_are_exact():
    pictures = torch.randint(0, 256, (3, 2, 9, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros_like(pictures)
    expected[..., 1:, :-2] = pictures[..., :-1, 2:]
    assert torch.equal(moved(pictures, right_px=-2, down_px=1), expected)
    assert torch.equal(moved(pictures, turn_deg=90), pictures.rot90(-1, (2, 3)))  # clockwise
    assert torch.equal(moved(pictures), pictures)


def test_a_dimmer_display_sends_less_light_and_the_calibration_stays():
    setting = tiny.setting()
    dim = dataclasses.replace(setting, light=0.5)
    pictures = TEST.pictures.float() / 255
    before, after = (one.simulator()(pictures, torch.Generator().manual_seed(0)) for one in (setting, dim))
    assert dim.calibration is setting.calibration and dim.sensor.linear_up_to > 1.9 * setting.sensor.linear_up_to
    assert float((after - 0.5 * before).norm() / after.norm()) < 0.02


def test_each_condition_is_the_mean_over_its_ways():
    setting, task = tiny.setting(), tiny.classify().eval()
    found = robustness.conditions(setting, TEST)
    assert [one.name for one in found] == NAMES
    line = robustness.condition_line(task, found[2])
    right = []
    for x, y in ((2, 0), (-2, 0), (0, 2), (0, -2)):
        scenes = dataclasses.replace(TEST, pictures=torch.zeros_like(TEST.pictures))
        source = torch.nn.functional.pad(TEST.pictures, (2, 2, 2, 2))
        scenes.pictures.copy_(source[..., 2 - y : 10 - y, 2 - x : 10 - x])
        inputs, labels = prepared(task, setting, scenes, TEST_STREAM)
        with torch.no_grad():
            right.append(float((predict(task, inputs) == labels).double().mean()))
    assert line.figures["accuracy"] == pytest.approx(sum(right) / 4)
    assert line.note == f"4 ways: {min(right):.2%} .. {max(right):.2%}".replace("%", " %")


def test_those_that_are_sure_are_those_of_the_calibrated_network():
    setting, task = tiny.setting(), tiny.classify().eval()
    inputs, labels = prepared(task, setting, TEST, TEST_STREAM)
    with torch.no_grad():
        logits = task.network(inputs)
    for temperature in torch.logspace(-1, 2, 100).tolist():
        expected = next(one for one in confidence(logits, labels, temperature).answered if one.threshold == 0.9)
        if expected.share < 0.5:
            break
    task.temperature.fill_(temperature)
    figures = robustness.condition_line(task, robustness.conditions(setting, TEST)[0]).figures
    assert 0 < figures["sure"] < 1 and figures["sure"] == pytest.approx(expected.share)
    assert figures["right_if_sure"] == pytest.approx(expected.accuracy)
    task.temperature.fill_(1e6)
    figures = robustness.condition_line(task, robustness.conditions(setting, TEST)[0]).figures
    assert (figures["sure"], figures["right_if_sure"]) == (0, None)


def test_light_that_saturates_the_sensor_is_said(monkeypatch):
    monkeypatch.setattr(robustness, "LIGHTS", (0.5, 3.0))
    notes = {one.name: one.note for one in robustness.conditions(tiny.setting(), TEST) if "light" in one.name}
    assert notes["light x 0.5"] == "" and "of the frames come near saturation" in notes["light x 3"]


def test_a_picture_is_held_against_the_scene_as_it_then_was():
    setting, task = tiny.setting(), tiny.reconstruct().eval()
    found = {one.name: one for one in robustness.conditions(setting, TEST)}
    for name in ("shift 2 px", "light x 0.8"):
        ways = list(found[name].ways)
        line = robustness.condition_line(task, dataclasses.replace(found[name], ways=ways))
        figures, dark = [], setting.rig.spec.scene.dark_level
        with torch.no_grad():
            for source, scenes in ways:
                inputs, pictures = prepared(task, source, scenes, TEST_STREAM)
                radiance = (dark + (1 - dark) * task.network(inputs)) / source.light
                figures.append(task.metric((radiance - dark) / (1 - dark), pictures).mean())
        assert line.figures["psnr_db"] == pytest.approx(float(sum(figures) / len(figures)), abs=0.1)
        assert set(line.figures) == {"psnr_db", "ssim"}


def test_a_summary_passes_over_figures_that_there_are_not():
    def evaluated(accuracy: float, right: float | None) -> Evaluation:
        own, shift = Line("network", {"accuracy": accuracy}), {"accuracy": accuracy / 2, "right_if_sure": right}
        conditions = (Line("shift 1 px", shift), Line("shift 2 px", {"right_if_sure": None}))
        examples, numbers = Examples({}, {}), Numbers(1, 1, 1)
        return Evaluation("classify", "accuracy", "x", 1, [own], numbers, examples, 1, conditions=conditions)

    assert summary([evaluated(0.9, None), evaluated(0.8, 0.5)]) == {
        "network": {"accuracy": {"mean": pytest.approx(0.85), "lowest": 0.8, "highest": 0.9}},
        "shift 1 px": {
            "accuracy": {"mean": pytest.approx(0.425), "lowest": 0.4, "highest": 0.45},
            "right_if_sure": {"mean": 0.5, "lowest": 0.5, "highest": 0.5},
        },
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["classify_run", "reconstruct_run"])
def test_evaluate_shows_every_condition_beside_the_scenes_as_they_are(lensless, kind, request, tmp_path, monkeypatch):
    fewer = {"SHIFTS_PX": (1,), "TURNS_DEG": (20,), "LIGHTS": (0.5,), "STRENGTHS": (0.25,), "COPIES": 1}
    for name, values in fewer.items():
        monkeypatch.setattr(robustness, name, values)
    run = request.getfixturevalue(kind)
    result = lensless("evaluate", run, "--robustness", "--no-sharp", "--json", tmp_path / "e.json")
    assert result.exit_code == 0, result.output
    (one,) = json.loads((tmp_path / "e.json").read_text())["evaluations"]
    names = ["as they are", "shift 1 px", "turn 20°", "light x 0.5", "drift 0.25"]
    assert [line["name"] for line in one["robustness"]] == names
    assert one["robustness"][0][one["metric"]] == one["figure"]
    page = (run / "report.html").read_text()
    for text in ("Where something has changed", "turn 20°", "--robustness"):
        assert text in page
    assert ("(points)" if kind == "classify_run" else "(dB)") in result.output
