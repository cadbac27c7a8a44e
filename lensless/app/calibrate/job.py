"""`lensless calibrate`: lead a person from a rig to a measured one."""

import collections
import contextlib
import datetime
import pathlib
import shutil
import sys

import numpy as np
import torch

from calibration.in_step import cells as cells_in
from calibration.in_step import cells_of
from calibration.patterns import KINDS
from calibration.plan import COVERED, LAMP, LIT, PATTERN
from calibration.sensor import SensorReport
from calibration.stack import Stack
from hardware import Frame
from hardware.errors import (
    CalibrationMismatch,
    ConfigurationError,
    DeviceError,
    StorageError,
)
from hardware.lock import WriterLock
from hardware.recording.process import RecordingProcess
from hardware.surroundings import Surroundings
from lensless.app.calibrate.bundle import Found, write
from lensless.app.calibrate.matrix import measure_matrix, pattern_shots
from lensless.app.calibrate.moves import RodMoves, shadow_step_px
from lensless.app.calibrate.ready import AUTO, Ready, Wish, make_ready
from lensless.app.calibrate.shoot import Shooting
from lensless.app.calibrate.taken import Taken, missing, stacks_of
from lensless.app.collection.stand import Stand
from lensless.app.collection.watch import Limits
from lensless.app.rig import open_rig
from lensless.app.screen import Screen
from lensless.app.signals import Signals
from lensless.app.version import code_version

_LEAK_SIGMAS = 8.0
_PLACES = 14  # of the design, about, that are tried until it fits


def calibrate(wish: Wish, screen: Screen) -> dict:
    """Take what is not there yet, and measure; a calibration that was interrupted goes on.

    Raises:
        CalibrationMismatch, FrameSaturated: what frames say is wrong.
        ConfigurationError: the folder holds another calibration, or an option that cannot be.
        CameraLost, StorageError: what they say; all that was taken stays, and the command given again goes on.
    """
    rig = open_rig(wish.rig, rays=wish.rays)
    if rig.own_calibration is not None:
        raise ConfigurationError(f"rig '{wish.rig}' is a measured one; name the rig file that it was calibrated from")
    if rig.spec.scene.channels > 1:
        raise ConfigurationError(
            f"rig {rig.id!r} has a display in colours, and a matrix is measured in grey so far; calibrate a grey rig "
            "file of the same optics, or train on the design"
        )
    if wish.patterns not in (AUTO, *KINDS):
        raise ConfigurationError(f"--patterns {wish.patterns!r}; expected {AUTO} or one of {', '.join(KINDS)}")
    _check_place(wish.out)
    for recording in filter(None, (wish.dark, wish.lamp, *wish.warm)):
        stacks_of(recording)  # too few frames, or a damaged one: said now, and not when all else has been taken
    # A simulated camera has milliseconds for its small matrices; see `collect`.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())
        ready = make_ready(wish, rig, screen, stack)
        screen.table(
            f"{_minutes(sum(row[-1] for row in ready.rows()))} of exposures",
            ["stage", "what it is for", "frames", "seconds"],
            [[name, purpose, f"{frames:,}", f"{seconds:.0f}"] for name, purpose, frames, seconds in ready.rows()],
        )
        if wish.only_plan:
            return {
                "plan": [dict(zip(("stage", "purpose", "frames", "seconds"), row, strict=True)) for row in ready.rows()]
            }
        wish.out.mkdir(exist_ok=True)
        stack.enter_context(WriterLock(wish.out / "calibration"))
        _check_room(wish.out, ready)
        signals.begun = True
        try:
            _take_all(ready, signals, screen)
        except (KeyboardInterrupt, DeviceError, StorageError) as error:
            raise _told_to_go_on(error) from error
        finally:
            torch.set_num_threads(threads)
    return measure(ready, screen)


def _take_all(ready: Ready, signals: Signals, screen: Screen) -> None:
    """Stage after stage; what is there is not taken again."""
    wish = ready.wish
    for stage, where in ((COVERED, Surroundings.COVERED), (LIT, Surroundings.SCENE), (LAMP, Surroundings.LAMP)):
        if (stage == COVERED and wish.dark) or (stage == LAMP and wish.lamp):
            continue
        with ready.taken() as taken:
            shots = missing(taken, ready.plan.of(stage))
            open_writer = _writer(ready, taken)
        if not shots:
            continue
        _surround(ready.stand, where, screen)
        shooting = Shooting(ready.show, ready.settings, ready.bright, ready.ceiling, open_writer)
        try:
            if stage == COVERED:
                _check_dark(shooting, screen)
            with screen.following(stage, len(shots), "exposures", 0) as watch:
                shooting.lights(shots, signals, watch)
        finally:
            shooting.close(signals.came > 1)
            if where is not Surroundings.SCENE and ready.stand.surround is not None:
                ready.stand.surround(Surroundings.SCENE)
    if ready.stand.surround is None and any(ready.plan.of(stage) for stage in (COVERED, LAMP)):
        _surround(ready.stand, Surroundings.SCENE, screen, quiet=True)
    _take_patterns(ready, signals, screen)


