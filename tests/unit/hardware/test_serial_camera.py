"""A sensor board as a camera, through real pseudo-terminals: what it promises, and what it says when it cannot."""

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import re
import socket
import termios
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from hardware import CameraSettings, SimulatedCamera, open_camera
from hardware.emulators.board import EmulatedBoard
from hardware.emulators.board_on_line import BoardOnLine
from hardware.emulators.terminal import Terminal
from hardware.errors import CameraError, CameraLost, ConfigurationError, DeviceError, DeviceLost
from hardware.same_camera import SameCamera
from hardware.serial_board import messages
from hardware.serial_board.address import BoardOptions, parse_place
from hardware.serial_board.camera import SerialCamera
from hardware.serial_board.clock import DRIFT, BoardClock
from hardware.serial_board.led_matrix import LedMatrix
from hardware.serial_board.packet import Packet, PacketReader, encode
from hardware.serial_port import SerialPort
from hardware.stream import Ring, Stream

if os.name != "posix":
    pytest.skip("no pseudo-terminals here", allow_module_level=True)

SHAPE = (24, 32)
PROTOCOL = pathlib.Path(__file__).resolve().parents[3] / "hardware" / "firmware" / "PROTOCOL.md"


def expose(settings: CameraSettings, sequence: int) -> np.ndarray:
    return np.random.default_rng(sequence).integers(0, 4096, SHAPE).astype(np.uint16)


def sensor() -> SimulatedCamera:
    return SimulatedCamera(
        expose, camera_id="S", shape=SHAPE, bit_depth=12, black_level_dn=5, exposure_s=0.001,
        exposure_range_s=(1e-4, 0.01),
    )  # fmt: skip


@pytest.fixture
def plug(tmp_path):
    """Plugs a board in; returns it and its port. `packet_bytes` is small, so that what happens happens in mid-frame."""
    with contextlib.ExitStack() as plugged:

        def put(board: EmulatedBoard | None = None, name: str = "board", **options) -> tuple[BoardOnLine, str]:
            board = board or EmulatedBoard(sensor(), packet_bytes=100)
            line = BoardOnLine(board, Terminal(tmp_path / name), **options)
            plugged.enter_context(line)
            return line, str(tmp_path / name)

        yield put


@pytest.fixture
def talker(tmp_path):
    """A device that is no board: each piece that it gets is given to `says`, whose answer it sends."""
    with contextlib.ExitStack() as plugged:

        def put(says, name: str = "talker") -> str:
            terminal, ended = plugged.enter_context(Terminal(tmp_path / name)), threading.Event()

            def run() -> None:
                while not ended.is_set():
                    terminal.write(says(terminal.read(0.02)))

            thread = threading.Thread(target=run, daemon=True)
            thread.start()
            plugged.callback(thread.join)
            plugged.callback(ended.set)
            return str(tmp_path / name)

        yield put


def test_frames_are_those_of_the_sensor_with_the_facts_that_the_board_tells(plug):
    _, port = plug()
    with open_camera(f"serial:{port}?exposure_s=0.002&gain_db=3.5") as camera:
        before_ns = time.monotonic_ns()
        frames = camera.snap(4)
        for frame in frames:
            assert (frame.pixels == expose(None, frame.meta.sequence + 1)).all()
            assert before_ns <= frame.meta.t_host_ns <= time.monotonic_ns()
        meta = frames[0].meta
        assert (meta.exposure_s, meta.gain_db, meta.black_level_dn, meta.bit_depth) == (0.002, 3.5, 5, 12)
        assert meta.raw and meta.t_device_ns > 0 and camera.camera_id == "board-EMULATED-1"
        assert camera.facts["sensor"] == "S" and camera.facts["mode"] == "32x24 Mono12"


def test_settings_are_what_the_board_has_read_back(plug):
    _, port = plug()
    with open_camera(f"serial:{port}") as camera:
        applied = camera.configure(CameraSettings(exposure_s=0.5))  # the sensor can do 10 ms
        assert applied.exposure_s == pytest.approx(0.01) and camera.snap(1)[0].meta.exposure_s == applied.exposure_s
        with pytest.raises(ConfigurationError, match=r"region.*mode= in its address"):
            camera.configure(CameraSettings(region=(0, 0, 4, 4)))


