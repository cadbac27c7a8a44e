"""What OpenCV's back ends mean by a number, and what cameras send: tables, and no driver.

A back end is always named, because each counts exposure in units of its own (opencv #9738, #14494, #15958, #17019).
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from hardware.errors import CameraError, ConfigurationError
from hardware.frame import dtype_of

Driver = Any  # the module cv2, or an object that behaves like it


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wire:
    """One format of pixels on the wire.

    Args:
        fourcc: as the back end names it; "" where it tells none.
        pixel_format: as GenICam names it.
        bit_depth: of the numbers, whatever the width of their words.
        cfa: colour filter array, row by row from the top left pixel.
        raw: whether nothing has changed the numbers, as far as the format itself can prove that.
        channels: numbers per pixel on the wire.
        luma: which of them is kept; None keeps all.
        convert: whether OpenCV has to decode it (CAP_PROP_CONVERT_RGB); None where it cannot be asked.
    """

    fourcc: str
    pixel_format: str
    bit_depth: int = 8
    cfa: str | None = None
    raw: bool = False
    channels: int = 1
    luma: int | None = None
    convert: bool | None = False

    @property
    def code(self) -> int:
        return int.from_bytes(self.fourcc.ljust(4).encode("ascii"), "little")

    def unpack(self, pixels: np.ndarray, rows: int, columns: int, where: str) -> tuple[np.ndarray, bool]:
        """(pixels (H, W) or (H, W, C), whether they came as one flat row and were given their shape here).

        Raises:
            CameraError: another type or size: what arrived is not what was agreed on.
        """
        kind = dtype_of(self.bit_depth)
        shape = (rows, columns) if self.channels == 1 else (rows, columns, self.channels)
        bytes_of_all = math.prod(shape) * kind.itemsize
        flat = pixels.shape != shape and pixels.size == max(pixels.shape) and pixels.nbytes == bytes_of_all
        if flat and pixels.dtype in (np.uint8, kind):
            pixels = np.frombuffer(pixels.tobytes(), kind.newbyteorder("<")).reshape(shape)
        elif pixels.dtype != kind or pixels.shape != shape:
            raise CameraError(
                f"{where}: got {pixels.dtype} of shape {pixels.shape}; expected {kind} of shape {shape} for "
                f"{self.pixel_format}; the driver converted or cut it: ask for another fourcc=, width= or height="
            )
        return (pixels if self.luma is None else pixels[..., self.luma]), flat


# https://docs.kernel.org/userspace-api/media/v4l/pixfmt-bayer.html; OpenCV hands out what it does not know as it came.
BAYER = {  # colour filter array: letters of the GenICam name, and FOURCC for 16, 14, 12, 10 and 8 bits
    "BGGR": ("BG", "BYR2", "BG14", "BG12", "BG10", "BA81"),
    "GBRG": ("GB", "GB16", "GB14", "GB12", "GB10", "GBRG"),
    "GRBG": ("GR", "GR16", "GR14", "BA12", "BA10", "GRBG"),
    "RGGB": ("RG", "RG16", "RG14", "RG12", "RG10", "RGGB"),
}
DEEP = (16, 14, 12, 10)
_bayer = {
    bits: [
        Wire(fourcc=codes[place], pixel_format=f"Bayer{letters}{bits}", bit_depth=bits, cfa=cfa, raw=True)
        for cfa, (letters, *codes) in BAYER.items()
    ]
    for place, bits in enumerate((*DEEP, 8))
}
_mono = {bits: Wire(fourcc=f"Y{bits}", pixel_format=f"Mono{bits}", bit_depth=bits, raw=True) for bits in DEEP}
# Eight bits of brightness have been through the camera's processor, whatever they are called.
GREY = Wire(fourcc="GREY", pixel_format="Mono8")
YUYV = Wire(fourcc="YUYV", pixel_format="Mono8", channels=2, luma=0)
UYVY = Wire(fourcc="UYVY", pixel_format="Mono8", channels=2, luma=1)
YUY2 = dataclasses.replace(YUYV, fourcc="YUY2")
MJPG = Wire(fourcc="MJPG", pixel_format="BGR8", channels=3, convert=True)
CONVERTED = dataclasses.replace(MJPG, fourcc="", convert=None)

RAWEST_FIRST = (*(wire for bits in DEEP for wire in (*_bayer[bits], _mono[bits])), *_bayer[8], GREY, YUYV, UYVY)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backend:
    """How one back end of OpenCV is spoken to.

    Args:
        name: in addresses. `constant` and `reports`: in OpenCV, and what `getBackendName` has to say.
        system: start of `sys.platform` where it lives.
        wires: formats to try, the rawest first. `on_request`: only if the address asks for one.
        raw_of, seconds_of: exposure between seconds and the number of the back end; None without such a control.
        manual: value of CAP_PROP_AUTO_EXPOSURE that stands for off and is read back as such; None where writing the
            exposure itself switches it off, and nothing can be read back.
        first: (property, value) to set at the start; what comes of it is not relied upon.
        stamps: whether CAP_PROP_POS_MSEC is the driver's clock at the frame.
    """

    name: str
    constant: str
    reports: str
    system: str
    wires: tuple[Wire, ...]
    on_request: tuple[Wire, ...] = (MJPG,)
    raw_of: Callable[[float], int] | None = None
    seconds_of: Callable[[float], float] | None = None
    manual: int | None = None
    first: tuple[tuple[str, int], ...] = (("CAP_PROP_BUFFERSIZE", 1),)
    stamps: bool = False


def _octave(exposure_s: float) -> int:
    return round(math.log2(exposure_s))


def _seconds(octave: float) -> float:
    return 2.0**octave


# Whole powers of two of a second: https://learn.microsoft.com/windows-hardware/drivers/stream/ksproperty-cameracontrol-exposure
# Writing the exposure sets the flag "manual" (#17019). CAP_PROP_AUTO_EXPOSURE compares a value with a flag when it is
# read (MSMF), or was not there before 4.7 (DSHOW, #22635): 0.25 and 0.75 of the old threads mean nothing there.
_WINDOWS = {
    "system": "win32",
    "wires": (_mono[16], GREY, YUY2, UYVY),
    "raw_of": _octave,
    "seconds_of": _seconds,
}
BACKENDS = {
    backend.name: backend
    for backend in (
        Backend(
            name="v4l2",
            constant="CAP_V4L2",
            reports="V4L2",
            system="linux",
            wires=RAWEST_FIRST,
            # Units of 100 us, manual = 1: https://docs.kernel.org/userspace-api/media/v4l/ext-ctrls-camera.html
            raw_of=lambda exposure_s: max(1, round(exposure_s * 1e4)),
            seconds_of=lambda raw: raw * 1e-4,
            manual=1,
            # Mode 0: numbers of the driver, though OPENCV_VIDEOIO_V4L_RANGE_NORMALIZED may ask for 0 to 1.
            first=(("CAP_PROP_MODE", 0), ("CAP_PROP_BUFFERSIZE", 1)),
            stamps=True,
        ),
        Backend(name="msmf", constant="CAP_MSMF", reports="MSMF", **_WINDOWS),
        Backend(name="dshow", constant="CAP_DSHOW", reports="DSHOW", **_WINDOWS),
        # No exposure, no white balance, and pixels are converted: honest use needs auto=allow.
        Backend(
            name="avfoundation",
            constant="CAP_AVFOUNDATION",
            reports="AVFOUNDATION",
            system="darwin",
            wires=(CONVERTED,),
            on_request=(),
            first=(),
        ),
    )
}


def backend_for(name: str | None, system: str) -> Backend:
    """The back end of this name, or the first one of this system (`sys.platform`).

    Raises:
        ConfigurationError: it is not there on this system.
    """
    there = [backend for backend in BACKENDS.values() if system.startswith(backend.system)]
    for backend in there:
        if name in (None, backend.name):
            return backend
    names = ", ".join(backend.name for backend in there) or "none"
    raise ConfigurationError(f"camera back end {name or 'of OpenCV'!r} is not on {system!r}; expected one of: {names}")
