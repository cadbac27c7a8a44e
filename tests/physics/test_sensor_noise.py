"""The sensor against the closed forms of EMVA 1288, over many exposures.

Statistical limits are five standard deviations of what is measured; all draws are seeded.
"""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from hardware.errors import ConfigurationError
from lensless.optics import SensorNoise

SHAPE = (400, 500)  # so many exposures of one pixel, where the fixed patterns are off
COUNT = SHAPE[0] * SHAPE[1]
WHITE = 10_000.0
# At the means around which Poisson counts are handed over to normal numbers, and far from there.
ELECTRONS = [0.0, 0.3, 4.0, 60.0, 900.0, 999.0, 1001.0, 1100.0, 8000.0]


def sensor(serial="S-1", shape=SHAPE, **changes) -> SensorNoise:
    facts = dict(
        white_electrons=WHITE, full_well_electrons=1e9, read_noise_electrons=4.0, dark_electrons_per_s=0.0,
        exposure_s=0.5, prnu=0.0, dsnu_electrons=0.0, bit_depth=16, black_level_dn=100, gain_electrons_per_dn=0.5,
    )  # fmt: skip
    return SensorNoise(serial, shape, **facts | changes)


def exposed(model: SensorNoise, light: float, seed=0, frames=1, shape=SHAPE) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    return model.expose(torch.full(shape, light), generator, frames).double().numpy()


# --- mean, variance, shape of the distribution ---


@pytest.mark.parametrize("electrons", ELECTRONS)
def test_mean_and_variance_are_those_of_the_linear_camera_model(electrons):
    model = sensor(dark_electrons_per_s=20.0)
    dn = exposed(model, electrons / WHITE)
    total = electrons + 10.0  # 20 electrons per second for half a second
    mean, variance = 100 + total / 0.5, (total + 16.0) / 0.5**2 + 1 / 12
    assert dn.mean() == pytest.approx(mean, abs=5 * math.sqrt(variance / COUNT))
    assert dn.var() == pytest.approx(variance, rel=5 * math.sqrt((2 + 1 / (total + 16)) / COUNT))
    light = torch.tensor(electrons / WHITE)
    assert float(model.mean_dn(light).mean()) == pytest.approx(mean, rel=1e-6)
    assert float(model.variance(light)) == pytest.approx(variance * 0.5**2 / WHITE**2, rel=1e-6)


@pytest.mark.parametrize("electrons", [0.3, 4.0, 60.0])
def test_faint_light_is_counted_by_poissons_law(electrons):
    counts = exposed(sensor(read_noise_electrons=0.0, gain_electrons_per_dn=1.0, black_level_dn=0), electrons / WHITE)
    values = np.arange(int(counts.max()) + 1)
    expected = scipy.stats.poisson.pmf(values, electrons) * COUNT
    found = np.bincount(counts.astype(int).ravel(), minlength=len(values))
    often = expected > 10
    chi2 = ((found - expected)[often] ** 2 / expected[often]).sum()
    assert scipy.stats.chi2.sf(chi2, often.sum()) > 1e-4


@pytest.mark.parametrize("electrons", [900.0, 999.0, 1001.0, 1100.0, 8000.0])
def test_bright_light_is_counted_nearly_by_poissons_law_on_both_sides_of_the_joint(electrons):
    model = sensor(read_noise_electrons=0.0, gain_electrons_per_dn=1.0, black_level_dn=0)
    counts = exposed(model, electrons / WHITE)
    assert (counts == np.rint(counts)).all()
    skewness, deviation = scipy.stats.skew(counts.ravel()), math.sqrt(6 / COUNT)
    expected = 1 / math.sqrt(electrons)
    if electrons < 1000:
        assert skewness == pytest.approx(expected, abs=5 * deviation)
    else:  # normal numbers have none; what is missing is less than 1 / sqrt(1000)
        assert abs(skewness - expected) <= 0.032 + 5 * deviation
    values = np.arange(counts.min(), counts.max() + 1)
    found = np.searchsorted(np.sort(counts.ravel()), values, side="right") / COUNT
    # First term of Edgeworth's series: leaving the skewness out costs skewness / (6 sqrt(2 pi)) at most.
    limit = 0.032 / (6 * math.sqrt(2 * math.pi)) + 2 / math.sqrt(COUNT)
    assert np.abs(found - scipy.stats.poisson.cdf(values, electrons)).max() <= limit


