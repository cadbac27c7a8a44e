"""The commands of calibration."""

import pathlib
from enum import StrEnum
from typing import Annotated

import typer

from hardware import CameraSettings
from hardware.errors import ConfigurationError
from lensless.app import options as o
from lensless.app.capture_commands import MAX_DRIFT
from lensless.app.screen import Screen, guarded


class Kind(StrEnum):
    auto = "auto"
    raster = "raster"
    hadamard = "hadamard"
    random = "random"


@guarded
def calibrate(
    rig: Annotated[
        str, typer.Argument(help="The rig as it was designed: a TOML file, or the id of one that comes along.")
    ],
    camera: Annotated[
        str | None,
        typer.Argument(help="Address of the camera, see `lensless record`; without it the rig is simulated."),
    ] = None,
    out: Annotated[
        pathlib.Path | None,
        typer.Option(help="Folder of the measured rig; given again, a calibration goes on."),
    ] = None,
    display: Annotated[
        str | None,
        typer.Option(help="What shows the patterns: window:0, serial:PORT, file:FILE, simulated."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show which exposures are needed and how long they take.")
    ] = False,
    dark: Annotated[
        pathlib.Path | None,
        typer.Option(help="Recording of the covered sensor, instead of covering it now.", metavar="RECORDING"),
    ] = None,
    lamp: Annotated[
        pathlib.Path | None,
        typer.Option(help="Recording of the bare sensor before an even lamp.", metavar="RECORDING"),
    ] = None,
    warm: Annotated[
        list[pathlib.Path] | None,
        typer.Option(
            help="Recording of the covered sensor at another temperature, short and long exposures; may be repeated. "
            "Says how dark current grows, if the camera tells how warm it is.",
            metavar="RECORDING",
        ),
    ] = None,
    with_lamp: Annotated[
        bool, typer.Option("--with-lamp", help="Take frames before an even lamp now, for the response of each pixel.")
    ] = False,
    patterns: Annotated[Kind, typer.Option(help="auto takes those that tell most at the sensor's noise.")] = Kind.auto,
    frames: Annotated[
        int | None,
        typer.Option(help="Frames of each pattern, each of the two times that it is shown: 1; 8 with --check.", min=1),
    ] = None,
    exposure_s: Annotated[float | None, typer.Option("--exposure-s", help="Exposure to ask for, in seconds.")] = None,
    gain_db: Annotated[float | None, typer.Option("--gain-db", help="Gain to ask for, in decibels.")] = None,
    settle_s: Annotated[
        float | None, typer.Option("--settle-s", help="Time that the display takes; measured by default.", min=0)
    ] = None,
    gamma: Annotated[float | None, typer.Option(help="Of the display; measured by default.", min=0.2, max=5)] = None,
    max_drift: Annotated[
        float, typer.Option("--max-drift", help="Share by which the light may drift.", min=0, max=1)
    ] = MAX_DRIFT,
    check: Annotated[
        bool, typer.Option("--check", help="RIG is a folder that this wrote: has the rig moved since? Takes a minute.")
    ] = False,
    checkpoint: Annotated[
        pathlib.Path | None,
        typer.Option(help="With --check: a network trained for it; says what it has lost, and --out makes up for it."),
    ] = None,
    seed: o.Seed = 0,
    rays: o.Rays = None,
    data: o.Data = None,
    json: o.Json = None,
) -> None:
    """Measure a rig: sensor, display and transfer matrix. The folder that it writes serves wherever a rig is named."""
    if check:
        others = {
            "--plan": plan, "--dark": dark, "--lamp": lamp, "--warm": warm, "--with-lamp": with_lamp,
            "--exposure-s": exposure_s, "--gain-db": gain_db, "--patterns": patterns is not Kind.auto, "--seed": seed,
            "--max-drift": max_drift != MAX_DRIFT,
        }  # fmt: skip
        if given := [name for name, value in others.items() if value]:
            raise ConfigurationError(
                f"{', '.join(given)} cannot go with --check, which asks for what the rig was calibrated with"
            )
        _check(rig, camera, display, checkpoint, out, frames, settle_s, gamma, rays, data, json)
        return
    from lensless.app.calibrate import job
    from lensless.app.rig_file import file_name

    if checkpoint is not None or data is not None:
        raise ConfigurationError("--checkpoint and --data go with --check; a calibration knows no network yet")
    screen = Screen(json, lasting=True)
    folder = pathlib.Path(f"{file_name(pathlib.Path(rig).stem)}-measured") if out is None else out
    wish = job.Wish(
        rig, folder, camera=camera, display=display, rays=rays, patterns=patterns.value, frames=frames or 1,
        settings=CameraSettings(exposure_s=exposure_s, gain_db=gain_db), settle_s=settle_s, gamma=gamma,
        max_drift=max_drift, dark=dark, lamp=lamp, warm=tuple(warm or ()), with_lamp=with_lamp, only_plan=plan,
        seed=seed,
    )  # fmt: skip
    screen.result(job.calibrate(wish, screen))


def _check(rig, camera, display, checkpoint, out, frames, settle_s, gamma, rays, data, json) -> None:
    from lensless.app.calibrate import check

    screen = Screen(json, lasting=True)
    wish = check.Wish(
        rig, camera, display, checkpoint, out, **({} if frames is None else {"frames": frames}), settle_s=settle_s,
        gamma=gamma, rays=rays, data=data,
    )  # fmt: skip
    screen.result(check.check(wish, screen))


COMMANDS = (calibrate,)
