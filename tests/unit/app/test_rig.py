"""Rig files: what is accepted, what is refused and how, and a simulated rig that is what its file says."""

import copy
import dataclasses
import json
import math
import tomllib
import typing

import numpy as np
import pytest
import torch

from calibration.flat import planes_of
from hardware import CameraSettings
from hardware.errors import ConfigurationError
from hardware.rig import RigSpec
from lensless.app.rig import Rig, open_rig
from lensless.app.rig_file import RANGES, check_spec, shipped_rigs
from lensless.optics import BareSensor, Cannula

FACTS = {rig_id: tomllib.loads(path.read_text()) for rig_id, path in shipped_rigs().items()}
# Every key of both files, as (rig, section, key); the id stands in no section.
KEYS = [
    (rig_id, section, key)
    for rig_id, facts in FACTS.items()
    for section, values in facts.items()
    if isinstance(values, dict)
    for key in values
]
NUMBERS = [
    (rig_id, section, key)
    for rig_id, section, key in KEYS
    if isinstance(value := FACTS[rig_id][section][key], int | float) and not isinstance(value, bool)
]
OPTIONAL = {
    (section.name, field.name)
    for section in dataclasses.fields(RigSpec)
    for spec in typing.get_args(typing.get_type_hints(RigSpec)[section.name]) or (section.type,)
    if dataclasses.is_dataclass(spec)
    for field in dataclasses.fields(spec)
    if field.default is not dataclasses.MISSING
} - {("scene", "fov_deg"), ("scene", "width_mm")}  # every rig needs one of these


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPTICS_FREE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def changed(rig_id: str, section: str, key: str, value) -> dict:
    facts = copy.deepcopy(FACTS[rig_id])
    facts[section][key] = value
    return facts


def refusal(facts: dict) -> str:
    with pytest.raises(ConfigurationError) as error:
        check_spec(facts, "my.toml")
    assert error.value.exit_code == 2
    assert "rig file my.toml" in str(error.value)
    return str(error.value)


# --- accepted ---


def test_rigs_come_with_the_package_under_their_ids():
    assert sorted(shipped_rigs()) == [
        "bare-v1", "bare-v1-complete", "bare-v1-no-specks", "bare-v1-short", "cannula-v1", "cannula-v1-128",
        "cannula-v1-64", "cannula-v1-colour", "cannula-v1-complete",
    ]  # fmt: skip
    for rig_id, path in shipped_rigs().items():
        assert open_rig(rig_id).id == rig_id
        assert open_rig(path).spec == open_rig(str(path)).spec == open_rig(rig_id).spec


@pytest.mark.parametrize("rig_id, section, key", KEYS)
def test_every_fact_of_the_file_arrives(rig_id, section, key):
    value = getattr(getattr(open_rig(rig_id).spec, section), key)
    expected = FACTS[rig_id][section][key]
    assert value == (tuple(expected) if isinstance(expected, list) else expected)


@pytest.mark.parametrize("rig_id", FACTS)
def test_facts_survive_json_as_a_checkpoint_keeps_them(rig_id):
    spec = open_rig(rig_id).spec
    again = check_spec(json.loads(json.dumps(dataclasses.asdict(spec))), "card.json")
    assert again == spec and again.fingerprint == spec.fingerprint


@pytest.mark.parametrize("rig_id, section, key", NUMBERS)
def test_any_other_number_is_another_fingerprint(rig_id, section, key):
    number = FACTS[rig_id][section][key]
    other = check_spec(changed(rig_id, section, key, number + (1 if isinstance(number, int) else 1e-3)), "my.toml")
    assert other.fingerprint != open_rig(rig_id).spec.fingerprint


def test_a_whole_number_may_stand_for_a_real_one():
    whole = check_spec(changed("bare-v1", "scene", "distance_mm", 250), "my.toml")
    assert whole == open_rig("bare-v1").spec and whole.fingerprint == open_rig("bare-v1").spec.fingerprint


# --- refused: files ---


def test_no_such_file_or_id_names_the_ids_there_are():
    with pytest.raises(ConfigurationError, match=r"rig 'bare-v2': no such file.*bare-v1, cannula-v1"):
        open_rig("bare-v2")


@pytest.mark.parametrize("content", [b"scene = [", b"\xff\xfe\x00", b"a = 1\na = 2", b"\x00"], ids=repr)
def test_a_file_that_is_no_toml_is_named(tmp_path, content):
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"broken\.toml: .*; expected a rig file \(TOML\)"):
        open_rig(path)


