"""A stream: one thread per camera, what it accounts for, and what it does when the camera does not do its part."""

import itertools
import logging
import signal
import threading
import time

import numpy as np
import pytest
from fake_device import FakeCamera, FakeDevice

from hardware import CameraSettings, SimulatedCamera
from hardware.alive import alive
from hardware.errors import CameraError, CameraLost, ConfigurationError, InputError, Overrun
from hardware.stream import Event, Stream, watchdog
from hardware.stream.ring import Ring

RING_BYTES = 1 << 20


@pytest.fixture
def device():
    device = FakeDevice()
    yield device
    device.wake()  # no thread stays in its driver


@pytest.fixture
def quick(monkeypatch):
    """Seconds of patience become hundredths."""
    monkeypatch.setattr(watchdog, "BACK_OFF_S", (0.01, 0.02))
    monkeypatch.setattr(watchdog, "RELEASE_S", 0.2)


class Told(list):
    """The events so far."""

    def kinds(self) -> list[str]:
        return [event.kind for event in self]

    def wait_for(self, kind: str, count: int = 1) -> Event:
        until(lambda: self.kinds().count(kind) >= count)
        return [event for event in self if event.kind == kind][count - 1]


def until(holds, limit_s: float = 10) -> None:
    deadline_s = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.002)


def stream_of(device: FakeDevice, told: Told | None = None, ring: Ring | None = None, **options) -> Stream:
    on_event = (Told() if told is None else told).append
    return Stream(device.connect, ring=ring or Ring(RING_BYTES), on_event=on_event, **options)


def fetch(stream: Stream, count: int) -> list:
    return [stream.get(timeout_s=10) for _ in range(count)]


def check_accounts(stream: Stream) -> None:
    counts = stream.counts
    assert counts.captured == counts.delivered + sum(counts.dropped.values()) + counts.in_ring


def check_numbers(frames: list) -> None:
    for before, after in itertools.pairwise(frame.meta for frame in frames):
        assert after.sequence == before.sequence + 1 + after.lost_before


def test_frames_come_and_the_camera_is_let_go(device):
    with stream_of(device, told := Told()) as stream:
        assert (stream.state, stream.camera_id, stream.applied.exposure_s) == ("running", "CAM-A", 0.001)
        frames = fetch(stream, 10)
        assert [frame.meta.sequence for frame in frames] == list(range(10))
        check_accounts(stream)
    assert stream.state == "closed" and (device.opened, device.closed) == (1, 1)
    assert told.kinds() == ["opened"]
    assert stream.get() is None and list(stream.frames()) == []
    check_accounts(stream)
    stream.close()


def test_what_was_captured_can_be_fetched_after_a_stop(device):
    with stream_of(device) as stream:
        until(lambda: stream.counts.in_ring > 5)
        stream.stop()
        until(lambda: stream.state == "closed")
        rest = stream.counts.in_ring
        assert len(list(stream.frames())) == rest
        assert set(stream.counts.dropped) <= {"stopped"}


def test_what_nobody_fetched_is_counted_when_it_is_closed(device):
    with stream_of(device) as stream:
        until(lambda: stream.counts.in_ring > 5)
    assert stream.counts.dropped["never fetched"] > 5 and stream.counts.in_ring == 0
    check_accounts(stream)


def test_settings_are_asked_for_and_read_back(device):
    with stream_of(device, wanted=CameraSettings(exposure_s=9.0)) as stream:
        assert stream.applied.exposure_s == 0.5
        assert stream.get(5).meta.exposure_s == 0.5


@pytest.mark.parametrize(
    "error", [CameraError("not there"), CameraLost("gone"), ConfigurationError("no such"), InputError("bad file")]
)
def test_what_the_first_opening_raises_is_raised_at_once(error):
    def connect():
        raise error

    with pytest.raises(type(error), match=str(error)):
        Stream(connect, ring=Ring(100))


