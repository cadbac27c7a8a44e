"""From a rig and a set of scenes to a checkpoint: the wiring of the learning flow."""

import contextlib
import dataclasses
import os
import pathlib
import time
from collections.abc import Callable

import torch

from calibration import Calibration
from hardware.errors import ConfigurationError
from hardware.lock import WriterLock
from lensless.app.setting import VALIDATION_STREAM, Perturbed, Setting, Source, prepared
from lensless.app.version import code_version
from lensless.data.augment import Augmentation
from lensless.data.scenes import Scenes
from lensless.launch import launch
from lensless.tasks import Classifier, Task
from lensless.tensor_file import make_folder
from lensless.train import checkpoint, fabric_on, state
from lensless.train.devices import fabric_precision
from lensless.train.loop import EpochRecord, Progress, Trainer
from lensless.train.parts import with_parts
from lensless.train.processes import Processes, joined
from lensless.train.recipe import Recipe
from lensless.train.temperature import fit_temperature

# Handwriting bends more than it moves: a strong warp and a small shift gave the best validation.
BENT = Augmentation(shift_px=0.5, turn_deg=12.0, scale=0.12, shear=0.15, warp_px=2.0)
RECIPES = {
    "reconstruct": Recipe(epochs=10, batch_size=50, learning_rate=4e-3),
    "reconstruct-learned": Recipe(epochs=12, batch_size=50),
    # As published, but for the rate, which falls here. Its adversary learns a tenth as fast.
    "reconstruct-cycle": Recipe(epochs=45, batch_size=8, learning_rate=2e-4, weight_decay=0.0),
    "classify": Recipe(epochs=120, batch_size=250, learning_rate=4e-3, augmentation=BENT, precision="32-true"),
    "classify-reconstruction": Recipe(epochs=8, batch_size=100, augmentation=BENT),
}


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a training gives: where the checkpoint lies, how it went, how long it took."""

    folder: pathlib.Path
    history: list[EpochRecord]
    seconds: float

    @property
    def best(self) -> EpochRecord:
        return max(self.history, key=lambda record: record.validation)


def train(
    task: Task,
    source: Source,
    scenes: Scenes,
    validation: Scenes,
    recipe: Recipe,
    out: pathlib.Path,
    workers: int = 0,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> Trained:
    """Train a task and keep its best epoch, by validation, in the folder `out`; a run found there is continued.

    Where torchrun started several processes they train together, and the first one writes.
    """
    began_s = time.perf_counter()
    check_scenes(task.kind, scenes, validation, recipe)
    out = pathlib.Path(out)
    with joined(source.device) as processes, contextlib.ExitStack() as held:

        def own_folder() -> None:
            make_folder(out)
            held.enter_context(WriterLock(out / "checkpoint"))  # the same command twice would spoil the files of both

        processes.by_first(own_folder)
        history = _train_in(out, task, source, scenes, validation, recipe, processes, workers, watch)
    return Trained(out, history, time.perf_counter() - began_s)


def _train_in(
    out: pathlib.Path,
    task: Task,
    source: Source,
    scenes: Scenes,
    validation: Scenes,
    recipe: Recipe,
    processes: Processes,
    workers: int,
    watch: Callable[[Progress], None],
) -> list[EpochRecord]:
    """`train` in a folder that is ours alone."""
    fabric = fabric_on(source.device, recipe.precision)
    begun = processes.by_first(lambda: state.load(out))
    recipe = with_parts(recipe, begun, processes, out)
    card = card_of(source, scenes, validation, recipe)
    _check_alike(processes, task, scenes, card)
    processes.by_first(lambda: _keep_source(source, out))
    if processes.count > 1:  # initial weights and fitted numbers, whose last bits another processor rounds otherwise
        numbers = processes.by_first(lambda: {name: value.cpu() for name, value in task.state_dict().items()})
        task.load_state_dict(numbers)
    held_out = prepared(task, source, validation, VALIDATION_STREAM)

    def save(task: Task, history: list[EpochRecord]) -> None:
        if isinstance(task, Classifier):
            fit_temperature(task, *held_out)  # for these weights; the next best epoch has one of its own
        records = [dataclasses.asdict(record) for record in history]
        checkpoint.save(out, task, {**card, "metric": task.metric_name, "history": records})

    trainer = Trainer(
        task, scenes, source.training_input(task, scenes, fabric.autocast),
        held_out, recipe, save, out, begun, fabric, processes, workers, watch, _origin(card),
    )  # fmt: skip
    history = trainer.run()
    processes.by_first(lambda: checkpoint.set_history(out, [dataclasses.asdict(record) for record in history]))
    return history


def check_scenes(kind: str, scenes: Scenes, validation: Scenes, recipe: Recipe) -> None:
    """Refuse scenes that a task of this kind cannot learn from.

    Raises:
        ConfigurationError: pictures without a label, one class only, unlike classes, fewer scenes than a
            batch takes, a batch that a classifier cannot take.
    """
    if not kind.startswith("reconstruct"):
        _check_labels(scenes, validation)
        if recipe.batch_size < 2:
            raise ConfigurationError("--batch-size 1: a classifier normalises over its batch; expected 2 or more")
    if len(scenes) < recipe.batch_size:
        raise ConfigurationError(
            f"scenes {scenes.name!r}: {len(scenes)} training scenes are less than one batch of {recipe.batch_size}; "
            "add scenes, or lower --batch-size"
        )


def _check_labels(scenes: Scenes, validation: Scenes) -> None:
    for some in (scenes, validation):
        if int(some.labels.min()) < 0:
            raise ConfigurationError(f"{unlabelled(some)}, or train reconstruct")
        if int(some.labels.max()) >= len(scenes.classes) or some.classes != scenes.classes:
            raise ConfigurationError(
                f"scenes {some.name!r} have labels up to {int(some.labels.max())} and {len(some.classes)} classes, the "
                f"training scenes {len(scenes.classes)}; validate on scenes of the same classes"
            )
    found = scenes.labels.unique()
    if len(found) < 2:
        raise ConfigurationError(
            f"scenes {scenes.name!r} are all of one class, {scenes.classes[int(found[0])]!r}; a classifier needs "
            "two at least: add scenes of another, or train reconstruct"
        )


def unlabelled(scenes: Scenes) -> str:
    """That some scenes have no label, and what to do about it."""
    count = int((scenes.labels < 0).sum())
    pairs = scenes.name.startswith("pairs:")
    how = "store an array `labels` beside them, 0 or more each" if pairs else "put each into the folder of its class"
    return f"scenes {scenes.name!r}: {count:,} of {len(scenes):,} pictures have no label; {how}"


def _check_alike(processes: Processes, task: Task, scenes: Scenes, card: dict) -> None:
    """Refuse processes that would not train the same: hosts with other files, options or versions."""
    what = {"task": task.config(), **card["recipe"], **_origin(card), "code": card["code"], "torch": card["torch"]}
    processes.check_alike(what | {"scenes": f"{scenes.name} {scenes.fingerprint()}"})


def _keep_source(source: Source, out: pathlib.Path) -> None:
    """What a checkpoint needs beside its weights."""
    if isinstance(source, Setting | Perturbed):
        _keep_calibration(source.calibration, out / checkpoint.CALIBRATION)
        source.rig.keep_beside(out)


def _keep_calibration(calibration: Calibration, path: pathlib.Path) -> None:
    """The calibration goes into the checkpoint before its weights; an earlier part of the run left the same one."""
    if not path.exists():
        calibration.save(path)
    elif Calibration.load(path).id != calibration.id:
        raise ConfigurationError(f"{path} is of another calibration than this run; name another folder with --out")


def card_of(source: Source, scenes: Scenes, validation: Scenes, recipe: Recipe) -> dict:
    """Where a checkpoint comes from: the ids of everything that went in."""
    return {
        **source.facts(),
        "scenes": {
            "train": [scenes.name, scenes.fingerprint(), len(scenes)],
            "validation": [validation.name, validation.fingerprint(), len(validation)],
        },
        "recipe": dataclasses.asdict(recipe),
        "precision": fabric_precision(recipe.precision, source.device),
        "code": code_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processes": launch().count,
        "processors": os.cpu_count(),
    }


def _origin(card: dict) -> dict:
    """What of a card must be the same when a run goes on, in words that can be shown beside those of the other run."""
    rig = card["rig"] or {"id": "none, the sharp picture", "fingerprint": "", "rays": None}
    name, fingerprint, _ = card["scenes"]["validation"]
    perturbed = {"perturbed": card["perturbed"]} if "perturbed" in card else {}
    return perturbed | {
        "rig": f"{rig['id']} {rig['fingerprint']}".rstrip(),
        "rays": rig["rays"],
        "frames": card["frames"],
        "calibration": card.get("calibration"),
        "precision": card["precision"],
        "validation": f"{name} {fingerprint}",
    }
