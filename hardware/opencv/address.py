"""What stands behind `opencv:`: a camera or a video file, and options."""

import dataclasses
import difflib
import math
import os
import pathlib
import re
from collections.abc import Callable
from typing import Literal

from hardware.errors import ConfigurationError, InputError
from hardware.opencv.backends import BACKENDS

DEVICE = re.compile(r"/dev/(video\d{1,4}|v4l/by-(id|path)/[\w.:+-]+)")
IDENTITY = "id:"


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenCvOptions:
    """What an address can ask for; None leaves it to the back end.

    Args:
        backend: "v4l2", "msmf", "dshow" or "avfoundation"; None for that of this system.
        fourcc: the one format to take, e.g. "Y16"; None takes the rawest that the camera has.
        width, height: of the frames, in pixels. `fps`: frames per second.
        exposure_s: of a camera: what to set at the start; of a file: what it was taken with.
        gain_raw: in the driver's own numbers, which have no unit.
        auto: "allow" goes on with automatic exposure and colours that cannot be switched off.
        gaps: of a file: "count" takes a jump of its time stamps as lost frames, "refuse" as damage.
    """

    backend: str | None = None
    fourcc: str | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    exposure_s: float | None = None
    gain_raw: float | None = None
    auto: Literal["off", "allow"] = "off"
    gaps: Literal["refuse", "count"] = "refuse"


AS_IT_COMES = OpenCvOptions()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """One of a device (index or path), the identity of a camera, and a file; and what is asked of it."""

    device: int | str | None = None
    camera_id: str | None = None
    file: pathlib.Path | None = None
    options: OpenCvOptions = AS_IT_COMES


FOR_FILES = ("exposure_s", "gaps")
_number = r"[+-]?\d+(\.\d+)?(e[+-]?\d+)?"
_positive = ("a number above 0", _number, float, lambda value: 0 < value < math.inf)
_pixels = ("a whole number of pixels, 1 to 65535", r"\d{1,5}", int, lambda value: 0 < value < 65536)
# Option: (what is expected, its pattern, its type, what must hold of it).
_OPTIONS: dict[str, tuple[str, str, Callable[[str], object], Callable[[object], bool]]] = {
    "backend": (f"one of {', '.join(BACKENDS)}", "|".join(BACKENDS), str, bool),
    "fourcc": ("up to four letters or digits, e.g. Y16", r"[A-Za-z0-9]{1,4}", str, bool),
    "width": _pixels,
    "height": _pixels,
    "fps": _positive,
    "exposure_s": _positive,
    "gain_raw": ("a finite number", _number, float, math.isfinite),
    "auto": ("off or allow", "off|allow", str, bool),
    "gaps": ("refuse or count", "refuse|count", str, bool),
}


def parse_place(place: str) -> Place:
    """What an address means, e.g. "0?fourcc=Y16&fps=30", "/dev/v4l/by-id/...", "id:CAMERA_ID" or "clip.mkv".

    Nothing else is a place: OpenCV would take other texts for pipelines, patterns of names or addresses in a network.

    Raises:
        ConfigurationError: no such kind of place, or an option that is unknown or out of range.
        InputError: a file that is not there.
    """
    where, _, query = place.partition("?")
    options = _options(query, place)
    if re.fullmatch(r"\d{1,4}", where):
        return Place(device=int(where), options=options)
    if where.startswith(IDENTITY) and where != IDENTITY:
        return Place(camera_id=where.removeprefix(IDENTITY), options=options)
    if DEVICE.fullmatch(where):
        return Place(device=where, options=options)
    return Place(file=_file(where, place), options=_checked_for_files(options, place))


def _file(where: str, place: str) -> pathlib.Path:
    path = pathlib.Path(where)
    if not where or "://" in where or "%" in where or where.startswith("/dev/"):
        raise ConfigurationError(
            f"camera address 'opencv:{place}': '{where}' is no camera and no file; expected an index, /dev/videoN, "
            "/dev/v4l/by-id/..., id:CAMERA_ID (see 'lensless devices'), or a video file without '%' in its name"
        )
    if os.path.isdir(path):  # false for what can be no name, too
        raise InputError(f"'{where}' is a folder; expected a video file; a folder of recordings is played by replay:")
    if not os.path.isfile(path):
        raise InputError(
            f"video file '{where}' is not there; expected an existing plain file, or the index of a camera (see "
            "'lensless devices')"
        )
    return path.resolve()


def _options(query: str, place: str) -> OpenCvOptions:
    wanted: dict[str, object] = {}
    for part in query.split("&") if query else []:
        name, _, text = part.partition("=")
        if name not in _OPTIONS:
            near = "".join(f"; did you mean '{one}='" for one in difflib.get_close_matches(name, _OPTIONS, n=1))
            raise ConfigurationError(
                f"camera address 'opencv:{place}': no option '{name}'{near}; known options: {', '.join(_OPTIONS)}"
            )
        expected, pattern, kind, holds = _OPTIONS[name]
        if name in wanted or not re.fullmatch(pattern, text) or not holds(kind(text)):
            problem = "given twice" if name in wanted else f"= {text!r}; expected {expected}"
            raise ConfigurationError(f"camera address 'opencv:{place}': option {name} {problem}")
        wanted[name] = kind(text)
    if ("width" in wanted) != ("height" in wanted):
        raise ConfigurationError(f"camera address 'opencv:{place}': expected both of width and height, or none")
    return OpenCvOptions(**wanted)


def _checked_for_files(options: OpenCvOptions, place: str) -> OpenCvOptions:
    for field in dataclasses.fields(options):
        if field.name not in FOR_FILES and getattr(options, field.name) != field.default:
            raise ConfigurationError(
                f"camera address 'opencv:{place}': a video file has no option {field.name}; "
                f"it has {', '.join(FOR_FILES)}"
            )
    return options
