"""What is before a sensor besides its rig: for a calibration it is covered, or looks at a lamp."""

import enum
import os
import pathlib

from hardware.errors import InputError, StorageError


class Surroundings(enum.StrEnum):
    """SCENE: the rig, before its display. COVERED: no light at all. LAMP: even light, and no rig."""

    SCENE = "scene"
    COVERED = "covered"
    LAMP = "lamp"


def surround(display: str | os.PathLike, what: Surroundings) -> None:
    """Put simulated rigs that look at the display in this file (`hardware.display.FileDisplay`) in other surroundings;
    a file beside it says which.

    Raises:
        StorageError: it cannot be written.
    """
    path = _beside(display)
    try:
        if what is Surroundings.SCENE:
            path.unlink(missing_ok=True)
        else:
            path.write_text(f"{what}\n")
    except OSError as error:
        raise StorageError(f"'{path}' cannot be written: {error.strerror}; name a file in a folder of yours") from error


def surroundings_of(display: str | os.PathLike) -> Surroundings:
    """What a rig is in that looks at the display in this file.

    Raises:
        InputError: the file beside it says something else.
    """
    path = _beside(display)
    try:
        with open(path, encoding="utf-8") as file:
            word = file.read(100).strip()
        return Surroundings(word)
    except FileNotFoundError:
        return Surroundings.SCENE
    except (OSError, ValueError) as error:
        raise InputError(
            f"'{path}' does not say what the sensor sees ({error}); expected one of {', '.join(Surroundings)}, or no "
            "file"
        ) from error


def _beside(display: str | os.PathLike) -> pathlib.Path:
    path = pathlib.Path(display)
    return path.with_name(path.name + ".around")
