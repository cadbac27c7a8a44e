"""A sensor board as a person meets it: the emulator in one process, `lensless` in others, faults typed in between."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from test_record_command import check_whole, run, start, wait_for

from hardware.emulators.terminal import Terminal

if os.name != "posix":
    pytest.skip("no pseudo-terminals here", allow_module_level=True)


@contextlib.contextmanager
def emulator(link, *options: object):
    """A board that sees a recording; gives a function that types."""
    command = [sys.executable, "-m", "optics_free", "board-emulator", *map(str, options), "--link", str(link)]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        lines = iter(child.stdout.readline, "")
        assert any("Open it in another window" in line for line in lines)

        def type_in(order: str) -> str:
            child.stdin.write(order + "\n")
            child.stdin.flush()
            return next(line for line in lines if line.startswith(f"{order}: done"))

        yield type_in
        said, _ = child.communicate("quit\n", timeout=20)
        assert child.returncode == 0 and "frames were taken" in said and "Traceback" not in said
    finally:
        child.kill()
        child.wait()


@pytest.fixture(scope="module")
def sensor(tmp_path_factory) -> str:
    seen = tmp_path_factory.mktemp("sensor") / "seen.h5"
    run("record", "fake:waits", "--out", seen, "--frames", 3000)
    return f"replay:{seen}"


def test_a_board_is_recorded_pulled_out_and_put_in_again_and_every_frame_is_accounted_for(tmp_path, sensor):
    link, out = tmp_path / "board", tmp_path / "a"
    with emulator(link, sensor, "--fps", 100) as type_in:
        with start("record", f"serial:{link}", "--out", out, "--frames", 400, "--json", tmp_path / "a.json") as child:
            wait_for(out, 30)
            type_in("noise 0.0002")
            time.sleep(0.5)
            type_in("noise 0")
            type_in("restart")
            time.sleep(0.8)
            type_in("unplug")
            time.sleep(0.3)
            assert "/dev/" in type_in("replug")
            said = "".join(child.communicate(timeout=60))
        assert child.returncode == 0, said
        assert "has started anew" in said and "is gone: it was pulled out" in said and said.count("is back after") == 2
        assert check_whole(out) == 400
        facts = json.loads((tmp_path / "a.json").read_text())
        dropped = sum(facts["dropped"].values())
        assert facts["captured"] == facts["recorded"] + dropped and facts["recorded"] == 400 and dropped > 0
        said = run("info", out, "--verify")
        assert "board-EMULATED-1" in said and "every frame" in said
        assert "another program has it open" in in_use(link)
        type_in("unplug")
        assert "is not there" in run("record", f"serial:{link}", "--out", tmp_path / "b", code=3)
        assert not (tmp_path / "b").exists()


def in_use(link) -> str:
    with start("record", f"serial:{link}", "--out", link.with_name("first"), "--seconds", 30) as child:
        wait_for(link.with_name("first"), 1)
        said = run("record", f"serial:{link}", "--out", link.with_name("second"), code=3)
        child.terminate()
        child.communicate(timeout=20)
    return said


@pytest.mark.slow
def test_ctrl_c_while_a_silent_port_is_opened_ends_it_and_the_account_is_kept_if_it_does_not_open(tmp_path):
    with Terminal(tmp_path / "silent"):
        arguments = ("record", f"serial:{tmp_path / 'silent'}", "--out", tmp_path / "a", "--json", tmp_path / "a.json")
        with start(*arguments) as child:
            time.sleep(3)
            child.send_signal(signal.SIGINT)
            child.communicate(timeout=20)
        assert child.returncode == 130
        said = run(*arguments, code=3)
    assert "is silent" in said and "captured" not in said and not (tmp_path / "a").exists()
    assert "is silent" in json.loads((tmp_path / "a.json").read_text())["error"]


def test_a_recording_that_a_board_shows_has_an_end(tmp_path, sensor):
    said = run("board-emulator", sensor, "--link", tmp_path / "b", "--seconds", 1)
    assert "0 frames were taken; stopped" in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["nonsense:1"], "no scheme 'nonsense'"),
        (["simulated:bare-v1", "--fault", "explode"], "expected one of: noise SHARE"),
        (["simulated:bare-v1", "--matrix", "8by8"], "expected ROWSxCOLUMNS"),
        (["simulated:bare-v1", "--matrix", "100x100"], "1 to 4062 lamps"),
        (["simulated:bare-v1", "--serial", ""], "serial"),
        (["simulated:bare-v1", "--link", "."], "name another place"),
        (["simulated:bare-v1", "--link", "no/where"], "no/where"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, list) else None,
)
def test_an_emulator_that_cannot_be_is_one_message(tmp_path, monkeypatch, options, says):
    monkeypatch.chdir(tmp_path)
    assert says in run("board-emulator", *options, code=2)
