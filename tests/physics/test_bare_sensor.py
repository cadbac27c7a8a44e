"""Radiometry of a bare sensor against closed forms, and the shadows of its specks against geometry."""

import math

import numpy as np
import pytest
import torch

from hardware.errors import ConfigurationError
from lensless.optics import BareSensor
from lensless.optics.analysis import signal_to_noise
from lensless.optics.bare_sensor import speck_centres_mm


def image_of(model: BareSensor, picture: np.ndarray) -> np.ndarray:
    return model.A(torch.from_numpy(picture)[None, None].to(model.as_matrix().dtype))[0, 0].double().numpy()


def planes(model: BareSensor) -> np.ndarray:
    """The matrix as (sensor rows, sensor columns, scene rows, scene columns)."""
    return model.as_matrix().double().numpy().reshape(*model.sensor_shape, *model.scene_shape)


def centres(count: int, pitch: float) -> np.ndarray:
    return (np.arange(count) - (count - 1) / 2) * pitch


# --- without specks ---


@pytest.mark.parametrize("distance_mm, scene_width_mm", [(250.0, 50.0), (30.0, 50.0)])
def test_light_is_the_integral_over_both_areas_of_two_cosines_over_distance_squared(distance_mm, scene_width_mm):
    scene_shape, sensor_shape, pitch_mm = (24, 32), (4, 5), 1.0
    model = BareSensor(
        scene_shape, sensor_shape, distance_mm, scene_width_mm, pitch_um=1e3 * pitch_mm, specks=0, dtype=torch.float64
    )
    nodes, weights = np.polynomial.legendre.leggauss(3)
    pixel_mm = scene_width_mm / 32

    def grid(count, pitch):  # 3 Gauss points in every interval
        return (centres(count, pitch)[:, None] + nodes * pitch / 2).ravel()

    p = np.stack(np.broadcast_arrays(*np.ix_(grid(4, pitch_mm), grid(5, pitch_mm)), 0.0), -1)
    s = np.stack(np.broadcast_arrays(*np.ix_(grid(24, pixel_mm), grid(32, pixel_mm)), distance_mm), -1)
    line = s - p[:, :, None, None]  # from every point of the sensor to every point of the scene
    r2 = (line**2).sum(-1)
    cosine = line[..., 2] / np.sqrt(r2)
    irradiance = cosine * cosine / r2
    irradiance = irradiance.reshape(4, 3, 5, 3, 24, 3, 32, 3)
    w = weights / 2
    expected = np.einsum("aibjckdl,i,j,k,l->abcd", irradiance, w, w, w, w)
    expected /= expected.sum((2, 3)).max()
    # The model takes each pixel at its centre: off by the square of (scene pixel / distance), times about 1/3.
    assert np.abs(planes(model) / expected - 1).max() <= (pixel_mm / distance_mm) ** 2


def view_factor_of_corner_rectangle(x, y):
    """From an area element to a parallel rectangle x by y at distance 1 whose corner lies above it (Howell, B-3)."""
    a, b = np.hypot(1, x), np.hypot(1, y)
    return (x / a * np.arctan(y / a) + y / b * np.arctan(x / b)) / (2 * np.pi)


def test_a_white_scene_lights_the_sensor_as_the_view_factor_of_a_rectangle():
    distance_mm, width_mm = 10.0, 60.0
    model = BareSensor((96, 96), (5, 7), distance_mm, width_mm, pitch_um=4000.0, specks=0, dtype=torch.float64)
    y, x = np.meshgrid(centres(5, 4.0), centres(7, 4.0), indexing="ij")
    half = width_mm / 2
    expected = sum(
        view_factor_of_corner_rectangle((half + sign_x * x) / distance_mm, (half + sign_y * y) / distance_mm)
        for sign_x in (1, -1)
        for sign_y in (1, -1)
    )
    assert np.allclose(image_of(model, np.ones((96, 96))), expected / expected.max(), rtol=2e-4, atol=0)


def test_a_disc_in_a_boundless_white_scene_gives_its_view_factor():
    distance_mm, width_mm = 10.0, 800.0
    model = BareSensor((801, 801), (1, 1), distance_mm, width_mm, specks=0, dtype=torch.float64)
    place = centres(801, width_mm / 801)
    for radius_mm in (10.0, 30.0):
        disc = (np.hypot(place[:, None], place) <= radius_mm).astype(float)
        expected = radius_mm**2 / (radius_mm**2 + distance_mm**2)  # Howell, B-12; of a half space it is 1
        assert image_of(model, disc)[0, 0] == pytest.approx(expected, rel=5e-3)


