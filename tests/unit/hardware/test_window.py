"""A window on a real X server, whose pixels are looked at from outside."""

import contextlib
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from x_server import XServer, needs, run, window_manager, x_server

from hardware import PatternSource
from hardware.errors import ConfigurationError, DeviceError, DeviceLost
from hardware.window import Window, open_window
from hardware.window.address import WindowOptions, parse_window
from hardware.window.full_screen import GREY, FullScreen
from hardware.window.layout import Layout
from hardware.window.monitors import Desktop, Monitor

SIZE, SHAPE = (400, 300), (3, 4)
POINTS = np.arange(12.0).reshape(SHAPE) / 11
LEVELS = np.rint(POINTS * 255).astype(np.uint8)
SQUARES = np.kron(LEVELS, np.ones((100, 100), np.uint8))  # of 3 x 4 points on 300 x 400 pixels


@pytest.fixture
def server():
    with x_server(SIZE) as server:
        yield server


@pytest.fixture
def two_monitors():
    with x_server((700, 300)) as server:
        server.split(LEFT="400/100x300/80+0+0", RIGHT="260/70x200/50+440+50")
        yield server


@pytest.fixture(params=["alone", "managed"])
def desktop(request, two_monitors) -> XServer:
    """With a window manager and without."""
    with window_manager() if request.param == "managed" else contextlib.nullcontext():
        yield two_monitors


def expected(levels: np.ndarray, left: int, top: int, side: int, size: tuple[int, int]) -> np.ndarray:
    """The whole desktop: squares at (left, top), and black."""
    screen = np.zeros(size[::-1], np.uint8)
    rows, columns = levels.shape
    screen[top : top + rows * side, left : left + columns * side] = np.kron(levels, np.ones((side, side), np.uint8))
    return screen


def test_a_point_is_an_exact_square_on_the_chosen_monitor_and_all_else_is_black(desktop):
    run("xsetroot", "-solid", "#0000ff")
    before = desktop.coloured()
    assert (before == 0x0000FF).all()
    with open_window("1", SHAPE) as window:
        assert isinstance(window, PatternSource) and window.shape == SHAPE
        assert (window.pixels_per_point, window.monitor.rect) == (65, (440, 50, 260, 200))
        assert window.not_verified == ""
        before[50:250, 440:700] = 0
        np.testing.assert_array_equal(desktop.coloured(), before)
        window.show(POINTS)
        before[50:250, 440:700] = expected(LEVELS, 0, 2, 65, (260, 200)).astype(np.uint32) * 0x010101
        np.testing.assert_array_equal(desktop.coloured(), before)
        window.clear()
        before[50:250, 440:700] = 0
        np.testing.assert_array_equal(desktop.coloured(), before)
    assert wait_for(lambda: (desktop.coloured() == 0x0000FF).all()), "the window stayed"


def test_the_first_monitor_is_filled_and_the_second_is_left_alone(desktop):
    with open_window("0?pixels_per_point=7&right_px=-100&down_px=20", SHAPE) as window:
        window.show(POINTS)
        np.testing.assert_array_equal(desktop.seen(), expected(LEVELS, 86, 159, 7, (700, 300)))


def test_a_mirrored_and_turned_scene(server):
    with open_window("0?pixels_per_point=10&turn_deg=90&mirror=on", SHAPE) as window:
        window.show(POINTS)
        turned = np.rot90(np.fliplr(LEVELS), -1)  # 4 x 3: clockwise as one looks at it
        np.testing.assert_array_equal(server.seen(), expected(turned, 185, 130, 10, SIZE))


@pytest.mark.parametrize("verify", ["on", "off"])
def test_what_is_shown_is_on_the_screen_when_show_returns(server, verify):
    generator = np.random.default_rng(0)
    with Desktop() as desktop, open_window(f"0?verify={verify}", (30, 40)) as window:
        for _ in range(100):
            picture = generator.random((30, 40))
            window.show(picture)
            seen = desktop.read(server.all)
            levels = np.kron(np.rint(picture * 255).astype(np.uint32), np.ones((10, 10), np.uint32))
            np.testing.assert_array_equal(seen, levels * 0x010101)


