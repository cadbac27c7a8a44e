"""Simulated pairs against what they stand for: a simulated camera, its calibration, and whole noisy frames."""

import dataclasses

import numpy as np
import pytest
import tiny
import torch

from calibration import Calibration
from hardware import SimulatedCamera
from hardware.errors import ConfigurationError
from lensless.data.pairs import FrameSimulator, ProjectedSimulator


def pictures(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def camera_at(rig, light: list[torch.Tensor]) -> SimulatedCamera:
    """The rig's sensor, in the light (H', W') that was put last into the list, with the noise of `noise_of`."""

    def expose(settings, sequence: int) -> np.ndarray:
        return rig.noise().expose(light[-1], noise_of(sequence)).numpy().astype(np.uint16)

    sensor = rig.spec.sensor
    return SimulatedCamera(
        expose, camera_id=sensor.serial, shape=sensor.shape, bit_depth=sensor.bit_depth,
        black_level_dn=sensor.black_level_dn, exposure_s=sensor.exposure_s,
    )  # fmt: skip


def noise_of(sequence: int) -> torch.Generator:
    return torch.Generator().manual_seed(sequence)


def test_it_measures_what_the_calibration_makes_of_the_cameras_frame():
    """The same light and the same draws of noise: two ways to one measurement, fixed patterns and all."""
    rig, light = tiny.rig(), []
    calibration = rig.calibrate()
    simulator = rig.simulator(calibration, frames=1)
    with camera_at(rig, light) as camera:
        for picture in pictures():
            light.append(rig.forward_model.A(0.01 + 0.99 * picture[None])[0, 0])
            (frame,) = camera.snap(1)
            measured = calibration.apply(frame)
            found = simulator(picture[None], noise_of(frame.meta.sequence))
            assert found[0, 0].numpy() == pytest.approx(measured.y, abs=1e-6)
            assert measured.y.max() > 0.2 and not measured.mask.any()


def exact(**sensor_changes):
    """A rig without fixed patterns and its calibration without error: only noise is left."""
    rig = tiny.rig(prnu=0.0, dsnu_electrons=0.0, column_electrons=0.0, **sensor_changes)
    return rig, Calibration.nominal(rig.spec)


def draws_of(simulator, picture: torch.Tensor, count: int, seed: int = 2) -> torch.Tensor:
    """(count, numbers) of one picture, float64."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        return simulator(picture.expand(count, 1, 8, 8), generator).flatten(1).double()


def assert_same_mean(found: torch.Tensor, expected: torch.Tensor) -> None:
    error = found.std(0) / len(found) ** 0.5
    assert ((found.mean(0) - expected).abs() / error).max() < 5


@pytest.mark.parametrize("frames", [1, 16])
@pytest.mark.parametrize("level", [0.0, 0.9])
def test_mean_and_spread_are_those_of_the_sensor(frames, level):
    """Expected from the rig's facts: light A (dark + (1 - dark) x), noise after EMVA 1288."""
    rig, calibration = exact()
    simulator = rig.simulator(calibration, frames)
    found = draws_of(simulator, torch.full((1, 8, 8), level), 4000)
    light = rig.forward_model.as_matrix().double().sum(1) * (0.01 + 0.99 * level)
    assert_same_mean(found, light)
    electrons2 = light * 9000 + 10 * 0.1 + 5.0**2 + 2.5**2 / 12
    expected = electrons2 / (frames * 9000**2)
    assert (found.var(0) / expected - 1).abs().max() < 5 * (2 / 4000) ** 0.5
    assert (found.var(0) / expected).mean() == pytest.approx(1, abs=0.01)


def test_reading_some_pixels_gives_these_pixels():
    rig = tiny.rig()
    calibration = rig.calibrate()
    reads = torch.tensor([0, 7, 30, 143])
    some, whole = rig.simulator(calibration, 64, reads), rig.simulator(calibration, 64)
    picture = pictures(1)[0]
    few, all_of_them = draws_of(some, picture, 2000), draws_of(whole, picture, 2000, seed=3)[:, reads]
    assert some(pictures()).shape == (3, 1, 4)
    error = (few.var(0) / 1000) ** 0.5
    assert ((few.mean(0) - all_of_them.mean(0)).abs() / error).max() < 5
    assert (few.var(0) / all_of_them.var(0)).log().abs().max() < 0.2


def whitened(values: torch.Tensor, covariance: torch.Tensor) -> torch.Tensor:
    """Eigenvalues of the covariance of `values` relative to another one; all 1 where they are the same."""
    inverse = torch.linalg.inv(torch.linalg.cholesky(covariance))
    return torch.linalg.eigvalsh(inverse @ torch.cov(values.T) @ inverse.T)


@pytest.mark.parametrize("frames", [1, 16])
@pytest.mark.parametrize("level", [0.0, 0.3, 0.9])
def test_projected_draws_are_those_of_whole_frames(frames, level):
    """Mean and covariance, in the dark, where it is all read noise, and in bright light, where it is shot noise."""
    rig, calibration = exact()
    simulator = rig.simulator(calibration, frames)
    projection = torch.randn(6, 144, generator=torch.Generator().manual_seed(4))
    projected = ProjectedSimulator(simulator, projection, torch.full((1, 8, 8), 0.5))
    picture, count = torch.full((1, 8, 8), level), 12_000
    fast = draws_of(projected, picture, count)
    slow = draws_of(simulator, picture, count, seed=9) @ projection.double().T
    error = (slow.var(0) * 2 / count) ** 0.5
    assert ((fast.mean(0) - slow.mean(0)).abs() / error).max() < 5
    ratios = whitened(fast, torch.cov(slow.T))
    assert ratios.min() > 0.92 and ratios.max() < 1.08


def test_projected_draws_carry_the_errors_of_a_poor_calibration():
    """Measured with two frames, it errs by more than the noise of 400 averaged ones."""
    rig, _ = exact()
    simulator = rig.simulator(rig.calibrate(frames=2), 400)
    projection = torch.randn(6, 144, generator=torch.Generator().manual_seed(4))
    projected = ProjectedSimulator(simulator, projection, torch.full((1, 8, 8), 0.5))
    picture, count = torch.full((1, 8, 8), 0.5), 2000
    fast = draws_of(projected, picture, count)
    slow = draws_of(simulator, picture, count, seed=9) @ projection.double().T
    light = simulator.radiance(picture).flatten() @ simulator.matrix.T
    wrong_by = (slow.mean(0) - projection.double() @ light.double()).abs() / slow.std(0)
    assert wrong_by.max() > 2
    assert ((fast.mean(0) - slow.mean(0)).abs() / slow.std(0)).max() < 5 * (2 / count) ** 0.5
    ratios = whitened(fast, torch.cov(slow.T))
    assert ratios.min() > 0.8 and ratios.max() < 1.25


def test_projected_draws_clip_as_whole_frames_do():
    """A well so small that bright scenes fill it: what the sensor cuts off, the fast way must not see."""
    rig = tiny.rig(full_well_electrons=7600.0)
    simulator = rig.simulator(rig.calibrate(), 1)
    projection = torch.randn(6, 144, generator=torch.Generator().manual_seed(4))
    projected = ProjectedSimulator(simulator, projection, torch.full((1, 8, 8), 0.5))
    picture, count = torch.full((1, 8, 8), 0.9), 2000
    fast = draws_of(projected, picture, count)
    slow = draws_of(simulator, picture, count, seed=9) @ projection.double().T
    error = (slow.var(0) * 2 / count) ** 0.5
    assert ((fast.mean(0) - slow.mean(0)).abs() / error).max() < 5
    light = simulator.radiance(picture).flatten() @ simulator.matrix.T
    unclipped = simulator.expected(light.reshape(12, 12)).flatten()
    assert ((projection.double() @ unclipped.double() - slow.mean(0)).abs() / slow.std(0)).max() > 2


def test_no_pixel_clips_up_to_the_stated_light():
    noise = tiny.rig(full_well_electrons=4500.0).noise()
    generator = torch.Generator().manual_seed(0)
    light = torch.full((500, 12, 12), noise.linear_up_to)
    assert (noise.collect(light, generator, 1) - noise.offset_electrons < noise.full_well_electrons).all()
    assert noise.linear_up_to > 0.9 * noise.full_well_electrons / noise.white_electrons / float(noise.response.max())


def test_projected_noise_follows_the_light_of_an_uneven_scene_to_a_few_percent():
    """Its shape over the sensor is taken from the mean scene, which costs that much here, where the light is smooth."""
    rig, calibration = exact()
    simulator = rig.simulator(calibration, 1)
    projection = torch.randn(6, 144, generator=torch.Generator().manual_seed(4))
    projected = ProjectedSimulator(simulator, projection, torch.full((1, 8, 8), 0.3))
    picture = tiny.scenes(1).pictures[0].float() / 255
    fast = draws_of(projected, picture, 12_000)
    slow = draws_of(simulator, picture, 12_000, seed=9) @ projection.double().T
    ratios = whitened(fast, torch.cov(slow.T))
    assert ratios.min() > 0.85 and ratios.max() < 1.15


def test_a_seed_decides_the_noise():
    rig, calibration = exact()
    simulator = rig.simulator(calibration)
    a, b, c = (draws_of(simulator, pictures(1)[0], 4, seed) for seed in (1, 1, 2))
    assert torch.equal(a, b) and not torch.equal(a, c)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -0.01, 1.01, 255.0])
