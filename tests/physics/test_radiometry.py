"""Display, pixels, window, layer and pose of a bare sensor, each against a closed form or a calculation of its own."""

import math

import numpy as np
import pytest
import torch

from hardware.errors import ConfigurationError
from hardware.rig import AlignmentSpec
from lensless.optics import BareSensor
from lensless.optics.bare_sensor import speck_centres_mm
from lensless.optics.glass import window_transmittance
from lensless.optics.radiometry import Layer

FACTS = dict(scene_shape=(5, 7), sensor_shape=(4, 6), distance_mm=30.0, scene_width_mm=21.0, pitch_um=500.0, specks=0)
PIXEL_Y, PIXEL_X = np.meshgrid((np.arange(4) - 1.5) * 0.5, (np.arange(6) - 2.5) * 0.5, indexing="ij")
SCENE_Y, SCENE_X = np.meshgrid((np.arange(5) - 2.0) * 3, (np.arange(7) - 3.0) * 3, indexing="ij")


def planes(**facts) -> np.ndarray:
    """(4, 6, 5, 7), in units of a lamp: the entry of the pixel and scene pixel [1, 2, 2, 3] is 1."""
    matrix = BareSensor(**FACTS | facts, dtype=torch.float64).as_matrix().numpy().reshape(4, 6, 5, 7)
    return matrix / matrix[1, 2, 2, 3]


def lines() -> np.ndarray:
    """From pixels to scene pixels, (4, 6, 5, 7, 3)."""
    pixel = np.stack([PIXEL_X, PIXEL_Y, 0 * PIXEL_X], -1)
    scene = np.stack([SCENE_X, SCENE_Y, 0 * SCENE_X + 30.0], -1)
    return scene - pixel[:, :, None, None]


def relative_to_middle(values: np.ndarray) -> np.ndarray:
    return values / values[1, 2, 2, 3]


def angles() -> np.ndarray:
    v = lines()
    return np.arccos(v[..., 2] / np.linalg.norm(v, axis=-1))


# The light of a scene pixel is an integral over its area; what multiplies it changes over that area by a few 1e-4.
CLOSE = dict(rtol=4e-3)


def test_the_radiance_of_a_display_falls_with_a_power_of_the_cosine():
    found = planes(emission_exponent=2.5) / planes()
    assert np.allclose(found, relative_to_middle(np.cos(angles()) ** 2.5), **CLOSE)


def test_pixels_respond_to_the_angle_as_a_normal_curve():
    found = planes(acceptance_deg=12.0) / planes()
    expected = np.exp(-(np.degrees(angles()) ** 2) / (2 * 12.0**2))
    assert np.allclose(found, relative_to_middle(expected), rtol=0.04) and expected.min() < 0.5


def test_the_preferred_direction_of_a_pixel_leans_outwards():
    leaning = planes(acceptance_deg=12.0, chief_ray_deg_per_mm=5.0) / planes()  # errs by 7 % where it falls to 0.1
    lean = np.radians(5.0) * np.hypot(PIXEL_X, PIXEL_Y)
    outwards = np.stack([PIXEL_X, PIXEL_Y], -1) / np.hypot(PIXEL_X, PIXEL_Y)[..., None]
    chief = np.concatenate([outwards * np.sin(lean)[..., None], np.cos(lean)[..., None]], -1)
    v = lines()
    cosine = np.einsum("abijk,abk->abij", v, chief) / np.linalg.norm(v, axis=-1)
    expected = np.exp(-(np.degrees(np.arccos(cosine)) ** 2) / (2 * 12.0**2))
    assert np.allclose(leaning, relative_to_middle(expected), rtol=0.04, atol=0.01)
    assert leaning[1, 5, 2, 6] > leaning[1, 5, 2, 0]  # the rightmost pixel prefers what is to the right


