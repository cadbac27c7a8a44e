"""Plug-ins are found by the names of entry points, and what is wrong with one is told in one line."""

import subprocess
import sys

import pytest

from hardware import SimulatedCamera, open_camera, plugins
from hardware.errors import CameraError, ConfigurationError

GOOD = """
import numpy as np
from hardware import SimulatedCamera

def make(rest):
    return SimulatedCamera(
        lambda settings, sequence: np.full((2, 3), sequence, np.uint8),
        camera_id=rest, shape=(2, 3), bit_depth=8, black_level_dn=0, exposure_s=0.01,
    )
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a distribution as pip leaves it: a module, and metadata that name its entry points."""
    monkeypatch.syspath_prepend(tmp_path)
    modules = []

    def put(distribution: str, source: str, **names: str) -> None:
        module = distribution.replace("-", "_")
        modules.append(module)
        (tmp_path / f"{module}.py").write_text(source)
        metadata = tmp_path / f"{module}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {module}:{factory}\n" for name, factory in names.items())
        (metadata / "entry_points.txt").write_text(f"[{plugins.GROUP}]\n{lines}")

    yield put
    for module in modules:
        sys.modules.pop(module, None)


def test_a_plug_in_gets_what_stands_behind_the_colon(install):
    install("toy-cameras", GOOD, toy="make")
    assert plugins.installed()["toy"].distributions == ("toy-cameras 1.0",)
    assert "toy_cameras" not in sys.modules, "it is loaded when an address asks for it"
    with open_camera("toy:a?b=1:2") as camera:
        assert isinstance(camera, SimulatedCamera) and camera.camera_id == "a?b=1:2"
        assert camera.snap(2)[1].pixels.max() == 1
    with pytest.raises(ConfigurationError, match="names no device; expected 'toy:"):
        open_camera("toy")
    with pytest.raises(ConfigurationError, match=r"did you mean 'toy:'.*known schemes:.*replay, serial.*toy"):
        open_camera("toi:x")


def test_two_distributions_of_one_name_are_named_both(install):
    install("toy-cameras", GOOD, toy="make")
    install("other-toys", GOOD, toy="make")
    with pytest.raises(
        ConfigurationError, match=r"'toy' is claimed by other-toys 1\.0 and toy-cameras 1\.0; uninstall"
    ):
        open_camera("toy:x")


@pytest.mark.parametrize("name", plugins.BUILT_IN)
def test_nobody_takes_the_place_of_what_is_built_in(install, name, monkeypatch):
    install("bad-cameras", "raise OSError('it was loaded')", **{name: "make"})
    monkeypatch.setattr("hardware.camera._factories", {name: lambda rest: f"ours: {rest}"})
    assert open_camera(f"{name}:x") == "ours: x"
    monkeypatch.setattr("hardware.camera._factories", {})  # as of `simulated`, where the application is not loaded
    with pytest.raises(ConfigurationError, match=rf"bad-cameras 1\.0 calls a plug-in '{name}', which is built in"):
        open_camera(f"{name}:x")


def test_a_plug_in_may_not_be_called_like_a_module(install):
    install("bad-cameras", "raise SystemExit('it was loaded')", **{"os.path": "join", "Upper": "make"})
    for name in ("os.path", "Upper"):
        with pytest.raises(
            ConfigurationError, match=rf"bad-cameras 1\.0 calls a plug-in '{name}'; expected lower-case"
        ):
            open_camera(f"{name}:x")


@pytest.mark.parametrize(
    ("source", "kind", "says"),
    [
        ("import nowhere_at_all", ConfigurationError, r"cannot be loaded from 'bad_toys:make': ModuleNotFoundError"),
        ("1 / 0", ConfigurationError, r"cannot be loaded .* ZeroDivisionError: division by zero; update or uninstall"),
        ("", ConfigurationError, r"cannot be loaded .* AttributeError"),
        ("def make(rest): return 7", ConfigurationError, r"returned int; expected a Camera"),
        ("def make(rest): import nowhere_at_all", ConfigurationError, "needs a library .*see how bad-toys is"),
        ("def make(rest): raise KeyError(rest)", CameraError, r"raised KeyError: 'x'; tell its authors"),
        ("from hardware.errors import *\ndef make(rest): raise CameraLost('gone')", CameraError, "^gone$"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_plug_in_is_said_in_one_line(install, source, kind, says):
    install("bad-toys", source, toy="make")
    with pytest.raises(kind, match=says) as error:
        open_camera("toy:x")
    assert "\n" not in str(error.value)
    assert "bad-toys 1.0" in str(error.value) or says == "^gone$"


def test_ours_are_registered_as_everybodys_are():
    found = plugins.installed()
    for name in plugins.EXTRAS:
        assert len(found[name].distributions) == 1 and found[name].distributions[0].startswith("optics-free ")
        assert found[name].problem is None


@pytest.mark.parametrize(
    ("address", "module", "extra"),
    [
        ("picamera2:0", "picamera2", "pi"),
        ("genicam:0?cti=HERE", "harvesters", "genicam"),
        ("micromanager:demo", "pymmcore", "micromanager"),
    ],
)
def test_an_absent_library_is_one_helpful_line(address, module, extra, monkeypatch, tmp_path):
    producer = tmp_path / "producer.cti"
    producer.touch()
    find = plugins.importlib.util.find_spec
    monkeypatch.setattr(plugins.importlib.util, "find_spec", lambda name: None if name == module else find(name))
    with pytest.raises(ConfigurationError) as error:
        open_camera(address.replace("HERE", str(producer)))
    assert f"(no module named '{module}'); pip install 'optics-free[{extra}]'" in str(error.value)
    assert plugins.installed()[address.partition(":")[0]].missing


def test_nothing_of_a_plug_in_is_loaded_with_the_package():
    code = "import hardware, sys; print({'harvesters', 'pymmcore', 'picamera2', 'pytest'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_damaged_distribution_costs_no_other_one_its_cameras(install, tmp_path):
    install("toy-cameras", GOOD, toy="make")
    for name, content in (("no-equals", b"[optics_free.cameras]\nnonsense\n"), ("no-text", b"\xff\xfe[optics")):
        metadata = tmp_path / f"{name}-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_bytes(content)
    nameless = tmp_path / "nameless-1.0.dist-info"
    nameless.mkdir()
    (nameless / "entry_points.txt").write_text("[optics_free.cameras]\ntoy = toy_cameras:make\n")
    with open_camera("toy:a") as camera:
        assert camera.camera_id == "a"


def test_a_plug_in_that_ends_the_program_does_not(install):
    install("rude-cameras", "raise SystemExit(0)", rude="make")
    with pytest.raises(ConfigurationError, match=r"cannot be loaded .*SystemExit"):
        open_camera("rude:1")
