"""Is this file one of ours? Looked at from outside first, and with nothing followed that it points to.

A valid HDF5 file can name other files (external storage, links, virtual datasets), declare petabytes, or hold types
that run code when read. A recording has none of that, so only exactly what `schema` describes is let through.
"""

import math
import os
import pathlib
import stat

import h5py
import numpy as np

from hardware.errors import InputError
from hardware.lock import is_written
from hardware.recording import schema
from hardware.recording.mended import FLAGS_AT, SUPERBLOCK_BYTES, VERSION_AT, WRITING, MendedFile

OF_A_KILLED_WRITER = "fileobj"  # the driver of files that are read through `MendedFile`
SIGNATURE = b"\x89HDF\r\n\x1a\n"
LARGEST_FRAME_BYTES = 2**28

# HDF5 knows a file that this process has open by its device and number: a reader would share the writer's handle, read
# through what it has in memory, which after a failure is not what the disk holds, and keep a closed file from being
# finished. Under another driver HDF5 takes it for another file. Only the one that can log can also read a file that was
# not closed; it is told to log nothing.
_WRITTEN_HERE: set[tuple[int, int]] = set()
h5py.register_driver("apart", lambda plan: plan.set_fapl_log(b"", 0, 0))


def read_apart(file: os.stat_result, written_here: bool = True) -> None:
    """From now on read this file apart from the handle by which this process writes it; or together with all others."""
    change = _WRITTEN_HERE.add if written_here else _WRITTEN_HERE.discard
    change((file.st_dev, file.st_ino))


def open_file(path: pathlib.Path, damaged: bool = False) -> h5py.File:
    """Open for reading, also while it is written and after its writer was killed.

    Args:
        path: of the file.
        damaged: whether to read what is left of a file that is truncated.

    Raises:
        InputError: missing, not a plain file, not HDF5, or damaged.
    """
    superblock = _superblock(path)
    # Of a living writer HDF5 waits for what it cannot read yet; of a killed one it would wait for ever.
    if damaged or (_is_writing(superblock) and not is_written(path) and _is_writing(superblock := _superblock(path))):
        try:
            return h5py.File(MendedFile(path), "r", libver="latest")
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise refusal(path, f"HDF5 cannot open it: {error}") from error
    # The flag, not the words of an error: without it a refused file is damaged, and must not be forced open.
    writing = _is_writing(superblock)
    try:
        driver = "apart" if (path.stat().st_dev, path.stat().st_ino) in _WRITTEN_HERE else None
        return h5py.File(path, "r", driver, libver="latest", swmr=writing)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        if not writing and _is_writing(_superblock(path)):
            return open_file(path)  # a writer began in between
        raise refusal(path, f"HDF5 cannot open it: {error}") from error


def closed_in_order(path: pathlib.Path) -> bool:
    """Whether the writer of a file has finished it; False while it writes, and for ever if it was killed.

    Raises:
        InputError: missing, not a plain file, or not HDF5.
    """
    return not _is_writing(_superblock(path))


def _is_writing(superblock: bytes) -> bool:
    return superblock[VERSION_AT] >= 3 and bool(superblock[FLAGS_AT] & WRITING)


def _superblock(path: pathlib.Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would block for ever, a device may do anything
            raise InputError(f"'{path}' is not a plain file; expected a recording")
        with path.open("rb") as file:
            superblock = file.read(SUPERBLOCK_BYTES)
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror}; expected a recording") from error
    if len(superblock) < SUPERBLOCK_BYTES or not superblock.startswith(SIGNATURE):
        raise InputError(
            f"'{path}' is not a recording, or is damaged: it does not begin like an HDF5 file; use another copy, or "
            "name a recording: a file that `lensless record` wrote, or its folder"
        )
    return superblock