@pytest.mark.slow
def test_a_scaled_toolkit_does_not_blur_the_squares(server, monkeypatch):
    for name, value in (("QT_SCALE_FACTOR", "1.5"), ("QT_AUTO_SCREEN_SCALE_FACTOR", "1"), ("QT_FONT_DPI", "192")):
        monkeypatch.setenv(name, value)
    with open_window("0", SHAPE) as window:
        window.show(POINTS)
        np.testing.assert_array_equal(server.seen(), SQUARES)


@pytest.mark.slow
def test_no_mouse_cursor_lies_over_it(server):
    mss = pytest.importorskip("mss")

    def cursor_and_all() -> np.ndarray:
        with mss.MSS(with_cursor=True) as screens:
            return np.frombuffer(screens.grab(screens.monitors[0]).raw, np.uint8).reshape(*SIZE[::-1], 4)[..., :3]

    if not (cursor_and_all() != server.seen()[..., None]).any():
        pytest.skip("this X server draws no cursor")
    with open_window("0", SHAPE) as window:
        assert window.cursor_hidden
        window.show(POINTS)
        np.testing.assert_array_equal(cursor_and_all(), SQUARES[..., None].repeat(3, 2))


@pytest.mark.slow
def test_the_window_lives_on_while_nothing_is_shown(server):
    with open_window("0", SHAPE) as window, open_window("0", SHAPE) as cover:
        cover.show(np.ones(SHAPE))
        with pytest.raises(DeviceError, match=r"120000 pixels differ.*first is #ffffff, expected #000000"):
            window.clear()
        cover.close()
        assert wait_for(lambda: not server.seen().any()), "nobody drew what the other window had hidden"
        window.show(POINTS)
        np.testing.assert_array_equal(server.seen(), SQUARES)


