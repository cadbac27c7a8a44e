"""Benchmarks: what they compare, and that an hour of work is neither lost nor mixed up."""

import dataclasses
import os
import time

import pytest

from hardware.errors import ConfigurationError, InputError
from lensless.app.bench import optics, pairs, specks
from lensless.app.bench.specks_rigs import CELLS, Cell
from lensless.app.bench.timing import compare
from lensless.app.rig_file import check_spec
from lensless.app.screen import Screen

FIGURES = {"accuracy": 0.5, "total light only": 0.2, "linear rule": 0.3, "modes": 7}


def test_both_sides_take_turns_and_the_median_counts():
    calls = []
    pauses = {"ours": iter([0.2, 0.01, 0.01, 0.2]), "reference": iter([0.2, 0.03, 0.2, 0.03])}

    def side(name):
        def call():
            calls.append(name)
            time.sleep(next(pauses[name]))

        return call

    found = compare(side("ours"), side("reference"), rounds=3)
    assert calls == ["ours", "reference"] * 4
    assert 0.01 <= found.ours_s < 0.2 and 0.03 <= found.reference_s < 0.2
    assert found.ratio == pytest.approx(found.reference_s / found.ours_s)


def test_every_cell_has_a_name_of_its_own_and_differs_in_the_facts_it_names():
    assert len({cell.name for cell in CELLS}) == len(CELLS) == len({(c.spec().fingerprint, c.frames) for c in CELLS})
    for cell in CELLS:
        spec = check_spec(dataclasses.asdict(cell.spec()), cell.name)
        assert (spec.cover_glass.specks, spec.scene.distance_mm) == (cell.specks, cell.distance_mm)
        assert (spec.cover_glass.speck_radius_um, spec.cover_glass.diffraction) == (cell.radius_um, cell.waves)


@pytest.fixture
def bench(monkeypatch, tmp_path):
    """The benchmark with three cells that take no time; what it measured."""
    measured = []

    def measure(cell, screen, device, folder, sets):
        if len(measured) == 2 and "stopped" not in measured:
            measured.append("stopped")
            raise KeyboardInterrupt
        measured.append(cell.name)
        return FIGURES

    monkeypatch.setattr(specks, "_measure", measure)
    monkeypatch.setattr(specks, "CELLS", [Cell(specks=count) for count in (0, 1, 2)])
    monkeypatch.setattr(specks, "draw", lambda picture, device, path: None)

    def run(scenes="glyphs"):
        return specks.run(Screen(), "cpu", tmp_path / "out", scenes, None)

    run.measured, run.folder = measured, tmp_path / "out"
    return run


def test_a_run_that_was_stopped_measures_only_what_is_missing(bench):
    with pytest.raises(KeyboardInterrupt):
        bench()
    result = bench()
    assert [name for name in bench.measured if name != "stopped"] == [Cell(specks=n).name for n in (0, 1, 2)]
    assert all(cell["modes"] == 7 for cell in result["cells"].values()) and len(result["cells"]) == 3


def test_figures_of_other_scenes_are_not_taken_for_these(bench, monkeypatch):
    with pytest.raises(KeyboardInterrupt):
        bench()
    monkeypatch.setattr(specks, "EPOCHS", 3)
    with pytest.raises(ConfigurationError, match="name another folder with --out"):
        bench()
    (bench.folder / f"{Cell(specks=0).name}.json").write_text("{")
    with pytest.raises(InputError, match="delete it, and it is measured again"):
        bench()


@pytest.mark.parametrize("arguments", [["bench", "speed"], ["bench", "optics", "--scenes", "mnist"]])
def test_what_a_benchmark_does_not_know_is_refused(lensless, arguments):
    assert lensless(*arguments).exit_code == 2


def test_a_benchmark_without_its_scenes_says_so(lensless, tmp_path):
    result = lensless("bench", "specks", "--scenes", "mnits", "--out", tmp_path / "x")
    assert result.exit_code == 2 and "mnist" in result.stderr


def test_figures_are_shown_as_soon_as_they_are_measured(monkeypatch, capsys):
    def stopped(device):
        raise KeyboardInterrupt

    monkeypatch.setattr(optics, "dense", lambda device: {"share_of_its_speed": 0.97})
    monkeypatch.setattr(optics, "structured", stopped)
    with pytest.raises(KeyboardInterrupt):
        optics.run(Screen(), "cpu")
    assert "dense: 97% of the speed of the product (promised: at least 80 %)" in capsys.readouterr().out


@pytest.mark.slow
def test_feeding_from_recorded_pairs_is_measured_beside_memory(monkeypatch, capsys):
    monkeypatch.setattr(pairs, "SCENES", 300)
    monkeypatch.setattr(pairs, "STEPS", 1)
    monkeypatch.setattr(pairs, "ROUNDS", 1)
    before = os.environ["OPTICS_FREE_CACHE"]
    found = pairs.run(Screen(), "cpu")
    for task in ("reconstruct", "classify"):
        assert found[task]["share_of_its_speed"] > 0 and found[task]["promised"] == 0.95
    assert found["opening"]["first_s"] > 0 and os.environ["OPTICS_FREE_CACHE"] == before
    assert capsys.readouterr().out.count("of its speed (promised: at least 95%)") == 2