def test_another_mode_is_asked_for_by_the_address(plug):
    _, port = plug()
    with open_camera(f"serial:{port}?mode=1") as camera:
        assert camera.snap(1)[0].shape == (12, 16)
    with pytest.raises(ConfigurationError, match=r"no mode 7; it has 0: 32x24 Mono12, 1: 16x12 Mono12"):
        open_camera(f"serial:{port}?mode=7")


def test_frames_that_the_line_loses_are_counted_in_the_next(plug):
    line, port = plug()
    with open_camera(f"serial:{port}") as camera:
        line.do("noise 0.0003")
        frames = camera.snap(40) + list(itertools.islice(camera.frames(), 40))
        assert [frame.meta.sequence for frame in frames] == sorted({frame.meta.sequence for frame in frames})
        lost, expected = 0, 0
        for frame in frames:
            assert frame.meta.sequence == expected + frame.meta.lost_before
            assert (frame.pixels == expose(None, frame.meta.sequence + 1)).all()
            lost, expected = lost + frame.meta.lost_before, frame.meta.sequence + 1
        assert lost > 0
        line.do("noise 0")
        assert camera.snap(1)[0].meta.sequence + 1 == line.board.taken


def test_a_quiet_line_loses_nothing_however_frames_are_asked_for(plug):
    _, port = plug()
    with open_camera(f"serial:{port}") as camera:
        frames = [frame for count in (1, 1, 3, 1, 7) * 8 for frame in camera.snap(count)]
        assert [frame.meta.sequence for frame in frames] == list(range(104))
        assert camera.facts["lost_frames"] == camera.facts["damaged_packets"] == 0


# Whichever was lost more often, frames or answers.
NOISY = r"(\d+ frames in a row began to come, and none came whole|has not answered 's' for .* s) \(\d+ damaged packets"


def test_a_line_that_lets_no_frame_through_is_lost_with_its_numbers(plug):
    line, port = plug()
    with open_camera(f"serial:{port}") as camera:
        line.do("noise 0.005")
        with pytest.raises(CameraLost, match=NOISY):
            camera.snap(1)
        line.do("noise 0")  # or the board's answer to the next opening may be lost, too
    with open_camera(f"serial:{port}") as camera:
        line.do("noise 0.005")
        with pytest.raises(CameraLost, match=NOISY):
            next(camera.frames())


@pytest.mark.parametrize("fault", ["unplug", "restart", "stall 0.1", "mode", "noise 0"])
def test_a_fault_befalls_a_board_whose_host_does_not_read(plug, fault):
    line, port = plug()
    with open_camera(f"serial:{port}") as camera:
        next(camera.frames())
        time.sleep(0.2)  # the line is full
        began_s = time.monotonic()
        line.do(fault)
        assert time.monotonic() - began_s < 2


def test_a_reader_that_pauses_loses_frames_and_not_the_camera(plug):
    line, port = plug()
    with open_camera(f"serial:{port}") as camera:
        running = camera.frames()
        first = next(running)
        time.sleep(0.3)  # the line is full, and the board waits
        line.board._sequence += 500  # frames that it cannot send keep their numbers
        frames = list(itertools.islice(running, 300))
        numbers = [first.meta.sequence, *(frame.meta.sequence for frame in frames)]
        gaps = [after - before - 1 for before, after in itertools.pairwise(numbers)]
        assert gaps == [frame.meta.lost_before for frame in frames] and sum(gaps) == 500


def test_numbers_begin_anew_after_32_bits_and_frames_go_on(plug):
    _, port = plug(EmulatedBoard(sensor(), first=2**32 - 3))
    with open_camera(f"serial:{port}") as camera:
        assert [frame.meta.sequence for _ in range(4) for frame in camera.snap(2)] == [*range(8)]
        assert [frame.meta.sequence for frame in itertools.islice(camera.frames(), 3)] == [8, 9, 10]
        assert camera.facts["lost_frames"] == 0


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("unplug", "pulled out"),
        ("restart", "started anew"),
        ("mode", "from 32x24 Mono12 to 16x12 Mono12 by itself"),
        ("stall 4", "has not answered"),
    ],
)
def test_a_fault_in_mid_stream_is_one_clear_error_within_2_s(plug, fault, says):
    line, port = plug()
    with open_camera(f"serial:{port}") as camera:
        running = camera.frames()
        last = next(running).meta.sequence
        line.do(fault)
        began_s = time.monotonic()
        with pytest.raises(CameraLost, match=rf"is lost after \d+ frames? of this connection: .*{says}.*open it anew"):
            for frame in running:
                assert frame.meta.sequence == last + 1 + frame.meta.lost_before
                last = frame.meta.sequence
        assert time.monotonic() - began_s < 2.2
        with pytest.raises(CameraLost):
            camera.snap(1)


