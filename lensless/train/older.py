"""What files of older versions lack, with the value that it had when they were written."""

import torch
from torch import Tensor, nn

from lensless.nn.unet import UNet
from lensless.tasks import Classifier


def completed(tensors: dict[str, Tensor], module: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """Numbers of a module from before it had all that it has now.

    Classifiers did not divide what they gave by a temperature, and U-Nets saw pictures about 0, in units of 1. Where a
    file has some of the U-Nets' levels and spreads, none is made up: it is damaged.

    Args:
        tensors: by the names of `module.state_dict()`, each behind the prefix.
        module: that they are for.
    """
    lacking = {}
    names = [f"{prefix}{name}{'.' * bool(name)}" for name, each in module.named_modules() if isinstance(each, UNet)]
    scales = {f"{name}level": torch.zeros(()) for name in names} | {f"{name}spread": torch.ones(()) for name in names}
    if not scales.keys() & tensors.keys():
        lacking |= scales
    if isinstance(module, Classifier):
        lacking |= {f"{prefix}temperature": torch.ones(())}
    return lacking | tensors
