"""A window that shows pictures as they come, on a real X server, whose pixels are looked at from outside."""

import time
from collections.abc import Callable

import numpy as np
import pytest
from x_server import window_manager, x_server

from hardware.errors import ConfigurationError, DeviceLost
from hardware.window.view import View

PICTURE = np.random.default_rng(0).integers(0, 256, (120, 200, 3)).astype(np.uint8)


def wait_for(holds: Callable[[], bool]) -> bool:
    end_s = time.monotonic() + 10
    while not (found := holds()) and time.monotonic() < end_s:
        time.sleep(0.02)
    return found


def lies_in(whole: np.ndarray, picture: np.ndarray) -> bool:
    """Whether a desktop of 0xRRGGBB shows the picture somewhere, pixel by pixel."""
    red, green, blue = (picture[..., at].astype(np.uint32) for at in range(3))
    wanted = (red << 16) | (green << 8) | blue
    rows, columns = wanted.shape
    for row, column in np.argwhere(whole[: 1 - rows, : 1 - columns] == wanted[0, 0]):
        if np.array_equal(whole[row : row + rows, column : column + columns], wanted):
            return True
    return False


def test_a_picture_is_shown_pixel_by_pixel_in_its_colours_until_the_next():
    with x_server((400, 300)) as server, window_manager(), View("a view") as view:
        assert view.show(PICTURE)
        assert wait_for(lambda: lies_in(server.coloured(), PICTURE))
        assert wait_for(lambda: view.show(PICTURE[::-1].copy()))
        assert wait_for(lambda: lies_in(server.coloured(), PICTURE[::-1])) and not view.closed
        with pytest.raises(ConfigurationError, match="expected uint8"):
            view.show(PICTURE[..., 0])


def test_a_desktop_that_goes_away_is_told():
    with x_server((400, 300)) as server, View("a view") as view:
        view.show(PICTURE)
        server.process.terminate()
        with pytest.raises(DeviceLost, match="does the desktop still run"):
            wait_for(lambda: view.closed)
