"""What torture tests share: how often, starting the children of the recording tests, waiting."""

import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable

# LENSLESS_TORTURE=N, before a release: the counts of the night, in tests that are marked as slow.
AT_NIGHT = bool(os.environ.get("LENSLESS_TORTURE"))
TESTS = pathlib.Path(__file__).resolve().parents[1]
CHILD = pathlib.Path(__file__).with_name("recording_child.py")


def start(*arguments: object, stderr: int | None = None, under: tuple[str, ...] = ()) -> subprocess.Popen:
    """A child whose stdin and stdout are text pipes, run by the command `under`, if any."""
    path = os.pathsep.join(map(str, (TESTS.parent, TESTS)))
    return subprocess.Popen(
        [*under, sys.executable, str(CHILD), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )


def read_in_fresh_process(*paths: object) -> list:
    """What each recording holds: its digests, or the error as a dict."""
    with start("read_all", *paths) as child:
        lines = child.communicate()[0].splitlines()
    return [json.loads(line) for line in lines]


def acknowledged(lines: list[str]) -> list[str]:
    """Digests of the acknowledged frames, which count from 0; a line that was cut off acknowledges nothing."""
    pairs = [line.split() for line in lines if line.endswith("\n") and line[0].isdigit()]
    assert [int(index) for index, _ in pairs] == list(range(len(pairs)))
    return [digest for _, digest in pairs]


def wait_for(holds: Callable[[], bool], limit_s: float = 10) -> float:
    """Seconds that it took until `holds()`."""
    begin_s = time.monotonic()
    while not holds():
        assert time.monotonic() < begin_s + limit_s
        time.sleep(0.001)
    return time.monotonic() - begin_s
