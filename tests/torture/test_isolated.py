"""Camera promises that a child process keeps: a driver that hangs or falls never takes the program with it."""

import gc
import itertools
import os
import pathlib
import signal
import threading
import time

import pytest
from recording_tools import AT_NIGHT
from video import noise, write_ffv1

from hardware import CameraSettings, open_camera
from hardware.errors import CameraError, CameraLost, ConfigurationError, InputError
from hardware.isolated import IsolatedCamera

pytestmark = pytest.mark.alone

DRIVER = str(pathlib.Path(__file__).with_name("driver_child.py"))


def camera(kind: str, after: int = 0, **limits: float) -> IsolatedCamera:
    return IsolatedCamera([DRIVER, kind, str(after)], f"fake:{kind}", **limits)


def gone(pid: int) -> bool:
    return not pathlib.Path(f"/proc/{pid}").exists()


def check_hung(cycles: int) -> None:
    longest_s = 0.0
    for _ in range(cycles):
        with camera("hang", after=3, stall_s=0.3) as hung:
            assert [frame.meta.sequence for frame in itertools.islice(hung.frames(), 3)] == [0, 1, 2]
            began_s = time.monotonic()
            with pytest.raises(
                CameraLost, match=r"'fake:hang' is lost after frame 2: it did not send a frame for 0\.3"
            ):
                next(hung.frames())
            assert gone(hung._child.pid)
        with camera("fast") as again:
            again.snap(1)
        longest_s = max(longest_s, time.monotonic() - began_s)
    print(f"\n{cycles} hung drivers: killed and started anew within {longest_s:.2f} s at the longest")
    assert longest_s < 3


def test_a_hung_driver_is_killed_and_the_camera_opened_again_within_3_s():
    check_hung(2)


@pytest.mark.slow
@pytest.mark.timeout(0 if AT_NIGHT else 300)
def test_20_hung_drivers_never_hang_the_program():
    check_hung(500 if AT_NIGHT else 20)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("crash", "its driver is gone .*signal 11"),
        ("raise", "the driver raised ValueError: bad ioctl"),
        ("lose", r"select\(\) timeout"),
    ],
)
def test_a_driver_that_falls_is_a_lost_camera_with_the_reason(kind, says):
    with camera(kind, after=2) as bad:
        frames = bad.frames()
        assert [next(frames).meta.sequence for _ in range(2)] == [0, 1]
        with pytest.raises(CameraError, match=says):
            next(frames)
        for use in (lambda: bad.snap(1), lambda: bad.configure(CameraSettings()), bad.frames):
            with pytest.raises(CameraError, match=says):
                use()


def test_what_a_driver_prints_is_not_taken_for_a_message():
    with camera("print") as noisy:
        assert len(noisy.snap(5)) == 5


def test_a_device_that_cannot_be_opened_is_the_error_of_its_back_end():
    with pytest.raises(ConfigurationError, match="no such device"):
        camera("no device")
    with pytest.raises(CameraLost, match="did not open within 0 s"):
        camera("slow open", open_s=0.4)


def test_a_driver_that_hangs_over_its_settings_is_lost_and_one_that_refuses_them_is_not(monkeypatch):
    monkeypatch.setattr("hardware.isolated.CONFIGURE_S", 0.3)
    with camera("", after=10**9) as bad:
        with pytest.raises(CameraError, match="98 set, 12 read back"):
            bad.configure(CameraSettings(gain_db=98.0))
        assert bad.configure(CameraSettings(exposure_s=0.02)).exposure_s == 0.02
        assert bad.snap(1)[0].meta.exposure_s == 0.02
        with pytest.raises(CameraLost, match="did not apply settings"):
            bad.configure(CameraSettings(gain_db=99.0))


def test_frames_that_nobody_fetches_are_lost_and_counted(monkeypatch):
    with camera("fast") as live:
        frames = live.frames()
        first = next(frames)
        time.sleep(0.5)  # some 250 frames; 64 of them wait
        rest = list(itertools.islice(frames, 80))
        late = live.snap(1)[0]
    for before, after in itertools.pairwise([first, *rest, late]):
        assert after.meta.sequence == before.meta.sequence + 1 + after.meta.lost_before
    assert sum(frame.meta.lost_before for frame in rest) > 20
    assert [frame.meta.lost_before for frame in rest[:60]] == [0] * 60


def test_a_shot_of_a_live_camera_is_never_an_old_frame():
    with camera("fast") as live:
        live.snap(1)
        time.sleep(0.2)
        asked_ns = time.monotonic_ns()
        assert live.snap(1)[0].meta.t_host_ns >= asked_ns


