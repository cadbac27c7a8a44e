"""Where a training run stands, so that it can go on after a kill: the newest state and the one before it."""

import os
import pathlib

from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.train import files

NEWEST, PREVIOUS = "state.safetensors", "state.previous.safetensors"


def store(folder: pathlib.Path, tensors: dict[str, Tensor], facts: dict) -> None:
    """Write the state; the one that was newest is kept as the previous one."""
    newest = folder / NEWEST
    if newest.exists():
        temporary = folder / (PREVIOUS + ".part")
        temporary.unlink(missing_ok=True)
        os.link(newest, temporary)  # a second name, so that `newest` is there at every instant
        os.replace(temporary, folder / PREVIOUS)
    files.write(newest, tensors, facts)


def load(folder: pathlib.Path) -> tuple[dict[str, Tensor], dict] | None:
    """The newest state, or None where no run began."""
    newest = folder / NEWEST
    return files.read(newest) if newest.exists() else None


def check_same_run(folder: pathlib.Path, found: dict, wanted: dict) -> None:
    """Refuse to go on with a run that was begun with other settings.

    Raises:
        ConfigurationError: names the first setting that differs.
    """
    for part in ("task", "recipe"):
        for key in sorted(found[part].keys() | wanted[part].keys()):
            before, now = found[part].get(key), wanted[part].get(key)
            if _plain(before) != _plain(now):
                raise ConfigurationError(
                    f"{folder} holds a training run with {key} = {before}, not {now}; "
                    f"go on with the settings it was begun with, or name another folder with --out"
                )


def _plain(value):
    return list(value) if isinstance(value, tuple) else value
