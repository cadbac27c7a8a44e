"""Processes that torchrun starts on this machine train as one does, end together, and go on in another number."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import torch
from tree import ROOT

from lensless import tensor_file
from lensless.train import state

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]  # each test starts torch many times

START = [sys.executable, "-m", "torch.distributed.run"]
SOON_S = 30.0  # what a process that waits for a lost one would need is minutes


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Of each process, as of torchrun's; and our code, wherever they are started."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def options(tiny, tmp_path):
    """Of a training of seconds."""

    def of(kind: str, out: str, *more: object) -> list[str]:
        given = ["--rig", tiny, "--rays", 1024, "--scenes", "glyphs", "--count", 480, "--device", "cpu"]
        options = ["train", kind, *given, "--batch-size", 48, "--epochs", 3, "--out", tmp_path / out, *more]
        return [str(option) for option in options]

    return of


def begin(processes: int, options: list[str], *more: str) -> subprocess.Popen:
    command = [*START, "--nproc-per-node", str(processes), *more, "-m", "optics_free", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(started: subprocess.Popen) -> tuple[int, str, str]:
    """How torchrun ended, and what was said; what it says itself begins with its own log."""
    out, err = started.communicate(timeout=100)
    ours = [line for line in err.splitlines() if line.startswith(("error:", "interrupted", "Usage:"))]
    return started.returncode, out, "\n".join(ours)


def together(processes: int, options: list[str]) -> str:
    """Train; what was shown."""
    code, out, err = end(begin(processes, options))
    assert code == 0 and err == "", err
    return out


def curve(folder: pathlib.Path) -> list[float]:
    history = state.load(folder)[1]["history"]
    return [figure for one in history for figure in (one["loss"], one["validation"])]


def check_same(one: pathlib.Path, other: pathlib.Path, tolerance: float) -> None:
    """Losses, validations and all weights."""
    assert len(curve(one)) >= 6
    assert curve(other) == pytest.approx(curve(one), rel=tolerance)
    tensors, others = (tensor_file.read(folder / state.NEWEST)[0] for folder in (one, other))
    for name, tensor in tensors.items():
        torch.testing.assert_close(others[name], tensor, rtol=100 * tolerance, atol=100 * tolerance)


@pytest.mark.parametrize("budget", [[], ["--budget", "30%"]], ids=["plain", "shared"])
@pytest.mark.parametrize("kind", ["reconstruct", "classify"])
def test_two_processes_give_the_curve_of_one(lensless, options, tmp_path, kind, budget):
    assert lensless(*options(kind, "one", "--shards", 2, *budget)).exit_code == 0
    shown = together(2, options(kind, "two", *budget))
    check_same(tmp_path / "one", tmp_path / "two", 1e-6)
    assert shown.count("best epoch") == 1  # one of them is heard
    assert curve(tmp_path / "one")[0] > curve(tmp_path / "one")[-2]  # and it learns


def test_two_processes_with_two_parts_each_give_the_curve_of_one_with_four(lensless, options, tmp_path):
    assert lensless(*options("classify", "one", "--shards", 4)).exit_code == 0
    together(2, options("classify", "two", "--shards", 4))
    check_same(tmp_path / "one", tmp_path / "two", 1e-4)


def test_a_killed_process_ends_the_others_and_any_number_that_fits_goes_on(lensless, options, tmp_path):
    long = options("classify", "killed", "--shards", 2, "--epochs", 400)
    started = begin(2, long)
    newest = tmp_path / "killed" / state.NEWEST
    pids = wait_for_epoch(started, newest)
    os.kill(pids[1], signal.SIGKILL)
    began_s = time.monotonic()
    code, _, err = end(started)
    assert code == 1 and time.monotonic() - began_s < SOON_S and err.count("error:") <= 1
    assert not any(is_alive(pid) for pid in pids)
    epochs = len(state.load(tmp_path / "killed")[1]["history"])

    code, _, err = end(begin(3, long))
    assert code == 1 and err.count("\n") == 0 and "start 1 or 2 of them" in err
    began = begin(1, long)
    wait_for_epoch(began, newest, epochs + 1)
    began.send_signal(signal.SIGINT)
    assert end(began)[2].startswith("interrupted: what was written is whole")
    assert len(state.load(tmp_path / "killed")[1]["history"]) > epochs


def test_a_run_goes_on_in_one_process_with_the_same_curve(lensless, options, tmp_path):
    together(2, options("reconstruct", "whole", "--epochs", 20))
    started = begin(2, options("reconstruct", "moved", "--epochs", 20))
    pids = wait_for_epoch(started, tmp_path / "moved" / state.NEWEST)
    os.kill(pids[0], signal.SIGKILL)
    assert end(started)[0] == 1
    assert lensless(*options("reconstruct", "moved", "--epochs", 20)).exit_code == 0  # its two parts are remembered
    check_same(tmp_path / "whole", tmp_path / "moved", 1e-6)


def test_torchrun_begins_again_by_itself(lensless, options, tmp_path):
    started = begin(2, options("reconstruct", "again", "--epochs", 20), "--max-restarts", "1")
    pids = wait_for_epoch(started, tmp_path / "again" / state.NEWEST)
    os.kill(pids[1], signal.SIGKILL)
    assert end(started)[0] == 0
    assert lensless(*options("reconstruct", "whole", "--epochs", 20, "--shards", 2)).exit_code == 0
    check_same(tmp_path / "whole", tmp_path / "again", 1e-6)


def test_ctrl_c_ends_all_with_valid_files(options, tmp_path):
    started = begin(2, options("classify", "interrupted", "--epochs", 400))
    pids = wait_for_epoch(started, tmp_path / "interrupted" / state.NEWEST)
    began_s = time.monotonic()
    started.send_signal(signal.SIGINT)
    _, _, err = end(started)
    assert err == "interrupted: what was written is whole; given again, the command goes on from there"
    assert time.monotonic() - began_s < SOON_S and not any(is_alive(pid) for pid in pids)
    assert state.load(tmp_path / "interrupted")[1]["history"]
    assert json.loads((tmp_path / "interrupted" / "card.json").read_text())["processes"] == 2


def test_errors_of_all_or_of_the_first_are_told_once(options, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for more, code, words in (
        (["--batch-size", 49], 2, "a batch of 49 scenes cannot be cut into 2 equal parts"),
        (["--out", tmp_path / "file" / "below"], 4, "is a file; expected a folder"),
        (["--nonsense"], 2, "Usage:"),
    ):
        started = begin(2, options("classify", "refused", *more))
        err = started.communicate(timeout=100)[1]
        assert started.returncode == 1 and err.count(words) == 1, err
        assert f"exitcode  : {code} " in err


def test_processes_that_differ_are_refused(tmp_path):
    """As with hosts that have another command, other files or another version."""
    script = tmp_path / "differ.py"
    script.write_text(
        "import os, torch\n"
        "from lensless.train.processes import joined\n"
        "with joined(torch.device('cpu')) as processes:\n"
        "    total = torch.ones(3) * (processes.rank + 1)\n"
        "    processes.add_up(total)\n"
        "    told = f\"{total.tolist()} {processes.by_first(lambda: os.environ['RANK'])}\\n\"\n"
        "    os.write(1, told.encode())\n"  # at once: lines of two processes must not mix
        "    processes.check_alike({'code': '1.0', 'batch_size': 16 * (1 + processes.rank)})\n"
    )
    command = [*START, "--nproc-per-node", "2", str(script)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert ended.returncode == 1 and ended.stdout.count("[3.0, 3.0, 3.0] 0") == 2
    assert "process 1 on " in ended.stderr and "has batch_size = 32, process 0 on " in ended.stderr


def wait_for_epoch(started: subprocess.Popen, newest: pathlib.Path, epochs: int = 1) -> list[int]:
    """The processes that torchrun started, by rank, once so many epochs are stored."""
    deadline_s = time.monotonic() + 90
    while not newest.exists() or len(tensor_file.read(newest)[1]["history"]) < epochs:
        assert started.poll() is None, started.communicate()
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    children = pathlib.Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
    ranked = {}
    for child in map(int, children):
        environment = pathlib.Path(f"/proc/{child}/environ").read_text().split("\0")[:-1]
        told = dict(entry.split("=", 1) for entry in environment)
        if "RANK" in told:
            ranked[int(told["RANK"])] = child
    return [ranked[rank] for rank in sorted(ranked)]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
