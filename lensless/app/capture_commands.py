"""The commands around cameras and recordings; they need no torch."""

import pathlib
from enum import StrEnum
from typing import Annotated

import typer

from hardware import CameraSettings
from hardware.errors import ConfigurationError
from lensless.app import options as o
from lensless.app.screen import Screen, guarded

_ADDRESSES = (
    "Address: opencv:0, opencv:/dev/v4l/by-id/NAME, opencv:clip.mkv, serial:/dev/ttyACM0, simulated:RIG, "
    "replay:RECORDING, genicam:SERIAL, micromanager:CONFIG.cfg, picamera2:0;"
)
Camera = Annotated[
    str,
    typer.Argument(
        help=f"{_ADDRESSES} `lensless devices` lists them.",
        metavar="CAMERA",
    ),
]
Path = Annotated[
    pathlib.Path, typer.Argument(help="A recording: a file (.h5) or a folder of parts.", metavar="RECORDING")
]


class Policy(StrEnum):
    never = "never-drop"
    oldest = "drop-oldest"


class Durability(StrEnum):
    process = "process"
    power = "power"


RING_MIB, MAX_DRIFT = 256, 0.05
_PAIRS = "Collecting pairs: scenes are shown, and frames recorded of each"


@guarded
def record(
    out: Annotated[
        pathlib.Path, typer.Option(help="New folder of the recording's parts, or one file that ends in .h5.")
    ],
    camera: Annotated[
        str | None,
        typer.Argument(
            help=f"{_ADDRESSES} `lensless devices` lists them. With --scenes, the simulated --rig by default.",
            metavar="CAMERA",
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            help="How many frames; until Ctrl-C or the end of the source by default. With --scenes: of each scene, as "
            "many as the rig averages by default.",
            min=1,
        ),
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="How long, in seconds.", min=0.1)] = None,
    exposure_s: Annotated[float | None, typer.Option("--exposure-s", help="Exposure to ask for, in seconds.")] = None,
    gain_db: Annotated[float | None, typer.Option("--gain-db", help="Gain to ask for, in decibels.")] = None,
    policy: Annotated[
        Policy | None,
        typer.Option(
            help="When the disk is slower than the camera: never-drop, stop with an error (default); drop-oldest, and "
            "count."
        ),
    ] = None,
    ring_mib: Annotated[
        int | None,
        typer.Option(
            "--ring-mib", help=f"Memory for frames that wait for the disk, in MiB; {RING_MIB} by default.", min=1
        ),
    ] = None,
    retries: Annotated[
        int | None,
        typer.Option(help="Tries to find a lost camera again, then exit 3; for ever by default.", min=0),
    ] = None,
    durability: Annotated[
        Durability | None,
        typer.Option(help="process: frames survive a kill (default). power: also a loss of power, which is slower."),
    ] = None,
    rotate_frames: Annotated[
        int | None, typer.Option(help="Frames after which a new part is begun; 50,000 or 4 GiB by default.", min=1)
    ] = None,
    sha256: Annotated[
        bool,
        typer.Option(
            "--sha256",
            help="Name the SHA-256 of each part in the manifest: a second of a processor per GiB, the last at the end.",
        ),
    ] = False,
    scenes: Annotated[
        str | None,
        typer.Option(help="Scenes to show: mnist, glyphs, folder:PATH, ...", rich_help_panel=_PAIRS),
    ] = None,
    rig: Annotated[
        str | None, typer.Option(help="Rig that looks at them: a TOML file, or an id.", rich_help_panel=_PAIRS)
    ] = None,
    display: Annotated[
        str | None,
        typer.Option(
            help="What shows them: window:0, serial:PORT (lamps of a board), file:FILE, or simulated; the last by "
            "default before a simulated camera.",
            rich_help_panel=_PAIRS,
        ),
    ] = None,
    count: Annotated[
        int | None, typer.Option(help="How many scenes; all by default.", min=1, rich_help_panel=_PAIRS)
    ] = None,
    split: Annotated[
        o.Split | None,
        typer.Option(help="Of which split; of all three by default, 8 : 1 : 1 of --count.", rich_help_panel=_PAIRS),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Of which scenes are picked, and of their order; 0 by default.", min=0, rich_help_panel=_PAIRS
        ),
    ] = None,
    settle_s: Annotated[
        float | None,
        typer.Option(
            "--settle-s",
            help="Seconds from showing a scene to the first frame of it; measured by default.",
            min=0,
            max=60,
            rich_help_panel=_PAIRS,
        ),
    ] = None,
    gamma: Annotated[
        float | None,
        typer.Option(help="Of the display; measured by default.", min=0.2, max=5, rich_help_panel=_PAIRS),
    ] = None,
    max_drift: Annotated[
        float | None,
        typer.Option(
            "--max-drift",
            help=f"Share by which the light may drift; {MAX_DRIFT} by default.",
            min=0,
            max=1,
            rich_help_panel=_PAIRS,
        ),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(
            help="Of a real camera: a file, or nominal (the rig file's numbers, nothing measured); it goes beside the "
            "frames.",
            metavar="FILE.npz",
            rich_help_panel=_PAIRS,
        ),
    ] = None,
    rays: Annotated[
        int | None, typer.Option(help="Rays of a simulated cannula.", min=2, rich_help_panel=_PAIRS)
    ] = None,
    data: Annotated[
        pathlib.Path | None,
        typer.Option(help="Folder of the scenes' data; OPTICS_FREE_DATA by default.", rich_help_panel=_PAIRS),
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Fetch the scenes if they are missing.", rich_help_panel=_PAIRS)
    ] = False,
    json: o.Json = None,
) -> None:
    """Record raw frames of a camera; every frame is accounted for, and a kill costs none that was acknowledged.

    With --scenes: show scene after scene, and record frames of each; a collection that was interrupted goes on.
    """
    settings = CameraSettings(exposure_s=exposure_s, gain_db=gain_db)
    screen = Screen(json, lasting=True)
    of_frames = {
        "--seconds": seconds, "--policy": policy, "--ring-mib": ring_mib, "--retries": retries,
        "--durability": durability, "--rotate-frames": rotate_frames, "--sha256": sha256 or None,
    }  # fmt: skip
    of_scenes = {
        "--rig": rig, "--display": display, "--count": count, "--split": split, "--seed": seed,
        "--settle-s": settle_s, "--gamma": gamma, "--max-drift": max_drift, "--calibration": calibration,
        "--rays": rays, "--data": data, "--download": download or None,
    }  # fmt: skip
    if scenes is None:
        from lensless.app import record as job
        from lensless.app.record_wish import Wish

        _refuse(of_scenes, "only with --scenes")
        if camera is None:
            raise ConfigurationError("record: name a camera, e.g. opencv:0; `lensless devices` lists them")
        wish = Wish(
            camera, out, frames, seconds, settings, (policy or Policy.never).value, ring_mib or RING_MIB, retries,
            (durability or Durability.process).value, rotate_frames, sha256,
        )  # fmt: skip
        screen.result(job.record(wish, screen))
    else:
        from lensless.app.collection import collect as job

        _refuse(of_frames, "not with --scenes")
        if rig is None:
            raise ConfigurationError("--scenes: name the rig that looks at them with --rig, e.g. --rig cannula-v1")
        asked = job.Asked(scenes, split and split.value, count, seed or 0, data, download)
        drift = MAX_DRIFT if max_drift is None else max_drift
        wish = job.Wish(
            rig, out, asked, camera=camera, display=display, rays=rays, frames=frames, settings=settings,
            settle_s=settle_s, gamma=gamma, max_drift=drift, calibration=calibration,
        )  # fmt: skip
        screen.result(job.collect(wish, screen))