def test_every_pixel_has_a_gradient_of_its_own_that_its_serial_number_decides():
    def gradients(serial):
        facts = dict(sensor_shape=(40, 50), distance_mm=1e3, pitch_um=1.0, scene_shape=(3, 3), scene_width_mm=60.0)
        matrix = BareSensor(specks=0, dtype=torch.float64, acceptance_gradient_per_rad=0.2, serial=serial, **facts)
        plain = BareSensor(specks=0, dtype=torch.float64, **facts).as_matrix()
        ratio = (matrix.as_matrix() / plain).numpy().reshape(2000, 3, 3)
        ratio = ratio / ratio[:, 1, 1, None, None]
        return (
            np.stack([ratio[:, 1, 2] - ratio[:, 1, 0], ratio[:, 2, 1] - ratio[:, 0, 1]]) / 0.04
        )  # 20 mm in 1 m, twice

    found = gradients("A")
    assert found.std(1) == pytest.approx([0.2, 0.2], rel=0.08) and np.abs(found.mean(1)).max() < 0.02
    assert abs(np.corrcoef(found)[0, 1]) < 0.08
    assert np.array_equal(found, gradients("A")) and not np.allclose(found, gradients("B"), atol=0.1)


# --- window and layer ---


@pytest.mark.parametrize("index", [1.0, 1.33, 1.5, 2.4])
def test_a_window_reflects_at_both_faces_as_fresnel_says(index):
    def passes(angle):
        return float(window_transmittance(torch.sin(torch.tensor(angle, dtype=torch.float64)) ** 2, index))

    assert passes(0.0) == pytest.approx((1 - ((index - 1) / (index + 1)) ** 2) ** 2, rel=1e-12)
    brewster = math.atan(index)
    across = (index**2 - 1) / (index**2 + 1)  # amplitude of what is polarised across; of the other none is reflected
    assert passes(brewster) == pytest.approx((1 + (1 - across**2) ** 2) / 2, rel=1e-12)
    assert passes(math.pi / 2 - 1e-6) == pytest.approx(0 if index > 1 else 1, abs=1e-4)


def test_a_sensor_behind_its_window():
    cosine = torch.from_numpy(np.cos(angles()))
    expected = relative_to_middle(window_transmittance(1 - cosine**2, 1.7).numpy())
    assert np.allclose(planes(fresnel=True, glass_index=1.7) / planes(), expected, **CLOSE)


@pytest.mark.parametrize("bandwidth_nm", [0.0, 30.0, 120.0])
def test_a_layer_adds_up_its_reflections_over_the_band(bandwidth_nm):
    R, n, thickness, wavelength = 0.12, 1.6, 3.3, 550.0
    layer = Layer(R, thickness, n, 40.0, 30.0, wavelength, bandwidth_nm)
    x, y, angle = np.linspace(-2, 2, 9), np.linspace(1, -1, 9), np.linspace(0, 1.3, 9)
    found = layer.transmission(*(torch.from_numpy(a) for a in (x, y, np.cos(angle)))).numpy()
    t_um = thickness + 40.0 * (x * np.cos(np.pi / 6) + y * np.sin(np.pi / 6))  # 1 mrad over 1 mm is 1 um
    inside = np.arcsin(np.sin(angle) / n)
    numbers = 1e3 / wavelength + np.linspace(-1, 1, 4001)[:, None] * 1e3 * bandwidth_nm / (2 * wavelength**2)  # 1/um
    phase = 4 * np.pi * n * np.maximum(t_um, 0) * np.cos(inside) * numbers
    waves = sum((1 - R) * R**k * np.exp(1j * k * phase) for k in range(40))  # once to and fro: a factor R e^(i phase)
    airy = np.trapezoid(np.abs(waves) ** 2, axis=0) / 4000
    assert np.allclose(found, airy * (1 + R) / (1 - R), rtol=1e-5)  # relative to its mean over all phases


def test_a_thin_layer_makes_fringes_and_a_thick_one_none_in_ordinary_light():
    thin = planes(layer_reflectance=0.04, layer_thickness_um=5.0, bandwidth_nm=30.0, layer_wedge_mrad=0.3) / planes()
    thick = planes(layer_reflectance=0.04, layer_thickness_um=700.0, bandwidth_nm=30.0, layer_wedge_mrad=0.3) / planes()
    assert np.ptp(thin) > 0.02 and np.ptp(thick) < 1e-3
    sharp = planes(layer_reflectance=0.04, layer_thickness_um=5.0, layer_wedge_mrad=0.3) / planes()
    assert np.ptp(sharp) > np.ptp(thin)


