"""Pages and results on disk: whole, or not at all."""

import contextlib
import os
import pathlib
import tempfile

from hardware.errors import StorageError


def check_place(path: pathlib.Path, next_step: str) -> None:
    """Refuse a place that cannot be written before the work, and not after it. Nothing is left there.

    Raises:
        StorageError: it is a folder, or the nearest folder that exists takes no file.
    """
    if path.exists() and not path.is_file() and not path.is_dir():  # a pipe or /dev/null
        return
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".lensless-"):
            pass
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}; {next_step}") from error


def write(path: pathlib.Path, text: str, next_step: str = "choose another place for the page") -> None:
    """Write a text at once or not at all.

    Raises:
        StorageError: it cannot be written; what stood there stays.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():  # a pipe or /dev/null is written to, never replaced
            path.write_text(text, encoding="utf-8")
            return
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):  # the disk has failed once already
            temporary.unlink(missing_ok=True)
        raise StorageError(f"cannot write {path}: {error.strerror}; {next_step}") from error