def test_the_plain_sensor_is_symmetric_and_dims_towards_its_corners():
    plane = planes(BareSensor((7, 9), (6, 8), 5.0, 10.0, pitch_um=500.0, specks=0, dtype=torch.float64))
    assert np.allclose(plane, plane[::-1, :, ::-1, :], rtol=1e-12)
    assert np.allclose(plane, plane[:, ::-1, :, ::-1], rtol=1e-12)
    white = plane.sum((2, 3))
    assert white.max() == pytest.approx(1) and white.argmin() in (0, 7, 40, 47)


# --- one speck ---

DISTANCE_MM, HEIGHT_MM, PITCH_MM, WIDTH_MM = 20.0, 2.0, 0.006, 4.0
SHADOW_SCALE = DISTANCE_MM / (DISTANCE_MM - HEIGHT_MM)  # of a speck, for a point of light
PICTURE_SCALE = HEIGHT_MM / (DISTANCE_MM - HEIGHT_MM)  # of the scene, for a speck that is a point


def one_speck(radius_um=20.0, scene=(4, 4), sensor=(120, 120), seed=None, **changes) -> tuple[BareSensor, np.ndarray]:
    """A sensor with one speck near its middle, and the share of light that is hidden, (H', W', H, W)."""
    facts = dict(
        scene_shape=scene, sensor_shape=sensor, distance_mm=DISTANCE_MM, scene_width_mm=WIDTH_MM,
        pitch_um=1e3 * PITCH_MM, cover_glass_height_mm=HEIGHT_MM, speck_radius_um=radius_um,
        seed=central_seed(sensor) if seed is None else seed, dtype=torch.float64,
    )  # fmt: skip
    model = BareSensor(**facts | changes, specks=1)
    passed = planes(model) / planes(BareSensor(**facts | changes, specks=0))
    return model, 1 - passed / np.median(passed)  # most of the light passes far from the speck


def central_seed(sensor) -> int:
    extent = np.array(sensor) * PITCH_MM
    return next(seed for seed in range(10_000) if np.abs(speck_centres_mm(1, extent, seed) / extent).max() < 0.05)


@pytest.mark.parametrize("radius_um", [2.0, 20.0, 60.0])
def test_a_speck_hides_its_area_magnified(radius_um):
    _, hidden = one_speck(radius_um)
    area_mm2 = hidden.sum((0, 1)) * PITCH_MM**2
    expected = np.pi * (radius_um * 1e-3 * SHADOW_SCALE) ** 2
    assert np.allclose(area_mm2, expected, rtol=2e-3, atol=0)


def test_the_shadow_falls_where_the_line_through_the_speck_ends():
    model, hidden = one_speck()
    speck = model.speck_centres_mm[0]
    pixels, scene = centres(120, PITCH_MM), centres(4, WIDTH_MM / 4)
    for row in range(4):
        for column in range(4):
            share = hidden[:, :, row, column] / hidden[:, :, row, column].sum()
            found = np.array([share.sum(1) @ pixels, share.sum(0) @ pixels])
            source = np.array([scene[row], scene[column]])
            # source, speck and shadow lie on one line; the heights above the pixels are d, h and 0
            expected = speck + (speck - source) * HEIGHT_MM / (DISTANCE_MM - HEIGHT_MM)
            assert np.abs(found - expected).max() <= 0.01 * PITCH_MM


def test_the_shadow_of_a_scene_is_the_scene_upside_down():
    scene = (8, 8)
    model, _ = one_speck(20.0, scene)
    picture = np.zeros(scene)
    picture[1:7, 2] = picture[6, 2:6] = 1  # the letter L
    clear = BareSensor(
        scene, model.sensor_shape, DISTANCE_MM, WIDTH_MM, 1e3 * PITCH_MM, HEIGHT_MM, specks=0, dtype=torch.float64
    )
    dip = image_of(clear, picture) - image_of(model, picture)
    # Read the dip where each scene pixel's shadow has its middle: that is the picture, blurred by the speck.
    speck = model.speck_centres_mm[0]
    first = centres(120, PITCH_MM)[0]
    scene_mm = centres(8, WIDTH_MM / 8)
    rows = np.rint((speck[0] * SHADOW_SCALE - scene_mm * PICTURE_SCALE - first) / PITCH_MM).astype(int)
    columns = np.rint((speck[1] * SHADOW_SCALE - scene_mm * PICTURE_SCALE - first) / PITCH_MM).astype(int)
    assert (np.diff(rows) < 0).all() and (np.diff(columns) < 0).all()
    read = dip[np.ix_(rows, columns)]
    lit, dark = read[picture > 0], read[picture == 0]
    assert lit.min() > 2 * dark.max()