def test_veiling_is_a_share_of_the_mean_of_all_pixels():
    facts = FACTS | dict(specks=2, sensor_shape=(30, 40), pitch_um=6.0, dtype=torch.float64)
    x = torch.rand(2, 1, 5, 7, dtype=torch.float64)
    plain = BareSensor(**facts).A(x)
    white = BareSensor(**facts).A(torch.ones(1, 1, 5, 7, dtype=torch.float64))
    for structured in (True, False):
        veiled = BareSensor(**facts, veiling=0.3, structured=structured).A(x)
        expected = 0.7 * plain + 0.3 * plain.mean((2, 3), keepdim=True)
        assert torch.allclose(veiled, expected / (0.7 + 0.3 * white.mean()), rtol=1e-9)


# --- area and pose ---


@pytest.mark.parametrize("gap_mm", [1.0, 5.0])
def test_a_scene_close_by_is_integrated_over_the_area_of_its_pixels(gap_mm):
    """Against the closed form of a rectangle, from corner to corner (Howell, B-3)."""
    model = BareSensor((8, 8), (3, 5), gap_mm, 4.0, 700.0, 0.1, 0, dtype=torch.float64)

    def corner(x, y):
        a, b = np.hypot(gap_mm, x), np.hypot(gap_mm, y)
        return x / a * np.arctan(y / a) + y / b * np.arctan(x / b)

    py, px = np.meshgrid((np.arange(3) - 1) * 0.7, (np.arange(5) - 2) * 0.7, indexing="ij")
    edges = np.linspace(-2, 2, 9)
    X, Y = edges - px[..., None, None], edges[:, None] - py[..., None, None]
    F = corner(X, Y)
    expected = F[..., 1:, 1:] - F[..., :-1, 1:] - F[..., 1:, :-1] + F[..., :-1, :-1]
    expected = expected / expected.sum((2, 3)).max()
    found = model.as_matrix().numpy().reshape(3, 5, 8, 8)
    assert np.abs(found - expected).max() <= 1e-4 * expected.max()


def posed(**alignment) -> np.ndarray:
    facts = FACTS | dict(dtype=torch.float64, alignment=AlignmentSpec(**alignment))
    return BareSensor(**facts).as_matrix().numpy().reshape(4, 6, 5, 7)


def test_a_shifted_sensor_sees_the_scene_shifted():
    for facts, found, expected in (
        (dict(shift_x_mm=3.0), (..., slice(1, None)), (..., slice(None, -1))),
        (dict(shift_y_mm=-6.0), (..., slice(None, -2), slice(None)), (..., slice(2, None), slice(None))),
    ):
        assert np.allclose(posed(**facts)[found], posed()[expected], rtol=1e-12)


def test_a_rolled_sensor_sees_the_scene_turned():
    square = dict(scene_shape=(6, 6), sensor_shape=(5, 5), specks=2, pitch_um=10.0, seed=4, dtype=torch.float64)
    plain = BareSensor(**square).as_matrix().reshape(5, 5, 6, 6)
    rolled = BareSensor(**square, alignment=AlignmentSpec(roll_deg=90.0)).as_matrix().reshape(5, 5, 6, 6)
    # Its x axis points down the scene, its y axis to the left: it sees scene pixel (i, j) in row -j and column i.
    assert torch.allclose(rolled, plain.flip(2).transpose(2, 3), rtol=1e-9)


def test_a_tilted_sensor_against_vectors_in_the_room():
    tilt_x, tilt_y, roll = 8.0, -5.0, 25.0
    found = posed(tilt_x_deg=tilt_x, tilt_y_deg=tilt_y, roll_deg=roll, shift_x_mm=2.0)
    a, b, c = np.radians([tilt_x, tilt_y, roll])
    axis = np.array([np.cos(b) * np.sin(a), np.sin(b), np.cos(b) * np.cos(a)])
    right = np.cross([0, 1, 0], axis) / np.linalg.norm(np.cross([0, 1, 0], axis))
    down = np.cross(axis, right)
    right, down = np.cos(c) * right + np.sin(c) * down, np.cos(c) * down - np.sin(c) * right
    pixel = np.array([2.0, 0, 0]) + PIXEL_X[..., None] * right + PIXEL_Y[..., None] * down
    v = np.stack([SCENE_X, SCENE_Y, 0 * SCENE_X + 30.0], -1) - pixel[:, :, None, None]
    r = np.linalg.norm(v, axis=-1)
    expected = (v @ axis) * v[..., 2] / r**4
    assert np.allclose(found / found[1, 2, 2, 3], relative_to_middle(expected), **CLOSE)


