"""What people see of a command, on a real terminal and in a file."""

import os
import select
import sys

import pytest

from lensless.app.screen import Screen


@pytest.mark.skipif(os.name != "posix", reason="no pseudo-terminals here")
@pytest.mark.timeout(20)
def test_what_is_said_beside_a_bar_is_shown_also_where_the_work_outlasts_the_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        screen = Screen(lasting=True)
        with screen.following("recording", 3) as watch:
            watch(1, "none lost")
            screen.say("the camera is open")
            print("printed by somebody else")
        terminal.flush()
        wanted, shown = ("recording", "of 3", "the camera is open", "printed by somebody else"), ""
        while missing := [text for text in wanted if text not in shown]:
            assert select.select([ours], [], [], 5)[0], f"{missing} not in {shown!r}"
            shown += os.read(ours, 65536).decode(errors="replace")
    os.close(ours)


def test_a_file_is_no_terminal_where_colours_are_asked_for(monkeypatch, tmp_path):
    """Jupyter asks for them; a bar that is drawn into its output is a hundred lines of control sequences."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    with open(tmp_path / "shown.txt", "w+") as file:
        monkeypatch.setattr(sys, "stdout", file)
        screen = Screen()
        with screen.working("tracing"), screen.following("recording", 3) as watch:
            watch(1, "none lost")
        screen.table("what it saw", ["scene", "label"], [["0", "A"]])
        file.seek(0)
        shown = file.read()
    assert "tracing: " in shown and "what it saw" in shown
    assert "\x1b" not in shown