def _refuse(options: dict[str, object], why: str) -> None:
    for name, value in options.items():
        if value is not None:
            raise ConfigurationError(f"{name} goes {why}; leave it out, or see `lensless record --help`")


@guarded
def info(
    recording: Path,
    verify: Annotated[bool, typer.Option("--verify", help="Also read every frame and check all checksums.")] = False,
    json: o.Json = None,
) -> None:
    """Say what a recording holds: frames, losses, settings, times, where it came from, and whether it is whole."""
    from lensless.app import recordings

    screen = Screen(json)
    screen.result(recordings.info(recording, verify, screen))


@guarded
def repair(
    recording: Path,
    out: Annotated[pathlib.Path, typer.Option(help="New recording for what can be saved.")],
    json: o.Json = None,
) -> None:
    """Copy every frame that can be verified from a killed or damaged recording into a new one."""
    from lensless.app import recordings

    screen = Screen(json, lasting=True)
    screen.result(recordings.repair(recording, out, screen))


@guarded
def export(
    recording: Path,
    out: Annotated[
        pathlib.Path, typer.Option(help="New file: .tif, many pages in one, or .npy, an array; facts go beside it.")
    ],
    frames: Annotated[
        str, typer.Option(help="Which frames, as START:STOP:STEP; all by default.", metavar="RANGE")
    ] = ":",
    json: o.Json = None,
) -> None:
    """Write the raw frames of a recording as TIFF or NPY, unchanged, for other programs."""
    from lensless.app import recordings

    screen = Screen(json, lasting=True)
    screen.result(recordings.export(recording, out, frames, screen))


