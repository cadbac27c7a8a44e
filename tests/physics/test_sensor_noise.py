"""The sensor against the closed forms of EMVA 1288, measured over many exposures as the standard measures a camera.

Statistical limits are five standard deviations of what is measured; all draws are seeded.
"""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from hardware.errors import ConfigurationError
from lensless.app.rig import open_rig
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


# --- photon transfer ---


@pytest.mark.parametrize(
    ("bit_depth", "gain", "read"), [(8, 40.0, 30.0), (10, 12.0, 9.0), (12, 5.0, 4.0), (14, 1.25, 4.0), (16, 0.3, 4.0)]
)
def test_variance_against_mean_is_a_line_whose_slope_is_the_gain_and_whose_offset_is_read_noise_and_rounding(
    bit_depth, gain, read
):
    """Temporal variance from the difference of two frames, so that no fixed pattern counts."""
    black = 2**bit_depth // 32  # above the read noise and the patterns of all of these
    model = sensor(
        white_electrons=1.0, bit_depth=bit_depth, black_level_dn=black, gain_electrons_per_dn=gain, exposure_s=0.5,
        read_noise_electrons=read, dark_electrons_per_s=40.0, prnu=0.01, dsnu_electrons=4.0, column_electrons=3.0,
        row_electrons=2.0, temperature_c=28.0,
    )  # fmt: skip
    brightest = 0.8 * (2**bit_depth - black) * gain
    means, variances = [], []
    for k, level in enumerate(np.linspace(0, 1, 12)):
        first, second = (exposed(model, brightest * level, seed=seed) for seed in (2 * k, 2 * k + 1))
        means.append((first.mean() + second.mean()) / 2 - black)
        variances.append((first - second).var() / 2)
    means, variances = np.array(means), np.array(variances)
    errors = variances * math.sqrt(2 / COUNT)
    (slope, offset), covariance = np.polyfit(means, variances, 1, w=1 / errors, cov="unscaled")
    assert slope == pytest.approx(1 / gain, abs=5 * math.sqrt(covariance[0, 0]))
    assert offset == pytest.approx((read / gain) ** 2 + 1 / 12, abs=5 * math.sqrt(covariance[1, 1]))
    assert np.abs((variances - slope * means - offset) / errors).max() < 5  # and it is straight


# --- dark current ---


def dark_signal(exposure_s=0.5, temperature_c=20.0, **changes) -> tuple[float, float]:
    """Mean and variance of a covered sensor, in electrons above black and in electrons^2 above read noise."""
    model = sensor(
        dark_electrons_per_s=40.0, exposure_s=exposure_s, temperature_c=temperature_c, black_level_dn=200, **changes
    )
    dn = exposed(model, 0.0)
    assert dn.mean() == pytest.approx(float(model.mean_dn(torch.zeros(())).mean()), abs=5 * dn.std() / math.sqrt(COUNT))
    assert float(model.variance(torch.zeros(()))) * WHITE**2 / 0.25 == pytest.approx(dn.var(), rel=5 * _rel_error())
    return (dn.mean() - 200) * 0.5, (dn.var() - 1 / 12) * 0.25 - 16


def _rel_error() -> float:
    return math.sqrt(2.1 / COUNT)  # of a variance; faint Poisson light has a little more than normal noise


@pytest.mark.parametrize("exposure_s", [0.01, 0.5, 2.0, 20.0])
def test_the_dark_signal_and_its_variance_grow_with_the_exposure(exposure_s):
    electrons = 40 * exposure_s
    mean, variance = dark_signal(exposure_s)
    assert mean == pytest.approx(electrons, abs=5 * math.sqrt((electrons + 16.1) / COUNT))
    assert variance == pytest.approx(electrons, abs=5 * _rel_error() * (electrons + 16.1))


@pytest.mark.parametrize(
    ("temperature_c", "doubling_c", "electrons"),
    [(20.0, 8.0, 20), (20.0, 3.0, 20), (28.0, 8.0, 40), (60.0, 8.0, 640), (12.0, 8.0, 10), (-12.0, 8.0, 1.25),
     (24.0, 8.0, 20 * math.sqrt(2)), (26.0, 6.0, 40), (21.0, 1.0, 40), (-100.0, 1.0, 0)],
)  # fmt: skip
def test_the_dark_signal_doubles_with_every_so_many_degrees(temperature_c, doubling_c, electrons):
    mean, variance = dark_signal(temperature_c=temperature_c, dark_doubling_c=doubling_c)
    assert mean == pytest.approx(electrons, abs=5 * math.sqrt((electrons + 16.1) / COUNT))
    assert variance == pytest.approx(electrons, abs=5 * _rel_error() * (electrons + 16.1))


