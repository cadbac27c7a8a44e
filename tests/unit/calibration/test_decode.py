"""A planted matrix comes back from its frames, as well as their noise allows and no better than is said."""

import dataclasses

import numpy as np
import pytest

from calibration.patterns import KINDS, Patterns, hadamard, pattern_set, points, raster, sylvester
from calibration.regularise import low_rank, regularised, symmetric
from calibration.transfer import bound, decode, decoder
from hardware.errors import CalibrationMismatch, ConfigurationError

SHAPES = [(4, 4), (5, 3), (8, 8), (7, 9)]


def with_black(patterns):
    """Their pictures, and a black one before."""
    return np.concatenate([np.zeros((1, patterns.weights.shape[1])), patterns.weights])


def planted(shape, pixels=60, seed=0):
    draw = np.random.default_rng(seed)
    matrix = draw.random((pixels, shape[0] * shape[1])) * draw.random((pixels, 1))
    return matrix, 5 + 20 * draw.random(pixels)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_without_noise_the_matrix_comes_back(kind, shape):
    matrix, background = planted(shape)
    patterns = pattern_set(kind, shape, 3)
    weights = with_black(patterns)
    frames = background + weights @ matrix.T
    found = decode(weights, frames, np.ones_like(frames))
    np.testing.assert_allclose(found.matrix_dn, matrix, atol=1e-4)
    np.testing.assert_allclose(found.background_dn, background, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_errors_are_those_that_are_stated(kind):
    shape, draw = (8, 8), np.random.default_rng(1)
    matrix, background = planted(shape, 200)
    patterns = pattern_set(kind, shape)
    weights, counts = with_black(patterns), np.r_[16, np.ones(len(patterns))]
    clean = background + weights @ matrix.T
    variance = (0.02 + 0.01 * clean) / counts[:, None]  # light makes noise
    found = decode(weights, clean + np.sqrt(variance) * draw.standard_normal(clean.shape), variance, counts)
    off = found.matrix_dn - matrix
    np.testing.assert_allclose(np.sqrt((off**2).mean(0)), found.column_noise_dn, rtol=0.3)
    np.testing.assert_allclose(np.sqrt((off**2).mean(1)), found.noise_dn, rtol=0.6)
    assert np.sqrt((off**2).mean()) == pytest.approx(np.sqrt((found.noise_dn**2).mean()), rel=0.03)
    assert np.linalg.norm(off) / np.linalg.norm(matrix) == pytest.approx(found.relative_error, rel=0.1)
    assert found.residual.mean() == pytest.approx(1, abs=0.1)


def test_least_squares_reach_the_bound_where_noise_is_even():
    patterns = hadamard((4, 4))
    matrix, background = planted((4, 4), 30)
    frames = background + patterns.weights @ matrix.T
    least = bound(patterns.weights, frames, lambda y: np.full_like(y, 2.0))
    found = decode(patterns.weights, frames, np.full_like(frames, 2.0))
    np.testing.assert_allclose(np.sqrt(least.mean(1)), found.noise_dn, rtol=1e-6)


@pytest.mark.parametrize("side", [8, 16])
def test_hadamard_patterns_have_the_gain_of_theory_over_points_at_equal_time(side):
    """sqrt(N) / 2 in the standard deviation where noise is that of reading; a loss of sqrt(2) where light makes it."""
    shape, pixels = (side, side), 20
    n, matrix = side**2, np.random.default_rng(2).random((pixels, side**2))
    multiplexed, single = hadamard(shape), raster(shape)
    for of_reading, of_light, gain in ((1.0, 0.0, np.sqrt(n) / 2), (0.0, 1.0, 2**-0.5)):
        noise = []
        for patterns, repeats in ((multiplexed, 1), (single, len(multiplexed) / len(single))):
            clean, counts = with_black(patterns) @ matrix.T, np.r_[1e6, np.full(len(patterns), repeats)]
            variance = (of_reading + of_light * clean + 1e-9) / counts[:, None]
            found = decode(with_black(patterns), clean, variance, counts)
            noise.append(np.sqrt((found.noise_dn**2).mean()))
        assert noise[1] / noise[0] == pytest.approx(gain, rel=0.1)


def test_a_frame_of_another_pattern_stands_out():
    patterns, (matrix, background) = hadamard((8, 8)), planted((8, 8))
    draw = np.random.default_rng(4)
    frames = background + patterns.weights @ matrix.T
    frames[37] = frames[36]
    frames += 0.1 * draw.standard_normal(frames.shape)
    residual = decode(patterns.weights, frames, np.full_like(frames, 0.01)).residual
    assert residual[37] > 20 and residual.argmax() in (36, 37)


@pytest.mark.parametrize("order", [2, 4, 64])
def test_sylvesters_rows_are_orthogonal(order):
    signs = sylvester(order).astype(int)
    assert (signs @ signs.T == order * np.eye(order)).all() and (signs[0] == 1).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_pattern_and_its_opposite_light_everything_once(shape):
    weights = hadamard(shape).weights
    assert (weights[0::2] + weights[1::2] == 1).all()


def test_patterns_are_made_again_from_what_a_recording_says():
    for patterns in (*(pattern_set(kind, (5, 4), 7) for kind in KINDS), points((5, 4), np.array([3, 17]), 7)):
        again = Patterns.of_facts(patterns.facts())
        assert (again.weights == patterns.weights).all() and (again.order(2) == patterns.order(2)).all()
        assert sorted(patterns.order(0)) == list(range(len(patterns)))
        assert len(patterns) < 5 or (patterns.order(0) != patterns.order(1)).any()
    for facts in (
        {},
        {"kind": "plasma", "shape": [2, 2], "seed": 0},
        {"kind": "points", "shape": [2, 2], "seed": 0, "points": [9]},
    ):
        with pytest.raises(ConfigurationError, match="patterns"):
            Patterns.of_facts(facts)


def test_some_points_alone_give_their_columns():
    matrix, background = planted((6, 6))
    places = np.array([0, 14, 35])
    patterns = points((6, 6), places)
    shown = with_black(patterns)
    found = decode(shown[:, places], background + shown @ matrix.T, np.ones((4, 60)))
    np.testing.assert_allclose(found.matrix_dn, matrix[:, places], atol=1e-4)


def test_patterns_that_tell_too_little_are_refused():
    with pytest.raises(CalibrationMismatch, match="do not tell 16 points and the background apart; show black"):
        decoder(raster((4, 4)).weights)
    few = dataclasses.replace(hadamard((4, 4)), weights=hadamard((4, 4)).weights[:10])
    with pytest.raises(CalibrationMismatch, match="more patterns"):
        decoder(few.weights)


def smooth(side_scene=10, side_sensor=16):
    """A round rod's kind of matrix: of low rank, and turned with the scene."""
    down, right = (
        np.stack(np.meshgrid(*[np.linspace(-1, 1, side)] * 2, indexing="ij")).reshape(2, -1)
        for side in (side_sensor, side_scene)
    )
    apart2 = ((down[:, :, None] - right[:, None]) ** 2).sum(0)
    mirrored2 = ((down[:, :, None] + right[:, None]) ** 2).sum(0)
    return np.exp(-apart2 / 0.3) + 0.5 * np.exp(-mirrored2 / 0.2), (side_scene,) * 2, (side_sensor,) * 2


def test_a_low_rank_takes_noise_away():
    matrix, *_ = smooth()
    noise = np.linspace(0.05, 0.1, len(matrix))
    noisy = matrix + noise[:, None] * np.random.default_rng(0).standard_normal(matrix.shape)
    shrunk = low_rank(noisy, noise)
    found, rank, error = shrunk.matrix, shrunk.rank, shrunk.error
    assert error == pytest.approx(
        np.linalg.norm((found - matrix) / noise[:, None]) / np.linalg.norm(matrix / noise[:, None]), rel=0.3
    )
    assert 3 < rank < 40 and np.linalg.norm(found - matrix) < 0.6 * np.linalg.norm(noisy - matrix)
    wide = low_rank(noisy.T, 0.075)
    assert wide.rank < 40 and np.linalg.norm(wide.matrix - matrix.T) < 0.7 * np.linalg.norm(noisy - matrix)
    assert low_rank(noisy - matrix, noise).rank <= 1  # of noise nothing is left
    with pytest.raises(ConfigurationError, match="not above 0"):
        low_rank(matrix, 0.0)


def test_symmetry_is_used_where_it_is_and_not_where_it_is_not():
    matrix, scene_shape, sensor_shape = smooth()
    noise = 0.05 * np.random.default_rng(0).standard_normal(matrix.shape)
    off = np.linalg.norm(noise)
    found, kept = symmetric(matrix + noise, 0.05, scene_shape, sensor_shape)
    assert kept < 0.1 and np.linalg.norm(found - matrix) < 0.45 * off  # 1 / sqrt(8) = 0.35
    crooked = np.roll(matrix.reshape(*sensor_shape, -1), 2, 0).reshape(matrix.shape)
    found, kept = symmetric(crooked + noise, 0.05, scene_shape, sensor_shape)
    assert kept > 0.8 and np.linalg.norm(found - crooked) < 1.05 * off
    both = regularised(matrix + noise, 0.05, scene_shape, sensor_shape, round_rod=True)
    assert np.linalg.norm(both.matrix - matrix) < 0.25 * off and both.way == "symmetric" and both.asymmetry < 0.1
    both = regularised(crooked + noise, 0.05, scene_shape, sensor_shape, round_rod=True)
    assert np.linalg.norm(both.matrix - crooked) < 0.7 * off and both.way == "low rank" and both.asymmetry > 0.8


def test_a_design_is_believed_as_far_as_it_is_right():
    matrix, scene_shape, sensor_shape = smooth()
    draw = np.random.default_rng(4)
    noisy = matrix + 0.05 * draw.standard_normal(matrix.shape)
    alone = np.linalg.norm(low_rank(noisy, 0.05).matrix - matrix)
    bump = 0.3 * np.outer(draw.random(matrix.shape[0]) < 0.05, np.ones(matrix.shape[1]))
    for design, less in ((matrix, 0.15), (matrix + bump, 0.5)):
        found = regularised(noisy, 0.05, scene_shape, sensor_shape, design=design)
        assert found.way == "design" and np.linalg.norm(found.matrix - matrix) < less * alone
    wrong = draw.permutation(matrix)
    found = regularised(noisy, 0.05, scene_shape, sensor_shape, design=wrong)
    assert found.way == "low rank" and np.linalg.norm(found.matrix - matrix) < 1.01 * alone


def test_a_display_that_is_not_square_has_the_symmetries_that_are_left():
    draw = np.random.default_rng(3)
    cube = draw.random((6, 8, 4, 5))
    even = cube + cube[::-1, :, ::-1] + cube[:, ::-1, :, ::-1] + cube[::-1, ::-1, ::-1, ::-1]
    matrix = even.reshape(48, 20)
    noisy = matrix + 0.01 * draw.standard_normal(matrix.shape)
    found, kept = symmetric(noisy, 0.01, (4, 5), (6, 8))
    assert kept < 0.2 and np.linalg.norm(found - matrix) < 0.7 * np.linalg.norm(noisy - matrix)
