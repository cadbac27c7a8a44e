"""The same frames through the public reference implementation of EMVA 1288, an independent oracle."""

import logging
import warnings

import numpy as np
import pytest
from planted_sensor import drawn

from calibration.dark import DarkSignal
from calibration.linearity import measure_linearity
from calibration.noise import photon_transfer
from calibration.nonuniformity import dark_nonuniformity, response_nonuniformity
from calibration.stack import Stack

pytest.importorskip("emva1288", reason="the reference implementation is not installed (pip install emva1288)")
FULL_S, STEPS = 0.1, np.linspace(0.03, 1.3, 30)
PAIR, MANY, AT = 2, 16, 12  # frames of a point, frames for the patterns, and which exposure those have


@pytest.fixture
def reference(monkeypatch):
    """What makes results of files; it asks numpy for a function that numpy 2 has no more."""
    monkeypatch.setattr(np, "asfarray", lambda values, dtype=float: np.asarray(values, dtype), raising=False)
    from emva1288.process.data import Data1288
    from emva1288.process.loader import LoadImageData
    from emva1288.process.results import Results1288

    def results(images, folder):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = LoadImageData(images, str(folder), fload=np.load, loglevel=logging.ERROR).data
            return Results1288(Data1288(loaded, loglevel=logging.ERROR).data, loglevel=logging.ERROR)

    return results


@pytest.mark.parametrize("seed", [1, 2, 4])
def test_numbers_are_those_of_the_reference(tmp_path, reference, seed):
    sensor = drawn(seed, shape=(120, 160), column_electrons=2.0, row_electrons=1.5)
    light = sensor.full_well_electrons / FULL_S
    count = iter(range(10_000))

    def taken(n, exposure_s, light=0.0):
        frames = list(sensor.frames(n, exposure_s, light))
        paths = [tmp_path / f"{next(count)}.npy" for _ in frames]
        for path, frame in zip(paths, frames, strict=True):
            np.save(path, frame.pixels.astype(np.int64))
        return Stack.of(frames), [path.name for path in paths]

    temporal, darks, lit = {}, [], []
    for exposure_s in (FULL_S * STEPS).tolist():
        (dark, dark_files), (bright, bright_files) = taken(PAIR, exposure_s), taken(PAIR, exposure_s, light)
        darks.append(dark)
        lit.append(bright)
        temporal[exposure_s] = {0.0: dark_files, 2 * light * exposure_s: bright_files}
    exposure_s = float(FULL_S * STEPS[AT])
    (dark, dark_files), (bright, bright_files) = taken(MANY, exposure_s), taken(MANY, exposure_s, light)
    spatial = {exposure_s: {0.0: dark_files, 2 * light * exposure_s: bright_files}}
    theirs = reference({"temporal": temporal, "spatial": spatial}, tmp_path)

    signal = DarkSignal.of(darks)
    ours = photon_transfer(signal, lit)
    gain = ours.gain_electrons_per_dn
    dsnu, prnu = dark_nonuniformity(dark) * gain, response_nonuniformity(bright, signal)
    assert gain.value == pytest.approx(theirs.inverse_K(), rel=0.01)
    assert ours.read_noise_electrons.value == pytest.approx(theirs.sigma_d, rel=0.02)
    # Theirs takes its exposures for nanoseconds; both fit the same line.
    assert (signal.mean_rate_dn_per_s * gain).value == pytest.approx(theirs.u_I_mean * 1e-9, rel=0.02)
    # Saturation there is where the variance begins to fall, and its exposures are 4 % apart.
    assert 0.9 * ours.full_well_electrons.value < theirs.u_e_sat <= ours.full_well_electrons.value
    for mine, its in (
        (dsnu.pixel, theirs.DSNU1288_pixel), (dsnu.row, theirs.DSNU1288_row), (dsnu.column, theirs.DSNU1288_col),
    ):  # fmt: skip
        assert mine.value == pytest.approx(its, rel=0.02)
    assert prnu.pixel.value * 100 == pytest.approx(theirs.PRNU1288_pixel, rel=0.02)
    deviation = theirs.linearity()["relative_deviation"]
    mine = measure_linearity(signal, lit, ours.saturation_dn)
    assert max(abs(theirs.LE_min), abs(theirs.LE_max)) == pytest.approx(100 * mine.worst, abs=0.05)
    assert np.isfinite(deviation).all()
