"""One frame that differs from the others of its light, and what does not count as one."""

import dataclasses

import numpy as np
import pytest
from planted_sensor import Planted

from calibration.stack import odd_frame

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
