"""Both firmwares, with a sensor that is made up, spoken to in bytes; the host's own code understands them."""

import pathlib
import struct
import subprocess

import numpy as np
import pytest
from board_requests import BOOT, ask, pixels, turns

from hardware.serial_board import messages
from hardware.serial_board.assembly import BoardFrame, FrameAssembler
from hardware.serial_board.messages import Mode, Settings
from hardware.serial_board.packet import Packet, PacketReader, encode

SOURCES = pathlib.Path(__file__).resolve().parents[2] / "hardware" / "firmware"
MODES = (Mode(60, 50, 8, "Mono8"), Mode(7, 5, 10, "Mono10"))
A_FRAME = turns(12)  # enough for one to be begun, taken and sent


def count(frames: int) -> bytes:
    return messages.COUNT.pack(frames)


def assembled(said: list[list[Packet]], first: int = 0) -> tuple[FrameAssembler, list[BoardFrame]]:
    """The frames in all that a board has said; an `S` by itself is told as the host tells it."""
    assembler, frames = FrameAssembler(BOOT, MODES, first), []
    for packet in (packet for packets in said for packet in packets):
        if packet.kind == messages.STREAMING and not packet.number:
            assembler.told(messages.streaming_of(packet.body)[0])
        elif (frame := assembler.take(packet)) is not None:
            frames.append(frame)
    assert assembler.malformed == ""
    return assembler, frames


def kinds(packets: list[Packet]) -> str:
    return "".join(chr(packet.kind) for packet in packets)


def test_a_board_says_by_itself_what_it_is_and_again_when_asked(firmware):
    said = firmware.talk(ask(messages.HELLO_WANTED, 77, boot=0), turns(1))
    (by_itself,), (asked,) = said[0], said[2]
    assert by_itself == Packet(messages.HELLO, BOOT, 0, asked.body)
    assert asked.number == 77
    hello = messages.hello_of(asked.body)
    assert hello == messages.Hello(
        *(1, "E6614103E7452D2F", "fake board", "fake", "1.0", MODES),
        exposure_us=(10, 100_000),
        gain_db=(-6.0, 18.0),
        black_level_dn=8,
        raw=True,
        matrix=None,
    )


