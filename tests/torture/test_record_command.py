"""Recording as a person does it: stopped, killed, unplugged, repaired, played; one message and an exit code."""

import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from recording_tools import TESTS
from video import noise, write_ffv1

from hardware import Recording, open_camera

CHILD = pathlib.Path(__file__).with_name("command_child.py")


def start(*arguments: object, to: tuple = (subprocess.PIPE, subprocess.PIPE)) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (TESTS.parent, TESTS)))}
    command = [sys.executable, str(CHILD), *map(str, arguments)]
    return subprocess.Popen(command, stdout=to[0], stderr=to[1], text=True, env=environment)


def run(*arguments: object, code: int = 0) -> str:
    """What a command says, on both channels, when it ends with `code`."""
    with start(*arguments) as child:
        out, err = child.communicate(timeout=60)
    assert child.returncode == code, out + err
    assert "Traceback" not in out + err
    return out + err


def check_whole(path) -> int:
    with Recording.open(path) as recording:
        frames = list(recording)
    for before, after in itertools.pairwise(frames):
        assert after.meta.sequence == before.meta.sequence + 1 + after.meta.lost_before
    return len(frames)


def wait_for(path, frames: int) -> None:
    """Until another process has recorded so many."""
    deadline_s = time.monotonic() + 20
    while time.monotonic() < deadline_s:
        if path.exists() and any(path.glob("part-*.h5")):
            with Recording.open(path) as recording:
                if len(recording) >= frames:
                    return
        time.sleep(0.02)
    pytest.fail(f"{path} did not reach {frames} frames in 20 s")


@pytest.mark.slow
def test_a_video_file_is_recorded_told_of_exported_and_played(tmp_path):
    pictures = noise(30, (14, 18), np.uint8)
    write_ffv1(tmp_path / "clip.mkv", pictures)
    run("record", f"opencv:{tmp_path / 'clip.mkv'}", "--out", tmp_path / "a", "--rotate-frames", 12, "--sha256")
    said = run("info", tmp_path / "a", "--verify")
    assert "30 of 14 x 18, 8 bits" in said and "3, 3 with their SHA-256" in said and "every frame" in said
    run("export", tmp_path / "a", "--out", tmp_path / "a.npy", "--frames", "5:25:5")
    assert np.array_equal(np.load(tmp_path / "a.npy"), pictures[5:25:5])
    assert json.loads((tmp_path / "a.npy.json").read_text())["frames"]
    with open_camera(f"replay:{tmp_path / 'a'}") as camera:
        assert all(np.array_equal(frame.pixels, one) for frame, one in zip(camera.frames(), pictures, strict=True))
    assert "exists" in run("export", tmp_path / "a", "--out", tmp_path / "a.npy", code=4)
    for wrong in ("x", "::0"):
        assert "START:STOP" in run("export", tmp_path / "a", "--out", tmp_path / "b.npy", "--frames", wrong, code=2)
    said = run("record", f"replay:{tmp_path / 'a'}", "--out", tmp_path / "c", "--frames", 100)
    assert "ended by itself: 30 of 100 frames" in said
    assert "exists" in run("record", f"opencv:{tmp_path / 'clip.mkv'}", "--out", tmp_path / "a", code=4)


def test_ctrl_c_closes_in_order_and_every_frame_is_accounted_for(tmp_path):
    with start("record", "fake:fast", "--out", tmp_path / "a") as child:
        wait_for(tmp_path / "a", 20)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
    assert child.returncode == 130 and "Traceback" not in out + err, out + err
    captured, recorded = (
        int(out.partition(word)[2].split()[0].strip(",").replace(",", "")) for word in ("captured", "recorded")
    )
    assert check_whole(tmp_path / "a") == recorded <= captured
    with Recording.open(tmp_path / "a") as recording:
        assert recording.closed_in_order


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)],
    ids=lambda number: number.name,
)
def test_what_waits_for_a_slow_disk_is_written_before_the_end(tmp_path, number):
    """The writer stands still when the signal comes: the frames that wait are behind it, and are not lost."""
    with start("record", "fake:fast", "--out", tmp_path / "a") as child:
        wait_for(tmp_path / "a", 20)
        (writer,) = (pid for pid in children(child.pid) if b"process_child" in cmdline(pid))
        os.kill(writer, signal.SIGSTOP)
        time.sleep(1.0)
        child.send_signal(number)
        time.sleep(0.3)
        os.kill(writer, signal.SIGCONT)
        out, err = child.communicate(timeout=30)
    assert child.returncode == 130 and "Traceback" not in out + err, out + err
    assert "never fetched" not in out and check_whole(tmp_path / "a") > 200, out


