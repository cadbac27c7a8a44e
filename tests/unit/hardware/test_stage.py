"""The stage, through a pseudo-terminal, against an emulated GRBL; and GRBL's lines, against its documents."""

import subprocess
import sys
import threading
import time

import pytest

from hardware.emulators.grbl import Grbl
from hardware.emulators.grbl_controller import SETTINGS
from hardware.emulators.terminal import Terminal
from hardware.errors import ConfigurationError, DeviceError, DeviceLost, StageError
from hardware.grbl import report_of, settings_of
from hardware.serial_board.packet import Packet, encode
from hardware.stage import Stage

SLOW = {110: 3000.0, 111: 3000.0}  # 50 mm/s
NO_SWITCHES = ((-1e6, 1e6), (-1e6, 1e6))


@pytest.fixture
def grbl():
    with Grbl() as grbl:
        yield grbl


@pytest.fixture
def stage(grbl):
    with Stage(grbl.terminal.path) as stage:
        stage.home()
        yield stage


def until(condition, limit_s: float = 3.0) -> None:
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.002)


class Doing:
    """A call in another thread, and the error that ended it."""

    def __init__(self, call, *arguments):
        self.error = None
        self._thread = threading.Thread(target=self._run, args=(call, *arguments))
        self._thread.start()

    def _run(self, call, *arguments) -> None:
        try:
            call(*arguments)
        except Exception as error:
            self.error = error

    def end(self) -> Exception | None:
        self._thread.join(10)
        assert not self._thread.is_alive()
        return self.error


def test_it_homes_and_moves_to_where_it_says(stage, grbl):
    assert stage.position_mm == (-1.0, -1.0) and stage.ranges_mm == ((-200.0, 0.0), (-200.0, 0.0))
    for place in [(-10.0, -20.0), (0.0, 0.0), (-200.0, -3.333), (-100.0005, -99.999), (-100.0005, -99.999)]:
        stage.move_to(*place)
        assert tuple(grbl.axes.place) == pytest.approx(place, abs=0.0025)  # steps of 4 um
        assert stage.position_mm == pytest.approx(tuple(grbl.axes.place))


def test_it_is_there_when_move_to_returns():
    with Grbl(settings=SLOW) as grbl, Stage(grbl.terminal.path) as stage:
        stage.home()
        begin_s = time.monotonic()
        stage.move_to(-11.0, -6.0)
        assert time.monotonic() - begin_s >= 0.2  # 10 mm at 50 mm/s
        assert tuple(grbl.axes.place) == pytest.approx((-11.0, -6.0))


@pytest.mark.parametrize("settings", [{10: 0}, {13: 1}, {10: 0, 13: 1}], ids=["WPos", "inches", "WPos in inches"])
def test_reports_of_every_kind_tell_the_place(settings):
    with Grbl(settings=settings) as grbl, Stage(grbl.terminal.path) as stage:
        stage.home()
        with stage._link.talking:
            stage._link.command("G92X7.5Y-3")  # another zero for other programs
        for place in [(-17.0, -33.3), (-18.25, 0.0)]:
            stage.move_to(*place)
            assert tuple(grbl.axes.place) == pytest.approx(place, abs=0.0025)
            assert stage.position_mm == pytest.approx(place, abs=0.006)


@pytest.mark.parametrize(
    ("settings", "forced", "ranges_mm", "homed_mm"),
    [
        ({}, False, ((-200.0, 0.0), (-200.0, 0.0)), (-1.0, -1.0)),
        ({23: 1, 131: 90.0}, False, ((-200.0, 0.0), (-90.0, 0.0)), (-199.0, -1.0)),
        ({23: 1}, True, ((0.0, 200.0), (-200.0, 0.0)), (0.0, 0.0)),
    ],
    ids=["as usual", "x homes to its lowest", "and calls that 0"],
)
def test_travel_follows_from_how_it_homes(settings, forced, ranges_mm, homed_mm):
    with Grbl(settings=settings, force_origin=forced) as grbl, Stage(grbl.terminal.path) as stage:
        stage.home()
        assert stage.ranges_mm == ranges_mm and stage.position_mm == homed_mm
        middle_mm = [sum(ends) / 2 for ends in ranges_mm]
        stage.move_to(*middle_mm)
        assert stage.position_mm == tuple(middle_mm)