def test_a_shadow_has_a_core_and_a_penumbra_of_the_stated_widths():
    # A scene pixel is seen through the speck's edge as a box of its width; so is the pixel that looks.
    radius_mm, scene_mm = 0.15, WIDTH_MM / 4
    model, hidden = one_speck(1e3 * radius_mm)
    blur_mm = scene_mm * PICTURE_SCALE + PITCH_MM
    for row, column in ((0, 0), (1, 2)):
        source = np.array([centres(4, scene_mm)[row], centres(4, scene_mm)[column]])
        middle = model.speck_centres_mm[0] * SHADOW_SCALE - source * PICTURE_SCALE
        profile = hidden[np.abs(centres(120, PITCH_MM) - middle[0]).argmin(), :, row, column]
        away_mm = np.abs(centres(120, PITCH_MM) - middle[1])
        edge_mm = radius_mm * SHADOW_SCALE
        # At the height of the middle the rim of a disc is straight to within sagitta = blur^2 / (8 radius).
        sagitta_mm = blur_mm**2 / (8 * edge_mm)
        assert np.abs(profile[away_mm > edge_mm + blur_mm / 2]).max() <= 1e-9
        assert np.abs(1 - profile[away_mm < edge_mm - blur_mm / 2 - 2 * sagitta_mm]).max() <= 1e-9
        between = np.abs(away_mm - edge_mm) < blur_mm / 2 - 2 * sagitta_mm - PITCH_MM
        assert between.sum() > 10 and (profile[between] > 1e-4).all() and (profile[between] < 1 - 1e-4).all()


@pytest.mark.parametrize("radius_um", [8.0, 40.0])
def test_what_is_hidden_is_the_share_of_random_lines_that_meet_the_speck(radius_um):
    model, hidden = one_speck(radius_um, sensor=(60, 60))
    random, samples = np.random.default_rng(0), 4000
    speck = model.speck_centres_mm[0]
    for row, column in ((0, 1), (2, 2)):
        p = centres(60, PITCH_MM)[:, None] + PITCH_MM * (random.random((2, 1, samples)) - 0.5)  # (2, 60, samples)
        s = centres(4, WIDTH_MM / 4)[[row, column]][:, None, None] + WIDTH_MM / 4 * (
            random.random((2, 1, samples)) - 0.5
        )
        crossing = p + (s - p) * HEIGHT_MM / DISTANCE_MM - speck[:, None, None]
        inside = crossing[0, :, None] ** 2 + crossing[1, None] ** 2 <= (radius_um * 1e-3) ** 2
        share = inside.mean(-1)
        deviation = np.sqrt(share * (1 - share) / samples) + 1 / samples
        assert (np.abs(hidden[:, :, row, column] - share) <= 5 * deviation + 2e-3).all()


# --- several specks ---


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("radius_um", [5.0, 20.0, 200.0])
def test_more_specks_never_give_more_light(dtype, radius_um):
    def light(specks):  # in units of the same lamp: the scale that white = 1 fixes is taken out again
        model = BareSensor(
            (8, 8), (40, 50), pitch_um=60.0, specks=specks, speck_radius_um=radius_um, seed=1, dtype=dtype
        )
        passed = model.as_matrix().double() / clear
        return passed / passed.median()  # most of the light passes far from every speck

    clear = BareSensor((8, 8), (40, 50), pitch_um=60.0, specks=0, dtype=dtype).as_matrix().double()
    before = light(0)
    for specks in (1, 2, 3, 5):
        now = light(specks)
        assert (now <= before + 1e-6).all() and now.sum() < before.sum() and now.min() >= 0
        before = now