def test_a_warm_sensor_has_its_patterns_and_less_room_for_light():
    cold, warm = (sensor(dark_electrons_per_s=1000.0, temperature_c=t, **PATTERNS) for t in (20.0, 44.0))
    assert torch.equal(cold.response, warm.response) and torch.equal(cold.offset_electrons, warm.offset_electrons)
    assert warm.dark_electrons == pytest.approx(4000) and cold.dark_electrons == pytest.approx(500)
    assert warm.linear_up_to == pytest.approx(cold.linear_up_to - 0.35 / float(cold.response.max()))
    assert warm.floor_electrons2 == pytest.approx(4000 + 16 + 0.25 / 12)


# --- clipping and conversion ---


def test_a_full_well_clips_before_the_offsets_of_the_fixed_pattern_are_added():
    model = sensor(full_well_electrons=5000.0, dsnu_electrons=30.0, column_electrons=10.0)
    dn = exposed(model, 1.0)
    expected = np.rint((5000.0 + model.offset_electrons.double().numpy()) / 0.5 + 100)
    assert np.abs(dn - expected).max() <= 1 and (dn == expected).mean() > 0.99  # float32 decides some ties


@pytest.mark.parametrize("frames", [1, 16])
@pytest.mark.parametrize("light", [0.45, 0.5, 0.55, 3.0, 1e6])
def test_no_value_lies_above_full_well_and_pattern_or_full_scale(light, frames):
    patterns = dict(prnu=0.02, dsnu_electrons=30.0, column_electrons=10.0, row_electrons=20.0)
    model = sensor(full_well_electrons=5000.0, temperature_c=40.0, dark_electrons_per_s=50.0, **patterns)
    most = (5000 + model.offset_electrons.double().numpy()) / 0.5 + 100
    rounding = 0.5 if frames == 1 else 6 / math.sqrt(12 * frames)
    assert (exposed(model, light, frames=frames) <= most + rounding + 1e-3).all()
    model = sensor(bit_depth=12, temperature_c=40.0, **patterns)
    dn = exposed(model, light, frames=frames)
    assert dn.max() <= 4095 and dn.min() >= 0


def test_up_to_the_stated_light_no_pixel_of_a_striped_sensor_reaches_the_ends_of_its_scale():
    stripes = dict(row_electrons=400.0, column_electrons=40.0, dsnu_electrons=10.0, prnu=0.01)
    model = sensor(bit_depth=12, gain_electrons_per_dn=2.0, **stripes)
    for seed in range(3):
        assert exposed(model, model.linear_up_to, seed=seed).max() < 4095
    assert exposed(model, 1.15 * model.linear_up_to).max() == 4095  # and it is no more careful than that
    assert sensor(bit_depth=1, black_level_dn=0, gain_electrons_per_dn=1.0, **stripes).linear_up_to < 0  # none at all


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


@pytest.mark.parametrize("bit_depth", range(1, 17))
def test_every_bit_depth_uses_its_whole_scale(bit_depth):
    model = sensor(bit_depth=bit_depth, black_level_dn=0, gain_electrons_per_dn=WHITE / 2**bit_depth)
    light = torch.linspace(0, 1.1, COUNT).reshape(SHAPE)
    dn = model.expose(light, torch.Generator().manual_seed(0))
    assert dn.min() == 0 and dn.max() == 2**bit_depth - 1
    assert bit_depth > 8 or len(dn.unique()) == 2**bit_depth


# --- fixed patterns ---

PATTERNS = dict(prnu=0.02, dsnu_electrons=3.0, column_electrons=2.0)
STRIPES = dict(prnu=0.02, dsnu_electrons=6.0, column_electrons=4.0, row_electrons=5.0)
# Of pixels (0, 0), (0, last), (middle, a third), (last, 0), (last, last), and the sum: drawn once and never again.
GOLDEN = {
    "cannula-v1": (
        (1.0010535717, 0.9901405573, 1.0013612509, 0.9951047301, 1.0046730042), 4094.9737626917,
        (-0.6461393237, 2.0852966309, 0.4022149742, 0.2738560140, -1.6155983210), -147.0113651887,
    ),
    "bare-v1": (
        (0.9993646741, 1.0052992105, 0.9859377742, 1.0030940771, 1.0020328760), 307205.0197386742,
        (4.7592620850, 4.8018774986, 1.8670668602, 2.7409446239, -2.8686738014), 21856.9948791741,
    ),
}  # fmt: skip


