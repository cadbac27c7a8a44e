"""A trained task in a folder: all that inference needs, and a card that says where it came from.

    weights.safetensors   network and pre-processing; its header holds the card
    card.json             the same card, for people
    calibration.npz       of the sensor that it was trained for

Never pickle: a checkpoint from a stranger can be wrong, but it cannot run code.
"""

import contextlib
import dataclasses
import importlib.resources
import json
import os
import pathlib

import torch

from calibration import Calibration
from hardware.errors import CalibrationMismatch, ConfigurationError, InputError, StorageError
from lensless import tensor_file
from lensless.tasks import Task, build
from lensless.train.older import completed

FORMAT = 1
WEIGHTS, CARD, CALIBRATION = "weights.safetensors", "card.json", "calibration.npz"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A task, its card, and the calibration that turns frames into what the task takes.

    A task that was trained on sharp pictures, for comparison, has no calibration.
    """

    task: Task
    card: dict
    calibration: Calibration | None


def save(folder: pathlib.Path, task: Task, card: dict) -> None:
    """Write task and card; a reader sees the old checkpoint or the new one. The calibration is written once, before.

    Raises:
        StorageError: no room, or the folder cannot be written.
    """
    numbers = task.numbers()
    whole = {"format": FORMAT, "task": task.config(), "numbers": dataclasses.asdict(numbers), **card}
    _write(folder, task.state_dict(), whole)


def set_history(folder: pathlib.Path, history: list[dict]) -> None:
    """Put the records of all epochs into the card: it was written with the best one, and others came after it.

    Raises:
        InputError, StorageError: the checkpoint cannot be read or written; the old one stays.
    """
    tensors, card = tensor_file.read(folder / WEIGHTS)
    if card.get("history") != history:
        _write(folder, tensors, {**card, "history": history})
    elif _card_beside(folder) != card:  # the writer was killed between the two files
        _write_card(folder, card)


def _card_beside(folder: pathlib.Path) -> dict | None:
    """What card.json says; None where it is missing or nobody can read it."""
    try:
        return json.loads((folder / CARD).read_text())
    except (OSError, ValueError):
        return None


def _write(folder: pathlib.Path, tensors: dict[str, torch.Tensor], whole: dict) -> None:
    tensor_file.write(folder / WEIGHTS, tensors, whole)
    _write_card(folder, whole)


def _write_card(folder: pathlib.Path, whole: dict) -> None:
    temporary = folder / (CARD + ".part")
    try:
        temporary.write_text(json.dumps(whole, indent=2) + "\n")
        os.replace(temporary, folder / CARD)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StorageError(f"cannot write {folder / CARD}: {error}; the weights beside it are complete") from error


def load(folder: str | pathlib.Path) -> Checkpoint:
    """The checkpoint in a folder, on the CPU, ready for inference.

    Raises:
        InputError: missing, damaged, of another format, or its numbers do not fit its description.
        CalibrationMismatch: the calibration beside the weights is not the one that they were trained with.
    """
    folder = pathlib.Path(folder)
    path = folder / WEIGHTS
    tensors, card = tensor_file.read(path)
    _check_card(card, path)
    task = _task_of(card["task"], tensors, path)
    if card["rig"] is None:
        return Checkpoint(task.eval(), card, None)
    calibration = Calibration.load(folder / CALIBRATION)
    if card["calibration"] != calibration.id:
        raise CalibrationMismatch(
            f"{path}: trained with calibration {card['calibration']}, {CALIBRATION} beside it is {calibration.id}; "
            "copy the whole folder of the checkpoint again, or train again"
        )
    return Checkpoint(task.eval(), card, calibration)


def _check_card(card: dict, path: pathlib.Path) -> None:
    if card.get("format") != FORMAT:
        raise InputError(
            f"{path}: checkpoint format {card.get('format')!r}, this version reads {FORMAT}; "
            "train again, or install the version that wrote it"
        )
    rig, recipe, scenes = card.get("rig", "missing"), card.get("recipe"), card.get("scenes")
    has_rig = isinstance(rig, dict) and all(isinstance(rig.get(key), str) for key in ("id", "fingerprint"))
    whole = rig is None or (has_rig and isinstance(card.get("calibration"), str))
    known = isinstance(recipe, dict) and isinstance(scenes, dict) and all(map(_names_scenes, scenes.values()))
    if not (whole and known and isinstance(card.get("task"), dict)):
        raise InputError(
            f"{path}: its card lacks the task, the rig, the calibration, the scenes or the recipe; "
            "take a copy of it, or train again"
        )


def _names_scenes(said: object) -> bool:
    return isinstance(said, list) and bool(said) and isinstance(said[0], str)


def _task_of(config: dict, tensors: dict[str, torch.Tensor], path: pathlib.Path) -> Task:
    """The task that a checkpoint describes, with its numbers; nothing is allocated before the two agree."""
    try:
        with torch.device("meta"):  # shapes without memory: a description may claim any size
            task = build(config)
            expected = {name: (tuple(value.shape), value.dtype) for name, value in task.state_dict().items()}
    except InputError as error:
        raise InputError(f"{path}: {error}; take a copy of it, or train again") from error
    tensors = completed(tensors, task)
    found = {name: (tuple(value.shape), value.dtype) for name, value in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise InputError(
                f"{path}: its numbers do not fit its description: {name!r} is {found.get(name)}, "
                f"expected {expected.get(name)}; take a copy of it, or train again"
            )
    task = build(config)
    task.load_state_dict(tensors)
    try:
        task.check()
    except ConfigurationError as error:
        raise InputError(f"{path}: {error}; take a copy of it, or train again") from error
    return task


def check_rig(card: dict, rig_id: str, fingerprint: str, where: str) -> None:
    """Refuse a checkpoint that was trained for another rig.

    Raises:
        CalibrationMismatch: another id, or the same id with other facts.
    """
    trained = card["rig"]
    if trained is None:
        raise CalibrationMismatch(
            f"{where}: trained on sharp pictures, for comparison; it can serve no rig ({rig_id!r})"
        )
    if trained["id"] != rig_id:
        shipped = {
            file.name.removesuffix(".toml") for file in (importlib.resources.files("hardware") / "rigs").iterdir()
        }
        name = rig_id if rig_id.partition("~")[0] in shipped else f"FILE.toml, with the file of rig {rig_id!r}"
        raise CalibrationMismatch(
            f"{where}: trained for rig {trained['id']!r}, asked to serve rig {rig_id!r}; "
            f"train one for it: lensless train {card['task']['kind'].split('-')[0]} --rig {name}"
        )
    if trained["fingerprint"] != fingerprint:
        raise CalibrationMismatch(
            f"{where}: trained for rig {rig_id!r} as it was then (fingerprint {trained['fingerprint'][:12]}), "
            f"its file now says something else ({fingerprint[:12]}); a changed rig needs a new id and a new training"
        )