def test_without_switches_it_counts_from_where_it_was_switched_on():
    with (
        Grbl(settings={20: 0, 21: 0, 22: 0}, switches_mm=NO_SWITCHES) as grbl,
        Stage(grbl.terminal.path) as stage,
    ):
        assert stage.ranges_mm == ((-200.0, 200.0), (-200.0, 200.0))
        stage.move_to(30.0, -5.0)
        assert tuple(grbl.axes.place) == pytest.approx((-30.0, -45.0))
        with pytest.raises(StageError, match=r"cannot home \(\$22=0\)"):
            stage.home()


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf"), 0.001, -200.01])
def test_a_target_that_cannot_be_is_refused_before_anything_is_sent(stage, grbl, wrong):
    heard = len(grbl.controller.heard)
    for place in [(wrong, -5.0), (-5.0, wrong)]:
        with pytest.raises(ConfigurationError, match="expected -200 to 0, its travel; nothing was sent"):
            stage.move_to(*place)
    with pytest.raises(ConfigurationError, match="lamp power"):
        stage.lamp(-abs(wrong))
    assert len(grbl.controller.heard) == heard


def test_it_is_locked_until_it_knows_where_it_is(grbl):
    with Stage(grbl.terminal.path) as stage:
        with pytest.raises(StageError, match=r"locked until it knows where it is; call home\(\)"):
            stage.move_to(-10, -10)
        with pytest.raises(StageError, match="locked"):
            stage.lamp(0.5)
        stage.lamp(0)  # darkness can always be had
        assert not any(line.startswith(("G", "M3")) for line in grbl.controller.heard)
        stage.unlock()
        stage.move_to(-10, -10)
        assert tuple(grbl.axes.place) == pytest.approx((-70.0, -50.0))


def test_a_limit_switch_in_mid_move_is_one_error_and_then_a_refusal_until_it_has_homed():
    with (
        Grbl(settings={**SLOW, 110: 12_000.0}, switches_mm=((-120.0, 0.0), (-201.0, 0.0))) as grbl,
        Stage(grbl.terminal.path) as stage,
    ):
        stage.home()
        with pytest.raises(StageError, match=r"met a limit switch .*lost its position \(ALARM:1\).*then call home\(\)"):
            stage.move_to(-150, -10)
        assert grbl.axes.place[0] == pytest.approx(-120)
        heard = len(grbl.controller.heard)
        for _ in range(2):
            with pytest.raises(StageError, match="ALARM:1"):
                stage.move_to(-10, -10)
        assert len(grbl.controller.heard) == heard
        stage.home()
        stage.move_to(-10, -10)
        assert tuple(grbl.axes.place) == pytest.approx((-10.0, -10.0))


def test_a_switch_that_is_met_before_the_port_is_opened_is_no_dead_end():
    """A controller in its alarm answers to a reset alone."""
    with Grbl(settings=SLOW, resets_when_opened=False, start_mm=(-1.0, -5.0)) as grbl:
        with Stage(grbl.terminal.path) as stage:
            stage.unlock()
            with stage._link.talking:
                stage._link._port.write(b"G91G1X-3F6000\nG1X9\n")
                until(lambda: grbl.controller._halted)
        with Stage(grbl.terminal.path, wake_s=0.5) as stage:
            with pytest.raises(StageError, match="locked"):
                stage.move_to(-10, -10)
            stage.home()
            stage.move_to(-10, -10)


def test_a_soft_limit_of_its_own_keeps_the_place(stage, grbl):
    """Somebody has made its travel smaller since it was asked."""
    stage.move_to(-50, -60)
    grbl.controller.settings[130] = 100.0
    with pytest.raises(StageError, match=r"beyond its soft limits \(ALARM:2\); call home\(\), or unlock\(\)"):
        stage.move_to(-150, -10)
    with pytest.raises(StageError, match="ALARM:2"):
        stage.move_to(-50, -10)
    stage.unlock()
    assert stage.position_mm == (-50.0, -60.0)
    stage.move_to(-51, -10)


