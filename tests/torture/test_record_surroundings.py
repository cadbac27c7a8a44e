"""What is around a recording: output that nobody reads any more, odd places, full disks, a writer that is killed."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import time

import pytest
import typer
from recording_child import frame
from test_record_command import check_whole, children, cmdline, run, start, wait_for

from hardware import Recording
from hardware.errors import ConfigurationError, StorageError
from hardware.recording import writer as writer_module
from hardware.recording.process import RecordingProcess
from lensless.app import capture_commands


@pytest.mark.parametrize("reads", ["nothing", "a line"])
def test_a_reader_of_the_output_that_goes_away_ends_no_recording(tmp_path, reads):
    with start("record", "fake:fast", "--out", tmp_path / "a", "--frames", 60) as child:
        if reads == "a line":
            assert child.stdout.readline().startswith("settings")
        child.stdout.close()
        said = child.stderr.read()
    assert child.returncode == 0 and said.count("the work goes on") == 1 and "Traceback" not in said, said
    assert check_whole(tmp_path / "a") == 60


def test_an_output_that_takes_nothing_ends_no_recording_and_one_lost_with_all_messages_neither(tmp_path):
    with open("/dev/full", "w") as full:
        for name, errors in (("a", subprocess.PIPE), ("b", full)):
            with start("record", "fake:fast", "--out", tmp_path / name, "--frames", 20, to=(full, errors)) as child:
                said = child.stderr.read() if child.stderr else "No space left on device"
            assert child.returncode == 0 and "No space left on device" in said and "bug" not in said, said
            assert check_whole(tmp_path / name) == 20


def writer_of(child: subprocess.Popen) -> int:
    (writer,) = (pid for pid in children(child.pid) if b"process_child" in cmdline(pid))
    return writer


def test_where_the_writer_is_killed_every_frame_is_accounted_for_also_in_json(tmp_path):
    with start("record", "fake:fast", "--out", tmp_path / "a", "--json", tmp_path / "a.json") as child:
        wait_for(tmp_path / "a", 20)
        os.kill(writer_of(child), signal.SIGKILL)
        _, err = child.communicate(timeout=20)
    facts = json.loads((tmp_path / "a.json").read_text())
    assert child.returncode == 4 and facts["error"] in err and "see what ended it" in err
    assert f"{facts['recorded']} acknowledged frames of {facts['delivered']}" in err, err
    lost = facts["not_acknowledged"] + sum(facts["dropped"].values())
    assert facts["captured"] == facts["recorded"] + lost and lost and facts["surplus"] == 0
    assert check_whole(tmp_path / "a") >= facts["recorded"]


def test_a_disk_that_takes_nothing_is_told_of_and_what_is_given_up_is_counted(tmp_path):
    with start("record", "fake:fast", "--out", tmp_path / "a", "--json", tmp_path / "a.json") as child:
        wait_for(tmp_path / "a", 20)
        os.kill(writer_of(child), signal.SIGSTOP)
        while "has taken nothing for 3 s" not in (line := child.stdout.readline()):
            assert line
        for _ in range(2):
            child.send_signal(signal.SIGINT)
            time.sleep(0.3)
        _, err = child.communicate(timeout=15)
    facts = json.loads((tmp_path / "a.json").read_text())
    assert child.returncode == 130 and f"{facts['not_acknowledged']:,} frames" in err and "were given up" in err


def test_what_ends_for_the_time_that_was_asked_for_did_not_end_by_itself(tmp_path):
    said = run("record", "fake:fast", "--out", tmp_path / "a", "--frames", 100_000, "--seconds", 0.3)
    assert "ended by itself" not in said and check_whole(tmp_path / "a") < 100_000


def test_what_came_when_there_was_enough_is_not_called_dropped(tmp_path):
    said = run("record", "fake:fast", "--out", tmp_path / "a", "--frames", 20, "--json", tmp_path / "a.json")
    facts = json.loads((tmp_path / "a.json").read_text())
    assert facts["captured"] == 20 + facts["surplus"] and facts["dropped"] == {} and facts["error"] is None
    assert "dropped" not in said and ("more than were wanted" in said) == bool(facts["surplus"])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fake:fast", "--seconds", "inf"], "expected a number of seconds"),
        (["fake:fast", "--seconds", "nan"], "expected a number of seconds"),
        (["simulated:bare-v1-short"], "name --frames or --seconds"),
        (["fake:fast", "--ring-mib", "99999999"], "MiB of memory"),
        (["fake:fast", "--out", "y.hdf5"], "name it 'y.h5'"),
        (["fake:fast", "--out", "y.H5"], "name it 'y.h5'"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else None,
)
def test_what_cannot_be_meant_is_refused_before_anything_is_opened(tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    options = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    seconds = float(options["--seconds"]) if "--seconds" in options else None
    out = tmp_path / options.get("--out", "x")
    with pytest.raises(typer.Exit) as ended:
        ring_mib = int(options.get("--ring-mib", 256))
        capture_commands.record(camera=arguments[0], out=out, seconds=seconds, ring_mib=ring_mib)
    assert ended.value.exit_code == 2 and says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_means_one_file_makes_no_folder_of_that_name(tmp_path):
    with pytest.raises(ConfigurationError, match=r"name it 'a\.h5', or without '\.HDF5'"):
        Recording.create(tmp_path / "a.HDF5", frame(0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a", "a.h5"])
def test_a_recording_whose_first_frame_fails_does_not_keep_the_name(tmp_path, name):
    other = frame(0).with_meta(dataclasses.replace(frame(0).meta, camera_id="OTHER"))
    writer = RecordingProcess(tmp_path / name, frame(0), reserve_bytes=0)
    with pytest.raises(ConfigurationError, match="start a new recording"):
        writer.append(other)
        writer.flush()
    assert writer.acknowledged == 0 and list(tmp_path.iterdir()) == []


def test_a_part_that_the_disk_does_not_take_counts_the_frames_of_the_whole(tmp_path, monkeypatch):
    with Recording.create(tmp_path / "a", frame(0), rotate_frames=2) as writer:
        writer.append_all([frame(0), frame(1), frame(2)])
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(writer_module.shutil, "disk_usage", lambda folder: usage._replace(free=0))
        with pytest.raises(StorageError, match=r"/a' stopped after 3 frames"):
            writer.append(frame(3))
