"""A file that appears under its name only when it is whole, and never in the place of another."""

import os
import pathlib
from contextlib import suppress

from hardware.errors import StorageError


def partial_name(path: pathlib.Path) -> pathlib.Path:
    """Where `path` is written before it is whole: hidden, in the same folder."""
    return path.with_name(f".{path.name}.partial")


def replace_text(path: pathlib.Path, text: str) -> None:
    """Write a small text file so that a reader, or a kill at any instant, finds the old one or the new one.

    Raises:
        OSError: the disk; the old file is as it was.
    """
    partial = partial_name(path)
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync_folder(path.parent)
    except OSError:
        with suppress(OSError):  # the disk has failed once already
            partial.unlink(missing_ok=True)
        raise


def publish(partial: pathlib.Path, path: pathlib.Path) -> None:
    """Give a finished file its name.

    Raises:
        StorageError: the name is taken.
        OSError: the disk.
    """
    if path.exists():
        raise StorageError(f"'{path}' exists; nothing is ever overwritten: choose another name")
    os.rename(partial, path)


def sync_folder(folder: pathlib.Path) -> None:
    """Make a new name in a folder outlive a loss of power."""
    if os.name != "posix":  # Windows opens no folders, and keeps its names by itself
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
