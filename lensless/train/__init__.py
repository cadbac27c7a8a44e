"""Training: one plain loop, and checkpoints."""

import torch


def fabric_on(device: torch.device, precision: str = "auto"):
    """Lightning's Fabric for one device; "auto" takes bf16 autocast where the device is fast in it."""
    from lightning_fabric import Fabric  # takes a second to import

    from lensless.train.loop import fabric_precision

    index = [device.index or 0] if device.type == "cuda" else 1
    fabric = Fabric(accelerator=device.type, devices=index, precision=fabric_precision(precision, device))
    fabric.launch()
    return fabric
