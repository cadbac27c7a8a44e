"""One of several processes: what it is told, what it may say, and which GPU is its own."""

import pytest
import torch
from torch.distributed import TCPStore
from typer.testing import CliRunner

from hardware.errors import ConfigurationError
from lensless.app.load import open_device
from lensless.app.screen import Screen
from lensless.launch import Launch, launch, may_tell


@pytest.fixture
def second_of_three(monkeypatch):
    """The environment that torchrun gives, with a store as it keeps one."""
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    told = {
        "TORCHELASTIC_RUN_ID": "1", "RANK": "1", "WORLD_SIZE": "3", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost",
        "MASTER_PORT": str(store.port),
    }  # fmt: skip
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    yield store


def test_a_process_knows_its_number_and_is_alone_without_torchrun(second_of_three, monkeypatch):
    assert launch() == Launch(rank=1, count=3, local_rank=1) and not launch().first
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    assert launch() == Launch() and launch().first


def test_the_first_error_of_a_launch_is_told_and_no_other(second_of_three, monkeypatch):
    assert may_tell() and not may_tell()
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")  # torchrun begins again: that is news
    assert may_tell() and not may_tell()
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    assert may_tell() and may_tell()


def test_commands_of_one_process_refuse_several_once(second_of_three, capfd):
    from lensless.app.cli import app

    results = [CliRunner().invoke(app, ["inspect", "cannula-v1"]) for _ in range(2)]
    assert [result.exit_code for result in results] == [2, 2]
    said = "torchrun goes with `lensless train` and `lensless bench scaling`; this command runs in one process"
    assert capfd.readouterr().err == f"error: {said}\n"


def test_the_second_process_shows_nothing_and_writes_no_result(second_of_three, tmp_path, capsys):
    screen = Screen(str(tmp_path / "result.json"))
    screen.say("something")
    screen.table("a table", ["head"], [["row"]])
    screen.result({"figure": 1})
    assert capsys.readouterr() == ("", "") and not list(tmp_path.iterdir())


def test_each_process_of_a_host_has_the_gpu_of_its_number(second_of_three, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert open_device("auto") == open_device("cuda") == torch.device("cuda:1")
    assert open_device("cuda:0") == torch.device("cuda:0") and open_device("cpu") == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(
        ConfigurationError, match=r"'cuda:2': this machine has 2 of that kind; .* start at most 2 on it"
    ):
        open_device("auto")
