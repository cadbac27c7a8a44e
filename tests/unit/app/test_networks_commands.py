"""Other networks, and colours, from the command line: trained, evaluated, and used on a recording and a camera."""

import json
import tomllib

import numpy as np
import pytest
from PIL import Image

from hardware import Recording


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve pictures of blobs in two saturated colours, a folder each."""
    folder = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(0)
    for name, colour in (("red", (255, 60, 0)), ("blue", (0, 90, 255))):
        (folder / name).mkdir()
        for at in range(60):
            row, column = draw.integers(0, 9, 2)
            picture = np.zeros((16, 16, 3), np.uint8)
            picture[row : row + 7, column : column + 7] = colour
            Image.fromarray(picture).save(folder / name / f"{at}.png")
    return folder


@pytest.fixture(scope="module")
def colour_rig(tiny, tmp_path_factory):
    path = tmp_path_factory.mktemp("rig") / "tiny-colour.toml"
    text = (
        tiny.read_text()
        .replace('id = "tiny-v1"', 'id = "tiny-colour"')
        .replace("dark_level = 0.1", "dark_level = 0.1\ncolours_nm = [630.0, 530.0, 460.0]")
    )
    path.write_text(text.replace("core_index = 1.46", "core_index = 1.46\nabbe_number = 67.8") + 'mosaic = "RGGB"\n')
    assert tomllib.loads(path.read_text())["sensor"]["mosaic"] == "RGGB"
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    "options, kind, name",
    [
        (("--stages", 3, "--shared", "--width", 8, "--loss", "l1+ssim"), "reconstruct", None),
        (("--network", "learned", "--rank", 6, "--width", 4), "reconstruct-learned", "a learned first layer"),
        (("--network", "cycle", "--width", 2, "--count", 60), "reconstruct-cycle", "a self-consistent network"),
    ],
    ids=["shared", "learned", "cycle"],
)
def test_each_network_is_trained_and_evaluated_beside_wiener(lensless, train, tmp_path, options, kind, name):
    run = tmp_path / "run"
    out = train(run, "reconstruct", "--epochs", 1, *options)
    card = json.loads((out / "card.json").read_text())
    assert card["task"]["kind"] == kind
    result = lensless("evaluate", out, "--json", tmp_path / "facts.json")
    assert result.exit_code == 0, result.output
    (facts,) = json.loads((tmp_path / "facts.json").read_text())["evaluations"]
    lines = {line["name"]: line["psnr_db"] for line in facts["lines"]}
    assert {"network", "Wiener", "Tikhonov"} <= lines.keys()
    page = (out / "report.html").read_text()
    assert name is None or name in page


@pytest.mark.slow
def test_colours_from_a_folder_to_pictures_of_a_recording_and_of_a_camera(lensless, colour_rig, folder, tmp_path):
    run, frames = tmp_path / "run", tmp_path / "frames.h5"
    camera = f"simulated:{colour_rig}?scenes=folder:{folder}"
    common = ("--rig", colour_rig, "--rays", 1024, "--scenes", f"folder:{folder}", "--device", "cpu")
    for words in (
        ("train", "reconstruct", *common, "--epochs", 6, "--batch-size", 20, "--out", run),
        ("simulate", *common, "--split", "train", "--count", 8, "--out", frames),
        ("reconstruct", run, frames, "--out", tmp_path / "pictures", "--json", tmp_path / "facts.json"),
        ("reconstruct", run, camera, "--count", 2, "--out", tmp_path / "live"),
        ("evaluate", run, "--scenes", f"folder:{folder}", "--json", tmp_path / "table.json"),
    ):
        result = lensless(*words)
        assert result.exit_code == 0, (words, result.output)
    with Recording.open(frames) as recording:
        assert recording[0].meta.cfa == "RGGB" and recording[0].meta.pixel_format == "BayerRG12"
        assert recording.scene(0).shape == (48, 16)  # red above green above blue
        names = [recording.provenance["classes"][label] for label in recording.labels]
    assert json.loads((tmp_path / "facts.json").read_text())["mean_psnr_db"] > 8
    for at, name in enumerate(names):
        red, _, blue = np.asarray(Image.open(tmp_path / "pictures" / f"{at:06d}.png"), float).mean((0, 1))
        assert (red > blue) == (name == "red")
    assert np.asarray(Image.open(tmp_path / "live" / "000001.png")).shape == (16, 16, 3)
    (facts,) = json.loads((tmp_path / "table.json").read_text())["evaluations"]
    assert "Wiener, each colour alone" in {line["name"] for line in facts["lines"]}


def test_what_a_network_does_not_take_is_refused(lensless, tiny, tmp_path):
    for words, told in (
        (("reconstruct", "--rank", 3), "--rank goes with `lensless train reconstruct --network learned` only"),
        (("reconstruct", "--network", "cycle", "--loss", "l1"), "--network learned` or `lensless train"),
        (("classify", "--stages", 2), "--stages goes with `lensless train reconstruct --network unrolled` only"),
        (("classify", "--width", 8), "--width goes with `lensless train reconstruct` only; leave it out"),
        (
            ("reconstruct", "--network", "learned", "--rank", 257),
            "rank = 257; expected a whole number from 1 to",
        ),
        (("classify", "--network", "cycle"), "--network goes with `lensless train reconstruct` only"),
        (("reconstruct", "--loss", "l7"), "loss 'l7' is unknown; expected one of log-mse, l1"),
    ):
        result = lensless("train", *words, "--rig", tiny, "--rays", 1024, "--count", 100, "--out", tmp_path / "run")
        assert result.exit_code == 2 and told in " ".join(result.stderr.split()), result.output


def test_colours_before_a_grey_display_and_a_rig_half_in_colours_are_refused(lensless, colour_rig, tmp_path):
    half = tmp_path / "half.toml"
    half.write_text(colour_rig.read_text().replace('mosaic = "RGGB"', ""))
    result = lensless("inspect", half)
    assert result.exit_code == 2 and "scene.colours_nm and sensor.mosaic belong together" in " ".join(
        result.stderr.split()
    )
    for command, told in (
        (("calibrate", colour_rig, "--out", tmp_path / "out"), "a matrix is measured in grey so far"),
        (("inspect", colour_rig), "inspect looks at one of them so far"),
    ):
        refused = lensless(*command)
        assert refused.exit_code == 2 and told in " ".join(refused.stderr.split()), refused.output