def test_a_folder_is_no_rig_file(tmp_path):
    with pytest.raises(ConfigurationError, match=r"expected a rig file \(TOML\)"):
        open_rig(tmp_path)


def test_an_empty_file_misses_everything(tmp_path):
    path = tmp_path / "empty.toml"
    path.write_text("")
    with pytest.raises(ConfigurationError, match=r"empty\.toml: 'id' is missing; 'scene' is missing; 'sensor'"):
        open_rig(path)


# --- refused: keys and values ---


@pytest.mark.parametrize(
    "section, key, nearest",
    [
        ("scene", "distence_mm", "distance_mm"),
        ("scene", "width", "width_mm"),
        ("sensor", "read_noise", "read_noise_electrons"),
        ("sensor", "gain_e_per_dn", "gain_electrons_per_dn"),
        ("cover_glass", "speck", "specks"),
    ],
)
def test_an_unknown_key_names_the_nearest_one(section, key, nearest):
    message = refusal(changed("bare-v1", section, key, 1.0))
    assert f"unknown key '{section}.{key}'; did you mean {nearest!r}?" in message


def test_an_unknown_key_like_no_other_lists_what_is_known():
    assert "unknown key 'zzz'; known here: id, scene, sensor" in refusal({**FACTS["bare-v1"], "zzz": 1})
    assert "did you mean 'cannula'?" in refusal({**FACTS["cannula-v1"], "canula": {}})


@pytest.mark.parametrize("rig_id, section", [(rig_id, section) for rig_id in FACTS for section in ("scene", "sensor")])
def test_a_missing_section_is_named(rig_id, section):
    facts = {name: values for name, values in FACTS[rig_id].items() if name != section}
    assert f"'{section}' is missing" in refusal(facts)


@pytest.mark.parametrize("rig_id, section, key", [place for place in KEYS if place[1:] not in OPTIONAL])
def test_a_missing_key_is_named(rig_id, section, key):
    facts = copy.deepcopy(FACTS[rig_id])
    del facts[section][key]
    message = refusal(facts)
    assert f"'{section}.{key}' is missing" in message or (key in ("fov_deg", "width_mm") and f"as {key}" in message)


WRONG = [math.nan, math.inf, -math.inf, -1, -1.0, "250", "far", True, [1.0], {}]
NO_NUMBERS = [
    (*place, wrong)
    for place in NUMBERS
    for wrong in WRONG
    if not (wrong in (-1, -1.0) and RANGES.get(place[2], {}).get("ge", 0) < 0)  # tilts and shifts may be negative
]


@pytest.mark.parametrize("rig_id, section, key, wrong", NO_NUMBERS)
def test_no_number_can_be_this(rig_id, section, key, wrong):
    assert f"{section}.{key} = {wrong!r}: input should be" in refusal(changed(rig_id, section, key, wrong))


@pytest.mark.parametrize(
    "section, key, wrong, expected",
    [
        ("scene", "distance_mm", 0.0, "greater than 0"),
        ("scene", "dark_level", 1.0, "less than 1"),
        ("sensor", "bit_depth", 17, "less than or equal to 16"),
        ("sensor", "bit_depth", 0, "greater than or equal to 1"),
        ("sensor", "bit_depth", 12.0, "a valid integer"),
        ("sensor", "frames", 0, "greater than or equal to 1"),
        ("sensor", "prnu", 0.5, "less than 0.5"),
        ("sensor", "exposure_s", 0.0, "greater than 0"),
        ("cover_glass", "specks", 10_001, "less than or equal to 10000"),
        ("cover_glass", "specks", 2.5, "a valid integer"),
    ],
)
def test_a_value_out_of_range_says_what_was_expected(section, key, wrong, expected):
    message = refusal(changed("bare-v1", section, key, wrong))
    assert f"{section}.{key} = {wrong!r}" in message and expected in message


@pytest.mark.parametrize("angle", [0.0, 180.0, 200.0])
def test_an_angle_lies_between_0_and_180(angle):
    assert f"scene.fov_deg = {angle}" in refusal(changed("cannula-v1", "scene", "fov_deg", angle))


@pytest.mark.parametrize("shape", [[28], [28, 28, 3], [0, 28], [-1, 28], [28.5, 28], [16_385, 1], "28", 28, ["28", 28]])
@pytest.mark.parametrize("section", ["scene", "sensor"])
def test_a_shape_is_two_whole_numbers(section, shape):
    assert f"{section}.shape" in refusal(changed("bare-v1", section, "shape", shape))