def test_a_frame_that_was_under_way_when_the_board_went_is_counted(plug):
    line, port = plug(fps=50, baud=200_000)  # a frame takes 86 ms: there is always one under way
    with Stream(SameCamera(f"serial:{port}"), ring=Ring(2**20)) as stream:
        before = stream.get(5)
        line.do("restart")
        while (after := stream.get(5)).meta.lost_before == 0:
            before = after
    assert after.meta.lost_before == 1 and after.meta.sequence == before.meta.sequence + 2
    assert after.meta.t_device_ns > before.meta.t_device_ns


def test_a_stream_goes_on_with_the_same_board_under_another_name_and_with_no_other(plug):
    line, port = plug(fps=200)
    first_name = line.terminal.path
    with Stream(
        SameCamera(f"serial:{port}"), ring=Ring(2**20, "drop-oldest"), wanted=CameraSettings(exposure_s=0.004)
    ) as stream:
        frames = stream.frames()
        before = next(frames)
        line.do("unplug")
        line.do("replug")
        while (after := next(frames)).meta.t_device_ns <= before.meta.t_device_ns or stream.camera_id is None:
            before = after
        assert line.terminal.path != first_name and after.meta.exposure_s == 0.004
        assert after.meta.sequence > before.meta.sequence
        line.board.hello = dataclasses.replace(line.board.hello, serial="ANOTHER")
        line.do("restart")
        time.sleep(1.0)
        assert stream.camera_id == "board-EMULATED-1" and stream.state != "running"


def test_it_is_known_by_its_usb_serial_number(plug):
    line, _ = plug()

    def listing():
        return [SimpleNamespace(device=line.terminal.path, serial_number="E66", description="Pico")]

    with SerialCamera(line.terminal.path, listing=listing) as camera:
        assert camera.facts["address"] == "serial:id:E66?mode=0"
    line.do("replug")
    with SerialCamera("id:E66?exposure_s=0.003", listing=listing) as camera:
        assert camera.facts["address"] == "serial:id:E66?mode=0&exposure_s=0.003" and camera.snap(1)
    with pytest.raises(CameraError, match=r"no serial port with serial number 'E67'.*there is 'E66'"):
        SerialCamera("id:E67", listing=listing)
    with pytest.raises(ConfigurationError, match=r"is that of .* and .*by-path"):
        SerialCamera("id:E66", listing=lambda: listing() * 2)


def test_a_port_in_use_is_refused_and_its_user_goes_on(plug):
    _, port = plug()
    with open_camera(f"serial:{port}") as camera:
        with pytest.raises(CameraError, match="another program has it open"):
            open_camera(f"serial:{port}")
        assert camera.snap(1)


def test_a_silent_port_and_one_that_is_no_board_are_told_apart(talker):
    place = talker(lambda data: b"")
    with pytest.raises(CameraError, match=r"is silent: no board has answered for 0 s.*firmware"):
        SerialCamera(place, hello_s=0.3)
    place = talker(lambda data: b"$GPGGA,12\r\n" if data else b"", "receiver")
    with pytest.raises(CameraError, match=r"is no sensor board, or of another speed: \d+ bytes came.*baud="):
        SerialCamera(place, hello_s=0.4)


def test_a_board_of_a_newer_protocol_says_so(plug):
    _, port = plug(EmulatedBoard(sensor(), version=2))
    with pytest.raises(CameraError, match=r"it speaks protocol 2, this program 1; update"):
        open_camera(f"serial:{port}")


def test_a_board_that_is_reset_by_the_opening_is_waited_for(talker):
    """Deaf for a while, as in a boot loader, then it says hello by itself."""
    board, opened = EmulatedBoard(sensor()), []

    def says(data: bytes) -> bytes:
        opened.extend([time.monotonic()] if data and not opened else [])
        if not opened or time.monotonic() < opened[0] + 0.7:
            return b"boot ROM v3\r\n" if data else b""
        return board.take(data) + b"".join(iter(board.next_packet, b""))

    with SerialCamera(talker(says), hello_s=3) as camera:
        assert camera.snap(2)


