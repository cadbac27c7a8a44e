"""Input promises for folders of parts: a bad one gives one clear error, soon, and nothing that it names is opened.

100,000 mutants: LENSLESS_TORTURE=N .venv/bin/pytest -s -m slow tests/torture/test_recording_manifest.py
"""

import collections
import dataclasses
import json
import os
import pathlib
import shutil
import time

import h5py
import numpy as np
import pytest
from recording_child import create, frame, mutate, scene
from recording_tools import AT_NIGHT, start

from hardware import Frame, Recording
from hardware.errors import ConfigurationError, InputError, StorageError
from hardware.recording import manifest
from hardware.recording import writer as writer_module
from hardware.recording.sandbox import Fell, Sandbox
from hardware.recording.vetting import vet

FRAMES = 10


def make(path: pathlib.Path) -> pathlib.Path:
    with create(path, 4, sha256=True) as writer:
        for index in range(FRAMES):
            writer.append(frame(index), index, scene(index))
    return path


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    """A closed recording of 10 frames in parts of 4."""
    return make(tmp_path / "a")


def rewrite(folder: pathlib.Path, change) -> None:
    """The manifest with what `change(values)` makes of it; a text is taken as it is."""
    path = folder / manifest.NAME
    values = json.loads(path.read_text())
    text = change(values)
    path.write_text(text if isinstance(text, str) else json.dumps(values))


def refused(folder: pathlib.Path, says: str) -> None:
    began_s = time.monotonic()
    with pytest.raises(InputError, match=says) as caught, Recording.open(folder) as recording:
        recording.verify()
    assert time.monotonic() - began_s < 5 and len(str(caught.value)) < 1000


def first(**changes):
    return lambda values: values["parts"][0].update(changes)


def put(**changes):
    return lambda values: values.update(changes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (first(name="../part-00000.h5"), "name of part 0"),
        (first(name="/etc/passwd"), "name of part 0"),
        (first(name="part-00001.h5"), "name of part 0"),
        (first(name="\0"), "name of part 0"),
        (first(name=["part-00000.h5"]), "name of part 0"),
        (first(frames=3), "it holds 4 frames.*listed are 3"),
        (first(frames=2**70), "frames of"),
        (first(frames=-1), "frames of"),
        (first(frames=4.0), "frames of"),
        (first(frames=True), "frames of|part-00000"),
        (first(first_sequence=1, frames=3), "it holds 4 frames, sequence 0 to 3"),
        (first(last_sequence=2), "part-00000"),
        (first(last_sequence=100), "part-00001"),
        (first(sha256="0" * 63), "sha256"),
        (first(size=3), "TypeError"),
        (lambda values: values["parts"].pop(), "is not listed"),
        (lambda values: values["parts"].append(values["parts"][0]), "name of part 3"),
        (lambda values: values["parts"].append({**values["parts"][2], "name": "part-00003.h5"}), "part-00003"),
        (put(parts={}), "parts"),
        (put(parts=[None]), "TypeError"),
        (put(id="0" * 32), "belongs to another recording"),
        (put(id="../" * 10 + "aa"), "id"),
        (put(version=2), "newer release"),
        (put(version=True), "newer release"),
        (put(format="other"), "format"),
        (put(more=1), "expected"),
        (put(closed=1), "closed"),
        (put(shape=[24, 33]), "shape"),
        (put(shape=[10**10] * 3), "shape"),
        (put(shape="24x32"), "shape"),
        (put(scene_shape=None), "shape"),
        (put(provenance={"seed": 2}), "belongs to another recording"),
        (put(provenance=[]), "provenance"),
        (put(camera={}), "KeyError"),
        (put(camera={"region": 3}), "TypeError"),
        (lambda values: values["camera"].update(camera_id="OTHER"), "it is of"),
        (lambda values: values.__delitem__("id"), "expected"),
        (lambda values: "[]", "format"),
        (lambda values: "", "JSONDecodeError"),
        (lambda values: "[" * 10**6, "RecursionError"),
        (lambda values: json.dumps(values)[:-1] + ', "id": "1"}', "stands twice"),
        (lambda values: json.dumps({**values, "shape": [float("nan"), 3]}), "not a number"),
        (lambda values: json.dumps(values).replace("[24, 32]", "[" + "9" * 10_000 + ", 3]"), "ValueError"),
        (lambda values: json.dumps(values) + " " * manifest.LARGEST_BYTES, "longer than 8 MiB"),
    ],
    ids=lambda value: None,
)
def test_a_hostile_manifest_is_refused(folder, change, says):
    rewrite(folder, change)
    refused(folder, says)


def test_a_manifest_that_is_no_text_is_refused(folder):
    (folder / manifest.NAME).write_bytes(b"\xff\xfe\x00")
    refused(folder, "UnicodeDecodeError")


@pytest.mark.timeout(10)
def test_a_manifest_of_a_gigabyte_is_not_read(folder):
    os.truncate(folder / manifest.NAME, 2**30)
    refused(folder, "longer than")


