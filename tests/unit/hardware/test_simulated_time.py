"""A simulated display and a simulated camera in time: what a frame sees is what stood there while it was exposed."""

import itertools
import math
import time

import numpy as np
import pytest

from hardware import SimulatedCamera, SimulatedDisplay
from hardware.display import FileDisplay, shown_in
from hardware.errors import ConfigurationError, InputError, StorageError

MS = 1_000_000
WHITE, GREY = np.ones((2, 3), np.float32), np.full((2, 3), 0.5, np.float32)


class Clock:
    def __init__(self):
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def test_a_picture_appears_at_the_refresh_after_its_lag_and_frames_mix_what_they_saw():
    clock = Clock()
    display = SimulatedDisplay((2, 3), refresh_hz=100, lag_s=0.004, clock_ns=clock)
    clock.now_ns = 5 * MS  # ready at 9 ms, shown at 10 ms
    display.show(WHITE)
    for start, stop, seen in [(0, 10, 0.0), (10, 12, 1.0), (5, 15, 0.5), (9, 19, 0.9), (50, 60, 1.0)]:
        np.testing.assert_allclose(display.light(start * MS, stop * MS), np.full((2, 3), seen), atol=1e-9)


def test_a_picture_that_never_appeared_leaves_no_trace():
    clock = Clock()
    display = SimulatedDisplay((2, 3), refresh_hz=100, clock_ns=clock)
    clock.now_ns = 1 * MS
    display.show(WHITE)
    clock.now_ns = 2 * MS
    display.show(GREY)
    np.testing.assert_allclose(display.light(0, 20 * MS), np.full((2, 3), 0.25), atol=1e-9)


@pytest.mark.parametrize(("start_ms", "stop_ms"), [(0, 5), (5, 25), (12, 13), (15, 80), (0, 200)])
def test_a_slow_pixel_goes_over_as_an_integral_by_small_steps_says(start_ms, stop_ms):
    clock, tau_s = Clock(), 0.007
    display = SimulatedDisplay((1, 1), response_s=tau_s, gamma=2.0, clock_ns=clock)
    clock.now_ns = 10 * MS
    display.show(np.ones((1, 1)))
    clock.now_ns = 20 * MS
    display.show(np.full((1, 1), 0.5))

    def radiance(t_s: float) -> float:
        rise = 1 - math.exp(-max(0.0, min(t_s, 0.02) - 0.01) / tau_s)
        return rise if t_s < 0.02 else 0.25 + (rise - 0.25) * math.exp(-(t_s - 0.02) / tau_s)

    times_s = np.linspace(start_ms, stop_ms, 20_001) * 1e-3
    expected = np.trapezoid([radiance(t_s) for t_s in times_s], times_s) / (times_s[-1] - times_s[0])
    assert display.light(start_ms * MS, stop_ms * MS)[0, 0] == pytest.approx(expected, abs=1e-6)


def camera(**facts) -> SimulatedCamera:
    zeros = np.zeros((2, 3), np.uint8)
    return SimulatedCamera(
        lambda settings, sequence: zeros,
        camera_id="T", shape=(2, 3), bit_depth=8, black_level_dn=0, exposure_s=0.002, **facts,
    )  # fmt: skip


def test_a_live_camera_exposes_at_its_ticks_and_counts_what_nobody_fetched():
    with camera(frames_per_second=200) as live:
        assert live.live
        frames = live.snap(3)
        time.sleep(0.1)
        frames += live.snap(3)
        times = [frame.meta.t_host_ns for frame in frames]
        for before, after in itertools.pairwise(frames):
            passed = after.meta.sequence - before.meta.sequence
            assert after.meta.t_host_ns - before.meta.t_host_ns == passed * 5 * MS
            assert passed == 1 + after.meta.lost_before
        assert frames[3].meta.lost_before >= 20 - 3 - 6  # a driver keeps four
        later_ns = time.monotonic_ns() + 40 * MS
        (frame,) = live.snap(1, not_before_ns=later_ns)
        assert later_ns <= frame.meta.t_host_ns < later_ns + 5 * MS and frame.meta.t_host_ns > times[-1]


def test_a_longer_exposure_slows_a_live_camera_down():
    from hardware import CameraSettings

    with camera(frames_per_second=1000) as live:
        live.configure(CameraSettings(exposure_s=0.02))
        first, second = live.snap(2)
        assert second.meta.t_host_ns - first.meta.t_host_ns == 20 * MS


def test_a_file_shows_to_another_process_what_was_shown(tmp_path):
    assert not shown_in(tmp_path / "none", (2, 3)).any()
    display = FileDisplay(tmp_path / "display", (2, 3))
    display.show(GREY)
    display = FileDisplay(tmp_path / "display", (2, 3))  # it is taken again, and begins dark
    assert not shown_in(tmp_path / "display", (2, 3)).any()
    display.show(GREY)
    assert (shown_in(tmp_path / "display", (2, 3)) == GREY).all()
    assert [path.name for path in tmp_path.iterdir()] == ["display"]


@pytest.mark.parametrize("content", [b"", b"x", b"\xff" * 24, b"\0" * 25, np.full(6, 2, "<f4").tobytes()])
def test_a_file_that_is_no_display_is_refused(tmp_path, content):
    (tmp_path / "display").write_bytes(content)
    with pytest.raises(InputError, match=r"no display of 2 x 3 points.*delete it"):
        shown_in(tmp_path / "display", (2, 3))
    with pytest.raises(InputError, match="no display"):
        shown_in(tmp_path, (2, 3))
    with pytest.raises(StorageError, match="cannot be written"):
        FileDisplay(tmp_path / "nowhere" / "display", (2, 3))
    with pytest.raises(ConfigurationError, match="expected"):
        FileDisplay(tmp_path / "another", (2, 3)).show(WHITE * 2)


def test_a_file_of_somebody_is_no_display_and_stays_as_it_is(tmp_path):
    thesis = tmp_path / "thesis.txt"
    thesis.write_text("nobody has a copy")
    FileDisplay(tmp_path / "other", (28, 28))
    for path in (thesis, tmp_path / "other", tmp_path):
        with pytest.raises(InputError, match="is no display of 2 x 3 points"):
            FileDisplay(path, (2, 3))
    assert thesis.read_text() == "nobody has a copy" and (tmp_path / "other").stat().st_size == 28 * 28 * 4
