"""`lensless show`: monitors, and test patterns on one of them."""

import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner
from x_server import needs, run, window_manager, x_server

from lensless.app import display_commands, show

SHAPE = (14, 12)


def lensless(*arguments: str):
    app = typer.Typer()
    app.callback()(lambda: None)
    for command in display_commands.COMMANDS:
        app.command()(command)
    return CliRunner().invoke(app, ["show", *arguments])


def result(*arguments: str) -> dict:
    done = lensless(*arguments, "--json", "-")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def server():
    with x_server((400, 300)) as server:
        yield server


def test_monitors_are_listed_with_the_addresses_that_open_them(server):
    server.split(LEFT="240/60x300/80+0+0", RIGHT="160/40x300/80+240+0")
    found = result()["monitors"]
    assert [one["address"] for one in found] == ["window:0", "window:1"]
    assert [(one["left_px"], one["width_px"], one["height_px"]) for one in found] == [(0, 240, 300), (240, 160, 300)]
    shown = result(found[1]["address"], "--seconds", "0.1", "--shape", "10x20")
    assert (shown["monitor"]["number"], shown["shape"], shown["pixels_per_point"]) == (1, [10, 20], 8)
    assert shown["verified"] and shown["ended_by"] == "time"


def test_a_pattern_has_as_many_points_as_the_rig(server):
    shown = result("window:0", "--rig", "cannula-v1", "--seconds", "0", "--pattern", "digit")
    assert shown["shape"] == [32, 32]


@pytest.mark.parametrize(("key", "ended_by"), [("space", "key"), ("Escape", "interrupt")])
def test_a_key_ends_it(server, monkeypatch, key, ended_by):
    needs("xdotool")
    look = show.Window.key

    def press(window: show.Window) -> str | None:
        run("xdotool", "key", key)
        return look(window)

    monkeypatch.setattr(show.Window, "key", press)
    with window_manager():
        assert result("window:0", "--seconds", "60")["ended_by"] == ended_by


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["1"], "expected window:NUMBER, e.g. window:0"),
        (["window:0", "--pattern", "gray"], "expected one of white, black, checker, digit, ramp, frame, or grey:LEVEL"),
        (["window:0", "--pattern", "grey:1.5"], "grey:LEVEL, 0 to 1"),
        (["window:0", "--pattern", "digit", "--shape", "6x9"], "digit needs 7 x 5 points; got 6 x 9"),
        (["window:0", "--shape", "32"], "--shape '32'; expected ROWSxCOLUMNS"),
        (["window:0", "--shape", "0x4"], "--shape '0x4'; expected ROWSxCOLUMNS"),
        (["window:0", "--shape", "4x4", "--rig", "bare-v1"], "--rig and --shape both say"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(arguments, message):
    done = lensless(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_machine_without_a_desktop_is_told_so(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    pytest.importorskip("mss", reason="mss is not installed")
    for arguments in ([], ["window:0"]):
        done = lensless(*arguments)
        assert done.exit_code == 2 and "DISPLAY is not set" in done.stderr


def test_patterns_are_what_they_are_called():
    assert (show.picture_of("white", SHAPE) == 1).all() and not show.picture_of("black", SHAPE).any()
    assert (show.picture_of("grey:0.25", SHAPE) == 0.25).all() and (show.picture_of("grey:1", SHAPE) == 1).all()
    checker = show.picture_of("checker", SHAPE)
    assert checker[0, 0] == 0 and (np.abs(np.diff(checker, axis=0)) == 1).all()
    assert (np.abs(np.diff(checker, axis=1)) == 1).all()
    ramp = show.picture_of("ramp", SHAPE)
    assert (np.diff(ramp, axis=1) > 0).all() and (ramp[:, 0] == 0).all() and (ramp[:, -1] == 1).all()
    frame = show.picture_of("frame", SHAPE)
    assert frame.sum() == 2 * 14 + 2 * 10 + 8 and (frame[:3, :5] == 1).all()


@pytest.mark.parametrize("name", ["digit", "frame"])
def test_a_pattern_that_shows_the_direction_has_no_symmetry(name):
    picture = show.picture_of(name, (32, 32))
    ways = [np.rot90(way, turns) for way in (picture, picture[:, ::-1]) for turns in range(4)]
    assert [index for index, way in enumerate(ways) if np.array_equal(way, picture)] == [0]