def test_a_board_that_starts_again_and_again_says_so(talker):
    board, reader = EmulatedBoard(sensor()), PacketReader()

    def says(data: bytes) -> bytes:
        asked = [packet.kind for packet in reader.feed(data)]
        return board.restart() if asked and messages.HELLO_WANTED not in asked else board.take(data)

    with pytest.raises(CameraError, match=r"started again 3 times.*power.*dtr=off"):
        SerialCamera(talker(says), hello_s=2)


@pytest.mark.parametrize(
    "hello",
    [
        b"", b"[" * 4000, b"[]", b"{}", b'{"protocol": "1"}', b"\xff\xfe", b'{"protocol": 1e999}', b'{"protocol": 1}',
        *(
            ("protocol", value) for value in (0, -1, None, True)
        ),
        ("serial", ""), ("serial", "a\x1b[2J"), ("serial", "a" * 65), ("modes", 7), ("modes", [7]), ("modes", [{}]),
        ("modes", [{"rows": 60000, "columns": 60000, "bit_depth": 16, "pixel_format": "Mono16"}]),
        ("modes", [{"rows": True, "columns": 4, "bit_depth": 8, "pixel_format": "Mono8"}]),
        ("modes", [{"rows": 4, "columns": 4, "bit_depth": 0, "pixel_format": "Mono8"}]),
        ("exposure_us", [5, 1]), ("exposure_us", "ab"), ("gain_db", [0, float("nan")]), ("black_level_dn", -1),
        ("raw", "yes"), ("matrix", [1000, 1000]), ("matrix", [2.0, 3.0]), ("matrix", [1, 2, 3]), ("matrix", [True, 2]),
        ("matrix", [0.5, 3]), ("matrix", 5), ("black_level_dn", "8"),
    ],
)  # fmt: skip
def test_a_hello_of_nonsense_is_one_clear_error(talker, hello):
    good = json.loads(EmulatedBoard(sensor()).hello.to_json())
    body = hello if isinstance(hello, bytes) else json.dumps(good | {hello[0]: hello[1]}).encode()
    with pytest.raises(CameraError, match=r"is not understood: .+; update its firmware"):
        SerialCamera(talker(lambda data: hello_to(data, 7, body)), hello_s=1)


def hello_to(data: bytes, boot: int, body: bytes) -> bytes:
    return b"".join(encode(Packet(messages.HELLO, boot, packet.number, body)) for packet in PacketReader().feed(data))


def test_a_board_without_a_boot_is_told_of(talker):
    body = EmulatedBoard(sensor()).hello.to_json()
    with pytest.raises(CameraError, match="its boot is 0"):
        SerialCamera(talker(lambda data: hello_to(data, 0, body)), hello_s=1)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (messages.BEGIN, messages.begin_body(messages.Begin(0, 65535, 65535, 16, 1000, 0, 0, None))),
        (messages.BEGIN, b"short"),
        (messages.BEGIN, messages.begin_body(messages.Begin(9, *SHAPE, 12, 1000, 0, 0, None))),
        (messages.BEGIN, messages.begin_body(messages.Begin(0, *SHAPE, 12, 0, 0, 0, None))),
        (messages.BEGIN, messages.begin_body(messages.Begin(0, *SHAPE, 12, 1000, 0, 2**64 - 1, None))),
        (messages.STREAMING, b"x"),
    ],
)
def test_a_board_that_sends_what_no_board_may_is_told_of(talker, kind, body):
    board, reader = EmulatedBoard(sensor()), PacketReader()

    def says(data: bytes) -> bytes:
        asked = b"".join(
            encode(Packet(kind, board.boot, 0, body)) for one in reader.feed(data) if one.kind == messages.STREAM
        )
        return board.take(data) + asked * (board.begins_frame)

    with SerialCamera(talker(says)) as camera, pytest.raises(CameraError, match=r"is not understood: .+update"):
        camera.snap(1)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("", "is not a serial device"),
        ("/dev/nothing-here", "is not there"),
        ("/dev/null", "is not a serial device"),
        ("/etc/passwd", "is not a serial device"),
        ("spy:///dev/null?file=/tmp/x", "no option 'file'"),
        ("socket://127.0.0.1:9", "is not there"),
        ("loop://", "is not there"),
        ("rfc2217://127.0.0.1:9", "is not there"),
        ("/dev/ttyACM0?mode=x", "expected a number from 0 on"),
        ("/dev/ttyACM0?mode=1&mode=2", "stands twice"),
        ("/dev/ttyACM0?exposure=1", r"did you mean exposure_s="),
        ("/dev/ttyACM0?baud=0", "expected bits per second"),
        ("/dev/ttyACM0?exposure_s=-1", "expected a number above 0"),
        ("/dev/ttyACM0?exposure_s=1e999", "expected a number above 0"),
        ("/dev/ttyACM0?dtr=maybe", "expected on or off"),
    ],
)
def test_an_address_that_cannot_be_is_one_clear_error(place, says):
    with pytest.raises((CameraError, ConfigurationError), match=says):
        open_camera(f"serial:{place}")


