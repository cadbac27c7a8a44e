"""`lensless calibrate --check`: has the rig moved since it was calibrated, what does that cost, and the way back."""

import contextlib
import dataclasses
import pathlib
import tempfile
from collections.abc import Iterator

import numpy as np
import torch

from calibration.drift import Drift, fit_drift
from calibration.patterns import random_patterns
from hardware import CameraSettings, Frame
from hardware.errors import ConfigurationError, StorageError
from lensless.app.calibrate.bundle import pose_rows
from lensless.app.calibrate.cost import Cost, cost_of, scenes_of
from lensless.app.calibrate.moves import MeasuredMoves, moves_of
from lensless.app.collection.preparation import Ceiling, measure_display
from lensless.app.collection.stand import SIMULATED, open_stand
from lensless.app.load import setting_of
from lensless.app.measured_rig import MeasuredRig, is_measured, open_measured, read_facts, write_measured
from lensless.app.screen import Screen
from lensless.app.signals import Signals
from lensless.evaluate.figures import HEADS, shown
from lensless.train import checkpoint

PATTERNS = 16
_PLACES = 13  # about as many are tried
CHECKPOINT = "checkpoint"


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is to be checked: the options of the command, as they were given.

    Args:
        rig: the folder that `lensless calibrate` wrote.
        camera, display: addresses; None: those that it was calibrated with.
        checkpoint: of a network that was trained for it.
        out: folder for the rig as it stands now, and for the checkpoint that knows it.
        frames: of each pattern.
        settle_s, gamma: of the display; None: measured.
        rays: of the design's matrix.
        data: where the scenes of the checkpoint lie.
    """

    rig: str
    camera: str | None = None
    display: str | None = None
    checkpoint: pathlib.Path | None = None
    out: pathlib.Path | None = None
    frames: int = 8
    settle_s: float | None = None
    gamma: float | None = None
    rays: int | None = None
    data: pathlib.Path | None = None


def check(wish: Wish, screen: Screen) -> dict:
    """Show a few patterns again, and explain what has changed.

    Raises:
        ConfigurationError: no folder of a measured rig, or a checkpoint of another one.
        CalibrationMismatch: another camera, other settings, or a display that it does not see.
        StorageError: --out exists.
    """
    rig = _opened(wish)
    found = scenes = None
    if wish.checkpoint is not None:
        found = _checkpoint_of(wish.checkpoint, rig)
        scenes = scenes_of(found, wish.data)
    with screen.working("matrix of its design"):
        moves = moves_of(rig, wish.rays)
    y, variance, weights = _seen(wish, rig, screen)
    with screen.following("where it stands now", _PLACES, "places") as watch:
        drift = fit_drift(
            y, lambda place: moves.frames(weights, place), moves.unknowns, variance, rig.spec.sensor.shape,
            lambda tried: watch(min(tried, _PLACES), ""),
        )  # fmt: skip
    screen.table(rig.id, ["", "", ""], [list(row) for row in _rows(drift)])
    facts = {"rig": rig.id, "still": drift.is_still, **_numbers(drift)}
    if found is None and wish.out is None:
        screen.say(_verdict(drift, wish))
        return facts
    with _becoming(wish.out) as folder:
        now = _write_now(folder, rig, moves, drift)
        if found is not None:
            setting = setting_of(found, str(wish.checkpoint))
            with screen.working(f"what it costs {wish.checkpoint}"):
                cost = cost_of(found, setting, now, scenes)
            screen.table("", ["", HEADS[cost.metric], ""], _cost_rows(cost))
            facts["cost"] = dataclasses.asdict(dataclasses.replace(cost, task=None))
            _write_checkpoint(folder / CHECKPOINT, found, cost, now)
    screen.say(_verdict(drift, wish))
    return facts | ({} if wish.out is None else {"folder": str(wish.out), "now": now.id})


@contextlib.contextmanager
def _becoming(out: pathlib.Path | None) -> Iterator[pathlib.Path]:
    """A folder that takes the place of `out` when all of it is written; without one it is gone afterwards.

    Raises:
        StorageError: it cannot be written.
    """
    beside = None if out is None else out.resolve().parent
    try:
        with tempfile.TemporaryDirectory(prefix=".lensless-check-", dir=beside) as made:
            folder = pathlib.Path(made) / "now"
            yield folder
            if out is not None:
                folder.rename(out)
    except OSError as error:
        raise StorageError(f"cannot write {out or 'a temporary folder'}: {error}; name another with --out") from error


def _opened(wish: Wish) -> MeasuredRig:
    if not is_measured(wish.rig):
        raise ConfigurationError(
            f"--check {wish.rig}: no folder of a measured rig; name the one that `lensless calibrate` wrote"
        )
    if wish.out is not None and (wish.out.exists() or not wish.out.resolve().parent.is_dir()):
        why = "it exists, and nothing is overwritten" if wish.out.exists() else "its folder does not exist"
        raise StorageError(f"--out {wish.out}: {why}; name another folder")
    return open_measured(wish.rig)


def _checkpoint_of(folder: pathlib.Path, rig: MeasuredRig) -> checkpoint.Checkpoint:
    found = checkpoint.load(folder)
    checkpoint.check_rig(found.card, rig.id, rig.spec.fingerprint, str(folder))
    return found


def _addresses(wish: Wish) -> tuple[str, str | None]:
    """Of camera and display: those that were given, or those that the rig was calibrated with."""
    if wish.camera is not None:
        return wish.camera, wish.display
    try:
        made_from = read_facts(pathlib.Path(wish.rig))["measured"]["made_from"]
        camera, said = str(made_from["source"]), str(made_from["display"]["address"])
    except (KeyError, TypeError):
        raise ConfigurationError(
            f"--check {wish.rig}: it does not say with which camera it was calibrated; name its address"
        ) from None
    return camera, wish.display or (None if said == SIMULATED else said)


def _seen(wish: Wish, rig: MeasuredRig, screen: Screen) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(K, pixels) light of the patterns above black, white = 1; its variance; and (K, points) their radiance."""
    address, display = _addresses(wish)
    calibration, patterns = rig.own_calibration, random_patterns(rig.spec.scene.shape, seed=1, count=PATTERNS)
    settings = CameraSettings(exposure_s=calibration.exposure_s[0], gain_db=calibration.gain_db)
    with Signals(), screen.working(f"looking through {address}"):
        stand = open_stand(address, display, rig, hidden=True)
        with stand as opened:
            opened.camera.configure(settings)
            calibration.apply(opened.camera.snap(1)[0])  # refuses another camera, and other settings
            ceiling = Ceiling(calibration.clip_dn)
            show, _, bright = measure_display(
                opened.display, opened.camera, ceiling, screen, wish.settle_s, wish.gamma
            )  # fmt: skip

            def light(frames: list[Frame], what: str) -> np.ndarray:
                for frame in frames:
                    ceiling.check(frame, what)
                return np.mean([calibration.apply(frame).y.ravel() for frame in frames], 0, dtype=np.float64)

            black = light(show.level(0.0, 2 * wish.frames), "black")
            taken = [light(show(patterns.picture(k) * bright, wish.frames), f"pattern {k}") for k in range(PATTERNS)]
    dark_level = rig.spec.scene.dark_level
    weights = (1 - dark_level) * bright * patterns.weights.astype(np.float32)
    noise, planes = rig.noise(gain_db=calibration.gain_db), np.stack(taken)
    of_frames = noise.variance(torch.from_numpy(planes).clamp_min(0), wish.frames).numpy()
    of_black = noise.variance(torch.from_numpy(black).clamp_min(0), 2 * wish.frames).numpy()
    entry = rig.forward_model.noise_std.numpy().reshape(-1)
    of_matrix = np.square(entry)[None] * np.square(weights).sum(1)[:, None]
    return (planes - black).astype(np.float32), (of_frames + of_black + of_matrix).astype(np.float32), weights


