"""Shared memory is not as large as one wishes: Docker gives /dev/shm 64 MiB."""

import errno
import os
import pathlib
import tempfile

import numpy as np
import pytest

from hardware import slots
from hardware.errors import StorageError
from hardware.slots import Slots


@pytest.fixture
def memory(monkeypatch, tmp_path):
    """Gives (how many bytes a place of memory and the temporary folder have, their paths)."""
    room = {tmp_path / "shm": 0, tmp_path / "tmp": 0}
    for folder in room:
        folder.mkdir()
    monkeypatch.setattr(slots, "_MEMORY", tmp_path / "shm")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    honest = os.posix_fallocate

    def fallocate(handle: int, offset: int, size: int) -> None:
        if size > room[pathlib.Path(os.readlink(f"/proc/self/fd/{handle}")).parent]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        honest(handle, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", fallocate)
    return room


def test_as_many_places_as_fit_are_made(memory, tmp_path):
    memory[tmp_path / "shm"] = 1000
    for fewest, count in ((4, 8), (8, 8)):
        with Slots(64, 100, fewest) as made:
            assert made.count == count and made.path.parent == tmp_path / "shm"
            made.write(count - 1, np.arange(100, dtype=np.uint8))
    assert not list((tmp_path / "shm").iterdir())


@pytest.mark.parametrize("fewest", [4, None])
def test_where_memory_is_too_small_the_temporary_folder_serves(memory, tmp_path, fewest):
    memory.update({tmp_path / "shm": 399, tmp_path / "tmp": 10_000})
    with Slots(64, 100, fewest) as made:
        assert made.count == 64 and made.path.parent == tmp_path / "tmp"
    assert not [*(tmp_path / "shm").iterdir(), *(tmp_path / "tmp").iterdir()]


def test_no_room_at_all_is_a_clear_error(memory, tmp_path):
    with pytest.raises(StorageError, match=r"no room for 4 frames of 0\.0 MiB.*shm'.*tmp'.*--shm-size"):
        Slots(64, 100, 4)
    assert not [*(tmp_path / "shm").iterdir(), *(tmp_path / "tmp").iterdir()]
