"""Tensors and facts in one safetensors file, written so that a reader sees the old file or the new one."""

import contextlib
import json
import os
import pathlib
import shutil

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from hardware.errors import InputError, StorageError

RESERVE_BYTES = 64 * 2**20


def write(path: pathlib.Path, tensors: dict[str, Tensor], facts: dict) -> None:
    """Write atomically: a temporary file beside it, fsync, rename, fsync of the folder.

    Raises:
        StorageError: no room, or the folder cannot be written; the old file stays.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    temporary = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path.parent).free
        if free < size + RESERVE_BYTES:
            raise StorageError(
                f"cannot write {path}: {free / 1e6:.0f} MB are free, {(size + RESERVE_BYTES) / 1e6:.0f} MB are needed "
                f"(with a reserve of {RESERVE_BYTES / 1e6:.0f} MB); free some space and run the same command again"
            )
        contiguous = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
        save_file(contiguous, temporary, metadata={"facts": json.dumps(facts)})
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {error}; what stood there before is untouched") from error


def read(path: pathlib.Path) -> tuple[dict[str, Tensor], dict]:
    """Tensors and facts of a file.

    Raises:
        InputError: the file is missing, damaged, or was not written by `write`.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})["facts"])
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118 (not a mapping)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist; expected a checkpoint that `lensless train` wrote") from error
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(f"{path} is damaged or no checkpoint of lensless ({error}); take a copy of it, or train again") from error


def make_folder(folder: pathlib.Path) -> None:
    """Make a folder and those above it.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the folder {folder}: {error.strerror}; choose another with --out") from error


def _sync_folder(folder: pathlib.Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
