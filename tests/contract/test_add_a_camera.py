"""docs/add_a_camera.md, followed word by word in an environment of its own."""

import os
import pathlib
import re
import subprocess
import sysconfig
import venv

import pytest
from tree import ROOT

from hardware import Recording, plugins
from hardware.testing import CameraBattery

PAGE = (ROOT / "docs" / "add_a_camera.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w.]+)`\n\n```\w+\n(.*?)^```$", PAGE, re.M | re.S))
COMMANDS = re.search(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S)[1].splitlines()

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the commands are those of a shell")


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> pathlib.Path:
    """The folder of the page's files."""
    folder = tmp_path_factory.mktemp("my-camera")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """Variables of a new environment that sees what is installed in this one, and reaches no network."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    here = sysconfig.get_path("purelib")
    (pathlib.Path(sysconfig.get_path("purelib", vars={"base": str(folder)})) / "here.pth").write_text(
        f"import site; site.addsitedir({here!r})\n"  # with its own *.pth: this project may be installed in place
    )
    command = folder / "bin" / "lensless"
    command.write_text(f"#!{folder / 'bin' / 'python'}\nfrom optics_free import main\n\nmain()\n")
    command.chmod(0o755)
    # pip takes "0" for no isolation, too (pip #5735).
    alone = {
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    return {**os.environ, **alone, "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "120"}


def run(command: str, package: pathlib.Path, environment: dict[str, str]) -> str:
    done = subprocess.run(command.split(), cwd=package, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_page_makes_a_package_that_is_a_camera(package, environment):
    assert list(FILES) == ["pyproject.toml", "my_camera.py", "test_my_camera.py"]
    assert len(FILES["my_camera.py"].splitlines()) < 80
    said = {command: run(command, package, environment) for command in COMMANDS}
    battery = [name for name in vars(CameraBattery) if name.startswith("test_")]
    assert f"{len(battery)} passed" in said["python -m pytest test_my_camera.py"]
    assert "my-camera:..." in said["lensless devices"] and "my-camera 0.1" in said["lensless devices"]
    with Recording.open(package / "first") as recording:
        assert len(recording) == 20 and recording[0].meta.camera_id == "my-camera-7"
        assert sum(frame.meta.lost_before for frame in recording) == recording[-1].meta.sequence - 19
    assert "my-camera" not in plugins.installed(), "it was installed beside what runs this test"