def test_light_on_both_sides_of_the_joint_in_one_frame_stays_in_place():
    light = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)) * 0.3  # up to 3000 electrons
    dn = sensor().expose(light, torch.Generator().manual_seed(2))
    pull = (dn - sensor().mean_dn(light)) / (sensor().variance(light).sqrt() * WHITE / 0.5)
    assert abs(float(pull.mean())) <= 5 / math.sqrt(COUNT)
    assert float(pull.var()) == pytest.approx(1, rel=5 * math.sqrt(2 / COUNT))
    assert float(pull.abs().max()) < 7


# --- clipping and conversion ---


def test_a_full_well_clips_before_the_offsets_of_the_fixed_pattern_are_added():
    model = sensor(full_well_electrons=5000.0, dsnu_electrons=30.0, column_electrons=10.0)
    dn = exposed(model, 1.0)
    expected = np.rint((5000.0 + model.offset_electrons.double().numpy()) / 0.5 + 100)
    assert np.abs(dn - expected).max() <= 1 and (dn == expected).mean() > 0.99  # float32 decides some ties


@pytest.mark.parametrize("bit_depth", [8, 12, 16])
def test_the_converter_clips_at_both_ends(bit_depth):
    model = sensor(bit_depth=bit_depth, black_level_dn=0, gain_electrons_per_dn=0.1)
    assert (exposed(model, 1.0) == 2**bit_depth - 1).all()
    dark = exposed(model, 0.0)
    assert dark.min() == 0 and (dark == 0).mean() == pytest.approx(0.5, abs=0.02)  # half of the read noise is below 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_one_frame_holds_whole_numbers_in_float32(dtype):
    dn = sensor().expose(torch.full(SHAPE, 0.1, dtype=dtype), torch.Generator().manual_seed(0))
    assert dn.dtype == torch.float32 and torch.equal(dn, dn.round())


def test_a_dark_and_noiseless_sensor_says_its_black_level():
    assert (exposed(sensor(read_noise_electrons=0.0), 0.0) == 100).all()


def test_rounding_alone_adds_a_twelfth_of_a_squared_step():
    model = sensor(read_noise_electrons=0.0, dsnu_electrons=50.0, gain_electrons_per_dn=3.0)
    error = exposed(model, 0.0) - model.mean_dn(torch.zeros(SHAPE)).double().numpy()
    assert np.abs(error).max() <= 0.5 + 1e-4
    assert error.mean() == pytest.approx(0, abs=5 * math.sqrt(1 / 12 / COUNT))
    assert error.var() == pytest.approx(1 / 12, rel=0.02)


# --- fixed patterns ---

PATTERNS = dict(prnu=0.02, dsnu_electrons=3.0, column_electrons=2.0)


def test_the_patterns_belong_to_the_serial_number():
    first = sensor("A", **PATTERNS)
    torch.manual_seed(1)
    np.random.seed(1)
    again, other = sensor("A", **PATTERNS), sensor("B", **PATTERNS)
    assert torch.equal(first.response, again.response) and torch.equal(first.offset_electrons, again.offset_electrons)
    for name in ("response", "offset_electrons"):
        ours, theirs = getattr(first, name).numpy(), getattr(other, name).numpy()
        assert abs(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]) <= 5 / math.sqrt(COUNT) + 0.02  # columns repeat


def test_the_patterns_have_their_stated_spread():
    model = sensor(**PATTERNS)
    response, offset = model.response.double().numpy(), model.offset_electrons.double().numpy()
    assert response.mean() == pytest.approx(1, abs=5 * 0.02 / math.sqrt(COUNT))
    assert response.std() == pytest.approx(0.02, rel=5 / math.sqrt(2 * COUNT))
    columns = offset.mean(0)
    assert (offset - columns).std() == pytest.approx(3.0, rel=0.01)
    assert columns.std() == pytest.approx(2.0, rel=5 / math.sqrt(2 * SHAPE[1]))
    only_columns = sensor(column_electrons=2.0).offset_electrons
    assert torch.equal(only_columns, only_columns[:1].expand(SHAPE))


