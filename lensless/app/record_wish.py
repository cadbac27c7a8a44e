"""What is to be recorded, and what cannot be."""

import dataclasses
import math
import os
import pathlib
import shutil

from hardware import CameraSettings
from hardware.errors import ConfigurationError, StorageError
from hardware.recording.reader import check_name
from hardware.recording.writer import RESERVE_BYTES
from hardware.stream.ring import MIB, Policy
from lensless.app import text_file


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is to be recorded, and how.

    Args:
        address: of the camera.
        out: a file (.h5), or a folder of parts.
        frames, seconds: when to stop; None for as long as the camera gives frames.
        settings: what the camera is asked for.
        policy, ring_mib: what happens when the disk is slower than the camera, and after how many MiB.
        retries: how often a lost camera is tried again; None for ever.
        durability, rotate_frames, sha256: of the recording.
    """

    address: str
    out: pathlib.Path
    frames: int | None = None
    seconds: float | None = None
    settings: CameraSettings = CameraSettings()  # noqa: RUF009  (immutable)
    policy: Policy = "never-drop"
    ring_mib: int = 256
    retries: int | None = None
    durability: str = "process"
    rotate_frames: int | None = None
    sha256: bool = False

    def check(self) -> None:
        """Say at once what would end the recording at its first frame, or never.

        Raises:
            ConfigurationError, StorageError: what cannot be.
        """
        _check_end(self)
        _check_place(self)


def _check_end(wish: Wish) -> None:
    if wish.seconds is not None and not math.isfinite(wish.seconds):
        raise ConfigurationError(
            f"--seconds {wish.seconds}: expected a number of seconds; leave it away to record until Ctrl-C"
        )
    if wish.ring_mib * MIB > _memory_bytes():
        raise ConfigurationError(
            f"--ring-mib {wish.ring_mib}: this machine has {_memory_bytes() / MIB:.0f} MiB of memory; ask for less"
        )
    if wish.address.startswith("simulated:") and wish.frames is None and wish.seconds is None:
        raise ConfigurationError(
            f"camera {wish.address!r} never ends by itself, and fills the disk as fast as it can: "
            "name --frames or --seconds"
        )


def _memory_bytes() -> float:
    """Of this machine, as far as the system tells."""
    names = getattr(os, "sysconf_names", {})
    if not {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= set(names):
        return math.inf
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _check_place(wish: Wish) -> None:
    """Say at once what would end the recording at its first frame."""
    check_name(wish.out)
    folder = wish.out.resolve().parent
    if wish.out.exists():
        raise StorageError(f"'{wish.out}' exists; nothing is ever overwritten: choose another name with --out")
    if not folder.is_dir():
        raise StorageError(f"--out {wish.out}: its folder does not exist; make it, or name another")
    text_file.check_place(wish.out, "name another place with --out")
    if (free := shutil.disk_usage(folder).free) < RESERVE_BYTES:
        raise StorageError(
            f"--out {wish.out}: {free / MIB:.0f} MiB are free on its disk, {RESERVE_BYTES / MIB:.0f} MiB are kept in "
            "reserve; free some space, or choose another disk"
        )
    if wish.out.suffix == ".h5" and (wish.rotate_frames is not None or wish.sha256):
        raise ConfigurationError(
            f"--out {wish.out} is one file; --rotate-frames and --sha256 are for a folder of parts: leave '.h5' away"
        )
