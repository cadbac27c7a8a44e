"""Tensors that take seconds to compute and never change: kept in the user's cache folder.

A file is named by its content: the parameters and the source text of the code that made it. It is written to a
temporary name and moved, so that a reader sees all of it or nothing; the oldest files go when the folder grows over its
bound. Of several processes that want the same, one computes it and the others wait.
"""

import hashlib
import json
import os
import pathlib
import tempfile
from collections.abc import Callable
from contextlib import suppress

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from hardware.lock import in_turn

BOUND_BYTES = 4 * 2**30


def folder() -> pathlib.Path:
    """`OPTICS_FREE_CACHE`, or `optics-free` in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(os.environ.get("OPTICS_FREE_CACHE") or pathlib.Path(base) / "optics-free")


def tensors(
    kind: str, parameters: dict, code: str | pathlib.Path | list[str], compute: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """What `compute()` returns, from the cache if it stands there.

    Args:
        kind: first part of the file name, for people who look into the folder.
        parameters: everything that the result depends on; must be JSON.
        code: path of the source file whose text the result depends on, or several.
    """
    sources = code if isinstance(code, list) else [code]
    text = json.dumps(parameters, sort_keys=True) + "".join(pathlib.Path(source).read_text() for source in sources)
    path = folder() / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:24]}.safetensors"
    if (stored := _read(path)) is not None:
        return stored
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    with in_turn(path) as waited:
        if waited and (stored := _read(path)) is not None:
            return stored
        result = {name: tensor.contiguous().cpu() for name, tensor in compute().items()}
        _store(path, result)
    return result


def _read(path: pathlib.Path) -> dict[str, Tensor] | None:
    """What the file holds; None if there is none, or none that can be read: then it is computed again, and replaced."""
    try:
        stored = load_file(path)
    except (SafetensorError, OSError):
        return None
    with suppress(OSError):  # in the cache of somebody else it may grow old
        os.utime(path)
    return stored


def _store(path: pathlib.Path, result: dict[str, Tensor]) -> None:
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
        os.close(handle)
        try:
            save_file(result, temporary)
            os.replace(temporary, path)
        finally:
            pathlib.Path(temporary).unlink(missing_ok=True)
        _trim(path.parent)
    except (OSError, SafetensorError):  # the second is how safetensors tells of a full disk
        return  # a cache that cannot be written costs seconds next time; it is no reason to fail


def _trim(cache_folder: pathlib.Path) -> None:
    files = sorted(cache_folder.glob("*.safetensors"), key=lambda file: file.stat().st_mtime, reverse=True)
    total = 0
    for file in files:
        total += file.stat().st_size
        if total > BOUND_BYTES:
            file.unlink(missing_ok=True)