def test_the_patterns_stay_while_the_noise_is_drawn_anew():
    model, shape = sensor(shape=(20, 25), **PATTERNS), (20, 25)
    light = torch.full((2000, *shape), 0.2)
    dn = model.expose(light, torch.Generator().manual_seed(0))
    deviation = (model.variance(torch.tensor(0.2)).sqrt() * WHITE / 0.5 / math.sqrt(2000)).item()
    pull = (dn.double().mean(0) - model.mean_dn(light[0])) / deviation
    assert pull.abs().max() < 5 and float(pull.var()) == pytest.approx(1, rel=5 * math.sqrt(2 / 500))


def test_a_pixel_of_wild_response_is_blind_and_makes_no_light():
    model = sensor(prnu=0.6)
    assert model.response.min() == 0
    assert (exposed(model, 1.0) >= 0).all()


# --- averaging, some pixels only ---


@pytest.mark.parametrize("frames", [2, 16, 100])
@pytest.mark.parametrize("electrons", [4.0, 60.0, 3000.0])
def test_frames_drawn_at_once_have_the_statistics_of_averaged_single_frames(electrons, frames):
    model, light = sensor(dark_electrons_per_s=2.0), electrons / WHITE
    at_once = exposed(model, light, seed=1, frames=frames)
    mean = 100 + (electrons + 1) / 0.5
    variance = ((electrons + 1 + 16) / 0.25 + 1 / 12) / frames
    assert at_once.mean() == pytest.approx(mean, abs=5 * math.sqrt(variance / COUNT))
    assert at_once.var() == pytest.approx(variance, rel=0.02)
    assert float(model.variance(torch.tensor(light), frames)) == pytest.approx(variance * 0.25 / WHITE**2, rel=1e-6)
    if frames == 16:
        one_by_one = np.mean([exposed(model, light, seed=seed) for seed in range(frames)], axis=0)
        assert scipy.stats.ks_2samp(at_once.ravel()[::4], one_by_one.ravel()[::4]).statistic <= 0.03


def test_rounding_is_part_of_an_average_as_it_is_of_single_frames():
    model = sensor(gain_electrons_per_dn=4.0)  # a coarse converter: read noise of 1 DN
    expected = (1 + 1 / 12) / 16
    one_by_one = np.mean([exposed(model, 0.0, seed=seed) for seed in range(16)], axis=0)
    for average in (exposed(model, 0.0, seed=99, frames=16), one_by_one):
        assert average.var() == pytest.approx(expected, rel=5 * math.sqrt(2 / COUNT))


def test_some_pixels_only_are_the_same_pixels_of_the_whole_sensor():
    model = sensor(**PATTERNS, dark_electrons_per_s=20.0)
    pixels = torch.randperm(COUNT, generator=torch.Generator().manual_seed(0))[:1000]
    part = model.at(pixels)
    light = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1)) * 0.3
    assert torch.equal(part.mean_dn(light.flatten()[pixels]), model.mean_dn(light).flatten()[pixels])
    assert torch.equal(part.variance(light.flatten()[pixels]), model.variance(light).flatten()[pixels])
    assert part.floor_electrons2 == model.floor_electrons2
    seen = part.expose(light.flatten()[pixels].expand(300, -1), torch.Generator().manual_seed(2))
    deviation = model.variance(light).flatten()[pixels].sqrt() * WHITE / 0.5 / math.sqrt(300)
    pull = (seen.double().mean(0) - part.mean_dn(light.flatten()[pixels])) / deviation
    assert pull.abs().max() < 5 and float(pull.var()) == pytest.approx(1, rel=0.25)
    assert torch.equal(model.response, sensor(**PATTERNS).response)  # the whole sensor is left as it was


# --- what goes in ---


def test_one_seed_is_one_frame_and_the_light_is_left_as_it_was():
    light = torch.full((2, 1, *SHAPE), 0.1)
    kept = light.clone()
    first, again, other = (sensor().expose(light, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == light.shape and torch.equal(light, kept)
    assert not torch.equal(first[0], first[1])  # two scenes of a batch have their own noise


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, -1e-6])
def test_light_that_cannot_be_is_refused(wrong):
    light = torch.full(SHAPE, 0.5)
    light[7, 9] = wrong
    with pytest.raises(ConfigurationError, match=r"illuminance between .* expected finite values >= 0"):
        sensor().expose(light)


@pytest.mark.parametrize("frames", [0, -1])
def test_no_frames_are_refused(frames):
    with pytest.raises(ConfigurationError, match=f"frames = {frames}; expected at least 1"):
        sensor().expose(torch.zeros(SHAPE), frames=frames)
