"""Calibrations on planted sensors: exact arithmetic, every refusal, and a file that says what was saved."""

import dataclasses
import json
import zipfile

import numpy as np
import pytest
from shots import META

from calibration import Calibration, measure_dark, measure_flat
from calibration.fill import fill_masked
from hardware import Frame, RigSpec
from hardware.errors import CalibrationMismatch, ConfigurationError, InputError, StorageError
from hardware.rig import SceneSpec, SensorSpec

SHAPE = (12, 14)


def frame(pixels, **changes) -> Frame:
    return Frame(np.broadcast_to(np.asarray(pixels, np.uint16), SHAPE), dataclasses.replace(META, **changes))


def planted(**changes) -> Calibration:
    draw = np.random.default_rng(0)
    facts = dict(
        camera_id="S-1",
        shape=SHAPE,
        bit_depth=12,
        gain_db=0.0,
        exposure_s=(0.005, 0.02),
        dark_dn=60 + 8 * draw.random(SHAPE),
        white_dn=2000.0,
        flat=draw.uniform(0.8, 1.2, SHAPE),
        frames=100,
        dark_std_dn=0.1 * draw.random(SHAPE),
        flat_std=0.01 * draw.random(SHAPE),
    )
    return Calibration(**facts | changes)


def test_light_is_recovered_exactly_from_a_planted_sensor():
    light = np.random.default_rng(1).uniform(0, 1, SHAPE)
    dark = np.random.default_rng(2).integers(50, 80, SHAPE)
    response = np.random.default_rng(3).choice([0.5, 1.0, 1.5], SHAPE)
    light = np.round(light * 512) / 512  # so that every digital number is whole and the arithmetic exact
    calibration = planted(dark_dn=dark, flat=response, white_dn=2048.0)
    measurement = calibration.apply(frame(dark + response * light * 2048, sequence=5))
    assert measurement.y.dtype == np.float32 and (measurement.y == light.astype(np.float32)).all()
    assert not measurement.mask.any()
    assert (measurement.camera_id, measurement.sequence) == ("S-1", 5)
    assert measurement.calibration_id == calibration.id


def test_a_clipped_pixel_is_filled_from_its_valid_neighbours():
    pixels = np.full(SHAPE, 1064)
    pixels[5, 6] = 4095
    pixels[4, 6] = 2064
    measurement = planted(dark_dn=64.0, flat=1.0).apply(frame(pixels))
    assert np.argwhere(measurement.mask).tolist() == [[5, 6]]
    assert measurement.y[5, 6] == np.float32((7 * 0.5 + 1.0) / 8)


def test_a_defect_is_filled_even_where_the_calibration_holds_nonsense():
    defects, flat = np.zeros(SHAPE, bool), np.ones(SHAPE)
    defects[0, 0], flat[0, 0] = True, 0.0
    measurement = planted(dark_dn=64.0, flat=flat, defects=defects).apply(frame(1064))
    assert measurement.mask[0, 0] and (measurement.y == 0.5).all()


def test_a_cluster_is_filled_from_its_rim_inwards():
    mask = np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    y = np.where(mask, np.nan, 0.75).astype(np.float32)
    assert (fill_masked(y, mask) == 0.75).all()
    with pytest.raises(CalibrationMismatch, match="nothing is left"):
        fill_masked(y, np.ones_like(mask))


def test_too_many_useless_pixels_are_refused():
    pixels = np.full(SHAPE, 1000)
    pixels.flat[:4] = 4095  # of 168: 2.4 %
    with pytest.raises(CalibrationMismatch, match=r"2\.4%.*4 clipped, 0 defective.*2\.0%"):
        planted().apply(frame(pixels))
    planted(max_masked_share=0.03).apply(frame(pixels))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"camera_id": "S-2"}, "camera is 'S-2'"),
        ({"bit_depth": 14}, "bit depth is 14"),
        ({"gain_db": 6.0}, "gain_db is 6.0"),
        ({"exposure_s": 0.021}, "exposure_s is 0.021"),
        ({"exposure_s": 0.0049}, "exposure_s is 0.0049"),
        ({"raw": False}, "raw is False"),
    ],
)
def test_a_frame_that_it_does_not_hold_for_is_refused(changes, says):
    with pytest.raises(CalibrationMismatch, match=says):
        planted().apply(frame(1000, **changes))


