"""Storage promise: what can be read of a damaged recording is saved, the rest told of, and the source is not touched.

200 kills of a repair: LENSLESS_TORTURE=N .venv/bin/pytest -s -m slow tests/torture/test_recording_repair.py
"""

import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

import pytest
from recording_child import create, digest, frame, scene
from recording_tools import AT_NIGHT, read_in_fresh_process, start

from hardware import Recording
from hardware.errors import InputError, StorageError
from hardware.recording import manifest, salvage, sandbox
from hardware.recording.repair import Damage, Report, repair
from lensless.app import recordings
from lensless.app.screen import Screen

FRAMES = 20


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    """A recording of 20 frames in parts of 6."""
    with create(tmp_path / "a", 6) as writer:
        for index in range(FRAMES):
            writer.append(frame(index), index % 10, scene(index))
    return tmp_path / "a"


def content(path: pathlib.Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in ([path] if path.is_file() else sorted(path.iterdir()))}


def change(path: pathlib.Path, wanted: bytes) -> None:
    """Flips a bit where `wanted` stands."""
    whole = bytearray(path.read_bytes())
    whole[whole.index(wanted) + 7] ^= 1
    path.write_bytes(whole)


def check(source, out, lost: list[int], frames: int = FRAMES, said: str = "lost"):
    """Everything but frames `lost` was saved, with every fact, and those behind them say how many are missing."""
    before = content(source)
    report = repair(source, out)
    assert content(source) == before
    kept = [index for index in range(frames) if index not in lost]
    with Recording.open(out) as recording:
        assert recording.closed_in_order and recording.verify() == len(kept)
        assert recording.provenance == {"seed": 1, "repaired_from": {"recording": source.name, said: len(lost)}}
        missing = 0
        for at, index in enumerate(kept):
            read, written = recording[at], frame(index)
            missing = index - (kept[at - 1] + 1 if at else 0)
            assert (read.pixels == written.pixels).all() and (recording.scene(at) == scene(index)).all()
            assert repr(read.meta) == repr(written.meta).replace("lost_before=0", f"lost_before={missing}")
        assert recording.labels.tolist() == [index % 10 for index in kept]
    assert (report.copied, report.damaged) == (len(kept), len(lost)), str(report)
    return report


@pytest.mark.parametrize("out", ["b", "b.h5"])
def test_a_whole_recording_is_copied(folder, tmp_path, out):
    assert check(folder, tmp_path / out, []).is_complete


@pytest.mark.slow
def test_what_a_killed_writer_left_becomes_a_closed_recording(tmp_path):
    for name, rotate_frames in (("a.h5", 0), ("a", 3)):
        with start("append_for_ever", tmp_path / name, rotate_frames) as child:
            child.stdin.write("go\n")
            child.stdin.flush()
            lines = [child.stdout.readline() for _ in range(20)]
            child.kill()
            lines += child.stdout.readlines()
        with Recording.open(tmp_path / name) as recording:
            assert not recording.closed_in_order
            frames = len(recording)
        check(tmp_path / name, tmp_path / f"whole-{name}", [], frames)


@pytest.mark.parametrize("name", ["a", "a.h5"])
def test_what_is_being_written_is_not_taken_for_killed(tmp_path, name):
    """Frames that come while it is copied would be missing in the copy, or be told of as lost."""
    with Recording.create(tmp_path / name, frame(0)) as writer:
        writer.append(frame(0))
        facts = recordings.info(tmp_path / name, False, Screen())
        assert facts["being_written"] and not facts["closed_in_order"]
        for source in {tmp_path / name, next(tmp_path.rglob("*.h5"))}:
            with pytest.raises(StorageError, match=r"is being written.*end its recording first"):
                repair(source, tmp_path / "b")
    assert not (tmp_path / "b").exists()
    facts = recordings.info(tmp_path / name, False, Screen())
    assert facts["closed_in_order"] and not facts["being_written"]
    assert repair(tmp_path / name, tmp_path / "b").copied == 1


def test_nothing_is_written_into_the_recording_that_is_repaired(folder):
    before = content(folder)
    for out in (folder / "rep.h5", folder / "new" / "b", folder / ".." / "a" / "b"):
        with pytest.raises(StorageError, match="outside of it"):
            repair(folder, out)
    assert content(folder) == before


