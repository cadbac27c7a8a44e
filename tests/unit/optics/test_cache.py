"""What is kept in the cache: found again, bounded, and never a reason to fail."""

import errno
import os
import pathlib
import resource
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from hardware import lock
from lensless.optics import cache


class Counted:
    """A computation that counts how often it ran."""

    def __init__(self, size: int = 100):
        self.runs, self.size = 0, size

    def __call__(self) -> dict[str, torch.Tensor]:
        self.runs += 1
        return {"matrix": torch.arange(self.size, dtype=torch.float64).view(2, -1).T}


@pytest.fixture
def compute():
    return Counted()


def ask(compute, parameters: dict | None = None, code: str = __file__) -> torch.Tensor:
    return cache.tensors("made-up", parameters or {"seed": 1}, code, compute)["matrix"]


def only_file(folder: pathlib.Path) -> pathlib.Path:
    (path,) = folder.iterdir()
    return path


def test_the_second_time_it_is_read_bit_for_bit(cache_folder, compute):
    first, second = ask(compute), ask(compute)
    assert compute.runs == 1 and torch.equal(first, second) and first.dtype == second.dtype == torch.float64
    assert only_file(cache_folder).name.startswith("made-up-")


def test_other_parameters_and_other_code_are_computed_anew(cache_folder, compute, tmp_path):
    code = tmp_path / "code.py"
    code.write_text("x = 1")
    ask(compute, code=code)
    ask(compute, {"seed": 2}, code=code)
    code.write_text("x = 2")
    ask(compute, code=code)
    assert compute.runs == 3 and len(list(cache_folder.iterdir())) == 3
    ask(compute, {"seed": 1}, code=code)
    assert compute.runs == 3


def test_of_several_that_want_the_same_one_computes_it(cache_folder, compute):
    def slow() -> dict[str, torch.Tensor]:
        time.sleep(0.2)  # in which all others ask
        return compute()

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: ask(slow), range(6)))
    assert compute.runs == 1 and all(torch.equal(one, found[0]) for one in found)
    only_file(cache_folder)  # and no lock is left


def test_nobody_waits_where_no_lock_can_be_had(cache_folder, compute, monkeypatch):
    def no_locks(handle: int) -> None:
        raise OSError(errno.ENOLCK, "no locks on this disk")

    monkeypatch.setattr(lock, "_take", no_locks)
    assert torch.equal(ask(compute), ask(compute)) and compute.runs == 1


@pytest.mark.parametrize("keep", [0, 5, 60, -1])
def test_a_damaged_file_is_computed_again_and_replaced(cache_folder, compute, keep):
    whole = ask(compute)
    path = only_file(cache_folder)
    path.write_bytes(path.read_bytes()[:keep])
    assert torch.equal(ask(compute), whole) and compute.runs == 2
    assert torch.equal(ask(compute), whole) and compute.runs == 2
    assert only_file(cache_folder) == path


def test_the_folder_stays_below_its_bound_and_the_oldest_go_first(cache_folder, monkeypatch):
    monkeypatch.setattr(cache, "BOUND_BYTES", 3500)
    computations = [Counted() for _ in range(6)]  # about 900 bytes each
    for number, compute in enumerate(computations):
        ask(compute, {"number": number})
        for path in cache_folder.iterdir():  # some file systems count seconds
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 10))
        ask(computations[0], {"number": 0})  # used all the time, so never the oldest
    assert sum(path.stat().st_size for path in cache_folder.iterdir()) <= 3500
    assert [compute.runs for compute in computations] == [1] * 6
    for number in (0, 5, 1):
        ask(computations[number], {"number": number})
    assert [compute.runs for compute in computations] == [1, 2, 1, 1, 1, 1]


def test_a_folder_that_cannot_be_made_costs_time_only(tmp_path, monkeypatch, compute):
    (tmp_path / "taken").write_text("a file")
    monkeypatch.setenv("OPTICS_FREE_CACHE", str(tmp_path / "taken" / "cache"))
    assert torch.equal(ask(compute), ask(compute)) and compute.runs == 2


def refuse(*arguments, **options):
    raise PermissionError(13, "Permission denied")


def test_a_read_only_cache_of_somebody_else_is_read(cache_folder, compute, monkeypatch):
    whole = ask(compute)
    for name in ("utime", "replace", "unlink"):  # permissions do not stop a test that runs as root
        monkeypatch.setattr(os, name, refuse)
    assert torch.equal(ask(compute), whole) and compute.runs == 1
    path = only_file(cache_folder)
    path.write_bytes(path.read_bytes()[:60])
    assert torch.equal(ask(compute), whole) and compute.runs == 2


def test_a_full_disk_costs_time_only(cache_folder):
    compute = Counted(2 * 10**5)
    before, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10**5, before[1]))
        assert len(ask(compute)) == 10**5
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(cache_folder.iterdir()) == []


def test_where_it_lies(monkeypatch, tmp_path):
    monkeypatch.delenv("OPTICS_FREE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "optics-free"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.folder() == pathlib.Path.home() / ".cache" / "optics-free"
