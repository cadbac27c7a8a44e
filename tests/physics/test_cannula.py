"""The rod against an independent ray tracer, closed forms, its own symmetry and its own stated error."""

import math

import numpy as np
import pytest
import torch
from rod_tracer import matrix_by_brute_force, trace

from hardware.errors import ConfigurationError
from hardware.rig import AlignmentSpec
from lensless.optics import Cannula, rod_matrix
from lensless.optics.glass import index_at, transmittance
from lensless.optics.rod import fold

RADIUS, INDEX = 0.11, 1.46


def random_rays(count=20_000, steepest=0.4, seed=0):
    random = np.random.default_rng(seed)
    r, azimuth = RADIUS * np.sqrt(random.random(count)), 2 * np.pi * random.random(count)
    slope, turn = steepest * random.random(count), 2 * np.pi * random.random(count)
    return r * np.cos(azimuth), r * np.sin(azimuth), slope * np.cos(turn), slope * np.sin(turn)


def folded(rays, length, dtype=torch.float64, index=INDEX):
    leaves = fold(*(torch.tensor(r, dtype=dtype) for r in rays), RADIUS, length, index)
    return [out.double().numpy() for out in (leaves.x, leaves.y, leaves.b, leaves.sin2, leaves.bounces)]


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
    "narrow aperture": dict(SQUARE, numerical_aperture=0.16),
    "face cut off": dict(scene_shape=(3, 4), sensor_shape=(6, 8), pitch_um=80.0, fov_deg=25.0, distance_mm=20.0),
    "short rod": dict(SQUARE, length_mm=0.6, numerical_aperture=0.05, core_index=1.6, fov_deg=5.6),
}


# What the rays lose and where the parts stand wrong, by the names of Cannula and of the tracer.
COMPLETE = {
    "Fresnel": (dict(fresnel=True, core_index=2.0, fov_deg=60.0, numerical_aperture=1.0), {}),
    "rough wall": (dict(roughness_nm=40.0), {}),
    "display of narrow emission": (dict(emission_exponent=20.0), {}),
    "narrow telecentric relay": (dict(relay_numerical_aperture=0.1), {}),
    "vignetting": (dict(relay_numerical_aperture=0.15, pupil_distance_mm=1.0), {}),
    "tilted": (dict(fov_deg=10.0), dict(tilt_x_deg=2.0, tilt_y_deg=-3.0)),
    "moved aside": (dict(fov_deg=10.0), dict(shift_x_mm=8.0, shift_y_mm=-12.0, roll_deg=25.0)),
    "relay and sensor moved": ({}, dict(relay_shift_x_um=6.0, sensor_shift_x_um=-40.0, sensor_shift_y_um=70.0)),
    "out of focus": (dict(emission_exponent=1.0), dict(defocus_um=9000.0, roll_deg=-10.0)),
    "tilted sensor": ({}, dict(sensor_tilt_x_deg=80.0, sensor_tilt_y_deg=-30.0, roll_deg=20.0)),
    "tilted relay": ({}, dict(relay_tilt_y_deg=28.0, defocus_um=3000.0)),
    "pupil aside": (dict(relay_numerical_aperture=0.12, pupil_distance_mm=1.0), dict(relay_shift_x_um=40.0)),
}  # fmt: skip


def brute_force(rays, seed, alignment=None, **geometry):
    diameter, magnification = 0.22, 4.0
    pitch_um = geometry.pop("pitch_um", None)
    cell_mm = diameter / geometry["sensor_shape"][1] if pitch_um is None else pitch_um * 1e-3 / magnification
    facts = dict(length_mm=12.5, distance_mm=350.0, fov_deg=18.0, numerical_aperture=0.22) | geometry
    facts["index"] = facts.pop("core_index", 1.46)
    wrong = dict(alignment or {})
    for pair, unit in (
        ("tilt", "deg"), ("shift", "mm"), ("relay_shift", "um"), ("sensor_shift", "um"), ("sensor_tilt", "deg"),
        ("relay_tilt", "deg"),
    ):  # fmt: skip
        facts[f"{pair}_{unit}"] = tuple(wrong.pop(f"{pair}_{axis}_{unit}", 0.0) for axis in "xy")
    matrix = matrix_by_brute_force(diameter_mm=diameter, cell_mm=cell_mm, rays=rays, seed=seed, **facts, **wrong)
    return matrix.reshape(matrix.shape[0] * matrix.shape[1], -1)


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


