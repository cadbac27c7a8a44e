"""What all tests share."""

import os
import pathlib
import signal
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent

# A shell that starts the tests in the background lets them ignore Ctrl-C; some of them press it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_leaked_threads():
    """A thread that outlives its test belongs to something that was not closed."""
    before = set(threading.enumerate())
    yield
    deadline_s = time.monotonic() + 2
    while leaked := [thread for thread in threading.enumerate() if thread not in before and thread.is_alive()]:
        if time.monotonic() > deadline_s:
            pytest.fail(f"threads still run 2 s after the test: {leaked}")
        time.sleep(0.01)


@pytest.fixture(scope="session")
def data_root() -> pathlib.Path:
    """The folder of real data; tests that need it are skipped where it is absent."""
    folder = pathlib.Path(os.environ.get("OPTICS_FREE_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no data at '{folder}'; set OPTICS_FREE_DATA")
    return folder


@pytest.fixture
def cache_folder(tmp_path, monkeypatch) -> pathlib.Path:
    """An empty cache of its own for tests that look at what is cached."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("OPTICS_FREE_CACHE", str(folder))
    return folder
