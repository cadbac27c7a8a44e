"""`lensless inspect`: what stands on the page and in the JSON."""

import json
import math

import numpy as np
import pytest

from lensless.evaluate import drawing

TITLES = ("How many numbers it sees", "How finely, and where", "What one point makes", "How much small moves upset",
          "What linear estimates make of it", "Made from")  # fmt: skip


@pytest.fixture(scope="module")
def inspected(lensless, tiny, tmp_path_factory):
    page = tmp_path_factory.mktemp("inspect") / "page.html"
    result = lensless("inspect", tiny, "--rays", 1024, "--page", page, "--json", "-", "--device", "cpu")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout), page.read_text()


def test_the_page_has_all_sections_and_every_figure_says_what_to_read_from_it(inspected):
    _, page = inspected
    assert all(f"<h2>{title}</h2>" in page for title in TITLES)
    assert page.count("<svg") >= 6
    for figure in page.split("<figure>")[1:]:
        assert "<figcaption>" in figure.partition("</figure>")[0]
    assert page.count('alt="row ') == 9


def test_modes_are_counted_above_noise_and_above_sampling_error(inspected):
    facts, page = inspected
    ratios, values = np.array(facts["signal_to_noise_1_frame"]), np.array(facts["singular_values"])
    assert [one["frames"] for one in facts["by_frames"]] == [1, 10, 100]
    above = int((values > facts["sampling_spectrum"][0]).sum())
    assert facts["modes_above_sampling"] == above < facts["unknowns"] == 256
    for one in facts["by_frames"]:
        assert one["modes_above_noise"] == (ratios * one["frames"] ** 0.5 > 1).sum()
        assert one["modes_seen"] == min(one["modes_above_noise"], above)
        bits = 0.5 * np.log2(1 + one["frames"] * ratios**2).sum()
        assert one["bits_independent_pixels"] == pytest.approx(bits, rel=1e-9)
    assert facts["modes_1_frame"] == facts["by_frames"][0]["modes_above_noise"]
    assert "of these no sampling error" in page


def test_maps_have_the_shape_of_the_scene_and_json_knows_no_infinity(inspected):
    facts, _ = inspected
    for name in ("width_px", "crosstalk", "half_correlation_px"):
        assert np.array(facts[name], dtype=float).shape == (16, 16)
    assert facts["pixel"]["unit"] == "degrees"
    assert facts["pixel"]["size"] == pytest.approx(math.degrees(2 * math.tan(math.radians(9)) / 16))
    assert facts["near_axis"]["correlation"][0] == pytest.approx(1)
    json.dumps(facts, allow_nan=False)


def test_the_expected_psnr_is_near_the_measured_one(inspected):
    wiener = inspected[0]["wiener"]
    assert wiener["expected_db"] == pytest.approx(wiener["measured_db"], abs=0.3)
    psnr = {one["choice"]: one["psnr_db"] for one in inspected[0]["tikhonov"]}
    assert len(psnr) == 3 and max(psnr.values()) == psnr["best, if the scene is known"] < wiener["clamped_mean_db"]


def test_small_moves_are_stated(inspected):
    steps = inspected[0]["perturbations"]
    assert [one["step"].split()[0] for one in steps] == ["rod", "rod", "display", "sensor"]
    assert all(0 <= one["relative"] < 1 and 0 < one["correlation"] <= 1.000001 for one in steps)


def test_without_a_page_it_is_named_after_the_rig(lensless, tmp_path, monkeypatch):
    from tiny import facts

    monkeypatch.chdir(tmp_path)
    text = toml(facts())
    (tmp_path / "small.toml").write_text(text)
    result = lensless("inspect", "small.toml", "--device", "cpu")
    assert result.exit_code == 0, result.output
    page = (tmp_path / "inspect-tiny.html").read_text()
    assert "mm" in page and "What the rig tiny can see" in page and "none: closed form" in result.output
    assert "of these no sampling error" not in page and 'class="warning"' not in page
    (tmp_path / "small.toml").write_text(toml(facts(white_electrons=40_000.0)))
    result = lensless("inspect", "small.toml", "--frames", 3, "--device", "cpu")
    page = (tmp_path / "inspect-tiny.html").read_text()
    assert 'class="warning"' in page and "Expose less (exposure_s" in page and "beware: " in result.output
    assert "lensless inspect small.toml --scenes glyphs --frames 3" in page


def test_scenes_that_are_none_are_refused_before_rays_are_traced(lensless, tiny):
    result = lensless("inspect", tiny, "--scenes", "mnits")
    assert result.exit_code == 2 and "mnist" in result.stderr


def toml(facts: dict) -> str:
    """A rig file of plain facts."""
    flat = {key: value for key, value in facts.items() if not isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value)}" for key, value in flat.items()]
    for name, part in facts.items():
        if isinstance(part, dict):
            lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in part.items())]
    return "\n".join(lines) + "\n"


# --- drawings ---


@pytest.mark.parametrize(
    "values", [np.full((3, 4), 2.0), np.full((3, 4), np.inf), np.array([[1, np.nan], [np.inf, 2]])], ids=str
)
def test_any_map_can_be_drawn(values):
    assert drawing.field_map(values, "title", "mm", (3.0, 4.0, "mm")).startswith("<svg")


def test_spectra_of_one_mode_and_of_rank_zero_tails_can_be_drawn():
    for values in (np.ones(1), np.array([1.0, 0.1, 0.0])):
        assert drawing.singular_spectrum(values, None).startswith("<svg")
        assert drawing.singular_spectrum(values, np.array([0.01])).startswith("<svg")
        assert drawing.noise_levels(values, [1, 10, 100]).startswith("<svg")
    assert drawing.fall(np.arange(3.0), np.array([1.0, 0.9, 0.8]), math.inf).startswith("<svg")