@pytest.mark.parametrize("name", ["", 5, None, "x" * 201], ids=["empty", "number", "none", "long"])
def test_an_id_is_a_short_name(name):
    assert "id = " in refusal({**FACTS["bare-v1"], "id": name})


def test_a_section_is_no_number():
    assert "scene = 3" in refusal({**FACTS["bare-v1"], "scene": 3})


def test_every_fault_of_a_file_is_told_at_once():
    facts = changed("bare-v1", "scene", "distance_mm", -1.0)
    facts["sensor"]["prnu"] = "much"
    del facts["sensor"]["serial"]
    message = refusal(facts)
    assert "scene.distance_mm = -1.0" in message and "sensor.prnu = 'much'" in message
    assert "'sensor.serial' is missing" in message


# --- refused: facts that do not go together ---


def test_both_optics_or_none_are_refused():
    both = {**FACTS["cannula-v1"], "cover_glass": FACTS["bare-v1"]["cover_glass"]}
    none = {name: values for name, values in FACTS["bare-v1"].items() if name != "cover_glass"}
    for facts in (both, none):
        assert "expected one of the sections [cannula] (with [relay]) and [cover_glass]" in refusal(facts)


def test_a_relay_belongs_to_a_cannula():
    without = {name: values for name, values in FACTS["cannula-v1"].items() if name != "relay"}
    for facts in (without, {**FACTS["bare-v1"], "relay": FACTS["cannula-v1"]["relay"]}):
        assert "[relay] and [cannula] belong together" in refusal(facts)


@pytest.mark.parametrize(
    "rig_id, key, other", [("bare-v1", "width_mm", "fov_deg"), ("cannula-v1", "fov_deg", "width_mm")]
)
def test_a_scene_states_its_size_in_one_way(rig_id, key, other):
    twice = changed(rig_id, "scene", other, 10.0)
    instead = copy.deepcopy(twice)
    del instead["scene"][key]
    for facts in (twice, instead):
        assert f"states its size as {key}, and not as {other}" in refusal(facts)


def test_the_black_level_lies_below_full_scale():
    assert "black_level_dn = 4095; expected less than full scale, 4095" in refusal(
        changed("bare-v1", "sensor", "black_level_dn", 4095)
    )


# --- what a rig makes ---


def small(rig_id: str, scene=(8, 8), sensor=(48, 64), **sensor_facts) -> Rig:
    spec = open_rig(rig_id).spec
    plain = spec.cannula is not None and not rig_id.endswith("complete")
    if plain:
        sensor, sensor_facts = (64, 64), {"pitch_um": 13.75, **sensor_facts}
    return Rig(
        dataclasses.replace(
            spec,
            scene=dataclasses.replace(spec.scene, shape=scene),
            sensor=dataclasses.replace(spec.sensor, shape=sensor, **sensor_facts),
        ),
        rays=2**12 if plain else None,
    )


def test_the_forward_model_is_the_one_that_the_file_describes():
    bare = small("bare-v1").forward_model
    same = BareSensor((8, 8), (48, 64), 250.0, 50.0, 6.0, 0.7, specks=5, speck_radius_um=20.0, seed=3)
    assert type(bare) is BareSensor and torch.equal(bare.as_matrix(), same.as_matrix())
    rod = small("cannula-v1").forward_model
    same = Cannula((8, 8), (64, 64), 0.22, 12.5, 350.0, 18.0, 1.46, 0.22, 4.0, 13.75, rays=2**12)
    assert type(rod) is Cannula and torch.equal(rod.as_matrix(), same.as_matrix())


def test_an_exposure_scales_light_and_dark_current_together():
    rig = small("cannula-v1")
    plain, longer = rig.noise(), rig.noise(0.06)
    assert (plain.white_electrons, plain.dark_electrons) == pytest.approx((20_000.0, 0.3))
    assert (longer.white_electrons, longer.dark_electrons) == pytest.approx((40_000.0, 0.6))
    assert torch.equal(plain.response, longer.response)


def test_a_warm_sensor_has_more_dark_current_and_the_same_patterns():
    plain = small("cannula-v1").noise()
    warm = small("cannula-v1", temperature_c=36.0).noise()
    assert warm.dark_electrons == pytest.approx(4 * plain.dark_electrons)
    slower = small("cannula-v1", temperature_c=36.0, dark_doubling_c=16.0).noise(exposure_s=0.06)
    assert slower.dark_electrons == pytest.approx(4 * plain.dark_electrons)
    assert torch.equal(plain.response, warm.response) and torch.equal(plain.offset_electrons, warm.offset_electrons)


