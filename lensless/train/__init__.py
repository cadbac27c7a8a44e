"""Training: one plain loop, and checkpoints."""

from lensless.train.devices import fabric_on

__all__ = ["fabric_on"]
