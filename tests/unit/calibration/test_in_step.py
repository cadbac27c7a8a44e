"""Frames of their own scene are told from frames of the scene before, from mixtures, and from a display that is off."""

import numpy as np
import pytest

from calibration import ShowAndSnap
from calibration.in_step import InStep, cells_of
from hardware import SimulatedCamera, SimulatedDisplay
from hardware.errors import CalibrationMismatch
from hardware.frame import Frame

SHAPE, SENSOR = (12, 10), (40, 30)


def rig(gain: float = 20.0, noise: float = 4.0, seed: int = 0) -> ShowAndSnap:
    """A sensor to each of whose pixels many points of the display give light, by chance."""
    draw = np.random.default_rng(seed)
    matrix = gain * draw.random((SENSOR[0] * SENSOR[1], SHAPE[0] * SHAPE[1])) ** 4
    display = SimulatedDisplay(SHAPE)

    def expose(settings, sequence):
        mean_dn = 100 + matrix @ display.shown.ravel()
        return np.clip(np.rint(draw.normal(mean_dn, noise)), 0, 4095).astype(np.uint16).reshape(SENSOR)

    camera = SimulatedCamera(expose, camera_id="S", shape=SENSOR, bit_depth=12, black_level_dn=100, exposure_s=0.01)
    return ShowAndSnap(display, camera)


def scenes(count: int, seed: int = 1) -> list[np.ndarray]:
    """Strokes of light."""
    draw, found = np.random.default_rng(seed), []
    for _ in range(count):
        picture = np.zeros(SHAPE, np.float32)
        top, left = draw.integers(0, 8, 2)
        picture[top : top + draw.integers(2, 5), left : left + draw.integers(1, 5)] = 1
        found.append(picture)
    return found


@pytest.fixture(scope="module")
def stand() -> tuple[ShowAndSnap, InStep]:
    made = rig()
    step = InStep.measure(made)
    step.learn(made, scenes(16, seed=7))
    return made, step


def test_frames_of_their_own_scenes_belong_and_those_of_the_scene_before_do_not(stand):
    made, step = stand
    caught = telling = 0
    for before, own in zip(scenes(60), scenes(60)[1:], strict=False):
        told = step.look(made(own), own, before)
        assert told.belongs
        if told.of_before is not None:
            assert abs(told.of_before) < 0.4
            telling += 1
            caught += not step.look(made(before), own, before).belongs
    assert telling > 50 and caught > 0.95 * telling


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 0.5])
def test_the_share_of_the_scene_before_is_found(stand, share):
    made, step = stand
    told = [
        step.look(made((1 - share) * own + share * before), own, before)
        for before, own in zip(scenes(80), scenes(80)[1:], strict=False)
    ]
    weights = [one.apart2 for one in told if one.of_before is not None]
    mean = np.average([one.of_before for one in told if one.of_before is not None], weights=weights)
    assert mean == pytest.approx(share, abs=0.03)


def test_a_display_that_is_off_shows_no_scene(stand):
    made, step = stand
    for own in scenes(10):
        assert not step.look(made(np.zeros(SHAPE, np.float32)), own, None).belongs


def test_a_display_that_stands_still_shows_neither_the_scene_nor_the_one_before(stand):
    made, step = stand
    frames = made(scenes(1, seed=9)[0])
    found = [
        not step.look(frames, own, before).belongs for before, own in zip(scenes(60), scenes(60)[1:], strict=False)
    ]
    assert np.mean(found) > 0.95


def test_light_that_drifts_is_followed():
    made = rig()
    step = InStep.measure(made)
    step.learn(made, scenes(16, seed=7))
    black, bright = np.zeros(SHAPE, np.float32), np.ones(SHAPE, np.float32)
    step.follow(made(black, 2), made(bright, 2))
    show = made.source.show
    made.source.show = lambda picture: show(np.float32(0.7) * picture + np.float32(0.1))
    assert not all(step.look(made(own), own, None).belongs for own in scenes(10))
    step.follow(made(black, 2), made(bright, 2))
    assert all(step.look(made(own), own, None).belongs for own in scenes(10))


def test_a_dark_scene_is_not_believed_when_the_one_before_is_seen(stand):
    made, step = stand
    before = scenes(1)[0]
    dark = before * 0
    assert not step.look(made(before), dark, before).belongs and not step.look(made(before), dark, None).belongs


def test_any_other_scene_is_told_from_its_own(stand):
    made, step = stand
    shown, other = scenes(40), scenes(40, seed=5)
    found = [not step.look(made(one), own, None).belongs for one, own in zip(other, shown, strict=True)]
    assert np.mean(found) > 0.9


def test_scenes_that_nothing_tells_apart_are_said_so():
    made = rig()
    step = InStep.measure(made)
    assert not step.tells_scenes
    step.learn(made, [np.full(SHAPE, 0.5, np.float32)] * 16)
    assert not step.tells_scenes and step.look(made(np.ones(SHAPE, np.float32)), scenes(1)[0], None).belongs


def test_what_does_not_add_up_is_refused():
    made = rig()
    step = InStep.measure(made)
    show = made.source.show
    made.source.show = lambda picture: show(1 - picture)
    with pytest.raises(CalibrationMismatch, match="is what the display shows linear"):
        step.learn(made, scenes(16))


def test_scenes_that_look_alike_tell_nothing_and_are_believed(stand):
    made, step = stand
    own = scenes(1)[0]
    told = step.look(made(own), own, own.copy())
    assert told.of_before is None and told.belongs
    told = step.look(made(own * 0), own * 0, own)
    assert told.belongs and abs(told.of_before) < 0.1


def test_a_camera_that_sees_nothing_of_the_display_is_refused():
    with pytest.raises(CalibrationMismatch, match="no part of the display stands out"):
        InStep.measure(rig(gain=0.001))


def test_cells_are_means_of_what_lies_in_them():
    from shots import META

    pixels = np.arange(130 * 70, dtype=np.uint16).reshape(130, 70) % 4096
    cells = cells_of([Frame(pixels, META), Frame(pixels // 2, META)]).reshape(43, 35)
    expected = (pixels[3:6, 2:4].mean() + (pixels // 2)[3:6, 2:4].mean()) / 2
    assert cells[1, 1] == pytest.approx(expected)
