"""Places for frames in memory that two processes share."""

import contextlib
import mmap
import os
import pathlib
import tempfile

import numpy as np

from hardware.closing import Closing
from hardware.errors import StorageError

_MEMORY = pathlib.Path("/dev/shm")  # a file there never touches a disk; elsewhere the temporary folder serves


class Slots(Closing):
    """`count` places of `slot_bytes` each: one process writes into a place, the other reads it and gives it back.

    A file in memory rather than `multiprocessing.shared_memory`, whose tracker process removes what another process
    still uses (cpython #82300) and outlives a kill.

    Raises:
        StorageError: no room for them.
    """

    def __init__(self, count: int, slot_bytes: int):
        handle, name = tempfile.mkstemp(prefix=f"lensless-{os.getpid()}-", dir=_MEMORY if _MEMORY.is_dir() else None)
        self.path, self.count, self.slot_bytes = pathlib.Path(name), count, slot_bytes
        size = count * slot_bytes
        try:
            if hasattr(os, "posix_fallocate"):  # else memory that is not there would end the process at its first use
                os.posix_fallocate(handle, 0, size)
            else:
                os.truncate(handle, size)
            self._memory = mmap.mmap(handle, size)
        except OSError as error:
            self.path.unlink(missing_ok=True)
            raise StorageError(
                f"no room for {size / 2**20:.0f} MiB of shared memory in '{self.path.parent}': {error.strerror}; "
                "free some, or take smaller frames"
            ) from error
        finally:
            os.close(handle)

    @classmethod
    def attach(cls, path: str, count: int, slot_bytes: int) -> "Slots":
        """The places that another process has made; from now on they go with the last of the two."""
        slots = object.__new__(cls)
        slots.path, slots.count, slots.slot_bytes = pathlib.Path(path), count, slot_bytes
        with slots.path.open("r+b") as file:
            slots._memory = mmap.mmap(file.fileno(), count * slot_bytes)
        slots._forget_name()
        return slots

    def facts(self) -> dict[str, object]:
        """What `attach` in the other process needs."""
        return {"path": str(self.path), "count": self.count, "slot_bytes": self.slot_bytes}

    def write(self, slot: int, *arrays: np.ndarray) -> None:
        """Put arrays into a place, one behind the other."""
        at = slot * self.slot_bytes
        for array in arrays:
            self._memory[at : at + array.nbytes] = memoryview(np.ascontiguousarray(array)).cast("B")
            at += array.nbytes

    def view(self, slot: int, shape: tuple[int, ...], dtype: np.dtype, offset: int = 0) -> np.ndarray:
        """An array as it lies in a place: copy it before the place is freed."""
        count = int(np.prod(shape))
        return np.frombuffer(self._memory, dtype, count, slot * self.slot_bytes + offset).reshape(shape)

    def close(self) -> None:
        self._forget_name()
        with contextlib.suppress(BufferError):  # somebody still looks at it: it goes with the last view
            self._memory.close()

    def _forget_name(self) -> None:
        with contextlib.suppress(OSError):  # gone already; Windows keeps it until both have closed it
            self.path.unlink(missing_ok=True)
