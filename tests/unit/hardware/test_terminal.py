"""The pseudo-terminal of the emulators: no byte is changed, and pulling it out is seen at both ends."""

import os
import threading
import time

import pytest

from hardware.emulators.terminal import Terminal
from hardware.errors import ConfigurationError, DeviceLost
from hardware.serial_port import SerialPort

EVERY_BYTE = bytes(range(256)) * 40


def read_all(read, count: int) -> bytes:
    end_s, got = time.monotonic() + 5, b""
    while len(got) < count and time.monotonic() < end_s:
        got += read(0.2)
    return got


def test_every_byte_comes_through_in_both_directions(tmp_path):
    with Terminal(tmp_path / "board") as terminal, SerialPort(str(tmp_path / "board")) as port:
        for write, read in ((terminal.write, port.read), (port.write, terminal.read)):
            writing = threading.Thread(target=write, args=(EVERY_BYTE,))
            writing.start()
            assert read_all(read, len(EVERY_BYTE)) == EVERY_BYTE
            writing.join()


def test_it_sees_who_has_it_open():
    with Terminal() as terminal:
        assert not terminal.opened and terminal.write(b"nobody hears this") == 0
        with SerialPort(terminal.path) as port:
            assert terminal.opened and terminal.write(b"but this") == 8
            assert read_all(port.read, 8) == b"but this"
        assert not terminal.opened
        begin_s = time.monotonic()
        assert terminal.read(0.1) == b"" and time.monotonic() - begin_s >= 0.1


def test_the_link_follows_it_to_another_name(tmp_path):
    link = tmp_path / "by-id"
    with Terminal(link) as terminal:
        first = terminal.path
        assert os.path.realpath(link) == first
        with SerialPort(str(link)) as port:
            terminal.unplug()
            terminal.unplug()
            assert not os.path.lexists(link) and not terminal.plugged and not terminal.opened
            with pytest.raises(DeviceLost):
                read_all(port.read, 1)
            with pytest.raises(DeviceLost):
                port.write(b"?")
        for _ in range(3):
            before = terminal.path
            terminal.replug()
            assert terminal.path != before and os.path.realpath(link) == terminal.path
        with SerialPort(str(link)) as port:
            terminal.write(b"again")
            assert read_all(port.read, 5) == b"again"
    assert not os.path.lexists(link)


@pytest.mark.parametrize("end", ["unplug", "close", "replug"])
def test_what_waits_ends_when_it_is_pulled_out(end):
    with Terminal() as terminal, SerialPort(terminal.path):
        got = {}
        waiting = [
            threading.Thread(target=lambda: got.update(read=terminal.read(60))),
            threading.Thread(target=lambda: got.update(sent=terminal.write(bytes(10**7)))),  # which nobody reads
        ]
        for each in waiting:
            each.start()
        time.sleep(0.1)
        getattr(terminal, end)()
        for each in waiting:
            each.join(2)
        assert got["read"] == b"" and got["sent"] < 10**6


def test_a_file_is_not_replaced_by_a_link(tmp_path):
    (tmp_path / "mine").write_text("keep me")
    with pytest.raises(ConfigurationError, match="is there already"):
        Terminal(tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "keep me"


def test_closed_it_stays_closed():
    terminal = Terminal()
    terminal.close()
    terminal.close()
    assert terminal.read(0.01) == b"" and terminal.write(b"x") == 0 and not terminal.opened
    with pytest.raises(ConfigurationError, match="closed"):
        terminal.replug()
