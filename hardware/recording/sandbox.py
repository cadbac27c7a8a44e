"""A child process with limits that reads files nobody vouches for.

HDF5 itself loops on some damaged files and crashes on others (1 in some hundreds of random mutants). Here that ends the
child: it may use 1 GiB of memory, leaves no core dump, and is killed when it has said nothing for 8 s. Where the
operating system limits no process (Windows), the time is all that is limited.
"""

import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import hardware
from hardware.closing import Closing
from hardware.errors import InputError

MEMORY_BYTES = 2**30
SILENCE_S = 8.0  # a bad file is told of within 10 s
LONGEST_LINE_BYTES = 2**16


class Fell(Exception):
    """The child ended before it had said all; the text says how."""


class Sandbox(Closing):
    """A child that does one job of `sandbox_child` and tells of it in lines of JSON, each with bytes behind it.

    Args:
        job: name of the job.
        arguments: of the job, as text.
        silence_s: the child is killed when it says nothing for so long.
    """

    def __init__(self, job: str, *arguments: object, silence_s: float = SILENCE_S):
        # -P: a file named json.py in the current folder is not code of ours.
        home = str(pathlib.Path(hardware.__file__).parents[1])
        paths = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "hardware.recording.sandbox_child", job, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Each thread of OpenBLAS reserves memory that counts.
            env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        self._silence_s, self._hung = silence_s, False
        self._due_s = time.monotonic() + silence_s
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._kill_when_silent, name="sandbox", daemon=True)
        self._watch.start()

    def tell(self, size_of_rest: str | None = None, most_bytes: int = 0) -> tuple[dict, bytes]:
        """The next line, and as many bytes as it says under `size_of_rest`.

        Raises:
            Fell: there is none, or it is nothing that a child of ours says.
            InputError: the child refuses the file, in its own words.
        """
        self._due_s = time.monotonic() + self._silence_s
        try:
            return self._tell(size_of_rest, most_bytes)
        finally:
            self._due_s = math.inf  # while nobody listens it may wait

    def _tell(self, size_of_rest: str | None, most_bytes: int) -> tuple[dict, bytes]:
        line = self._process.stdout.readline(LONGEST_LINE_BYTES)
        if not line.endswith(b"\n"):
            raise Fell(self._end())
        try:
            told = json.loads(line)
            size = int(told[size_of_rest]) if size_of_rest in told else 0
        except (ValueError, TypeError, RecursionError) as error:
            raise Fell("the reader was upset by it, and spoke nonsense") from error
        if "refused" in told:
            raise InputError(str(told["refused"])[:1000])
        if not 0 <= size <= most_bytes:
            raise Fell("the reader was upset by it, and spoke nonsense")
        rest = self._process.stdout.read(size)
        if len(rest) != size:
            raise Fell(self._end())
        return told, rest

    def close(self) -> None:
        """End the child; a second call does nothing."""
        self._ended.set()
        self._watch.join()
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def _kill_when_silent(self) -> None:
        while not self._ended.wait(0.05):
            if time.monotonic() > self._due_s:
                self._hung = True
                self._process.kill()
                return

    def _end(self) -> str:
        status = self._process.wait()
        if self._hung or -status == getattr(signal, "SIGXCPU", None):
            return f"it made the reader hang for {self._silence_s:.0f} s"
        how = signal.strsignal(-status) if status < 0 else f"exit code {status}"
        return f"it made the reader crash ({how})"
