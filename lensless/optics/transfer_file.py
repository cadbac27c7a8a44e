"""The file of a transfer matrix: its factors, their noise, and the facts that say what they are."""

import os
import pathlib

from torch import Tensor

from hardware.errors import InputError
from lensless import tensor_file

FORMAT = "optics-free transfer matrix 1"
TENSORS = {"left", "right", "noise_std"}
_KIND, _REMEDY = "transfer matrix", "measure again"


def write(path: pathlib.Path, tensors: dict[str, Tensor], facts: dict) -> None:
    """Raises StorageError if it cannot be written; what stood there stays."""
    tensor_file.write(path, tensors, {"format": FORMAT, **facts})


def read(path: pathlib.Path) -> tuple[dict[str, Tensor], dict]:
    """Tensors and facts.

    Raises:
        InputError: missing, damaged, or something else.
    """
    tensors, facts = tensor_file.read(path, _KIND, _REMEDY)
    if facts.get("format") != FORMAT:
        raise refusal(path, f"its format is not '{FORMAT}'")
    if not tensors.keys() <= TENSORS:
        raise refusal(path, f"it holds the tensors {sorted(tensors)[:8]}")
    return tensors, facts


def refusal(path: str | os.PathLike, reason: str) -> InputError:
    """The error of every file that is not a whole transfer matrix."""
    return tensor_file.refusal(path, _KIND, _REMEDY, reason)
