"""What a rig can see, against blurs of known width and against simulated frames with all their noise."""

import dataclasses
import math

import pytest
import tiny
import torch

from lensless.app.linear_estimates import Noise, linear_estimates
from lensless.app.nearby import perturbations, steps
from lensless.app.rig import Rig
from lensless.app.setting import Setting, statistics_of
from lensless.optics import analysis
from lensless.optics.operator import DenseModel
from lensless.recon import wiener

SIDE = 24


def gaussian_blur(sigma: float, dtype=torch.float64) -> DenseModel:
    """A shift-invariant blur of the standard deviation `sigma` pixels, on a torus: nothing has an edge."""
    at = torch.arange(SIDE, dtype=dtype)
    apart = (at[:, None] - at + SIDE / 2) % SIDE - SIDE / 2
    line = torch.exp(-apart.square() / (2 * sigma**2))
    line /= line.sum(1, keepdim=True)
    return DenseModel(torch.kron(line, line), (SIDE, SIDE), (SIDE, SIDE))


@pytest.mark.parametrize("sigma", [1.5, 2.0, 3.0])
def test_two_points_of_a_gaussian_blur_correlate_as_gaussians_do(sigma):
    """Two Gaussians a distance d apart overlap by exp(-d^2 / (4 sigma^2)), less what their means share."""
    model = gaussian_blur(sigma)
    correlation = analysis.psf_correlation(model)[0].reshape(SIDE, SIDE)
    mean = 4 * math.pi * sigma**2 / SIDE**2
    for distance in (1, 2, 3):
        expected = (math.exp(-(distance**2) / (4 * sigma**2)) - mean) / (1 - mean)
        assert float(correlation[0, distance]) == pytest.approx(expected, abs=2e-3)
    half = analysis.half_distance(analysis.psf_correlation(model), model.scene_shape)[SIDE // 2, SIDE // 2]
    expected = 2 * sigma * math.sqrt(-math.log(mean + (1 - mean) / 2))
    assert float(half) == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("sigma, noise", [(1.0, 1e-2), (1.5, 1e-2), (1.5, 1e-3), (2.5, 1e-3)])
def test_the_resolution_of_a_blur_is_what_its_transfer_function_passes(sigma, noise):
    """On a torus the estimate is a filter h^2 / (h^2 + noise^2 / 0.3^2) of each frequency, by Fourier's transform."""
    model = gaussian_blur(sigma)
    R = analysis.resolution_matrix(analysis.information(model, torch.full((SIDE**2,), noise**2).double()))
    transfer = torch.fft.fft2(model.as_matrix()[:, 0].reshape(SIDE, SIDE)).abs().square()
    kernel = torch.fft.ifft2(transfer / (transfer + (noise / 0.3) ** 2)).real
    width = math.sqrt(kernel.sum() ** 2 / kernel.square().sum())
    torch.testing.assert_close(analysis.width(R), torch.full((SIDE**2,), width).double(), rtol=1e-6, atol=0)
    crosstalk = float(1 - kernel[0, 0] / kernel.abs().sum())
    torch.testing.assert_close(analysis.crosstalk(R), torch.full((SIDE**2,), crosstalk).double(), rtol=1e-6, atol=1e-9)


def test_more_light_resolves_finer():
    def width(sigma: float, noise: float) -> float:
        J = analysis.information(gaussian_blur(sigma), torch.full((SIDE**2,), noise**2).double())
        return float(analysis.width(analysis.resolution_matrix(J))[0])

    assert width(2, 1e-4) < width(2, 1e-3) < width(2, 1e-2) < width(2, 1e-1)
    assert width(1, 1e-3) < width(2, 1e-3) < width(3, 1e-3)


def test_a_blur_that_moves_changes_by_what_its_gaussians_say():
    """|g(x) - g(x - d)|^2 = 2 |g|^2 (1 - exp(-d^2 / (4 sigma^2)))."""
    model, sigma = gaussian_blur(2.0), 2.0
    moved = DenseModel(model.as_matrix().roll(SIDE, 0), model.scene_shape, model.sensor_shape)  # by one row
    found = analysis.change(model, moved)
    overlap = math.exp(-1 / (4 * sigma**2))
    mean = 4 * math.pi * sigma**2 / SIDE**2
    assert found.relative == pytest.approx(math.sqrt(2 * (1 - overlap)), rel=1e-3)
    assert found.correlation == pytest.approx((overlap - mean) / (1 - mean), abs=1e-3)


@pytest.fixture(scope="module")
def estimated():
    """A small rig with all its noise and a measured calibration: statistics, noise and estimates of unseen scenes."""
    setting = tiny.setting()
    pictures = statistics_of(tiny.scenes(4000), (8, 8), setting.device)
    noise = Noise.of(setting, pictures)
    return setting, pictures, noise


@pytest.mark.parametrize("frames, read_noise", [(1, 5.0), (4, 5.0), (100, 5.0), (4, 60.0)])
def test_the_expected_psnr_of_wiener_is_the_measured_one(frames, read_noise):
    """With several calibrations: 144 pixels draw but few of their errors, which outweigh the noise of 100 frames."""
    rig = tiny.rig(read_noise_electrons=read_noise)
    pictures, test = statistics_of(tiny.scenes(4000), (8, 8), rig.device), tiny.scenes(500, seed=77)
    expected, measured = [], []
    for seed in range(5):
        setting = Setting(rig, rig.calibrate(seed), frames)
        found = linear_estimates(setting, pictures, test, Noise.of(setting, pictures), rig.forward_model.gram())
        expected.append(10 ** (-found.expected_db / 10))
        measured.append(10 ** (-found.measured_db / 10))
        assert found.measured == 500 and found.clamped_db > found.measured_db - 0.1  # both conventions only flatter
    assert 10 * math.log10(sum(measured) / sum(expected)) == pytest.approx(0, abs=0.2)


def test_the_steps_are_those_that_the_rig_knows(estimated):
    setting, pictures, noise = estimated
    found = perturbations(setting, pictures, noise)
    assert [one.name for one in found] == list(steps(setting.rig.spec))
    assert all(0 <= one.change.relative < 0.1 and one.change.correlation > 0.9 for one in found)


@pytest.mark.parametrize("distance_mm", [20.2, 22.0])
def test_a_step_away_costs_what_the_filter_measures_there(estimated, distance_mm):
    """Frames of the moved rig, estimated with the filter of the unmoved one, for the same draws of noise."""
    setting, pictures, noise = estimated
    spec = setting.rig.spec
    moved = Rig(dataclasses.replace(spec, scene=dataclasses.replace(spec.scene, distance_mm=distance_mm))).forward_model
    model = setting.rig.forward_model
    truth = (tiny.scenes(4000, seed=78).pictures.double() / 255).flatten(1)
    dark, A = noise.background * noise.contrast, model.as_matrix().double()
    estimate = wiener(noise.contrast * A, noise.told.double(), pictures)
    draws = torch.randn(len(truth), len(A), generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def error_db(matrix: torch.Tensor) -> float:
        y = (dark + noise.contrast * truth) @ matrix.T + draws * noise.told.double().sqrt() - dark * A.sum(1)
        return -10 * math.log10(float((estimate(y.float()) - truth).square().mean()))

    seen = noise.contrast**2 * analysis.matched_filter(model, noise.told, moved.as_matrix())
    loss_db = 10 * math.log10(noise.expected_error(pictures, seen) / noise.expected_error(pictures))
    lost = error_db(A) - error_db(moved.as_matrix().double())
    assert loss_db == pytest.approx(lost, rel=0.1, abs=0.01) and lost > 0.01
