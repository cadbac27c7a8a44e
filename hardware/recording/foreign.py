"""HDF5 files that other programs wrote: arrays of numbers, read by a child process with limits.

Nothing here opens such a file but that child: a damaged or hostile one can make HDF5 hang, crash, or look into other
files. Links are not followed; what is stored elsewhere, or packed in an unusual way, is not read.
"""

import dataclasses
import math
import os
import pathlib
import stat
from collections.abc import Iterator

import h5py
import numpy as np

from hardware.errors import InputError
from hardware.recording.sandbox import Fell, Sandbox

MOST_DATASETS, DEEPEST, LONGEST_NAME = 200, 8, 200
LARGEST_CHUNK_BYTES, LARGEST_ROW_BYTES = 2**26, 2**26
BLOCK_BYTES = 2**22
# Of what filters make of real data; deflate, the densest of them, reaches 1032.
MOST_UNPACKED = 1100
_FILTERS = {
    h5py.h5z.FILTER_DEFLATE: "gzip",
    h5py.h5z.FILTER_SHUFFLE: "shuffle",
    h5py.h5z.FILTER_FLETCHER32: "fletcher32",
    h5py.h5z.FILTER_LZF: "lzf",
}
_DAMAGE = (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, OverflowError)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """An array in a file; `problem` says why it cannot be read, and is empty where it can."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    problem: str

    def __str__(self) -> str:
        return f"{self.name} {self.shape} {self.dtype}" + (f" ({self.problem})" if self.problem else "")


def datasets(path: str | pathlib.Path) -> dict[str, Dataset]:
    """The arrays of numbers in a file, by name.

    Raises:
        InputError: missing, not HDF5, or made to hang or crash its reader.
    """
    found = {}
    for told, _ in _told(path, "look", path):
        one = Dataset(str(told["name"]), tuple(map(int, told["shape"])), np.dtype(str(told["dtype"])), told["problem"])
        found[one.name] = one
    return found


def values(path: str | pathlib.Path, dataset: Dataset) -> Iterator[np.ndarray]:
    """Its values in order, in blocks (n, ...) of some MiB.

    Raises:
        InputError: as of `datasets`, or it is another than it was.
    """
    if dataset.problem:
        raise InputError(f"'{path}': dataset '{dataset.name}' cannot be read: {dataset.problem}")
    rows, most_bytes = 0, max(LARGEST_ROW_BYTES, LARGEST_CHUNK_BYTES, BLOCK_BYTES)
    for _, content in _told(path, "pour", path, dataset.name, most_bytes=most_bytes):
        block = np.frombuffer(content, dataset.dtype)
        if block.size % math.prod(dataset.shape[1:]):
            raise InputError(f"'{path}': dataset '{dataset.name}' has changed while it was read; try again")
        block = block.reshape(-1, *dataset.shape[1:])
        rows += len(block)
        yield block
    if rows != dataset.shape[0]:
        raise InputError(f"'{path}': dataset '{dataset.name}' has changed while it was read; try again")


def _told(path: str | pathlib.Path, job: str, *arguments: object, most_bytes: int = 0) -> Iterator[tuple[dict, bytes]]:
    """What a child tells of a file, to its end."""
    if "\0" in str(path):
        raise InputError(f"{str(path)!r} is no name of a file; expected an HDF5 file")
    if not os.path.exists(path):
        raise InputError(f"'{path}': no such file; expected an HDF5 file (looked for from {os.getcwd()})")
    with Sandbox(job, *arguments) as child:
        try:
            while "end" not in (answer := child.tell("bytes", most_bytes))[0]:
                yield answer
        except (Fell, KeyError, ValueError, TypeError) as error:
            raise InputError(
                f"'{path}' cannot be read as HDF5: {error}; write it again, or use another copy"
            ) from error


# What follows runs in the child.


def listed(path: str) -> list[dict]:
    """The arrays of a file, as `datasets` is told of them."""
    with _opened(path) as file:
        return _listed(file, path, set(), 0)


def poured(path: str, name: str) -> Iterator[bytes]:
    """The values of an array, in blocks of whole chunks."""
    with _opened(path) as file:
        (one,) = [one for one in _listed(file, path, set(), 0) if one["name"] == name]
        if one["problem"]:
            raise InputError(f"'{path}': dataset '{name}' cannot be read: {one['problem']}")
        dataset = file[name]
        row_bytes = math.prod(dataset.shape[1:]) * dataset.dtype.itemsize
        step = _rows_at_once(row_bytes, dataset.chunks[0] if dataset.chunks else 1)
        try:
            for start in range(0, len(dataset), step):
                yield dataset[start : start + step].astype(dataset.dtype.newbyteorder("=")).tobytes()
        except _DAMAGE as error:
            raise _refusal(path, error) from error


def _rows_at_once(row_bytes: int, chunk_rows: int) -> int:
    """As many rows as make up a block; whole chunks, which are unpacked once, unless they are too many."""
    fitting = max(1, BLOCK_BYTES // row_bytes)
    whole = max(1, fitting // chunk_rows) * chunk_rows
    return whole if whole * row_bytes <= LARGEST_CHUNK_BYTES else fitting


def _opened(path: str) -> h5py.File:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would block for ever, a device may do anything
            raise OSError("it is no plain file")
        return h5py.File(path, "r", rdcc_nbytes=LARGEST_CHUNK_BYTES)
    except _DAMAGE as error:
        raise _refusal(path, error) from error


def _listed(group: h5py.Group, path: str, seen: set[int], depth: int) -> list[dict]:
    """Arrays in a group and the groups in it; none twice, and no link to elsewhere is followed."""
    found: list[dict] = []
    try:
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            whole = f"{group.name.rstrip('/')}/{name}".lstrip("/")
            info = h5py.h5o.get_info(group.id, name.encode())
            if info.addr in seen or len(whole) > LONGEST_NAME:
                continue
            seen.add(info.addr)
            if len(seen) > MOST_DATASETS:
                raise InputError(f"'{path}' holds more than {MOST_DATASETS} objects; write frames and pictures alone")
            if info.type == h5py.h5o.TYPE_GROUP and depth < DEEPEST:
                found += _listed(group[name], path, seen, depth + 1)
            elif info.type == h5py.h5o.TYPE_DATASET:
                found += _described(group[name], whole)
    except _DAMAGE as error:
        raise _refusal(path, error) from error
    return found


def _described(dataset: h5py.Dataset, name: str) -> list[dict]:
    plan = dataset.id.get_create_plist()
    if (
        plan.get_layout() == h5py.h5d.VIRTUAL or plan.get_external_count()
    ):  # its shape is not asked for: that may open files
        return [{"name": name, "shape": [], "dtype": "u1", "problem": "it is stored in other files"}]
    if dataset.dtype.kind not in "uif" or dataset.dtype.itemsize > 8 or not dataset.shape:
        return []  # texts, tables and single values may lie beside the arrays
    dtype = dataset.dtype.newbyteorder("=").str
    problem = _problem(dataset, plan)
    return [{"name": name, "shape": list(dataset.shape), "dtype": dtype, "problem": problem}]


def _problem(dataset: h5py.Dataset, plan: h5py.h5p.PropDCID) -> str:
    """Why an array is not read; empty if it is."""
    strange = {plan.get_filter(at)[0] for at in range(plan.get_nfilters())} - _FILTERS.keys()
    if strange:
        return f"it is packed with filter {min(strange)}; known are {', '.join(_FILTERS.values())}"
    size, row_bytes = math.prod(dataset.shape), math.prod(dataset.shape[1:]) * dataset.dtype.itemsize
    if not size:
        return "it is empty"
    if row_bytes > LARGEST_ROW_BYTES:
        return f"one row takes {row_bytes >> 20} MiB, limit {LARGEST_ROW_BYTES >> 20}"
    if dataset.chunks and math.prod(dataset.chunks) * dataset.dtype.itemsize > LARGEST_CHUNK_BYTES:
        return f"a chunk of it takes more than {LARGEST_CHUNK_BYTES >> 20} MiB; write smaller ones"
    stored = dataset.id.get_storage_size()
    if dataset.len() * row_bytes > stored * (MOST_UNPACKED if plan.get_nfilters() else 1):
        return f"it declares {dataset.len() * row_bytes} bytes and stores {stored}"
    return ""


def _refusal(path: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split())[:300]
    return InputError(f"'{path}' cannot be read as HDF5: {reason}; write it again, or use another copy")