def test_settings_are_read_back_and_what_is_not_asked_for_stays(firmware):
    requests = (Settings(), Settings(1, 12_345, 7000), Settings(exposure_us=50), Settings(gain_mdb=-6000, mode=0))
    asked = [ask(messages.CONFIGURE, at, messages.configure_body(body)) for at, body in enumerate(requests, 1)]
    clock = "C", struct.pack("<Q", 2**40)
    said = firmware.talk(clock, *(each for one in asked for each in (one, turns(2))))
    packets = [packet for packets in said[2:] for packet in packets]
    assert [(packet.kind, packet.number) for packet in packets] == [(messages.APPLIED, at) for at in range(1, 5)]
    applied, clocks = zip(*(messages.applied_of(packet.body) for packet in packets), strict=True)
    assert applied == (Settings(0, 1000, 0), Settings(1, 12_340, 6000), Settings(1, 50, 6000), Settings(0, 50, -6000))
    assert [clock_us - 2**40 for clock_us in clocks] == [100, 300, 500, 700]


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        (messages.CONFIGURE, messages.configure_body(Settings(mode=2)), "mode"),
        (messages.CONFIGURE, messages.configure_body(Settings(exposure_us=2**32 - 1)), "4294967295 10 100000"),
        (messages.CONFIGURE, messages.configure_body(Settings(gain_mdb=-6001)), "-6001 -6000 18000"),
        (messages.CONFIGURE, b"12345678", ""),
        (messages.STREAM, b"12345", ""),
        (messages.SHOW, messages.show_body(1, 1, b"x"), "lamps"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(firmware, kind, body, words):
    again = ask(messages.CONFIGURE, 6, messages.configure_body(Settings()))
    said = firmware.talk(ask(kind, 5, body), turns(2), again, turns(2))
    ((refused,), (applied,)) = said[2], said[4]
    assert (refused.kind, refused.number) == (messages.REFUSED, 5)
    assert all(word in refused.body.decode() for word in words.split())
    assert messages.applied_of(applied.body)[0] == Settings(0, 1000, 0)


@pytest.mark.parametrize("mode", [0, 1])
def test_so_many_frames_are_sent_as_were_asked_for_bit_by_bit(firmware, mode):
    settings = ask(messages.CONFIGURE, 1, messages.configure_body(Settings(mode)))
    said = firmware.talk(settings, turns(2), ask(messages.STREAM, 2, count(5)), turns(100))
    stream = said[4]
    assert (stream[0].kind, stream[0].number) == (messages.STREAMING, 2)
    assert messages.streaming_of(stream[0].body)[:2] == (0, 5)
    assert (stream[-1].kind, stream[-1].number) == (messages.STREAMING, 0)
    assert messages.streaming_of(stream[-1].body)[:2] == (5, 0)
    assembler, frames = assembled(said)
    assert (assembler.accepted, assembler.lost) == (5, 0)
    for taken, frame in enumerate(frames):
        assert (frame.sequence, frame.begin.mode) == (taken, mode)
        assert frame.begin.temperature_c == (None if taken % 2 else 23.5)
        assert np.array_equal(frame.pixels, pixels(mode, taken))
    starts_us = [frame.begin.start_us for frame in frames]
    assert starts_us == sorted(set(starts_us))
    assert starts_us[0] >= messages.streaming_of(stream[0].body)[2]


def test_a_repeated_request_is_answered_again_and_does_nothing_else(firmware):
    configure = ask(messages.CONFIGURE, 9, messages.configure_body(Settings(1, 400)))
    stream = ask(messages.STREAM, 10, count(2))
    said = firmware.talk(configure, turns(2), configure, turns(2), stream, turns(60), stream, turns(60))
    assert said[2] == said[4]
    assert len(said[2]) == 1
    assert said[8] == said[6][:1]
    assembler, _ = assembled(said)
    assert (assembler.accepted, assembler.lost) == (2, 0)


def test_a_request_for_the_board_as_it_was_before_it_started_anew_does_nothing(firmware):
    foreign = [ask(kind, 3, count(4), boot=boot) for kind in b"csp" for boot in (0, BOOT + 1)]
    said = firmware.talk(*(each for one in foreign for each in (one, A_FRAME)))
    answers = said[2::2]
    assert answers == [[Packet(messages.HELLO, BOOT, 3, said[0][0].body)]] * 6


def test_what_a_board_says_itself_is_no_request(firmware):
    echo = [("F", encode(Packet(kind, BOOT, 3, count(4)))) for kind in b"HCSPXBDE!\0"]
    said = firmware.talk(*echo, turns(30))
    assert not any(said[1:])


def test_the_numbers_of_frames_begin_anew_after_the_last(firmware):
    said = firmware.talk(ask(messages.STREAM, 1, count(5)), turns(100), number=2**32 - 2)
    assembler, frames = assembled(said, first=2**32 - 2)
    assert (assembler.accepted, assembler.lost) == (5, 0)
    assert [packet.number for packet in said[2] if packet.kind == messages.BEGIN] == [2**32 - 2, 2**32 - 1, 0, 1, 2]
    assert [frame.sequence - 2**32 for frame in frames] == [-2, -1, 0, 1, 2]


def test_a_frame_that_the_sensor_did_not_give_keeps_its_number(firmware):
    said = firmware.talk(ask(messages.STREAM, 1, count(6)), A_FRAME, ("L", struct.pack("<I", 2)), turns(100))
    assembler, frames = assembled(said)
    assert (assembler.accepted, assembler.lost) == (4, 2)
    assert sum(frame.lost_before for frame in frames) == 2
    for frame in frames:
        assert np.array_equal(frame.pixels, pixels(0, frame.sequence))


def test_frames_that_the_host_did_not_take_keep_their_numbers(firmware):
    """The line takes 2500 bytes more, in the middle of a frame, then none for some time, then all."""
    stall, go = ("W", struct.pack("<I", 2500)), ("W", struct.pack("<I", 2**32 - 1))
    requests = [("N", struct.pack("<II", BOOT, 0)), ask(messages.STREAM, 1, count(20)), A_FRAME, stall, turns(50), go]
    answers = firmware.answers([*requests, turns(300)])
    reader = PacketReader()
    assembler, frames = assembled([list(reader.feed(answer)) for answer in answers])
    assert reader.damaged == 1  # the piece that was cut short, and not the packet behind it
    assert assembler.accepted + assembler.lost == 20
    assert assembler.lost >= 5
    for frame in frames:
        assert np.array_equal(frame.pixels, pixels(0, frame.sequence))


def test_a_frame_that_was_cut_short_is_not_gone_on_with(firmware):
    stall, go = ("W", struct.pack("<I", 100)), ("W", struct.pack("<I", 2**32 - 1))
    requests = [("N", struct.pack("<II", BOOT, 0)), ask(messages.STREAM, 1, count(2)), turns(5), stall, turns(1), go]
    answers = firmware.answers([*requests, turns(100)])
    before, behind = (kinds(list(PacketReader().feed(answers[at]))) for at in (2, 6))
    assert before.startswith("SB")
    assert behind.startswith("BD")
    assert behind.endswith("ES")


def test_a_stop_is_at_once_and_the_frame_that_is_given_up_keeps_its_number(firmware):
    """Wherever in the frame it comes: while it is exposed, between its packets, behind them."""
    stream, stop, one = (ask(messages.STREAM, at, count(n)) for at, n in enumerate((messages.FOR_EVER_FRAMES, 0, 1), 1))
    conversations = [(stream, turns(begun), stop, turns(1), turns(50), one, turns(50)) for begun in range(1, 12)]
    for said in firmware.talks(conversations):
        assert [kinds(packets) for packets in said[3:6]] == ["", "S", ""]
        stopped, left, _ = messages.streaming_of(said[4][0].body)
        assert left == 0
        assembler, frames = assembled(said)
        assert assembler.next == stopped + 1
        assert frames[-1].sequence == stopped
        assert assembler.accepted + assembler.lost == assembler.next
        for frame in frames:
            assert np.array_equal(frame.pixels, pixels(0, frame.sequence))


def test_settings_take_effect_between_two_frames(firmware):
    settings = ask(messages.CONFIGURE, 2, messages.configure_body(Settings(1, 600)))
    stream = ask(messages.STREAM, 1, count(3))
    for said in firmware.talks([(stream, turns(begun), settings, turns(100)) for begun in range(1, 12)]):
        assembler, frames = assembled(said)
        assert (assembler.accepted, assembler.lost) == (3, 0)
        whole = "".join(map(kinds, said))
        assert whole[whole.index("C") - 1] in "SE"
        modes = [frame.begin.mode for frame in frames]
        assert modes == sorted(modes)
        assert modes[-1] == 1
        for frame in frames:
            assert np.array_equal(frame.pixels, pixels(frame.begin.mode, frame.sequence))
            assert frame.begin.exposure_us == (600 if frame.begin.mode else 1000)


def test_a_hello_between_the_packets_of_a_frame_harms_none(firmware):
    hello = ask(messages.HELLO_WANTED, 8, boot=0)
    said = firmware.talk(ask(messages.STREAM, 1, count(2)), *[each for _ in range(20) for each in (hello, turns(2))])
    assembler, _ = assembled(said)
    assert (assembler.accepted, assembler.lost) == (2, 0)
    assert "".join(map(kinds, said)).count("H") == 21


def test_the_micropython_clock_goes_on_where_its_counter_begins_anew(monkeypatch):
    """Its `ticks_us` has 30 bits."""
    monkeypatch.syspath_prepend(SOURCES / "micropython")
    from lensless_board import Clock

    true_us, half = [2**30 - 5], 2**29
    clock_us = Clock(lambda: true_us[0] % 2**30, lambda new, old: (new - old + half) % 2**30 - half)
    shown = []
    for step_us in (3, 1, 10, 2**29 - 1, 2**29 - 1, 2**29 - 1, 0):
        true_us[0] += step_us
        shown.append(clock_us())
    assert shown == [3, 4, 14, *(14 + times * (2**29 - 1) for times in (1, 2, 3, 3))]


def test_every_micropython_file_is_understood_by_micropython(micropython_command, tmp_path):
    """Also those that need a board to run."""
    program, requests, answers = (tmp_path / name for name in ("program.py", "requests", "answers"))
    program.write_text(
        "import os, sys\n"
        "names = sorted(os.listdir(sys.argv[1]))\n"
        "for name in names: compile(open(sys.argv[1] + '/' + name).read(), name, 'exec')\n"
        "open(sys.argv[3], 'w').write(' '.join(names))\n"
    )
    requests.write_bytes(b"")
    command = [*micropython_command, program, SOURCES / "micropython", requests, answers]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert answers.read_text().split() == ["hm01b0.py", "lensless_board.py", "lensless_codec.py", "main.py"]
