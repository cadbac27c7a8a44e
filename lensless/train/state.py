"""Where a training run stands, so that it can go on after a kill: the newest state and the one before it."""

import json
import logging
import os
import pathlib

from torch import Tensor

from hardware.errors import ConfigurationError, InputError, StorageError
from lensless import tensor_file

NEWEST, PREVIOUS, DAMAGED = "state.safetensors", "state.previous.safetensors", "state.damaged.safetensors"
KIND, REMEDY = "state of a training", "name another folder with --out to begin again"

log = logging.getLogger(__name__)


def store(folder: pathlib.Path, tensors: dict[str, Tensor], facts: dict) -> None:
    """Write the state; the one that was newest is kept as the previous one.

    Raises:
        StorageError: no room, or the folder cannot be written; the states that stood there are untouched.
    """
    newest = folder / NEWEST
    if newest.exists():
        try:
            _keep_as_previous(newest, folder / PREVIOUS)
        except OSError as error:
            raise StorageError(f"cannot write {folder / PREVIOUS}: {error}; {newest} is untouched") from error
    tensor_file.write(newest, tensors, facts)


def load(folder: pathlib.Path) -> tuple[dict[str, Tensor], dict] | None:
    """The newest state, or None where no run began.

    Where the newest is damaged or gone, the one before it: the run repeats an epoch and ends with the same bits.
    It says so in the log, and puts the damaged file aside, so that it does not become the previous one.

    Raises:
        InputError: neither can be read.
        StorageError: the damaged one cannot be put aside.
    """
    newest, previous = folder / NEWEST, folder / PREVIOUS
    if not newest.exists() and not previous.exists():
        return None
    try:
        return tensor_file.read(newest, KIND, REMEDY)
    except InputError as error:
        if not previous.exists():
            raise
        problem = error
    try:
        found = tensor_file.read(previous, KIND, REMEDY)
    except InputError as error:
        raise InputError(f"{problem}. The state before it cannot be read either ({previous})") from error
    try:
        if newest.exists():
            os.replace(newest, folder / DAMAGED)
    except OSError as error:
        raise StorageError(f"{problem}. It cannot be put aside: {error}; name another folder with --out") from error
    log.warning("%s. Going on from the state before it, after epoch %s", problem, found[1].get("epoch"))
    return found


def check_same_run(folder: pathlib.Path, found: dict, wanted: dict) -> None:
    """Refuse to go on with a run that was begun with other settings or data.

    Raises:
        ConfigurationError: names all settings that differ; of another kind of task, only that.
    """
    wanted = json.loads(json.dumps(wanted))  # as `found` went through a file: tuples are lists
    differ = []
    for part in ("task", "recipe", "data"):
        for key in sorted(found[part].keys() | wanted[part].keys()):
            before, now = (values.get(key, "its default") for values in (found[part], wanted[part]))
            if before != now:
                differ.append((key, f"{key} = {before}, not {now}"))
    kind = [words for key, words in differ if key == "kind"]  # another kind of task differs in everything
    if differ:
        raise ConfigurationError(
            f"{folder} holds a training run with {'; '.join(kind or [words for _, words in differ])}; "
            "go on with the settings it was begun with, or name another folder with --out"
        )


def _keep_as_previous(newest: pathlib.Path, previous: pathlib.Path) -> None:
    temporary = previous.with_name(previous.name + ".part")
    temporary.unlink(missing_ok=True)
    try:
        os.link(newest, temporary)  # a second name, so that `newest` is there at every instant
    except OSError:  # FAT and some network disks know no second name; `load` can do without `newest`
        os.replace(newest, previous)
        return
    os.replace(temporary, previous)
    temporary.unlink(missing_ok=True)  # rename does nothing where both are names of one file, as after a kill
