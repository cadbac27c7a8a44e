"""What lies in the folder of a collection: a recording of each time that the command ran, and what they hold."""

import dataclasses
import json
import os
import pathlib
import re
import time

import numpy as np

from calibration.in_step import cells_of
from hardware import Recording
from hardware.errors import ConfigurationError, StorageError
from hardware.lock import is_written
from hardware.recording.schema import NO_SCENE, ROW
from hardware.recording.vetting import vet
from lensless.data.whole_scenes import whole_scenes

_NAME = re.compile(r"run-(\d{5})")
_PATIENCE_S = 20.0  # for the writer of a command that was killed: it writes what it was given, and ends


@dataclasses.dataclass(frozen=True, eq=False)
class Runs:
    """Args: scenes that are `done`, with all their frames; the `provenance` and first `light` that they agree in."""

    path: pathlib.Path
    count: int
    done: frozenset[int]
    provenance: dict | None
    light: tuple[np.ndarray, np.ndarray] | None

    @property
    def next_path(self) -> pathlib.Path:
        """Where the next recording goes."""
        return self.path / f"run-{self.count:05d}"


def look(path: pathlib.Path, wanted: dict) -> Runs:
    """What was collected before.

    Args:
        path: of the folder, which may not be there.
        wanted: what every recording in it must say of itself; of a scene that has fewer than the wanted `frames` in a
            recording the rest is missing, and it is shown again.

    Raises:
        ConfigurationError: a recording of another collection.
        InputError: a recording that is damaged, or a scene that is whole in two of them.
        StorageError: another process goes on writing there.
    """
    if not path.exists():
        return Runs(path, 0, frozenset(), None, None)
    if not path.is_dir():
        raise StorageError(f"'{path}' is a file; a collection is a folder: choose another name with --out")
    numbers = sorted(int(found[1]) for name in os.listdir(path) if (found := _NAME.fullmatch(name)))
    runs, rows = [], []
    provenance, light = None, None
    for run in (path / f"run-{number:05d}" for number in numbers):
        _wait_for_writer(run)
        if not os.listdir(run):  # killed before its first part was there
            continue
        vet(run)
        with Recording.open(run) as recording:
            check_same(recording.provenance, wanted, path)
            runs.append(run)
            rows.append(np.concatenate([np.zeros(0, ROW), *recording.rows()]))
            provenance = provenance or recording.provenance
            light = light or _first_light(recording, rows[-1]["scene_id"])
    done, *_ = whole_scenes(rows, runs, wanted["frames"])
    return Runs(path, numbers[-1] + 1 if numbers else 0, frozenset(done.tolist()), provenance, light)


def check_same(found: dict, wanted: dict, path: pathlib.Path) -> None:
    """Raises ConfigurationError if a collection was begun with other facts than it would go on with."""
    for name, value in json.loads(json.dumps(wanted)).items():  # as a recording gives it back: lists, no tuples
        if found.get(name) != value:
            raise ConfigurationError(
                f"'{path}' was begun with {name} {_short(found.get(name))}, and would go on with {_short(value)}; "
                "give the same options again, or choose another folder with --out"
            )


def _wait_for_writer(run: pathlib.Path) -> None:
    until_s = time.monotonic() + _PATIENCE_S
    while is_written(run):
        if time.monotonic() > until_s:
            raise StorageError(f"'{run}' is being written by another process; wait for it, or end it")
        time.sleep(0.1)


def _first_light(recording: Recording, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Cells of the first frames before a black and a bright display."""
    black, bright = [], []
    for at in np.flatnonzero(ids == NO_SCENE)[:8].tolist():
        (bright if recording.scene(at).any() else black).append(recording[at])
    return (cells_of(black), cells_of(bright)) if black and bright else None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:76]} ..."