def test_a_changed_part_does_not_fit_its_sha256(folder):
    """Also where no frame is hurt."""
    with (folder / "part-00001.h5").open("ab") as part:
        part.write(b"\0")
    with Recording.open(folder) as recording:
        assert len(list(recording)) == FRAMES
        with pytest.raises(InputError, match=r"part-00001\.h5.*SHA-256"):
            recording.verify()


def foreign_frame() -> Frame:
    return Frame(frame(4).pixels, dataclasses.replace(frame(4).meta, camera_id="OTHER"))


def no_room(monkeypatch) -> Frame:
    """From now on there is room for an empty part, and for no frame in it."""
    usage = shutil.disk_usage("/")._replace(free=100)
    monkeypatch.setattr(writer_module.shutil, "disk_usage", lambda folder: usage)
    return frame(4)


@pytest.mark.parametrize("refused", [lambda monkeypatch: foreign_frame(), no_room], ids=["foreign frame", "no room"])
def test_a_first_frame_of_a_part_that_is_refused_leaves_no_empty_part(tmp_path, monkeypatch, refused):
    writer = create(tmp_path / "a", 4)
    for index in range(4):
        writer.append(frame(index), index, scene(index))
    with Recording.open(tmp_path / "a") as follower:
        for _ in range(2):
            with pytest.raises((ConfigurationError, StorageError), match=r"start a new recording|in reserve"):
                writer.append(refused(monkeypatch), 4, scene(4))
        assert follower.refresh() == 4
        writer.close()
        assert sorted(os.listdir(tmp_path / "a")) == ["part-00000.h5", manifest.NAME]
        assert follower.refresh() == 4 and follower.closed_in_order
    with Recording.open(tmp_path / "a") as recording:
        assert recording.verify() == 4 and len(recording.parts) == 1


def external_link(folder, part):
    with h5py.File(part, "r+", libver="latest") as file:
        del file["frames"]
        file["frames"] = h5py.ExternalLink(f"{folder}.trap", "/frames")


def external_storage(folder, part):
    with h5py.File(part, "r+", libver="latest") as file:
        del file["frames"]
        file.create_dataset("frames", (4, 24, 32), "u2", external=[(f"{folder}.trap", 0, h5py.h5f.UNLIMITED)])


def symlink(folder, part):
    part.rename(f"{folder}.moved")
    part.symlink_to(f"{folder}.moved")


def symlinked_manifest(folder, part):
    (folder / manifest.NAME).rename(f"{folder}.moved")
    (folder / manifest.NAME).symlink_to(f"{folder}.moved")


def pipe(folder, part):
    part.unlink()
    os.mkfifo(part)


def piped_manifest(folder, part):
    (folder / manifest.NAME).unlink()
    os.mkfifo(folder / manifest.NAME)


def missing(folder, part):
    part.unlink()


def missing_at_the_end(folder, part):
    (folder / "part-00002.h5").unlink()


def swapped(folder, part):
    part.rename(folder / "other")
    (folder / "part-00002.h5").rename(part)
    (folder / "other").rename(folder / "part-00002.h5")


def foreign(folder, part):
    shutil.copy(make(folder.with_name("foreign")) / part.name, part)


def shortened(folder, part):
    with h5py.File(part, "r+", libver="latest") as file:
        for name in file:
            file[name].resize(3, axis=0)


def one_more(folder, part):
    shutil.copy(part, folder / "part-00003.h5")


