"""The rod against an independent ray tracer, closed forms, its own symmetry and its own stated error."""

import math

import numpy as np
import pytest
import torch
from rod_tracer import matrix_by_brute_force, trace

from hardware.errors import ConfigurationError
from lensless.optics import Cannula, cannula
from lensless.optics.cannula import fold

RADIUS, INDEX = 0.11, 1.46


def random_rays(count=20_000, steepest=0.4, seed=0):
    random = np.random.default_rng(seed)
    r, azimuth = RADIUS * np.sqrt(random.random(count)), 2 * np.pi * random.random(count)
    slope, turn = steepest * random.random(count), 2 * np.pi * random.random(count)
    return r * np.cos(azimuth), r * np.sin(azimuth), slope * np.cos(turn), slope * np.sin(turn)


def folded(rays, length, dtype=torch.float64, index=INDEX):
    return [out.double().numpy() for out in fold(*(torch.tensor(r, dtype=dtype) for r in rays), RADIUS, length, index)]


# --- where one ray leaves ---


@pytest.mark.parametrize("length", [0.01, 0.5, 12.5, 40.0])
@pytest.mark.parametrize("index", [1.0001, 1.46, 2.4])
def test_rays_leave_where_a_step_by_step_tracer_says(length, index):
    rays = random_rays()
    x, y, _, _, bounces = folded(rays, length, index=index)
    expected_x, expected_y, expected_bounces, _ = trace(*rays, RADIUS, length, index)
    assert np.hypot(x - expected_x, y - expected_y).max() <= 1e-9 * RADIUS
    assert (bounces == expected_bounces).all()
    assert (np.hypot(x, y) <= RADIUS * (1 + 1e-9)).all()


def test_in_single_precision_a_ray_errs_by_less_than_a_hundredth_of_a_cell():
    rays = random_rays(steepest=0.22)
    x, y, *_ = folded(rays, 12.5, torch.float32)
    expected_x, expected_y, *_ = trace(*rays, RADIUS, 12.5, INDEX)
    error = np.hypot(x - expected_x, y - expected_y) / (2 * RADIUS / 64)
    assert np.quantile(error, 0.999) <= 0.01


def test_a_ray_through_the_axis_is_folded_like_a_triangle_wave():
    x0 = np.linspace(-0.1, 0.1, 41)
    slope = np.linspace(0.01, 0.3, 41)
    zero = np.zeros_like(x0)
    length = 12.5
    unfolded = x0 + length * np.tan(np.arcsin(np.sin(np.arctan(slope)) / INDEX))
    phase = (unfolded + RADIUS) % (4 * RADIUS)
    expected = RADIUS - np.abs(phase - 2 * RADIUS)
    x, y, b, _, _ = folded((x0, zero, slope, zero), length)
    assert np.allclose(x, expected, rtol=0, atol=1e-12) and np.abs(y).max() < 1e-12 and (b == 0).all()
    x, y, *_ = folded((zero, x0, zero, -slope), length)  # the same picture turned by 90 degrees
    assert np.allclose(y, -folded((-x0, zero, slope, zero), length)[0], rtol=0, atol=1e-12) and np.abs(x).max() < 1e-12


def test_a_ray_along_the_axis_goes_straight_through():
    x0, y0, *_ = random_rays(100)
    x, y, _, sin2, bounces = folded((x0, y0, 0 * x0, 0 * x0), 12.5)
    assert (x == x0).all() and (y == y0).all() and not sin2.any() and not bounces.any()


def test_a_ray_that_meets_no_wall_keeps_its_line():
    x0, y0, slope_x, slope_y = random_rays(2000, steepest=0.2)
    x, y, _, _, bounces = folded((x0, y0, slope_x, slope_y), 0.2)
    free = bounces == 0
    assert 0.5 < free.mean() < 1
    run = 0.2 * np.tan(np.arcsin(np.sin(np.arctan(np.hypot(slope_x, slope_y))) / INDEX)) / np.hypot(slope_x, slope_y)
    assert np.allclose(x[free], (x0 + run * slope_x)[free], rtol=0, atol=1e-13)
    assert np.allclose(y[free], (y0 + run * slope_y)[free], rtol=0, atol=1e-13)


@pytest.mark.parametrize("angle", [0.3, math.pi / 2, 2.5])
def test_turning_the_rays_turns_where_they_leave(angle):
    x0, y0, slope_x, slope_y = random_rays(2000)
    c, s = np.cos(angle), np.sin(angle)
    x, y, *_ = folded((x0, y0, slope_x, slope_y), 12.5)
    turned = (c * x0 - s * y0, s * x0 + c * y0, c * slope_x - s * slope_y, s * slope_x + c * slope_y)
    turned_x, turned_y, *_ = folded(turned, 12.5)
    assert np.hypot(turned_x - (c * x - s * y), turned_y - (s * x + c * y)).max() <= 1e-10 * RADIUS


