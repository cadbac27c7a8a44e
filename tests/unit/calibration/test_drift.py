"""Drift is found where it was planted: gain, movements, dust; and is not found where nothing has changed."""

import numpy as np
import pytest

from calibration.drift import fit_drift
from calibration.movement import Unknown
from hardware.errors import CalibrationMismatch

SHAPE = (24, 24)


def light(patterns, tilt=0.0, shift=0.0, warm=0.0):
    """(K, pixels): bars of light that move with tilt and shift, each in its own way."""
    down, right = np.meshgrid(*[np.linspace(-1, 1, side) for side in SHAPE], indexing="ij")
    frames = []
    for phase, pitch in patterns:
        moved = right + 0.3 * shift + 0.1 * tilt * down
        frames.append(2 + np.sin(pitch * moved + phase) + 0.5 * np.cos(pitch * (down + 0.2 * tilt) - phase) + warm)
    return np.stack(frames).reshape(len(patterns), -1) * 100


@pytest.fixture(scope="module")
def patterns():
    draw = np.random.default_rng(0)
    return [(draw.uniform(0, 6), draw.uniform(2, 6)) for _ in range(12)]


UNKNOWNS = {"tilt_deg": Unknown("deg", 0.02, 0.3), "shift_mm": Unknown("mm", 0.02, 0.3)}


def fit(now, patterns, sigma, draw, unknowns=UNKNOWNS):
    def at(place):
        return light(patterns, place.get("tilt_deg", 0), place.get("shift_mm", 0) + place.get("twin_mm", 0))

    noisy = now + sigma * draw.standard_normal(now.shape)
    return fit_drift(noisy, at, unknowns, np.full(now.shape, sigma**2), SHAPE)


def test_what_was_planted_is_found_within_its_error(patterns):
    draw, far = np.random.default_rng(1), []
    for _ in range(40):
        gain, tilt, shift = draw.normal(0, (0.02, 0.01, 0.01))
        found = fit((1 + gain) * light(patterns, tilt, shift), patterns, 2.0, draw)
        for estimate, truth in ((found.gain, gain), (found.moved["tilt_deg"], tilt), (found.moved["shift_mm"], shift)):
            far.append(abs(estimate.value - truth) / estimate.std)
        assert found.left < 0.5 * found.changed + 0.005 and found.specks == 0
    assert np.mean(np.array(far) < 1.96) >= 0.85


def test_a_rig_that_stands_still_is_said_to(patterns):
    found = fit(light(patterns), patterns, 2.0, np.random.default_rng(2))
    assert found.is_still and found.changed < 0.003 and found.specks == 0
    assert abs(found.gain.value) < 4 * found.gain.std
    assert not fit(light(patterns, shift=0.05), patterns, 2.0, np.random.default_rng(2)).is_still


def test_dust_is_counted_and_not_taken_for_movement(patterns):
    now = (1.02 * light(patterns, shift=0.02)).reshape(-1, *SHAPE)
    now[:, 3:5, 4:6] *= 0.7
    now[:, 15:17, 19] *= 0.5
    now[:, 20, 2] *= 1.2  # brighter is no dust
    found = fit(now.reshape(len(now), -1), patterns, 2.0, np.random.default_rng(3))
    assert found.specks == 2
    shadows = found.shadows.reshape(SHAPE)
    assert shadows[3:5, 4:6].all() and shadows[15:17, 19].all() and not shadows[20, 2]
    assert found.moved["shift_mm"].value == pytest.approx(0.02, abs=0.003)
    assert found.gain.value == pytest.approx(0.02, abs=0.003)


def test_a_long_way_is_found_though_light_does_not_follow_it_in_a_straight_line(patterns):
    found = fit(light(patterns, 0.5, -0.8), patterns, 2.0, np.random.default_rng(6))
    assert found.moved["tilt_deg"].value == pytest.approx(0.5, abs=5 * found.moved["tilt_deg"].std)
    assert found.moved["shift_mm"].value == pytest.approx(-0.8, abs=5 * found.moved["shift_mm"].std)
    assert found.changed > 0.05 and found.left < 0.01


def test_two_that_look_alike_share_what_is_found(patterns):
    """Two shifts that give the same frames: neither is claimed, and their errors say so."""
    alike = {"shift_mm": Unknown("mm", 0.02, 0.1), "twin_mm": Unknown("mm", 0.02, 0.1)}
    found = fit(light(patterns, shift=0.02), patterns, 2.0, np.random.default_rng(4), alike)
    assert found.moved["shift_mm"].value == pytest.approx(0.01, abs=0.002)
    assert found.moved["twin_mm"].std > 0.05


def test_another_scene_is_refused(patterns):
    with pytest.raises(CalibrationMismatch, match=r"is the display on, uncovered, and is it this rig\?"):
        fit(0 * light(patterns), patterns, 2.0, np.random.default_rng(5), {})
