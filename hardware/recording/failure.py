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


def check_superblock(handle: int) -> None:
    """Raises OSError unless the start of the file can be written; it gets the bytes that it has.

    Closing writes it, and where that fails HDF5 ends the process with a segmentation fault.
    """
    # Windows has no pwrite; there a disk that fails at this very moment is not foreseen.
    if hasattr(os, "pwrite") and os.pwrite(handle, os.pread(handle, SUPERBLOCK_BYTES, 0), 0) != SUPERBLOCK_BYTES:
        raise OSError("the start of the file cannot be written")


def leave_alone(file: h5py.File, datasets: Iterable[h5py.Dataset]) -> None:
    """See to it that nothing is written to `file` any more, neither now nor at exit.

    Python closes h5py's objects when it lets them go, at the latest at exit. Locked ones it does not close; they cost
    some MiB until the process ends.
    """
    for each in (file, *datasets):
        each.id.locked = True
    if not file.id.valid:
        return
    point_at_nothing(file)  # and the disk can be unmounted