def test_the_aperture_of_skew_rays_is_the_angle_at_the_wall():
    rays = random_rays()
    _, _, b, sin2, bounces = folded(rays, 12.5)
    _, _, _, steepest = trace(*rays, RADIUS, 12.5, INDEX)
    # In glass the cosine at the wall is sin(theta) / index * sqrt(1 - b^2 / a^2).
    met = bounces > 0
    across2 = sin2 * (1 - (b / RADIUS) ** 2)
    assert met.mean() > 0.95
    assert np.allclose(across2[met], (INDEX * steepest[met]) ** 2, rtol=0, atol=1e-12)
    aperture = 0.22
    guided = across2 <= aperture**2
    total_reflection = np.sqrt(1 - steepest**2) >= np.sqrt(INDEX**2 - aperture**2) / INDEX
    assert (guided == total_reflection)[met].all()
    # Skew rays are held up to angles that a meridional ray is not.
    assert (guided & (sin2 > aperture**2)).mean() > 0.05


# --- the matrix ---

SQUARE = dict(scene_shape=(4, 4), sensor_shape=(8, 8))
GEOMETRIES = {
    "square": dict(SQUARE),
    "narrow aperture": dict(SQUARE, numerical_aperture=0.12),
    "face cut off": dict(scene_shape=(3, 4), sensor_shape=(6, 8), pitch_um=80.0, fov_deg=25.0, distance_mm=20.0),
    "short rod": dict(SQUARE, length_mm=0.6, numerical_aperture=0.05, core_index=1.6),
}


def brute_force(rays, seed, **geometry):
    diameter, magnification = 0.22, 4.0
    pitch_um = geometry.get("pitch_um")
    cell_mm = diameter / geometry["sensor_shape"][1] if pitch_um is None else pitch_um * 1e-3 / magnification
    matrix = matrix_by_brute_force(
        scene_shape=geometry["scene_shape"], sensor_shape=geometry["sensor_shape"], diameter_mm=diameter,
        length_mm=geometry.get("length_mm", 12.5), distance_mm=geometry.get("distance_mm", 350.0),
        fov_deg=geometry.get("fov_deg", 18.0), index=geometry.get("core_index", 1.46),
        numerical_aperture=geometry.get("numerical_aperture", 0.22), cell_mm=cell_mm, rays=rays, seed=seed,
    )  # fmt: skip
    matrix = matrix.reshape(matrix.shape[0] * matrix.shape[1], -1)
    return matrix


def relative(difference, of) -> float:
    return float(np.linalg.norm(difference) / np.linalg.norm(of))


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_the_matrix_is_that_of_an_independent_tracer(geometry):
    model = Cannula(**geometry, rays=2**16)
    halves = [brute_force(2**14, seed, **geometry) for seed in (1, 2)]
    reference = (halves[0] + halves[1]) / 2
    reference_error = relative(halves[0] - halves[1], 2 * reference)
    white = reference.sum(1).max()
    distance = relative(model.as_matrix().numpy() - reference / white, reference / white)
    expected = math.hypot(reference_error, model.sampling_error)
    assert distance <= 1.15 * expected
    # Total light of each scene pixel: the sum over guided rays of cos^4, better known than single cells are.
    light, reference_light = model.as_matrix().sum(0).numpy(), reference.sum(0)
    light, reference_light = light / light.sum(), reference_light / reference_light.sum()
    assert np.abs(light / reference_light - 1).max() <= 0.02


def test_no_light_is_made_and_none_of_a_wide_aperture_is_lost():
    model = Cannula(**SQUARE, rays=2**14, numerical_aperture=1.0)
    # A rod is a point beside 350 mm: what it takes in is cos^4 averaged over the scene pixel.
    nodes, weights = np.polynomial.legendre.leggauss(8)
    pixel = 2 * math.tan(math.radians(9)) / 4
    centres = (np.arange(4) - 1.5) * pixel
    places = (centres[:, None] + nodes * pixel / 2).ravel()
    cos4 = 1 / (1 + places[:, None] ** 2 + places**2) ** 2
    mean = np.einsum("aibj,i,j->ab", cos4.reshape(4, 8, 4, 8), weights / 2, weights / 2).ravel()
    light = model.as_matrix().sum(0).double().numpy()
    assert np.allclose(light / light.sum(), mean / mean.sum(), rtol=1e-4, atol=0)


def test_the_scene_fills_eighteen_degrees_by_default():
    model = Cannula(scene_shape=(1, 63), sensor_shape=(4, 4), rays=2**12)
    light = model.as_matrix().sum(0).double()
    edge_deg = math.degrees(math.acos(float(light[0] / light[31]) ** 0.25))  # cos^4 read backwards
    assert edge_deg == pytest.approx(math.degrees(math.atan(62 / 63 * math.tan(math.radians(9)))), abs=0.02)


