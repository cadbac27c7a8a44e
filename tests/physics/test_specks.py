"""Shadows by waves against closed forms and an independent propagation; walls against random lines."""

import numpy as np
import pytest
import torch
from scipy.special import j1

from hardware.errors import ConfigurationError
from lensless.optics import BareSensor
from lensless.optics.specks import (
    SharpShadow,
    WaveShadow,
    _trapezoid_nodes,
    hidden_by_disc,
    trapezoid_cdf,
    wave_of_disc,
)

GREEN_NM, PATH_MM = 550.0, 0.7
FRESNEL_SCALE_MM = np.sqrt(GREEN_NM * 1e-6 * PATH_MM)  # 0.0196


@pytest.mark.parametrize("radius_mm", [0.002, 0.01, 0.02, 0.1, 0.3])
def test_on_the_axis_behind_a_disc_it_is_as_bright_as_without(radius_mm):
    """The spot of Arago; behind a hole of N zones the amplitude is 1 - exp(i pi N)."""
    u = wave_of_disc(np.array([0.0, radius_mm]), radius_mm, GREEN_NM, PATH_MM)[0]
    assert u == pytest.approx(1 - np.exp(1j * np.pi * (radius_mm / FRESNEL_SCALE_MM) ** 2), abs=1e-10)
    assert hidden_by_disc(np.array([0.0, radius_mm]), radius_mm, GREEN_NM, 0.0, PATH_MM)[0] == pytest.approx(
        0, abs=1e-9
    )


def test_far_away_a_hole_makes_airys_pattern():
    radius_mm, path_mm = 0.005, 1000.0
    sine = np.linspace(0, 0.2, 200)  # (paraxial: sine = tangent)
    argument = 2 * np.pi * radius_mm / (GREEN_NM * 1e-6) * sine
    u = wave_of_disc(sine * path_mm, radius_mm, GREEN_NM, path_mm)
    envelope = 2 * j1(argument[1:]) / argument[1:]
    assert np.abs(np.abs(u[1:] / u[0]) - np.abs(envelope)).max() <= 1e-3
    assert np.abs(u[0]) == pytest.approx(np.pi * radius_mm**2 / (GREEN_NM * 1e-6 * path_mm), rel=1e-4)


@pytest.mark.parametrize("radius_mm", [0.005, 0.02, 0.06])
def test_what_a_disc_takes_from_the_light_is_its_area(radius_mm):
    radii = np.linspace(0, 0.8, 8001)
    u = wave_of_disc(radii, radius_mm, GREEN_NM, PATH_MM)
    fading = np.exp(-((radii / 0.4) ** 2))  # the rings cancel one another, but only far out
    around = 2 * np.pi * radii
    assert np.trapezoid(around * np.abs(u) ** 2, radii) == pytest.approx(np.pi * radius_mm**2, rel=0.015)
    area_mm2 = np.trapezoid(around * (2 * u.real * fading - np.abs(u) ** 2), radii)
    faded = np.pi * 0.4**2 * (1 - np.exp(-((radius_mm / 0.4) ** 2)))  # the disc's area, weighted with the fading
    assert area_mm2 == pytest.approx(2 * faded - np.pi * radius_mm**2, rel=0.02)


def test_a_large_disc_casts_a_sharp_shadow():
    """Of 300 Fresnel zones; averaged over rings wider than the fringes."""
    radius_mm = np.sqrt(300) * FRESNEL_SCALE_MM
    radii = np.linspace(0, 1.4 * radius_mm, 2501)
    hidden = hidden_by_disc(radii, radius_mm, GREEN_NM, 0.0, PATH_MM)
    share = radii / radius_mm
    for low, high, expected in ((0.2, 0.6, 1), (0.6, 0.9, 1), (1.1, 1.2, 0), (1.2, 1.4, 0)):
        ring = (share > low) & (share < high)
        assert np.average(hidden[ring], weights=radii[ring]) == pytest.approx(expected, abs=0.01)
    at_edge = np.interp(1.0, share, hidden)
    assert at_edge == pytest.approx(0.75, abs=0.02)  # a straight edge leaves a quarter of the light there