def _take_patterns(ready: Ready, signals: Signals, screen: Screen) -> None:
    with ready.taken() as taken:
        known = pattern_shots(ready.plan, taken)
        shots = missing(taken, ready.plan.of(PATTERN))
        with screen.working("noise of the sensor"):
            sensor = sensor_report(ready, taken)
        dark = sensor.dark.at(ready.settings.exposure_s)
        black = cells_in(dark)
        cells = {
            index: [cells_of(taken.frames(shot)) - black for shot in some] for index, some in known.items() if some
        }
        light = next(
            (
                (cells_of(look.black), cells_of(look.bright))
                for run in range(taken.runs) for look in taken.looks(run)
            ),
            None,
        )  # fmt: skip
        open_writer = _writer(ready, taken)
    if not shots:
        return
    share = dark.size / black.size
    variance = lambda y: sensor.variance(y, ready.settings.exposure_s) / share  # noqa: E731
    shooting = Shooting(ready.show, ready.settings, ready.bright, ready.ceiling, open_writer)
    total = len(ready.plan.of(PATTERN))
    try:
        with screen.following("patterns", total, "frames", total - len(shots)) as watch:
            shooting.patterns(
                ready.plan, shots, cells, variance, black, Limits(drift=ready.wish.max_drift), light, signals,
                lambda done, words: watch(min(total, total - len(shots) + done), words),
            )  # fmt: skip
    finally:
        shooting.close(signals.came > 1)
    screen.say(f"  {shooting.figures}")


def sensor_report(ready: Ready, taken: Taken) -> SensorReport:
    """What dark and bright frames tell."""
    wish, plan = ready.wish, ready.plan
    dark = stacks_of(wish.dark) if wish.dark else [taken.stack(shot) for shot in plan.of(COVERED)]
    lamp = stacks_of(wish.lamp)[0] if wish.lamp else next(iter(map(taken.stack, plan.of(LAMP))), None)
    warm = [stack for recording in wish.warm for stack in stacks_of(recording)]
    lit = [taken.stack(shot) for shot in plan.of(LIT)]
    for name, some in (("--dark", dark), ("--lamp", [] if lamp is None else [lamp]), ("--warm", warm)):
        for stack in some:
            _check_same_camera(name, stack, lit[0])
    _check_once([*dark, *warm])
    if not any(abs(stack.exposure_s / ready.settings.exposure_s - 1) < 0.01 for stack in dark) and len(dark) < 2:
        raise CalibrationMismatch(
            f"--dark {wish.dark}: frames of {dark[0].exposure_s:g} s, the rig is used at "
            f"{ready.settings.exposure_s:g} s; record dark frames at that exposure, or at two around it"
        )
    try:
        report = SensorReport.of(dark, lit, lamp)
    except CalibrationMismatch as error:
        given = " or ".join(name for name, path in (("--dark", wish.dark), ("--lamp", wish.lamp)) if path)
        instead = f"if it is that of {given}, name another recording; if not, " if given else ""
        raise CalibrationMismatch(  # what was taken would say the same again
            f"{error}; {instead}what was taken stays in '{wish.out}': when that is mended, calibrate into another "
            "folder (--out)"
        ) from error
    return report.with_temperatures(warm) if warm else report


def _check_once(stacks: list[Stack]) -> None:
    """Raises CalibrationMismatch if frames are there twice: they would seem to be known better than they are."""
    first = collections.Counter((stack.meta.camera_id, stack.meta.t_host_ns, stack.meta.sequence) for stack in stacks)
    if any(count > 1 for count in first.values()):
        raise CalibrationMismatch("--dark, --warm: the same frames are given twice; name each recording once")