def _rows(drift: Drift) -> list[tuple[str, str, str]]:
    rows = [("all light", f"{drift.gain.value:+.2%}", f"+- {drift.gain.std:.2%}")]
    rows += [(name, value, note) for name, value, note in pose_rows(drift.moved, drift=True)]
    if not drift.moved:
        rows.append(("has moved", "not known", "its calibration has found no shadows by which it could be seen"))
    rows.append(("new specks", str(drift.specks), f"{int(drift.shadows.sum())} pixels lie in their shadows"))
    rows.append(("the frames have changed by", f"{drift.changed:.1%}", "of the light of the patterns, beyond noise"))
    rows.append(("of which is not explained", f"{drift.left:.1%}", ""))
    return rows


def _numbers(drift: Drift) -> dict:
    plain = {name: dataclasses.asdict(found) for name, found in drift.moved.items()}
    return {
        "gain": dataclasses.asdict(drift.gain), "moved": plain, "specks": drift.specks, "changed": drift.changed,
        "left": drift.left, "significance": list(drift.significance),
    }  # fmt: skip


def _cost_rows(cost: Cost) -> list[list[str]]:
    said = (
        ("as it was calibrated", cost.before, ""), ("as it stands now", cost.now, "simulated with what was found"),
        ("after re-registration", cost.after, f"{cost.restored:.0%} of the loss is back" if cost.loss > 0 else ""),
    )  # fmt: skip
    return [[name, shown(cost.metric, value), note] for name, value, note in said]


