"""A trained task in a folder: all that inference needs, and a card that says where it came from.

    weights.safetensors   network and pre-processing; its header holds the card
    card.json             the same card, for people
    calibration.npz       of the sensor that it was trained for

Never pickle: a checkpoint from a stranger can be wrong, but it cannot run code.
"""

import dataclasses
import json
import os
import pathlib

from calibration import Calibration
from hardware.errors import CalibrationMismatch, InputError, StorageError
from lensless.tasks import Task, build
from lensless.train import files

FORMAT = 1
WEIGHTS, CARD, CALIBRATION = "weights.safetensors", "card.json", "calibration.npz"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A task, its card, and the calibration that turns frames into what the task takes."""

    task: Task
    card: dict
    calibration: Calibration


def save(folder: pathlib.Path, task: Task, card: dict) -> None:
    """Write task and card; a reader sees the old checkpoint or the new one. The calibration is written once, before.

    Raises:
        StorageError: no room, or the folder cannot be written.
    """
    numbers = task.numbers()
    whole = {"format": FORMAT, "task": task.config(), "numbers": dataclasses.asdict(numbers), **card}
    files.write(folder / WEIGHTS, task.state_dict(), whole)
    temporary = folder / (CARD + ".part")
    try:
        temporary.write_text(json.dumps(whole, indent=2) + "\n")
        os.replace(temporary, folder / CARD)
    except OSError as error:
        raise StorageError(f"cannot write {folder / CARD}: {error}; the weights beside it are complete") from error


def load(folder: str | pathlib.Path) -> Checkpoint:
    """The checkpoint in a folder, on the CPU, ready for inference.

    Raises:
        InputError: missing, damaged, of another format, or its numbers do not fit its description.
    """
    folder = pathlib.Path(folder)
    tensors, card = files.read(folder / WEIGHTS)
    if card.get("format") != FORMAT or not isinstance(card.get("task"), dict):
        raise InputError(
            f"{folder / WEIGHTS}: checkpoint format {card.get('format')!r}, this version reads {FORMAT}; "
            "train again, or install the version that wrote it"
        )
    task = build(card["task"])
    try:
        task.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"{folder / WEIGHTS}: its numbers do not fit its description: {reason}") from error
    return Checkpoint(task.eval(), card, Calibration.load(folder / CALIBRATION))


def check_rig(card: dict, rig_id: str, fingerprint: str, where: str) -> None:
    """Refuse a checkpoint that was trained for another rig.

    Raises:
        CalibrationMismatch: another id, or the same id with other facts.
    """
    trained = card["rig"]
    if trained["id"] != rig_id:
        raise CalibrationMismatch(
            f"{where}: trained for rig {trained['id']!r}, asked to serve rig {rig_id!r}; "
            f"train one for it: lensless train {card['task']['kind'].split('-')[0]} --rig {rig_id}"
        )
    if trained["fingerprint"] != fingerprint:
        raise CalibrationMismatch(
            f"{where}: trained for rig {rig_id!r} as it was then (fingerprint {trained['fingerprint'][:12]}), "
            f"its file now says something else ({fingerprint[:12]}); a changed rig needs a new id and a new training"
        )
