"""One writer per file or folder: a lock that a dead process cannot keep.

HDF5's own lock is not enough: a second opening for write that it refused has damaged the first one's file (h5py #1804).
"""

import os
import pathlib
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hardware.closing import Closing
from hardware.errors import StorageError

SUFFIX = ".lock"
TRIES = 10
_TURN_S = 0.1

if os.name == "posix":
    import fcntl

    def _take(handle: int) -> None:
        # Who asks whether it is held holds it himself for an instant.
        for _ in range(TRIES - 1):
            try:
                return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                time.sleep(0.002)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _is_taken(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        return False

else:
    import msvcrt

    def _take(handle: int) -> None:
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

    def _is_taken(handle: int) -> bool:
        return True  # it cannot be asked for without taking it


def is_written(path: pathlib.Path) -> bool:
    """Whether a living process holds the `WriterLock` of a file or folder, as far as this system tells."""
    try:
        handle = os.open(path.with_name(path.name + SUFFIX), os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        return _is_taken(handle)
    finally:
        os.close(handle)


class WriterLock(Closing):
    """Held from construction to `close()`; the operating system releases it when the process ends, however it ends.

    Raises:
        StorageError: another writer holds it, or the folder cannot be written.
    """

    def __init__(self, path: pathlib.Path):
        self._path = path.with_name(path.name + SUFFIX)
        self._handle: int | None = None
        # A writer that ends removes the file; whoever waits on the removed one must look again.
        while self._handle is None:
            self._handle = self._try(path)

    def _try(self, path: pathlib.Path) -> int | None:
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError as error:
            text = f"cannot write '{path}': its folder does not exist; make it, or name another"
            raise StorageError(text) from error
        except OSError as error:
            raise StorageError(f"cannot write beside '{path}': {error.strerror}; choose another folder") from error
        try:
            _take(handle)
        except OSError as error:
            os.close(handle)
            raise StorageError(
                f"'{path}' has another writer (it holds '{self._path}'); wait for it, stop it, or choose another name"
            ) from error
        try:
            same = os.path.samestat(os.fstat(handle), os.stat(self._path))
        except FileNotFoundError:
            same = False
        if same:
            return handle
        os.close(handle)
        return None

    def close(self) -> None:
        """Let the next writer in; a second call does nothing."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        if os.name == "posix":  # elsewhere an open file cannot be removed, and a left-over one does no harm
            with suppress(OSError):  # nor does one on a disk that has failed meanwhile
                self._path.unlink(missing_ok=True)
        os.close(handle)


@contextmanager
def in_turn(path: pathlib.Path) -> Iterator[bool]:
    """Let one process at a time make a file, the others wait; True for one that waited: it may find the file made.

    Where no lock can be had (a folder that cannot be written, a disk that knows none) nobody waits.
    """
    lock, waited = None, False
    while lock is None:
        try:
            lock = WriterLock(path)
        except StorageError as error:
            if not isinstance(error.__cause__, BlockingIOError):
                break
            waited = True
            time.sleep(_TURN_S)
    try:
        yield waited
    finally:
        if lock is not None:
            lock.close()