def test_a_seed_places_the_specks_above_the_sensor_and_more_specks_move_none():
    extent = (2.88, 3.84)
    many = speck_centres_mm(200, extent, seed=3)
    assert (np.abs(many) <= np.array(extent) / 2).all()
    assert (speck_centres_mm(5, extent, seed=3) == many[:5]).all()
    assert (speck_centres_mm(5, extent, seed=4) != many[:5]).any()
    # Evenly spread: mean 0 and variance extent^2 / 12.
    lots = speck_centres_mm(20_000, extent, seed=0) / extent
    assert np.allclose(lots.mean(0), 0, atol=0.01) and np.allclose(lots.var(0), 1 / 12, rtol=0.03)


def test_the_model_tells_where_its_specks_are_and_one_seed_is_one_matrix():
    facts = dict(scene_shape=(4, 4), sensor_shape=(20, 30), specks=3)
    first, again, other = (BareSensor(**facts, seed=seed) for seed in (3, 3, 4))
    assert (first.speck_centres_mm == speck_centres_mm(3, (20 * 0.006, 30 * 0.006), 3)).all()
    assert torch.equal(first.as_matrix(), again.as_matrix())
    assert not torch.equal(first.as_matrix(), other.as_matrix())


def test_specks_make_the_sensor_see():
    """Without specks a sensor passes about three numbers; with five, hundreds (the reason why they are modelled)."""
    blind, seeing = (BareSensor((12, 12), (80, 80), specks=n, dtype=torch.float64).singular_values() for n in (0, 5))
    assert int((blind > 1e-4 * blind[0]).sum()) <= 4
    assert int((seeing > 1e-4 * seeing[0]).sum()) >= 100


@pytest.mark.parametrize(
    "wrong",
    [
        {"distance_mm": 0.0},
        {"distance_mm": math.nan},
        {"scene_width_mm": -1.0},
        {"pitch_um": math.inf},
        {"cover_glass_height_mm": 0.0},
        {"cover_glass_height_mm": 250.0},
        {"speck_radius_um": 0.0},
        {"speck_radius_um": 0.1},
        {"specks": -1},
    ],
    ids=str,
)
def test_a_geometry_that_cannot_be_is_refused_by_name(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ConfigurationError, match=f"BareSensor: {name} = {value}"):
        BareSensor((4, 4), (8, 8), **wrong)


@pytest.mark.slow
@pytest.mark.parametrize(
    "facts, frame, hundred",
    [
        (dict(specks=0), 1, 3),
        (dict(specks=0, acceptance_deg=20.0), 2, 3),
        (dict(specks=0, acceptance_deg=20.0, acceptance_gradient_per_rad=0.1), 3, 3),
        (dict(specks=0, distance_mm=50.0), 3, 5),
        (dict(specks=0, distance_mm=10.0, scene_width_mm=4.0), 3, 6),
        (dict(specks=0, distance_mm=5.0, scene_width_mm=4.0), 7, 12),
        (dict(specks=0, distance_mm=1.0, scene_width_mm=4.0), 67, 117),
        (dict(specks=5), 20, 142),
        (dict(specks=5, diffraction=True), 19, 120),
        (dict(specks=20), 37, 183),
        (dict(specks=20, diffraction=True), 30, 217),
    ],
    ids=str,
)
def test_modes_above_the_noise_of_one_frame_and_of_a_hundred(facts, frame, hundred):
    """The table of docs/bare_sensor_modes.md: 5000 electrons per pixel of a half-lit scene."""
    model = BareSensor((32, 32), (240, 320), pitch_um=12.0, **facts)
    half_lit = model.A(torch.full((1, 1, 32, 32), 0.5)).flatten()
    ratios = signal_to_noise(model, half_lit / 10_000)
    spread = 0.06 if facts["specks"] else 0.05  # over the places of the specks; or the uneven light at 1 mm
    assert int((ratios > 1).sum()) == pytest.approx(frame, abs=0.5 + spread * frame)
    assert int((10 * ratios > 1).sum()) == pytest.approx(hundred, abs=0.5 + spread * hundred)
    # The same by plain arithmetic, where all pixels are lit alike.
    plain = 0.3 * model.singular_values() / (0.25 / 5000) ** 0.5
    assert int((plain > 1).sum()) == pytest.approx(frame, abs=0.5 + spread * frame)
    assert int((10 * plain > 1).sum()) == pytest.approx(hundred, abs=0.5 + spread * hundred)
