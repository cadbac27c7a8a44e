"""The plan: which exposures, how long, which patterns; and which frames of a pattern agree."""

import numpy as np
import pytest

from calibration.patterns import hadamard, raster
from calibration.plan import (
    COVERED,
    LAMP,
    LIT,
    PATTERN,
    STAGES,
    agreeing,
    agreement,
    choose_patterns,
    dark_exposures,
    lit_frames,
    make_plan,
    pattern_shot,
)
from hardware.errors import ConfigurationError


def test_every_shot_has_its_own_number_and_every_pattern_comes_twice_in_another_order():
    patterns = hadamard((4, 4), seed=3)
    plan = make_plan(4096, 0.03, 0.045, patterns, pattern_frames=2, lamp=True)
    assert [stage for stage in STAGES if plan.of(stage)] == [COVERED, LIT, LAMP, PATTERN]
    numbers = [shot.id for shot in plan.shots]
    assert len(set(numbers)) == len(numbers)
    turns = [[shot.pattern for shot in plan.of(PATTERN) if shot.turn == turn] for turn in (0, 1)]
    assert sorted(turns[0]) == sorted(turns[1]) == list(range(32)) and turns[0] != turns[1]
    third = pattern_shot(patterns, 5, 2, 0.03, 2)
    assert third.id not in numbers
    assert next(shot.exposure_s for shot in plan.of(COVERED)) == 0.03
    assert max(shot.exposure_s for shot in plan.of(LIT)) > 0.045 > min(shot.exposure_s for shot in plan.of(LIT))


def test_a_camera_of_one_exposure_gets_levels_instead():
    plan = make_plan(4096, 0.03, None, None)
    assert {shot.exposure_s for shot in plan.shots} == {0.03}
    levels = [shot.level for shot in plan.of(LIT)]
    assert levels == sorted(levels) and levels[0] == 0 and levels[-1] == 1 and len(plan.of(COVERED)) == 1


def test_the_time_is_that_of_exposures_and_settling():
    plan = make_plan(4096, 0.03, 0.045, raster((4, 4)))
    rows = {name: (frames, seconds) for name, _, frames, seconds in plan.table(1 / 30, 0.02)}
    assert rows[PATTERN] == (32, pytest.approx(32 * (1 / 30 + 0.02)))
    assert rows[COVERED][1] == pytest.approx(48 * sum(max(t, 1 / 30) for t in dark_exposures(0.03)) + 4 * 0.02)


def test_small_sensors_need_more_frames_for_the_same_gain():
    assert lit_frames(300_000) == 8 < lit_frames(4096) <= lit_frames(480) == 64


def test_patterns_are_chosen_by_the_noise():
    shape = (32, 32)
    reading, noise = choose_patterns(shape, electrons=100, black_electrons=0, floor_electrons2=1000)
    assert reading.kind == "hadamard" and noise["raster"] / noise["hadamard"] == pytest.approx(16, rel=0.05)
    light, _ = choose_patterns(shape, electrons=1e6, black_electrons=0, floor_electrons2=1)
    assert light.kind == "raster"
    dim, _ = choose_patterns(shape, electrons=5000, black_electrons=0, floor_electrons2=25, most_level=1 / 64)
    assert dim.kind == "raster"  # half the display would fill the pixels, unless it is dimmed


def test_frames_of_one_pattern_agree_and_another_does_not():
    draw = np.random.default_rng(0)
    one, other = (100 + 20 * draw.standard_normal(400) for _ in range(2))
    frames = [one, 1.01 * one, other, one]  # the light drifts a little
    cells = [frame + 2 * draw.standard_normal(400) for frame in frames]
    apart = agreement(cells, np.full(400, 4.0))
    assert apart[0, 1] == pytest.approx(1, abs=0.25) and apart[0, 2] > 20
    assert agreeing(apart, 1.4).tolist() == [True, True, False, True]
    assert not agreeing(agreement(cells[1:3], np.full(400, 4.0)), 1.4).any()


@pytest.mark.parametrize(
    "wrong", [dict(pixels=0), dict(exposure_s=0.0), dict(exposure_s=float("nan")), dict(pattern_frames=0)]
)
def test_numbers_that_make_no_plan_are_refused(wrong):
    facts = dict(pixels=100, exposure_s=0.01, full_s=None, patterns=None, pattern_frames=1) | wrong
    with pytest.raises(ConfigurationError, match="calibration plan"):
        make_plan(**facts)
