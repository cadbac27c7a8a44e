"""Planted defects are found, and hardly anything else (promise K3)."""

import dataclasses

import numpy as np
import pytest
from planted_sensor import AT_NIGHT, Planted

from calibration.dark import DarkSignal
from calibration.defects import KINDS, find_defects
from calibration.nonuniformity import response_nonuniformity
from calibration.stack import Stack

FULL_S = 0.1
EACH = 40


def spoiled(seed: int, shape=(240, 320)) -> tuple[Planted, dict[str, np.ndarray]]:
    """A sensor with defects of every kind, and where they are: as strong as they have to be to be called so.

    Hot: dark signal 8 to 80 standard deviations of a frame's noise above the others at 1 s. Dead: less than 0.4 of the
    response. Stuck: one number. Blinking: 6 to 30 standard deviations up and down, for a tenth to nine tenths of time.
    """
    draw = np.random.default_rng([seed, 9])
    places = draw.permutation(shape[0] * shape[1])[: 4 * EACH].reshape(4, EACH)
    maps = {}
    for kind, some in zip(KINDS, places, strict=True):
        maps[kind] = np.zeros(shape, bool)
        maps[kind].flat[some] = True
    hot_e = np.where(maps["hot"], 5.0 * draw.uniform(8, 80, shape), 0)
    level_e = draw.uniform(0, 20_000, shape)
    jump_e, share = 5.0 * draw.uniform(6, 30, shape), draw.uniform(0.1, 0.9, shape)

    def spoil(electrons, noise, exposure_s):
        electrons = electrons + hot_e * exposure_s
        electrons = electrons + np.where(maps["blinking"] & (noise.random(shape) < share), jump_e, 0)
        return np.where(maps["stuck"], level_e, electrons)

    sensor = Planted(seed, shape, spoil=spoil)
    sensor.response[maps["dead"]] *= draw.uniform(0, 0.4, EACH)
    return sensor, maps


def frames_of(sensor: Planted):
    down, right = (np.linspace(-1, 1, side) for side in sensor.shape)
    light = 12_000 / FULL_S * (1 - 0.2 * np.add.outer(down**2, right**2))
    return sensor.darks((0.03, 1.0), 48), [sensor.stack(32, FULL_S, light)]


def check(count: int, first: int = 0) -> None:
    found, planted, false, pixels = dict.fromkeys(KINDS, 0), 0, 0, 0
    for seed in range(first, first + count):
        sensor, maps = spoiled(seed)
        defects = find_defects(*frames_of(sensor))
        everywhere = np.logical_or.reduce(list(maps.values()))
        for kind in KINDS:
            found[kind] += int((defects.any & maps[kind]).sum())
        planted += EACH
        false += int((defects.any & ~everywhere).sum())
        pixels += everywhere.size
    print(f"\nof {planted} of each kind: {found}; {false} false of {pixels:,} pixels")
    assert sum(found.values()) >= 0.99 * 4 * planted and min(found.values()) >= 0.98 * planted
    assert false <= max(1, 1e-5 * pixels)


def test_defects_are_found_and_hardly_anything_else():
    check(4)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_defects_of_many_sensors():
    """Promise K3: 500 sensors at night."""
    check(500 if AT_NIGHT else 40, 100)


def test_each_is_called_by_its_kind():
    sensor, maps = spoiled(3)
    defects = find_defects(*frames_of(sensor))
    for kind in ("hot", "dead", "stuck", "blinking"):
        assert (getattr(defects, kind) & maps[kind]).sum() >= 0.95 * EACH, kind
    assert defects.counts()["stuck"] == EACH


def test_a_sensor_without_defects_has_none():
    sensor = Planted(1, (240, 320))
    assert find_defects(*frames_of(sensor)).any.sum() == 0


def test_under_the_light_of_a_rig_only_what_is_blind_is_dead():
    """A caustic with sharp edges is no defect."""
    sensor, maps = spoiled(5)
    down, right = np.indices(sensor.shape)
    light = 1e5 * (0.1 + ((down // 12 + right // 9) % 3))
    defects = find_defects(sensor.darks((0.03, 1.0), 48), [sensor.stack(32, FULL_S, light)], even=False)
    blind = maps["dead"] & (sensor.response < 0.2)
    assert (defects.dead & blind).sum() >= 0.9 * blind.sum() > 0
    others = ~np.logical_or.reduce(list(maps.values()))
    assert (defects.dead & others).sum() <= 1


def test_few_frames_call_no_pixel_stuck():
    quiet = Planted(2, read_noise_electrons=1.0)  # 0.13 DN: most pixels say one number in a few frames
    darks = quiet.darks((0.03,), 4)
    assert find_defects(darks).stuck.sum() == 0
    assert dataclasses.asdict(find_defects(darks)).keys() == set(KINDS)


def test_behind_a_mosaic_of_filters_a_pixel_is_compared_with_its_own_colour():
    """Blue has a third of the light of green: none of it is dead, and dead ones of each colour are found."""
    sensor, maps = spoiled(6)
    colours = np.tile([[0.6, 1.0], [1.0, 0.35]], (120, 160))
    darks = [Stack.of(sensor.frames(48, exposure_s, cfa="RGGB")) for exposure_s in (0.03, 1.0)]
    lit = Stack.of(sensor.frames(32, FULL_S, 120_000 * colours, cfa="RGGB"))
    others = ~np.logical_or.reduce(list(maps.values()))
    for even in (True, False):
        defects = find_defects(darks, [lit], even=even)
        blind = maps["dead"] & (sensor.response < 0.2)
        assert (defects.dead & blind).sum() >= 0.9 * blind.sum() > 0
        assert (defects.any & others).sum() <= 1
    found = response_nonuniformity(lit, DarkSignal.of(darks, defects.any), defects.any | maps["dead"])
    assert found.pixel.value == pytest.approx(sensor.prnu, rel=0.1)