@pytest.mark.parametrize("facts, alignment", COMPLETE.values(), ids=COMPLETE)
def test_losses_and_misalignment_are_those_of_an_independent_tracer(facts, alignment):
    geometry = SQUARE | facts
    model = Cannula(**geometry, alignment=AlignmentSpec(**alignment), rays=2**16)
    ideal = Cannula(**geometry, rays=2**16)
    halves = [brute_force(2**14, seed, alignment, **geometry) for seed in (1, 2)]
    reference = (halves[0] + halves[1]) / 2
    reference_error = relative(halves[0] - halves[1], 2 * reference)
    # One scale for both: what the aligned rig makes of its brightest cell.
    white = brute_force(2**14, 3, **geometry).sum(1).max() if alignment else reference.sum(1).max()
    distance = relative(model.as_matrix().numpy() - reference / white, reference / white)
    assert distance <= 1.2 * math.hypot(reference_error, model.sampling_error) + (0.003 if alignment else 0)
    plain = Cannula(**SQUARE, rays=2**16) if not alignment else ideal
    assert relative((model.as_matrix() - plain.as_matrix()).numpy(), reference / white) > 0.04  # it is not without


def test_a_rig_that_is_turned_as_a_whole_turns_its_matrix():
    turned = Cannula(**SQUARE, alignment=AlignmentSpec(roll_deg=90.0), rays=2**12).as_matrix().reshape(8, 8, 16)
    straight = Cannula(**SQUARE, rays=2**12).as_matrix().reshape(8, 8, 16)
    assert relative((turned - straight.rot90(1, (0, 1))).numpy(), straight.numpy()) <= 1e-5


@pytest.mark.parametrize("name, moves", [
    ("tilt_x_deg", {0}), ("shift_y_mm", {1}), ("sensor_shift_x_um", {0}), ("roll_deg", {2}), ("defocus_um", {0, 1, 2}),
    ("relay_tilt_y_deg", {1}),
])  # fmt: skip
def test_what_stands_wrong_leaves_the_symmetries_that_it_can(monkeypatch, tmp_path, name, moves):
    """Copied columns are those that would be computed: flip 0 mirrors rows, 1 columns, 2 is both."""
    wrong = AlignmentSpec(**{name: 3.5})
    by_symmetry = Cannula(**SQUARE, alignment=wrong, rays=2**14)
    plane = by_symmetry.as_matrix().reshape(8, 8, 4, 4)
    for move, axes in enumerate([(0, 2), (1, 3), (0, 1, 2, 3)]):
        assert (relative((plane.flip(axes) - plane).numpy(), plane.numpy()) <= 1e-6) == (move in moves)
    monkeypatch.setenv("OPTICS_FREE_CACHE", str(tmp_path))
    monkeypatch.setattr(rod_matrix, "symmetries", lambda geometry: [lambda plane: plane])
    whole = Cannula(**SQUARE, alignment=wrong, rays=2**14)
    distance = relative((by_symmetry.as_matrix() - whole.as_matrix()).numpy(), plane.numpy())
    assert distance <= 1.5 * math.hypot(by_symmetry.sampling_error, whole.sampling_error)


def test_moving_the_rod_by_one_scene_pixel_moves_the_columns():
    facts = dict(scene_shape=(4, 6), sensor_shape=(8, 8), fov_deg=18.0)
    pixel_mm = 2 * 350 * math.tan(math.radians(9)) / 6
    moved = Cannula(**facts, alignment=AlignmentSpec(shift_x_mm=pixel_mm), rays=2**12).as_matrix().reshape(-1, 4, 6)
    still = Cannula(**facts, rays=2**12).as_matrix().reshape(-1, 4, 6)
    assert relative((moved[:, :, 1:] - still[:, :, :-1]).numpy(), still.numpy()) <= 1e-5


# --- glass and light ---


