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
from hardware.errors import ConfigurationError, InputError, StorageError
from hardware.lock import is_written
from hardware.recording.schema import NO_SCENE, ROW
from hardware.recording.vetting import vet
from lensless.data.whole_scenes import whole_scenes

LOOK_FRAMES = 2  # of black, then of bright, whenever the light is looked at
_NAME = re.compile(r"run-(\d{5})")
_PATIENCE_S = 20.0  # for the writer of a command that was killed: it writes what it was given, and ends


@dataclasses.dataclass(frozen=True)
class Begun:
    """How the display of a collection was found to be when it was begun: see `Prepared`."""

    address: str
    bright: float
    gamma: float


@dataclasses.dataclass(frozen=True, eq=False)
class Runs:
    """Args: `count` of runs; scenes that are `done`; of the first run that kept any its `provenance`, its first
    `light`, and how it was `begun`.
    """

    path: pathlib.Path
    count: int
    done: frozenset[int]
    provenance: dict | None
    light: tuple[np.ndarray, np.ndarray] | None
    begun: Begun | None

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
        return Runs(path, 0, frozenset(), None, None, None)
    if not path.is_dir():
        raise StorageError(f"'{path}' is a file; a collection is a folder: choose another name with --out")
    numbers = sorted(int(found[1]) for name in os.listdir(path) if (found := _NAME.fullmatch(name)))
    runs, rows, facts = [], [], []
    for run in (path / f"run-{number:05d}" for number in numbers):
        wait_for_writer(run)
        if not run.is_dir():
            raise InputError(f"'{run}' is no folder; a collection keeps its recordings so: move that file elsewhere")
        if not any(run.glob("part-*")):  # killed before its first part was there
            continue
        vet(run)
        with Recording.open(run) as recording:
            check_same(recording.provenance, wanted, path)
            runs.append(run)
            rows.append(np.concatenate([np.zeros(0, ROW), *recording.rows()]))
            facts.append((recording.provenance, _first_light(recording, rows[-1]["scene_id"])))
    done, run_of, *_ = whole_scenes(rows, runs, wanted["frames"], looks=True)
    count = numbers[-1] + 1 if numbers else 0
    if not len(done):  # a run that kept nothing, perhaps before a display that was not right, sets no standard
        return Runs(path, count, frozenset(), None, None, None)
    first = int(run_of.min())
    provenance, light = facts[first]
    return Runs(path, count, frozenset(done.tolist()), provenance, light, begun_of(provenance, runs[first]))


def check_same(found: dict, wanted: dict, path: pathlib.Path) -> None:
    """Raises ConfigurationError if a collection was begun with other facts than it would go on with."""
    for name, value in json.loads(json.dumps(wanted)).items():  # as a recording gives it back: lists, no tuples
        if found.get(name) != value:
            raise ConfigurationError(
                f"'{path}' was begun with {name} {_short(found.get(name))}, and would go on with {_short(value)}; "
                "give the same options again, or choose another folder with --out"
            )


def wait_for_writer(run: pathlib.Path) -> None:
    """Wait for the writer of a command that was killed. Raises StorageError if it goes on and on."""
    until_s = time.monotonic() + _PATIENCE_S
    while is_written(run):
        if time.monotonic() > until_s:
            raise StorageError(f"'{run}' is being written by another process; wait for it, or end it")
        time.sleep(0.1)


def begun_of(provenance: dict, run: pathlib.Path) -> Begun:
    """How the display of a recording was. Raises InputError if that does not say it."""
    display = provenance.get("display")
    try:
        begun = Begun(display["address"], display["bright"], display["response"]["gamma"])
        if isinstance(begun.address, str) and 0 < begun.bright <= 1 and 0.2 <= begun.gamma <= 5:
            return begun
    except (KeyError, TypeError):
        pass
    raise InputError(f"'{run}' does not say how its display was, so it cannot be gone on with: choose another folder")


def _first_light(recording: Recording, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Cells of the frames of the first look: before a black, and a bright display."""
    first = [recording[at] for at in np.flatnonzero(ids == NO_SCENE)[: 2 * LOOK_FRAMES].tolist()]
    if len(first) < 2 * LOOK_FRAMES:
        return None
    return cells_of(first[:LOOK_FRAMES]), cells_of(first[LOOK_FRAMES:])


def _short(value: object) -> str:
    if isinstance(value, dict) and "id" in value:  # a rig
        return f"{value['id']!r} (fingerprint {str(value.get('fingerprint'))[:12]})"
    text = repr(value)
    return text if len(text) < 80 else f"{text[:76]} ..."