def test_homing_that_finds_no_switch_says_so():
    with Grbl(switches_mm=NO_SWITCHES) as grbl, Stage(grbl.terminal.path) as stage:
        for _ in range(2):
            with pytest.raises(StageError, match=r"found no limit switch; check the wiring.*\(ALARM:9\)"):
                stage.home()
        with pytest.raises(StageError, match="ALARM:9"):
            stage.move_to(-10, -10)


def test_stop_in_mid_move_loses_no_step(grbl):
    grbl.controller.settings.update(SLOW)
    with Stage(grbl.terminal.path) as stage:
        stage.home()
        stage.lamp(1)
        moving = Doing(stage.move_to, -150, -1)
        until(lambda: grbl.axes.place[0] < -5)
        stage.stop()
        assert isinstance(moving.end(), StageError) and "was stopped" in str(moving.error)
        assert -20 < stage.position_mm[0] < -5 and grbl.controller.lamp == 0
        assert stage.position_mm == pytest.approx(tuple(grbl.axes.place), abs=0.001)
        stage.stop()  # at rest, too
        stage.move_to(-10, -10)
        assert tuple(grbl.axes.place) == pytest.approx((-10.0, -10.0))


def test_stop_while_it_homes_leaves_it_locked():
    with Grbl(settings={25: 3000.0}) as grbl, Stage(grbl.terminal.path) as stage:
        homing = Doing(stage.home)
        until(lambda: grbl.controller.state == "Home")
        stage.stop()
        assert "was stopped" in str(homing.end())
        with pytest.raises(StageError, match=r"homing failed: it was reset meanwhile \(ALARM:6\)"):
            stage.move_to(-10, -10)


def test_somebody_who_halts_it_is_told(grbl):
    grbl.controller.settings.update(SLOW)
    with Stage(grbl.terminal.path) as stage:
        stage.home()
        moving = Doing(stage.move_to, -150, -1)
        until(lambda: grbl.controller.state == "Run")
        stage._link._port.write(b"!")  # as its button does
        assert "halted in mid-move (Hold:" in str(moving.end())
        with pytest.raises(StageError, match="halted"):
            stage.move_to(-10, -10)
        stage.unlock()
        stage.move_to(-10, -10)
        assert tuple(grbl.axes.place) == pytest.approx((-10.0, -10.0))


def test_unplugged_in_mid_move_it_is_lost_at_once(tmp_path):
    with Grbl(tmp_path / "stage", settings=SLOW) as grbl:
        with Stage(str(tmp_path / "stage")) as stage:
            stage.home()
            moving = Doing(stage.move_to, -150, -1)
            until(lambda: grbl.controller.state == "Run")
            begin_s = time.monotonic()
            grbl.unplug()
            assert isinstance(moving.end(), DeviceLost) and time.monotonic() - begin_s < 2
            for call in (stage.home, stage.stop, lambda: stage.position_mm, lambda: stage.lamp(0)):
                with pytest.raises(DeviceLost):
                    call()
        with pytest.raises(DeviceError, match="is not there"):
            Stage(str(tmp_path / "stage"))
        grbl.replug()
        with Stage(str(tmp_path / "stage")) as stage:
            with pytest.raises(StageError, match="locked"):
                stage.move_to(-10, -10)
            stage.home()
            stage.move_to(-10, -10)


def test_a_controller_that_restarts_is_not_trusted(stage, grbl):
    stage.lamp(1)
    grbl.controller.power_up()
    grbl.controller.start()
    for _ in range(2):
        with pytest.raises(StageError, match=r"restarted, and does not know where it stands; call home\(\)"):
            stage.move_to(-10, -10)
    stage.home()
    stage.move_to(-10, -10)


def test_close_from_another_thread_twice_ends_a_move():
    with Grbl(settings=SLOW) as grbl:
        stage = Stage(grbl.terminal.path)
        stage.home()
        moving = Doing(stage.move_to, -150, -1)
        until(lambda: grbl.controller.state == "Run")
        begin_s = time.monotonic()
        closing = [Doing(stage.close), Doing(stage.close)]
        assert [each.end() for each in closing] == [None, None] and time.monotonic() - begin_s < 3
        assert isinstance(moving.end(), DeviceError) and "is closed" in str(moving.error)
        with pytest.raises(DeviceError, match="closed"):
            stage.move_to(-10, -10)


