"""Raw pixel formats by their names: those of GenICam's PFNC, and those of libcamera."""

import dataclasses
import re

import numpy as np

from hardware.errors import CameraError, ConfigurationError
from hardware.frame import dtype_of
from hardware.raw_packed import Layout, unpack

_PFNC = re.compile(r"(?:Mono|Bayer(?P<cfa>RG|GR|GB|BG))(?P<bits>8|10|12|14|16)(?P<packed>p?)")
_LIBCAMERA = re.compile(r"(?:S?(?P<cfa>RGGB|GRBG|GBRG|BGGR)|R|MONO)(?P<bits>8|10|12|14|16)(?P<packed>_CSI2P)?")
_MOSAIC = {"RG": "RGGB", "GR": "GRBG", "GB": "GBRG", "BG": "BGGR"}


@dataclasses.dataclass(frozen=True)
class PixelFormat:
    """What a driver's name of a raw format means.

    Args:
        bits: that the sensor converts to.
        cfa: colour filter array as in `FrameMeta`; None without one.
        layout: how pixels lie in bytes.
        shift: empty bits below a pixel in its word.
    """

    bits: int
    cfa: str | None
    layout: Layout
    shift: int = 0

    @property
    def name(self) -> str:
        """As GenICam names it, without a word on packing."""
        return f"Bayer{self.cfa[:2]}{self.bits}" if self.cfa else f"Mono{self.bits}"

    def unpack(self, buffer: np.ndarray, width: int, height: int, stride: int) -> np.ndarray:
        """Digital numbers of the converter (height, width); see `raw_packed.unpack`.

        Raises:
            CameraError: too few bytes, or something in the bits that should be empty.
        """
        pixels = unpack(buffer, width, height, stride, self.layout)
        if not self.shift:
            return pixels
        if (pixels & (2**self.shift - 1)).any():
            raise CameraError(
                f"pixels of {self.bits} bits in words of {self.layout.bits} hold something in the lower {self.shift}; "
                "they were changed on their way: ask for bit_depth=16 to take them as they are"
            )
        return (pixels >> self.shift).astype(dtype_of(self.bits))


def of_genicam(name: str) -> PixelFormat:
    """Raises ConfigurationError: neither grey nor a mosaic, or packed in an older way."""
    found = _PFNC.fullmatch(name)
    if found is None:
        raise ConfigurationError(
            f"pixel format {name!r} is not read; expected Mono or BayerRG, GR, GB, BG with 8, 10, 12, 14 or 16, and p "
            "behind it where it is packed"
        )
    bits = int(found["bits"])
    packed = found["packed"] and bits % 8
    return PixelFormat(
        bits, _MOSAIC.get(found["cfa"]), Layout(bits, "lsb") if packed else Layout(8 if bits == 8 else 16)
    )


def of_libcamera(name: str, sensor_bits: int) -> PixelFormat:
    """The format of a raw stream.

    Args:
        name: e.g. "SBGGR10_CSI2P", "SRGGB12", "R10", "BGGR16".
        sensor_bits: of the sensor's mode. In words named 16 a Raspberry Pi 5 puts them to the upper end (picamera2
            #1010, #1206); in words named 10 or 12 an older one leaves them at the lower.

    Raises:
        ConfigurationError: compressed, or unknown.
    """
    if "PISP_COMP" in name:
        raise ConfigurationError(
            f"raw format {name!r} is compressed with loss; ask for one that is not: format= of an address, e.g. SRGGB16"
        )
    found = _LIBCAMERA.fullmatch(name)
    if found is None:
        raise ConfigurationError(
            f"raw format {name!r} is not read; expected e.g. SRGGB10_CSI2P, SBGGR12, R10 or SRGGB16"
        )
    bits = int(found["bits"])
    if found["packed"] and bits in (10, 12, 14):
        return PixelFormat(bits, found["cfa"], Layout(bits, "csi2"))
    if bits == 16 and sensor_bits < 16:
        return PixelFormat(sensor_bits, found["cfa"], Layout(16), 16 - sensor_bits)
    return PixelFormat(bits, found["cfa"], Layout(8 if bits == 8 else 16))
