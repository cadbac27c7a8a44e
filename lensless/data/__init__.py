"""Scenes: what a camera looks at, with labels, in fixed splits; and how they are moved before they are simulated."""

from lensless.data.augment import RANDOMS_PER_PICTURE, Augmentation, augment, sample_randoms
from lensless.data.scenes import Scenes, folder_scenes, load_scenes

__all__ = [
    "RANDOMS_PER_PICTURE",
    "Augmentation",
    "Scenes",
    "augment",
    "folder_scenes",
    "load_scenes",
    "sample_randoms",
]
