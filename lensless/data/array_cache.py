"""Large arrays that are computed once: files in the user's cache folder, mapped into memory and read by row.

As in `lensless.optics.cache` a file is named by its content, is written to a temporary name and moved, and the oldest
go when they grow over their bound, and of several processes that want the same one computes it.
"""

import os
import pathlib
import secrets
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress

import numpy as np

from hardware.errors import StorageError
from hardware.lock import in_turn
from lensless.optics.cache import folder

BOUND_BYTES = 32 * 2**30
RESERVE_BYTES = 256 * 2**20
_DTYPE = np.dtype("<f4")


def rows(key: str, shape: tuple[int, ...], compute: Callable[[], Iterable[np.ndarray]]) -> np.ndarray:
    """An array (N, ...) float32 that cannot be written to, from the cache if it stands there.

    Args:
        key: of the content, up to 64 letters and digits.
        shape: of the array.
        compute: its rows in order, in blocks (n, ...).

    Raises:
        StorageError: the cache cannot hold it.
    """
    path = folder() / f"pairs-{key}.npy"
    if (stored := _opened(path, shape)) is not None:
        return stored
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with in_turn(path) as waited:
            if waited and (stored := _opened(path, shape)) is not None:
                return stored
            _check_room(path, shape)
            _write(path, shape, compute())
            _trim(path)
    except OSError as error:
        raise StorageError(
            f"cannot keep measurements in '{path}' ({error.strerror or error}); free some space, or name another "
            "folder with OPTICS_FREE_CACHE"
        ) from error
    stored = _opened(path, shape)
    if stored is None:
        raise StorageError(f"'{path}' vanished while it was written; run the same command again")
    return stored


def _opened(path: pathlib.Path, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):  # not there, or not whole: it is computed again
        return None
    if stored.shape != shape or stored.dtype != _DTYPE:
        return None
    with suppress(OSError):  # in the cache of somebody else it may grow old
        os.utime(path)
    return stored.view(np.ndarray)  # a third faster to index than numpy's own class for maps


def _check_room(path: pathlib.Path, shape: tuple[int, ...]) -> None:
    needed, free = int(np.prod(shape)) * _DTYPE.itemsize + RESERVE_BYTES, shutil.disk_usage(path.parent).free
    if free < needed:
        raise StorageError(
            f"measurements need {needed / 1e9:.1f} GB in the cache '{path.parent}', {free / 1e9:.1f} GB are free; free "
            "some space, or name another folder with OPTICS_FREE_CACHE"
        )


def _write(path: pathlib.Path, shape: tuple[int, ...], blocks: Iterable[np.ndarray]) -> None:
    # Not through a map: a disk that is full then ends the process, where a write says so.
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            header = {"descr": _DTYPE.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for block in blocks:
                file.write(np.ascontiguousarray(block, _DTYPE))
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _trim(newest: pathlib.Path) -> None:
    found = sorted(newest.parent.glob("pairs-*.npy"), key=lambda file: file.stat().st_mtime, reverse=True)
    total = 0
    for file in found:
        total += file.stat().st_size
        if total > BOUND_BYTES and file != newest:
            file.unlink(missing_ok=True)
