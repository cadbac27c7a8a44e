"""Places for frames in memory that two processes share."""

import contextlib
import mmap
import os
import pathlib
import tempfile
from collections.abc import Iterator

import numpy as np

from hardware.closing import Closing
from hardware.errors import StorageError

_MEMORY = pathlib.Path("/dev/shm")  # a file there never touches a disk; elsewhere the temporary folder serves


class Slots(Closing):
    """Places of `slot_bytes` each: one process writes into a place, the other reads it and gives it back.

    A file in memory rather than `multiprocessing.shared_memory`, whose tracker process removes what another process
    still uses (cpython #82300) and outlives a kill. Where that memory is too small (Docker gives 64 MiB), there are
    fewer places, and at last a file in the temporary folder.

    Args:
        count: how many places there should be; `count` of the object says how many there are.
        slot_bytes: of each.
        fewest: how many do; None: no fewer than `count`.

    Raises:
        StorageError: no room for them.
    """

    def __init__(self, count: int, slot_bytes: int, fewest: int | None = None):
        self.slot_bytes = slot_bytes
        problems = []
        for folder, self.count in _wishes(count, count if fewest is None else fewest):
            try:
                self.path, self._memory = _made(folder, self.count * slot_bytes)
                return
            except OSError as error:
                problems.append(f"'{folder or tempfile.gettempdir()}': {error.strerror}")
        raise StorageError(
            f"no room for {fewest or count} frames of {slot_bytes / 2**20:.1f} MiB in shared memory "
            f"({', '.join(dict.fromkeys(problems))}); free some (in Docker: --shm-size=256m), or take smaller frames"
        )

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


def _wishes(count: int, fewest: int) -> Iterator[tuple[pathlib.Path | None, int]]:
    """(folder, number of places), the best first; None is the temporary folder."""
    if _MEMORY.is_dir():
        fewer = count
        while fewer > fewest:
            yield _MEMORY, fewer
            fewer //= 2
        yield _MEMORY, fewest
    yield None, count


def _made(folder: pathlib.Path | None, size: int) -> tuple[pathlib.Path, mmap.mmap]:
    handle, name = tempfile.mkstemp(prefix=f"lensless-{os.getpid()}-", dir=folder)
    try:
        if hasattr(os, "posix_fallocate"):  # else memory that is not there would end the process at its first use
            os.posix_fallocate(handle, 0, size)
        else:
            os.truncate(handle, size)
        return pathlib.Path(name), mmap.mmap(handle, size)
    except BaseException:
        pathlib.Path(name).unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
