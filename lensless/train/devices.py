"""The device that trains, and the precision in which it is fast."""

import logging

import torch


def fabric_on(device: torch.device, precision: str = "auto"):
    """Lightning's Fabric for one device; "auto" takes bf16 autocast where the device is fast in it."""
    from lightning_fabric import Fabric  # takes a second to import

    logging.getLogger("lightning_fabric.utilities.rank_zero").addFilter(_no_precision_notice)
    index = [device.index or 0] if device.type == "cuda" else 1
    fabric = Fabric(accelerator=device.type, devices=index, precision=fabric_precision(precision, device))
    fabric.launch()
    return fabric


def bf16_is_fast() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (AMX, or AVX-512 BF16)."""
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def fabric_precision(wanted: str, device: torch.device) -> str:
    """Fabric's name of the precision: "auto" takes bf16 autocast where the device is fast in it."""
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        with torch.cuda.device(device):
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = bf16_is_fast()
    return "bf16-mixed" if fast else "32-true"


def _no_precision_notice(record: logging.LogRecord) -> bool:
    """Fabric tells at each start which precision it was asked for; the card of the checkpoint says it, too."""
    return "Automatic Mixed Precision (AMP)" not in record.getMessage()