def test_nothing_is_ever_opened_as_a_url(tmp_path):
    """pyserial's `spy://` writes the file that it is given, `socket://` connects."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(0.2)
        spied = tmp_path / "spied"
        for place in (f"spy:///dev/null?file={spied}", f"socket://127.0.0.1:{server.getsockname()[1]}"):
            with pytest.raises((CameraError, ConfigurationError)):
                open_camera(f"serial:{place}")
        assert not spied.exists()
        with pytest.raises(TimeoutError):
            server.accept()


def test_options_of_an_address():
    asked = parse_place("/dev/ttyACM0?mode=1&exposure_s=1e-3&gain_db=-2.5&baud=921600&dtr=off")
    assert asked == ("/dev/ttyACM0", BoardOptions(mode=1, exposure_s=1e-3, gain_db=-2.5, baud=921_600, dtr="off"))


def test_close_from_another_thread_ends_a_reader_and_tells_the_board_to_stop(plug):
    line, port = plug()
    camera = open_camera(f"serial:{port}")
    got = []
    thread = threading.Thread(target=lambda: got.extend(camera.frames()))
    thread.start()
    while not got:
        time.sleep(0.001)
    camera.close()
    thread.join(2)
    assert not thread.is_alive()
    until_s = time.monotonic() + 2
    while line.board.in_frame or line.board.begins_frame:
        assert time.monotonic() < until_s, "the board goes on"
        time.sleep(0.01)


def test_a_host_that_was_killed_leaves_a_board_that_the_next_one_can_use(plug):
    _, port = plug()
    first = open_camera(f"serial:{port}")
    next(first.frames())
    first._link.port.close()  # without a word: the board goes on sending
    with open_camera(f"serial:{port}") as camera:
        numbers = [frame.meta.sequence for frame in camera.snap(3)]
        assert numbers == [0, 1, 2] and camera.snap(1)[0].meta.lost_before == 0


def test_the_clock_of_a_board_is_known_as_well_as_its_answers_allow():
    offset_ns = 5_000_000_123
    clock = BoardClock(offset_ns - 400_000, 0, offset_ns + 600_000)
    assert abs(clock.host_ns(0) - offset_ns) <= 500_000
    for second in range(1, 100):  # a crystal that is 80 parts in a million slow, and frames that take 2 to 3 ms to come
        truth_ns = offset_ns + second * 10**9
        clock_us = round(second * 1e6 * (1 - 80e-6))
        clock.arrived(clock_us, truth_ns + 2_000_000 + (second * 7919 % 1000) * 1000)
        if second % 10 == 0:
            clock.answered(truth_ns - 200_000, clock_us, truth_ns + 300_000)
            assert abs(clock.host_ns(clock_us) - truth_ns) <= 500_000
        assert abs(clock.host_ns(clock_us) - truth_ns) <= 500_000 + 10 * DRIFT * 1e9


def test_a_board_that_answers_and_sends_no_frames_is_lost(talker, monkeypatch):
    monkeypatch.setattr("hardware.serial_board.reception.NO_FRAME_S", 0.5)
    board = EmulatedBoard(sensor())
    place = talker(board.take)
    for use in (lambda camera: camera.snap(1), lambda camera: next(camera.frames())):
        with (
            SerialCamera(place) as camera,
            pytest.raises(CameraLost, match=r"answers, and sends no frames; look at the wires"),
        ):
            use(camera)
    head = messages.begin_body(messages.Begin(0, *SHAPE, 12, 1000, 0, 0, None))

    def says(data: bytes) -> bytes:
        return board.take(data) + encode(Packet(messages.BEGIN, board.boot, board._sequence, head)) * board.begins_frame

    with SerialCamera(talker(says, "begins")) as camera, pytest.raises(CameraLost, match="none came whole"):
        camera.snap(1)


def test_a_clock_that_drifts_is_followed_through_a_long_stream(plug, monkeypatch):
    monkeypatch.setattr("hardware.serial_board.reception.CLOCK_S", 0.05)
    monkeypatch.setattr("hardware.serial_board.clock.DRIFT", 0.02)
    began_ns = time.monotonic_ns()

    def clock_us() -> int:  # 1 % slow
        return round((time.monotonic_ns() - began_ns) * 0.99e-3)

    _, port = plug(EmulatedBoard(sensor(), clock_us=clock_us), fps=200)
    with open_camera(f"serial:{port}") as camera:
        for frame in itertools.islice(camera.frames(), 300):
            truth_ns = began_ns + frame.meta.t_device_ns / 0.99
            assert abs(frame.meta.t_host_ns - truth_ns) < 20e6
        assert frame.meta.t_device_ns > 1e9


class Absorbed(EmulatedBoard):
    """Hears nothing while it sends a frame, as a simple program does."""

    def __init__(self):
        self._unheard = b""
        super().__init__(sensor(), packet_bytes=100)

    def take(self, data: bytes) -> bytes:
        self._unheard += data
        if self.in_frame:
            return b""
        heard, self._unheard = self._unheard, b""
        return super().take(heard)

    def next_packet(self) -> bytes:
        return self.take(b"") + super().next_packet()


def test_a_frame_that_takes_seconds_on_the_line_is_waited_for_also_by_what_is_asked_meanwhile(plug, monkeypatch):
    monkeypatch.setattr("hardware.serial_board.reception.CLOCK_S", 0.2)
    _, port = plug(Absorbed(), baud=8500)  # 2.2 s
    with open_camera(f"serial:{port}") as camera:
        frames = [*itertools.islice(camera.frames(), 2)]
        assert [frame.meta.sequence for frame in frames] == [0, 1]


def test_a_board_that_starts_anew_gets_the_mode_that_it_was_left_in(plug):
    line, port = plug(fps=200)
    with open_camera(f"serial:{port}?mode=1") as camera:
        camera.snap(1)
    with Stream(SameCamera(f"serial:{port}"), ring=Ring(2**20)) as stream:
        assert stream.get(5).shape == (12, 16)
        line.do("restart")
        seen = [stream.get(5) for _ in range(60)]
        assert {frame.shape for frame in seen} == {(12, 16)} and stream.counts.captured > 0
        line.do("mode")
        assert {stream.get(5).shape for _ in range(60)} == {(12, 16)}


def test_frames_of_a_board_that_was_away_and_not_started_anew_are_counted(plug):
    line, port = plug(fps=300)
    with Stream(SameCamera(f"serial:{port}"), ring=Ring(2**20)) as stream:
        before = stream.get(5)
        line.terminal.unplug()  # with a battery of its own
        time.sleep(0.3)
        line.board._sequence += 1000
        line.terminal.replug()
        lost = 0
        while lost < 1000:
            frame = stream.get(5)
            assert frame.meta.sequence == before.meta.sequence + 1 + frame.meta.lost_before
            lost, before = lost + frame.meta.lost_before, frame
        assert lost < 1000 + 300 * 3


def test_a_flash_fills_the_frames_that_it_meets_and_no_other(plug):
    line, port = plug()
    with open_camera(f"serial:{port}") as camera:
        assert camera.snap(1)[0].pixels.max() < 4095
        line.do("flash 2")
        assert [bool((frame.pixels == 4095).all()) for frame in camera.snap(4)] == [True, True, False, False]


def test_a_board_that_reads_nothing_does_not_hold_up_the_closing(plug):
    line, port = plug()
    camera = open_camera(f"serial:{port}")
    line.do("stall 2")
    descriptor = os.open(line.terminal.path, os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(descriptor, bytes(4096))
    began_s = time.monotonic()
    camera.close()
    assert time.monotonic() - began_s < 1
    os.close(descriptor)


@pytest.mark.parametrize("error", [OSError(5, "x"), TypeError("x"), ValueError("x"), termios.error(5, "x")])
def test_whatever_pyserial_raises_for_a_device_that_is_gone_is_one_error(plug, monkeypatch, error):
    _, port = plug()
    with SerialPort(port) as opened:
        for name in ("read", "write"):

            def fail(*_: object) -> None:
                raise error

            monkeypatch.setattr(opened._serial, name, fail)
        with pytest.raises(DeviceLost, match="is gone"):
            opened.read(0.1)
        with pytest.raises(DeviceLost, match="is gone"):
            opened.write(b"x")


def test_what_lies_outside_of_the_hello_is_refused_before_it_is_asked_for(plug):
    _, port = plug()
    with open_camera(f"serial:{port}") as camera:
        for wish in (CameraSettings(exposure_s=100.0), CameraSettings(gain_db=100.0), CameraSettings(exposure_s=1e-9)):
            with pytest.raises(ConfigurationError, match=r"was asked for; its board can do .* to"):
                camera.configure(wish)
    with pytest.raises(ConfigurationError, match="its board can do 1e-06 to 60"):
        open_camera(f"serial:{port}?exposure_s=100")


def test_a_request_that_is_repeated_is_obeyed_once():
    board = EmulatedBoard(sensor())
    request = encode(Packet(messages.STREAM, board.boot, 77, messages.COUNT.pack(2)))
    first = board.take(request)
    frames = b"".join(iter(board.next_packet, b""))
    assert board.take(request) == first and board.next_packet() == b"" and frames and board.taken == 2


def test_lamps_on_a_board_of_their_own_are_no_camera(plug):
    board = EmulatedBoard(sensor(), matrix=(8, 8))
    board.hello = dataclasses.replace(board.hello, modes=())
    _, port = plug(board)
    with pytest.raises(ConfigurationError, match="has no sensor; it shows patterns only"):
        open_camera(f"serial:{port}")


def test_lamps_show_what_they_are_given_beside_the_sensor_or_alone(plug):
    line, port = plug(EmulatedBoard(sensor(), matrix=(2, 3)))
    picture = np.array([[0, 0.5, 1], [0.1, 0, 0.25]])
    with open_camera(f"serial:{port}") as camera:
        camera.lamps.show(picture)
        assert line.board.lamps == bytes([0, 128, 255, 26, 0, 64])
        assert camera.snap(1)
        camera.lamps.clear()
        assert line.board.lamps == bytes(6)
    with LedMatrix.at(port) as lamps:
        lamps.show(picture)
        assert line.board.lamps[2] == 255
        line.do("restart")
        with pytest.raises(DeviceLost, match=r"lamps at '.*' are lost: it has started anew; connect them again"):
            lamps.clear()
    _, dark = plug(name="no-lamps")
    with pytest.raises(ConfigurationError, match="has no lamps"):
        LedMatrix.at(dark)
    with open_camera(f"serial:{dark}") as camera, pytest.raises(ConfigurationError, match="has no lamps"):
        camera.lamps.clear()


def test_a_fault_that_is_none_is_refused(plug):
    line, _ = plug()
    for fault in ("explode", "noise", "noise x", "noise 2", "unplug 3", "stall -1", ""):
        with pytest.raises(ConfigurationError, match="expected"):
            line.do(fault)


def test_vectors_of_the_written_protocol_are_what_is_sent():
    text = PROTOCOL.read_text()
    lines = [bytes.fromhex(line) for line in re.findall(r"^    ((?:[0-9a-f]{2} )+00)$", text, re.M)]
    packets = [packet for line in lines for packet in PacketReader().feed(line)]
    assert [chr(packet.kind) for packet in packets] == ["h", "c", "B", "D", "E"]
    assert b"".join(lines) == b"".join(map(encode, packets))
    wanted, begin = messages.configure_of(packets[1].body), messages.begin_of(packets[2].body)
    assert wanted == messages.Settings(1, 10_000, None)
    assert begin == messages.Begin(0, 2, 3, 8, 5000, 0, 123_456, 23.5)


def test_a_device_error_is_not_swallowed_when_a_port_is_closed_while_it_is_asked(plug):
    line, port = plug()
    camera = open_camera(f"serial:{port}")
    line.do("stall 1")
    thread = threading.Thread(target=lambda: (time.sleep(0.2), camera.close()))
    thread.start()
    with pytest.raises((CameraError, DeviceError), match="closed"):
        camera.snap(1)
    thread.join()