def test_a_rod_of_no_length_shows_an_evenly_lit_disc_whatever_its_aperture():
    model = Cannula(**SQUARE, length_mm=1e-6, numerical_aperture=0.01, rays=2**14)
    axis = (np.arange(800) + 0.5) / 100 - 4
    covered = ((axis[:, None] ** 2 + axis**2) <= 16).reshape(8, 100, 8, 100).mean((1, 3))  # share of each cell
    image = model.as_matrix().sum(1).reshape(8, 8).double().numpy()
    assert np.allclose(image / image.sum(), covered / covered.sum(), rtol=0, atol=2e-4)


def test_a_picture_comes_out_turned_when_the_scene_is_turned():
    matrix = Cannula(scene_shape=(6, 6), sensor_shape=(10, 10), rays=2**10).as_matrix()
    plane = matrix.reshape(10, 10, 6, 6)
    for turned in (
        plane.flip(0, 2),
        plane.flip(1, 3),
        plane.transpose(0, 1).transpose(2, 3),
        torch.rot90(torch.rot90(plane, 1, (0, 1)), 1, (2, 3)),
    ):
        assert torch.allclose(turned, plane, rtol=1e-6, atol=0)


@pytest.mark.parametrize("scene_shape, sensor_shape", [((5, 6), (8, 8)), ((6, 6), (7, 10)), ((3, 4), (9, 7))])
def test_planes_that_are_not_square_keep_their_mirror_symmetry(scene_shape, sensor_shape):
    matrix = Cannula(scene_shape=scene_shape, sensor_shape=sensor_shape, rays=2**10).as_matrix()
    plane = matrix.reshape(*sensor_shape, *scene_shape)
    for mirrored in (plane.flip(0, 2), plane.flip(1, 3), plane.flip(0, 1, 2, 3)):
        assert torch.allclose(mirrored, plane, rtol=1e-6, atol=0)


def test_the_octant_short_cut_gives_what_tracing_every_pixel_gives(monkeypatch, tmp_path):
    short_cut = Cannula(scene_shape=(5, 5), sensor_shape=(10, 10), rays=2**15)
    monkeypatch.setenv("OPTICS_FREE_CACHE", str(tmp_path))  # the other would be taken for it
    monkeypatch.setattr(cannula, "_symmetries", lambda scene_shape, sensor_shape: [lambda plane: plane])
    full = Cannula(scene_shape=(5, 5), sensor_shape=(10, 10), rays=2**15)
    distance = relative(short_cut.as_matrix() - full.as_matrix(), full.as_matrix())
    assert 0 < distance <= 1.5 * math.hypot(short_cut.sampling_error, full.sampling_error)


# --- the stated error ---

SMALL = dict(scene_shape=(6, 6), sensor_shape=(24, 24))


@pytest.fixture(scope="module")
def converged() -> Cannula:
    return Cannula(**SMALL, rays=2**21, seed=99)


@pytest.mark.parametrize("rays", [2**8, 2**12, 2**16])
def test_the_stated_error_is_the_distance_to_many_more_rays(converged, rays):
    for seed in (0, 1):
        model = Cannula(**SMALL, rays=rays, seed=seed)
        distance = relative(model.as_matrix() - converged.as_matrix(), converged.as_matrix())
        assert 1 / 1.5 <= distance / model.sampling_error <= 1.5


def test_the_error_falls_at_least_with_the_root_of_the_rays(converged):
    rays = 2 ** np.arange(12, 18, 2)  # with fewer, the noise adds to the norm that the error is relative to
    models = [Cannula(**SMALL, rays=int(count), seed=5) for count in rays]
    for errors in (
        [model.sampling_error for model in models],
        [relative(model.as_matrix() - converged.as_matrix(), converged.as_matrix()) for model in models],
    ):
        slope = np.polyfit(np.log(rays), np.log(errors), 1)[0]
        assert slope <= -0.47


def test_one_seed_is_one_matrix_and_another_seed_another():
    first, again, other = (Cannula(**SQUARE, rays=2**10, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.as_matrix(), again.as_matrix())
    distance = relative(first.as_matrix() - other.as_matrix(), first.as_matrix())
    assert 0.5 <= distance / math.hypot(first.sampling_error, other.sampling_error) <= 2


@pytest.mark.slow
@pytest.mark.timeout(1200)  # 136 scene pixels of 4 million rays each: seconds on an idle machine, minutes on a busy one
def test_the_default_rod_states_at_most_five_percent():
    model = Cannula()
    print(f"\nCannula(): sampling error {model.sampling_error:.2%}")
    assert model.sampling_error <= 0.05


@pytest.mark.parametrize(
    "wrong",
    [
        {"diameter_mm": 0.0},
        {"length_mm": -1.0},
        {"distance_mm": math.nan},
        {"fov_deg": 180.0},
        {"core_index": 1.0},
        {"numerical_aperture": 1.5},
        {"magnification": math.inf},
        {"pitch_um": 0.0},
        {"pitch_um": -13.75},
        {"rays": 0},
        {"rays": 3},
        {"rays": 1e6},
    ],
    ids=str,
)
def test_a_geometry_that_cannot_be_is_refused_by_name(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ConfigurationError, match=f"Cannula: {name} = {value}"):
        Cannula(**SQUARE, **wrong)
