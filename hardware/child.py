"""A child process that is spoken to in JSON, a line each way; nothing that comes from it can run code.

Started as a program of its own and not by `multiprocessing`: that runs the caller's script again in the child unless
it is guarded, and sends pickles.
"""

import contextlib
import json
import os
import pathlib
import queue
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import NoReturn

from hardware import errors
from hardware.closing import Closing
from hardware.errors import LenslessError

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_WORDS_KEPT = 2000
KINDS = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}


class Child(Closing):
    """The child, as its parent sees it.

    Ctrl-C reaches the parent alone, which then ends the child in order. A child whose parent is gone, or has forgotten
    it, reads the end of its input.

    Args:
        arguments: of the Python interpreter, e.g. ["-m", "hardware.driver_process", ...].
    """

    def __init__(self, arguments: list[str]):
        path = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-P", *arguments],  # -P: a json.py in the current folder is not code of ours
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            # Each thread of OpenBLAS reserves memory, and a child may have little.
            env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
            **apart(sys.platform),
        )
        self._messages: queue.SimpleQueue[dict | None] = queue.SimpleQueue()
        self._words = bytearray()  # the last of its standard error
        self._sending = threading.Lock()
        # The threads know nothing of this object, which may be forgotten while they wait.
        self._reader = _thread(_read, self._process, self._messages)
        self._listener = _thread(_listen, self._process, self._words)
        weakref.finalize(self, self._process.stdin.close)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, **message: object) -> None:
        """Say something. A child that is gone hears nothing: `receive` tells of its end."""
        line = memoryview(json.dumps(message).encode() + b"\n")
        try:
            with self._sending:
                while line:  # a signal may leave a write half done
                    line = line[self._process.stdin.write(line) :]
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

    def kill(self) -> None:
        """End it by force, and wait for nothing."""
        self._process.kill()

    def close(self, timeout_s: float = 0.0, **last: object) -> None:
        """Wait for a child that was told to end, and kill it if it has not by then; a second call does nothing.

        Args:
            timeout_s: how long to wait.
            last: a message to send before.
        """
        # Whoever writes to a child that does not read waits until it is killed.
        killer = threading.Timer(timeout_s, self._process.kill)
        killer.start()
        if last:
            self.send(**last)
        self.wait(timeout_s + 1.0)  # it stays for ever only if it hangs inside the kernel, and then nothing helps
        killer.cancel()
        killer.join()
        with self._sending:
            self._process.stdin.close()
        # A grandchild may hold the pipes: then the threads, daemons, are left to themselves.
        self._reader.join(0.5)
        self._listener.join(0.5)

    def _how_it_ended(self) -> str:
        """Its exit code or signal, and the last words on its standard error."""
        if not self.wait(1.0):
            return "it says nothing more"
        self._listener.join(0.5)
        code, words = self._process.returncode, bytes(self._words).decode(errors="replace").strip().splitlines()
        how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"{how}: {words[-1]}" if words else how


def apart(system: str) -> dict[str, object]:
    """How a process is started on a system (`sys.platform`) so that Ctrl-C of this terminal does not reach it."""
    create_new_process_group = 0x200  # in `subprocess` on Windows only
    return {"creationflags": create_new_process_group} if system == "win32" else {"start_new_session": True}


def _thread(work: Callable[..., None], process: subprocess.Popen, into: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=(process, into), name=f"reader of {process.pid}", daemon=True)
    thread.start()
    return thread


def _read(process: subprocess.Popen, messages: queue.SimpleQueue) -> None:
    with process.stdout as pipe:
        for line in _lines(lambda: pipe.read(65536)):
            try:
                messages.put(_message(line))
            except ValueError:
                messages.put({"error": "LenslessError", "text": f"a child process said {line[:100]!r}"})
    messages.put(None)
    process.wait()  # or it would stay a zombie when it was forgotten


def _listen(process: subprocess.Popen, words: bytearray) -> None:
    with process.stderr as pipe:
        while block := pipe.read(65536):
            words += block
            del words[:-_WORDS_KEPT]


def _lines(read: Callable[[], bytes]) -> Iterator[bytes]:
    rest = b""
    while block := read():
        *lines, rest = (rest + block).split(b"\n")
        yield from lines


def _message(line: bytes) -> dict:
    """Raises ValueError: it is none."""
    try:
        message = json.loads(line)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(message, dict):
        raise ValueError("not a message")
    return message


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
        try:
            for line in _lines(lambda: os.read(0, 65536)):
                self._messages.put(_message(line))
        except (OSError, ValueError) as error:
            os.write(2, f"what the parent said cannot be read: {error}\n".encode())
        self._messages.put(None)
        self._on_end()


def serve_parent(work: Callable[[Parent], None], failure: Callable[[Exception], LenslessError]) -> NoReturn:
    """Do `work` for the parent process, say what went wrong, and leave; `failure` names what a library raised."""
    parent = Parent(on_end=leave)  # also out of a driver that hangs
    try:
        work(parent)
    except EOFError:  # the parent has enough
        leave()
    except LenslessError as error:
        parent.send(**error_message(error))
    except Exception as error:  # drivers and toolkits may raise anything; the parent tells of it
        parent.send(**error_message(failure(error)))
    leave()


def without_core_dump() -> None:
    """Where a library aborts this process, that leaves no file behind."""
    with contextlib.suppress(ImportError):  # Windows
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def leave(code: int = 0) -> NoReturn:
    """End this process at once: libraries that hang or fall at exit are not asked."""
    sys.stderr.flush()
    os._exit(code)


def deadline(timeout_s: float) -> Callable[[], float]:
    """Returns the seconds that are left until `timeout_s` from now, at least 0."""
    end_s = time.monotonic() + timeout_s
    return lambda: max(0.0, end_s - time.monotonic())