def check_layout(file: h5py.File, path: pathlib.Path) -> tuple[str, str]:
    """Raises InputError unless the file holds exactly what a recording does; returns its two JSON texts."""
    if text_attribute(file, path, "format") != schema.FORMAT:
        raise refusal(path, f"its format is not '{schema.FORMAT}'")
    version = file.attrs.get_id("schema_version")
    if version.shape != () or version.dtype != np.int64 or int(file.attrs["schema_version"]) not in schema.ROWS:
        known = " or ".join(map(str, sorted(schema.ROWS)))
        raise refusal(path, f"its schema is not version {known}; a newer release may read it")
    names = {"frames", "rows", "sequence"}
    if len(file) not in (len(names), len(names) + 1) or set(file) - {"scenes"} != names:
        raise refusal(path, f"it holds other objects than {sorted(names)} and 'scenes'")
    for name in file:
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise refusal(path, f"'{name}' is a link")
        _check_dataset(file.get(name), path, name)
    if file["rows"].dtype != schema.ROWS[int(file.attrs["schema_version"])] or file["sequence"].dtype != np.dtype(
        "<i8"
    ):
        raise refusal(path, "its columns are of other types")
    if file["frames"].dtype not in (np.uint8, np.uint16) or file["frames"].ndim not in (3, 4):
        raise refusal(path, f"frames are {file['frames'].dtype} in {file['frames'].ndim} dimensions")
    if "scenes" in file and (file["scenes"].dtype != np.uint8 or file["scenes"].ndim != 3):
        raise refusal(path, f"scenes are {file['scenes'].dtype} in {file['scenes'].ndim} dimensions")
    return text_attribute(file, path, "camera"), text_attribute(file, path, "provenance")


def _check_dataset(dataset: object, path: pathlib.Path, name: str) -> None:
    if not isinstance(dataset, h5py.Dataset):
        raise refusal(path, f"'{name}' is not a dataset")
    if dataset.external or dataset.is_virtual:
        raise refusal(path, f"'{name}' takes its values from other files")
    if dataset.dtype.hasobject:
        raise refusal(path, f"'{name}' holds objects, references or values of variable length")
    plan = dataset.id.get_create_plist()
    filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
    if filters != [h5py.h5z.FILTER_FLETCHER32] or dataset.chunks != (1, *dataset.shape[1:]):
        raise refusal(path, f"'{name}' is not stored as one checksummed chunk per frame")
    if chunk_bytes(dataset) > LARGEST_FRAME_BYTES:
        raise refusal(path, f"'{name}' declares {dataset.chunks[1:]} {dataset.dtype} per frame, limit 256 MiB")


def check_length(file: h5py.File, path: pathlib.Path, length: int) -> None:
    """Raises InputError if the file is too short to hold `length` rows of everything."""
    size_bytes = path.stat().st_size
    for name, dataset in file.items():
        # Nothing is compressed, so this bound is exact, and a file that declares more would be read as zeros.
        declared = length * chunk_bytes(dataset)
        if declared > size_bytes:
            raise refusal(path, f"'{name}' declares {declared} bytes, the file has {size_bytes}: it is truncated")
        if length:
            # Its index may still sit in the part that was cut off: then HDF5 says so, and the reader turns it round.
            try:
                last = dataset.id.get_chunk_info_by_coord((length - 1, *[0] * (dataset.ndim - 1)))
            except (OSError, RuntimeError):
                if file.driver == OF_A_KILLED_WRITER:
                    continue  # looked for when it is read
                raise
            if last.byte_offset is None or last.byte_offset + last.size > size_bytes:
                raise refusal(path, f"the last of its {length} frames lies beyond its end: it is truncated")


def chunk_bytes(dataset: h5py.Dataset) -> int:
    """Bytes of one row."""
    return math.prod(dataset.chunks) * dataset.dtype.itemsize


def text_attribute(file: h5py.File, path: pathlib.Path, name: str) -> str:
    """A text of bounded length, stored in place."""
    if name not in file.attrs:
        raise refusal(path, f"it has no attribute '{name}'")
    attribute = file.attrs.get_id(name)
    if attribute.dtype.kind != "S" or attribute.shape != () or attribute.dtype.itemsize > schema.LONGEST_JSON_BYTES:
        raise refusal(path, f"attribute '{name}' is {attribute.dtype} of shape {attribute.shape}")
    return bytes(file.attrs[name]).decode()


def refusal(path: pathlib.Path, reason: str) -> InputError:
    """The error of every file that is not a whole recording."""
    reason = " ".join(reason.split())[:300]
    return InputError(
        f"'{path}' is not a recording, or is damaged: {reason}; use another copy; "
        "`lensless repair` saves the frames that are whole"
    )
