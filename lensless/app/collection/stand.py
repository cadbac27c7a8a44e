"""Opening what shows and the camera that looks at it, by their addresses."""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator

from hardware import Camera, PatternSource, SimulatedDisplay, open_camera
from hardware.display import FileDisplay
from hardware.errors import CalibrationMismatch, ConfigurationError
from hardware.options import NUMBERS, Option, parse
from hardware.serial_board.led_matrix import LedMatrix
from hardware.surroundings import Surroundings, surround
from lensless.app.rig import Rig
from lensless.app.simulated import is_covered, options_of, refuse_scenes, rig_of

SIMULATED = "simulated"
KINDS = {
    SIMULATED: "before a simulated camera, in this process",
    "file:FILE": "before a simulated camera in another process (simulated:RIG?display=FILE)",
    "window:0": "a full-screen window on the first monitor; `lensless show` lists them",
    "serial:PORT": "the lamps of a sensor board",
}


def _number(low: float, high: float) -> Option:
    return Option(f"a number from {low:g} to {high:g}", NUMBERS, float, lambda value: low <= value <= high)


_SIMULATED = {
    "refresh_hz": _number(1, 1000), "lag_s": _number(0, 5), "response_s": _number(0, 1), "gamma": _number(0.2, 5),
}  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Stand:
    """A camera and the display before it.

    Args:
        camera, display: open.
        surround: covers a simulated sensor, or puts it before a lamp; None for a real one, which takes a hand.
    """

    camera: Camera
    display: PatternSource
    surround: Callable[[Surroundings], None] | None = None


@contextlib.contextmanager
def open_stand(camera: str, display: str | None, rig: Rig, hidden: bool = False) -> Iterator[Stand]:
    """The camera and the display of a rig.

    Args:
        camera: its address.
        display: address of what shows, see `KINDS`; None is "simulated" for a simulated camera.
        rig: whose scene is shown.
        hidden: a simulated camera may be of another rig than this, with the same scene: it is to be calibrated.

    Raises:
        ConfigurationError: an address that cannot be, or a display of another shape than the rig's scene.
        DeviceError: what cannot be opened.
    """
    with contextlib.ExitStack() as stack:
        if display is None and not camera.startswith("simulated:"):
            raise ConfigurationError(f"camera {camera!r}: name what shows the scenes with --display: {_kinds()}")
        display = display or SIMULATED
        if display.partition("?")[0] == SIMULATED:
            yield _both_simulated(camera, display.removeprefix(SIMULATED), rig, hidden, stack)
            return
        kind, _, place = display.partition(":")
        opened = stack.enter_context(open_camera(camera))
        source = _source(kind, place, display, camera, opened, rig, stack)
        around = functools.partial(surround, place) if kind == "file" else None
        planes = rig.spec.scene.planes_shape
        if tuple(source.shape) != planes:
            raise ConfigurationError(
                f"--display {display} has {source.shape[0]} x {source.shape[1]} points, the scene of rig {rig.id!r} "
                f"{planes[0]} x {planes[1]}; write a rig file with that shape"
            )
        yield Stand(opened, source, around)


def _source(
    kind: str, place: str, display: str, address: str, camera: Camera, rig: Rig, stack: contextlib.ExitStack
) -> PatternSource:
    if kind == "file" and place:
        return FileDisplay(place, rig.spec.scene.planes_shape)
    if rig.spec.scene.channels > 1:
        raise ConfigurationError(
            f"--display {display}: shows grey only so far, and the display of rig {rig.id!r} has colours; collect with "
            "a grey rig file, or before a display of the kinds simulated and file"
        )
    if kind == "window" and place:
        from hardware.window import open_window

        return stack.enter_context(open_window(place, rig.spec.scene.shape))
    if kind == "serial" and place:
        same = address.partition("?")[0] == display.partition("?")[0]
        return camera.lamps if same else stack.enter_context(LedMatrix.at(place))
    raise ConfigurationError(f"--display {display!r}: no such display; there are: {_kinds()}")


def _both_simulated(address: str, place: str, rig: Rig, hidden: bool, stack: contextlib.ExitStack) -> Stand:
    if not address.startswith("simulated:"):
        raise ConfigurationError(
            f"--display simulated is seen by a simulated camera only, not by {address!r}; expected one of: {_kinds()}"
        )
    of_camera = address.partition(":")[2]
    name, options = options_of(of_camera)
    refuse_scenes(of_camera, options, "--scenes says what is shown")
    if is_covered(options):
        raise ConfigurationError(f"camera {address!r} is covered, and sees no display; leave covered=1 out")
    if file := options["display"]:
        raise ConfigurationError(f"camera {address!r} looks at a file: show there, with --display file:{file}")
    seen = rig_of(name, options)
    if not hidden:
        rig.check_camera_of(seen, address)
    if seen.spec.scene.picture_shape != rig.spec.scene.picture_shape:
        raise CalibrationMismatch(
            f"camera {address!r} looks at scenes of {seen.spec.scene.picture_shape}, rig {rig.id!r} at "
            f"{rig.spec.scene.picture_shape}; name a rig with that scene"
        )
    _, of_display = parse("simulated", place, _SIMULATED)
    display = SimulatedDisplay(rig.spec.scene.planes_shape, **of_display)
    fps = float(options["fps"]) if options["fps"] else None
    around = [Surroundings.SCENE]
    looking = seen if hidden else rig
    camera = stack.enter_context(looking.camera_at(display.light, int(options["seed"] or 0), fps, lambda: around[0]))
    return Stand(camera, display, functools.partial(around.__setitem__, 0))


def _kinds() -> str:
    return ", ".join(f"{name} ({what})" for name, what in KINDS.items())
