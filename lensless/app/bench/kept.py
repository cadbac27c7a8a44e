"""Figures that a benchmark of hours keeps in files, so that it goes on where it was stopped."""

import json
import pathlib

from hardware.errors import ConfigurationError, InputError


def read_kept(path: pathlib.Path, made_of: dict) -> dict:
    """What a file holds, if it was made of the same.

    Args:
        made_of: facts that it must hold, by name.

    Raises:
        InputError: it cannot be read.
        ConfigurationError: it was made of something else.
    """
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); delete it, and it is measured again") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: holds no facts; delete it, and it is measured again")
    for name, value in made_of.items():
        if found.get(name) != value:
            raise ConfigurationError(
                f"{path} is of {name} = {found.get(name)!s:.400}, this run of {value!s:.400}; name another folder with "
                "--out, or delete it"
            )
    return found