@pytest.mark.slow
def test_threads_may_share_it(server):
    failed = []

    def work(level: float) -> None:
        try:
            for _ in range(10):
                window.show(np.full(SHAPE, level))
                assert window.key() is None
        except BaseException as error:
            failed.append(error)

    with open_window("0", SHAPE) as window:
        threads = [threading.Thread(target=work, args=(level,)) for level in (0.2, 0.6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        window.show(POINTS)
        np.testing.assert_array_equal(server.seen(), SQUARES)
    assert not failed


def test_escape_interrupts_and_other_keys_can_be_asked_for(server):
    needs("xdotool")
    with window_manager(), open_window("0", SHAPE) as window:
        assert window.key() is None
        # Pressed again and again: the window manager may not have given it the keyboard yet.
        assert wait_for(lambda: run("xdotool", "key", "a") or window.key() == "a")
        with pytest.raises(KeyboardInterrupt, match="Esc was pressed in window:0"):
            wait_for(lambda: run("xdotool", "key", "Escape") or window.check())
        with pytest.raises(KeyboardInterrupt):  # and it stays so
            window.show(POINTS)


def test_a_window_that_somebody_closes_is_lost(server):
    needs("xdotool")
    with window_manager(), open_window("0", SHAPE) as window:
        with pytest.raises(DeviceLost, match="its window was closed; open it anew"):
            wait_for(lambda: run("xdotool", "key", "alt+F4") or window.show(POINTS))
        with pytest.raises(DeviceLost, match="closed"):
            window.clear()


def test_a_desktop_that_goes_away_is_an_error_and_no_abort(server):
    with open_window("0", SHAPE) as window:
        server.process.kill()
        server.process.wait()
        with pytest.raises(DeviceLost, match=r"window:0 is gone .*does the desktop still run"):
            wait_for(lambda: window.show(POINTS))


def test_a_closed_window_says_so_and_is_closed_twice(server):
    window = open_window("0", SHAPE)
    window.close()
    window.close()
    with pytest.raises(DeviceLost, match="window:0 was closed"):
        window.show(POINTS)


def test_the_window_ends_with_its_program(server):
    code = (
        "import numpy as np, os; from hardware.window import Window\n"
        "window = Window((3, 4)); window.show(np.ones((3, 4))); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert done.returncode == -9, done.stderr
    assert wait_for(lambda: not server.seen().any())


def test_monitors_are_listed_and_one_that_is_not_there_is_refused(two_monitors):
    with Desktop() as desktop:
        assert [one.rect for one in desktop.monitors()] == [(0, 0, 400, 300), (440, 50, 260, 200)]
    with pytest.raises(ConfigurationError, match=r"no monitor 2; there are: window:0 .*window:1 \(260 x"):
        open_window("2", SHAPE)


@pytest.mark.parametrize(
    ("place", "shape", "message"),
    [
        ("0?pixels_per_point=101", SHAPE, "expected 300 x 400 at most: pixels_per_point is 100 at most"),
        ("0", (301, 4), "take a larger monitor, or a smaller scene"),
        ("0?pixels_per_point=90&right_px=21", SHAPE, "change right_px and down_px"),
    ],
)
def test_a_scene_that_does_not_fit_is_refused(server, place, shape, message):
    with pytest.raises(ConfigurationError, match=message):
        open_window(place, shape)


def test_no_desktop_is_told_and_nothing_aborts(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":4071")
    pytest.importorskip("mss", reason="mss is not installed")
    with pytest.raises(ConfigurationError, match="desktop of this machine cannot be reached"):
        open_window("0", SHAPE)
    monkeypatch.delenv("DISPLAY")
    with pytest.raises(ConfigurationError, match="DISPLAY is not set"):
        open_window("0", SHAPE)


def module(folder, name: str, text: str, monkeypatch) -> None:
    """Put a module before the installed one, in child processes."""
    (folder / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))


@pytest.mark.slow
def test_on_wayland_nothing_is_read_back_unless_it_is_asked_for(server, monkeypatch):
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    with open_window("0", SHAPE) as window:
        assert "Wayland" in window.not_verified
    with open_window("0?verify=on", SHAPE) as window:
        assert window.not_verified == ""
        window.show(POINTS)
        np.testing.assert_array_equal(server.seen(), SQUARES)


def test_an_opencv_without_windows_is_told(server, tmp_path, monkeypatch):
    text = "class error(Exception): pass\nWINDOW_NORMAL = WINDOW_FREERATIO = WINDOW_GUI_NORMAL = 0\n"
    module(tmp_path, "cv2", f"{text}def namedWindow(*_): raise error('not implemented')\n", monkeypatch)
    with pytest.raises(ConfigurationError, match="pip uninstall opencv-python-headless"):
        open_window("0", SHAPE)


@pytest.mark.slow
def test_without_mss_there_is_one_monitor_and_nothing_is_read_back(server, tmp_path, monkeypatch):
    hide = (
        "import importlib.util as util\nfind = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'mss' else find(name, *more)\n"
    )
    module(tmp_path, "sitecustomize", hide, monkeypatch)
    module(tmp_path, "mss", "raise ImportError('hidden')", monkeypatch)
    with window_manager():
        with open_window("0", SHAPE) as window:
            assert window.not_verified == "mss is not installed"
            assert window.monitor.rect == (0, 0, *SIZE)
            window.show(POINTS)
            np.testing.assert_array_equal(server.seen(), SQUARES)
        with pytest.raises(ConfigurationError, match="pip install mss"):
            open_window("1", SHAPE)
        with pytest.raises(ConfigurationError, match="verify=on reads the screen with mss: pip install mss"):
            open_window("0?verify=on", SHAPE)


class Toolkit:
    """Stands for cv2 and for the screen: the first windows are never drawn."""

    error = RuntimeError
    WINDOW_NORMAL = WINDOW_FREERATIO = WINDOW_GUI_NORMAL = WINDOW_FULLSCREEN = 0
    WND_PROP_FULLSCREEN = WND_PROP_VISIBLE = 0

    def __init__(self, bad: int):
        self.bad, self.windows, self.drawn = bad, 0, np.zeros((30, 40), np.uint8)

    def namedWindow(self, title: str, flags: int) -> None:
        self.windows += 1

    def destroyWindow(self, title: str) -> None:
        self.drawn[:] = 0

    def imshow(self, title: str, levels: np.ndarray) -> None:
        if self.windows > self.bad:
            self.drawn = levels.copy()

    def getWindowImageRect(self, title: str) -> tuple[int, int, int, int]:
        return (0, 0, 40, 30)

    def pollKey(self) -> int:
        return -1

    moveWindow = resizeWindow = setWindowProperty = getWindowProperty = lambda *_: 1

    def read(self, monitor: Monitor) -> np.ndarray:
        return self.drawn * GREY


def test_a_window_that_is_never_drawn_is_made_again(monkeypatch):
    monkeypatch.setattr("hardware.window.full_screen.SHOW_S", 0.05)
    monitor = Monitor(number=0, left_px=0, top_px=0, width_px=40, height_px=30)
    toolkit = Toolkit(bad=2)
    screen = FullScreen(toolkit, monitor, toolkit)
    assert toolkit.windows == 3
    screen.show(np.full((30, 40), 7, np.uint8))
    assert (toolkit.drawn == 7).all()
    with pytest.raises(DeviceError, match="1200 pixels differ"):
        FullScreen(nothing := Toolkit(bad=99), monitor, nothing)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("", "'' is no monitor; expected its number, e.g. window:0"),
        ("-1", "'-1' is no monitor"),
        ("HDMI-1", "lensless show` lists them"),
        ("0?pixel_per_point=3", "did you mean pixels_per_point=; known: "),
        ("0?turn_deg=45", "turn_deg='45'; expected 0, 90, 180 or 270"),
        ("0?pixels_per_point=0", "expected a whole number of pixels from 1 on"),
        ("0?mirror=on&mirror=off", "mirror= stands twice"),
        ("0?right_px=1.5", "expected a whole number of pixels"),
    ],
)
def test_an_address_that_means_nothing_is_refused(place, message):
    with pytest.raises(ConfigurationError) as refused:
        open_window(place, SHAPE)
    assert message in str(refused.value)


