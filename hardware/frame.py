"""A raw frame and the facts that travel with it: immutable, and checked once, where it is made."""

import dataclasses
import hashlib
import json
import math
from typing import TypeVar

import numpy as np

from hardware.errors import CameraError, ConfigurationError

SETTINGS_ID_BYTES = 16
T = TypeVar("T", "FrameMeta", "CameraSettings")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CameraSettings:
    """What a camera is asked for; None leaves a value as it is. What it then really does is a second value.

    Args:
        exposure_s: exposure time, above 0.
        gain_db: gain, 20 log10 of the factor on the digital numbers.
        pixel_format: as GenICam names it, e.g. "Mono8", "Mono12", "BayerRG12".
        region: (top, left, height, width) in pixels of the sensor.
        binning: (rows, columns) that are added up into one pixel.
        controls: (name, number) of whatever else changes the pixels, in the driver's own numbers, e.g. its gain where
            that has no unit. They change the `id`; settings are equal without them, as frames carry the `id` alone.

    Raises:
        ConfigurationError: a value that no camera could have.
    """

    exposure_s: float | None = None
    gain_db: float | None = None
    pixel_format: str | None = None
    region: tuple[int, int, int, int] | None = None
    binning: tuple[int, int] | None = None
    controls: tuple[tuple[str, float], ...] | None = dataclasses.field(default=None, compare=False)

    def __post_init__(self):
        exposure_s, gain_db, region, binning = self.exposure_s, self.gain_db, self.region, self.binning
        self._expect(exposure_s is None or 0 < exposure_s < math.inf, "exposure_s", "a finite time above 0")
        self._expect(gain_db is None or math.isfinite(gain_db), "gain_db", "a finite number")
        self._expect(
            region is None or (len(region) == 4 and min(region[:2]) >= 0 and min(region[2:]) > 0),
            "region",
            "(top, left, height, width), not empty",
        )
        self._expect(
            binning is None or (len(binning) == 2 and min(binning) >= 1), "binning", "(rows, columns), at least 1"
        )

    def _expect(self, holds: bool, name: str, expected: str) -> None:
        if not holds:
            raise ConfigurationError(f"camera settings: {name} = {getattr(self, name)!r}; expected {expected}")

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that change with any value: frames of one id were taken alike."""
        values = dataclasses.asdict(self)
        if self.controls is None:
            del values["controls"]  # ids of before there were any stay as they are
        text = json.dumps(values, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def asked(self) -> dict[str, object]:
        """Only the values that are asked for."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    def onto(self, current: "CameraSettings") -> "CameraSettings":
        """`current` with everything replaced that is asked for here."""
        return dataclasses.replace(current, **self.asked())


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameMeta:
    """The facts of one frame.

    Args:
        sequence: the camera's count of captured frames; a frame that was lost has a number too.
        t_host_ns: the host's monotonic clock when the exposure began, as near as the back end knows.
        t_device_ns: the device's own clock, with its own zero; None where it has none.
        exposure_s, gain_db: as applied.
        bit_depth: 1 to 16; full scale is 2^bit_depth - 1.
        black_level_dn: digital number that stands for no light.
        pixel_format: as GenICam names it, e.g. "Mono12".
        cfa: colour filter array, row by row from the top left pixel, e.g. "RGGB"; None without one.
        raw: True if nothing between converter and host has changed the numbers.
        region: (top, left, height, width) of the sensor that was read; None for all of it.
        binning: (rows, columns) added up into one pixel.
        temperature_c: of the sensor, where it tells.
        camera_id: stable name of this physical camera.
        settings_id: `CameraSettings.id` of what was applied.
        lost_before: frames captured and lost between the frame before this one and this one.

    Raises:
        CameraError: a value that no frame can have.
    """

    sequence: int
    t_host_ns: int
    exposure_s: float
    gain_db: float
    bit_depth: int
    black_level_dn: float
    pixel_format: str
    camera_id: str
    settings_id: str
    t_device_ns: int | None = None
    cfa: str | None = None
    raw: bool = True
    region: tuple[int, int, int, int] | None = None
    binning: tuple[int, int] = (1, 1)
    temperature_c: float | None = None
    lost_before: int = 0

    def __post_init__(self):
        if not self.camera_id:
            raise CameraError("frame: camera_id is empty; expected the stable name of a physical camera")
        self._expect(1 <= self.bit_depth <= 16, "bit_depth", "1 to 16")
        self._expect(self.sequence >= 0, "sequence", "a count from 0 on")
        self._expect(self.lost_before >= 0, "lost_before", "a count from 0 on")
        self._expect(0 < self.exposure_s < math.inf, "exposure_s", "a finite time above 0")
        self._expect(math.isfinite(self.gain_db), "gain_db", "a finite number")
        full_scale_dn = 2**self.bit_depth - 1
        self._expect(0 <= self.black_level_dn <= full_scale_dn, "black_level_dn", f"0 to full scale, {full_scale_dn}")
        self._expect(
            self.settings_id.isascii() and 0 < len(self.settings_id) <= SETTINGS_ID_BYTES,
            "settings_id",
            f"1 to {SETTINGS_ID_BYTES} ASCII characters (CameraSettings.id)",
        )

    def _expect(self, holds: bool, name: str, expected: str) -> None:
        if not holds:
            where, got = f"frame {self.sequence} of camera {self.camera_id!r}", getattr(self, name)
            raise CameraError(f"{where}: {name} = {got!r}; expected {expected}")

    @property
    def full_scale_dn(self) -> int:
        return 2**self.bit_depth - 1

    @property
    def settings(self) -> CameraSettings:
        """The settings that this frame was taken with, as far as its facts tell."""
        return CameraSettings(
            exposure_s=self.exposure_s,
            gain_db=self.gain_db,
            pixel_format=self.pixel_format,
            region=self.region,
            binning=self.binning,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """Pixels as the sensor gave them, and their facts.

    The frame keeps its own read-only copy: drivers reuse their buffers.

    Args:
        pixels: (H, W) or (H, W, C); uint8 up to 8 bits, uint16 above.
        meta: the facts.

    Raises:
        CameraError: another type or shape, or a value above full scale: the camera did not send what it says.
    """

    pixels: np.ndarray
    meta: FrameMeta

    def __post_init__(self):
        pixels = np.array(self.pixels, order="C")
        where = f"frame {self.meta.sequence} of camera {self.meta.camera_id!r}"
        expected = dtype_of(self.meta.bit_depth)
        if pixels.dtype != expected:
            raise CameraError(f"{where}: pixels are {pixels.dtype}; expected {expected} for {self.meta.bit_depth} bits")
        if pixels.ndim not in (2, 3) or 0 in pixels.shape:
            raise CameraError(f"{where}: shape {pixels.shape}; expected (rows, columns) or (rows, columns, channels)")
        full_scale_dn = self.meta.full_scale_dn
        # Where full scale fills the type there is nothing to look for.
        if full_scale_dn < np.iinfo(expected).max and (highest := int(pixels.max())) > full_scale_dn:
            raise CameraError(
                f"{where}: a pixel holds {highest}; expected at most {full_scale_dn} "
                f"for {self.meta.bit_depth} bits; check bit_depth and pixel_format"
            )
        pixels.flags.writeable = False
        object.__setattr__(self, "pixels", pixels)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.pixels.shape

    def with_meta(self, meta: FrameMeta) -> "Frame":
        """The same pixels, not copied, under other facts: those of a stream, say, that knows of more lost frames."""
        return Frame.unchecked(self.pixels, meta)

    @classmethod
    def unchecked(cls, pixels: np.ndarray, meta: FrameMeta) -> "Frame":
        """Pixels of a frame that was checked before, neither copied nor looked at."""
        frame = object.__new__(cls)
        object.__setattr__(frame, "pixels", pixels)
        object.__setattr__(frame, "meta", meta)
        return frame


def from_plain(kind: type[T], values: dict) -> T:
    """The facts that `dataclasses.asdict` made plain, on their way back through JSON, which knows no tuples."""
    return kind(**{name: _tuples(value) for name, value in values.items()})


def _tuples(value: object) -> object:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def dtype_of(bit_depth: int) -> np.dtype:
    """How pixels of `bit_depth` bits are held."""
    return np.dtype(np.uint8 if bit_depth <= 8 else np.uint16)
