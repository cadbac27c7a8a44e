"""A child process that is spoken to in JSON, a line each way; nothing that comes from it can run code.

Started as a program of its own and not by `multiprocessing`: that runs the caller's script again in the child unless
it is guarded, and sends pickles.
"""

import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from hardware import errors
from hardware.closing import Closing
from hardware.errors import LenslessError

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_WORDS_KEPT = 2000
KINDS = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}


class Child(Closing):
    """The child, as its parent sees it.

    Ctrl-C reaches the parent alone, which then ends the child in order. A child whose parent is gone reads the end of
    its input.

    Args:
        arguments: of the Python interpreter, e.g. ["-m", "hardware.driver_process", ...].
    """

    def __init__(self, arguments: list[str]):
        path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._words = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the child)
        self._process = subprocess.Popen(
            [sys.executable, "-P", *arguments],  # -P: a json.py in the current folder is not code of ours
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        self._messages: queue.SimpleQueue[dict | None] = queue.SimpleQueue()
        self._sending = threading.Lock()
        self._reader = threading.Thread(target=self._read, name=f"reader of {self._process.pid}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, **message: object) -> None:
        """Say something. A child that is gone hears nothing: `receive` tells of its end."""
        line = json.dumps(message).encode() + b"\n"
        try:
            with self._sending:
                self._process.stdin.write(line)
        except (OSError, ValueError):  # a broken pipe, or one that `close` has closed
            return

    def receive(self, timeout_s: float) -> dict | None:
        """The next message; None if there was none in time.

        Raises:
            ChildEnded: it said nothing more, and will not.
            LenslessError: the child tells of an error of its own, which is raised here.
        """
        try:
            message = self._messages.get(timeout=timeout_s) if timeout_s > 0 else self._messages.get_nowait()
        except queue.Empty:
            return None
        if message is None:
            self._messages.put(None)  # whoever asks again hears the same
            raise ChildEnded(self._how_it_ended())
        if "error" in message:
            raise error_of(message)
        return message

    def wake(self) -> None:
        """Let a `receive` that waits in another thread raise ChildEnded."""
        self._messages.put(None)

    def wait(self, timeout_s: float) -> bool:
        """Whether the child has ended by then."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def close(self, timeout_s: float = 0.0) -> None:
        """Wait for a child that was told to end, and kill it if it has not by then; a second call does nothing."""
        ended = self.wait(timeout_s)
        with self._sending:
            self._process.stdin.close()
        if not ended:
            self._process.kill()
            self.wait(1.0)  # it stays for ever only if it hangs inside the kernel, and then nothing helps
        # A grandchild may hold the pipe: then the reader, a daemon, is left to itself.
        self._reader.join(0.5)
        if not self._reader.is_alive():
            self._process.stdout.close()
        self._words.close()

    def _read(self) -> None:
        for line in self._lines():
            try:
                self._messages.put(json.loads(line))
            except ValueError:
                self._messages.put({"error": "LenslessError", "text": f"a child process said {line[:100]!r}"})
        self._messages.put(None)

    def _lines(self):
        rest = b""
        while block := self._process.stdout.read(65536):
            *lines, rest = (rest + block).split(b"\n")
            yield from lines

    def _how_it_ended(self) -> str:
        """Its exit code or signal, and the last words on its standard error."""
        if not self.wait(1.0):
            return "it says nothing more"
        code = self._process.returncode
        how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if self._words.closed:
            return how
        size = self._words.seek(0, os.SEEK_END)
        self._words.seek(max(0, size - _WORDS_KEPT))
        words = self._words.read().decode(errors="replace").strip().splitlines()
        return f"{how}: {words[-1]}" if words else how


class ChildEnded(Exception):
    """A child process is gone; the text says how. Whoever has the child raises the error that this means."""


def error_of(message: dict) -> LenslessError:
    """The error of which a child told, of the same kind."""
    return KINDS.get(message["error"], LenslessError)(message["text"])


def error_message(error: LenslessError) -> dict[str, str]:
    """What is sent of an error."""
    return {"error": type(error).__name__, "text": str(error)}


class Parent:
    """The parent, as its child sees it.

    Args:
        on_end: called in another thread as soon as the parent is gone or has closed the child, even while the child
            hangs in a driver.
    """

    def __init__(self, on_end: Callable[[], None] = lambda: None):
        self._out = os.dup(1)
        os.dup2(2, 1)  # what libraries print to standard output would be read as messages
        self._messages: queue.SimpleQueue[dict | None] = queue.SimpleQueue()
        self._on_end = on_end
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, **message: object) -> None:
        line = json.dumps(message).encode() + b"\n"
        try:
            while line:
                line = line[os.write(self._out, line) :]
        except BrokenPipeError:
            return  # the parent is gone: the end of its messages says so, too

    def receive(self, timeout_s: float | None = None) -> dict | None:
        """The next message; None if there was none in time.

        Raises:
            EOFError: the parent is gone, or has closed this child.
        """
        try:
            block = timeout_s is None or timeout_s > 0
            message = self._messages.get(block, timeout_s)
        except queue.Empty:
            return None
        if message is None:
            self._messages.put(None)
            raise EOFError
        return message

    def _read(self) -> None:
        # Not through sys.stdin: its lock, held by a daemon thread, would end the interpreter with a fatal error.
        rest = b""
        while block := os.read(0, 65536):
            *lines, rest = (rest + block).split(b"\n")
            for line in lines:
                self._messages.put(json.loads(line))
        self._messages.put(None)
        self._on_end()


def leave(code: int = 0) -> NoReturn:
    """End this process at once: libraries that hang or fall at exit are not asked."""
    sys.stderr.flush()
    os._exit(code)


def deadline(timeout_s: float) -> Callable[[], float]:
    """Returns the seconds that are left until `timeout_s` from now, at least 0."""
    end_s = time.monotonic() + timeout_s
    return lambda: max(0.0, end_s - time.monotonic())