def _check_same_camera(option: str, stack: Stack, other: Stack) -> None:
    for name in ("camera_id", "bit_depth", "gain_db"):
        got, expected = getattr(stack.meta, name), getattr(other.meta, name)
        if got != expected:
            raise CalibrationMismatch(f"{option}: its frames have {name} {got!r}, the camera's {expected!r}")
    if stack.mean.shape != other.mean.shape:
        raise CalibrationMismatch(f"{option}: frames of {stack.mean.shape}, the camera's are {other.mean.shape}")


def measure(ready: Ready, screen: Screen) -> dict:
    """From the frames to the folder of a measured rig, and its page."""
    with ready.taken() as taken:
        with screen.working("sensor"):
            sensor = sensor_report(ready, taken)
        flat = 1.0 if sensor.flat is None else sensor.flat.astype(np.float64)
        design = ready.rig.spec
        if design.cannula is None:
            with screen.working("transfer matrix, and what throws shadows in it"):
                step_px = shadow_step_px(design)
                matrix = measure_matrix(ready.plan, taken, sensor, flat, ready.bright, shadow_step_px=step_px)
        else:
            with screen.following("transfer matrix, and where the rod stands", _PLACES, "places tried") as watch:
                matrix = measure_matrix(
                    ready.plan, taken, sensor, flat, ready.bright, RodMoves(design, ready.rig.rays),
                    watch=lambda tried: watch(min(tried, _PLACES), ""),
                )  # fmt: skip
        first = taken.frames(ready.plan.of(LIT)[0])[0]
    found = Found(ready.rig.spec, first.meta, ready.settings.exposure_s, sensor, matrix, ready.provenance)
    facts = write(ready.wish.out, found, screen)
    screen.say(f"next: lensless train classify --scenes mnist --rig {ready.wish.out}")
    return facts


def _surround(stand: Stand, where: Surroundings, screen: Screen, quiet: bool = False) -> None:
    """Cover the sensor, or uncover it: by itself where it is simulated, by a person's hand where it is not."""
    if stand.surround is not None:
        stand.surround(where)
        return
    if where is Surroundings.SCENE and quiet:
        return
    do, instead = {
        Surroundings.COVERED: ("cover the sensor, so that no light reaches it", "--dark RECORDING"),
        Surroundings.SCENE: ("uncover the sensor: it must see the display", None),
        Surroundings.LAMP: ("put an even lamp before the bare sensor", "--lamp RECORDING"),
    }[where]
    if not sys.stdin.isatty():
        if instead is None:
            return
        raise ConfigurationError(
            f"somebody has to {do}, and nobody can be asked here: run this in a terminal, or record those frames "
            f"before (lensless record CAMERA --frames 48 --out FILE.h5) and name them with {instead}"
        )
    screen.say(f"please {do}, then press Enter")
    sys.stdin.readline()


def _check_dark(shooting: Shooting, screen: Screen) -> None:
    with screen.working("is the sensor covered?"):
        leak = shooting.leak()
    if leak > _LEAK_SIGMAS:
        raise CalibrationMismatch(
            f"the sensor is not covered: before a bright display its frames are {leak:.0f} standard errors brighter "
            "than before a black one; cover it tightly, and give the command again"
        )


def _writer(ready: Ready, taken: Taken):
    provenance = ready.provenance["same"] | ready.provenance | {
        "code": code_version(), "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    path, shape = taken.next_path, ready.rig.spec.scene.shape

    def open_writer(frame: Frame) -> RecordingProcess:
        path.parent.mkdir(exist_ok=True)
        return RecordingProcess(path, frame, provenance, shape)

    return open_writer


def _check_place(out: pathlib.Path) -> None:
    if out.exists() and not out.is_dir():
        raise ConfigurationError(f"--out {out}: it is a file; a calibration is a folder")
    if not out.resolve().parent.is_dir():
        raise StorageError(f"--out {out}: its folder does not exist; make it, or name another")


def _check_room(out: pathlib.Path, ready: Ready) -> None:
    sensor = ready.rig.spec.sensor
    frames = sum(shot.frames for shot in ready.plan.shots)
    needed = frames * sensor.shape[0] * sensor.shape[1] * (1 if sensor.bit_depth <= 8 else 2)
    if (free := shutil.disk_usage(out).free) < needed:
        raise StorageError(
            f"--out {out}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free; choose another disk"
        )


def _told_to_go_on(failure: BaseException) -> BaseException:
    again = "what was taken is kept; given again, the command goes on from there"
    if isinstance(failure, KeyboardInterrupt):
        return KeyboardInterrupt(f"interrupted: {again}")
    return type(failure)(f"{failure}; {again}")


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"
