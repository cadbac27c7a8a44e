"""A mask's point-spread function, and where a display lies in a reconstruction."""

import numpy as np
import pytest
from planted_sensor import Planted
from scipy import ndimage

from calibration.alignment import align
from calibration.psf import at_depths, centre_of, measure_psf, shifted
from hardware.errors import CalibrationMismatch

SHAPE = (96, 120)


def caustic(row: float, column: float, scale: float = 1.0) -> np.ndarray:
    """A diffuser's kind of light, smooth to a pixel, with its centre of light where it is said to be."""
    draw = np.random.default_rng(7)
    picture = np.zeros(SHAPE)
    down, right = np.indices(SHAPE)
    for _ in range(40):
        at = draw.normal(0, 9, 2) * scale
        picture += draw.uniform(0.2, 1) * np.exp(
            -((down - 47.5 - at[0]) ** 2 + (right - 59.5 - at[1]) ** 2) / (2 * 1.6**2)
        )
    off = centre_of(picture)
    return shifted(picture, (row - off[0], column - off[1])).clip(0)


def sensor(**facts) -> Planted:
    return Planted(3, SHAPE, prnu=0.0, dsnu_electrons=0.5, **facts)


def test_it_is_clean_centred_to_a_fraction_of_a_pixel_and_sums_to_one():
    truth = caustic(44.3, 61.8)
    light = 400 + 8_000 * truth / truth.max()  # the room is not dark
    psf = measure_psf(sensor().stack(32, 1.0, light), sensor().stack(32, 1.0, 400.0))
    assert psf.centre == pytest.approx((44.3, 61.8), abs=0.1)
    expected = caustic(47.5, 59.5)
    off = psf.psf - expected / expected.sum()
    assert np.linalg.norm(off) < 0.03 * np.linalg.norm(expected / expected.sum())
    assert psf.psf.sum() == pytest.approx(1, rel=1e-5) and psf.psf.min() >= 0 and psf.noise < 0.05
    # Without frames of the room its light is taken from the dimmest pixels.
    alone = measure_psf(sensor().stack(32, 1.0, light))
    assert np.linalg.norm(alone.psf - psf.psf) < 0.1 * np.linalg.norm(psf.psf)


def test_depths_keep_what_differs_between_them():
    stacks = {mm: sensor().stack(32, 1.0, 8_000 * (f := caustic(40 + row, 60, scale)) / f.max()) for mm, row, scale in
              ((10.0, 0.0, 1.2), (20.0, 3.0, 1.0), (40.0, 5.0, 0.8))}  # fmt: skip
    found = at_depths(stacks, sensor().stack(32, 1.0))
    centres = {mm: centre_of(np.where(psf.psf > psf.psf.max() / 50, psf.psf, 0)) for mm, psf in found.items()}
    assert centres[20.0] == pytest.approx((47.5, 59.5), abs=0.2)
    assert centres[10.0][0] == pytest.approx(44.5, abs=0.3) and centres[40.0][0] == pytest.approx(49.5, abs=0.3)


def test_a_point_that_clips_or_is_dim_is_refused():
    truth = caustic(47, 59) / caustic(47, 59).max()
    with pytest.raises(CalibrationMismatch, match=r"clipped.*dimmer point"):
        measure_psf(sensor(full_well_electrons=1e6).stack(4, 1.0, 80_000 * truth))
    with pytest.raises(CalibrationMismatch, match="more light, or more frames"):
        measure_psf(sensor().stack(4, 1.0, 30 * truth), sensor().stack(4, 1.0))
    with pytest.raises(CalibrationMismatch, match="take both alike"):
        measure_psf(sensor().stack(4, 1.0, 8_000 * truth), sensor().stack(4, 0.5))


def test_a_shift_by_fractions_is_that_of_the_exact_function():
    np.testing.assert_allclose(
        ndimage.gaussian_filter(shifted(caustic(47, 59), (0.4, -1.3)), 1),
        ndimage.gaussian_filter(caustic(47.4, 57.7), 1),
        atol=2e-3,
    )


H = np.array([[1.1, 0.05, 3.0], [-0.04, 0.95, -2.0], [2e-4, -1e-4, 1.0]])


def grid(step=8):
    return np.stack(np.meshgrid(np.arange(0, 33, step), np.arange(0, 33, step)), -1).reshape(-1, 2).astype(float)


def test_a_homography_is_found_and_its_error_told_in_pixels():
    points = grid()
    lifted = np.c_[points, np.ones(len(points))] @ H.T
    seen = lifted[:, :2] / lifted[:, 2:] + 0.1 * np.random.default_rng(0).standard_normal((len(points), 2))
    seen[3] += 15  # one was taken for another
    found = align(points, seen)
    assert not found.used[3] and found.used.sum() == len(points) - 1
    assert 0.08 < found.error_px < 0.2 and found.worst_px < 0.6
    np.testing.assert_allclose(found(points[[0, 12]]), (lifted[:, :2] / lifted[:, 2:])[[0, 12]], atol=0.2)
    np.testing.assert_allclose(found.inverse(found(points)), points, atol=1e-6)


def test_points_that_tell_nothing_are_refused():
    points, draw = grid(), np.random.default_rng(1)
    with pytest.raises(CalibrationMismatch, match="4 or more"):
        align(points[:3], points[:3])
    with pytest.raises(CalibrationMismatch, match="one line"):
        align(points[:5], points[:5])
    with pytest.raises(CalibrationMismatch, match="expected at least half"):
        align(points, draw.uniform(0, 32, points.shape), tolerance_px=0.5)