@guarded
def devices(json: o.Json = None) -> None:
    """List cameras that are attached, who they are, and the addresses that open them."""
    from lensless.app import cameras

    screen = Screen(json)
    screen.result(cameras.devices(screen))


@guarded
def board_emulator(
    camera: Annotated[
        str, typer.Argument(help="What its sensor sees: simulated:RIG, replay:RECORDING ...", metavar="CAMERA")
    ] = "simulated:bare-v1",
    link: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Symbolic link that follows the device when it is plugged in again, as in /dev/serial/by-id."
        ),
    ] = None,
    serial: Annotated[str, typer.Option(help="The board's own number.")] = "EMULATED-1",
    fps: Annotated[float, typer.Option(help="Frames per second at most.", min=0.01, max=10_000)] = 10.0,
    baud: Annotated[
        int | None, typer.Option(help="Bits per second of the line; without a limit by default.", min=300)
    ] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help='To begin with, e.g. "noise 0.0001"; more can be typed while it runs.')
    ] = None,
    matrix: Annotated[str | None, typer.Option(help="Lamps that it has, as ROWSxCOLUMNS.", metavar="8x8")] = None,
    seconds: Annotated[float | None, typer.Option(help="How long; until Ctrl-C by default.", min=0.1)] = None,
    json: o.Json = None,
) -> None:
    """Be a sensor board without hardware, on a pseudo-terminal, with faults on demand."""
    from lensless.app import board_emulator as job

    screen = Screen(json)
    lamps = None if matrix is None else job.lamps_of(matrix)
    screen.result(job.run(screen, camera, link, serial, fps, baud, fault or [], lamps, seconds))


@guarded
def check(
    camera: Camera,
    frames: Annotated[
        int, typer.Option(help="Frames taken as the camera is; the exposures take as many again.", min=4, max=512)
    ] = 32,
    page: Annotated[pathlib.Path | None, typer.Option(help="Write a page with figures.", metavar="FILE.html")] = None,
    json: o.Json = None,
) -> None:
    """Say what is wrong with a camera, and how to mend it: is it raw, can it be set, is it steady?"""
    from lensless.app import check as job

    if not job.check(camera, frames, page, Screen(json)):
        raise typer.Exit(1)


COMMANDS = (devices, check, record, info, repair, export, board_emulator)
