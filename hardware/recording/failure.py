"""A disk that does not take what HDF5 writes: how the file is left alone, and why HDF5 must not be asked again.

Measured with h5py 3.16 and HDF5 2.0: after a failed flush the metadata cache stays half way ("slist already enabled?"),
and every later try to flush or close that file fails too, or ends the process with a segmentation fault.
"""

import os
import re
from collections.abc import Iterable

import h5py

from hardware.recording.handles import point_at_nothing
from hardware.recording.mended import SUPERBLOCK_BYTES


def reason(error: Exception) -> str:
    """What the operating system said, which HDF5 hides behind its own words."""
    text = " ".join(str(error).split())
    number = re.search(r"errno = (\d+)", text)
    if number:
        return f"{os.strerror(int(number[1]))} ({text[: text.find('(')].strip()})"
    return getattr(error, "strerror", None) or text[:200]


def check_close(file: h5py.File, descriptor: int) -> None:
    """Raises OSError unless what closing writes can be written: the start of the file, and its length in whole pages.

    Where the first fails HDF5 ends the process with a segmentation fault; where the second fails it has marked the file
    as closed and whole already, and no reader takes it any more.
    """
    # Windows has no pwrite; there a disk that fails at this very moment is not foreseen.
    if not hasattr(os, "pwrite"):
        return
    if os.pwrite(descriptor, os.pread(descriptor, SUPERBLOCK_BYTES, 0), 0) != SUPERBLOCK_BYTES:
        raise OSError("the start of the file cannot be written")
    length_bytes = file.id.get_filesize()
    if length_bytes > os.fstat(descriptor).st_size:
        os.ftruncate(descriptor, length_bytes)


def leave_alone(file: h5py.File, datasets: Iterable[h5py.Dataset], descriptor: int, known: os.stat_result) -> None:
    """See to it that nothing is written to `file` any more, neither now nor at exit.

    Python closes h5py's objects when it lets them go, at the latest at exit. Locked ones it does not close; they cost
    some MiB until the process ends. HDF5 is asked for nothing: after a failed close it knows the file only in part, and
    ends the process with a segmentation fault.

    Args:
        file, datasets: what is open.
        descriptor, known: of the file, as in `point_at_nothing`.
    """
    for each in (file, *datasets):
        each.id.locked = True
    point_at_nothing(descriptor, known)  # and the disk can be unmounted