def test_white_stays_that_of_the_aligned_rig():
    white = posed().sum((2, 3)).max()
    assert white == pytest.approx(1) and posed(tilt_x_deg=20.0).sum((2, 3)).max() < 0.98


def test_the_speck_of_a_tilted_sensor_hides_what_lies_behind_it():
    alignment = AlignmentSpec(tilt_x_deg=10.0, roll_deg=-30.0)
    facts = dict(scene_shape=(4, 4), sensor_shape=(60, 60), distance_mm=20.0, scene_width_mm=4.0, pitch_um=15.0,
                 cover_glass_height_mm=0.5, speck_radius_um=60.0, dtype=torch.float64, alignment=alignment)  # fmt: skip
    facts["seed"] = next(s for s in range(999) if np.abs(speck_centres_mm(1, (0.9, 0.9), s)).max() < 0.05)
    model = BareSensor(**facts, specks=1)
    hidden = 1 - (model.as_matrix() / BareSensor(**facts, specks=0).as_matrix()).numpy().reshape(60, 60, 4, 4)
    hidden = np.maximum(0, hidden - np.median(hidden))
    place = (np.arange(60) - 29.5) * 0.015
    a, c = np.radians([10.0, -30.0])
    axis, right, down = np.array([np.sin(a), 0, np.cos(a)]), np.array([np.cos(a), 0, -np.sin(a)]), np.array([0, 1.0, 0])
    right, down = np.cos(c) * right + np.sin(c) * down, np.cos(c) * down - np.sin(c) * right
    cy, cx = model.speck_centres_mm[0]
    speck = cx * right + cy * down + 0.5 * axis
    for i, j in ((0, 0), (3, 1)):
        source = np.array([(j - 1.5) * 1.0, (i - 1.5) * 1.0, 20.0])
        line = speck - source
        at = source - line * (source @ axis) / (line @ axis)  # where the plane of the pixels is met
        share = hidden[:, :, i, j] / hidden[:, :, i, j].sum()
        assert [share.sum(0) @ place, share.sum(1) @ place] == pytest.approx([at @ right, at @ down], abs=0.004)


@pytest.mark.parametrize(
    "wrong, words",
    [
        (dict(bandwidth_nm=-1.0), "bandwidth_nm = -1.0 nm; expected 0"),
        (dict(emission_exponent=math.nan), "emission_exponent = nan"),
        (dict(glass_index=0.9), "glass_index = 0.9; expected 1 to 5"),
        (dict(layer_reflectance=0.6), "layer_reflectance = 0.6; expected 0 to 0.5"),
        (dict(wall_height_mm=300.0), "wall_height_mm = 300.0"),
        (dict(veiling=1.0), "veiling = 1.0"),
        (dict(acceptance_deg=0.0), "acceptance_deg = 0.0"),
        (dict(chief_ray_deg_per_mm=3.0), "chief_ray_deg_per_mm = 3.0 needs acceptance_deg"),
        (dict(alignment=AlignmentSpec(relay_tilt_x_deg=1.0)), "alignment.relay_tilt_x_deg = 1.0; expected 0"),
        (dict(alignment=AlignmentSpec(defocus_um=math.nan)), "alignment.defocus_um = nan um; expected above"),
        (dict(alignment=AlignmentSpec(tilt_y_deg=90.0)), "alignment.tilt_y_deg = 90.0 degrees; expected above -90"),
        (dict(alignment=AlignmentSpec(shift_x_mm=math.nan)), "alignment.shift_x_mm = nan"),
        (dict(distance_mm=1.0, alignment=AlignmentSpec(tilt_x_deg=30.0)), "leave a part of the scene .* mm above"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_by_name(wrong, words):
    with pytest.raises(ConfigurationError, match=words):
        BareSensor((4, 4), (8, 8), **wrong)
