"""A rig so small that every command runs in a second, and checkpoints that were trained on it."""

import pathlib

import pytest
from typer.testing import CliRunner

RIG = """
id = "tiny-v1"
[scene]
shape = [16, 16]
fov_deg = 18.0
distance_mm = 350.0
dark_level = 0.1
[cannula]
diameter_mm = 0.22
length_mm = 12.5
core_index = 1.46
numerical_aperture = 0.22
[relay]
magnification = 4.0
[sensor]
serial = "SIM-TINY"
shape = [24, 24]
pitch_um = 36.6
white_electrons = 20000.0
full_well_electrons = 30000.0
read_noise_electrons = 5.0
dark_electrons_per_s = 10.0
exposure_s = 0.03
prnu = 0.01
dsnu_electrons = 2.0
bit_depth = 12
black_level_dn = 64
gain_electrons_per_dn = 7.5
"""


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> pathlib.Path:
    """The rig file."""
    path = tmp_path_factory.mktemp("rig") / "tiny-v1.toml"
    path.write_text(RIG)
    return path


@pytest.fixture(scope="session", autouse=True)
def session_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPTICS_FREE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def lensless():
    """Run a command in this process: exit code, standard output, standard error."""
    from lensless.app.cli import app

    def run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return run


@pytest.fixture(scope="session")
def train(lensless, tiny):
    """A training of a second or two; gives the folder of its checkpoint."""

    def run(out, *arguments):
        options = ["--rig", tiny, "--rays", 1024, "--scenes", "glyphs", "--count", 600, "--out", out, "--device", "cpu"]
        result = lensless("train", *arguments, *options)
        assert result.exit_code == 0, result.output
        return out

    return run


@pytest.fixture(scope="session")
def reconstruct_run(train, tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "reconstruct", "reconstruct", "--epochs", 2)


@pytest.fixture(scope="session")
def classify_run(train, tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "classify", "classify", "--epochs", 3)


@pytest.fixture(scope="session")
def recording(lensless, tiny, tmp_path_factory):
    """Twelve frames of the tiny rig."""
    path = tmp_path_factory.mktemp("frames") / "frames.h5"
    result = lensless("simulate", "--rig", tiny, "--rays", 1024, "--count", 12, "--out", path, "--device", "cpu")
    assert result.exit_code == 0, result.output
    return path
