"""What all back ends share that are asked for each frame: numbers, losses, times, and how they end."""

import threading
import time

import numpy as np
import pytest

from hardware import Camera, CameraSettings
from hardware.errors import CameraError, CameraLost, ConfigurationError
from hardware.polled import PolledCamera, Shot


class Scripted(PolledCamera):
    """Frames as a script says: a number of the device, None for nothing yet, or an error of its driver."""

    def __init__(self, script, waiting=0, exposure_s=0.001, fails=None, **facts):
        super().__init__("scripted:1", ("exposure_s",), (OSError,), **facts)
        self._script, self._waiting, self._exposure_s, self.released = iter(script), waiting, exposure_s, 0
        with self._opening():
            if fails:
                raise fails
            self._settings = self._read()

    def _ask(self, wanted):
        if wanted.exposure_s > 1:
            raise OSError("EINVAL")
        self._exposure_s = self._within("exposure_s", wanted.exposure_s, 1e-6, 0.5)

    def _read(self):
        return CameraSettings(exposure_s=self._exposure_s, gain_db=0.0, pixel_format="Mono8")

    def _grab(self, timeout_s):
        if timeout_s == 0:  # the queue is emptied
            self._waiting -= 1
            return None if self._waiting < 0 else next(self._script)
        found = next(self._script)
        if isinstance(found, Exception):
            raise found
        if found is None:
            time.sleep(timeout_s)
            return None
        return self.shot(found)

    def shot(self, number):
        begun_ns = time.monotonic_ns() - round(self._exposure_s * 1e9)
        return Shot(np.full((2, 3), number % 256, np.uint8), number, self._settings, begun_ns, bit_depth=8)

    def _release(self):
        self.released += 1


def numbers(frames) -> list[tuple[int, int, int]]:
    """(sequence, lost before, number of the device modulo 256) of each."""
    return [(frame.meta.sequence, frame.meta.lost_before, int(frame.pixels[0, 0])) for frame in frames]


def test_gaps_in_the_devices_count_are_lost_frames_whatever_it_begins_with():
    with Scripted([7, 8, 11, 12]) as camera:
        assert isinstance(camera, Camera) and camera.live
        assert numbers(camera.snap(4)) == [(0, 0, 7), (1, 0, 8), (4, 2, 11), (5, 0, 12)]


def test_a_count_that_begins_anew_goes_on():
    with Scripted([65534, 65535, 1, 3]) as camera:  # GigE Vision 1 has 16 bits and no 0
        assert [meta[:2] for meta in numbers(camera.snap(4))] == [(0, 0), (1, 0), (2, 0), (4, 1)]


def test_frames_between_two_settings_have_no_number():
    with Scripted([1, 2, 9, 10]) as camera:
        camera.snap(2)
        assert camera.configure(CameraSettings(exposure_s=0.002)).exposure_s == 0.002
        assert numbers(camera.snap(2)) == [(2, 0, 9), (3, 0, 10)]


def test_snap_empties_the_queue_and_skips_what_may_have_been_in_readout():
    with Scripted(range(1, 10**6), waiting=5) as camera:
        assert camera.snap(1, not_before_ns=0)[0].pixels[0, 0] == 7  # 5 waited, one may have been in readout
        now_ns = time.monotonic_ns()
        frame = camera.snap(1, not_before_ns=now_ns)[0]
        assert frame.meta.t_host_ns >= now_ns and frame.meta.sequence == 1 + frame.meta.lost_before > 1
    with Scripted(range(1, 10**6), waiting=10**6) as camera:  # faster than this machine
        assert camera.snap(1, not_before_ns=0)[0].pixels[0, 0] == 102
    with Scripted(range(1, 50), waiting=5, stamped=True) as camera:  # whose times are the sensor's
        assert camera.snap(1, not_before_ns=0)[0].pixels[0, 0] == 1


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ([1, OSError("no such device")], r"after frame 0: OSError: no such device; connect it again"),
        ([OSError("gone")], r"before its first frame: OSError: gone"),
        ([1, *[None] * 100], r"after frame 0: it sent no frame for 1\.5 s"),
    ],
)
def test_a_device_that_is_gone_is_a_lost_camera_from_then_on(script, says):
    with Scripted(script) as camera:
        with pytest.raises(CameraLost, match=says):
            list(camera.frames())
        for use in (lambda: camera.snap(1), lambda: camera.configure(CameraSettings()), camera.frames):
            with pytest.raises(CameraLost, match="is lost"):
                use()
    assert camera.released == 1


def test_settings_that_a_driver_or_its_range_refuses_change_nothing():
    with Scripted([]) as camera:
        before = camera.configure(CameraSettings())
        with pytest.raises(ConfigurationError, match=r"exposure_s = 0\.9 was asked for; it can do 1e-06 to 0\.5"):
            camera.configure(CameraSettings(exposure_s=0.9))
        with pytest.raises(CameraError, match="did not apply settings: OSError: EINVAL"):
            camera.configure(CameraSettings(exposure_s=9))
        with pytest.raises(ConfigurationError, match=r"cannot set gain_db to 3\.0; it has 0\.0"):
            camera.configure(CameraSettings(gain_db=3.0))
        assert camera.configure(CameraSettings()) == before


@pytest.mark.parametrize(
    ("fails", "kind"), [(OSError("busy"), CameraError), (ConfigurationError("no"), ConfigurationError)]
)
def test_a_device_that_does_not_open_is_let_go(fails, kind):
    made = []
    with pytest.raises(kind, match="did not open: OSError: busy" if kind is CameraError else "no"):
        Scripted.__init__(made.append(Scripted.__new__(Scripted)) or made[0], [], fails=fails)
    assert made[0].released == 1


def test_closing_from_another_thread_ends_frames():
    camera = Scripted([1, *[None] * 100])
    frames = camera.frames()
    next(frames)
    closer = threading.Timer(0.05, camera.close)
    closer.start()
    assert list(frames) == []
    closer.join()
    camera.close()
    assert camera.released == 1
