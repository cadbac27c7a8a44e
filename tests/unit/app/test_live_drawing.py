"""What people see of a live view: half blocks, pages of pixels, lines that are rewritten, a window."""

import io
import json
import threading
import time

import numpy as np
import pytest
from rich.console import Console
from x_server import needs, run, window_manager, x_server

from lensless.app.live import drawing, views
from lensless.app.live.drawing import HalfBlocks, fitted, levels_of_frame, levels_of_picture, shrunk
from lensless.app.live.results import Labels, Picture
from lensless.app.live.views import Scene
from lensless.app.screen import Screen


def console(**options) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=80, height=24, **options)


def test_each_half_block_is_two_pixels_one_above_the_other():
    levels = np.array([[[0, 0, 0], [255, 0, 0]], [[255, 255, 255], [0, 0, 255]], [[0, 255, 0]] * 2], np.uint8)
    rows = console(color_system="truecolor").render_lines(HalfBlocks(levels), pad=False)
    found = [
        [(one.text, tuple(one.style.color.triplet), tuple(one.style.bgcolor.triplet)) for one in row] for row in rows
    ]
    black, white, red, green, blue = (0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)
    assert found == [[("▀", black, white), ("▀", red, blue)], [("▀", green, green)] * 2]


def test_without_colours_brightness_is_drawn():
    levels = np.repeat(np.linspace(0, 255, 5)[None, :, None], 3, 2).repeat(4, 0).astype(np.uint8)
    for options, line in (({"color_system": None}, " ░▒▓█"), ({"no_color": True}, " ░▒▓█")):
        shown = console(**options)
        shown.print(HalfBlocks(levels))
        assert shown.file.getvalue().splitlines() == [line, line]


@pytest.mark.parametrize("shape", [(3, 5), (48, 48), (240, 240), (61, 200), (500, 7), (480, 640, 3)])
def test_pictures_are_fitted_by_whole_pixels(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    drawn = fitted(pixels, 48, 40)
    assert drawn.shape[0] <= 48 and drawn.shape[1] <= 40 and drawn.shape[2:] == pixels.shape[2:]
    if pixels.shape[0] <= 48 and pixels.shape[1] <= 40:
        side = drawn.shape[0] // shape[0]
        np.testing.assert_array_equal(drawn[::side, ::side], pixels)
    side = -(-max(shape[0] / 48, shape[1] / 40) // 1)
    np.testing.assert_allclose(shrunk(pixels, 48, 40)[0, 0], pixels[: int(side), : int(side)].mean((0, 1)))


def test_frames_and_pictures_of_one_channel_and_of_three_are_drawn():
    frame = np.arange(10_000, dtype=np.uint16).reshape(100, 100)
    levels = levels_of_frame(frame, 200, 200)
    assert levels.shape == (100, 100, 3) and (np.ptp(levels, 2) == 0).all()
    assert levels[0, 0, 0] == 0 and levels[-1, -1, 0] == 255 and abs(int(levels[50, 0, 0]) - 128) <= 1
    colour = np.stack([np.full((2, 2), one, np.float32) for one in (1.0, 0.5, -1.0)])
    assert levels_of_picture(colour)[0, 0].tolist() == [255, 128, 0]
    assert levels_of_picture(colour[:1])[0, 0].tolist() == [255] * 3
    assert levels_of_frame(np.zeros((4, 4, 3), np.uint8), 9, 9).shape == (4, 4, 3)


def test_a_page_has_one_size_and_holds_the_pictures_as_squares():
    red = np.zeros((2, 2, 3), np.uint8)
    red[0, 0, 0] = 255
    page = drawing.page({"raw frame": None, "picture": red}, ["a", "word " * 60])
    assert page.shape == drawing.page({"raw frame": red, "picture": None}, []).shape
    assert (page == (255, 0, 0)).all(2).sum() == 192**2


PICTURE = Picture(np.random.default_rng(0).random((1, 16, 16), np.float32), np.arange(576).reshape(24, 24))


@pytest.mark.parametrize(("result", "shows"), [(Labels([("[red]", 0.9), ("b", 0.1)]), "[red]"), (PICTURE, "▀")])
def test_a_terminal_is_given_back(monkeypatch, result, shows):
    screen = Screen()
    monkeypatch.setattr(screen, "console", console(color_system="truecolor", legacy_windows=False))
    with views.opened_terminal(screen, pictures=True) as (terminal,):
        terminal.tell("the camera is back")
        assert terminal.due()
        assert terminal.show(Scene(result, "", "mean of 2 frames", "9.0 measurements/s", "dropped 0", "running"))
        assert not terminal.due()
    written = screen.console.file.getvalue()
    for text in (shows, "mean of 2 frames", "9.0 measurements/s", "dropped 0", "running", "the camera is back"):
        assert text in written
    assert written.index("\x1b[?1049h") < written.index(shows) < written.index("\x1b[?1049l")


@pytest.mark.parametrize("keys", ["q", "Escape", "alt+F4"])
def test_a_window_is_closed_by_its_user(lensless, reconstruct_run, tiny, tmp_path, keys):
    needs("xdotool")
    out = tmp_path / "live.json"
    with x_server((1000, 700)) as server, window_manager():
        seen, done = [], threading.Event()

        def look_and_close() -> None:
            while not done.wait(0.05):
                whole = server.coloured()
                if (whole == 0x181818).sum() > 50_000:  # the page, and what it shows
                    seen.append(len(np.unique(whole)))
                    run("xdotool", "key", keys)
                    time.sleep(0.2)

        user = threading.Thread(target=look_and_close)
        user.start()
        try:
            arguments = ("--live", "--window", "--seconds", 30, "--json", out)
            ended = lensless("reconstruct", reconstruct_run, f"simulated:{tiny}?fps=20", *arguments)
        finally:
            done.set()
            user.join()
    assert ended.exit_code == 0, ended.output
    facts = json.loads(out.read_text())
    assert facts["ended_by"] == "window" and facts["measurements"] > 0
    assert max(seen) > 40, "a page of more than text"
