"""How a device is brought to send what can be kept: its format agreed on, its automatics off, its controls set."""

from hardware.alive import alive
from hardware.errors import CameraError, CameraLost, ConfigurationError
from hardware.opencv.address import OpenCvOptions
from hardware.opencv.backends import Backend, Wire
from hardware.opencv.handle import Handle
from hardware.opencv.plausible import FACTOR_TO_JUDGE

PROPERTY = {"width": "CAP_PROP_FRAME_WIDTH", "height": "CAP_PROP_FRAME_HEIGHT", "fps": "CAP_PROP_FPS"}
FPS_TOLERANCE = 0.02
# What changes the pixels besides the exposure: "gain" is CAP_PROP_GAIN.
PICTURE = ("gain", "brightness", "contrast", "saturation", "hue", "gamma", "sharpness", "wb_temperature", "backlight")


def agree(handle: Handle, backend: Backend, options: OpenCvOptions) -> tuple[Wire, tuple[int, int]]:
    """The rawest format that the camera really sends, and the (rows, columns) of its frames.

    Raises:
        ConfigurationError: a fourcc that is not known.
        CameraError: none that can be kept, or another size or rate than was asked for.
    """
    known, wanted = (*backend.wires, *backend.on_request), options.fourcc
    wires = backend.wires if wanted is None else [wire for wire in known if wire.fourcc == wanted]
    if not wires:
        names = ", ".join(wire.fourcc for wire in known if wire.fourcc) or "none"
        raise ConfigurationError(f"{handle.where}: fourcc={wanted} is not read through {backend.name}; known: {names}")
    refusal, got = None, 0
    for wire in wires:
        # A format that a camera has not makes it choose another one, and that is no failure for OpenCV.
        if wire.fourcc and (got := int(handle.set("CAP_PROP_FOURCC", wire.code))) != wire.code:
            continue
        try:
            return wire, _try(handle, wire, options)
        except CameraLost as error:
            raise CameraLost(f"{error} (it was asked for {wire.fourcc}; fourcc= chooses another format)") from error
        except CameraError as error:
            refusal = refusal or error
    if refusal:
        raise refusal
    name = (got & 0xFFFFFFFF).to_bytes(4, "little").decode("ascii", "replace").strip()
    raise CameraError(
        f"{handle.where}: fourcc {wanted or 'of what is not compressed'} was asked for, {name!r} is read back; "
        "ask for fourcc=MJPG to take compressed frames, which are then marked as processed"
    )


def _try(handle: Handle, wire: Wire, options: OpenCvOptions) -> tuple[int, int]:
    wanted = {name: value for name in PROPERTY if (value := getattr(options, name)) is not None}
    for name, value in wanted.items():
        handle.set(PROPERTY[name], value)
    handle.convert(wire.convert)
    for name, value in wanted.items():
        got = handle.get(PROPERTY[name])
        if not abs(got - value) <= (FPS_TOLERANCE * value if name == "fps" else 0):
            raise CameraError(f"{handle.where}: {name} = {value:g} was asked for, {got:g} is read back")
    rows, columns = int(handle.get(PROPERTY["height"])), int(handle.get(PROPERTY["width"]))
    alive()
    wire.unpack(handle.read(), rows, columns, handle.where)
    return rows, columns


def switch_off(handle: Handle, backend: Backend) -> list[str]:
    """What goes on by itself although it was switched off, and how that is known.

    Automatic gain is not among what OpenCV can ask for; exposure that the frames follow speaks against it.
    """
    stays = []
    if backend.raw_of is None:
        stays.append(f"exposure ({backend.name} has no control of it)")
    elif backend.manual is not None and handle.has("CAP_PROP_AUTO_EXPOSURE"):
        if (got := handle.set("CAP_PROP_AUTO_EXPOSURE", backend.manual)) != backend.manual:
            stays.append(f"automatic exposure ({backend.manual} was asked for, {got:g} is read back)")
    elif not handle.has("CAP_PROP_EXPOSURE"):
        stays.append("exposure (the device has no control of it)")
    elif backend.manual is None:
        value = handle.get("CAP_PROP_EXPOSURE")
        if (got := handle.set("CAP_PROP_EXPOSURE", value)) != value:
            stays.append(f"automatic exposure ({value:g} was asked for, {got:g} is read back)")
    for name, what in (("CAP_PROP_AUTO_WB", "automatic white balance"), ("CAP_PROP_AUTOFOCUS", "autofocus")):
        if handle.get(name) > 0 and (got := handle.set(name, 0)) != 0:
            stays.append(f"{what} (0 was asked for, {got:g} is read back)")
    return stays


def set_exposure(handle: Handle, backend: Backend, wanted_s: float) -> float:
    """Seconds as read back; where they are too far off, the exposure before is set again.

    Raises:
        CameraError: it is half an octave or more away; many cameras know powers of two only.
    """
    before, raw = handle.get("CAP_PROP_EXPOSURE"), backend.raw_of(wanted_s)
    got = handle.set("CAP_PROP_EXPOSURE", raw)
    got_s = backend.seconds_of(got)
    if not 1 / FACTOR_TO_JUDGE < got_s / wanted_s < FACTOR_TO_JUDGE:
        handle.set("CAP_PROP_EXPOSURE", before)
        raise CameraError(
            f"{handle.where}: exposure_s = {wanted_s:g} was asked for (for the driver {raw}), {got_s:g} s ({got:g})"
            " is read back; ask for an exposure within the range of the device"
        )
    return got_s


def set_gain(handle: Handle, wanted: float) -> None:
    """Raises CameraError unless this number of the driver is read back, to one step."""
    got = handle.set("CAP_PROP_GAIN", wanted)
    if not abs(got - wanted) <= 1:
        raise CameraError(
            f"{handle.where}: gain_raw = {wanted:g} was asked for, {got:g} is read back; ask for what the device has "
            "(on Linux: v4l2-ctl --list-ctrls)"
        )


def picture_controls(handle: Handle) -> tuple[str, ...]:
    """Those of `PICTURE` that the device has."""
    return tuple(name for name in PICTURE if handle.has(_property(name)))


def read_controls(handle: Handle, names: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    """(name, number) of each, as the driver says it."""
    return tuple((name, handle.get(_property(name))) for name in names)


def ask_for_controls(handle: Handle, wanted: dict[str, float]) -> list[str]:
    """Set them; says of each that is not read back what is."""
    got = {name: handle.set(_property(name), value) for name, value in wanted.items()}
    return [
        f"{name} = {value:g} was asked for, {got[name]:g} is read back"
        for name, value in wanted.items()
        if got[name] != value
    ]


def _property(name: str) -> str:
    return f"CAP_PROP_{name.upper()}"