@pytest.mark.parametrize("rig_id", GOLDEN)
def test_the_sensors_of_the_shipped_rigs_are_for_ever_the_same(rig_id):
    model = open_rig(rig_id).noise()
    rows, columns = model.response.shape
    places = ((0, 0), (0, columns - 1), (rows // 2, columns // 3), (rows - 1, 0), (rows - 1, columns - 1))
    response, response_sum, offset, offset_sum = GOLDEN[rig_id]
    for found, values, total in (
        (model.response, response, response_sum),
        (model.offset_electrons, offset, offset_sum),
    ):
        assert [float(found[place]) for place in places] == pytest.approx(values, rel=1e-6)
        assert float(found.double().sum()) == pytest.approx(total, rel=1e-7)


def test_a_row_pattern_adds_to_the_others_and_moves_none():
    plain, striped = sensor(**PATTERNS), sensor(**PATTERNS, row_electrons=5.0)
    assert torch.equal(plain.response, striped.response)
    rows = (striped.offset_electrons - plain.offset_electrons).double()
    assert float((rows - rows[:, :1]).abs().max()) < 1e-5  # one number for each row
    assert float(rows[:, 0].std()) == pytest.approx(5.0, rel=5 / math.sqrt(2 * SHAPE[0]))
    assert float(rows[:, 0].mean()) == pytest.approx(0, abs=5 * 5.0 / math.sqrt(SHAPE[0]))
    columns = (sensor(column_electrons=1.0).offset_electrons[0, :400], sensor(row_electrons=1.0).offset_electrons[:, 0])
    assert abs(np.corrcoef(*columns)[0, 1]) <= 5 / math.sqrt(400)


@pytest.mark.parametrize("kind", STRIPES)
def test_two_serial_numbers_have_nothing_in_common(kind):
    name = "response" if kind == "prnu" else "offset_electrons"
    ours, theirs, ours_again = (
        getattr(sensor(serial, **{kind: STRIPES[kind]}), name).double().numpy() for serial in ("A-1", "A-2", "A-1")
    )
    assert (ours == ours_again).all()
    draws = {"column_electrons": SHAPE[1], "row_electrons": SHAPE[0]}.get(kind, COUNT)
    assert abs(np.corrcoef(ours.ravel(), theirs.ravel())[0, 1]) <= 5 / math.sqrt(draws)


def spatial(model: SensorNoise, light: float, frames: int = 16, seed: int = 0) -> tuple[float, dict[str, float]]:
    """Mean, and spatial variances of pixels, rows and columns, in DN^2, as EMVA 1288 release 4.0 parts them: from the
    means of rows and columns, less what the pixels contribute to these, and less the temporal noise that is left.

    Unbiased, as an analysis of variance makes them.
    """
    stack = np.stack([exposed(model, light, seed=100 * seed + k) for k in range(frames)])
    mean, temporal = stack.mean(0), stack.var(0, ddof=1).mean() / frames
    rows, columns = mean.mean(1), mean.mean(0)
    residual = mean - rows[:, None] - columns + mean.mean()
    square = (residual**2).sum() / ((SHAPE[0] - 1) * (SHAPE[1] - 1))
    parts = {
        "pixel": square - temporal,
        "row": rows.var(ddof=1) - square / SHAPE[1],
        "column": columns.var(ddof=1) - square / SHAPE[0],
    }
    return mean.mean(), parts


def test_spatial_variance_falls_into_the_parts_that_were_put_in():
    model = sensor(**STRIPES)
    dark_dn, dark = spatial(model, 0.0)
    for part, electrons, count in (("pixel", 6.0, COUNT), ("row", 5.0, SHAPE[0]), ("column", 4.0, SHAPE[1])):
        # Temporal noise of 4 electrons in 16 frames, and a pixel's share in the mean of a row, widen this by a little.
        assert dark[part] * 0.25 == pytest.approx(electrons**2, rel=5 * math.sqrt(2.2 / count)), part
    signals, excess = [], []
    for seed, light in enumerate((0.1, 0.3, 0.5, 1.0), start=1):
        lit_dn, lit = spatial(model, light, seed=seed)
        signals.append(lit_dn - dark_dn)
        excess.append(lit["pixel"] - dark["pixel"])
        for part, electrons, count in (("row", 5.0, SHAPE[0]), ("column", 4.0, SHAPE[1])):
            # PRNU of 2 % spreads the means of rows and columns, which hides some of them at full light.
            spread = electrons**2 + (0.02 * light * WHITE) ** 2 / (COUNT / count)
            assert lit[part] * 0.25 == pytest.approx(electrons**2, abs=5 * math.sqrt(2.2 / count) * spread), part
        assert signals[-1] * 0.5 == pytest.approx(light * WHITE, rel=5 * 0.02 / math.sqrt(COUNT) + 1e-4)
    prnu = np.sqrt(excess) / signals
    # The faintest light has 1000 electrons: PRNU 20, its own noise in 16 frames 8, DSNU 6, which happen to correlate.
    assert prnu == pytest.approx(0.02, rel=5 * math.sqrt(2.5 / COUNT))
    power = np.polyfit(np.log(signals), np.log(excess), 1)[0]
    assert power == pytest.approx(2, abs=0.02)


@pytest.mark.parametrize("frames", [1, 4, 25, 100])
def test_averaging_lowers_temporal_noise_and_nothing_else(frames):
    model, shape, repeats, light = sensor(shape=(40, 50), **STRIPES), (40, 50), 400, 0.2
    dn = exposed(model, light, seed=frames, frames=frames, shape=(repeats, *shape))
    temporal = dn.var(0, ddof=1).mean()
    one = (light * WHITE * float(model.response.double().mean()) + 16) / 0.25 + 1 / 12
    assert temporal == pytest.approx(one / frames, rel=5 * math.sqrt(2 / (repeats * 2000)))
    pattern = (light * WHITE * model.response.double() + model.offset_electrons.double()).numpy() / 0.5
    found = dn.mean(0).var() - temporal / repeats
    error = math.sqrt(one / frames / repeats)  # of each pixel's mean
    assert found == pytest.approx(pattern.var(), abs=5 * 2 * error * pattern.std() / math.sqrt(2000) + 1e-3)


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


@pytest.mark.parametrize("sigmas", [-4.0, -1.0, 0.0, 1.0])
def test_near_a_full_well_the_average_is_off_by_what_is_stated(sigmas):
    """A limit of the model: it is the average of the frames that clips, and not each of them."""
    well, frames = 5000.0, 16
    model = sensor(full_well_electrons=well)
    deviation = math.sqrt(well + 16)
    light = (well + sigmas * deviation) / WHITE
    one_by_one = np.mean([exposed(model, light, seed=seed).mean() for seed in range(frames)])
    excess = (exposed(model, light, seed=99, frames=frames).mean() - one_by_one) * 0.5 / deviation
    error = 5 * math.sqrt(2 / frames / COUNT)
    stated = (1 - 1 / math.sqrt(frames)) / math.sqrt(2 * math.pi)
    if sigmas == 0:
        assert excess == pytest.approx(stated, abs=error + 1e-3)  # half a count of electrons is a hundredth of it
    else:
        assert -error - 1e-3 < excess < (1e-3 + error if sigmas < -3 else stated)


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


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *((name, value) for name in ("white_electrons", "full_well_electrons", "exposure_s", "gain_electrons_per_dn")
          for value in (0.0, -1.0, math.nan, math.inf)),
        *((name, value) for name in ("read_noise_electrons", "dark_electrons_per_s", "dsnu_electrons",
                                     "column_electrons", "row_electrons") for value in (-1e-9, math.nan, math.inf)),
        ("prnu", -0.01), ("prnu", 1.5), ("prnu", math.nan),
        ("bit_depth", 0), ("bit_depth", 17), ("bit_depth", 12.0), ("bit_depth", math.nan),
        ("black_level_dn", -1), ("black_level_dn", 65_535), ("black_level_dn", math.nan),
        ("temperature_c", -101.0), ("temperature_c", 293.0), ("temperature_c", math.nan),
        ("dark_doubling_c", 0.0), ("dark_doubling_c", -8.0), ("dark_doubling_c", math.nan),
    ],
)  # fmt: skip
def test_a_sensor_that_cannot_be_is_refused(name, wrong):
    with pytest.raises(ConfigurationError, match=rf"sensor 'S-1': {name} = {wrong}.*; expected .* to "):
        sensor(**{name: wrong})


@pytest.mark.parametrize("shape", [(0, 5), (5, -1), (5,), (5, 5, 5), (5, 5.0), (5, math.nan)])
def test_a_shape_that_cannot_be_is_refused(shape):
    with pytest.raises(ConfigurationError, match=r"sensor 'S-1': shape is .*; expected \(rows, columns\)"):
        sensor(shape=shape)


@pytest.mark.parametrize("frames", [0, -1])
def test_no_frames_are_refused(frames):
    with pytest.raises(ConfigurationError, match=f"frames = {frames}; expected at least 1"):
        sensor().expose(torch.zeros(SHAPE), frames=frames)
