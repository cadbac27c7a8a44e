"""A child process and its parent: neither waits for ever for the other, whatever the other does."""

import gc
import os
import pathlib
import signal
import threading
import time

import pytest

from hardware.child import Child, ChildEnded, apart
from hardware.errors import LenslessError

ECHO = "import json, sys\nfor line in sys.stdin: print(json.dumps({'got': len(json.loads(line)['text'])}), flush=True)"
SLEEP = "import time; time.sleep(60)"
PARENT = """
import os, time
from hardware.child import Parent
Parent(lambda: os._exit(7)).send(ready=True)
time.sleep(60)
"""


def child(code: str) -> Child:
    return Child(["-c", code])


def ended(pid: int, limit_s: float = 3.0) -> bool:
    deadline_s = time.monotonic() + limit_s
    while pathlib.Path(f"/proc/{pid}").exists() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return not pathlib.Path(f"/proc/{pid}").exists()


def test_the_last_words_of_a_child_are_kept_and_no_more_of_them():
    talks = "import sys\nfor _ in range(100_000): sys.stderr.write('Corrupt JPEG data: premature end\\n')\n"
    with child(talks + "sys.exit('and then the lens fell off')") as noisy:
        assert os.readlink(f"/proc/{noisy.pid}/fd/2").startswith("pipe:")  # a file would grow for ever
        with pytest.raises(ChildEnded, match="exit code 1: and then the lens fell off"):
            noisy.receive(10)
        assert len(noisy._words) <= 2000
    with pytest.raises(ChildEnded, match="the lens fell off"):  # also when somebody else has closed it
        noisy.receive(0)


def test_a_message_that_a_signal_interrupts_arrives_whole():
    with child(ECHO) as stopped:
        os.kill(stopped.pid, signal.SIGSTOP)
        before = signal.signal(signal.SIGALRM, lambda *_: os.kill(stopped.pid, signal.SIGCONT))
        signal.setitimer(signal.ITIMER_REAL, 0.3)  # when the pipe is full, and the write has done a part
        try:
            stopped.send(text="x" * 1_000_000)
        finally:
            signal.signal(signal.SIGALRM, before)
        assert stopped.receive(10) == {"got": 1_000_000}


def test_close_does_not_wait_for_whoever_writes_to_a_child_that_does_not_read():
    stopped = child(ECHO)
    os.kill(stopped.pid, signal.SIGSTOP)
    sender = threading.Thread(target=lambda: stopped.send(text="x" * 1_000_000))
    sender.start()
    time.sleep(0.2)
    closer = threading.Thread(target=lambda: stopped.close(0.2, text="the end"), daemon=True)
    closer.start()
    closer.join(3)
    hung = closer.is_alive()
    if hung:
        os.kill(stopped.pid, signal.SIGKILL)
    sender.join(3)
    assert not hung and not sender.is_alive() and ended(stopped.pid)


@pytest.mark.parametrize("line", [b"{damaged\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n"])
def test_a_damaged_line_ends_a_child_as_the_end_of_its_parent_would(line):
    with child(PARENT) as hears:
        assert hears.receive(10) == {"ready": True}
        hears._process.stdin.write(line)
        assert hears.wait(5) and hears._process.returncode == 7


@pytest.mark.parametrize("line", ["{damaged", "5", "[" * 100_000])
def test_a_damaged_line_of_a_child_is_an_error_and_what_follows_is_heard(line):
    with child(f"print({line!r}); print('{{\"then\": 1}}')") as upset:
        with pytest.raises(LenslessError, match="a child process said"):
            upset.receive(10)
        assert upset.receive(10) == {"then": 1}


def test_a_child_that_is_forgotten_reads_the_end_of_its_input():
    forgotten = child(PARENT)
    assert forgotten.receive(10) == {"ready": True}
    pid = forgotten.pid
    del forgotten
    gc.collect()
    assert ended(pid)


def test_ctrl_c_reaches_the_parent_alone():
    assert apart("win32") == {"creationflags": 0x200}  # CREATE_NEW_PROCESS_GROUP
    assert apart("linux") == apart("darwin") == {"start_new_session": True}
    with child(SLEEP) as alone:
        assert os.getsid(alone.pid) == alone.pid