def test_a_frame_of_another_shape_is_refused():
    with pytest.raises(CalibrationMismatch, match="shape is"):
        planted().apply(Frame(np.zeros((14, 12), np.uint16), META))


def test_the_ends_of_the_exposure_range_belong_to_it():
    for exposure_s in (0.005, 0.02, 0.02 * (1 + 1e-9)):
        planted().apply(frame(1000, exposure_s=exposure_s))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"white_dn": 0.0}, "white_dn"),
        ({"white_dn": float("nan")}, "white_dn"),
        ({"exposure_s": (0.02, 0.01)}, "exposure_s"),
        ({"flat": np.zeros(SHAPE)}, "flat"),
        ({"flat": np.ones((3, 3))}, "flat"),
        ({"dark_dn": np.full(SHAPE, np.nan)}, "dark_dn"),
        ({"defects": np.zeros((3, 3), bool)}, "defects"),
        ({"max_masked_share": 1.0}, "max_masked_share"),
        ({"camera_id": ""}, "camera_id"),
    ],
)
def test_a_calibration_that_cannot_be_is_refused(changes, says):
    with pytest.raises(ConfigurationError, match=says):
        planted(**changes)


def test_a_file_brings_back_everything(tmp_path):
    calibration = planted(clip_dn=4000)
    calibration.save(tmp_path / "c.npz")
    loaded = Calibration.load(tmp_path / "c.npz")
    assert loaded.id == calibration.id
    for field in dataclasses.fields(Calibration):
        np.testing.assert_array_equal(getattr(loaded, field.name), getattr(calibration, field.name))
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]


def test_the_id_changes_with_everything():
    ids = {planted(**changes).id for changes in ({}, {"white_dn": 2001}, {"dark_dn": 64}, {"frames": 99}, {"flat": 1})}
    assert len(ids) == 5 and planted().id in ids