def one_far_away(folder, part):
    shutil.copy(part, folder / "part-00007.h5")


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (external_link, "is a link"),
        (external_storage, "from other files"),
        (symlink, "is a link"),
        (symlinked_manifest, "is a link"),
        (pipe, "not a plain file"),
        (piped_manifest, "not a plain file"),
        (missing, r"'part-00001\.h5' is missing"),
        (missing_at_the_end, r"'part-00002\.h5' is missing"),
        (swapped, "elsewhere in this one"),
        (foreign, "belongs to another recording"),
        (shortened, "it holds 3 frames.*listed are 4"),
        (one_more, "is not listed"),
        (one_far_away, r"'part-00003\.h5' is missing"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_parts_that_do_not_belong_together_are_refused(folder, harm, says):
    os.mkfifo(f"{folder}.trap")  # who opens it waits for ever, and so fails the test
    harm(folder, folder / "part-00001.h5")
    refused(folder, says)
    with pytest.raises(InputError, match=says):
        vet(folder)


def test_a_part_that_was_not_listed_must_follow_those_before(folder):
    """As a killed writer leaves it, but with numbers that do not rise."""
    values = json.loads((folder / manifest.NAME).read_text())
    rewrite(folder, lambda values: values.update(closed=False, parts=values["parts"][:2]))
    with Recording.open(folder) as recording:
        assert recording.verify() == FRAMES and not recording.closed_in_order
    rewrite(folder, lambda changed: changed["parts"][1].update(last_sequence=values["parts"][2]["last_sequence"]))
    refused(folder, "do not follow|it holds 4 frames")


def test_nothing_but_the_recording_is_opened_and_nothing_is_run(folder, tmp_path):
    hostile = [folder]
    for number, change in enumerate(
        (first(name="../../secret"), put(provenance={"__class__": "os.system"}), lambda values: "[" * 10**6)
    ):
        hostile.append(shutil.copytree(folder, tmp_path / f"h{number}"))
        rewrite(hostile[-1], change)
    for number, harm in enumerate((symlink, external_link)):
        hostile.append(shutil.copytree(folder, tmp_path / f"p{number}"))
        harm(hostile[-1], hostile[-1] / "part-00001.h5")
    with start("watched", *hostile) as child:
        told = json.loads(child.communicate()[0].splitlines()[-1])
    assert told["errors"][0][0] == "10 frames, 10 whole" and len(told["errors"]) == len(hostile)
    assert all("not a whole recording" in text or "not a recording" in text for text, _ in told["errors"][1:])
    assert all(seconds < 5 for _, seconds in told["errors"]) and told["peak_kib"] < 2**20
    places = tuple(f"open {one}{os.sep}" for one in hostile)
    assert [event for event in told["events"] if not event.startswith(places)] == []


def respelled(content: bytes, draw: np.random.Generator) -> bytes:
    """A few letters and digits are others, so that it often stays JSON."""
    mutant = bytearray(content)
    places = [at for at, one in enumerate(content) if chr(one).isalnum()]
    for at in draw.choice(places, draw.integers(1, 3)):
        like = b"0123456789" if chr(content[at]).isdigit() else b"abcdefghijklmnopqrstuvwxyz"
        mutant[at] = draw.choice(list(like))
    return bytes(mutant)


def check_mutants(folder: pathlib.Path, count: int, seed: int) -> None:
    """Each changed manifest is refused, or says the same; never does the recording hold something else."""
    path, ends, slowest_s = folder / manifest.NAME, collections.Counter(), 0.0
    whole, truth = path.read_bytes(), manifest.read(folder)
    for number in range(count):
        draw = np.random.default_rng((seed, number))
        path.write_bytes(mutate(whole, draw) if number % 4 == 0 else respelled(whole, draw))
        began_s = time.monotonic()
        try:
            with Recording.open(folder) as recording:
                frames = [recording[index].meta.sequence for index in (0, 4, 8)]
                same = (recording.provenance, recording.facts) == (truth.provenance, truth.camera)
                ends["same" if same and frames == [0, 4, 8] and len(recording) == FRAMES else "WRONG"] += 1
        except InputError:
            ends["refused"] += 1
        slowest_s = max(slowest_s, time.monotonic() - began_s)
    print(f"\nS2, H2: {count} mutants of a manifest: {dict(ends)}, slowest {slowest_s:.3f} s")
    assert set(ends) <= {"same", "refused"} and ends["refused"] > count / 4 and slowest_s < 5


def test_a_changed_manifest_is_never_believed(folder):
    check_mutants(folder, 300, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_changed_manifest_is_never_believed_in_1000_mutants(folder):
    check_mutants(folder, 100_000 if AT_NIGHT else 1000, seed=2)


def test_vetting_lets_good_recordings_pass_and_reads_no_pixels(folder, tmp_path):
    assert vet(folder) == FRAMES and vet(folder / "part-00002.h5") == 2
    part = folder / "part-00001.h5"
    whole = bytearray(part.read_bytes())
    whole[whole.index(frame(5).pixels.tobytes())] ^= 1
    part.write_bytes(whole)
    assert vet(folder) == FRAMES


def test_vetting_finds_a_changed_row_and_a_missing_file(folder, tmp_path):
    part = folder / "part-00001.h5"
    whole = bytearray(part.read_bytes())
    whole[whole.index((1005).to_bytes(8, "little"))] ^= 1
    part.write_bytes(whole)
    with pytest.raises(InputError, match=r"part-00001\.h5' is not a recording, or is damaged"):
        vet(folder)
    with pytest.raises(InputError, match="No such file"):
        vet(tmp_path / "nowhere.h5")


def test_a_module_in_the_current_folder_is_not_run(folder, tmp_path, monkeypatch):
    """A recording may come with a json.py beside it."""
    for name in ("json", "h5py", "numpy", "resource"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    assert vet(folder) == FRAMES
    assert not (tmp_path / "canary").exists()


def test_a_reader_that_hangs_or_crashes_is_ended(folder):
    part = folder / "part-00000.h5"
    with Sandbox("read", part, 0, silence_s=0.01) as child, pytest.raises(Fell, match="hang"):
        child.tell()
    with Sandbox("read", part, 0) as child:
        child._process.kill()
        with pytest.raises(Fell, match="crash"):
            while True:
                child.tell("bytes", 10**6)
