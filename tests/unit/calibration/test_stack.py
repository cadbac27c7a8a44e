"""One frame that differs from the others of its light, and what does not count as one."""

import dataclasses
import math

import numpy as np
import pytest
from planted_sensor import Planted
from shots import META

from calibration.stack import Stack, odd_frame
from hardware import Frame

LIGHT = 50_000.0  # electrons/s


def changed(frames: list, at: int, by_dn: float) -> list:
    pixels = (frames[at].pixels.astype(int) + round(by_dn)).clip(0, 4095).astype(np.uint16)
    return [*frames[:at], dataclasses.replace(frames[at], pixels=pixels), *frames[at + 1 :]]


@pytest.mark.parametrize("light", [0.0, LIGHT])
@pytest.mark.parametrize(("at", "by_dn"), [(0, 4000), (3, 12), (7, -12)])
def test_a_frame_that_differs_is_found(light, at, by_dn):
    frames = changed(list(Planted(3).frames(8, 0.1, light)), at, by_dn)
    where, off_dn = odd_frame(frames)
    assert where == at and np.sign(off_dn) == np.sign(by_dn)


@pytest.mark.parametrize("at", [0, 1, 5, 7])
def test_a_spot_of_light_is_found_whichever_frame_it_is_in(at):
    frames = list(Planted(3).frames(8, 0.1))
    pixels = frames[at].pixels.copy()
    pixels[:6, :6] = 4095
    frames[at] = dataclasses.replace(frames[at], pixels=pixels)
    assert odd_frame(frames)[0] == at


def test_steps_far_below_the_noise_of_a_pixel_do_not_matter():
    """A black level that is clamped anew for each frame."""
    draw = np.random.default_rng(0)
    frames = [
        Frame(np.rint(64 + 0.1 * (at % 6 == 0) + 2 * draw.standard_normal((300, 400))).astype(np.uint16), META)
        for at in range(48)
    ]
    assert odd_frame(frames) is None


@pytest.mark.parametrize("told", [None, math.nan, math.inf, 327.0, -273.0])
def test_a_temperature_that_no_sensor_has_is_none(told):
    frames = [
        dataclasses.replace(frame, meta=dataclasses.replace(frame.meta, temperature_c=at_c))
        for frame, at_c in zip(Planted(3).frames(2, 0.1), (20.0, told), strict=True)
    ]
    assert Stack.of(frames).temperature_c is None and Stack.of(frames).warmed_c == 0
    warm = dataclasses.replace(frames[1], meta=dataclasses.replace(frames[1].meta, temperature_c=21.0))
    stack = Stack.of([frames[0], warm])
    assert stack.temperature_c == 20.5 and stack.warmed_c == 1.0


@pytest.mark.parametrize("seed", range(40))
def test_noise_is_no_odd_frame(seed):
    for n in (8, 48):
        for light in (0.0, LIGHT, 1e9):  # 1e9 fills every pixel
            assert odd_frame(list(Planted(seed).frames(n, 0.1, light))) is None


def test_light_that_flickers_all_the_time_has_no_odd_frame():
    odd = [odd_frame(list(Planted(seed).frames(16, 0.1, LIGHT, flicker=0.05))) for seed in range(20)]
    assert odd.count(None) == 20


def test_few_frames_do_not_say_which_is_odd():
    assert odd_frame(changed(list(Planted(3).frames(3, 0.1, LIGHT)), 0, 1000)) is None
