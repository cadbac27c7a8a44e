"""Our objective and LenslessPiCam's in one unit, against its formulae in its units; DeepInverse until it is as far."""

import os
import pathlib

import numpy as np
import pytest
import torch

from hardware.errors import ConfigurationError
from lensless.app.bench import deepinverse, solvers
from lensless.app.bench.lenslesspicam import Process, Theirs
from lensless.recon import admm, total_variation

SHAPES = [(12, 20), (13, 15)]
WEIGHT = 2e-3
NATURAL = (0.1, 10.0, 10.0)


def of(shape=(12, 20)) -> tuple:
    A, y = solvers.problem(shape)
    return A, y, Theirs.of(A, y, WEIGHT)


def in_their_units(theirs: Theirs, plane: np.ndarray) -> float:
    """Its objective as its source has it, (C, rows, columns): padded PSF, shifted inverse, rolled differences."""
    n = theirs.psfs.shape[1:]
    wide = plane.shape[1:]
    start = [(big - small) // 2 for big, small in zip(wide, n, strict=True)]
    window = (slice(None), *(slice(at, at + small) for at, small in zip(start, n, strict=True)))
    kernel = np.zeros(plane.shape)
    kernel[window] = theirs.psfs.numpy() * theirs.psf_factor
    transform = np.fft.rfft2(plane) * np.fft.rfft2(kernel)
    seen = np.fft.ifftshift(np.fft.irfft2(transform, s=wide), axes=(1, 2))[window]
    variation = sum(np.abs(np.roll(plane, 1, axis) - plane).sum() for axis in (1, 2))
    misfit = seen - theirs.y[0].numpy() * theirs.data_factor
    return float(np.square(misfit).sum() / 2 + theirs.tau * variation)


@pytest.mark.parametrize("shape", SHAPES)
def test_their_objective_is_ours_times_the_square_of_their_scale(shape):
    _, _, theirs = of(shape)
    plane = torch.from_numpy(np.random.default_rng(3).random((1, 3, *theirs.plane.scene_shape)))
    scale = theirs.data_factor / theirs.psf_factor
    expected = in_their_units(theirs, scale * plane[0].numpy()) / theirs.data_factor**2
    assert theirs.objective(plane) == pytest.approx(expected, rel=1e-6)  # our PSFs went through float32
    assert float((theirs.psfs * theirs.psf_factor).norm()) == pytest.approx(1)
    assert float((theirs.y * theirs.data_factor).max()) == pytest.approx(1)


@pytest.mark.parametrize("shape", SHAPES)
def test_before_the_sensor_their_plane_is_our_scene(shape):
    A, _, theirs = of(shape)
    x = torch.from_numpy(np.random.default_rng(4).random((1, 3, *shape)))
    plane = theirs.on_plane(x)
    assert torch.equal(theirs.picture(plane), x) and float(plane.sum()) == pytest.approx(float(x.sum()))
    assert torch.allclose(theirs.plane.A(plane), A.double().A(x), rtol=0, atol=1e-6)


def test_our_objective_is_its_definition():
    A, y, _ = of()
    x = admm(A, y, WEIGHT, 30).x
    exact = solvers.objective(solvers._exact(A), y.double(), WEIGHT, x)
    by_hand = float((A.A(x) - y).square().sum() / 2 + WEIGHT * total_variation(x).sum())
    assert exact == pytest.approx(by_hand, rel=1e-4)


def test_no_interpreter_and_none_with_lenslesspicam_are_refused(tmp_path):
    _, _, theirs = of()
    with pytest.raises(ConfigurationError, match="expected the interpreter"):
        Process(tmp_path / "python", theirs, tmp_path, 5)
    (tmp_path / "python").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "python").chmod(0o755)
    with pytest.raises(ConfigurationError, match="ended with 3; try in its environment"):
        Process(tmp_path / "python", theirs, tmp_path, 5)


@pytest.mark.skipif("LENSLESSPICAM_PYTHON" not in os.environ, reason="it names an interpreter with LenslessPiCam")
def test_what_it_finds_has_less_of_its_objective_than_anything_of_ours(tmp_path):
    """After many iterations: were a unit wrong, it would minimise something else. Ours has a root in its variation."""
    _, y, theirs = of()
    with Process(pathlib.Path(os.environ["LENSLESSPICAM_PYTHON"]), theirs, tmp_path, 4000) as process:
        _, plane = process.run(NATURAL)
    wide = admm(theirs.plane, y.double(), WEIGHT, 4000, tolerance=0.0, box=(0.0, float("inf"))).x
    least = theirs.objective(plane)
    assert least < theirs.objective(wide) < 1.1 * least
    for scale in (0.99, 1.01):
        assert least < theirs.objective(scale * plane)


@pytest.mark.parametrize("setting", [("ADMM", 30.0, 10), ("FISTA", 1.0, 10)])
def test_deepinverse_comes_to_our_objective_in_time_or_says_where_it_is(setting, monkeypatch):
    pytest.importorskip("deepinv", reason="DeepInverse is not installed: pip install deepinv")
    monkeypatch.setattr("tqdm.tqdm.monitor_interval", 0)  # its progress bars start a thread that never ends
    A, y, _ = of()
    exact = solvers._exact(A)
    goal = 1.01 * float(admm(A, y, WEIGHT, 1000).objective.sum())

    def measure(x):
        return solvers.objective(exact, y.double(), WEIGHT, x)

    found = deepinverse.until(setting, A, y, WEIGHT, measure, goal, 20.0)
    assert found.reached and found.objective <= goal and found.seconds < 20
    found = deepinverse.until(setting, A, y, WEIGHT, measure, 0.0, 0.1)
    assert not found.reached and found.seconds > 0.1 and found.objective > 0
