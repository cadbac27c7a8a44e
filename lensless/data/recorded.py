"""Recordings of scenes, as `lensless record --scenes` and `lensless simulate` make them, as pairs to learn from.

Several recordings of one collection count as one: it may have been interrupted and gone on in a new file. A scene
counts when one of them holds as many frames of it as were to be taken; what lies in between (black and white frames
for reference, the torn end of a run) is passed over.
"""

import functools
import hashlib
import json
import pathlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass

import numpy as np
import torch

from calibration import Calibration
from hardware import Recording
from hardware.errors import FrameSaturated, InputError
from hardware.recording.schema import ROW
from hardware.recording.vetting import vet
from hardware.replay import recordings_at
from lensless.data import array_cache
from lensless.data.collection_facts import CollectionFacts, facts_of, in_channels
from lensless.data.measured_scenes import MeasuredScenes, Origin, Track
from lensless.data.scene_set import SPLITS, Scenes
from lensless.data.whole_scenes import whole_scenes

_CODE = 1  # goes up when measurements are computed in another way: what was cached is then computed again
_HELD_OUT = 10  # where no scenes were recorded for validation, one in ten of the training scenes serves


def shown_scenes(path: str | pathlib.Path, split: str) -> Scenes:
    """The pictures that recordings show, (N, C, h, w), without their frames.

    Raises:
        InputError: no recording of scenes, or none of this split.
    """
    return Collection.open(path).shown(split)


