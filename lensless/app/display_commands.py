"""The commands around displays."""

from typing import Annotated

import typer

from hardware.errors import ConfigurationError
from lensless.app import options as o
from lensless.app.screen import Screen, guarded

USUAL_SHAPE = "32x32"  # of the rigs that come with the package


@guarded
def show(
    place: Annotated[
        str | None,
        typer.Argument(
            help='Address of a monitor, e.g. window:1 or "window:1?pixels_per_point=20&turn_deg=180"; without it, the '
            "monitors are listed.",
            metavar="[window:NUMBER]",
        ),
    ] = None,
    pattern: Annotated[
        str, typer.Option(help="white, black, grey:LEVEL, checker, digit, ramp or frame (with its upper left corner).")
    ] = "frame",
    shape: Annotated[
        str | None, typer.Option(help=f"Points of the scene; {USUAL_SHAPE} by default.", metavar="ROWSxCOLUMNS")
    ] = None,
    rig: Annotated[str | None, typer.Option(help="Rig whose scene it is: a TOML file, or an id.")] = None,
    seconds: Annotated[float | None, typer.Option(help="How long; until a key or Ctrl-C by default.", min=0)] = None,
    json: o.Json = None,
) -> None:
    """List monitors, or show a test pattern on one as a scene is shown to a rig, to place display and sensor."""
    from lensless.app import show as job

    screen = Screen(json)
    if place is None:
        screen.result(job.monitors(screen))
        return
    if rig is not None and shape is not None:
        raise ConfigurationError("--rig and --shape both say how many points there are; say one")
    if rig is not None:
        from lensless.app.rig_file import read_spec

        points = read_spec(rig).scene.shape
    else:
        points = job.shape_of(shape or USUAL_SHAPE)
    screen.result(job.show(place, pattern, points, seconds, screen))


COMMANDS = (show,)