def test_nothing_is_overwritten_unless_told(tmp_path):
    planted().save(tmp_path / "c.npz")
    with pytest.raises(StorageError, match="exists"):
        planted(frames=1).save(tmp_path / "c.npz")
    assert Calibration.load(tmp_path / "c.npz").frames == 100
    planted(frames=1).save(tmp_path / "c.npz", overwrite=True)
    assert Calibration.load(tmp_path / "c.npz").frames == 1
    with pytest.raises(StorageError, match="No such file"):
        planted().save(tmp_path / "nowhere" / "c.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]


def test_a_file_with_changed_bytes_is_never_taken_for_another(tmp_path):
    planted().save(tmp_path / "c.npz")
    whole, draw = (tmp_path / "c.npz").read_bytes(), np.random.default_rng(4)
    refused = 0
    for _ in range(200):
        mutant = bytearray(whole[: draw.integers(len(whole))] if draw.random() < 0.2 else whole)
        for _ in range(draw.integers(1, 17)):
            mutant[draw.integers(len(mutant))] = draw.integers(256)
        (tmp_path / "m.npz").write_bytes(mutant)
        try:
            assert Calibration.load(tmp_path / "m.npz").id == planted().id
        except InputError:
            refused += 1
    assert refused > 100


def test_hostile_files_are_refused(tmp_path):
    path = tmp_path / "c.npz"
    with pytest.raises(InputError, match="does not exist"):
        Calibration.load(path)
    np.savez(path, facts=np.array([object()], dtype=object))
    with pytest.raises(InputError, match="declares object"):
        Calibration.load(path)
    np.savez_compressed(path, facts=np.zeros(10**6, np.uint8))
    with pytest.raises(InputError, match="compressed"):
        Calibration.load(path)
    np.savez(path, facts=np.frombuffer(json.dumps({"format": "x"}).encode(), np.uint8))
    with pytest.raises(InputError, match="format"):
        Calibration.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../escape.npy", b"x")
    with pytest.raises(InputError, match="escape"):
        Calibration.load(path)
    with zipfile.ZipFile(path, "w") as archive, archive.open("facts.npy", "w") as member:
        header = {"descr": "|u1", "fortran_order": False, "shape": (10**15,)}
        np.lib.format.write_array_header_1_0(member, header)
    with pytest.raises(InputError, match="1000000000000000"):
        Calibration.load(path)


def test_dark_mean_and_its_standard_error():
    draw = np.random.default_rng(5)
    stack = np.rint(draw.normal(64, 3, (400, *SHAPE)))
    mean, standard_error = measure_dark(frame(pixels, sequence=i) for i, pixels in enumerate(stack))
    np.testing.assert_allclose(mean, stack.mean(0), rtol=1e-6)
    np.testing.assert_allclose(standard_error, stack.std(0, ddof=1) / 20, rtol=1e-5)
    # 168 pixels, all within five standard errors of the planted mean
    assert (abs(mean - 64) < 5 * standard_error).all()


def test_flat_response_is_found_within_its_stated_error():
    draw = np.random.default_rng(6)
    response = draw.uniform(0.9, 1.1, SHAPE)
    response /= response.mean()
    dark = draw.uniform(50, 80, SHAPE)
    stack = np.rint(draw.normal(dark + 1800 * response, 20, (200, *SHAPE)))
    measured, standard_error = measure_flat([frame(pixels, sequence=i) for i, pixels in enumerate(stack)], dark)
    assert abs(measured.mean() - 1) < 1e-6
    z = (measured - response) / standard_error
    assert abs(z).max() < 5 and 0.8 < z.std() < 1.2


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        ([4095, 4095], "clipped"),
        ([70, 70], "above dark"),
        ([2000], "at least 2"),
        ([], "at least 2"),
    ],
)
def test_flat_frames_that_say_nothing_are_refused(frames, says):
    with pytest.raises(CalibrationMismatch, match=says):
        measure_flat([frame(value) for value in frames], 64.0)


def test_frames_of_two_cameras_or_settings_are_not_averaged():
    for changes in ({"camera_id": "S-2"}, {"exposure_s": 0.02}, {"gain_db": 1.0}):
        with pytest.raises(CalibrationMismatch, match=next(iter(changes))):
            measure_dark([frame(64), frame(64, **changes)])


def test_a_nominal_calibration_holds_the_facts_of_the_rig():
    sensor = SensorSpec(
        serial="SIM-1",
        shape=SHAPE,
        pitch_um=6.0,
        white_electrons=5000.0,
        full_well_electrons=10000.0,
        read_noise_electrons=5.0,
        dark_electrons_per_s=10.0,
        exposure_s=0.15,
        prnu=0.01,
        dsnu_electrons=3.0,
        column_electrons=4.0,
        bit_depth=12,
        black_level_dn=64,
        gain_electrons_per_dn=2.5,
    )
    rig = RigSpec(
        id="r", scene=SceneSpec(shape=(8, 8), distance_mm=100.0, dark_level=0.0, width_mm=10.0), sensor=sensor
    )
    calibration = Calibration.nominal(rig)
    assert (calibration.camera_id, calibration.white_dn) == ("SIM-1", 2000.0)
    assert calibration.dark_dn == np.float32(64.6)
    warmer = dataclasses.replace(rig, sensor=dataclasses.replace(sensor, temperature_c=36.0, dark_doubling_c=8.0))
    assert Calibration.nominal(warmer).dark_dn == np.float32(64 + 4 * 0.6)
    # The well is full at 64 + 10000 / 2.5 = 4064, below full scale: such pixels are clipped, too.
    assert 4050 < calibration.clip_dn < 4064
    pixels = np.full(SHAPE, 1064)
    pixels[3, 3] = 4063
    measurement = calibration.apply(frame(pixels, camera_id="SIM-1", exposure_s=0.15))
    assert measurement.mask.sum() == 1
    np.testing.assert_allclose(measurement.y, (1064 - 64.6) / 2000, rtol=1e-6)
