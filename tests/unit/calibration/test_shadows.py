"""One mask is found in frames of single points that each show hardly anything of it."""

import numpy as np
import pytest
from scipy import ndimage

from calibration.shadows import fit_shadows

SCENE, SENSOR, STEP = (8, 10), (60, 80), 1.3
SPECKS = ((15, 20), (40, 30), (28, 62))


def planted(draw, noise: float, specks=SPECKS, step=STEP):
    """(pixels, points) of a mask with round specks, sharp where a pixel and a point are; and the same with noise."""
    fine = 4
    down, right = np.mgrid[: SENSOR[0] * fine, : SENSOR[1] * fine] / fine
    points = [(r - (SCENE[0] - 1) / 2, c - (SCENE[1] - 1) / 2) for r in range(SCENE[0]) for c in range(SCENE[1])]
    light = 1 + 0.2 * draw.random(len(points))
    response = 1 + 0.02 * draw.standard_normal(np.prod(SENSOR))
    frames = []
    for (row, column), strength in zip(points, light, strict=True):
        clear = np.ones_like(down)
        for at_row, at_column in specks:
            away = np.hypot(down - at_row + step * row, right - at_column + step * column)
            clear[away < 3] = 0
        clear = ndimage.gaussian_filter(clear, 0.5 * fine)
        frame = clear.reshape(SENSOR[0], fine, SENSOR[1], fine).mean((1, 3))
        frames.append(strength * response * frame.ravel())
    truth = np.stack(frames, 1).astype(np.float32)
    return truth, truth + (noise * draw.standard_normal(truth.shape)).astype(np.float32)


@pytest.mark.parametrize(
    ("guess", "step"), [(1.0, STEP * np.eye(2)), *(pytest.param(g, None, marks=pytest.mark.slow) for g in (1.0, 1.6))]
)
def test_the_mask_explains_the_matrix_far_better_than_its_frames(guess, step):
    truth, noisy = planted(np.random.default_rng(0), 0.2)
    found = fit_shadows(noisy, np.full(len(noisy), 0.2), SCENE, SENSOR, guess, step)
    assert found.specks == len(SPECKS)
    assert found.step_px == pytest.approx(STEP * np.eye(2), abs=0.02)
    error = np.linalg.norm(found.matrix - truth) / np.linalg.norm(truth)
    assert error < 0.035 and error < 0.2 * np.linalg.norm(noisy - truth) / np.linalg.norm(truth)
    for row, column in SPECKS:
        assert found.mask[row, column] < 0.15


@pytest.mark.slow
def test_shadows_that_fall_the_other_way_are_found():
    _, noisy = planted(np.random.default_rng(1), 0.1, step=-STEP)
    found = fit_shadows(noisy, np.full(len(noisy), 0.1), SCENE, SENSOR, 1.2)
    assert found.step_px == pytest.approx(-STEP * np.eye(2), abs=0.02) and found.specks == len(SPECKS)


@pytest.mark.slow
@pytest.mark.parametrize("step", [0.6, 0.83])
def test_steps_that_are_no_whole_pixels_are_found(step):
    truth, noisy = planted(np.random.default_rng(3), 0.03, step=step)
    noisy[:, 17] *= 0.002  # a point that hardly shines says nothing, and spoils nothing
    truth[:, 17] *= 0.002
    found = fit_shadows(noisy, np.full(len(noisy), 0.03), SCENE, SENSOR, 0.7)
    assert found.step_px == pytest.approx(step * np.eye(2), abs=0.04)
    assert np.linalg.norm(found.matrix - truth) < 0.025 * np.linalg.norm(truth)


def test_a_clean_sensor_throws_no_shadows():
    _, noisy = planted(np.random.default_rng(2), 0.2, specks=())
    assert fit_shadows(noisy, np.full(len(noisy), 0.2), SCENE, SENSOR, 1.2) is None
