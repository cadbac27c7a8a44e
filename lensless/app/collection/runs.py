"""What lies in the folder of a collection: a recording of each time that the command ran, and what they hold."""

import dataclasses
import os
import pathlib
import re
import time

import numpy as np

from calibration.in_step import cells_of
from hardware import Recording
from hardware.errors import ConfigurationError, InputError, StorageError
from hardware.lock import is_written
from hardware.recording.vetting import vet

_NAME = re.compile(r"run-(\d{5})")
_PATIENCE_S = 20.0  # for the writer of a command that was killed: it writes what it was given, and ends
# A grey is stored with frames that are no scene's: 0 of a black display.
NO_SCENE = -1


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


def look(path: pathlib.Path, frames: int) -> Runs:
    """What was collected before.

    Args:
        path: of the folder, which may not be there.
        frames: of each scene; one that has fewer in a recording was interrupted, and is shown again.

    Raises:
        InputError: a recording that is damaged, or a scene that was collected twice.
        StorageError: another process goes on writing there.
    """
    if not path.exists():
        return Runs(path, 0, frozenset(), None, None)
    if not path.is_dir():
        raise StorageError(f"'{path}' is a file; a collection is a folder: choose another name with --out")
    numbers = sorted(int(found[1]) for name in os.listdir(path) if (found := _NAME.fullmatch(name)))
    done: set[int] = set()
    provenance, light = None, None
    for number in numbers:
        run = path / f"run-{number:05d}"
        _wait_for_writer(run)
        if not os.listdir(run):  # killed before its first part was there
            continue
        vet(run)
        with Recording.open(run) as recording:
            ids = recording.scene_ids
            found, times = np.unique(ids[ids != NO_SCENE], return_counts=True)
            whole = set(found[times == frames].tolist())
            if twice := whole & done:
                raise InputError(f"'{run}' holds scene {min(twice)}, and so does a run before it; move one of the two")
            done |= whole
            provenance = provenance or recording.provenance
            light = light or _first_light(recording, ids)
    return Runs(path, numbers[-1] + 1 if numbers else 0, frozenset(done), provenance, light)


def check_same(found: dict, wanted: dict, path: pathlib.Path) -> None:
    """Raises ConfigurationError if a collection was begun with other facts than it would go on with."""
    for name, value in wanted.items():
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
