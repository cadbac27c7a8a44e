"""One battery that everything passes that shows patterns. A new one adds one line to SOURCES."""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from x_server import x_server

from hardware import PatternSource, SimulatedCamera, SimulatedDisplay
from hardware.emulators.board import EmulatedBoard
from hardware.emulators.board_on_line import BoardOnLine
from hardware.emulators.grbl import Grbl
from hardware.emulators.terminal import Terminal
from hardware.errors import ConfigurationError
from hardware.lamp_on_stage import LampOnStage
from hardware.serial_board.led_matrix import LedMatrix
from hardware.stage import Stage
from hardware.window import open_window

SHAPE = (3, 4)
Shown = Callable[[], np.ndarray]  # what light there is now, as a picture


@contextlib.contextmanager
def simulated() -> Iterator[tuple[PatternSource, Shown]]:
    display = SimulatedDisplay(SHAPE)
    yield display, lambda: display.shown


@contextlib.contextmanager
def lamp_on_stage() -> Iterator[tuple[PatternSource, Shown]]:
    with Grbl() as grbl, Stage(grbl.terminal.path) as stage:
        stage.home()
        lamp = LampOnStage(stage, SHAPE, pitch_mm=(2.0, -1.5), origin_mm=(-30.0, -10.0))

        def shown() -> np.ndarray:
            picture = np.zeros(SHAPE)
            if grbl.controller.lamp:
                x_mm, y_mm = grbl.axes.place
                column, row = (x_mm + 30.0) / 2.0, (y_mm + 10.0) / -1.5
                assert (row, column) == pytest.approx((round(row), round(column)), abs=0.01)
                picture[round(row), round(column)] = grbl.controller.lamp / 1000
            return picture

        yield lamp, shown


@contextlib.contextmanager
def led_matrix() -> Iterator[tuple[PatternSource, Shown]]:
    sensor = SimulatedCamera(
        lambda settings, sequence: np.zeros((4, 4), np.uint8),
        camera_id="S", shape=(4, 4), bit_depth=8, black_level_dn=0, exposure_s=0.01,
    )  # fmt: skip
    with (
        BoardOnLine(EmulatedBoard(sensor, matrix=SHAPE), Terminal()) as line,
        LedMatrix.at(line.terminal.path) as lamps,
    ):
        yield lamps, lambda: np.frombuffer(line.board.lamps, np.uint8).reshape(SHAPE) / 255


@contextlib.contextmanager
def window() -> Iterator[tuple[PatternSource, Shown]]:
    with x_server((200, 160)) as server, open_window("0?pixels_per_point=20&right_px=-30", SHAPE) as source:
        yield source, lambda: server.seen()[10 + 40 : 10 + 40 + 60 : 20, 70 - 40 : 70 + 40 : 20] / 255


SOURCES = [simulated, lamp_on_stage, led_matrix, window]


@pytest.fixture(params=SOURCES, ids=lambda make: make.__name__)
def source(request) -> Iterator[tuple[PatternSource, Shown]]:
    with request.param() as made:
        yield made


def point(row: int, column: int, value: float = 1.0, dtype: type = np.float32) -> np.ndarray:
    picture = np.zeros(SHAPE, dtype)
    picture[row, column] = value
    return picture


def test_it_keeps_the_protocol_and_begins_dark(source):
    source, shown = source
    assert isinstance(source, PatternSource) and source.shape == SHAPE
    assert not shown().any()


def test_points_are_where_they_belong_when_show_returns(source):
    source, shown = source
    for row, column, value, dtype in [(0, 0, 1.0, np.float32), (2, 3, 0.5, np.float64), (1, 2, 0.25, np.float16)]:
        source.show(point(row, column, value, dtype))
        np.testing.assert_allclose(shown(), point(row, column, value), atol=1 / 255)
    source.clear()
    assert not shown().any()


def test_black_can_be_shown_and_clear_done_twice(source):
    source, shown = source
    source.show(point(1, 1))
    source.show(np.zeros(SHAPE))
    assert not shown().any()
    source.clear()
    source.clear()
    assert not shown().any()


def test_the_picture_stays_its_owners(source):
    source, shown = source
    picture = point(1, 1)
    source.show(picture)
    picture[1, 1] = 0.0
    np.testing.assert_allclose(shown(), point(1, 1), atol=1 / 255)
    source.show(point(2, 2))
    assert not picture.any()


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 3)),
        np.zeros((3, 4, 1)),
        np.zeros(12),
        np.zeros(SHAPE, np.uint8),
        np.zeros(SHAPE, bool),
        np.zeros(SHAPE, complex),
        np.zeros(SHAPE).tolist(),
        None,
        point(0, 0, np.nan),
        point(0, 0, np.inf),
        point(0, 0, 1.01),
        point(0, 0, -0.01),
    ],
    ids=lambda wrong: f"{getattr(wrong, 'shape', '')} {getattr(wrong, 'dtype', type(wrong).__name__)}",
)
def test_what_is_no_picture_is_refused_and_changes_nothing(source, wrong):
    source, shown = source
    source.show(point(1, 1))
    with pytest.raises(ConfigurationError, match="expected"):
        source.show(wrong)
    np.testing.assert_allclose(shown(), point(1, 1), atol=1 / 255)
