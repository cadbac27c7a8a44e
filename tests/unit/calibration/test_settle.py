"""Settle time and response against displays and cameras whose times and gamma are known."""

import numpy as np
import pytest

from calibration import DisplayResponse, ShowAndSnap, measure_response, measure_settle
from calibration import settle as settle_module
from hardware import SimulatedCamera, SimulatedDisplay
from hardware.errors import CalibrationMismatch, ConfigurationError

REFRESH_S = 1 / 60
DEAD_S = 0.002  # of each frame period of 10 ms the camera is blind so long


@pytest.fixture(autouse=True)
def short_rest(monkeypatch):
    """These displays need no second to come to rest."""
    monkeypatch.setattr(settle_module, "REST_S", 0.15)


def display_and_camera(
    fps: float | None = 100, noise: float = 3.0, glow: float = 0.0, rise_dn: float = 2000, **display
):
    shown = SimulatedDisplay((4, 4), **display)
    draw = np.random.default_rng(0)

    def expose(settings, sequence):
        mean_dn = 200 + rise_dn * (glow + (1 - glow) * shown.light(*camera.exposure_ns).mean())
        return np.clip(np.rint(draw.normal(mean_dn, noise, (20, 20))), 0, 4095).astype(np.uint16)

    camera = SimulatedCamera(
        expose, camera_id="S", shape=(20, 20), bit_depth=12, black_level_dn=200, exposure_s=0.008,
        frames_per_second=fps,
    )  # fmt: skip
    return shown, camera


@pytest.mark.alone
@pytest.mark.parametrize(
    ("display", "earliest_s", "latest_s"),
    [
        pytest.param(dict(refresh_hz=60), 0.0, REFRESH_S, marks=pytest.mark.slow),
        (dict(refresh_hz=60, lag_s=0.05), 0.05, 0.05 + REFRESH_S),
        pytest.param(dict(lag_s=0.02), 0.02, 0.02, marks=pytest.mark.slow),
        (dict(lag_s=0.01, response_s=0.004), 0.01, 0.01 + 0.004 * np.log(100)),
    ],
)
def test_frames_that_begin_after_the_settle_time_show_the_new_picture_alone(display, earliest_s, latest_s):
    shown, camera = display_and_camera(**display)
    settle = measure_settle(shown, camera)
    assert earliest_s <= settle.settle_s <= latest_s + DEAD_S + 4 * settle.resolution_s
    assert settle.resolution_s == pytest.approx(0.01 / settle.steps) and settle.period_s == pytest.approx(0.01)
    rig = ShowAndSnap(shown, camera, settle.settle_s)
    for value in [1.0, 0.0] * 20:
        (frame,) = rig.level(value)
        assert abs((frame.pixels.mean() - 200) / 2000 - value) < 0.015


@pytest.mark.alone
def test_the_middle_of_the_change_is_where_it_is():
    shown, camera = display_and_camera(lag_s=0.023)
    assert measure_settle(shown, camera).lag_s == pytest.approx(0.023, abs=0.003)


def test_a_camera_that_exposes_when_asked_needs_no_time():
    shown, camera = display_and_camera(fps=None)
    settle = measure_settle(shown, camera)
    assert settle.settle_s == 0 and settle.frames() == 1


def test_a_display_that_is_not_seen_is_said_so():
    shown, camera = display_and_camera(fps=None, rise_dn=0)
    with pytest.raises(CalibrationMismatch, match=r"expected to see the display: is it on"):
        measure_settle(shown, camera)
    with pytest.raises(CalibrationMismatch, match=r"expected to see the display: is it on"):
        measure_response(ShowAndSnap(shown, camera))


@pytest.mark.alone
def test_a_display_that_never_settles_is_said_so():
    shown, camera = display_and_camera(lag_s=0.12)
    with pytest.raises(CalibrationMismatch, match=r"of the old light are left"):
        measure_settle(shown, camera, patience_s=0.05)


@pytest.mark.parametrize("gamma", [0.45, 1.0, 1.8, 2.2, 3.0])
@pytest.mark.parametrize("glow", [0.0, 0.1])
def test_gamma_and_black_come_back(gamma, glow):
    shown, camera = display_and_camera(fps=None, gamma=gamma, glow=glow)
    response = measure_response(ShowAndSnap(shown, camera))
    assert response.gamma == pytest.approx(gamma, abs=4 * response.gamma_std + 2e-3)
    assert response.black == pytest.approx(glow, abs=1e-3) and response.misfit < 5e-3
    rig = ShowAndSnap(shown, camera, response=response)
    for radiance in (0.0, 0.1, 0.5, 0.9, 1.0):
        (frame,) = rig.level(radiance)
        assert (frame.pixels.mean() - 200) / 2000 == pytest.approx(glow + (1 - glow) * radiance, abs=3e-3)


def test_gamma_is_within_its_stated_error_in_most_runs():
    far = []
    for _ in range(40):
        shown, camera = display_and_camera(fps=None, gamma=2.2, noise=60.0)
        response = measure_response(ShowAndSnap(shown, camera))
        far.append(abs(response.gamma - 2.2) / response.gamma_std)
    assert np.mean(np.array(far) < 2) > 0.85


def test_a_display_that_adapts_is_no_power_law():
    shown, camera = display_and_camera(fps=None)
    show = shown.show
    shown.show = lambda picture: show(np.where(picture < 0.6, picture * 0.3, picture))
    with pytest.raises(CalibrationMismatch, match=r"off a power law .*adapts contrast"):
        measure_response(ShowAndSnap(shown, camera))


@pytest.mark.parametrize(
    "wrong", [dict(gamma=0.0), dict(gamma=9.0), dict(gamma=float("nan")), dict(gamma=2.2, black=1.0)]
)
def test_a_response_that_no_display_has_is_refused(wrong):
    with pytest.raises(ConfigurationError, match="display response"):
        DisplayResponse(**wrong)
