"""How to train: everything beside the data that decides the result."""

import dataclasses

from hardware.errors import ConfigurationError
from lensless.data.augment import Augmentation


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of a training run; a run goes on only with the ones it was begun with.

    `learning_rate` is the highest; `average_decay` of the moving average of the weights, per step; `seed` of order,
    augmentation, noise and dropout; `precision` "auto" or a name of Lightning Fabric's; `shards` the equal parts of a
    batch, see `lensless.train.parts`: None is one for each process, or as many as the run was begun with.

    Raises:
        ConfigurationError: a batch that has no so many parts of two scenes or more.
    """

    epochs: int
    batch_size: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    average_decay: float = 0.998
    augmentation: Augmentation | None = None
    seed: int = 0
    precision: str = "auto"
    shards: int | None = None

    def __post_init__(self):
        parts, size = self.shards or 1, self.batch_size
        if parts > 1 and (size % parts or size < 2 * parts):
            fitting = sorted({max(2, size // parts) * parts, max(2, -(-size // parts)) * parts})
            raise ConfigurationError(
                f"a batch of {size} scenes cannot be cut into {parts} equal parts of two scenes or more (as many as "
                f"--shards says, or else one for each process); say --batch-size {' or '.join(map(str, fitting))}"
            )
