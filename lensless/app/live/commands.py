"""`lensless classify --live` and `lensless reconstruct --live`."""

import dataclasses
import os
import pathlib

from hardware.errors import ConfigurationError
from lensless.app.inference import Frames, check_gives, opened
from lensless.app.live.flow import Wish, watch
from lensless.app.live.results import labels_of, pictures_of
from lensless.app.screen import Screen
from lensless.app.sources import completed, settings_for


@dataclasses.dataclass(frozen=True)
class Until:
    """When a view ends: after so many seconds, or tries to find a lost camera again; None: never."""

    seconds: float | None = None
    retries: int | None = None


def classify(folder: pathlib.Path, frames: Frames, until: Until, screen: Screen, abstain: float | None = None) -> None:
    """Name what a camera sees, for as long as somebody looks; no frame is drawn or stored."""
    _live(folder, frames, until, screen, pictures=False, window=False, abstain=abstain or 0.0)


def reconstruct(folder: pathlib.Path, frames: Frames, until: Until, screen: Screen, window: bool) -> None:
    """Show raw frames beside their pictures on the terminal, or in a window; none is stored."""
    _live(folder, frames, until, screen, pictures=True, window=window)


def _live(
    folder: pathlib.Path,
    frames: Frames,
    until: Until,
    screen: Screen,
    *,
    pictures: bool,
    window: bool,
    abstain: float = 0.0,
) -> None:
    camera = frames.source
    found, setting = opened(folder, frames, screen)
    check_gives(found.task, folder, pictures=pictures)
    _check_camera(camera)
    task = found.task.to(setting.device)
    address = completed(camera, setting.frames, setting.rig.rays)
    wish = Wish(
        address, settings_for(camera, found.calibration), found.calibration, setting.frames,
        {"checkpoint": str(folder), "source": camera}, frames.count, until.seconds, until.retries, window,
    )  # fmt: skip
    watch(wish, pictures_of(task) if pictures else labels_of(task, abstain), screen)


def _check_camera(address: str) -> None:
    """Raises ConfigurationError for a file, which is nothing live."""
    if os.path.exists(address):
        raise ConfigurationError(
            f"--live looks through a camera, and {address!r} is a file or a folder; play a recording with "
            f"replay:{address}, or leave --live out"
        )
    if ":" not in address:
        raise ConfigurationError(
            f"--live looks through a camera, and {address!r} is no address of one (nor a file that exists); expected "
            "one like opencv:0 or simulated:cannula-v1, see `lensless devices`"
        )