def test_dispersion_follows_the_measured_index_of_fused_silica():
    um = np.linspace(0.45, 0.65, 41)
    malitson = np.sqrt(  # J. Opt. Soc. Am. 55, 1205 (1965)
        1 + 0.6961663 * um**2 / (um**2 - 0.0684043**2) + 0.4079426 * um**2 / (um**2 - 0.1162414**2)
        + 0.8974794 * um**2 / (um**2 - 9.896161**2)
    )  # fmt: skip
    assert np.abs(index_at(um * 1e3, 1.4585, 67.8) - malitson).max() <= 3e-4
    n_F, n_C = (index_at(line, 1.62, 36.4) for line in (486.13, 656.27))
    assert (1.62 - 1) / (n_F - n_C) == pytest.approx(36.4)  # the definition of Abbe's number
    assert index_at(400.0, 1.46, None) == 1.46


def test_a_band_of_light_is_the_mean_of_its_colours():
    facts = dict(scene_shape=(5, 5), sensor_shape=(16, 16), abbe_number=20.0, rays=2**16)
    band = Cannula(**facts, wavelength_nm=550, bandwidth_nm=200).as_matrix()
    lines = [Cannula(**facts, wavelength_nm=float(at)).as_matrix() for at in range(460, 650, 20)]
    mean = sum(lines) / len(lines)
    assert relative((band - mean).numpy(), mean.numpy()) <= 0.018
    assert relative((lines[0] - lines[-1]).numpy(), mean.numpy()) > 0.025


@pytest.mark.parametrize("index", [1.33, 1.46, 2.4])
def test_a_face_passes_what_fresnel_says(index):
    straight = transmittance(torch.tensor(0.0, dtype=torch.float64), index)
    assert float(straight) == pytest.approx(4 * index / (1 + index) ** 2, rel=1e-12)
    brewster = torch.tensor(math.sin(math.atan(index)) ** 2, dtype=torch.float64)
    # At Brewster's angle nothing of the one polarisation comes back, of the other ((n^2 - 1) / (n^2 + 1))^2.
    expected = 1 - ((index**2 - 1) / (index**2 + 1)) ** 2 / 2
    assert float(transmittance(brewster, index)) == pytest.approx(expected, rel=1e-12)
    assert float(transmittance(torch.tensor(1.0, dtype=torch.float64), index)) == pytest.approx(0, abs=1e-12)


# --- the published camera ---


@pytest.mark.slow
def test_demagnification_is_the_published_127_with_a_relay_of_4():
    A = Cannula(rays=2**10)
    width_mm = 2 * 350 * math.tan(math.radians(9))
    assert width_mm / (0.22 * 4) == pytest.approx(127, rel=0.01)
    assert A.sensor_shape[1] * 13.75e-3 == pytest.approx(0.22 * 4)


def test_on_the_axis_images_of_points_0_4_degrees_apart_differ_and_further_out_they_resemble_each_other():
    """The published resolution is about 0.4 degrees on the axis. Correlation of images over the face, from sources of
    0.1 degrees: from the axis outwards nothing is left at 0.4 degrees, from 0.1 degrees off it less than half; at 5
    degrees along the radius it takes more.
    """
    A = Cannula(scene_shape=(1, 181), sensor_shape=(34, 34), fov_deg=18.1, rays=2**18)
    y, x = np.mgrid[:34, :34] - 16.5
    images = A.as_matrix().double().numpy().reshape(34, 34, 181)[np.hypot(x, y) < 16]

    def correlation(first_deg, second_deg):
        first, second = (90 + round(10 * angle) for angle in (first_deg, second_deg))
        return np.corrcoef(images[:, first], images[:, second])[0, 1]

    assert correlation(0, 0.4) < 0.1 and correlation(0.1, 0.5) < 0.5
    assert correlation(5, 5.4) > 0.6


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
    model = Cannula(**SQUARE, length_mm=1e-6, numerical_aperture=0.01, fov_deg=1.1, rays=2**14)
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