def test_the_row_pattern_of_the_file_is_in_the_sensor():
    plain, striped = (small("bare-v1", row_electrons=row).noise().offset_electrons for row in (0.0, 20.0))
    rows = (striped - plain).double().mean(1)
    assert float(rows.std()) == pytest.approx(20, rel=5 / math.sqrt(2 * len(rows)))
    assert float((striped - plain - rows[:, None]).abs().max()) < 1e-4


@pytest.mark.parametrize(
    ("key", "wrong"),
    [("row_electrons", -1.0), ("temperature_c", 293.0), ("temperature_c", math.nan), ("dark_doubling_c", 0.0)],
)
def test_a_pattern_or_a_temperature_that_cannot_be_is_refused(key, wrong):
    assert f"sensor.{key} = {wrong!r}: input should be" in refusal(changed("bare-v1", "sensor", key, wrong))


def test_a_gain_multiplies_what_the_camera_gives():
    rig = small("cannula-v1")
    camera = rig.camera(lambda: torch.full(rig.spec.sensor.shape, 0.1), seed=0)
    black = rig.spec.sensor.black_level_dn
    plain = np.mean([frame.pixels for frame in camera.snap(8)]) - black
    assert camera.configure(CameraSettings(gain_db=6.0)).gain_db == 6.0
    louder = np.mean([frame.pixels for frame in camera.snap(8)]) - black
    assert louder / plain == pytest.approx(10 ** (6 / 20), rel=0.01)


def mean_response(rig) -> np.ndarray:
    """Of the sensor, which a flat has at 1; under a mosaic of each colour's pixels, whose filters nobody knows."""
    response = rig.noise().response.numpy().astype(np.float64)
    mean = np.empty_like(response)
    for plane in planes_of(rig.spec.sensor.mosaic):
        mean[plane] = response[plane].mean()
    return mean


@pytest.mark.parametrize("rig_id", FACTS)
def test_a_calibration_finds_the_planted_patterns_within_its_stated_errors(rig_id):
    rig, frames = small(rig_id), 64
    found, sensor = rig.calibrate(seed=1, frames=frames), rig.noise()
    pixels = found.dark_dn.size
    student = (frames - 1) / (frames - 3)  # variance of a mean over its estimated standard error
    dark_pull = (found.dark_dn - sensor.mean_dn(torch.zeros(rig.spec.sensor.shape)).numpy()) / found.dark_std_dn
    assert dark_pull.mean() == pytest.approx(0, abs=5 / math.sqrt(pixels))
    assert dark_pull.var() == pytest.approx(student, rel=5 * math.sqrt(2.2 / pixels))
    response = sensor.response.numpy() / mean_response(rig)
    # The stated error of the flat leaves the dark frame's out; here it is put back.
    level_dn = 0.5 * min(rig.spec.sensor.full_well_electrons, (4095 - 64) * sensor.gain_electrons_per_dn)
    level_dn /= sensor.gain_electrons_per_dn
    flat_pull = (found.flat - response) / np.hypot(found.flat_std, found.dark_std_dn / level_dn)
    assert flat_pull.mean() == pytest.approx(0, abs=5 / math.sqrt(pixels))
    assert flat_pull.var() == pytest.approx(student, rel=5 * math.sqrt(2.2 / pixels))
    assert np.corrcoef(found.flat.ravel(), response.ravel())[0, 1] > 0.97
    assert found.frames == frames and found.camera_id == rig.spec.sensor.serial


def test_another_seed_measures_the_same_sensor_with_other_noise():
    rig = small("cannula-v1")
    first, again, other = (rig.calibrate(seed, frames=4) for seed in (1, 1, 2))
    assert first.id == again.id and (first.dark_dn != other.dark_dn).any()
    assert np.abs(first.dark_dn - other.dark_dn).max() < 5


def picture() -> np.ndarray:
    """About a tenth of the display is lit, as by a digit: a bare sensor before a white display is saturated."""
    lit = np.zeros((8, 8), np.float32)
    lit[1:7, 3], lit[6, 4] = 0.9, 0.5
    return lit


def planes(rig) -> np.ndarray:
    """The same on its display, the colours one above the other and not alike."""
    return np.concatenate([share * picture() for share in (1.0, 0.8, 0.6)[: rig.spec.scene.channels]])


