"""A calibration on disk: one .npz file, arrays stored as they are and the facts as JSON; nothing in it can run code."""

import contextlib
import json
import math
import os
import pathlib
import struct
import tokenize
import zipfile

import numpy as np

from hardware.errors import InputError, StorageError

FORMAT = "optics-free calibration 1"
ARRAYS = ("dark_dn", "flat", "defects", "dark_std_dn", "flat_std")
LARGEST_BYTES = 2**30
_FACTS = "facts"
# Of the end of a zip file: where the locator of a larger format would begin; magic, length of the list, of a comment.
_END, _LONGEST_LIST_BYTES = struct.Struct("<4s16x4s8xI4xH"), 2**16
# What zipfile, numpy and json raise between them for damaged bytes (zlib.error cannot come: nothing is compressed), for
# places beyond 2^63, and for headers that never end.
_DAMAGED = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    OverflowError,
    MemoryError,
    tokenize.TokenError,
)


def write(path: pathlib.Path, facts: dict, arrays: dict[str, np.ndarray], overwrite: bool) -> None:
    """Raises StorageError if the file exists and is not to be overwritten, or cannot be written."""
    text = json.dumps({**facts, "format": FORMAT}, sort_keys=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            # Without allow_pickle=False: before numpy 2 it would become an array of that name. `read` takes no pickles.
            np.savez(file, **{_FACTS: np.frombuffer(text.encode(), np.uint8)}, **arrays)
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            os.replace(partial, path)
        else:
            _move_to_free_name(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):  # the disk has failed once already
            partial.unlink(missing_ok=True)
        reason = "it exists" if isinstance(error, FileExistsError) else str(error.strerror)
        raise StorageError(f"cannot write '{path}': {reason}; choose another name") from error


def _move_to_free_name(partial: pathlib.Path, path: pathlib.Path) -> None:
    """Raises FileExistsError if the name is taken."""
    try:
        os.link(partial, path)  # unlike a move, refuses a name that is taken
    except FileExistsError:
        raise
    except OSError:  # exFAT and some network disks know no second name
        if path.exists():
            raise FileExistsError from None
        os.replace(partial, path)
        return
    partial.unlink()


def read(path: pathlib.Path) -> tuple[dict, dict[str, np.ndarray]]:
    """The facts and the arrays of a file that `write` made.

    Raises:
        InputError: missing, damaged, or something else.
    """
    if not os.path.isfile(path):  # false for what can be no name, too
        raise InputError(f"calibration '{path}' does not exist, or is no file; expected what Calibration.save wrote")
    try:
        _check_list(path)
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            _check_members(path, members)
            arrays = {name: _read_array(path, archive, info) for name, info in members.items()}
        facts = json.loads(arrays.pop(_FACTS).tobytes().decode("utf-8"))
    except _DAMAGED as error:
        raise refusal(path, f"{type(error).__name__}: {error}") from error
    if not isinstance(facts, dict) or facts.pop("format", None) != FORMAT:
        raise refusal(path, f"its format is not '{FORMAT}'")
    return facts, arrays


def refusal(path: pathlib.Path, reason: str) -> InputError:
    """The error of every file that is not a whole calibration."""
    return InputError(f"'{path}' is not a calibration, or is damaged: {reason}; calibrate again, or use another copy")


def _check_list(path: pathlib.Path) -> None:
    """Raises ValueError if the list of members is long: it takes minutes, and memory, before anybody can look at it."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _END.size))
        tail = file.read(_END.size)
    if len(tail) == _END.size:
        locator, magic, list_bytes, comment_bytes = _END.unpack(tail)
        if magic == b"PK\5\6" and locator != b"PK\6\7" and list_bytes <= _LONGEST_LIST_BYTES and not comment_bytes:
            return
    raise ValueError("it does not end like a file of a few arrays")


def _check_members(path: pathlib.Path, members: dict[str, zipfile.ZipInfo]) -> None:
    if _FACTS not in members or set(members) - {_FACTS, *ARRAYS}:
        raise refusal(path, f"it holds {sorted(members)[:8]}")
    # Stored, not deflated: a small file can then not unfold into a large one.
    size_bytes = sum(info.file_size for info in members.values())
    if size_bytes > LARGEST_BYTES or any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
        raise refusal(path, f"it is compressed, or declares {size_bytes} bytes, limit {LARGEST_BYTES}")


def _read_array(path: pathlib.Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One array, whose header may claim no more than the file holds."""
    with archive.open(info) as member:
        if np.lib.format.read_magic(member) != (1, 0):
            raise refusal(path, f"'{info.filename}' is not stored as it should be")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
        data = member.read()
    if fortran or dtype.kind not in "fbu" or math.prod(shape) * dtype.itemsize != len(data):
        raise refusal(path, f"'{info.filename}' declares {dtype} of shape {shape} in {len(data)} bytes")
    return np.frombuffer(data, dtype).reshape(shape)
