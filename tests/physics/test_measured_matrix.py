"""The matrix of the cannula from 32 x 32 patterns, beside the least error that its photons allow."""

import numpy as np
import pytest
import torch

from calibration.patterns import pattern_set
from calibration.transfer import bound, decode
from lensless.app.rig import open_rig

ROWS = 24  # pixels for which the bound is computed


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "frames", "black_frames"), [("hadamard", 1, 8), ("raster", 2, 64), ("random", 1, 8)])
def test_its_error_is_within_1_2_times_the_bound_at_the_photons_used(kind, frames, black_frames):
    """Cramer and Rao's, with the noise that the sensor really has; nothing is regularised."""
    rig = open_rig("cannula-v1", rays=2**17)
    sensor, dark_level = rig.noise(), rig.spec.scene.dark_level
    gain, shape = sensor.gain_electrons_per_dn, rig.spec.scene.shape
    A = rig.forward_model.as_matrix().double().numpy()
    response = sensor.response.double().numpy().ravel()[:, None]
    dark = sensor.mean_dn(torch.zeros(rig.spec.sensor.shape)).double().numpy().ravel()
    patterns = pattern_set(kind, shape)
    weights = np.concatenate([np.zeros((1, patterns.weights.shape[1])), patterns.weights])
    counts = np.r_[black_frames, np.full(len(patterns), frames)]
    light = torch.from_numpy((dark_level + (1 - dark_level) * weights) @ A.T).float()
    generator = torch.Generator().manual_seed(5)

    def mean_frame(light: torch.Tensor, count: float) -> np.ndarray:
        plane = light.reshape(rig.spec.sensor.shape)
        return np.mean([sensor.expose(plane, generator).numpy().ravel() for _ in range(int(count))], 0)

    taken = np.stack([mean_frame(one, count) for one, count in zip(light, counts, strict=True)])
    floor = sensor.floor_electrons2 / gain**2

    def variance(signal_dn):
        return np.maximum(signal_dn, 0) / gain + floor

    found = decode(weights, taken - dark, variance, counts)
    truth = (1 - dark_level) * sensor.white_electrons / gain * response * A
    clean = light.double().numpy() * sensor.white_electrons / gain * response.T
    rows = np.random.default_rng(0).choice(len(A), ROWS, replace=False)
    least = np.sqrt(bound(weights, clean, variance, counts, rows).sum())
    error = np.linalg.norm((found.matrix_dn - truth)[rows])
    whole = np.linalg.norm(found.matrix_dn - truth) / np.linalg.norm(truth)
    print(
        f"\n{kind}: relative error {whole:.1%}, stated {found.relative_error:.1%}, {error / least:.3f} times the bound"
    )
    assert error <= 1.2 * least
    assert whole == pytest.approx(found.relative_error, rel=0.05)