@dataclass(frozen=True, eq=False)
class Collection:
    """Scenes that stand in recordings of one camera.

    `facts` hold for all `runs`; `ids` (S,) int64 of the complete scenes, rising; frame `members[i, j]` of run `run[i]`
    is the j-th of scene i; `torn` scenes have too few frames.
    """

    path: pathlib.Path
    facts: CollectionFacts
    runs: tuple[pathlib.Path, ...]
    rows: tuple[np.ndarray, ...]
    ids: np.ndarray
    run: np.ndarray
    members: np.ndarray
    torn: int
    raw = True

    @classmethod
    def open(cls, path: str | pathlib.Path) -> "Collection":
        """Look through the recordings at `path`, of unknown origin: a file, a folder of parts, or a folder of them.

        Raises:
            InputError: no recording of scenes, unlike ones, or a scene that stands there twice.
        """
        path = pathlib.Path(path).expanduser()
        runs, facts, rows = recordings_at(path), [], []
        for file in runs:
            vet(file)
            with Recording.open(file) as recording:
                facts.append(facts_of(recording, file))
                rows.append(np.concatenate([np.zeros(0, ROW), *recording.rows()]))
        for file, other in zip(runs[1:], facts[1:], strict=True):
            facts[0].check_same(other, runs[0], file)
        return cls(path, facts[0], tuple(runs), tuple(rows), *whole_scenes(rows, runs, facts[0].frames, facts[0].looks))

    @property
    def name(self) -> str:
        """As cards and reports name it; not the path, which says nothing elsewhere."""
        return f"recorded:{self.path.resolve().name}"

    @property
    def origin(self) -> Origin:
        facts = self.facts
        return Origin(facts.rig_id, facts.fingerprint, facts.rays, facts.frames)

    def calibration(self) -> Calibration:
        """The one that lies beside the frames. Raises InputError if there is none."""
        if self.path.is_dir():
            beside = [self.path / "calibration.npz", self.path.with_name(f"{self.path.name}.calibration.npz")]
        else:
            beside = [self.path.with_suffix(".calibration.npz")]
        for file in (*beside, *(run.with_suffix(".calibration.npz") for run in self.runs)):
            if file.is_file():
                return Calibration.load(file)
        raise InputError(
            f"'{self.path}': no calibration beside it ('{beside[0]}'); measure one (README: Your own rig) and name it "
            "with --calibration FILE.npz, or copy the one that belongs to these frames there"
        )

    def shown(self, split: str) -> Scenes:
        """The pictures of a split alone."""
        at = self._of_split(split)
        name = f"shown:{self.path.resolve().name}/{split}"
        ids = torch.from_numpy(self.ids[at])
        return Scenes(self._pictures(at), self._labels(at), self.facts.classes, name, ids, self._torn_note(split))

    def scenes(self, split: str, calibration: Calibration, track: Track) -> MeasuredScenes:
        """The pictures of a split with their measurements; those that are overexposed are left out, and counted.

        Raises:
            FrameSaturated: all of them are.
        """
        at, values = self._of_split(split), self._values(calibration, track)
        usable = np.array([not np.isnan(values[position, 0, 0]) for position in at], bool)
        refused, at = int((~usable).sum()), at[usable]
        if not len(at):
            raise FrameSaturated(
                f"'{self.path}': all {refused} scenes of '{split}' are overexposed; record them with a shorter exposure"
            )
        notes = self._torn_note(split)
        if refused:
            notes += (
                f"{refused:,} scenes of '{split}' were refused: too many of their pixels are clipped or defective",
            )
        return MeasuredScenes(
            self._pictures(at), self._labels(at), self.facts.classes, f"{self.name}/{split}",
            torch.from_numpy(self.ids[at]), notes, values=values, rows=torch.from_numpy(at),
            origin=self._key(calibration),
        )  # fmt: skip

    def has(self, split: str) -> bool:
        """Whether any scene is of this split."""
        return bool(len(self._positions(split)))

    def _positions(self, split: str) -> np.ndarray:
        splits = self.facts.splits
        asked = "train" if split == "val" and "val" not in splits else split
        first, end = splits.get(asked, (0, 0))
        chosen = (self.ids >= first) & (self.ids < end)
        if "val" not in splits and split != "test":
            chosen &= _held_out(self.ids) == (split == "val")
        return np.flatnonzero(chosen)

    def _of_split(self, split: str) -> np.ndarray:
        at = self._positions(split)
        if not len(at):
            counts = ", ".join(f"{len(self._positions(one))} of '{one}'" for one in SPLITS)
            raise InputError(
                f"'{self.path}' holds no whole scene of '{split}'; it holds {counts}: collect more, or name another "
                "recording"
            )
        return at

    def _torn_note(self, split: str) -> tuple[str, ...]:
        if split != "train" or not self.torn:
            return ()
        return (f"{self.torn:,} scenes were passed over: fewer than {self.facts.frames} frames of them were recorded",)

    def _labels(self, at: np.ndarray) -> torch.Tensor:
        labels = [self.rows[self.run[one]]["label"][self.members[one, 0]] for one in at]
        return torch.tensor(labels, dtype=torch.int64)

    def _pictures(self, at: np.ndarray) -> torch.Tensor:
        with self._opened() as recordings:
            pictures = [recordings[self.run[one]].scene(int(self.members[one, 0])) for one in at]
        return torch.from_numpy(in_channels(np.stack(pictures), self.facts.channels))

    def _key(self, calibration: Calibration) -> str:
        """Of the measurements: the checksums in the rows stand for the pixels."""
        digest = hashlib.sha256(json.dumps([_CODE, calibration.id, asdict(self.facts)], sort_keys=True).encode())
        for rows in self.rows:
            digest.update(rows.tobytes())
        return digest.hexdigest()[:32]

    def _values(self, calibration: Calibration, track: Track) -> np.ndarray:
        """Mean measurements of all whole scenes, (S, H', W'); NaN where one is saturated."""
        shape = (len(self.ids), *calibration.shape)
        blocks = functools.partial(self._averaged, calibration, track)
        return array_cache.rows(self._key(calibration), shape, blocks)

    def _averaged(self, calibration: Calibration, track: Track) -> Iterator[np.ndarray]:
        frames = self.facts.frames
        with self._opened() as recordings:
            order = track(range(len(self.ids)), f"calibrating {self.name}", len(self.ids))
            for at in order:
                recording = recordings[self.run[at]]
                try:
                    total = sum(calibration.apply(recording[int(row)]).y.astype(np.float64) for row in self.members[at])
                except FrameSaturated:  # one scene that is too bright; the others are none the worse for it
                    yield np.full((1, *calibration.shape), np.nan, np.float32)
                    continue
                yield (total / frames).astype(np.float32)[None]

    def _opened(self) -> "_Opened":
        return _Opened(self.runs)


class _Opened(ExitStack):
    """Recordings that stay open for a while."""

    def __init__(self, paths: tuple[pathlib.Path, ...]):
        super().__init__()
        self._paths = paths

    def __enter__(self) -> list:
        super().__enter__()
        return [self.enter_context(Recording.open(path)) for path in self._paths]


def _held_out(ids: np.ndarray) -> np.ndarray:
    """Which scenes serve for validation where none were recorded for it; more scenes change nothing of that."""
    digests = (hashlib.sha256(f"scene {one}".encode()).digest() for one in ids.tolist())
    return np.array([int.from_bytes(digest[:8], "big") % _HELD_OUT == 0 for digest in digests], bool)
