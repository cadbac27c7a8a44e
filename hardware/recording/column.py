"""One dataset of a recording, written through the low-level calls of h5py.

Measured for 640 x 480 uint8 frames: `dataset.resize` and `dataset[i] = value` cost 75 us for each of the datasets,
whatever is written; these calls do the same in 12 us.
"""

import math
from collections.abc import Sequence

import h5py
import numpy as np


class Column:
    """Appends rows to a dataset that has one chunk for each.

    Args:
        file: open for writing, not yet in single-writer-multiple-reader mode.
        name: of the new dataset.
        shape: of one row.
        dtype: of its values.
    """

    def __init__(self, file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype):
        self.dataset = file.create_dataset(
            name, (0, *shape), dtype, maxshape=(None, *shape), chunks=(1, *shape), fletcher32=True, track_times=False
        )
        self._shape, self._dtype, self._size = shape, np.dtype(dtype), math.prod(shape)
        self._type = h5py.h5t.py_create(self._dtype)
        self._one = h5py.h5s.create_simple((1, *shape))

    def write(self, at: int, rows: Sequence[np.ndarray]) -> None:
        """Put rows from index `at` on, and flush once, behind the last.

        Raises:
            OSError, RuntimeError, ValueError: the disk, as HDF5 words it.
        """
        dataset = self.dataset.id
        dataset.set_extent((at + len(rows), *self._shape))
        space = dataset.get_space()
        corner, size = [0] * (1 + len(self._shape)), (1, *self._shape)
        for corner[0], row in enumerate(rows, at):
            # HDF5 reads as many bytes as the shape says, from wherever the array begins.
            if row.size != self._size or row.dtype != self._dtype:
                raise ValueError(f"row is {row.dtype} {row.shape}; expected {self._dtype} {self._shape}")
            space.select_hyperslab(tuple(corner), size)
            dataset.write(self._one, space, row, self._type)
        dataset.flush()

    def cut(self, length: int) -> None:
        """Drop what stands behind the first `length` rows."""
        self.dataset.resize(length, axis=0)
        self.dataset.flush()