LONG = pytest.param("cannula-v1-complete", marks=pytest.mark.slow)  # 10 s of rays
NEARLY_ALL = [LONG if rig_id == "cannula-v1-complete" else rig_id for rig_id in FACTS]


@pytest.mark.parametrize("rig_id", NEARLY_ALL)
def test_frames_of_the_display_are_what_the_forward_model_says_within_their_noise(rig_id):
    rig, frames = small(rig_id), 16
    calibration, sensor = rig.calibrate(frames=64), rig.noise()
    camera, display = rig.camera_at_display(seed=5)
    with camera:
        display.show(planes(rig))
        measurements = [calibration.apply(frame) for frame in camera.snap(frames)]
    assert not np.any([measurement.mask for measurement in measurements])
    y = np.mean([measurement.y for measurement in measurements], axis=0)
    dark = rig.spec.scene.dark_level
    radiance = torch.from_numpy(dark + (1 - dark) * planes(rig)).reshape(1, *rig.spec.scene.picture_shape)
    # A flat has mean 1 over this sensor, whose mean response is not quite 1.
    expected = (rig.forward_model.A(radiance)[0, 0].numpy() * mean_response(rig)).astype(np.float32)
    variance = (
        sensor.variance(torch.from_numpy(expected), frames).numpy()
        + (calibration.dark_std_dn / calibration.white_dn) ** 2
        + (expected * calibration.flat_std) ** 2
    )
    chi2 = (y - expected) ** 2 / variance
    assert chi2.mean() == pytest.approx(1, abs=5 * math.sqrt(2 / chi2.size) + 0.02)
    if rig_id != "bare-v1-no-specks":  # which sees nothing but the total light
        assert (expected.max() - expected.min()) / np.sqrt(variance.mean()) > 20  # it was no test of a blank frame


@pytest.mark.parametrize("rig_id", NEARLY_ALL)
def test_training_sees_what_the_camera_sees(rig_id):
    rig, frames = small(rig_id), 64
    calibration = rig.calibrate()
    camera, display = rig.camera_at_display(seed=5)
    with camera:
        display.show(planes(rig))
        captured = np.stack([calibration.apply(frame).y for frame in camera.snap(frames)])
    simulate = rig.simulator(calibration, frames=1)
    scenes = torch.from_numpy(planes(rig)).reshape(rig.spec.scene.picture_shape).expand(frames, -1, -1, -1)
    simulated = simulate(scenes, torch.Generator().manual_seed(1))[:, 0].numpy()
    pull = (captured.mean(0) - simulated.mean(0)) / np.sqrt((captured.var(0) + simulated.var(0)) / (frames - 1))
    assert pull.var() == pytest.approx(1, abs=5 * math.sqrt(2 / pull.size) + 0.03)
    assert abs(pull.mean()) <= 5 / math.sqrt(pull.size)
    assert captured.var() == pytest.approx(simulated.var(), rel=0.02)


def test_a_camera_is_repeatable_and_its_frames_differ():
    rig = small("cannula-v1")
    light = torch.full((64, 64), 0.4)
    shots = []
    for seed in (1, 1, 2):
        with rig.camera(lambda: light, seed) as camera:
            shots.append([frame.pixels for frame in camera.snap(2)])
    first, again, other = shots
    assert (first[0] == again[0]).all() and (first[1] == again[1]).all()
    assert (first[0] != first[1]).any() and (first[0] != other[0]).any()


def test_a_longer_exposure_collects_more_light():
    rig = small("cannula-v1")
    light = torch.full((64, 64), 0.4)
    with rig.camera(lambda: light, seed=1) as camera:
        plain = camera.snap(1)[0].pixels.mean() - 64
        applied = camera.configure(CameraSettings(exposure_s=0.06))
        longer = camera.snap(1)[0].pixels.mean() - 64
    assert applied.exposure_s == 0.06
    assert longer / plain == pytest.approx(2, rel=0.01)


def test_a_black_display_still_shines_at_the_dark_level():
    rig = small("cannula-v1")
    camera, display = rig.camera_at_display(seed=1)
    with camera:
        display.clear()
        calibration = rig.calibrate()
        y = np.mean([calibration.apply(frame).y for frame in camera.snap(16)], axis=0)
    white = rig.forward_model.A(torch.ones(1, 1, 8, 8))[0, 0].numpy()
    assert y.sum() == pytest.approx(0.1 * white.sum(), rel=0.01)