def test_a_camera_that_refuses_the_settings_is_closed_again(device):
    def refuse():
        camera = device.connect()
        camera.configure = lambda wanted: (_ for _ in ()).throw(ConfigurationError("no such setting"))
        return camera

    with pytest.raises(ConfigurationError, match="no such setting"):
        Stream(refuse, ring=Ring(100))
    assert device.closed == 1


def test_ctrl_c_ends_the_wait_for_a_camera_that_does_not_open(device, quick):
    device.hang()
    main = threading.main_thread().ident
    timer = threading.Timer(0.1, lambda: signal.pthread_kill(main, signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        stream_of(device)
    device.wake()
    timer.join()
    until(lambda: device.opened == device.closed == 1)


def test_a_source_that_has_ended_ends_the_stream(device):
    device.frames_left = 5
    with stream_of(device) as stream:
        assert len(list(stream.frames())) == 5
        until(lambda: stream.state == "ended")
        assert stream.counts.delivered == 5 and device.closed == 1
    assert stream.state == "ended"


def test_a_simulated_camera_waits_for_its_reader_and_loses_nothing():
    def connect():
        return SimulatedCamera(
            lambda settings, sequence: np.full((4, 4), sequence % 200, np.uint8),
            **dict(camera_id="SIM", shape=(4, 4), bit_depth=8, black_level_dn=0, exposure_s=0.01),
        )

    with Stream(connect, ring=Ring(40)) as stream:  # two frames
        until(lambda: stream.counts.in_ring == 2)
        # Settings do not wait for room in the ring.
        assert stream.configure(CameraSettings(exposure_s=0.02), timeout_s=5).exposure_s == 0.02
        frames = fetch(stream, 300)
        assert [frame.meta.sequence for frame in frames] == list(range(300))
        assert [frame.meta.exposure_s for frame in frames[:3]] == [0.01] * 3 and frames[-1].meta.exposure_s == 0.02
        assert stream.counts.dropped == {}


def test_a_source_that_waits_is_not_begun_again(device):
    """Its frames would come a second time."""
    device.live = False
    with stream_of(device) as stream:
        fetch(stream, 3)
        device.unplug()
        with pytest.raises(CameraLost, match="is gone"):
            list(stream.frames())
        assert device.opened == 1 and stream.state == "failed"


def test_a_source_that_waits_may_be_slow(device):
    device.live = False
    with stream_of(device, told := Told(), stall_s=0.05) as stream:
        fetch(stream, 1)
        device.hang()
        assert "still waiting" in told.wait_for("stalled").text and stream.state == "stalled"
        device.wake()
        assert told.wait_for("back").outage_s > 0 and stream.state == "running"
        assert device.opened == 1 and told.kinds() == ["opened", "stalled", "back"]


def test_a_camera_that_was_lost_is_opened_again_and_numbers_go_on(device, quick):
    with stream_of(device, told := Told(), wanted=CameraSettings(exposure_s=0.003)) as stream:
        frames = fetch(stream, 5)
        device.unplug()
        lost = told.wait_for("lost")
        assert lost.text == "camera 'CAM-A' is gone; connecting again in 0.01 s, attempt 1" and stream.state == "lost"
        told.wait_for("waiting", 2)
        device.plugged, device.lost_before = "CAM-A", 3
        back = told.wait_for("back")
        assert back.outage_s == pytest.approx((back.t_mono_ns - lost.t_mono_ns) * 1e-9, abs=0.1)
        assert stream.state == "running"
        frames += fetch(stream, stream.counts.in_ring + 5)
        check_numbers(frames)
        assert frames[-1].meta.exposure_s == 0.003  # a device that was replugged has forgotten it
        assert [frame.meta.lost_before for frame in frames if frame.meta.lost_before] == [3]
        check_accounts(stream)
    assert device.opened == device.closed == 2


def test_settings_that_come_back_otherwise_are_told(device, quick):
    with stream_of(device, told := Told(), wanted=CameraSettings(exposure_s=0.4)) as stream:
        fetch(stream, 1)
        device.exposures_s = (1e-4, 0.1)
        device.unplug()
        told.wait_for("lost")
        device.plugged = "CAM-A"
        assert "exposure_s=0.1" in told.wait_for("settings differ").text
        assert stream.applied.exposure_s == 0.1


def test_another_camera_is_left_alone(device, quick):
    with stream_of(device, told := Told()) as stream:
        fetch(stream, 1)
        device.unplug()
        told.wait_for("lost")
        device.plugged = "CAM-B"
        assert "'CAM-B' is where 'CAM-A' was" in told.wait_for("other camera").text
        until(lambda: device.opened == device.closed > 1)
        device.plugged = "CAM-A"
        told.wait_for("back")
        assert {frame.meta.camera_id for frame in fetch(stream, stream.counts.in_ring)} == {"CAM-A"}


def test_after_the_stated_tries_the_camera_is_lost_for_good(device, quick):
    with stream_of(device, told := Told(), retries=3) as stream:
        fetch(stream, 1)
        device.unplug()
        with pytest.raises(CameraLost, match=r"camera 'CAM-A' did not come back: 3 tries .*attach it.*Check") as caught:
            list(stream.frames())
        assert caught.value.exit_code == 3
        assert told.kinds() == ["opened", "lost", "waiting", "waiting"] and "attempt 2 of 3" in told[2].text
        assert stream.state == "failed"
        with pytest.raises(CameraLost):
            stream.get()
        check_accounts(stream)


def test_a_frame_ends_the_count_of_tries(device, quick):
    with stream_of(device, told := Told(), retries=2) as stream:
        for cycle in range(4):
            fetch(stream, 1)
            device.unplug()
            told.wait_for("lost", cycle + 1)
            device.plugged = "CAM-A"
            told.wait_for("back", cycle + 1)


def test_no_tries_at_all(device):
    with stream_of(device, retries=0) as stream:
        device.unplug()
        with pytest.raises(CameraLost, match="0 tries"):
            list(stream.frames())
    with pytest.raises(ConfigurationError, match="-1 tries"):
        stream_of(device, retries=-1)


def test_tries_come_at_most_two_seconds_apart():
    assert watchdog.BACK_OFF_S == (0.25, 0.5, 1.0, 2.0)


@pytest.mark.parametrize("error", [InputError("part 3 is damaged"), ValueError("a bug in a driver")])
def test_errors_that_are_not_the_camera_s_are_not_tried_again(device, error):
    with stream_of(device) as stream:
        fetch(stream, 1)
        device.error = error
        with pytest.raises(type(error), match=str(error)):
            list(stream.frames())
        assert stream.state == "failed" and device.opened == device.closed == 1


def test_a_recorder_that_is_too_slow_is_stopped_and_keeps_what_it_has(device):
    device.period_s = 0
    with stream_of(device, ring=Ring(10 * 24, "never-drop")) as stream:
        until(lambda: stream.state == "failed")
        assert [frame.meta.sequence for frame in fetch(stream, 10)] == list(range(10))
        with pytest.raises(Overrun, match="frame 10 of camera 'CAM-A'"):
            stream.get()
        assert stream.counts.dropped == {"overrun": 1}
        check_accounts(stream)


def test_settings_change_while_it_runs(device):
    with stream_of(device) as stream:
        applied = stream.configure(CameraSettings(exposure_s=0.002))
        assert applied == stream.applied and applied.exposure_s == 0.002
        assert next(frame for frame in stream.frames() if frame.meta.settings_id == applied.id)
    with pytest.raises(CameraError, match="closed"):
        stream.configure(CameraSettings())


def test_settings_that_are_refused_leave_the_stream_as_it_is(device):
    def connect():
        camera = device.connect()
        configure = camera.configure

        def picky(wanted):
            if wanted.binning == (7, 7):
                raise ConfigurationError("binning 7: expected 1 or 2")
            return configure(wanted)

        camera.configure = picky
        return camera

    with Stream(connect, ring=Ring(RING_BYTES)) as stream:
        with pytest.raises(ConfigurationError, match="binning 7"):
            stream.configure(CameraSettings(binning=(7, 7)))
        until(lambda: stream.newest(5).meta.sequence > 10)
        assert stream.state == "running"


def test_settings_that_a_driver_took_too_long_for_are_not_those_of_the_stream(device, quick):
    def connect():
        camera = device.connect()
        configure = camera.configure

        def slow(wanted):
            if wanted.exposure_s == 0.004:
                device.hang()
            return configure(wanted)

        camera.configure = slow
        return camera

    told = Told()
    with Stream(connect, ring=Ring(RING_BYTES), on_event=told.append, open_s=0.1) as stream:
        with pytest.raises(CameraError, match="it is stalled"):
            stream.configure(CameraSettings(exposure_s=0.004), timeout_s=0.3)
        device.wake()
        told.wait_for("back")
        assert stream.applied.exposure_s == 0.001
    until(lambda: device.opened == device.closed)


def test_settings_that_nobody_applies_are_a_clear_error(device, quick):
    with stream_of(device, told := Told()) as stream:
        device.unplug()
        told.wait_for("lost")
        with pytest.raises(CameraError, match=r"within 0\.05 s; it is lost"):
            stream.configure(CameraSettings(exposure_s=0.002), timeout_s=0.05)
        device.plugged = "CAM-A"
        told.wait_for("back")
        assert stream.configure(CameraSettings(exposure_s=0.003)).exposure_s == 0.003


def test_a_driver_that_hangs_is_left_behind_and_its_frame_never_comes(device, quick):
    with stream_of(device, told := Told(), stall_s=0.1) as stream:
        fetch(stream, 3)
        device.hang()
        text = told.wait_for("stalled").text
        assert "has given nothing after frame" in text and "attempt 1" in text and stream.state == "stalled"
        while stream.get(timeout_s=0) is not None:
            pass
        time.sleep(0.1)  # the next opening hangs, too
        device.wake()
        told.wait_for("back")
        until(lambda: device.closed == 1)
        check_numbers(fetch(stream, 20))
        check_accounts(stream)
    until(lambda: device.opened == device.closed)


def test_exposure_is_no_stall(device):
    device.period_s = 0.3
    with stream_of(device, told := Told(), stall_s=0.05, wanted=CameraSettings(exposure_s=0.3)) as stream:
        fetch(stream, 2)
        assert told.kinds() == ["opened"]


def test_a_driver_that_says_that_it_goes_on_is_no_stall(device):
    class Settles(FakeCamera):
        def configure(self, wanted):
            for _ in range(20 if wanted.exposure_s else 0):
                alive()
                time.sleep(0.02)
            return super().configure(wanted)

    told = Told()
    with Stream(lambda: Settles(device), ring=Ring(RING_BYTES), on_event=told.append, open_s=0.15) as stream:
        assert stream.configure(CameraSettings(exposure_s=0.02)).exposure_s == 0.02
        assert told.kinds() == ["opened"]


def test_a_driver_that_hangs_each_time_does_not_take_ever_more_threads(device, quick):
    with stream_of(device, told := Told(), stall_s=0.02, open_s=0.02) as stream:
        device.hang()
        until(lambda: any("4 calls of its driver hang" in event.text for event in told))
        assert sum(thread.name == "camera" for thread in threading.enumerate()) == 4
        device.wake()
        told.wait_for("back")
        assert stream.state == "running"
    until(lambda: device.opened == device.closed)


def test_a_camera_that_repeats_itself_is_lost(device, quick):
    with stream_of(device, told := Told()) as stream:
        frames = fetch(stream, 5)
        device.sent = 2
        assert "sent frame 2 after frame" in told.wait_for("lost").text
        told.wait_for("back")
        check_numbers(frames + fetch(stream, stream.counts.in_ring))


def test_frames_that_the_numbers_leave_out_are_counted(device):
    with stream_of(device) as stream:
        frames = fetch(stream, 3)
        device.sent += 7
        frames += fetch(stream, stream.counts.in_ring + 5)
        check_numbers(frames)
        assert stream.counts.dropped == {"before the ring": 7}


def test_a_frame_of_another_camera_is_not_delivered(device, quick):
    with stream_of(device, told := Told()) as stream:
        fetch(stream, 1)
        device.ghost = "CAM-B"
        assert "sent a frame of camera 'CAM-B'" in told.wait_for("lost").text
        device.ghost = None
        told.wait_for("back")
        assert {frame.meta.camera_id for frame in fetch(stream, stream.counts.in_ring)} == {"CAM-A"}


def test_a_camera_that_does_not_close_in_order_is_told(device):
    device.fails_close = True
    with stream_of(device, told := Told()) as stream:
        fetch(stream, 1)
    assert told.kinds() == ["opened", "close failed"] and "did not answer when it was closed" in told[-1].text


def test_a_listener_that_fails_ends_the_stream(device, quick):
    def listen(event):
        if event.kind == "lost":
            raise RuntimeError("the log is full")

    with Stream(device.connect, ring=Ring(RING_BYTES), on_event=listen) as stream:
        fetch(stream, 1)
        device.unplug()
        with pytest.raises(RuntimeError, match="the log is full"):
            list(stream.frames())
        assert stream.state == "failed" and device.closed == 1


@pytest.mark.parametrize("kind", ["opened", "lost", "back"])
def test_a_listener_that_wants_to_exit_ends_the_stream(device, quick, kind):
    def listen(event):  # rich does so when the pipe that it prints to is broken
        if event.kind == kind:
            raise SystemExit(1)

    with Stream(device.connect, ring=Ring(RING_BYTES), on_event=listen) as stream:
        device.unplug()
        if kind == "back":
            until(lambda: stream.state == "lost")
            device.plugged = "CAM-A"
        until(lambda: stream.state == "failed")
        with pytest.raises(SystemExit):
            list(stream.frames())
    assert device.opened == device.closed


@pytest.mark.parametrize("call", ["connect", "configure", "frames", "close"])
def test_a_driver_that_wants_to_exit_ends_the_stream(device, call):
    class Exits(FakeCamera):
        def configure(self, wanted):
            if call == "configure" and wanted.exposure_s == 0.02:
                raise SystemExit("driver")
            return super().configure(wanted)

        def frames(self):
            if call == "frames":
                raise SystemExit("driver")
            return super().frames()

        def close(self):
            super().close()
            if call == "close":
                raise SystemExit("driver")

    def connect():
        if call == "connect":
            raise SystemExit("driver")
        return Exits(device)

    if call == "connect":
        with pytest.raises(SystemExit):
            Stream(connect, ring=Ring(RING_BYTES))
        return
    with Stream(connect, ring=Ring(RING_BYTES), on_event=(told := Told()).append) as stream:
        if call == "configure":
            with pytest.raises(SystemExit):
                stream.configure(CameraSettings(exposure_s=0.02))
        if call != "close":
            until(lambda: stream.state == "failed")
            with pytest.raises(SystemExit, match="driver"):
                list(stream.frames())
    assert told.kinds()[-1] == ("close failed" if call == "close" else "opened") and device.opened == device.closed


def test_a_listener_may_close_the_stream(device):
    streams = []

    def listen(event):
        if event.kind == "lost":
            streams[0].close()

    with Stream(device.connect, ring=Ring(RING_BYTES), on_event=listen) as stream:
        streams.append(stream)
        device.unplug()
        until(lambda: stream.state == "closed")
        assert list(stream.frames()) == [] and device.closed == 1


def test_without_a_listener_the_log_is_told(device, caplog):
    caplog.set_level(logging.INFO)
    with Stream(device.connect, ring=Ring(RING_BYTES), retries=0) as stream:
        fetch(stream, 1)
        device.fails_close = True
    levels = {record.getMessage().split(":")[0]: record.levelname for record in caplog.records}
    assert levels == {"camera 'CAM-A' is open": "INFO", "camera 'CAM-A' did not close in order": "WARNING"}
