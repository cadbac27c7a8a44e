"""Commands of `lensless` that run for hours, several at once, each with its share of the processors."""

import concurrent.futures
import dataclasses
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import TextIO

from hardware.errors import StorageError
from lensless.app.screen import INTERRUPTED, Screen


@dataclasses.dataclass(frozen=True)
class Job:
    """Commands, words behind `lensless`, one after the other; what they print goes to a file.

    `after` names an earlier job, of which this one needs the results.
    """

    name: str
    commands: list[list[str]]
    log: pathlib.Path
    after: str | None = None


def typed(words: list[str]) -> str:
    return shlex.join(["lensless", *words])


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def side_by_side(jobs: list[Job], at_once: int, screen: Screen, ended: Callable[[Job, int], None]) -> None:
    """Run jobs, and tell of each that ended the exit code of its first command that failed, or 0.

    A job whose `after` failed ends with that one's code. When we are interrupted, the commands are, too, and have
    written what they hold before this returns.
    """
    total = sum(len(job.commands) for job in jobs)
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool, screen.following("bench", total, "commands") as follow:
        crew = _Crew(max(1, processors() // at_once), screen, follow)
        try:
            ends: dict[str, concurrent.futures.Future] = {}
            for job in jobs:  # they begin in this order: one that waits for another waits for one that has begun
                ends[job.name] = pool.submit(crew.work, job, ends.get(job.after))
            of = {end: job for job, end in zip(jobs, ends.values(), strict=True)}
            for end in concurrent.futures.as_completed(of):
                ended(of[end], end.result())
        finally:
            crew.stop()


def _opened(path: pathlib.Path) -> TextIO:
    try:
        return path.open("a")
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; make room, or name another folder") from error


class _Crew:
    """What runs; interrupted by us alone and once, also when the terminal's Ctrl-C reaches all that it knows."""

    def __init__(self, threads: int, screen: Screen, follow: Callable[[int, str], None]):
        self._environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
        self._screen, self._follow = screen, follow
        self._running: dict[str, subprocess.Popen] = {}
        self._done, self._stopped, self._lock = 0, False, threading.Lock()

    def work(self, job: Job, before: concurrent.futures.Future | None) -> int:
        code = 0 if before is None else before.result()
        for words in job.commands:
            code = code or self._run(job, words)
            with self._lock:
                self._done += 1
                self._follow(self._done, ", ".join(self._running))
        return code

    def stop(self) -> None:
        with self._lock:
            self._stopped = True
            for process in self._running.values():
                process.send_signal(signal.SIGINT)

    def _run(self, job: Job, words: list[str]) -> int:
        with _opened(job.log) as log:
            log.write(f"$ {typed(words)}\n")
            log.flush()
            with self._lock:
                if self._stopped:
                    return INTERRUPTED
                self._screen.say(f"{job.name}: {typed(words)}")
                self._running[job.name] = subprocess.Popen(
                    [sys.executable, "-m", "optics_free", *words], stdin=subprocess.DEVNULL, stdout=log,
                    stderr=subprocess.STDOUT, env=self._environment, start_new_session=True,
                )  # fmt: skip
                self._follow(self._done, ", ".join(self._running))
            code = self._running[job.name].wait()
            with self._lock:
                del self._running[job.name]
        return code
