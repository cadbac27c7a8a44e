"""The file of a transfer matrix: safetensors with a checksum, the facts as JSON in its header, and no pickle."""

import contextlib
import hashlib
import json
import os
import pathlib
import tempfile

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, uint8

from hardware.errors import InputError, StorageError

FORMAT = "optics-free transfer matrix 1"
TENSORS = {"left", "right", "noise_std"}
_LONGEST_FACTS = 2**16
# TypeError and RuntimeError: number formats that this torch does not know, or shapes beyond its integers.
_DAMAGED = (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError)


def write(path: pathlib.Path, tensors: dict[str, Tensor], facts: dict) -> None:
    """A temporary file beside it, fsync, rename: a reader sees the old file or the new one.

    Raises:
        StorageError: it cannot be written; what stood there stays.
    """
    tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in tensors.items()}
    text = json.dumps({"format": FORMAT, **facts})
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        os.close(handle)
        save_file(tensors, temporary, metadata={"facts": text, "sha256": _digest(tensors, text)})
        os.chmod(temporary, 0o666 & ~_umask())  # a temporary file is for its owner only
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:  # the second is how safetensors tells of a full disk
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise StorageError(f"cannot write '{path}': {error}; what stood there before is untouched") from error


def read(path: pathlib.Path) -> tuple[dict[str, Tensor], dict]:
    """Tensors and facts.

    Raises:
        InputError: missing, damaged, or something else.
    """
    if not path.is_file():  # a pipe would keep us waiting for ever
        raise InputError(f"'{path}' does not exist, or is no file; expected what TransferMatrix.save wrote")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            text = metadata["facts"]
            if len(text) > _LONGEST_FACTS or not set(file.keys()) <= TENSORS:
                raise ValueError(f"{len(text)} characters of facts, tensors {sorted(file.keys())[:8]}")
            facts = json.loads(text)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no dictionary)
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            raise ValueError(f"its format is not '{FORMAT}'")
        if metadata["sha256"] != _digest(tensors, text):
            raise ValueError("its content does not have the SHA-256 that it states")
    except _DAMAGED as error:
        raise refusal(path, f"{type(error).__name__}: {str(error)[:200]}") from error
    return tensors, facts


def refusal(path: str | os.PathLike, reason: str) -> InputError:
    """The error of every file that is not a whole transfer matrix."""
    return InputError(f"'{path}' is no transfer matrix, or is damaged ({reason}); take a copy of it, or measure again")


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    """SHA-256 of facts and tensors: safetensors has no checksum, and a flipped bit in an entry is still an entry."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(uint8).numpy().data)
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
