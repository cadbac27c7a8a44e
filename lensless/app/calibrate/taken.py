"""What lies in the folder of a calibration: the frames that were taken, by shot."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Iterable, Iterator

import numpy as np

from calibration.plan import Shot
from calibration.stack import Stack
from hardware import Frame, Recording
from hardware.errors import InputError
from hardware.recording.schema import NO_SCENE
from hardware.recording.vetting import vet
from lensless.app.collection.runs import LOOK_FRAMES, check_same, wait_for_writer

FRAMES = "frames"
_NAME = re.compile(r"run-(\d{5})")


@dataclasses.dataclass(frozen=True, eq=False)
class Look:
    """Frames of a black and of a bright display, and at which position of its run they begin."""

    position: int
    black: list[Frame]
    bright: list[Frame]


class Taken:
    """The frames of a calibration. A shot is there when one recording holds all of its frames.

    Args:
        path: folder of the calibration; its recordings lie in its `frames`.
        wanted: what each recording must say of itself; None believes them.

    Raises:
        ConfigurationError: a recording of another calibration.
        InputError: a recording that is damaged.
        StorageError: another process goes on writing there.
    """

    def __init__(self, path: pathlib.Path, wanted: dict | None):
        self.folder = path / FRAMES
        self.provenance: dict | None = None
        self._runs: list[Recording] = []
        self._places: dict[int, tuple[int, np.ndarray]] = {}
        self._looks: list[list[int]] = []
        self.count = 0
        names = sorted(os.listdir(self.folder)) if self.folder.is_dir() else []
        for run in (self.folder / name for name in names if _NAME.fullmatch(name)):
            self.count = int(run.name[-5:]) + 1
            wait_for_writer(run)
            if any(run.glob("part-*")):
                self._take_in(run, wanted)

    def _take_in(self, run: pathlib.Path, wanted: dict | None) -> None:
        vet(run)
        recording = Recording.open(run)
        self._runs.append(recording)
        if wanted is not None:
            check_same(recording.provenance, wanted, self.folder.parent)
        self.provenance = self.provenance or recording.provenance
        ids = recording.scene_ids
        for number in np.unique(ids[ids != NO_SCENE]).tolist():
            positions = np.flatnonzero(ids == number)
            if number not in self._places or len(positions) >= len(self._places[number][1]):
                self._places[number] = len(self._runs) - 1, positions
        looks = np.flatnonzero(ids == NO_SCENE)
        whole = len(looks) // (2 * LOOK_FRAMES) * 2 * LOOK_FRAMES
        self._looks.append(looks[: whole : 2 * LOOK_FRAMES].tolist())

    def __enter__(self) -> "Taken":
        return self

    def __exit__(self, *_: object) -> None:
        for run in self._runs:
            run.close()

    @property
    def next_path(self) -> pathlib.Path:
        """Where the next recording goes."""
        return self.folder / f"run-{self.count:05d}"

    @property
    def runs(self) -> int:
        """How many recordings there are."""
        return len(self._runs)

    def has(self, shot: Shot) -> bool:
        return len(self._places.get(shot.id, (0, ()))[1]) >= shot.frames

    def ids(self) -> list[int]:
        """Of all shots of which some frame is there."""
        return sorted(self._places)

    def frames(self, shot: Shot) -> list[Frame]:
        """All frames of a shot that is there."""
        run, positions = self._places[shot.id]
        return [self._runs[run][int(at)] for at in positions[: shot.frames]]

    def stack(self, shot: Shot) -> Stack:
        return Stack.of(self.frames(shot))

    def place(self, shot: Shot) -> tuple[int, float]:
        """Which run a shot stands in, and where."""
        run, positions = self._places[shot.id]
        return run, float(positions[: shot.frames].mean())

    def looks(self, run: int) -> Iterator[Look]:
        """The looks at black and bright of a run, in order."""
        for at in self._looks[run]:
            frames = [self._runs[run][int(at) + number] for number in range(2 * LOOK_FRAMES)]
            yield Look(at, frames[:LOOK_FRAMES], frames[LOOK_FRAMES:])


def stacks_of(path: pathlib.Path) -> list[Stack]:
    """The frames of a recording, or of several in a folder, as one stack for each exposure, the shortest first.

    Raises:
        InputError: no recording, or one with too few frames.
    """
    vet(path)
    by_exposure: dict[float, list[Frame]] = {}
    with Recording.open(path) as recording:
        for frame in recording:
            by_exposure.setdefault(frame.meta.exposure_s, []).append(frame)
    if not by_exposure or min(map(len, by_exposure.values())) < 2:
        raise InputError(f"'{path}' holds fewer than 2 frames of some exposure; record more: --frames 48")
    return [Stack.of(by_exposure[exposure_s]) for exposure_s in sorted(by_exposure)]


def missing(taken: Taken, shots: Iterable[Shot]) -> list[Shot]:
    """Shots that are not there yet."""
    return [shot for shot in shots if not taken.has(shot)]