def angular_spectrum(radius_mm: float, side_mm: float, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """Intensity behind a disc by the transform of the exact wave equation, which knows no paraxial approximation."""
    step = side_mm / cells
    place = (np.arange(cells) - cells // 2) * step
    fine = (np.arange(8) - 3.5) / 8 * step
    squares = (place[:, None] + fine).ravel() ** 2
    inside = squares[:, None] + squares <= radius_mm**2
    disc = inside.reshape(cells, 8, cells, 8).mean((1, 3))
    frequency = np.fft.fftfreq(cells, step)
    across = frequency[:, None] ** 2 + frequency**2
    k = 1 / (GREEN_NM * 1e-6)
    transfer = np.exp(2j * np.pi * PATH_MM * (np.sqrt(np.maximum(0, k**2 - across)) - k)) * (across < k**2)
    return place, np.abs(1 - np.fft.ifft2(np.fft.fft2(disc) * transfer)) ** 2


def test_an_independent_propagation_finds_the_same_shadow():
    radius_mm, cells = 0.02, 768
    place, intensity = angular_spectrum(radius_mm, 0.46, cells)
    inner = place[(place >= 0) & (place < 0.08)]
    expected = 1 - hidden_by_disc(inner, radius_mm, GREEN_NM, 0.0, PATH_MM)
    found = intensity[cells // 2, cells // 2 :][: len(inner)]
    assert np.abs(found - expected).max() <= 0.03  # 1 % of the light wraps around the edges of that grid
    assert np.sqrt(np.mean((found - expected) ** 2)) <= 0.012
    assert expected.max() - expected.min() > 0.8


def test_the_table_is_the_profile_averaged_over_pixel_and_scene_pixel():
    radius_mm, boxes = 0.02, (0.006, 0.0044)
    shadow = WaveShadow(radius_mm, boxes, GREEN_NM, 0.0, PATH_MM)
    nodes, weights = np.polynomial.legendre.leggauss(12)
    offsets = (nodes[:, None] * boxes[0] / 2 + nodes * boxes[1] / 2).ravel()
    weights = np.outer(weights, weights).ravel() / 4
    y = torch.tensor([0.0, 0.004, -0.021, 0.05], dtype=torch.float64)
    x = torch.tensor([0.0, -0.013, 0.03], dtype=torch.float64)
    found = shadow(y[:, None, None, None], x[None, :, None, None])[:, :, 0, 0].numpy()
    for i, j in np.ndindex(4, 3):
        radii = np.hypot(y[i].item() + offsets[:, None], x[j].item() + offsets)
        profile = hidden_by_disc(radii.ravel(), radius_mm, GREEN_NM, 0.0, PATH_MM).reshape(radii.shape)
        assert found[i, j] == pytest.approx(weights @ profile @ weights, abs=5e-4)


@pytest.mark.parametrize("radius_mm", [0.005, 0.02, 0.1])
def test_the_table_holds_all_but_a_stated_share_of_what_the_disc_takes(radius_mm):
    shadow = WaveShadow(radius_mm, (0.006, 0.0044), GREEN_NM, 0.0, PATH_MM)
    step = 2 * shadow.reach_mm / (len(shadow.table) - 1)
    left_out = FRESNEL_SCALE_MM**2 / (np.pi**2 * radius_mm * 0.9 * shadow.cut_mm)  # bright rings beyond the cut
    assert float(shadow.table.sum()) * step**2 / (np.pi * radius_mm**2) == pytest.approx(1 + left_out, abs=0.01)


def test_the_table_of_a_short_wave_is_the_sharp_shadow():
    boxes = (0.006, 0.0044)
    waves, sharp = WaveShadow(0.05, boxes, 40.0, 0.0, PATH_MM), SharpShadow(0.05, boxes)
    y = torch.linspace(-0.07, 0.07, 53, dtype=torch.float64)[:, None, None, None]
    x = torch.linspace(0, 0.07, 27, dtype=torch.float64)[None, :, None, None]
    difference = waves(y, x) - sharp(y, x)
    assert float(difference.square().mean().sqrt()) <= 0.03 and abs(float(difference.mean())) <= 0.002


@pytest.mark.parametrize("boxes", [(0.006, 0.041), (0.03, 0.05), (0.006, 0.5)])
def test_the_sharp_shadow_of_wide_boxes_is_the_disc_that_they_average(boxes):
    radius_mm = 0.02
    shadow = SharpShadow(radius_mm, boxes)
    places = torch.linspace(-shadow.reach_mm, shadow.reach_mm, 41, dtype=torch.float64)
    y, x = places[:, None, None, None], places[None, :, None, None]
    offsets, weights = _trapezoid_nodes(boxes, 10_000, x)
    expected = torch.zeros(41, 41, 1, 1, dtype=torch.float64)
    for offset, weight in zip(offsets, weights, strict=True):
        half_chord = (radius_mm**2 - (x + offset).square()).clamp_min(0).sqrt()
        expected += weight * (trapezoid_cdf(y + half_chord, boxes) - trapezoid_cdf(y - half_chord, boxes))
    assert float((shadow(y, x) - expected).abs().max()) <= 1e-3 * float(expected.max())


@pytest.mark.parametrize("radius_um", [8.0, 20.0])
def test_a_sensor_with_waves_loses_the_same_light_in_wider_shadows(radius_um):
    facts = dict(scene_shape=(4, 4), sensor_shape=(140, 140), scene_width_mm=20.0, speck_radius_um=radius_um)
    facts |= dict(seed=next(s for s in range(999) if np.abs(BareSensor((1, 1), (140, 140), specks=1, seed=s)
                                                             .speck_centres_mm).max() < 0.05))  # fmt: skip
    clear = BareSensor(**facts, specks=0, dtype=torch.float64).as_matrix()
    hidden = {}
    for waves in (False, True):
        passed = BareSensor(**facts, specks=1, diffraction=waves, dtype=torch.float64).as_matrix() / clear
        far = passed.reshape(140, 140, 16)[:3].mean()  # white = 1 of another rig
        hidden[waves] = 1 - passed / far
    expected = np.pi * (radius_um * 1e-3 * 250 / (250 - 0.7)) ** 2
    area = {waves: share.sum(0).numpy() * 0.006**2 for waves, share in hidden.items()}
    assert np.allclose(area[False], expected, rtol=3e-3) and np.allclose(area[True], expected, rtol=0.05)
    assert hidden[True].max() < hidden[False].max() - 0.05 and hidden[True].min() < -0.005  # its rings add light


def test_a_speck_too_large_for_waves_is_refused_with_the_limit():
    with pytest.raises(ConfigurationError, match=r"speck_radius_um = 500 with diffraction; expected at most 19[56]"):
        BareSensor((4, 4), (8, 8), specks=1, speck_radius_um=500.0, seed=0, diffraction=True)


# --- walls ---


def walled(**facts):
    facts = (
        dict(scene_shape=(3, 4), sensor_shape=(40, 50), pitch_um=20.0, distance_mm=20.0, scene_width_mm=16.0) | facts
    )
    walls = BareSensor(**facts, specks=0, wall_height_mm=1.0, wall_clearance_mm=0.1, dtype=torch.float64)
    return walls.as_matrix().reshape(40, 50, 3, 4), BareSensor(**facts, specks=0, dtype=torch.float64)


def test_a_wall_shades_pixels_within_its_height_times_the_slope_of_the_light():
    found, open_sensor = walled()
    share = found / open_sensor.as_matrix().reshape(found.shape)
    share = share / share[20, 25].max()
    x = (np.arange(50) - 24.5) * 0.02
    light_from = np.array([-8.0, 8.0])  # outer edges of the scene
    edge = 0.5 + 0.1
    for column, pixel in enumerate(x):
        outermost = (pixel + np.array([-0.01, 0.01]))[:, None] * (1 - 1 / 20) + light_from / 20
        if np.abs(outermost).max() < edge:
            assert np.allclose(share[20, column], share[20, 25], rtol=1e-12)
    assert share[20, 0, 1].min() < 0.999 and share[20, 0, 1, -1] == pytest.approx(1, rel=1e-9)


def test_what_walls_leave_is_the_share_of_random_lines_that_miss_them():
    found, open_sensor = walled()
    share = found / open_sensor.as_matrix().reshape(found.shape)
    share = share / share.max()
    random = np.random.default_rng(0)
    for row, column, i, j in ((0, 0, 0, 0), (2, 1, 1, 0), (20, 2, 1, 0), (39, 48, 2, 3), (5, 49, 0, 2)):
        p = (np.array([[row - 19.5], [column - 24.5]]) + random.random((2, 40_000)) - 0.5) * 0.02
        s = (np.array([[i - 1.0], [j - 1.5]]) + random.random((2, 40_000)) - 0.5) * 4.0
        crossing = p * (1 - 1 / 20) + s / 20
        passed = (np.abs(crossing) <= np.array([[0.4 + 0.1], [0.5 + 0.1]])).all(0).mean()
        assert float(share[row, column, i, j]) == pytest.approx(passed, abs=0.01)
