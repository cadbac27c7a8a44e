"""SHA-256 of the finished parts of a recording, computed while the next ones are written."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Callable
from concurrent import futures

from hardware.recording.manifest import PartFacts

BLOCK_BYTES = 2**20
TELL_S = 0.5


class Digests:
    """Reads one part after the other, in a thread: nobody waits for it but `wait`."""

    def __init__(self):
        self._thread = futures.ThreadPoolExecutor(1, "sha256")
        self._asked: dict[str, futures.Future[str]] = {}
        self._hashed_bytes, self._stopped = 0, False

    def ask(self, path: pathlib.Path) -> None:
        """From now on the digest of this part is waited for."""
        self._asked[path.name] = self._thread.submit(file_sha256, path, self._count)

    def fill_in(self, parts: tuple[PartFacts, ...]) -> tuple[PartFacts, ...]:
        """The parts, with all digests that are known by now.

        Raises:
            OSError: a part cannot be read.
        """
        known = {name: self._asked.pop(name).result() for name, one in list(self._asked.items()) if one.done()}
        return tuple(dataclasses.replace(one, sha256=known.get(one.name, one.sha256)) for one in parts)

    def wait(self, tell: Callable[[], None]) -> None:
        """Until all are known; `tell` is called every half second in which there was progress."""
        while not all(one.done() for one in self._asked.values()):
            before_bytes = self._hashed_bytes
            futures.wait(self._asked.values(), TELL_S)
            if self._hashed_bytes > before_bytes:
                tell()

    def stop(self) -> None:
        """Give up what is not known yet."""
        self._stopped = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _count(self, size: int) -> None:
        if self._stopped:
            raise futures.CancelledError
        self._hashed_bytes += size


def file_sha256(path: pathlib.Path, progress: Callable[[int], None] = lambda size: None) -> str:
    """SHA-256 of a file, in hexadecimal digits; about a second for each GiB.

    Args:
        path: of the file.
        progress: told of each block of bytes, how many it had.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            progress(len(block))
    return digest.hexdigest()