def test_a_second_ctrl_c_gives_up_on_a_disk_that_does_not_answer_and_accounts_for_every_frame(tmp_path):
    with start("record", "fake:fast", "--out", tmp_path / "a") as child:
        wait_for(tmp_path / "a", 20)
        (writer,) = (pid for pid in children(child.pid) if b"process_child" in cmdline(pid))
        os.kill(writer, signal.SIGSTOP)
        time.sleep(0.5)
        child.send_signal(signal.SIGINT)
        time.sleep(1.0)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=15)
    assert child.returncode == 130 and "Traceback" not in out + err, out + err
    assert "once more gives them up" in err
    assert (
        20 <= int(out.partition("recorded ")[2].split()[0].strip(",").replace(",", "")) <= check_whole(tmp_path / "a")
    )


def children(pid: int) -> list[int]:
    tasks = pathlib.Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def cmdline(pid: int) -> bytes:
    return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()


def test_a_killed_recording_is_followed_told_of_and_repaired(tmp_path):
    with start("record", "fake:fast", "--out", tmp_path / "a", "--rotate-frames", 15) as child:
        wait_for(tmp_path / "a", 1)
        with Recording.open(tmp_path / "a") as recording:  # while it is written
            followed = [frame.meta.sequence for frame in itertools.islice(recording.follow(5.0), 50)]
        child.kill()
    assert followed == list(range(followed[0], followed[0] + 50))
    time.sleep(0.5)  # the writer, a process of its own, ends by itself
    there = check_whole(tmp_path / "a")
    run("info", tmp_path / "a")
    last = sorted((tmp_path / "a").glob("part-*.h5"))[-1]
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    said = run("repair", tmp_path / "a", "--out", tmp_path / "b")
    assert 50 <= check_whole(tmp_path / "b") < there and "copied" in said


def test_a_camera_that_is_lost_is_connected_again_and_numbers_go_on(tmp_path):
    said = run("record", "fake:lose,30", "--out", tmp_path / "a.h5", "--frames", 80)
    assert said.count("attempt 1") >= 2 and "is back after" in said
    assert check_whole(tmp_path / "a.h5") == 80


def test_a_camera_that_hangs_and_does_not_come_back_in_time_is_exit_code_3_and_keeps_what_was_recorded(tmp_path):
    said = run("record", "fake:hang,0", "--out", tmp_path / "a", "--retries", 1, code=3)
    assert "did not come back" in said and not (tmp_path / "a").exists()
    said = run("record", "fake:hang,20", "--out", tmp_path / "b", "--retries", 0, code=3)
    assert "recorded 20" in said and check_whole(tmp_path / "b") == 20


def test_what_ends_a_recording_early_is_its_error_with_frames_still_waiting_for_the_disk(tmp_path):
    assert "allow losses" in run("record", "fake:large", "--out", tmp_path / "a", "--ring-mib", 1, code=4)  # Overrun
    write_ffv1(tmp_path / "clip.mkv", noise(60, (40, 50)))
    whole = (tmp_path / "clip.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    said = run("record", f"opencv:{tmp_path / 'cut.mkv'}", "--out", tmp_path / "cut", code=5)
    assert "recorded" in said and 0 < check_whole(tmp_path / "cut") < 60
    run("record", f"opencv:{tmp_path / 'clip.mkv'}", "--out", tmp_path / "b.h5")
    with Recording.open(tmp_path / "b.h5") as recording:
        pixels = recording[25].pixels.tobytes()
    damaged = (tmp_path / "b.h5").read_bytes().replace(pixels, pixels[:-1] + bytes([pixels[-1] ^ 1]))
    (tmp_path / "b.h5").write_bytes(damaged)
    assert "frame 25" in run("record", f"replay:{tmp_path / 'b.h5'}", "--out", tmp_path / "c", code=5)
    assert check_whole(tmp_path / "c") == 25


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["record", "opencv:0", "--out", "x"], 3, "cannot be opened"),
        (["record", "opencvv:0", "--out", "x"], 2, "did you mean 'opencv:'"),
        (["record", "opencv:none.mkv", "--out", "x"], 5, "is not there"),
        (["record", "replay:none", "--out", "x"], 5, "none"),
        (["record", "fake:fast", "--out", "no/where/x"], 4, "folder does not exist"),
        (["record", "fake:no device", "--out", "x"], 2, "no such device"),
        (["record", "fake:fast", "--out", "x", "--exposure-s", "-1"], 2, "exposure_s"),
        (["info", "none"], 5, "none"),
        (["repair", "none", "--out", "x"], 5, "none"),
        (["export", "none", "--out", "x.tif"], 5, "none"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else None,
)
def test_bad_input_is_one_message_and_leaves_nothing(tmp_path, monkeypatch, arguments, code, says):
    monkeypatch.chdir(tmp_path)
    assert says in run(*arguments, code=code)
    assert list(tmp_path.iterdir()) == []
