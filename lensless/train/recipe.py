"""How to train: everything beside the data that decides the result."""

import dataclasses

from lensless.data.augment import Augmentation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of a training run; a run goes on only with the ones it was begun with.

    `learning_rate` is the highest; `average_decay` of the moving average of the weights, per step; `seed` of order,
    augmentation, noise and dropout; `precision` "auto" or a name of Lightning Fabric's.
    """

    epochs: int
    batch_size: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    average_decay: float = 0.998
    augmentation: Augmentation | None = None
    seed: int = 0
    precision: str = "auto"