def test_13145_frames_that_waited_in_the_queue_of_the_driver_are_not_delivered_as_new():
    def exposed_ms(frame) -> int:
        return int.from_bytes(frame.pixels[0, :8].tobytes(), "little")

    for fetch in (lambda live: live.snap(2), lambda live: list(itertools.islice(live.frames(), 2))):
        with camera("queues") as live:
            time.sleep(0.2)
            asked_ms = time.monotonic() * 1e3
            frames = fetch(live)
            assert [exposed_ms(frame) >= int(asked_ms) for frame in frames] == [True, True]
            applied = live.configure(CameraSettings())
            assert applied.controls == (("gain", 16.0),) and live.configure(applied).id == applied.id
            assert frames[0].meta.settings_id == applied.id


@pytest.mark.slow
def test_what_takes_long_and_says_so_is_not_taken_for_a_hang(monkeypatch):
    with camera("settles", after=10**9, open_s=1.2) as slow:
        monkeypatch.setattr("hardware.isolated.CONFIGURE_S", 0.5)
        assert slow.configure(CameraSettings(gain_db=97.0)).gain_db == 97


def test_frames_that_wait_while_larger_ones_come_keep_their_pixels():
    with camera("grows", after=5) as source:
        frames = source.frames()
        first = next(frames)
        time.sleep(0.3)  # 64 small places, and as many large ones, are full or nearly so
        source.configure(CameraSettings())  # and all that was sent is taken in
        for sequence, frame in enumerate([first, *itertools.islice(frames, 200)]):
            assert frame.shape == ((13, 17) if sequence < 5 else (26, 34))
            assert frame.meta.sequence == sequence and (frame.pixels == sequence).all()
        assert len(source._slots) == 1


def test_facts_that_change_while_it_runs_are_told():
    with camera("fast") as live:
        told, frames = live.facts, live.frames()
        assert told == {"frames": 0}
        deadline_s = time.monotonic() + 5
        while told["frames"] < 2 and time.monotonic() < deadline_s:
            next(frames)
        assert told["frames"] >= 2


def test_a_camera_that_is_forgotten_lets_its_device_go():
    forgotten = camera("fast")
    forgotten.snap(1)
    pid = forgotten._child.pid
    os.kill(pid, signal.SIGSTOP)  # it cannot even read that it is over
    del forgotten
    gc.collect()
    deadline_s = time.monotonic() + 2
    while not gone(pid) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert gone(pid)


@pytest.fixture
def clip(tmp_path) -> IsolatedCamera:
    write_ffv1(tmp_path / "clip.mkv", noise(200))
    with open_camera(f"opencv:{tmp_path / 'clip.mkv'}") as played:
        yield played


@pytest.mark.parametrize(
    ("how", "says"), [(signal.SIGSEGV, "its driver is gone .*signal 11"), (signal.SIGSTOP, "its driver was ended")]
)
def test_a_file_that_makes_its_decoder_crash_or_hang_is_a_bad_file(clip, how, says):
    assert clip._stall_s < 10
    frames = clip.frames()
    next(frames)
    clip._stall_s = 0.5
    os.kill(clip._child.pid, how)
    for use in (lambda: list(frames), lambda: clip.snap(1)):
        with pytest.raises(InputError, match=rf"cannot be played after frame \d+: .*{says}.*copy it again"):
            use()
    assert gone(clip._child.pid)


def test_a_file_is_decoded_in_little_memory_and_without_a_core_dump(clip):
    limits = pathlib.Path(f"/proc/{clip._child.pid}/limits").read_text().splitlines()
    soft_hard = {line[:25].strip(): line[25:].split()[:2] for line in limits}
    assert soft_hard["Max core file size"] == ["0", "0"]
    assert soft_hard["Max address space"] == [str(4 * 2**30)] * 2


def test_a_source_that_waits_loses_nothing():
    with camera("waits") as source:
        frames = source.frames()
        next(frames)
        time.sleep(0.1)
        assert [next(frames).meta.sequence for _ in range(200)] == list(range(1, 201))


def test_close_from_another_thread_ends_a_waiting_reader_and_no_memory_stays():
    with camera("hang", after=1, stall_s=30) as hung:
        frames = hung.frames()
        next(frames)
        threading.Timer(0.3, hung.close).start()
        began_s = time.monotonic()
        assert list(frames) == []
        hung.close()
        assert time.monotonic() - began_s < 3
    assert gone(hung._child.pid) and not list(pathlib.Path("/dev/shm").glob(f"lensless-{hung._child.pid}-*"))


def test_a_child_whose_parent_was_killed_ends_too(tmp_path):
    import subprocess
    import sys

    script = (
        "import sys, time; from hardware.isolated import IsolatedCamera\n"
        f"c = IsolatedCamera([{DRIVER!r}, 'hang', '2'], 'x', stall_s=60); c.snap(1)\n"
        "print(c._child.pid, flush=True); time.sleep(60)"
    )
    root = str(pathlib.Path(__file__).resolve().parents[2])
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root}
    )
    with parent:
        pid = int(parent.stdout.readline())
        parent.kill()
    deadline_s = time.monotonic() + 2
    while not gone(pid) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert gone(pid)
