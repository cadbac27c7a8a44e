"""`lensless record --scenes`: show scene after scene, and record frames that were exposed while each stood."""

import contextlib
import dataclasses
import datetime
import functools
import pathlib
import shutil

import torch

from calibration import Calibration
from hardware import CameraSettings
from hardware.errors import (
    CalibrationMismatch,
    ConfigurationError,
    DeviceError,
    FrameSaturated,
    LenslessError,
    StorageError,
)
from hardware.lock import WriterLock
from hardware.recording.process import RecordingProcess
from hardware.recording.schema import CameraFacts
from lensless.app import text_file
from lensless.app.collection.loop import Collecting
from lensless.app.collection.plan import Plan, scene_sets
from lensless.app.collection.preparation import Ceiling, Prepared, check_fits, prepare
from lensless.app.collection.runs import Runs, check_same, look
from lensless.app.collection.stand import SIMULATED, open_stand
from lensless.app.collection.watch import Limits
from lensless.app.rig import Rig, open_rig
from lensless.app.screen import Screen, counted
from lensless.app.signals import Signals
from lensless.app.training import RECIPES
from lensless.app.version import code_version

CALIBRATION, NOMINAL = "calibration.npz", "nominal"


@dataclasses.dataclass(frozen=True)
class Asked:
    """Which scenes, as the options of the command say; see `scene_sets`."""

    scenes: str
    split: str | None = None
    count: int | None = None
    seed: int = 0
    data: pathlib.Path | None = None
    download: bool = False


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is to be collected: the options of the command, as they were given.

    Args:
        rig: a rig file, or an id; rays: of a simulated cannula.
        out: folder of the collection.
        asked: which scenes.
        camera: its address; None is the rig, simulated.
        display: address of what shows; None is a simulated one before a simulated camera.
        frames: of each scene; None is as many as the rig averages.
        settings: to ask the camera for.
        settle_s, gamma: of the display; None: measured.
        max_drift: share by which the light may drift.
        calibration: file of a real camera's; "nominal" is what the rig file says, and nothing measured. It goes into
            the folder. None: that of a simulated rig, measured; of a real camera none.
    """

    rig: str
    out: pathlib.Path
    asked: Asked
    camera: str | None = None
    display: str | None = None
    rays: int | None = None
    frames: int | None = None
    settings: CameraSettings = CameraSettings()  # noqa: RUF009  (immutable)
    settle_s: float | None = None
    gamma: float | None = None
    max_drift: float = Limits.drift
    calibration: str | None = None

    @property
    def address(self) -> str:
        """Of the camera."""
        return self.camera or f"simulated:{self.rig}" + (f"?rays={self.rays}" if self.rays else "")


def collect(wish: Wish, screen: Screen) -> dict:
    """Collect what is not there yet; a collection that was interrupted goes on.

    Raises:
        FrameSaturated, CalibrationMismatch: frames saturate, the light drifts, frame and scene do not belong together.
        ConfigurationError: the folder holds another collection, or an option that cannot be.
        CameraLost, StorageError: what they say; all that was collected stays, and the command given again goes on.
    """
    rig, asked = open_rig(wish.rig, rays=wish.rays), wish.asked
    sets = scene_sets(asked.scenes, asked.split, asked.count, asked.seed, asked.data, asked.download)
    plan = Plan.of(sets, rig.spec.scene.picture_shape, wish.frames or rig.spec.sensor.frames, asked.seed)
    _check_place(wish.out)
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())
        if wish.out.exists():
            stack.enter_context(WriterLock(wish.out / "collection"))
        facts = _facts(rig, plan)
        runs = look(wish.out, facts)
        todo = [scene_id for scene_id in plan.order() if scene_id not in runs.done]
        screen.say(_told_of_plan(plan, runs, len(todo)))
        if not todo:
            _finish(wish, rig)
            _say_what_next(wish, plan, screen)
            return _result(wish, plan, len(runs.done))
        ready = _make_ready(wish, rig, plan, runs, screen, stack)
        _check_room(wish.out, len(todo) * plan.frames * ready.prepared.like.pixels.nbytes)
        if not wish.out.exists():
            _make(wish.out)
            stack.enter_context(WriterLock(wish.out / "collection"))
        _keep_calibration(wish.out, ready.calibration)
        signals.begun = True
        open_writer = functools.partial(
            RecordingProcess, runs.next_path, ready.prepared.like, facts | ready.provenance, rig.spec.scene.planes_shape
        )
        loop = Collecting(plan, ready.prepared, ready.ceiling, open_writer, Limits(drift=wish.max_drift), runs)
        return _run(loop, todo, signals, wish, facts, screen)


@dataclasses.dataclass(frozen=True, eq=False)
class _Ready:
    """What is open and measured, and what a recording says of it."""

    prepared: Prepared
    ceiling: Ceiling
    calibration: Calibration | None
    provenance: dict


def _make_ready(wish: Wish, rig: Rig, plan: Plan, runs: Runs, screen: Screen, stack: contextlib.ExitStack) -> _Ready:
    """Open camera and display, and measure what is known of them before the first scene is shown."""
    # A simulated camera has milliseconds for its small matrices: threads that wait for each other on a busy machine
    # took 31 ms in the middle, one alone 3.
    torch.set_num_threads(1)
    with screen.working(f"opening {wish.address}"):
        stand = stack.enter_context(open_stand(wish.address, wish.display, rig))
        camera, source = stand.camera, stand.display
        applied = camera.configure(wish.settings)
        first = camera.snap(1)[0]
        check_fits(first, rig.spec.sensor.shape, rig.spec.sensor.bit_depth, rig.id)
        calibration = _calibration(wish, rig, camera.camera_id)
    if calibration is not None:
        with contextlib.suppress(FrameSaturated):  # it is not told what it saw
            calibration.apply(first)  # or no frame of the collection could be used
    display = wish.display or SIMULATED
    fixed = {
        "camera": dataclasses.asdict(CameraFacts.of(first.meta)), "applied": dataclasses.asdict(applied),
        "calibration": None if calibration is None else calibration.id, "rays": rig.rays,
    }  # fmt: skip
    if runs.begun is not None:
        check_same(runs.provenance, fixed, wish.out)
        check_same({"display": runs.begun.address}, {"display": display}, wish.out)
    ceiling = Ceiling(None if calibration is None else calibration.clip_dn)
    prepared = prepare(source, camera, plan, ceiling, screen, wish.settle_s, wish.gamma, runs.begun)
    provenance = fixed | {
        "source": wish.address, "display": {"address": display, **prepared.facts()}, "code": code_version(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    return _Ready(prepared, ceiling, calibration, provenance)


def _run(loop: Collecting, todo: list[int], signals: Signals, wish: Wish, facts: dict, screen: Screen) -> dict:
    """Run the loop, close what is open whatever happens, and say what there is now."""
    failure: BaseException | None = None
    total = len(loop.plan)
    try:
        with screen.following("collecting", total, "scenes", loop.before) as watch:
            loop.run(todo, signals, watch)
    except BaseException as error:  # raised when all is closed
        failure = error
    try:
        loop.close(signals.came > 1)
    except (LenslessError, KeyboardInterrupt) as error:
        failure = failure or error
    # What the disk did not take, and what no good look at the light came after, is not counted.
    done = loop.before + loop.collected if failure is None else _done(wish.out, facts, loop.before)
    screen.say(
        f"{done:,} of {total:,} scenes in {wish.out}: {loop.collected:,} now, in {loop.seconds:.0f} s, {loop.figures()}"
    )
    if failure is not None:
        raise _told_to_go_on(failure, done, total)
    _say_what_next(wish, loop.plan, screen)
    return _result(wish, loop.plan, done) | loop.facts()


def _done(out: pathlib.Path, facts: dict, at_least: int) -> int:
    """Scenes that count; what ended the collection is told of in any case."""
    try:
        return len(look(out, facts).done)
    except LenslessError:
        return at_least


def _told_to_go_on(failure: BaseException, done: int, total: int) -> BaseException:
    again = f"{done:,} of {total:,} scenes are collected; given again, the command goes on from there"
    if isinstance(failure, KeyboardInterrupt):
        return KeyboardInterrupt(f"interrupted: {again}")
    if isinstance(failure, DeviceError | StorageError):
        told = type(failure)(f"{failure}; {again}")
        told.__cause__ = failure
        return told
    return failure


def _facts(rig: Rig, plan: Plan) -> dict:
    """What must be the same when a collection goes on."""
    return {"rig": {"id": rig.spec.id, "fingerprint": rig.spec.fingerprint}, **plan.provenance()}


def _check_place(out: pathlib.Path) -> None:
    if out.exists() and not out.is_dir():
        raise StorageError(f"--out {out}: it is a file; a collection is a folder: name another place")
    if out.suffix == ".h5":
        raise ConfigurationError(f"--out {out}: a collection is a folder; leave '.h5' away")
    if not out.exists():
        if not out.resolve().parent.is_dir():
            raise StorageError(f"--out {out}: its folder does not exist; make it, or name another")
        text_file.check_place(out, "name another place with --out")


def _check_room(out: pathlib.Path, needed: int) -> None:
    """Say at once that a collection will not fit, and not after an hour."""
    if (free := shutil.disk_usage(out.resolve().parent).free) < needed:
        raise StorageError(
            f"--out {out}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free; ask for fewer scenes "
            "(--count) or frames (--frames), or choose another disk"
        )


def _make(out: pathlib.Path) -> None:
    try:
        out.mkdir()
    except OSError as error:
        raise StorageError(f"--out {out}: {error.strerror}; name another place") from error


def _calibration(wish: Wish, rig: Rig, camera_id: str) -> Calibration | None:
    if wish.calibration == NOMINAL:
        return Calibration.nominal(rig.spec, camera_id=camera_id)
    if wish.calibration is not None:
        calibration = Calibration.load(wish.calibration)
        if calibration.camera_id != camera_id:
            raise CalibrationMismatch(
                f"--calibration {wish.calibration} is of camera {calibration.camera_id!r}, this is {camera_id!r}; "
                "calibrate this one"
            )
        return calibration
    return rig.calibrate() if wish.address.startswith("simulated:") else None


def _keep_calibration(out: pathlib.Path, calibration: Calibration | None) -> None:
    place = out / CALIBRATION
    if calibration is None:
        return
    if not place.exists():
        calibration.save(place)
    elif Calibration.load(place).id != calibration.id:
        raise ConfigurationError(f"{place} is of another calibration than this; choose another folder with --out")


def _finish(wish: Wish, rig: Rig) -> None:
    """See that a finished collection has its calibration: a simulated rig's can be made again.

    Raises:
        InputError: the one that is there is damaged.
    """
    place = wish.out / CALIBRATION
    if place.exists():
        Calibration.load(place)
    elif wish.calibration is None and wish.address.startswith("simulated:"):
        rig.calibrate().save(place)


def _told_of_plan(plan: Plan, runs: Runs, todo: int) -> str:
    splits = ", ".join(f"{stop - first:,} {name}" for name, (first, stop) in plan.splits.items())
    found = f"; {len(runs.done):,} are there, {todo:,} to go" if runs.done else ""
    return f"{len(plan):,} scenes of {plan.name} ({splits}), {counted(plan.frames, 'frame')} of each{found}"


def _say_what_next(wish: Wish, plan: Plan, screen: Screen) -> None:
    if not (wish.out / CALIBRATION).exists():
        screen.say(f"next: measure a calibration of this camera, and put it there as {wish.out / CALIBRATION}")
        return
    first, stop = plan.splits.get("train", (0, 0))
    few = f" --batch-size {max(1, (stop - first) // 4)}" if stop - first < RECIPES["classify"].batch_size else ""
    screen.say(f"next: lensless train classify --rig {wish.rig} --scenes recorded:{wish.out}{few}")


def _result(wish: Wish, plan: Plan, done: int) -> dict:
    return {"collection": str(wish.out), "scenes": done, "of": len(plan), "frames": plan.frames, "splits": plan.splits}
