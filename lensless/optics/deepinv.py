"""The bridge to DeepInverse (https://deepinv.github.io), whose solvers, priors and networks take our forward models."""

import functools

from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.optics.operator import ForwardModel


def to_deepinv(A: ForwardModel, channels: int | None = None):
    """A forward model as a `deepinv.physics.LinearPhysics`.

    The names that differ: `A_adjoint_A` is `normal`, `img_size` is (channels, H, W). `A_dagger` is the exact
    pseudo-inverse and not that of an iteration: what DeepInverse hands over for its own solvers is without effect.
    The model is a part of the result and moves with it to another device or precision.

    Args:
        A: any forward model.
        channels: of the scenes; by default those that A takes, or 1 if it takes any number.

    Raises:
        ConfigurationError: DeepInverse is not installed, or A takes another number of channels.
    """
    if channels is None:
        channels = A.channels or 1
    if channels < 1 or channels != (A.channels or channels):
        raise ConfigurationError(
            f"to_deepinv: channels = {channels}, the forward model takes {A.channels or 'any number from 1 on'}"
        )
    return _physics_class()(A, channels)


@functools.cache
def _physics_class() -> type:
    try:
        from deepinv.physics import LinearPhysics
    except ImportError as error:
        raise ConfigurationError(
            f"to_deepinv needs DeepInverse, which cannot be imported ({error}): pip install deepinv, or this package "
            "with its extra, in its folder: pip install '.[deepinv]'"
        ) from error

    class ForwardModelPhysics(LinearPhysics):
        """What `to_deepinv` returns; noise and sensor models of DeepInverse can be set on it."""

        def __init__(self, model: ForwardModel, channels: int):
            device = next((buffer.device for buffer in model.buffers()), "cpu")
            super().__init__(img_size=(channels, *model.scene_shape), device=device)
            self.model = model

        def A(self, x: Tensor, **_) -> Tensor:
            return self.model.A(x)

        def A_adjoint(self, y: Tensor, **_) -> Tensor:
            return self.model.A_adjoint(y)

        def A_adjoint_A(self, x: Tensor, **_) -> Tensor:
            return self.model.normal(x)

        def A_dagger(self, y: Tensor, **_) -> Tensor:
            return self.model.A_dagger(y)

    return ForwardModelPhysics
