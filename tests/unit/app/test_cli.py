"""The commands as a user runs them, and what they say when something is wrong."""

import dataclasses
import io
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from calibration import Calibration
from hardware import Frame, Recording
from hardware.errors import ConfigurationError
from lensless.app import sources
from lensless.app.evaluate_job import check_alike
from lensless.app.rig import open_rig
from lensless.app.rig_file import shipped_rigs
from lensless.app.screen import Screen
from lensless.data.scenes import load_scenes

COMMANDS = [
    ["demo"], ["simulate"], ["train"], ["evaluate"], ["reconstruct"],
    ["classify"], ["inspect"], ["check"], ["doctor"],
]  # fmt: skip


def npy_that_claims(*shape: int) -> bytes:
    """The header of an array file, and nothing after it."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<u2", "fortran_order": False, "shape": shape})
    return file.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """The header of a 16-bit picture, and hardly a pixel."""
    parts = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0), b"IDAT" + zlib.compress(b""))
    chunks = (struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def said(result, code: int, *parts: str) -> str:
    """The one message of a command that refused: exit code, no traceback, and what it must mention."""
    assert result.exit_code == code, result.output
    message = result.stderr
    assert "Traceback" not in result.output
    for part in parts:
        assert part in message, message
    return message


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(lensless, command):
    result = lensless(*command, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_from_frames_to_pictures(lensless, reconstruct_run, recording, tmp_path):
    out = tmp_path / "pictures"
    result = lensless("reconstruct", reconstruct_run, recording, "--out", out, "--json", tmp_path / "result.json")
    assert result.exit_code == 0, result.output
    facts = json.loads((tmp_path / "result.json").read_text())
    assert len(facts["pictures"]) == 12
    with Image.open(out / "000003.png") as file:
        picture = np.asarray(file, np.float32) / 255
    with Recording.open(recording) as frames:
        scene = frames.scene(3).astype(np.float32) / 255
    mse = float(((picture - scene) ** 2).mean())
    assert facts["pictures"][3]["psnr_db"] == pytest.approx(-10 * np.log10(mse), abs=0.05)
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.width > 500
    said(lensless("reconstruct", reconstruct_run, recording, "--out", out), 4, "nothing is overwritten")


def test_from_frames_to_labels(lensless, classify_run, recording):
    result = lensless("classify", classify_run, recording, "--json", "-")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert len(facts["labels"]) == 12
    assert all(0 < one["probability"] <= 1 and one["truth"] for one in facts["labels"])
    right = sum(one["label"] == one["truth"] for one in facts["labels"])
    assert facts["accuracy"] == right / 12


def test_a_live_camera_by_its_address(lensless, classify_run, reconstruct_run, tiny, tmp_path):
    address = f"simulated:{tiny}?count=47&rays=1024"
    result = lensless("classify", classify_run, address, "--count", 3, "--json", "-")
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.stdout)["labels"]) == 3
    result = lensless("reconstruct", reconstruct_run, address, "--out", tmp_path / "live")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "live" / "000000.png").exists()


def test_a_raw_frame_in_a_file_gives_what_the_recording_gives(lensless, classify_run, recording, tmp_path):
    with Recording.open(recording) as frames:
        pixels = frames[5].pixels
    np.save(tmp_path / "raw.npy", pixels)
    Image.fromarray(pixels).save(tmp_path / "raw.png")
    from_recording = json.loads(lensless("classify", classify_run, recording, "--json", "-").stdout)["labels"][5]
    for name in ("raw.npy", "raw.png"):
        result = lensless("classify", classify_run, tmp_path / name, "--json", "-")
        assert result.exit_code == 0, result.output
        one = json.loads(result.stdout)["labels"][0]
        assert (one["label"], one["probability"]) == (from_recording["label"], from_recording["probability"])
    assert "truth" not in lensless("classify", classify_run, tmp_path / "raw.npy").stdout  # nobody knows it


def test_evaluate_writes_a_page_and_stands_beside_baselines(lensless, classify_run, reconstruct_run, tmp_path):
    runs = [shutil.copytree(run, tmp_path / run.name) for run in (reconstruct_run, classify_run)]
    result = lensless("evaluate", runs[0], "--json", tmp_path / "pictures.json")
    assert result.exit_code == 0, result.output
    lines = {
        line["name"]: line for line in json.loads((tmp_path / "pictures.json").read_text())["evaluations"][0]["lines"]
    }
    assert set(lines) == {"network", "Wiener", "Tikhonov"}
    assert lines["Wiener"]["psnr_db"] > lines["Tikhonov"]["psnr_db"]
    result = lensless("evaluate", runs[1], "--json", tmp_path / "labels.json")
    assert result.exit_code == 0, result.output
    facts = json.loads((tmp_path / "labels.json").read_text())["evaluations"][0]
    lines = {line["name"]: line for line in facts["lines"]}
    assert set(lines) == {
        "without reconstruction", "same network on the sharp picture", "linear rule", "total light only", "chance",
        "what the numbers would show",
    }  # fmt: skip
    assert "600 training scenes" in lines["linear rule"]["note"]  # no more than the network was trained on
    assert np.sum(facts["confusion"]) == facts["count"]
    trace = np.trace(facts["confusion"]) / facts["count"]
    assert trace == pytest.approx(lines["without reconstruction"]["accuracy"])
    first = (runs[1] / "report.html").read_bytes()
    assert lensless("evaluate", runs[1]).exit_code == 0
    assert (runs[1] / "report.html").read_bytes() == first  # same seed, same report, to the last digit


def test_a_card_tells_of_every_epoch_also_of_those_after_the_best(reconstruct_run, classify_run):
    for run, epochs in ((reconstruct_run, 2), (classify_run, 3)):
        history = json.loads((run / "card.json").read_text())["history"]
        assert [record["epoch"] for record in history] == list(range(epochs))


def test_evaluating_several_seeds_gives_mean_and_range(lensless, train, classify_run, tmp_path):
    other = train(tmp_path / "other", "classify", "--epochs", 3, "--seed", 1)
    result = lensless("evaluate", classify_run, other, "--no-sharp", "--no-page", "--json", tmp_path / "both.json")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "both.json").read_text())
    each = [one["figure"] for one in found["evaluations"]]
    summary = found["summary"]["without reconstruction"]["accuracy"]
    assert summary == {"mean": pytest.approx(sum(each) / 2), "lowest": min(each), "highest": max(each)}
    assert "(lowest .. highest) of 2" in result.output
    twice = lensless("evaluate", classify_run, classify_run, "--no-sharp", "--no-page")
    assert twice.exit_code == 2 and "are of the same seed" in twice.stderr


def test_classify_after_reconstruction(lensless, reconstruct_run, recording, tiny, tmp_path):
    out = tmp_path / "after"
    after = ["train", "classify", "--after", reconstruct_run, "--scenes", "glyphs", "--count", 300, "--epochs", 1]
    result = lensless(*after, "--out", out)  # the rig is the reconstruction's
    assert result.exit_code == 0, result.output
    assert lensless("classify", out, recording).exit_code == 0
    said(lensless(*after, "--rig", "cannula-v1", "--out", tmp_path / "other"), 6, "tiny-v1", "cannula-v1")
    said(lensless(*after, "--frames", 3, "--out", tmp_path / "other"), 2, "--frames", "leave them out")
    assert not (tmp_path / "other").exists()


def test_doctor_finds_this_machine_well(lensless):
    result = lensless("doctor", "--json", "-")
    assert result.exit_code == 0, result.output
    states = {one["what"]: one["state"] for one in json.loads(result.stdout)["findings"]}
    assert states["recordings"] == states["rig files"] == states["libraries"] == "ok"


# --- refusals ---


def test_a_checkpoint_of_another_rig_is_refused(lensless, classify_run, tmp_path):
    said(lensless("classify", classify_run, tmp_path / "x.h5", "--rig", "cannula-v1"), 6, "tiny-v1", "cannula-v1")
    said(lensless("evaluate", classify_run, "--rig", "cannula-v1"), 6, "tiny-v1")


def test_frames_of_another_rig_are_refused(lensless, classify_run, tiny, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(tiny.read_text().replace("tiny-v1", "other-v1").replace("12.5", "11.5"))
    frames = tmp_path / "other.h5"
    assert lensless("simulate", "--rig", other, "--rays", 256, "--count", 2, "--out", frames).exit_code == 0
    said(lensless("classify", classify_run, frames), 6, "other-v1", "tiny-v1")
    said(lensless("classify", classify_run, f"replay:{frames}"), 6, "other-v1", "tiny-v1")
    said(lensless("classify", classify_run, f"simulated:{other}?rays=256"), 6, "other-v1", "tiny-v1")


def test_one_recording_of_another_rig_in_a_folder_is_refused(lensless, classify_run, recording, tiny, tmp_path):
    shutil.copy(recording, tmp_path / "a.h5")
    other = tmp_path / "other.toml"
    other.write_text(tiny.read_text().replace("tiny-v1", "other-v1"))
    record = ["--rig", other, "--rays", 256, "--count", 2, "--out", tmp_path / "b.h5"]
    assert lensless("simulate", *record).exit_code == 0
    said(lensless("classify", classify_run, tmp_path), 6, "other-v1")


def test_a_rig_with_the_same_id_and_other_facts_is_refused(lensless, classify_run, tiny, tmp_path):
    other = tmp_path / "tiny-v1.toml"
    other.write_text(tiny.read_text().replace("12.5", "11.5"))
    said(lensless("classify", classify_run, tmp_path / "x.h5", "--rig", other), 6, "fingerprint")


@pytest.mark.parametrize(
    "name, content, code, parts",
    [
        ("frame.png", b"no picture", 5, ["frame.png", "cannot be read"]),
        ("frame.npy", b"\x93NUMPY\x01\x00v\x00", 5, ["frame.npy"]),
        ("frame.npy", b"PK\x03\x04 an archive, or not", 5, ["frame.npy", "cannot be read"]),
        ("frame.npy", npy_that_claims(2**20, 2**30), 5, ["frame.npy", "cannot be read"]),
        ("frame.png", png_that_claims(20_000, 20_000), 5, ["frame.png", "cannot be read"]),
        ("frame.png", png_that_claims(12_000, 12_000), 5, ["frame.png", "at most 64,000,000"]),
        ("frame.h5", b"no recording", 5, ["frame.h5"]),
        ("frame.txt", b"text", 5, ["frame.txt", ".npy"]),
    ],
)
def test_files_that_are_no_frames(lensless, classify_run, tmp_path, name, content, code, parts):
    (tmp_path / name).write_bytes(content)
    said(lensless("classify", classify_run, tmp_path / name), code, *parts)


@pytest.mark.parametrize(
    "pixels, parts",
    [
        (np.full((24, 24), np.nan, np.float32), ["float32", "unsigned"]),
        (np.zeros((24, 24, 3), np.uint8), ["(24, 24, 3)", "colour"]),
        (np.full((24, 24), 5000, np.uint16), ["5000", "4095"]),
        (np.full((24, 24), -1, np.int16), ["outside"]),
        (np.zeros((24, 24), np.uint16), ["0 in every pixel"]),
    ],
)
def test_arrays_that_are_no_frames(lensless, classify_run, tmp_path, pixels, parts):
    np.save(tmp_path / "frame.npy", pixels)
    said(lensless("classify", classify_run, tmp_path / "frame.npy"), 5, *parts)


def test_a_frame_of_fewer_bits_is_of_another_camera(lensless, classify_run, tmp_path):
    Image.fromarray(np.full((24, 24), 100, np.uint8)).save(tmp_path / "frame.png")
    said(lensless("classify", classify_run, tmp_path / "frame.png"), 6, "8-bit", "12 bits", "SIM-TINY")
    Image.fromarray(np.full((9, 7), 100, np.uint8)).save(tmp_path / "small.png")
    said(lensless("classify", classify_run, tmp_path / "small.png"), 6, "8-bit", "(9, 7)", "12 bits", "(24, 24)")


def test_the_address_of_a_simulated_camera_is_completed_from_the_checkpoint():
    completed = sources.completed
    assert completed("simulated:tiny", 5, None) == "simulated:tiny?frames=5"
    assert completed("simulated:tiny?seed=1", 5, 64) == "simulated:tiny?seed=1&frames=5&rays=64"
    assert completed("simulated:tiny?rays=32&frames=10", 5, 64) == "simulated:tiny?rays=32&frames=10"
    assert completed("replay:frames", 5, 64) == "replay:frames"


def test_a_frame_of_another_shape_or_with_too_much_light_does_not_fit(lensless, classify_run, tmp_path):
    np.save(tmp_path / "frame.npy", np.full((20, 24), 100, np.uint16))
    said(lensless("classify", classify_run, tmp_path / "frame.npy"), 6, "(20, 24)", "(24, 24)")
    np.save(tmp_path / "bright.npy", np.full((24, 24), 4095, np.uint16))
    said(lensless("classify", classify_run, tmp_path / "bright.npy"), 6, "clipped", "shorten the exposure")


def test_what_does_not_exist(lensless, classify_run, tmp_path):
    said(lensless("classify", classify_run, tmp_path / "missing"), 5, "does not exist")
    said(lensless("classify", tmp_path / "missing", "x.h5"), 5, "does not exist", "lensless train")
    said(lensless("classify", classify_run, "canon:0"), 2, "canon", "known")
    said(lensless("classify", classify_run, "opencv:9876"), 3, "9876", "plugged in")
    said(lensless("inspect", "canula-v1"), 2, "canula-v1", "did you mean 'cannula-v1'?")
    said(lensless("inspect", "cannula-v1", "--device", "tpu"), 2, "tpu")
    said(lensless("train", "classify", "--scenes", "mnist", "--data", tmp_path), 5, "MNIST", "OPTICS_FREE_DATA")


def test_an_unknown_key_in_a_rig_file_names_the_nearest(lensless, tiny, tmp_path):
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(tiny.read_text().replace("length_mm", "lenght_mm"))
    said(lensless("inspect", wrong), 2, "lenght_mm", "length_mm", "wrong.toml")


@pytest.mark.parametrize(
    "before, after, parts",
    [
        ("magnification = 4.0", "magnification = 1e9", ["tiny-v1", "GiB", "pitch_um"]),
        (
            "gain_electrons_per_dn = 7.5",
            "gain_electrons_per_dn = 7.5\n[alignment]\nsensor_shift_x_um = 1e5",
            ["tiny-v1", "no light", "alignment"],
        ),
        ("white_electrons = 20000.0", "white_electrons = 1e30", ["white_electrons"]),
    ],
)
def test_a_rig_that_cannot_be(lensless, tiny, tmp_path, before, after, parts):
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(tiny.read_text().replace(before, after))
    said(lensless("inspect", wrong, "--rays", 1024), 2, *parts)


@pytest.mark.slow
def test_a_geometry_that_cannot_be_is_told_in_the_words_of_the_rig_file(lensless, tiny, tmp_path):
    """At once, before anything is said to have been computed."""
    bare, walls = (shipped_rigs()[name].read_text() for name in ("bare-v1", "bare-v1-complete"))
    cannula = tiny.read_text() + "[alignment]\n"
    for text, before, after, parts in (
        (cannula, "length_mm = 12.5", "length_mm = 400.0", ["cannula.length_mm = 400.0", "cannula.near_field = true"]),
        (cannula, "[alignment]", "[alignment]\ntilt_x_deg = 10", ["19 degrees off", "12.71 degrees"]),
        (cannula, "full_well_electrons = 30000.0", "full_well_electrons = 100.0", ["sensor.full_well_electrons = 100"]),
        (bare, "height_mm = 0.7 ", "height_mm = 300 ", ["cover_glass.height_mm = 300.0 mm", "below 250 mm"]),
        (bare, "width_mm = 50.0", "width_mm = 5000.0", ["scene.width_mm = 5000 mm", "85.96 degrees", "at most 4038"]),
        (walls, "wall_height_mm = 0.7", "wall_height_mm = 100", ["cover_glass.wall_height_mm = 100", "a width of at"]),
    ):
        assert before in text
        (tmp_path / "wrong.toml").write_text(text.replace(before, after))
        result = lensless("simulate", "--rig", tmp_path / "wrong.toml", "--out", tmp_path / "frames.h5")
        said(result, 2, "rig '", *parts)
        assert result.stdout == ""


def test_what_is_no_rig_file(lensless, recording, tmp_path):
    for place in (tmp_path, recording):
        message = said(lensless("inspect", place), 2, str(place), "expected a rig file (TOML)")
        assert "Errno" not in message and "codec" not in message


def test_arguments_that_changed_places(lensless, classify_run, recording):
    said(lensless("classify", recording, classify_run), 2, f"{recording} is a recording", "CHECKPOINT SOURCE")


def test_the_wrong_kind_of_checkpoint(lensless, classify_run, reconstruct_run, recording, tmp_path):
    said(lensless("reconstruct", classify_run, recording, "--out", tmp_path / "out"), 2, "lensless classify")
    said(lensless("classify", reconstruct_run, recording), 2, "lensless reconstruct")
    said(lensless("train", "classify", "--after", classify_run, "--out", tmp_path / "run"), 2, "train reconstruct")
    assert not (tmp_path / "out").exists()


def test_a_recording_is_not_overwritten(lensless, recording, tiny):
    before = recording.read_bytes()
    said(lensless("simulate", "--rig", tiny, "--rays", 1024, "--count", 2, "--out", recording), 4, "exists")
    assert recording.read_bytes() == before


def test_a_calibration_is_not_overwritten_and_leaves_no_half_recording(lensless, tiny, tmp_path):
    (tmp_path / "frames.calibration.npz").write_text("mine")
    out = tmp_path / "frames.h5"
    said(lensless("simulate", "--rig", tiny, "--rays", 1024, "--count", 2, "--out", out), 4, "calibration.npz", "--out")
    assert not out.exists() and (tmp_path / "frames.calibration.npz").read_text() == "mine"


def test_json_to_a_folder_is_refused_before_the_work(lensless, tiny, tmp_path):
    out = tmp_path / "frames.h5"
    said(lensless("simulate", "--rig", tiny, "--out", out, "--json", tmp_path), 4, "is a folder", "--json")
    assert not out.exists()


@pytest.mark.skipif(not pathlib.Path("/proc/self").is_dir(), reason="no place that takes no file from anybody")
def test_a_place_that_takes_no_file_is_refused_before_the_work(lensless, tiny):
    for command, option, place in (
        ("simulate", "--out", "/proc/x.h5"), ("inspect", "--page", "/proc/x.html"), ("doctor", "--json", "/proc/x"),
    ):  # fmt: skip
        rig = {"simulate": ["--rig", tiny], "inspect": [tiny], "doctor": []}[command]
        result = lensless(command, *rig, option, place)
        said(result, 4, f"cannot write {place}", option)
        assert result.stdout == ""


def test_a_picture_with_a_palette_is_no_frame(lensless, classify_run, tmp_path):
    Image.fromarray(np.full((24, 24), 100, np.uint8)).convert("P").save(tmp_path / "frame.png")
    said(lensless("classify", classify_run, tmp_path / "frame.png"), 5, "palette")


def test_checkpoints_of_different_tasks_are_refused_before_the_work(lensless, classify_run, reconstruct_run):
    message = said(lensless("evaluate", classify_run, reconstruct_run), 2, "differ in task", "one by one")
    assert message.count("\n") == 1


def test_only_checkpoints_that_differ_in_their_seed_are_averaged(train, classify_run, tmp_path):
    for name, options in {"seed": ["--seed", 1], "wide": ["--hidden", "30"], "frames": ["--frames", 2]}.items():
        train(tmp_path / name, "classify", "--epochs", 3, *options)
    check_alike([classify_run, tmp_path / "seed"])
    for name, what in (("wide", "network"), ("frames", "frames")):
        with pytest.raises(ConfigurationError, match=f"differ in {what}"):
            check_alike([classify_run, tmp_path / "seed", tmp_path / name])


def test_scenes_of_other_classes_are_refused(lensless, classify_run, tmp_path):
    for name in ("dog", "cat"):
        (tmp_path / name).mkdir()
        for at in range(40):
            Image.fromarray(np.full((16, 16), 5 * at + len(name), np.uint8)).save(tmp_path / name / f"{at}-{name}.png")
    said(lensless("evaluate", classify_run, "--scenes", f"folder:{tmp_path}"), 2, "47 classes", "cat")


def test_the_truth_is_the_name_that_the_recording_gives(lensless, classify_run, recording, monkeypatch):
    real = Recording.provenance.fget
    monkeypatch.setattr(Recording, "provenance", property(lambda self: {**real(self), "classes": ["zero", "one"]}))
    labels = json.loads(lensless("classify", classify_run, recording, "--json", "-").stdout)["labels"]
    assert [one.get("truth") for one in labels[:2]] == ["zero", "one"]


def test_a_simulated_camera_shows_a_scene_for_a_whole_measurement(classify_run, tiny):
    calibration = Calibration.load(classify_run / "calibration.npz")
    address = f"simulated:{tiny}?rays=1024&count=2"
    one, other = sources.measurements(address, calibration, 50, 2)
    single = list(sources.measurements(address, calibration, 1, 2))
    for mean, frame in zip((one, other), single, strict=True):  # 50 frames of one scene differ by noise only
        assert (mean.y - frame.y).std() < 0.5 * (one.y - other.y).std()
    with pytest.raises(ConfigurationError, match="frames = 3"):
        next(sources.measurements(f"{address}&frames=3", calibration, 50))


def test_names_are_shown_as_they_are(capsys):
    screen = Screen()
    screen.table("[red]title", ["", "[/b]"], [[":key:", "[/b]"]])
    screen.say("/a/very/long/path" * 10 + "[/b]")
    shown = capsys.readouterr().out
    assert "[red]title" in shown and ":key:" in shown and "/a/very/long/path" * 10 + "[/b]\n" in shown


def test_a_full_disk_is_said_before_anything_is_lost(lensless, tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    options = ["--rig", tiny, "--rays", 1024, "--count", 300, "--epochs", 1, "--out", tmp_path / "run"]
    said(lensless("train", "classify", *options), 4, "free")
    said(lensless("simulate", "--rig", tiny, "--rays", 1024, "--out", tmp_path / "frames.h5"), 4, "needed", "--count")
    assert not (tmp_path / "frames.h5").exists()


def test_frames_that_make_no_whole_measurement(tiny, recording, lensless, tmp_path):
    options = ["--rig", tiny, "--rays", 1024, "--frames", 5, "--count", 600, "--epochs", 1, "--out", tmp_path / "run"]
    assert lensless("train", "classify", *options).exit_code == 0
    message = said(lensless("classify", tmp_path / "run", recording), 6, "different scenes", "5 frames")
    assert "record 5 frames of each scene" in message
    five = tmp_path / "five.h5"
    record = ["--rig", tiny, "--rays", 1024, "--count", 2, "--frames", 5, "--out", five]
    assert lensless("simulate", *record).exit_code == 0
    result = lensless("classify", tmp_path / "run", five, "--json", "-")
    assert len(json.loads(result.stdout)["labels"]) == 2


def test_one_scene_that_saturates_does_not_cost_the_others(lensless, classify_run, recording, tmp_path):
    with Recording.open(recording) as frames:
        good, bright = frames[0], Frame(np.full((24, 24), 4095, np.uint16), frames[1].meta)
        with Recording.create(tmp_path / "mixed.h5", good, frames.provenance) as writer:
            for frame in (good, bright, frames[2]):
                writer.append(frame)
    result = lensless("classify", classify_run, tmp_path / "mixed.h5", "--json", "-")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert [one["from"] for one in facts["labels"]] == ["mixed.h5#0", "mixed.h5#2"]
    assert [one["name"] for one in facts["refused"]] == ["mixed.h5#1"]
    assert "shorten the exposure" in result.stderr


def test_the_size_of_a_classifier_is_a_choice(lensless, tiny, tmp_path):
    options = ["--rig", tiny, "--rays", 1024, "--count", 600, "--epochs", 1, "--out", tmp_path / "run"]
    said(lensless("train", "classify", "--hidden", "8,x", *options), 2, "8,x", "160,160")
    said(lensless("train", "reconstruct", "--hidden", "8", *options), 2, "--hidden")
    result = lensless("train", "classify", "--hidden", "8,6", *options, "--json", "-")
    assert result.exit_code == 0, result.output
    n, classes = 128, 47
    blocks = sum(2 * n + (n + 1) * inner + 2 * inner + (inner + 1) * n for inner in (8, 6))
    expected = (n + 1) * n + blocks + 2 * n + (n + 1) * classes
    assert json.loads(result.stdout)["numbers"]["trainable"] == expected


def test_averaging_is_the_mean_of_calibrated_frames(lensless, classify_run, tiny, tmp_path):
    from calibration import Calibration

    path = tmp_path / "three.h5"
    assert (
        lensless("simulate", "--rig", tiny, "--rays", 1024, "--count", 1, "--frames", 3, "--out", path).exit_code == 0
    )
    calibration = Calibration.load(classify_run / "calibration.npz")
    seen = next(sources.measurements(str(path), calibration, 3))
    with Recording.open(path) as recording:
        mean = np.mean([calibration.apply(frame).y for frame in recording], axis=0)
    torch.testing.assert_close(seen.y[0, 0], torch.from_numpy(mean.astype(np.float32)))


def test_a_real_process_ends_with_the_code_and_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "optics_free", "inspect", str(tmp_path / "none.toml")], capture_output=True, text=True,
        timeout=100,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == "" and done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")


def test_the_other_distribution_of_this_name_is_refused(tmp_path):
    facts = tmp_path / "lensless-1.0.9.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: lensless\nVersion: 1.0.9\n")
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
    script += "sys.argv = ['lensless', 'doctor']; import optics_free; optics_free.main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert "1.0.9" in done.stderr and "pip uninstall lensless" in done.stderr and "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def real_sensor(tiny, tmp_path_factory):
    """A sensor of which the rig file knows the facts and not the patterns: its calibration, and 40 frames of it."""
    folder = tmp_path_factory.mktemp("real")
    facts = tiny.read_text().replace("SIM-TINY", "REAL-7").replace("prnu = 0.01", "prnu = 0.05")
    (folder / "real.toml").write_text(facts.replace("dsnu_electrons = 2.0", "dsnu_electrons = 40.0"))
    rig = open_rig(folder / "real.toml", rays=1024)
    rig.calibrate().save(folder / "real.npz")
    scenes = load_scenes("glyphs", "test", count=40)
    camera, display = rig.camera_at_display(seed=0)
    with Recording.create(folder / "real.h5", camera.snap(1)[0], scene_shape=rig.spec.scene.shape) as writer:
        for picture, label in zip(scenes.fit(rig.spec.scene.shape)[:, 0].numpy(), scenes.labels.tolist(), strict=True):
            display.show(picture.astype(np.float32) / 255)
            writer.append(camera.snap(1)[0], label, picture)
    return folder


def test_a_real_sensor_is_served_with_its_own_calibration(
    lensless, train, real_sensor, reconstruct_run, recording, tmp_path
):
    run = train(tmp_path / "run", "reconstruct", "--epochs", 2, "--calibration", real_sensor / "real.npz")
    result = lensless("reconstruct", run, real_sensor / "real.h5", "--out", tmp_path / "real", "--json", "-")
    assert result.exit_code == 0, result.output
    its_own = json.loads(result.stdout)["mean_psnr_db"]
    result = lensless("reconstruct", reconstruct_run, recording, "--out", tmp_path / "simulated", "--json", "-")
    assert its_own > json.loads(result.stdout)["mean_psnr_db"] - 1  # a worse sensor, and nearly as good a picture
    frames = real_sensor / "real.h5"
    said(lensless("reconstruct", reconstruct_run, frames, "--out", tmp_path / "no"), 6, "REAL-7", "SIM-TINY")
    said(lensless("reconstruct", run, recording, "--out", tmp_path / "no"), 6, "REAL-7", "SIM-TINY")
    result = lensless("evaluate", run)
    assert result.exit_code == 0, result.output
    assert "real sensor REAL-7" in (run / "report.html").read_text()


def test_a_calibration_that_does_not_fit_the_rig_is_refused(lensless, tiny, real_sensor, classify_run, tmp_path):
    other = tmp_path / "other.toml"
    other.write_text(tiny.read_text().replace("shape = [24, 24]", "shape = [32, 32]"))
    calibrated = ["--calibration", real_sensor / "real.npz"]
    said(
        lensless("train", "classify", "--rig", other, "--rays", 1024, *calibrated), 6, "REAL-7", "(24, 24)", "(32, 32)"
    )
    other.write_text(tiny.read_text().replace("exposure_s = 0.03", "exposure_s = 0.04"))
    said(lensless("train", "classify", "--rig", other, "--rays", 1024, *calibrated), 6, "exposure", "0.04")
    said(lensless("train", "classify", "--rig", tiny, "--calibration", tmp_path / "none.npz"), 5, "none.npz")
    said(lensless("train", "classify", "--after", classify_run, *calibrated), 2, "--calibration")


def test_rays_for_a_rig_without_a_cannula_are_refused(lensless):
    said(lensless("inspect", "bare-v1", "--rays", 1024), 2, "bare-v1", "leave --rays out")


def test_frames_of_another_sensor_are_served_with_its_calibration(lensless, classify_run, recording, tmp_path):
    """One that is calibrated anew, or in place of the first: the network stays, and takes measurements as before."""
    own = Calibration.load(classify_run / "calibration.npz")
    other = dataclasses.replace(own, camera_id="OTHER-2")
    other.save(tmp_path / "other.npz")
    with Recording.open(recording) as found:
        first = found[0]
        frame = Frame(first.pixels, dataclasses.replace(first.meta, camera_id="OTHER-2"))
    with Recording.create(tmp_path / "other.h5", like=frame) as writer:
        writer.append(frame)
    refused = lensless("classify", classify_run, tmp_path / "other.h5")
    assert refused.exit_code == 6 and "camera is 'OTHER-2'" in refused.stderr
    calibrated = ("--calibration", tmp_path / "other.npz", "--json", tmp_path / "labels.json")
    served = lensless("classify", classify_run, tmp_path / "other.h5", *calibrated)
    assert served.exit_code == 0, served.output
    (label,) = json.loads((tmp_path / "labels.json").read_text())["labels"]
    assert lensless("classify", classify_run, recording, "--json", tmp_path / "own.json").exit_code == 0
    expected = json.loads((tmp_path / "own.json").read_text())["labels"][0]
    assert (label["label"], label["probability"]) == (expected["label"], expected["probability"])
    dataclasses.replace(other, bit_depth=10).save(tmp_path / "ten.npz")
    unfit = lensless("classify", classify_run, tmp_path / "other.h5", "--calibration", tmp_path / "ten.npz")
    assert unfit.exit_code == 6 and "bit depth 10" in unfit.stderr
