"""A calibration: what turns a raw frame into light relative to white, or refuses to."""

import dataclasses
import functools
import hashlib
import json
import pathlib
from typing import Self

import numpy as np

from calibration import files
from calibration.fill import fill_masked
from calibration.mosaic import PATTERNS, split_planes
from hardware.errors import CalibrationMismatch, ConfigurationError, FrameSaturated
from hardware.frame import Frame
from hardware.rig import RigSpec

# Exposures that differ by less are one: devices round, and text files cut digits.
EXPOSURE_TOLERANCE = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class Measurement:
    """Light on the sensor, relative to white.

    Args:
        y: (H, W) float32; 1 is the brightest pixel of an all-white scene.
        mask: (H, W) bool, pixels that were clipped or defective; `y` there is filled from their neighbours.
        camera_id, sequence: of the frame.
        calibration_id: of what made it.
        cfa: colour filter array of the frame, e.g. "RGGB"; None without one.
    """

    y: np.ndarray
    mask: np.ndarray
    camera_id: str
    sequence: int
    calibration_id: str
    cfa: str | None = None

    @property
    def planes(self) -> np.ndarray:
        """A colour sensor's `y` by filters: (4, H / 2, W / 2) float32, in the order of `mosaic.plane_names(cfa)`.

        Raises:
            ConfigurationError: the sensor has no colour filters.
        """
        if self.cfa is None:
            raise ConfigurationError(
                f"measurement of frame {self.sequence} of camera {self.camera_id!r}: its calibration names no colour "
                "filter array, so it has no planes; use y, or calibrate with cfa"
            )
        return split_planes(self.y, self.cfa)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Which frames it holds for, and how these become measurements: y = (DN - dark) / (flat white).

    Args:
        camera_id, shape, bit_depth, gain_db: of the frames, exactly.
        exposure_s: (shortest, longest) exposure for which it holds.
        dark_dn: mean frame without light, black level included; (H, W), or one number for all pixels.
        white_dn: digital numbers above dark of the brightest pixel of an all-white scene.
        flat: response of each pixel, mean 1 (in each plane of a colour sensor), (H, W); 1.0 if unknown. Never the
            light pattern of the rig, and never the colour of the lamp.
        defects: (H, W) bool.
        clip_dn: a pixel that reaches it is clipped; None is full scale. Lower where the well fills up before that.
        max_masked_share: of clipped and defective pixels; a frame with more is refused.
        frames: how many frames were measured, 0 if none was.
        dark_std_dn, flat_std: standard errors of dark_dn and flat, where measured.
        cfa: colour filter array of the frames, e.g. "RGGB"; None without one. Each plane is filled from itself.

    Raises:
        ConfigurationError: values that no calibration can have.
    """

    camera_id: str
    shape: tuple[int, int]
    bit_depth: int
    gain_db: float
    exposure_s: tuple[float, float]
    dark_dn: np.ndarray | float
    white_dn: float
    flat: np.ndarray | float = 1.0
    defects: np.ndarray | None = None
    clip_dn: float | None = None
    max_masked_share: float = 0.02
    frames: int = 0
    dark_std_dn: np.ndarray | float | None = None
    flat_std: np.ndarray | float | None = None
    cfa: str | None = None

    def __post_init__(self):
        # Plain numbers, so that the JSON of a calibration, and with it its id, does not depend on who computed them.
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "exposure_s", tuple(float(s) for s in self.exposure_s))
        for name in ("gain_db", "white_dn", "max_masked_share"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.clip_dn is not None:
            object.__setattr__(self, "clip_dn", float(self.clip_dn))
        defects = np.zeros(self.shape, bool) if self.defects is None else self.defects
        object.__setattr__(self, "defects", _own(defects, bool))
        for name in ("dark_dn", "flat", "dark_std_dn", "flat_std"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _own(getattr(self, name), np.float32))
        self._check()

    @classmethod
    def nominal(cls, rig: RigSpec, *, camera_id: str | None = None, gain_db: float = 0.0) -> Self:
        """A calibration from the facts of a rig file alone: no dark frame, no flat, no defects.

        The dark level is black level + dark current x exposure / gain. The well of some sensors is full before their
        converter is; a pixel counts as clipped four standard deviations of the fixed pattern below that.

        Args:
            camera_id: the sensor's serial number, unless told otherwise.
            gain_db: at which the rig file's gain holds.
        """
        sensor = rig.sensor
        gain_e_per_dn = sensor.gain_electrons_per_dn
        pattern_e = float(np.hypot(sensor.dsnu_electrons, sensor.column_electrons))
        full_well_dn = sensor.black_level_dn + (sensor.full_well_electrons - 4 * pattern_e) / gain_e_per_dn - 1
        return cls(
            camera_id=camera_id or sensor.serial,
            shape=tuple(sensor.shape),
            bit_depth=sensor.bit_depth,
            gain_db=gain_db,
            exposure_s=(sensor.exposure_s, sensor.exposure_s),
            dark_dn=sensor.black_level_dn + sensor.dark_electrons / gain_e_per_dn,
            white_dn=sensor.white_electrons / gain_e_per_dn,
            clip_dn=min(full_well_dn, 2**sensor.bit_depth - 1),
            cfa=sensor.mosaic,
        )

    def apply(self, frame: Frame) -> Measurement:
        """The light that a frame has seen.

        Raises:
            CalibrationMismatch: a frame of another camera, shape, bit depth, gain or exposure, or one that is not raw.
            FrameSaturated: one with more clipped and defective pixels than `max_masked_share`.
        """
        self._check_belongs(frame)
        clip_dn = frame.meta.full_scale_dn if self.clip_dn is None else self.clip_dn
        mask = (frame.pixels >= clip_dn) | self.defects
        share = float(mask.mean())
        if share > self.max_masked_share:
            clipped = int((frame.pixels >= clip_dn).sum())
            raise FrameSaturated(
                f"frame {frame.meta.sequence} of camera {self.camera_id!r}: {share:.1%} of its pixels cannot be used "
                f"({clipped} clipped, {int(self.defects.sum())} defective), limit {self.max_masked_share:.1%}; "
                "shorten the exposure or dim the scene"
            )
        with np.errstate(divide="ignore", invalid="ignore"):  # under the mask anything may stand
            y = (frame.pixels - self.dark_dn) / (self.flat * np.float32(self.white_dn))
        mask.flags.writeable = False
        filled = fill_masked(y, mask, 1 if self.cfa is None else 2)
        return Measurement(filled, mask, self.camera_id, frame.meta.sequence, self.id, self.cfa)

    def fits(self, rig: RigSpec) -> None:
        """Refuse a rig none of whose frames could be corrected with this.

        Raises:
            CalibrationMismatch: another shape, bit depth, colour filter array or exposure than the rig's.
        """
        sensor, (shortest_s, longest_s) = rig.sensor, self.exposure_s
        for what, got, expected, fits in (
            ("shape", self.shape, tuple(sensor.shape), self.shape == tuple(sensor.shape)),
            ("bit depth", self.bit_depth, sensor.bit_depth, self.bit_depth == sensor.bit_depth),
            ("colour filter array", self.cfa, sensor.mosaic, self.cfa == sensor.mosaic),
            ("exposure (s)", self.exposure_s, sensor.exposure_s, shortest_s <= sensor.exposure_s <= longest_s),
        ):
            if not fits:
                raise CalibrationMismatch(
                    f"calibration {self.id} of camera {self.camera_id!r}: {what} {got}, rig {rig.id!r} has {expected}; "
                    "calibrate with the settings of the rig, or correct the rig file"
                )

    @functools.cached_property
    def id(self) -> str:
        """Sixteen hexadecimal digits of everything that it holds."""
        facts, arrays = self._parts()
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for name in sorted(arrays):
            digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
            digest.update(arrays[name].tobytes())
        return digest.hexdigest()[:16]

    def save(self, path: str | pathlib.Path, overwrite: bool = False) -> None:
        """Write one file, at once or not at all.

        Raises:
            StorageError: it exists and is not to be overwritten, or cannot be written.
        """
        facts, arrays = self._parts()
        files.write(pathlib.Path(path), {**facts, "id": self.id}, arrays, overwrite)

    @classmethod
    def load(cls, path: str | pathlib.Path) -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: missing, damaged, or something else.
        """
        path = pathlib.Path(path)
        facts, arrays = files.read(path)
        try:
            stored_id = facts.pop("id")
            facts["shape"], facts["exposure_s"] = tuple(facts["shape"]), tuple(facts["exposure_s"])
            if facts["shape"] != arrays["defects"].shape:  # else a few digits would claim gigabytes
                raise ValueError(f"its defects have shape {arrays['defects'].shape}, it says {facts['shape']!s:.100}")
            calibration = cls(**facts, **arrays)
        except (TypeError, KeyError, ValueError, OverflowError, ConfigurationError) as error:
            raise files.refusal(path, f"its facts do not make a calibration: {error}") from error
        if calibration.id != stored_id:
            raise files.refusal(path, f"its content has id {calibration.id}, it says {stored_id}")
        return calibration

    def _parts(self) -> tuple[dict, dict[str, np.ndarray]]:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        if self.cfa is None:  # so are the ids and the files of all calibrations from before there were colours
            del values["cfa"]
        arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        return {name: value for name, value in values.items() if name not in arrays}, arrays

    def _check(self) -> None:
        shortest_s, longest_s = self.exposure_s
        self._expect(bool(self.camera_id), "camera_id", "the name of a camera")
        self._expect(len(self.shape) == 2 and min(self.shape) > 0, "shape", "(rows, columns)")
        self._expect(1 <= self.bit_depth <= 16, "bit_depth", "1 to 16")
        self._expect(self.cfa is None or self.cfa in PATTERNS, "cfa", f"None or one of {', '.join(PATTERNS)}")
        even = self.shape[0] % 2 == 0 == self.shape[1] % 2
        self._expect(self.cfa is None or even, "shape", "even numbers of rows and columns for a colour filter array")
        self._expect(0 < shortest_s <= longest_s < np.inf, "exposure_s", "(shortest, longest), above 0")
        self._expect(0 < self.white_dn < np.inf, "white_dn", "a finite number above 0")
        self._expect(0 <= self.max_masked_share < 1, "max_masked_share", "0 to 1")
        self._expect(self.defects.shape == self.shape, "defects", f"shape {self.shape}")
        for name in ("dark_dn", "flat", "dark_std_dn", "flat_std"):
            value = getattr(self, name)
            if value is not None:
                self._expect(value.shape in ((), self.shape), name, f"one number or shape {self.shape}")
                # A dead pixel has no response to divide by; it is one of the defects.
                good = value if value.shape == () else value[~self.defects]
                self._expect(bool(np.isfinite(good).all()), name, "finite values in pixels that are not defective")
                if name == "flat":
                    self._expect(bool((good > 0).all()), name, "values above 0 in pixels that are not defective")

    def _expect(self, holds: bool, name: str, expected: str) -> None:
        if not holds:
            value = getattr(self, name)
            got = f"shape {value.shape}" if isinstance(value, np.ndarray) else repr(value)
            raise ConfigurationError(f"calibration of camera {self.camera_id!r}: {name} = {got}; expected {expected}")

    def _check_belongs(self, frame: Frame) -> None:
        meta = frame.meta
        shortest_s, longest_s = self.exposure_s
        within = shortest_s * (1 - EXPOSURE_TOLERANCE) <= meta.exposure_s <= longest_s * (1 + EXPOSURE_TOLERANCE)
        for holds, name, got, expected in (
            (meta.camera_id == self.camera_id, "camera", meta.camera_id, self.camera_id),
            (frame.shape == self.shape, "shape", frame.shape, self.shape),
            (meta.bit_depth == self.bit_depth, "bit depth", meta.bit_depth, self.bit_depth),
            (meta.cfa == self.cfa, "colour filter array", meta.cfa, self.cfa),
            (meta.gain_db == self.gain_db, "gain_db", meta.gain_db, self.gain_db),
            (within, "exposure_s", meta.exposure_s, f"{shortest_s} to {longest_s}"),
            (meta.raw, "raw", meta.raw, True),
        ):
            if not holds:
                raise CalibrationMismatch(
                    f"frame {meta.sequence} of camera {meta.camera_id!r}: {name} is {got!r}, calibration {self.id} "
                    f"holds for {expected!r}; set the camera back, or calibrate again"
                )


def _own(value: np.ndarray | float, dtype: type) -> np.ndarray:
    """A read-only copy, as one kind of array."""
    copy = np.array(value, dtype, order="C")
    copy.flags.writeable = False
    return copy
