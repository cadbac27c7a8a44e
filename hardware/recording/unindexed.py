"""Rows that HDF5 cannot find any more, because their writer was killed while it wrote the index.

A kill can cut a `write` short between two pages of 4 KiB (Linux looks for deadly signals there), and HDF5 writes the
block of the index that holds the newest row, and up to 255 older ones, anew with each row: about one kill in 2,000 made
a block whose checksum fits no more. What it pointed to is still there, where no other row is, with a checksum of ours.
"""

import pathlib
import zlib
from collections.abc import Callable, Iterator

import h5py
import numpy as np

from hardware.recording import schema

_WINDOW_BYTES = 2**24


class Unindexed:
    """Looks for rows of one file by their checksums; at most one of its datasets has a torn index.

    Args:
        path: of the file.
        datasets: as HDF5 shows them.
        length: number of rows.
        facts_crc: what `row_crc32` starts from.
    """

    def __init__(self, path: pathlib.Path, datasets: dict[str, h5py.Dataset], length: int, facts_crc: int):
        self._path, self._datasets, self._length, self._facts_crc = path, datasets, length, facts_crc
        self._found: dict[str, dict[int, int]] = {}

    def read(self, name: str, at: int) -> np.ndarray:
        """Row `at` of a dataset.

        Raises:
            OSError: it is nowhere.
        """
        if name == "sequence":  # the mark that says that a frame counts repeats a number of its row
            return self._datasets["rows"][at]["sequence"]
        if name not in self._found:
            self._found[name] = self._find(name)
        dataset = self._datasets[name]
        if at not in self._found[name]:
            raise OSError(f"row {at} of '{name}' is not in the index, nor anywhere else")
        with self._path.open("rb") as file:
            file.seek(self._found[name][at])
            content = file.read(_row_bytes(dataset))
        return np.frombuffer(content, dataset.dtype).reshape(dataset.shape[1:])

    def _find(self, name: str) -> dict[int, int]:
        """Where the rows lie that the index does not name: {row: offset}."""
        taken, missing = [], []
        for other, dataset in self._datasets.items():
            for at in range(self._length):
                try:
                    chunk = dataset.id.get_chunk_info_by_coord((at, *[0] * (dataset.ndim - 1)))
                    taken.append((chunk.byte_offset, chunk.byte_offset + chunk.size))
                except (OSError, RuntimeError):
                    missing += [at] if other == name else []
        identify, wanted = self._looks_like(name, missing)
        found: dict[int, int] = {}
        for offset, key in self._walk(name, sorted(taken), identify, wanted):
            found |= dict.fromkeys(wanted.pop(key), offset)
            if not wanted:
                break
        return found

    def _looks_like(self, name: str, missing: list[int]) -> tuple[Callable[[bytes], int | None], dict[int, list[int]]]:
        """What bytes could be: a key of theirs, and which rows have that key."""
        if name == "rows":
            keys = [int(self._datasets["sequence"][at]) for at in missing]
            identify = self._sequence_of
        else:
            field = {"frames": "pixels_crc32", "scenes": "scene_crc32"}[name]
            keys = [int(self._datasets["rows"][at][field]) for at in missing]
            identify = zlib.crc32
        wanted: dict[int, list[int]] = {}
        for key, at in zip(keys, missing, strict=True):
            wanted.setdefault(key, []).append(at)
        return identify, wanted

    def _sequence_of(self, content: bytes) -> int | None:
        row = np.frombuffer(content, self._datasets["rows"].dtype)
        fits = schema.rows_crc32(row, self._facts_crc)[0] == row["row_crc32"][0]
        return int(row["sequence"][0]) if fits else None

    def _walk(
        self, name: str, taken: list[tuple[int, int]], identify: Callable[[bytes], int | None], wanted: dict
    ) -> Iterator[tuple[int, int]]:
        """Offsets outside of what is taken where one of the wanted rows lies, and its key."""
        size = _row_bytes(self._datasets[name])
        step = schema.PAGE_BYTES if size >= schema.PAGE_BYTES else 1
        with self._path.open("rb") as file:
            for start, stop in _gaps(taken, self._path.stat().st_size):
                offset = -(-start // step) * step
                while offset + size <= stop:
                    window_at = offset
                    file.seek(window_at)
                    window = memoryview(file.read(min(max(_WINDOW_BYTES, size), stop - window_at)))
                    while offset + size <= window_at + len(window):
                        key = identify(window[offset - window_at : offset - window_at + size])
                        if key in wanted:
                            yield offset, key
                            offset += -(-size // step) * step
                        else:
                            offset += step


def _row_bytes(dataset: h5py.Dataset) -> int:
    return int(np.prod(dataset.chunks)) * dataset.dtype.itemsize


def _gaps(taken: list[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    """What lies between sorted intervals, up to `size`."""
    at = 0
    for start, stop in [*taken, (size, size)]:
        if start > at:
            yield at, start
        at = max(at, stop)