def _verdict(drift: Drift, wish: Wish) -> str:
    if drift.is_still:
        said = f"the calibration still holds: the frames have changed by {drift.changed:.1%} beyond noise"
    else:
        said = "the rig has changed since it was calibrated"
    if wish.out is not None:
        beside = "" if wish.checkpoint is None else f" and {wish.out / CHECKPOINT}"
        return f"{said}; written: {wish.out}{beside}, which know the rig as it stands now"
    return said if drift.is_still else f"{said}; give --out FOLDER to write it as it stands now, or calibrate again"


def _write_now(out: pathlib.Path, rig: MeasuredRig, moves: MeasuredMoves, drift: Drift) -> MeasuredRig:
    """The measured rig as it stands now, in a folder of its own."""
    scale = (1 + drift.gain.value) * drift.response[:, None]
    matrix = torch.from_numpy((moves.matrix(drift.place) * scale).astype(np.float32)).clamp_min(0)  # light
    base, mark, count = rig.id.rpartition("+")
    rig_id = f"{base}+{int(count) + 1}" if mark and count.isdecimal() else f"{rig.id}+1"
    spec = dataclasses.replace(moves.spec(drift.place), id=rig_id)
    out.mkdir()
    found = {"registered_from": rig.id, "drift": _numbers(drift)}
    facts = read_facts(rig.matrix_file.parent).get("measured")
    found |= {name: value for name, value in facts.items() if name not in found} if isinstance(facts, dict) else {}
    write_measured(out, spec, rig.own_calibration, matrix, rig.forward_model.noise_std, found)
    return open_measured(out)


def _write_checkpoint(out: pathlib.Path, found: checkpoint.Checkpoint, cost: Cost, now: MeasuredRig) -> None:
    """The checkpoint that knows the rig as it stands now; its network is the same."""
    out.mkdir()
    found.calibration.save(out / checkpoint.CALIBRATION)
    now.keep_beside(out)
    spec = now.spec
    rig = {"id": spec.id, "fingerprint": spec.fingerprint, "facts": dataclasses.asdict(spec), "rays": None}
    kept = {name: value for name, value in found.card.items() if name not in ("format", "task", "numbers")}
    checkpoint.save(out, cost.task, kept | {"rig": rig, "registered_from": found.card["rig"]["id"]})
