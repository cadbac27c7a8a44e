"""What a recording of scenes says of itself, held to its form: it may come from anybody."""

import itertools
import pathlib
from dataclasses import asdict, dataclass, fields

import numpy as np

from hardware import Recording
from hardware.errors import InputError
from hardware.recording.schema import UNKNOWN_LABEL
from lensless.data.scene_set import SPLITS

MOST_FRAMES, MOST_CLASSES = 100_000, 10_000


@dataclass(frozen=True)
class CollectionFacts:
    """What all recordings of one collection agree in.

    `scenes` names the set of scenes; `frames` of each scene; `splits` are ranges [first, end) of scene ids; `camera`
    the facts of the camera; `looks` whether black and white were looked at between scenes; `channels` of the pictures,
    which stand one above the other.
    """

    rig_id: str
    fingerprint: str
    rays: int | None
    scenes: str
    classes: tuple[str, ...]
    frames: int
    splits: dict[str, tuple[int, int]]
    camera: dict
    shape: tuple[int, ...]
    looks: bool
    channels: int

    def check_same(self, other: "CollectionFacts", own: pathlib.Path, path: pathlib.Path) -> None:
        """Refuse a recording of another collection.

        Raises:
            InputError: names the first fact that differs.
        """
        for field in fields(self):
            mine, its = getattr(self, field.name), getattr(other, field.name)
            if mine != its:
                raise InputError(
                    f"'{own}' and '{path}' are not of one collection: {field.name} = {mine!s:.200} and {its!s:.200}; "
                    "name one of them, or put what belongs together into a folder of its own"
                )


def facts_of(recording: Recording, path: pathlib.Path) -> CollectionFacts:
    """The facts in the provenance of a recording.

    Raises:
        InputError: it says nothing of scenes, or nonsense.
    """
    told = recording.provenance
    if not recording.has_scenes or "splits" not in told:
        raise InputError(
            f"'{path}' was recorded without scenes, or before they had numbers; expected one that "
            "`lensless record --scenes` or `lensless simulate` wrote: record again"
        )
    try:
        rig, frames, classes = told["rig"], told["frames"], told["classes"]
        _expect("rig", all(isinstance(rig[key], str) for key in ("id", "fingerprint")))
        _expect("rays", told.get("rays") is None or _whole(told["rays"], 2**40))
        _expect("frames", _whole(frames, MOST_FRAMES) and frames > 0)
        _expect("classes", isinstance(classes, list) and len(classes) <= MOST_CLASSES)
        _expect("classes", all(isinstance(name, str) for name in classes))
        _expect("scenes", isinstance(told["scenes"], str))
        splits = told["splits"]
        _expect("splits", isinstance(splits, dict) and splits.keys() <= set(SPLITS))
        ranges = {name: _range(splits[name]) for name in SPLITS if name in splits}
        ordered = sorted(ranges.values())
        _expect("splits", all(one[1] <= after[0] for one, after in itertools.pairwise(ordered)))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"'{path}': its provenance does not describe scenes ({type(error).__name__}: {error!s:.100}); expected a "
            "recording that `lensless record --scenes` or `lensless simulate` wrote"
        ) from error
    for labels in (rows["label"] for rows in recording.rows()):
        wrong = labels[(labels < UNKNOWN_LABEL) | (labels >= len(classes))]
        if len(wrong):
            raise InputError(
                f"'{path}': label {wrong[0]}, but {len(classes)} classes are named, from 0, and {UNKNOWN_LABEL} is "
                "unknown; record again"
            )
    return CollectionFacts(
        rig["id"], rig["fingerprint"], told.get("rays"), told["scenes"], tuple(classes), frames, ranges,
        asdict(recording.facts), recording.shape, "display" in told, channels_of(told, str(path)),
    )  # fmt: skip


def channels_of(provenance: dict, where: str) -> int:
    """Of the pictures in a recording: 1, or 3 of a display in colours. Raises InputError for anything else."""
    channels = provenance.get("channels", 1)
    if channels not in (1, 3):
        raise InputError(f"'{where}': pictures of {channels!r:.50} channels; expected 1 or 3: record again")
    return channels


def in_channels(planes: np.ndarray, channels: int) -> np.ndarray:
    """Pictures with their colours one above the other, (..., C h, w), as (..., C, h, w)."""
    return planes.reshape(*planes.shape[:-2], channels, -1, planes.shape[-1])


def _expect(name: str, holds: bool) -> None:
    if not holds:
        raise ValueError(name)


def _whole(value: object, most: int) -> bool:
    return type(value) is int and 0 <= value <= most


def _range(value: object) -> tuple[int, int]:
    first, end = value
    _expect("splits", _whole(first, 2**62) and _whole(end, 2**62) and first <= end)
    return first, end