@pytest.mark.parametrize("sensor_shape", [(10, 10), (7, 12)])
def test_the_short_cut_by_symmetry_gives_what_tracing_every_pixel_gives(monkeypatch, tmp_path, sensor_shape):
    short_cut = Cannula(scene_shape=(5, 5), sensor_shape=sensor_shape, rays=2**16)
    monkeypatch.setenv("OPTICS_FREE_CACHE", str(tmp_path))  # the other would be taken for it
    monkeypatch.setattr(rod_matrix, "_by_rings", rod_matrix._pixel_by_pixel)
    full = Cannula(scene_shape=(5, 5), sensor_shape=sensor_shape, rays=2**18)
    distance = relative(short_cut.as_matrix() - full.as_matrix(), full.as_matrix())
    assert 0 < distance <= 1.2 * math.hypot(short_cut.sampling_error, full.sampling_error) <= 0.03


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
@pytest.mark.timeout(1200)
def test_the_default_rod_is_that_of_pixels_traced_one_by_one(tmp_path, monkeypatch):
    model = Cannula()
    print(f"\nCannula(): sampling error {model.sampling_error:.2%}")
    assert model.sampling_error <= 0.01
    monkeypatch.setenv("OPTICS_FREE_CACHE", str(tmp_path))
    monkeypatch.setattr(rod_matrix, "_by_rings", rod_matrix._pixel_by_pixel)
    some = [0, 3 * 32 + 8, 10 * 32 + 14, 15 * 32 + 15]

    class Some(rod_matrix._Halves):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            self.representatives = some

    monkeypatch.setattr(rod_matrix, "_Halves", Some)
    one_by_one = Cannula(rays=2**25)
    ours, theirs = (A.as_matrix()[:, some] / A.as_matrix()[:, some].sum(0) for A in (model, one_by_one))
    distances = (ours - theirs).norm(dim=0) / theirs.norm(dim=0)
    print("distance of four columns:", ", ".join(f"{float(one):.2%}" for one in distances))
    assert distances.max() <= 0.02


def test_the_error_of_the_matrix_has_the_singular_values_that_are_stated():
    A, many = (Cannula(scene_shape=(6, 6), sensor_shape=(16, 16), rays=rays, seed=rays) for rays in (2**12, 2**20))
    few, much = A.as_matrix().double().numpy(), many.as_matrix().double().numpy()
    scale = (few * much).sum() / (much**2).sum()  # white = 1 is a single cell, and errs more than the whole
    found = np.linalg.svd(few - scale * much, compute_uv=False)
    stated = A.sampling_spectrum.numpy()
    assert stated.shape == found.shape and (np.diff(stated) <= 0).all()
    assert np.linalg.norm(stated) == pytest.approx(np.linalg.norm(found), rel=0.2)
    assert np.linalg.norm(stated) == pytest.approx(A.sampling_error * float(A.as_matrix().norm()), rel=1e-3)
    assert stated[0] == pytest.approx(found[0], rel=0.5)


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
        {"abbe_number": 5},
        {"relay_numerical_aperture": 0.0},
        {"pupil_distance_mm": -1.0},
        {"wavelength_nm": 0.55},
        {"bandwidth_nm": 600.0},
        {"roughness_nm": -1.0},
        {"emission_exponent": math.nan},
        {"fov_deg": 30.0},
        {"length_mm": 400.0},
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


@pytest.mark.parametrize(
    "facts, alignment, says",
    [
        ({}, dict(tilt_x_deg=math.nan), r"alignment\.tilt_x_deg = nan degrees; expected above -90"),
        ({}, dict(sensor_tilt_x_deg=90.0), r"alignment\.sensor_tilt_x_deg = 90\.0 degrees"),
        ({}, dict(shift_x_mm=math.inf), r"alignment\.shift_x_mm = inf mm"),
        (dict(numerical_aperture=1.0), dict(tilt_x_deg=30.0, shift_x_mm=1000.0), "before the face of the rod"),
        ({}, dict(tilt_x_deg=4.0), r"a side of the scene 13 degrees off the axis .* at most 12\.71 degrees"),
        ({}, dict(shift_y_mm=25.0), r"a side of the scene 1\d\.\d+ degrees off the axis .* at most 12\.71 degrees"),
        (dict(relay_numerical_aperture=1e-9), {}, "has the light 0; expected more than 0"),
        (dict(seed=-1), {}, "seed = -1; expected a whole number"),
        (dict(length_mm="long"), {}, "length_mm = 'long' mm; expected above 0"),
        (dict(diameter_mm=1.0, pitch_um=0.05), {}, r"GiB; expected at most 8 GiB: take larger cells"),
    ],
)
def test_what_cannot_stand_so_is_refused(facts, alignment, says):
    with pytest.raises(ConfigurationError, match=says):
        Cannula(**SQUARE | facts, alignment=AlignmentSpec(**alignment), rays=2**8)


def test_light_is_never_negative():
    assert float(Cannula(rays=2**10, scene_shape=(9, 9), sensor_shape=(32, 32)).as_matrix().min()) >= 0