def test_options_stand_in_an_address_as_they_are_read():
    options = WindowOptions(pixels_per_point=20, right_px=-3, down_px=4, turn_deg=270, mirror="on", verify="off")
    assert parse_window(f"12{options}") == (12, options)
    assert parse_window("3") == (3, WindowOptions()) and str(WindowOptions()) == ""


@pytest.mark.parametrize("shape", [(3,), (0, 4), (3, 4, 1)])
def test_a_scene_has_rows_and_columns(shape):
    with pytest.raises(ConfigurationError, match=r"expected \(rows, columns\)"):
        Window(shape)


@pytest.mark.parametrize("turn_deg", [0, 90, 180, 270])
@pytest.mark.parametrize("mirror", ["on", "off"])
def test_every_point_keeps_its_neighbours_when_turned(turn_deg, mirror):
    """Point (0, 0) lies in the corner where a clockwise turn brings it, and (0, 1) beside it."""
    options = WindowOptions(turn_deg=turn_deg, mirror=mirror)
    layout = Layout.of(SHAPE, 40, 40, options, "a monitor")
    levels = np.zeros(SHAPE, np.uint8)
    levels[0, 0], levels[0, 1] = 200, 100
    screen = layout.on_screen(levels)
    side = layout.pixels_per_point
    assert (screen == 200).sum() == (screen == 100).sum() == side**2 == 100
    first = np.argwhere(screen == 200).mean(0)
    step = np.rint(np.argwhere(screen == 100).mean(0) - first).astype(int) // side
    corner = tuple((first > 19.5).astype(int))
    where = {0: ((0, 0), (0, 1)), 90: ((0, 1), (1, 0)), 180: ((1, 1), (0, -1)), 270: ((1, 0), (-1, 0))}
    mirrored = {0: ((0, 1), (0, -1)), 90: ((1, 1), (-1, 0)), 180: ((1, 0), (0, 1)), 270: ((0, 0), (1, 0))}
    assert (corner, tuple(step)) == (mirrored if mirror == "on" else where)[turn_deg]


def wait_for(done, timeout_s: float = 20.0) -> bool:
    end_s = time.monotonic() + timeout_s
    while not (finished := done()) and time.monotonic() < end_s:
        time.sleep(0.01)
    return finished
