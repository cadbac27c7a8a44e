"""Bayer frames: split and joined without a change, calibrated plane by plane, and never mixed up."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from shots import META

from calibration import Calibration, measure_flat
from calibration.fill import fill_masked
from calibration.mosaic import PATTERNS, cells, join_planes, plane_names, shifted_cfa, split_planes
from hardware import Frame
from hardware.errors import CalibrationMismatch, ConfigurationError
from lensless.optics import mosaic as tensors

SHAPE = (12, 14)
EVEN = arrays.array_shapes(min_dims=2, max_dims=2, max_side=9).map(lambda shape: (2 * shape[0], 2 * shape[1]))
FRAMES = st.sampled_from(["u1", "u2", "f4"]).flatmap(lambda kind: arrays.arrays(kind, EVEN))


def frame(pixels, cfa="RGGB", **changes) -> Frame:
    pixels = np.broadcast_to(np.asarray(pixels, np.uint16), SHAPE)
    return Frame(pixels, dataclasses.replace(META, cfa=cfa, pixel_format="BayerRG12", **changes))


def planted(cfa="RGGB", **changes) -> Calibration:
    facts = dict(
        camera_id="S-1", shape=SHAPE, bit_depth=12, gain_db=0.0, exposure_s=(0.01, 0.01), dark_dn=64.0,
        white_dn=2000.0, cfa=cfa,
    )  # fmt: skip
    return Calibration(**facts | changes)


def coloured(cfa="RGGB", **levels) -> np.ndarray:
    """A frame in which every filter has a level of its own."""
    cell = np.array([levels[letter] for letter in cfa]).reshape(2, 2)
    return np.tile(cell, (SHAPE[0] // 2, SHAPE[1] // 2))


def test_the_planes_stand_in_the_order_of_the_pattern():
    assert plane_names("RGGB") == ("R", "G1", "G2", "B") and plane_names("GRBG") == ("G1", "R", "B", "G2")
    for cfa in PATTERNS:
        planes = split_planes(coloured(cfa, R=1, G=2, B=3), cfa)
        for name, plane in zip(plane_names(cfa), planes, strict=True):
            assert (plane == {"R": 1, "G": 2, "B": 3}[name[0]]).all()


@given(FRAMES, st.sampled_from(PATTERNS))
def test_a_frame_comes_back_unchanged(pixels, cfa):
    planes = split_planes(pixels, cfa)
    assert planes.shape == (4, pixels.shape[0] // 2, pixels.shape[1] // 2) and planes.dtype == pixels.dtype
    np.testing.assert_array_equal(join_planes(planes, cfa), pixels)
    for at, plane in enumerate(planes):
        np.testing.assert_array_equal(plane, pixels[at // 2 :: 2, at % 2 :: 2])


@given(st.sampled_from(PATTERNS), st.integers(0, 5), st.integers(0, 7))
def test_a_region_has_the_pattern_of_where_it_begins(cfa, top, left):
    letters = np.tile(np.array(list(cfa)).reshape(2, 2), (8, 10))  # the filter of every pixel
    part = letters[top : top + 6, left : left + 8]
    for name, plane in zip(plane_names(shifted_cfa(cfa, top, left)), split_planes(part), strict=True):
        assert (plane == name[0]).all()
    assert shifted_cfa(shifted_cfa(cfa, top, left), top, left) == cfa


def test_tensors_and_arrays_split_a_frame_alike():
    pixels = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    for cfa in PATTERNS:
        of_tensor = tensors.to_planes(torch.from_numpy(pixels)[None, None], cfa)[0].numpy()
        by_name = dict(zip(plane_names(cfa), split_planes(pixels, cfa), strict=True))
        red_row_first = cfa.index("R") < 2
        greens = ("G1", "G2") if red_row_first else ("G2", "G1")
        np.testing.assert_array_equal(of_tensor, [by_name[name] for name in ("R", *greens, "B")])


@pytest.mark.parametrize(
    ("do", "says"),
    [
        (lambda: split_planes(np.zeros((3, 4)), "RGGB"), r"3 x 4 pixels.*even.*pixels\[: 2, : 4\]"),
        (lambda: split_planes(np.zeros((4, 5)), "RGGB"), r"4 x 5 pixels"),
        (lambda: split_planes(np.zeros((4, 4, 3)), "RGGB"), "demosaiced"),
        (lambda: split_planes(np.zeros((4, 4)), "RGBW"), "'RGBW'; expected one of RGGB"),
        (lambda: split_planes(np.zeros((4, 4)), "rggb"), "'rggb'"),
        (lambda: plane_names("RG"), "'RG'"),
        (lambda: shifted_cfa("", 0, 1), "''"),
        (lambda: join_planes(np.zeros((3, 2, 2))), r"\(3, 2, 2\)"),
        (lambda: planted("RGBW"), "cfa = 'RGBW'"),
        (lambda: planted(shape=(3, 4)), r"shape = \(3, 4\); expected even"),
        (lambda: planted(None).apply(frame(100, None)).planes, "has no planes"),
    ],
)
def test_what_cannot_be_is_refused(do, says):
    with pytest.raises(ConfigurationError, match=says):
        do()


def test_a_measurement_offers_its_planes():
    measurement = planted("GRBG").apply(frame(coloured("GRBG", R=264, G=1064, B=464), "GRBG"))
    assert measurement.cfa == "GRBG"
    np.testing.assert_allclose(measurement.planes.mean((1, 2)), [0.5, 0.1, 0.2, 0.5], rtol=1e-6)
    np.testing.assert_array_equal(join_planes(measurement.planes, "GRBG"), measurement.y)


@pytest.mark.parametrize(("own", "other"), [("RGGB", "GRBG"), ("RGGB", None), (None, "RGGB")])
def test_a_frame_of_another_pattern_is_refused(own, other):
    with pytest.raises(CalibrationMismatch, match=f"colour filter array is {other!r}.*{own!r}"):
        planted(own).apply(frame(100, other))


@given(st.sampled_from(PATTERNS), st.integers(0, 2**32 - 1))
def test_a_defect_is_filled_from_its_own_colour(cfa, seed):
    draw = np.random.default_rng(seed)
    defects = draw.random(SHAPE) < 0.1
    defects[:2, :2] = False  # so that no plane is gone
    light = coloured(cfa, R=0.25, G=1.0, B=0.5)
    broken = np.where(defects, draw.uniform(0, 1, SHAPE), light)
    calibration = planted(cfa, defects=defects, max_masked_share=0.9)
    measurement = calibration.apply(frame(64 + broken * 2000, cfa))
    np.testing.assert_array_equal(measurement.y, light.astype(np.float32))


def test_neighbours_of_a_mosaic_are_two_pixels_away():
    y, mask = np.random.default_rng(1).random(SHAPE, np.float32), np.zeros(SHAPE, bool)
    mask[5, 6] = True
    around = [y[5 + down, 6 + right] for down in (-2, 0, 2) for right in (-2, 0, 2) if (down, right) != (0, 0)]
    assert fill_masked(y, mask, 2)[5, 6] == pytest.approx(np.mean(around), rel=1e-6)


def test_a_plane_without_a_valid_pixel_cannot_be_filled():
    mask = np.zeros(SHAPE, bool)
    mask[::2, 1::2] = True
    with pytest.raises(CalibrationMismatch, match="row 0, column 1"):
        fill_masked(np.zeros(SHAPE, np.float32), mask, 2)
    assert not fill_masked(np.zeros(SHAPE, np.float32), mask).any()


def test_a_flat_field_does_not_hold_the_colour_of_its_lamp():
    draw = np.random.default_rng(2)
    response = draw.uniform(0.9, 1.1, SHAPE)
    cells(response)[...] /= cells(response).mean((2, 3), keepdims=True)
    for lamp in (dict(R=1800, G=1800, B=1800), dict(R=2600, G=1800, B=600)):
        stack = np.rint(64 + response * coloured(**lamp) + draw.normal(0, 4, (50, *SHAPE)))
        flat, error = measure_flat([frame(pixels, sequence=at) for at, pixels in enumerate(stack)], 64.0)
        np.testing.assert_allclose(split_planes(flat).mean((1, 2)), 1, rtol=1e-6)
        assert abs((flat - response) / error).max() < 5


def test_a_flat_field_needs_light_in_every_colour():
    pixels = coloured(R=1800, G=2500, B=120)
    with pytest.raises(CalibrationMismatch, match=r"56\.0 DN above dark in its darkest colour"):
        measure_flat([frame(pixels), frame(pixels, sequence=1)], 64.0)


def test_frames_of_two_patterns_are_not_averaged():
    with pytest.raises(CalibrationMismatch, match="cfa"):
        measure_flat([frame(2000), frame(2000, "BGGR", sequence=1)], 64.0)


def test_a_file_remembers_the_pattern_and_old_ids_stay(tmp_path):
    calibration = planted("BGGR")
    calibration.save(tmp_path / "c.npz")
    loaded = Calibration.load(tmp_path / "c.npz")
    assert (loaded.cfa, loaded.id) == ("BGGR", calibration.id)
    assert len({planted(cfa).id for cfa in (*PATTERNS, None)}) == 5
    flat = np.linspace(0.9, 1.1, 24).reshape(4, 6)
    old = Calibration(
        camera_id="S-1", shape=(4, 6), bit_depth=12, gain_db=0.0, exposure_s=(0.01, 0.02), dark_dn=64.0,
        white_dn=2000.0, flat=flat,
    )  # fmt: skip
    assert old.id == "6b31bcc8bf0e091d"  # as it was before there were colours
    old.save(tmp_path / "old.npz")
    assert b'"cfa"' not in (tmp_path / "old.npz").read_bytes()
