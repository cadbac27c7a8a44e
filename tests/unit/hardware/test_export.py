"""Exported frames are read back bit by bit by programs that know nothing of us, and their facts stand beside them."""

import dataclasses
import json
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image
from shots import META

from hardware import Frame, Recording
from hardware.errors import ConfigurationError, InputError, StorageError
from hardware.recording import export as export_module
from hardware.recording.export import export

KINDS = {
    "12 bits": ((11, 17), {}),
    "8 bits": ((11, 17), {"bit_depth": 8, "black_level_dn": 0, "pixel_format": "Mono8"}),
    "Bayer": ((12, 16), {"pixel_format": "BayerRG12", "cfa": "RGGB"}),
    "colour": ((11, 17, 3), {"bit_depth": 8, "black_level_dn": 0, "pixel_format": "RGB8", "raw": False}),
    "two channels": ((11, 17, 2), {"bit_depth": 16}),
}


def record(path, kind: str = "12 bits", frames: int = 7):
    shape, facts = KINDS[kind]
    meta = dataclasses.replace(META, **facts)
    dtype = np.uint8 if meta.bit_depth <= 8 else np.uint16
    made = [
        Frame(
            np.random.default_rng(at).integers(0, meta.full_scale_dn + 1, shape).astype(dtype),
            dataclasses.replace(
                meta, sequence=2 * at, lost_before=1, t_host_ns=at, temperature_c=20.5 if at else None, t_device_ns=None
            ),
        )
        for at in range(frames)
    ]
    with Recording.create(path, made[0], {"seed": 4}, **({} if path.suffix else {"rotate_frames": 3})) as writer:
        writer.append_all(made, [-1, *range(1, frames)])
    return made


def read(path) -> np.ndarray:
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r", allow_pickle=False)
    with tifffile.TiffFile(path) as file:
        return np.stack([page.asarray() for page in file.pages])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", export_module.SUFFIXES)
@pytest.mark.parametrize("frames", [slice(None), slice(1, 6, 2), slice(-1, None)], ids=str)
def test_every_bit_and_every_fact_comes_back(tmp_path, kind, suffix, frames):
    made, out, told = record(tmp_path / "a", kind), tmp_path / f"b{suffix}", []
    with Recording.open(tmp_path / "a") as recording:
        assert export(recording, out, frames, lambda done, total: told.append((done, total))) == len(made[frames])
    expected = np.stack([frame.pixels for frame in made[frames]])
    found = read(out)
    assert found.dtype == expected.dtype and (found == expected).all()
    facts = json.loads((tmp_path / f"b{suffix}.json").read_text())
    assert facts["provenance"] == {"seed": 4} and tuple(facts["shape"]) == made[0].shape
    assert facts["camera"] == json.loads(json.dumps(dataclasses.asdict(recording.facts)))
    for line, frame in zip(facts["frames"], made[frames], strict=True):
        index, label, scene_id = (line.pop(name) for name in ("index", "label", "scene_id"))
        assert made[index] is frame and label == (index or None) and scene_id is None
        assert line == {name: getattr(frame.meta, name) for name in export_module.FRAME_FACTS}
    assert told == [(done, len(expected)) for done in range(1, len(expected) + 1)]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["a", out.name, f"{out.name}.json"])


def test_red_is_red_in_a_tiff_and_an_array_is_as_recorded(tmp_path):
    red = np.zeros((6, 8, 3), np.uint8)
    red[..., 2] = 255  # of blue, green, red
    facts = {"bit_depth": 8, "black_level_dn": 0, "pixel_format": "BGR8", "raw": False}
    frame = Frame(red, dataclasses.replace(META, **facts))
    with Recording.create(tmp_path / "a.h5", frame) as writer:
        writer.append(frame)
    with Recording.open(tmp_path / "a.h5") as recording:
        for name in ("b.tif", "b.npy"):
            export(recording, tmp_path / name)
    with Image.open(tmp_path / "b.tif") as picture:
        assert picture.mode == "RGB" and (np.asarray(picture) == [255, 0, 0]).all()
    assert (read(tmp_path / "b.tif") == [255, 0, 0]).all()
    told = json.loads((tmp_path / "b.tif.json").read_text())["camera"]
    assert (told["pixel_format"], told["recorded_pixel_format"]) == ("RGB8", "BGR8")
    assert (read(tmp_path / "b.npy") == red).all()
    assert json.loads((tmp_path / "b.npy.json").read_text())["camera"]["pixel_format"] == "BGR8"


def test_a_long_recording_becomes_a_big_tiff(tmp_path, monkeypatch):
    made = record(tmp_path / "a.h5")
    monkeypatch.setattr(export_module, "CLASSIC_TIFF_BYTES", 1000)
    with Recording.open(tmp_path / "a.h5") as recording:
        export(recording, tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert file.is_bigtiff
    assert (read(tmp_path / "b.tif") == np.stack([frame.pixels for frame in made])).all()


def test_what_cannot_be_exported_is_refused(tmp_path):
    record(tmp_path / "a.h5")
    with Recording.open(tmp_path / "a.h5") as recording:
        for out, frames, says in (
            ("b.png", slice(None), "ends in .tif"),
            ("b", slice(None), "ends in .tif"),
            ("b.npy", slice(7, None), "no frame"),
            ("b.npy", slice(None, None, -1), "step of 1 or more"),
        ):
            with pytest.raises(ConfigurationError, match=says):
                export(recording, tmp_path / out, frames)
        with pytest.raises(StorageError, match="its folder does not exist"):
            export(recording, tmp_path / "nowhere" / "b.npy")
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.parametrize("taken", ["b.npy", "b.npy.json"])
def test_nothing_is_overwritten(tmp_path, taken):
    record(tmp_path / "a.h5")
    (tmp_path / taken).write_text("mine")
    with Recording.open(tmp_path / "a.h5") as recording, pytest.raises(StorageError, match="exists"):
        export(recording, tmp_path / "b.npy")
    assert (tmp_path / taken).read_text() == "mine" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_a_damaged_frame_leaves_nothing(tmp_path, suffix):
    made = record(tmp_path / "a.h5")
    whole = bytearray((tmp_path / "a.h5").read_bytes())
    whole[whole.index(made[5].pixels.tobytes())] ^= 1
    (tmp_path / "a.h5").write_bytes(whole)
    with Recording.open(tmp_path / "a.h5") as recording, pytest.raises(InputError):
        export(recording, tmp_path / f"b{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


FULL_DISK = """
import sys
from hardware import Recording
from hardware.errors import StorageError
from hardware.recording.export import export
with Recording.open(sys.argv[1]) as recording:
    try:
        export(recording, sys.argv[2])
    except StorageError as error:
        print(error)
        sys.exit(error.exit_code)
"""


def limited() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))


@pytest.mark.parametrize("suffix", [".npy", ".tif"])
def test_a_full_disk_leaves_nothing(tmp_path, suffix):
    record(tmp_path / "a.h5", frames=40)
    command = [sys.executable, "-c", FULL_DISK, tmp_path / "a.h5", tmp_path / f"b{suffix}"]
    done = subprocess.run(command, preexec_fn=limited, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (4, "")
    assert "File too large" in done.stdout and "nothing is left of it" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]
