"""A lamp that a stage carries: point after point, where the stage really is; and what displays are."""

import numpy as np
import pytest

from hardware import Display, PatternSource, SimulatedDisplay
from hardware.emulators.grbl import Grbl
from hardware.errors import ConfigurationError, StageError
from hardware.lamp_on_stage import LampOnStage
from hardware.stage import Stage


@pytest.fixture
def grbl():
    with Grbl() as grbl:
        yield grbl


@pytest.fixture
def stage(grbl):
    with Stage(grbl.terminal.path) as stage:
        stage.home()
        yield stage


def test_a_display_is_a_pattern_source():
    assert isinstance(SimulatedDisplay((2, 3)), PatternSource) and isinstance(SimulatedDisplay((2, 3)), Display)
    assert not isinstance(object(), PatternSource)


def test_points_come_in_order_and_the_lamp_is_dark_on_its_way(stage, grbl):
    lamp = LampOnStage(stage, (2, 3), pitch_mm=(-2.5, 4.0), origin_mm=(-10.0, -50.0))
    begin, seen = len(grbl.controller.heard), []
    for row in range(2):
        for column in range(3):
            picture = np.zeros((2, 3))
            picture[row, column] = (1 + row + column) / 4
            lamp.show(picture)
            seen.append((*grbl.axes.place.round(3), grbl.controller.lamp))
    assert seen == [
        *[(-10.0, -50.0, 250.0), (-12.5, -50.0, 500.0), (-15.0, -50.0, 750.0)],
        *[(-10.0, -46.0, 500.0), (-12.5, -46.0, 750.0), (-15.0, -46.0, 1000.0)],
    ]
    said = [line[:3] for line in grbl.controller.heard[begin:]]
    assert said == ["M5", "G21", "G4P", "M3S"] * 6


def test_a_full_pattern_is_one_clear_error(stage, grbl):
    lamp = LampOnStage(stage, (2, 3), (1.0, 1.0), (-10.0, -50.0))
    heard = len(grbl.controller.heard)
    with pytest.raises(ConfigurationError, match=r"picture with 6 points above 0; .* show them one after another"):
        lamp.show(np.ones((2, 3)))
    assert len(grbl.controller.heard) == heard


@pytest.mark.parametrize(
    ("shape", "pitch_mm", "origin_mm"),
    [
        ((0, 3), (1.0, 1.0), (-10.0, -10.0)),
        ((3,), (1.0, 1.0), (-10.0, -10.0)),
        ((2, 3), (6.0, 1.0), (-10.0, -10.0)),
        ((2, 3), (1.0, -191.0), (-10.0, -10.0)),
        ((2, 3), (1.0, float("nan")), (-10.0, -10.0)),
        ((1, 1), (1.0, 1.0), (float("inf"), -10.0)),
    ],
)
def test_a_grid_that_cannot_be_reached_is_refused_at_once(stage, shape, pitch_mm, origin_mm):
    with pytest.raises(ConfigurationError, match="expected"):
        LampOnStage(stage, shape, pitch_mm, origin_mm)


def test_after_an_alarm_there_is_no_light_and_none_until_it_has_homed(grbl, stage):
    lamp, picture = LampOnStage(stage, (1, 2), (-100.0, 0.0), (-10.0, -50.0)), np.array([[0.0, 1.0]])
    grbl.axes.low[0] = -60.0  # something is in the way
    for _ in range(2):
        with pytest.raises(StageError, match="ALARM:1"):
            lamp.show(picture)
        assert grbl.controller.lamp == 0
        lamp.clear()
    grbl.axes.low[0] = -201.0
    stage.home()
    lamp.show(picture)
    assert grbl.axes.place[0] == pytest.approx(-110.0) and grbl.controller.lamp == 1000
