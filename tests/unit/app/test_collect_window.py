"""Scenes on a real screen, and a simulated sensor that looks at that screen: the whole way from a window to pairs."""

import contextlib
import threading

import numpy as np
import pytest
from collection_tools import check_collection, write_rig
from x_server import x_server

from hardware.window.monitors import Desktop, Monitor
from lensless.app.collection import collect as collecting
from lensless.app.collection import stand
from lensless.app.collection.collect import Asked, Wish, collect
from lensless.app.rig import open_rig
from lensless.app.screen import Screen

SIZE = (480, 400)


@pytest.fixture
def server():
    with x_server(SIZE) as server:
        yield server


def looking_at(server, rig, gamma: float, square: tuple[int, int, int]):
    """The rig's camera, whose scene is what the screen shows at the end of each exposure, through a display's gamma."""
    left, top, side = square
    rows, columns = rig.spec.scene.shape
    place = Monitor(number=0, left_px=left, top_px=top, width_px=columns * side, height_px=rows * side)
    own = threading.local()

    def seen(start_ns: int, stop_ns: int) -> np.ndarray:
        if not hasattr(own, "desktop"):
            own.desktop = Desktop()
        levels = (own.desktop.read(place) & 0xFF).astype(np.float32) / 255
        return levels.reshape(rows, side, columns, side).mean((1, 3)) ** gamma

    return rig.camera_at(seen, 0, 100)


@pytest.mark.slow
def test_scenes_go_over_a_screen_with_a_gamma_to_a_sensor_and_come_back_as_pairs(server, tmp_path, monkeypatch):
    rig_file = write_rig(tmp_path)
    rig = open_rig(str(rig_file))
    rows, columns = rig.spec.scene.shape
    side = min(SIZE[1] // rows, SIZE[0] // columns)
    square = ((SIZE[0] - columns * side) // 2, (SIZE[1] - rows * side) // 2, side)

    @contextlib.contextmanager
    def real_window(camera, display, rig):
        with looking_at(server, rig, 2.2, square) as opened, contextlib.ExitStack() as stack:
            yield stand.Stand(opened, stand._source("window", "0", display, camera, opened, rig, stack))

    monkeypatch.setattr(collecting, "open_stand", real_window)
    wish = Wish(str(rig_file), tmp_path / "out", Asked("glyphs", count=20), display="window:0")
    facts = collect(wish, Screen())
    # 8-bit levels: the darkest greys of a display with gamma are coarse.
    assert facts["display"]["response"]["gamma"] == pytest.approx(2.2, abs=0.02)
    assert 0 <= facts["display"]["settle"]["settle_s"] < 0.5
    assert facts["shown_again"] == 0 and facts["largest_share_of_before"] < 0.05
    assert check_collection(wish.out, rig_file, 20, 2) == 1