def test_what_holds_no_frame_of_ours_is_not_sent_to_repair_and_back(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.h5").write_text("no recording at all, but for the name it was given by somebody")
    for name in ("empty", "text.h5"):
        for command in (lambda path: Recording.open(path), lambda path: repair(path, tmp_path / "b")):
            with pytest.raises(InputError) as told:
                command(tmp_path / name)
            assert "lensless repair" not in str(told.value) and " to -1" not in str(told.value)


def test_one_lost_frame_is_one_and_what_cannot_be_counted_is_not_called_none(folder, tmp_path):
    change(folder / "part-00000.h5", frame(0).pixels.tobytes())
    assert str(repair(folder, tmp_path / "b")).startswith("1 frame is lost: 19 copied")
    (folder / "recording.json").unlink()
    (folder / "part-00003.h5").write_bytes(b"nothing")
    assert str(repair(folder, tmp_path / "c")).startswith("at least 1 frame is lost")
    report = Report(folder, None, 3, (Damage("x.h5", 0, None, "why"), Damage("recording.json", 0, -1, "gone")))
    assert str(report).startswith("nobody knows how many frames are lost: 3") and "recording.json: gone" in str(report)


def test_damaged_pixels_facts_and_scenes_cost_one_frame_each(folder, tmp_path):
    change(folder / "part-00000.h5", frame(0).pixels.tobytes())
    change(folder / "part-00001.h5", frame(8).pixels.tobytes())
    change(folder / "part-00001.h5", scene(9).tobytes())
    change(folder / "part-00002.h5", (1000 + 13).to_bytes(8, "little"))  # its time
    report = check(folder, tmp_path / "b", [0, 8, 9, 13])
    told = [(damage.file[:10], damage.first, damage.last) for damage in report.damages]
    assert told == [("part-00000", 0, 0), ("part-00001", 2, 3), ("part-00002", 1, 1)]


def test_a_file_that_was_cut_off_keeps_what_is_before_the_cut(folder, tmp_path):
    part = folder / "part-00001.h5"
    whole = part.read_bytes()
    part.write_bytes(whole[: whole.index(frame(9).pixels.tobytes()) + 100])
    began_s = time.monotonic()
    report = repair(folder, tmp_path / "b")
    assert time.monotonic() - began_s < 8
    with Recording.open(tmp_path / "b") as recording:
        numbers = [one.meta.sequence for one in recording]
        assert set(range(FRAMES)) - set(numbers) <= {6, 7, 8, 9, 10, 11} and {9, 10, 11}.isdisjoint(numbers)
        assert [one.meta.sequence - one.meta.lost_before for one in recording] == [
            0 if at == 0 else numbers[at - 1] + 1 for at in range(len(numbers))
        ]
    assert report.copied == len(numbers) and report.damaged == FRAMES - len(numbers)


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_frames_behind_the_cut_of_a_file_are_counted(tmp_path, keep):
    with create(tmp_path / "a.h5") as writer:
        for index in range(60):
            writer.append(frame(index), 0, scene(index))
    whole = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(whole[: int(keep * len(whole))])
    report = repair(tmp_path / "a.h5", tmp_path / "b.h5")
    assert report.copied + report.damaged == 60 and report.all_counted
    assert str(report).startswith(f"{report.damaged} frames are lost: {report.copied} copied from")
    assert report.damages[-1].last == 59
    with Recording.open(tmp_path / "b.h5") as recording:
        assert recording.provenance["repaired_from"] == {"recording": "a.h5", "lost": report.damaged}
    with pytest.raises(InputError, match=r"; `lensless repair` saves the frames that are whole$"):
        Recording.open(tmp_path / "a.h5")


FULL_DISK = """
import resource, signal, sys
from hardware.errors import StorageError
from hardware.recording.repair import repair
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    repair(sys.argv[1], sys.argv[2])
except StorageError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("out", ["b", "b.h5"])
@pytest.mark.parametrize("most_bytes", [2048, 4096, 8192])
def test_on_a_full_disk_a_copy_without_frames_leaves_nothing_and_any_other_is_told_of(tmp_path, out, most_bytes):
    with create(tmp_path / "a.h5") as writer:
        for index in range(6):
            writer.append(frame(index), 0, scene(index))
    command = [sys.executable, "-c", FULL_DISK, tmp_path / "a.h5", tmp_path / out, str(most_bytes)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 4 and not done.stderr and "File too large" in done.stdout, done
    if most_bytes == 8192:
        with Recording.open(tmp_path / out) as recording:
            assert 0 < recording.verify() < 6
            assert f"stopped, {len(recording)} frames were copied: File too large" in done.stdout
    else:
        assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]
    assert most_bytes != 4096 or "no frames were copied" in done.stdout


def test_a_killed_recording_that_was_copied_in_part_is_read_up_to_where_the_copy_ends(tmp_path):
    with start("append_for_ever", tmp_path / "a.h5") as child:
        child.stdin.write("go\n")
        child.stdin.flush()
        for _ in range(40):
            child.stdout.readline()
        child.kill()
    whole = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(whole[: whole.index(frame(30).pixels.tobytes())])
    report = repair(tmp_path / "a.h5", tmp_path / "b.h5")
    assert 10 <= report.copied <= 30
    with Recording.open(tmp_path / "b.h5") as recording:
        assert recording.verify() == report.copied
        assert all((one.pixels == frame(one.meta.sequence).pixels).all() for one in recording)


@pytest.mark.slow
def test_missing_foreign_and_unreadable_parts_are_skipped_and_told_of(folder, tmp_path):
    (folder / "part-00001.h5").unlink()
    report = check(folder, tmp_path / "b", [*range(6, 12)])
    assert str(report.damages[0]) == "part-00001.h5, frames 0 to 5: it is missing"
    with create(tmp_path / "other", 6) as writer:
        for index in range(FRAMES):
            writer.append(frame(index), 0, scene(index))
    shutil.copy(tmp_path / "other" / "part-00001.h5", folder)
    assert "another recording" in check(folder, tmp_path / "c", [*range(6, 12)]).damages[0].reason
    (folder / "part-00001.h5").write_bytes(b"not HDF5 at all")
    assert "does not begin" in check(folder, tmp_path / "d", [*range(6, 12)]).damages[0].reason
    (folder / "part-00001.h5").unlink()
    (folder / "part-00001.h5").symlink_to(tmp_path / "other" / "part-00001.h5")
    assert "is a link" in check(folder, tmp_path / "e", [*range(6, 12)]).damages[0].reason


@pytest.mark.slow
def test_without_a_manifest_the_parts_are_enough(folder, tmp_path):
    (folder / manifest.NAME).unlink()
    report = check(folder, tmp_path / "b", [])
    assert str(report).startswith("no frame is lost: 20 copied from")
    assert [damage.file for damage in report.damages] == [manifest.NAME]
    (folder / "part-00001.h5").unlink()
    report = repair(folder, tmp_path / "c")
    assert report.copied == 14 and str(report).startswith("nobody knows how many frames are lost: 14")
    assert "?" in str(report)
    with Recording.open(tmp_path / "c") as recording:
        assert recording[6].meta.sequence == 12 and recording[6].meta.lost_before == 6
        assert recording.provenance["repaired_from"] == {"recording": "a", "lost_at_least": 0}


def test_a_frame_whose_reading_ends_the_child_is_skipped(folder, tmp_path, monkeypatch):
    """As a damaged byte does that makes HDF5 crash: here the child is killed while it is asked for that frame."""
    whole = sandbox.Sandbox.tell

    def tell(self, *arguments):
        told = whole(self, *arguments)
        if told[0].get("at") in (3, 4):
            self._process.kill()
            raise sandbox.Fell("it made the reader crash (Killed)")
        return told

    monkeypatch.setattr(sandbox.Sandbox, "tell", tell)
    (tmp_path / "one").mkdir()
    with create(tmp_path / "one.h5") as writer:
        for index in range(FRAMES):
            writer.append(frame(index), index % 10, scene(index))
    report = check(tmp_path / "one.h5", tmp_path / "b.h5", [3, 4])
    assert [str(damage) for damage in report.damages] == ["one.h5, frames 3 to 4: it made the reader crash (Killed)"]
    monkeypatch.setattr(salvage, "MOST_FALLS", 2)
    check(tmp_path / "one.h5", tmp_path / "c.h5", [*range(3, FRAMES)])


def test_where_nothing_can_be_saved_nothing_is_written(folder, tmp_path):
    with pytest.raises(InputError, match=r"^'[^']*nope' is not there; expected a recording: a file, or a folder of"):
        repair(tmp_path / "nope", tmp_path / "b")
    for part in folder.glob("part-*"):
        part.write_bytes(b"")
    with pytest.raises(InputError, match="no frame can be saved"):
        repair(folder, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_nothing_is_overwritten(folder, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine").touch()
    with pytest.raises(StorageError, match="exists"):
        repair(folder, tmp_path / "b")
    with pytest.raises(StorageError, match="exists"):
        repair(folder, folder)
    assert os.listdir(tmp_path / "b") == ["mine"]


def check_kills(folder, tmp_path, kills: int) -> None:
    before, draw, whole, partial = content(folder), random.Random(5), 0, 0
    truth = [digest(frame(index), index % 10, scene(index)) for index in range(FRAMES)]
    for number in range(kills):
        place = tmp_path / f"{number}"
        place.mkdir()
        with start("repair_many", folder, place) as child:
            child.stdout.readline()
            child.stdin.write("go\n")
            child.stdin.flush()
            time.sleep(draw.uniform(0.15, 2.0))
            child.kill()
            told = dict(line.split() for line in child.stdout.readlines())
        assert content(folder) == before
        outs = [out for out in place.iterdir() if not out.name.startswith(".") and out.suffix != ".lock"]
        for out, found in zip(outs, read_in_fresh_process(*outs), strict=True):
            if out.name in told:
                assert found == truth and told[out.name] == str(FRAMES)
                whole += 1
            elif isinstance(found, list):
                assert found == truth[: len(found)]
                partial += 1
            else:
                assert not list(out.glob("part-*.h5")), found
    print(f"\nS1: {kills} repairs killed: source untouched, {whole} copies whole, {partial} in part, 0 wrong")


@pytest.mark.slow
def test_a_killed_repair_leaves_the_source_as_it_was(folder, tmp_path):
    check_kills(folder, tmp_path, 2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_30_killed_repairs_leave_the_source_as_it_was(folder, tmp_path):
    check_kills(folder, tmp_path, 200 if AT_NIGHT else 30)
