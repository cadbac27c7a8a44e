"""`lensless devices` and `lensless doctor` name plug-ins, and what brings their libraries."""

import json

import pytest
from typer.testing import CliRunner

from hardware import plugins
from lensless.app.cameras import describe
from lensless.app.cli import app
from lensless.app.doctor import examine


@pytest.fixture
def no_libraries(monkeypatch):
    modules = {module for _, module in plugins.EXTRAS.values()}
    find = plugins.importlib.util.find_spec
    monkeypatch.setattr(plugins.importlib.util, "find_spec", lambda name: None if name in modules else find(name))


def test_devices_names_them_for_people_and_programs(no_libraries, tmp_path):
    result = CliRunner().invoke(app, ["devices", "--json", str(tmp_path / "devices.json")], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    for name, (extra, _) in plugins.EXTRAS.items():
        assert any(name in line and f"'optics-free[{extra}]'" in line for line in result.stdout.splitlines())
    told = json.loads((tmp_path / "devices.json").read_text())["plug_ins"]
    ours = {one["address"].partition(":")[0]: one["needs"] for one in told}
    assert {name: ours[name] for name in plugins.EXTRAS} == {name: plugins.how_to_get(name) for name in plugins.EXTRAS}


def test_a_plug_in_that_cannot_be_opened_says_why(tmp_path, monkeypatch):
    facts = tmp_path / "bad_cameras-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-cameras\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[{plugins.GROUP}]\nsimulated = bad_cameras:make\n")
    monkeypatch.syspath_prepend(tmp_path)
    told = describe(plugins.installed()["simulated"])
    assert told["address"] == "simulated:..." and told["of"] == "bad-cameras 1.0"
    assert told["needs"].endswith("which is built in; uninstall it")


def test_doctor_has_a_line_for_each(no_libraries, monkeypatch):
    monkeypatch.setattr("lensless.app.doctor.load_scenes", lambda *wanted: [])  # not what is looked at here
    found = {one.what: one for one in examine()}
    for name in plugins.EXTRAS:
        assert found[f"{name} cameras"].state == "note"
        assert found[f"{name} cameras"].detail == plugins.how_to_get(name)