@pytest.mark.parametrize("kind", ["frames", "projected"])
def test_pictures_that_no_display_can_show_are_refused(kind, bad):
    setting = tiny.setting()
    simulator = setting.simulator()
    if kind == "projected":
        simulator = ProjectedSimulator(simulator, torch.ones(1, 144), torch.full((1, 8, 8), 0.5))
    wrong = pictures()
    wrong[1, 0, 3, 4] = bad
    with pytest.raises(ConfigurationError, match=r"pictures for the display hold values from .*expected 0 .* to 1"):
        simulator(wrong)
    simulator(
        torch.tensor([0.0, 1.0, 1 + 1e-6, -1e-7]).view(1, 1, 2, 2).repeat(1, 1, 4, 4)
    )  # as interpolation leaves them


def test_light_that_is_no_number_is_refused():
    setting = tiny.setting()
    model, noise = setting.rig.forward_model, setting.rig.noise()
    broken = FrameSimulator(model, noise, setting.calibration, dark_level=float("nan"))
    with pytest.raises(ConfigurationError, match="illuminance"):
        broken(pictures())


def test_a_flat_field_and_a_dark_frame_are_undone_pixel_by_pixel():
    rig, calibration = exact()
    draw = np.random.default_rng(1)
    crooked = dataclasses.replace(
        calibration,
        dark_dn=(calibration.dark_dn + draw.random((12, 12))).astype(np.float32),
        flat=draw.uniform(0.8, 1.2, (12, 12)).astype(np.float32),
    )
    straight, bent = (
        rig.simulator(one, 1)(pictures(1), torch.Generator().manual_seed(0))[0, 0].numpy()
        for one in (calibration, crooked)
    )
    digital = straight * calibration.white_dn + calibration.dark_dn
    assert bent == pytest.approx((digital - crooked.dark_dn) / (crooked.flat * crooked.white_dn), abs=1e-5)