def test_the_lamp_goes_out_when_the_stage_is_closed(grbl):
    with Stage(grbl.terminal.path) as stage:
        stage.home()
        stage.lamp(0.25)
        assert grbl.controller.lamp == 250
    until(lambda: grbl.controller.lamp == 0)


def test_a_lamp_that_cannot_be_is_told():
    with Grbl(settings={32: 1}) as grbl, Stage(grbl.terminal.path) as stage:
        stage.home()
        with pytest.raises(ConfigurationError, match=r"laser mode.*send \$32=0"):
            stage.lamp(0.5)
    with Grbl() as grbl, Stage(grbl.terminal.path) as stage:
        stage.home()
        grbl.controller.settings[30] = 300
        with pytest.raises(StageError, match="lamp at level 300; expected 1000"):
            stage.lamp(1)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (b"", r"says nothing; expected GRBL 1\.1; is it switched on"),
        (bytes(range(128, 256)), r"is no GRBL 1\.1: it says"),
        (b"ok\r\n" * 9, r"is no GRBL 1\.1: it says"),
        (b"\0" + encode(Packet(ord("H"), 7, 0, b"{}")), r"is a sensor board; open it as camera 'serial:/dev/"),
        (b"\r\nGrbl 0.9j ['$' for help]\r\n", r"speaks GRBL 0\.9; expected 1\.1"),
    ],
    ids=["silence", "garbage", "another machine", "a sensor board", "an old GRBL"],
)
def test_a_port_that_is_no_grbl_is_one_clear_error(said, message):
    with Terminal() as terminal:
        talking = threading.Thread(target=lambda: (terminal.read(1.0), terminal.write(said)))
        talking.start()
        with pytest.raises(StageError, match=message):
            Stage(terminal.path, wake_s=0.6)
        talking.join()


def test_two_programs_on_one_port(stage, grbl):
    with pytest.raises(DeviceError, match="another program has it open"):
        Stage(grbl.terminal.path)
    stage.move_to(-10, -10)


def test_garbage_in_between_disturbs_nothing(stage, grbl):
    def noisy(data: bytes) -> bytes:
        return b"\xff\x00\x80?<Idle|MPos:\n" + data + b"<Idle|MPos:nan,1.000,0.000|FS:0,0>\r\n\n\x18$"

    grbl.sent = noisy
    for place in [(-10.0, -20.0), (-30.0, -5.0)]:
        stage.move_to(*place)
        assert tuple(grbl.axes.place) == pytest.approx(place) and stage.position_mm == place


@pytest.mark.parametrize("flood", [b"x\n", b"x", b"\0"], ids=["lines", "no line", "zeros"])
def test_a_controller_that_has_gone_mad_is_given_up(grbl, flood, monkeypatch):
    monkeypatch.setattr("hardware.grbl_link.ANSWER_S", 0.3)
    with Stage(grbl.terminal.path) as stage:
        stage.unlock()
        grbl.sent = lambda data: b""
        ended = threading.Event()

        def rave() -> None:
            while not ended.is_set():
                grbl.terminal.write(flood * 1000)

        raving = threading.Thread(target=rave)
        raving.start()
        begin_s = time.monotonic()
        with pytest.raises(StageError, match="has not answered"):
            stage.move_to(-10, -10)
        assert time.monotonic() - begin_s < 5
        ended.set()
        stage.close()
        raving.join()


def test_a_lost_answer_is_never_taken_for_the_next_one(stage, grbl):
    grbl.sent = lambda data: data.replace(b"ok", b"")
    with pytest.raises(StageError, match="has not answered to 'G21"):
        stage.move_to(-10, -20)
    grbl.sent = bytes
    with pytest.raises(StageError, match="has not answered"):
        stage.move_to(-30, -20)
    stage.unlock()
    stage.move_to(-30, -20)
    assert tuple(grbl.axes.place) == pytest.approx((-30.0, -20.0))


