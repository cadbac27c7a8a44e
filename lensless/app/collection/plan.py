"""Which scenes are collected, and in which order: decided before the first one is shown, and never again."""

import dataclasses
import hashlib

import numpy as np

from hardware.errors import ConfigurationError
from lensless.data.scenes import SPLITS, Scenes, load_scenes

_ORDER_STREAM = 0x5C
_VALIDATION_SHARE = _TEST_SHARE = 10  # one in ten each, where all three are collected


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """Scenes with their ids, which count from 0 through the splits, one after the other.

    Args:
        name: of the set of scenes.
        pictures: (N, h, w) uint8, as the display shows them; colours one above the other.
        labels: (N,), -1 unknown; classes: what they mean.
        splits: name -> (first id, id behind the last).
        frames: of each scene.
        seed: of the order, and of which scenes were picked.
        channels: of the pictures.
    """

    name: str
    pictures: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    splits: dict[str, tuple[int, int]]
    frames: int
    seed: int
    channels: int = 1

    def __len__(self) -> int:
        return len(self.pictures)

    def order(self) -> list[int]:
        """All ids, mixed: what drifts must not meet one class, or one split, alone."""
        return np.random.default_rng((self.seed, _ORDER_STREAM)).permutation(len(self)).tolist()

    def radiance(self, scene_id: int) -> np.ndarray:
        """The picture of a scene, (h, w) float32 in [0, 1]."""
        return self.pictures[scene_id].astype(np.float32) / 255

    def provenance(self) -> dict:
        """What every recording of the collection says of it."""
        digest = hashlib.sha256(repr((self.pictures.shape, self.classes)).encode())
        digest.update(np.ascontiguousarray(self.pictures).data)
        digest.update(np.ascontiguousarray(self.labels, np.int64).data)
        return {
            "scenes": self.name, "classes": list(self.classes), "frames": self.frames, "seed": self.seed,
            "splits": {name: list(ends) for name, ends in self.splits.items()},
            "scenes_fingerprint": digest.hexdigest()[:16],
            **({} if self.channels == 1 else {"channels": self.channels}),
        }  # fmt: skip

    @classmethod
    def of(cls, sets: dict[str, Scenes], shape: tuple[int, int, int], frames: int, seed: int) -> "Plan":
        """The scenes of some splits, fitted to a display of this shape: colours, rows, columns."""
        splits, first = {}, 0
        for split, scenes in sets.items():
            splits[split] = (first, first + len(scenes))
            first += len(scenes)
        pictures = np.concatenate([scenes.fit(shape).flatten(1, 2).numpy() for scenes in sets.values()])
        labels = np.concatenate([scenes.labels.numpy() for scenes in sets.values()])
        some = next(iter(sets.values()))
        name = some.name.partition("/")[0]
        return cls(name, pictures, labels, some.classes, splits, frames, seed, shape[0])


def scene_sets(
    name: str, split: str | None, count: int | None, seed: int, data: object, download: bool
) -> dict[str, Scenes]:
    """The scenes of one split, or of all three, in shares of 8 : 1 : 1 where a number is asked for.

    Raises:
        ConfigurationError, InputError: what `load_scenes` raises, or fewer than ten for three splits.
    """
    if split is not None:
        return {split: load_scenes(name, split, seed, count, data, download)}
    if count is not None and count < 10:
        raise ConfigurationError(
            f"--count {count}: expected at least 10 scenes for training, validation and test; or name one --split"
        )
    counts = {"val": None, "test": None, "train": None}
    if count is not None:
        counts = {"val": count // _VALIDATION_SHARE, "test": count // _TEST_SHARE}
        counts["train"] = count - sum(counts.values())
    return {one: load_scenes(name, one, seed, counts[one], data, download) for one in SPLITS}
