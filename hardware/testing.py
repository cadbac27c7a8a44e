"""The battery that every camera passes, for the tests of whoever writes one (docs/add_a_camera.md). Needs pytest.

class TestMyCamera(CameraBattery):
    @pytest.fixture
    def camera(self):
        with MyCamera(...) as camera:
            yield camera
"""

import itertools
import time

import pytest

from hardware.camera import Camera
from hardware.errors import CameraError, ConfigurationError
from hardware.frame import CameraSettings, dtype_of
from hardware.simulated import SimulatedCamera


def expect(holds: bool, what: str) -> None:
    """Fail the test that runs, and say what was expected."""
    if not holds:
        pytest.fail(what, pytrace=False)


class CameraBattery:
    """What users of a camera rely on; the fixture `camera` is of the subclass or its module: open, and closed after it.

    Args:
        absent_format: a pixel format that the camera has not, or cannot be set to.
    """

    absent_format = "Mono10"

    def test_it_is_a_camera_with_a_name(self, camera):
        expect(isinstance(camera, Camera), f"{camera!r} lacks a method or property of hardware.Camera")
        expect(bool(camera.camera_id), "camera_id is empty; expected the stable name of this camera")

    def test_frames_are_what_their_facts_say(self, camera):
        for frame in camera.snap(3):
            expected = dtype_of(frame.meta.bit_depth)
            expect(frame.pixels.dtype == expected, f"pixels are {frame.pixels.dtype}; expected {expected}")
            expect(frame.pixels.max() <= frame.meta.full_scale_dn, f"a pixel is above {frame.meta.full_scale_dn}")
            expect(
                frame.meta.camera_id == camera.camera_id,
                f"a frame is of camera {frame.meta.camera_id!r}; expected {camera.camera_id!r}",
            )

    def test_pixels_are_read_only(self, camera):
        with pytest.raises(ValueError, match="read-only"):
            camera.snap(1)[0].pixels[0, 0] = 0

    def test_sequence_numbers_rise_and_every_lost_frame_is_counted(self, camera):
        for before, after in itertools.pairwise(frame.meta for frame in camera.snap(10)):
            expected = before.sequence + 1 + after.lost_before
            expect(
                after.sequence == expected,
                f"frame {after.sequence} came after {before.sequence}, and says {after.lost_before} lost before it; "
                f"expected number {expected}",
            )

    def test_no_frame_comes_twice(self, camera):
        frames = [*camera.snap(2), next(camera.frames()), *camera.snap(1)]
        numbers = [frame.meta.sequence for frame in frames]
        expect(numbers == sorted(set(numbers)), f"frames {numbers} came; expected rising numbers")

    def test_times_rise(self, camera):
        times = [frame.meta.t_host_ns for frame in camera.snap(5)]
        expect(times == sorted(set(times)), f"exposures began at {times} ns; expected each after the one before")

    def test_applied_settings_are_read_back_and_stand_in_the_frames(self, camera):
        applied = camera.configure(CameraSettings())
        values = applied.exposure_s, applied.gain_db, applied.pixel_format
        expect(None not in values, f"{applied}; expected exposure_s, gain_db and pixel_format, whatever they are")
        again = camera.configure(applied)
        expect(again == applied, f"the camera's own settings were asked for, {again} came back; expected {applied}")
        meta = camera.snap(1)[0].meta
        expect(
            (meta.exposure_s, meta.gain_db, meta.settings_id) == (applied.exposure_s, applied.gain_db, applied.id),
            f"a frame has {meta.settings} and id {meta.settings_id!r}; expected {applied} and {applied.id!r}",
        )
        expect(meta.settings == applied, f"a frame has {meta.settings}; expected {applied}")

    def test_a_setting_that_the_camera_has_not_is_refused_and_nothing_changes(self, camera):
        before = camera.configure(CameraSettings())
        says = rf"pixel_format.*{self.absent_format}.*{before.pixel_format}"
        with pytest.raises(ConfigurationError, match=says):
            camera.configure(CameraSettings(pixel_format=self.absent_format))
        after = camera.configure(CameraSettings())
        expect(after == before, f"{after} after something was refused; expected {before}")

    def test_snap_waits_for_frames_exposed_after_a_time(self, camera):
        first = camera.snap(1)[0]
        not_before_ns = first.meta.t_host_ns + 1
        if camera.live or isinstance(camera, SimulatedCamera):  # others have their own clock, a recording's
            not_before_ns = time.monotonic_ns() + 50_000_000
        for frame in camera.snap(2, not_before_ns=not_before_ns):
            early_s = (not_before_ns - frame.meta.t_host_ns) * 1e-9
            expect(early_s <= 0, f"a frame began {early_s:.3f} s before the time that was asked for")

    def test_no_frames_cannot_be_asked_for(self, camera):
        with pytest.raises(ConfigurationError, match="at least 1"):
            camera.snap(0)

    def test_close_twice_and_every_use_after_it_is_a_clear_error(self, camera):
        running = camera.frames()
        next(running)
        camera.close()
        camera.close()
        expect(list(running) == [], "frames() goes on after close()")
        for use in (lambda: camera.snap(1), lambda: camera.configure(CameraSettings()), lambda: camera.frames()):
            with pytest.raises(CameraError, match="closed"):
                use()