def test_a_command_that_was_changed_on_its_way_is_noticed(stage, grbl):
    grbl.received = lambda data: data.replace(b"X-10.", b"X-1.")
    with pytest.raises(StageError, match=r"is Idle at \(-1\.000, -20\.000\) mm; expected \(-10\.000, -20\.000\)"):
        stage.move_to(-10, -20)
    grbl.received = lambda data: data.replace(b"G53", b"Q53")
    with pytest.raises(StageError, match=r"error:20"):
        stage.move_to(-10, -20)
    grbl.received = bytes
    stage.move_to(-10, -20)


def test_settings_must_arrive_twice_alike(grbl):
    damage = [(b"$130=200.000", b"$130=2.000"), (b"$100=250.000", b"")]
    grbl.sent = lambda data: data.replace(*damage.pop()) if damage and b"$130" in data else data
    with Stage(grbl.terminal.path) as stage:
        assert stage.ranges_mm == ((-200.0, 0.0), (-200.0, 0.0)) and not damage
    grbl.sent = lambda data: data.replace(b"$22=1", b"")
    with pytest.raises(StageError, match=r"settings \(\$\$\) are not whole"):
        Stage(grbl.terminal.path)


def test_a_stage_at_work_when_its_program_died_is_brought_to_rest(tmp_path):
    """Its board is not reset when its port is opened: it goes on, and is stopped without losing steps."""
    with Grbl(tmp_path / "stage", settings=SLOW, resets_when_opened=False) as grbl:
        with Stage(str(tmp_path / "stage")) as stage:
            stage.home()
            moving = Doing(stage.move_to, -150, -150)
            until(lambda: grbl.controller.state == "Run")
        moving.end()
        with Stage(str(tmp_path / "stage")) as stage:
            there = stage.position_mm
            assert grbl.controller.state == "Idle" and -50 < there[0] < -1
            assert there == pytest.approx(tuple(grbl.axes.place), abs=0.001)
            stage.move_to(-10, -10)


def test_the_emulator_is_a_program(tmp_path):
    link = tmp_path / "stage"
    command = [sys.executable, "-m", "hardware.emulators.grbl", "--link", str(link), "--speed", "60000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout.readline().strip() == str(link)
            with Stage(str(link)) as stage:
                stage.home()
                stage.move_to(-20, -30)
                assert stage.position_mm == (-20.0, -30.0)
        finally:
            program.terminate()


@pytest.mark.parametrize(
    ("line", "state", "machine", "work", "offset", "level"),
    [  # from GRBL's documents
        ("<Idle|MPos:0.000,0.000,0.000|FS:0.0,0>", "Idle", (0, 0), None, None, 0),
        ("<Hold:0|MPos:5.529,0.560,7.000|FS:0,0|WCO:0.000,1.551,5.664>", "Hold:0", (5.529, 0.56), None, (0, 1.551), 0),
        (
            "<Run|WPos:-2.500,0.000,11.000|Bf:15,128|FS:500,8000|Ov:100,100,100|A:SFM>",
            "Run",
            None,
            (-2.5, 0),
            None,
            8000,
        ),
        ("<Alarm|MPos:1.000,2.000,3.000,4.000|F:500|Pn:XYZPDHRS>", "Alarm", (1, 2), None, None, None),
    ],
)
def test_reports_as_documented(line, state, machine, work, offset, level):
    report = report_of(line)
    assert (report.state, report.machine, report.work, report.offset, report.level) == (
        state,
        machine,
        work,
        offset,
        level,
    )


@pytest.mark.parametrize(
    "line",
    [
        *("", "ok", "<Idle>", "<Idle|MPos:1.0>", "<Idle|MPos:1.0,x,0>", "<Idle|MPos:nan,0,0>", "<Idle|FS:0,0>"),
        *("Idle|MPos:0,0,0", "<Idle|MPos:0.000,0.000,0.000|FS:0.0,0", "<Idle|MPos:0,0,0|FS:0>"),
    ],
)
def test_a_damaged_report_is_none(line):
    assert report_of(line) is None


def test_settings_that_are_missing_or_impossible_are_none():
    lines = [f"${number}={value}" for number, value in SETTINGS.items()]
    assert settings_of(lines, "[OPT:V,15,128]").full_level == 1000
    assert settings_of([*lines, "$100=0"], "") is None
    assert settings_of([line for line in lines if not line.startswith("$130=")], "") is None
