"""Tensors and facts in one safetensors file with a checksum: a reader sees the old file or the new one, whole."""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, uint8

from hardware.errors import InputError, StorageError

RESERVE_BYTES = 64 * 2**20
# Far above what we write, and low enough that a hostile header costs neither minutes nor gigabytes.
LONGEST_FACTS, MOST_TENSORS = 4 * 2**20, 10_000
READ_TRIES = 100


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
        text = json.dumps(facts)
        save_file(contiguous, temporary, metadata={"facts": text, "sha256": digest_of(contiguous, text)})
        os.chmod(temporary, _mode())  # safetensors lets the owner read it only
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {error}; what stood there before is untouched") from error
    _sync_folder(path.parent)


def _mode() -> int:
    """The permissions that a new file gets in this process."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def read(
    path: pathlib.Path, kind: str = "checkpoint of lensless", remedy: str = "train again: lensless train"
) -> tuple[dict[str, Tensor], dict]:
    """Tensors and facts of a file.

    Args:
        path: of the file.
        kind: what the file should be, and `remedy`, how to come by another one: words for the error.

    Raises:
        InputError: the file is missing, damaged, or was not written by `write`.
    """
    for _ in range(READ_TRIES):
        before = _identity(path)
        try:
            found = _read(path, kind, remedy)
        except InputError:
            if _identity(path) == before:
                raise
        else:
            if _identity(path) == before:
                return found
    raise InputError(
        f"{path} was replaced {READ_TRIES} times while it was being read; stop what writes it, or copy it first"
    )


def _read(path: pathlib.Path, kind: str, remedy: str) -> tuple[dict[str, Tensor], dict]:
    try:
        if not path.is_file():  # a pipe would keep us waiting for ever
            raise InputError(f"{path} does not exist or is no file; expected a {kind}: check the name, or {remedy}")
        with safe_open(path, framework="pt") as file:
            return _checked(file, file.metadata() or {})
    # TypeError and RuntimeError: number formats that this torch does not know, or shapes beyond its integers.
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise refusal(path, kind, remedy, f"{type(error).__name__}: {str(error)[:200]}") from error


def refusal(path: str | os.PathLike, kind: str, remedy: str, reason: str) -> InputError:
    """The error of a file that is not a whole `kind`."""
    return InputError(f"{path} is damaged or no {kind} ({reason}); take a copy of it, or {remedy}")


def _identity(path: pathlib.Path) -> tuple | None:
    """Which file a name stands for: safetensors opens it by name twice, and it may be replaced in between."""
    try:
        facts = path.stat()
    except (OSError, ValueError):
        return None
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def _checked(file, metadata: dict[str, str]) -> tuple[dict[str, Tensor], dict]:
    text, names = metadata["facts"], file.keys()
    if len(text) > LONGEST_FACTS or len(names) > MOST_TENSORS:
        raise ValueError(
            f"{len(text)} characters of facts, limit {LONGEST_FACTS}; {len(names)} tensors, limit {MOST_TENSORS}"
        )
    facts = json.loads(text)
    if not isinstance(facts, dict):
        raise ValueError(f"its facts are a {type(facts).__name__}")
    tensors = {name: file.get_tensor(name) for name in names}
    if metadata["sha256"] != digest_of(tensors, text):
        raise ValueError("its content does not have the SHA-256 that it states")
    return tensors, facts


def make_folder(folder: pathlib.Path) -> None:
    """Make a folder and those above it.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot make the folder {folder}: {error.strerror}; choose another with --out") from error


def digest_of(tensors: dict[str, Tensor], text: str) -> str:
    """SHA-256 of facts and tensors: safetensors has no checksum, and a flipped bit in a weight is still a weight."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(uint8).numpy().data)
    return digest.hexdigest()


def _sync_folder(folder: pathlib.Path) -> None:
    """Make the rename last through a power cut, where the system can: Windows and some network disks cannot."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
