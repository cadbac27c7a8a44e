"""Commands that run for hours, side by side: real ones, in processes of their own."""

import pathlib
import time

import pytest

from hardware.errors import StorageError
from lensless.app.bench.side_by_side import Job, side_by_side
from lensless.app.screen import Screen

BAD, NO_FILE = ["simulate", "--rig", "none.toml", "--out", "x.h5"], 2


@pytest.fixture
def work(tmp_path):
    """Run jobs: how each ended."""

    def work(*jobs, at_once=2, ended=None):
        codes = {}

        def note(job, code):
            codes[job.name] = code
            if ended:
                ended(job)

        made = [Job(name, commands, tmp_path / f"{name}.log", *after) for name, commands, *after in jobs]
        side_by_side(made, at_once, Screen(), note)
        return codes

    return work


def test_each_job_runs_its_commands_and_what_it_needs_first(work, tmp_path, capsys):
    link = ["board-emulator", "--help"]
    codes = work(("good", [link, link]), ("bad", [BAD, link]), ("then", [link], "bad"), ("later", [link], "good"))
    assert codes == {"good": 0, "bad": NO_FILE, "then": NO_FILE, "later": 0}
    assert (tmp_path / "good.log").read_text().count("$ lensless board-emulator --help") == 2
    assert "none.toml" in (tmp_path / "bad.log").read_text() and "board" not in (tmp_path / "bad.log").read_text()
    assert not (tmp_path / "then.log").exists()
    shown = capsys.readouterr().out
    assert "good: lensless board-emulator --help" in shown and "then:" not in shown


def test_a_log_that_cannot_be_written_is_one_error(work, tmp_path):
    (tmp_path / "good.log").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*good\.log: Is a directory"):
        work(("good", [["board-emulator", "--help"]]))


def test_an_interruption_interrupts_what_runs_begins_nothing_and_waits(work, tmp_path):
    link = tmp_path / "board"
    for_ever = ["board-emulator", "--link", str(link)]

    def interrupt(job):
        while not link.is_symlink():
            time.sleep(0.05)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(("board", [for_ever, for_ever]), ("bad", [BAD]), ("third", [for_ever]), ended=interrupt)
    assert not pathlib.Path(link).is_symlink()  # it has ended as it does on Ctrl-C, and was not begun again
    assert (tmp_path / "board.log").read_text().count("$ lensless board-emulator") <= 2
