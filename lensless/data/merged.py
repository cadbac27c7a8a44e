"""Fewer, larger classes of a set of scenes: a task for somebody who need not know which digit, only whether it is odd.

The pictures, and the split that each is in, stay those of the set; counts are drawn in equal shares from the new
classes. A new task is one line in `MERGED`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from lensless.data.scene_set import Scenes

EVEN_ODD = {"even": tuple("02468"), "odd": tuple("13579")}
ANIMAL_VEHICLE = {
    "animal": ("bird", "cat", "deer", "dog", "frog", "horse"),
    "vehicle": ("airplane", "automobile", "ship", "truck"),
}


@dataclass(frozen=True)
class Merged:
    """A named set of scenes, and which of its classes make up each new one."""

    scenes: str
    classes: Mapping[str, tuple[str, ...]]


MERGED = {
    "mnist-even-odd": Merged("mnist", EVEN_ODD),
    "emnist-digits-even-odd": Merged("emnist-digits", EVEN_ODD),
    "cifar10-animal-vehicle": Merged("cifar10", ANIMAL_VEHICLE),
    "cifar10-jpeg-animal-vehicle": Merged("cifar10-jpeg", ANIMAL_VEHICLE),
}


def merged_scenes(scenes: Scenes, name: str) -> Scenes:
    """The scenes of the set that `MERGED[name]` names, with its classes.

    Raises:
        ValueError: a class of the scenes that is in none of the new ones, or in two.
    """
    merged = MERGED[name]
    new_of = {old: at for at, members in enumerate(merged.classes.values()) for old in members}
    if sorted(old for members in merged.classes.values() for old in members) != sorted(scenes.classes):
        raise ValueError(f"scenes '{name}' are made of {sorted(new_of)}, '{merged.scenes}' has {scenes.classes}")
    table = torch.tensor([new_of[old] for old in scenes.classes])
    labels = torch.where(scenes.labels < 0, scenes.labels, table[scenes.labels])
    renamed = scenes.name.replace(merged.scenes, name, 1)
    return replace(scenes, labels=labels, classes=tuple(merged.classes), name=renamed)
