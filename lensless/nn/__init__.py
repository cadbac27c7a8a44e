"""Compact networks; those that stand by themselves, and need no rig."""

from lensless.nn.preactivation import PreactivationNet
from lensless.nn.unet import UNet

__all__ = ["PreactivationNet", "UNet"]
