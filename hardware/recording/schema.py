"""What stands where in a recording: version 2.

    frames    (N, H, W[, C])  uint8 or uint16   pixels as the sensor gave them
    rows      (N,)            compound          facts of each frame, its label, checksums of pixels, scene and row
    scenes    (N, h, w)       uint8             the picture that was shown; only in recordings made with scene_shape
    sequence  (N,)            int64             the commit mark: a frame counts when its number stands here
    attributes: format, schema_version, camera (JSON: facts that hold for all frames), provenance (JSON)

Version 1 had no `scene_id`; its rows are read as of frames without one.

One row, one chunk, everywhere: an append never writes again to a byte that was acknowledged before, so nothing that
happens during it (a kill, a full disk) can harm an older frame. The HDF5 checksum (fletcher32) guards each chunk on its
way through the library; the CRC-32 in each row guards a frame from end to end, and ties it to the facts of its file.
"""

import dataclasses
import json
import math
import operator
import struct
import zlib

import numpy as np

from hardware.errors import ConfigurationError
from hardware.frame import SETTINGS_ID_BYTES, Frame, FrameMeta

FORMAT = "optics-free recording"
SCHEMA_VERSION = 2
UNKNOWN_LABEL = -1
NO_SCENE = -1
# Of the file, and of Linux: what is smaller lies within one page, what is larger begins where a page does.
PAGE_BYTES = 4096

# Longer text would leave the checksummed object header of HDF5.
LONGEST_JSON_BYTES = 32_768

NO_TIME = np.iinfo(np.int64).min

ROW = np.dtype(
    [
        ("sequence", "<i8"),
        ("t_host_ns", "<i8"),
        ("t_device_ns", "<i8"),  # NO_TIME for None
        ("exposure_s", "<f8"),
        ("gain_db", "<f8"),
        ("temperature_c", "<f8"),  # NaN for None
        ("lost_before", "<i8"),
        ("settings_id", f"S{SETTINGS_ID_BYTES}"),
        ("label", "<i4"),
        ("scene_id", "<i8"),  # of what was shown, in the set of scenes that the provenance names; NO_SCENE for none
        ("pixels_crc32", "<u4"),
        ("scene_crc32", "<u4"),
        ("row_crc32", "<u4"),  # of the row up to here, started from the checksum of the file's facts
    ]
)


# The same in one call; numpy takes ten times as long to fill a row field by field.
_ROW_BUT_CRC = struct.Struct(f"<qqqdddq{SETTINGS_ID_BYTES}siqII")
_ROW_V1 = np.dtype([(name, ROW[name]) for name in ROW.names if name != "scene_id"])
ROWS = {1: _ROW_V1, SCHEMA_VERSION: ROW}  # by version


@dataclasses.dataclass(frozen=True, kw_only=True)
class CameraFacts:
    """Facts of `FrameMeta` that hold for every frame of a recording."""

    camera_id: str
    bit_depth: int
    black_level_dn: float
    pixel_format: str
    cfa: str | None
    raw: bool
    region: tuple[int, int, int, int] | None
    binning: tuple[int, int]

    @classmethod
    def of(cls, meta: FrameMeta) -> "CameraFacts":
        return cls(**{field.name: getattr(meta, field.name) for field in dataclasses.fields(cls)})

    @classmethod
    def from_json(cls, text: str) -> "CameraFacts":
        """Raises ValueError or TypeError for text that `to_json` did not make."""
        values = strict_json(text)
        if values["region"] is not None:
            values["region"] = tuple(values["region"])
        values["binning"] = tuple(values["binning"])
        return cls(**values)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)


# The values of `CameraFacts.of`, ten times as fast.
facts_of = operator.attrgetter(*(field.name for field in dataclasses.fields(CameraFacts)))


def strict_json(text: str) -> object:
    """JSON as `to_json` and `provenance_json` make it.

    Raises:
        ValueError: not JSON, not a number, or a name that stands twice in one object.
        RecursionError: nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError(f"a name stands twice among {[name[:40] for name, _ in pairs][:9]}")
    return dict(pairs)


def _no_number(text: str) -> object:
    raise ValueError(f"{text} is not a number in JSON")


def provenance_json(provenance: dict) -> str:
    """Raises ConfigurationError for what JSON cannot hold or what is too long."""
    try:
        text = json.dumps(provenance, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"provenance of a recording: {error}; expected what JSON can hold") from error
    if not isinstance(provenance, dict) or len(text.encode()) > LONGEST_JSON_BYTES:
        raise ConfigurationError(
            f"provenance of a recording: {type(provenance).__name__} of {len(text.encode())} bytes as JSON; "
            f"expected a dict of at most {LONGEST_JSON_BYTES}; store large things beside it and name their hash"
        )
    return text


def facts_crc32(camera_json: str, provenance_json: str) -> int:
    return zlib.crc32(provenance_json.encode(), zlib.crc32(camera_json.encode()))


def pack(
    frame: Frame, label: int, scene: np.ndarray | None, pixels_crc: int | None, scene_id: int, facts_crc: int
) -> bytes:
    """The row of a frame, as `ROW` lays it out; `pixels_crc` is computed where it is None."""
    meta = frame.meta
    row = _ROW_BUT_CRC.pack(
        meta.sequence,
        meta.t_host_ns,
        NO_TIME if meta.t_device_ns is None else meta.t_device_ns,
        meta.exposure_s,
        meta.gain_db,
        math.nan if meta.temperature_c is None else meta.temperature_c,
        meta.lost_before,
        meta.settings_id.encode(),
        label,
        scene_id,
        zlib.crc32(frame.pixels) if pixels_crc is None else pixels_crc,
        0 if scene is None else zlib.crc32(scene),
    )
    return row + zlib.crc32(row, facts_crc).to_bytes(4, "little")


def rows_crc32(rows: np.ndarray, facts_crc: int) -> np.ndarray:
    """What stands in `row_crc32` of whole rows (N,), of any version."""
    size, content = rows.dtype.itemsize, memoryview(rows.tobytes())
    but_crc = size - rows.dtype["row_crc32"].itemsize
    starts = range(0, len(content), size)
    return np.array([zlib.crc32(content[start : start + but_crc], facts_crc) for start in starts], np.uint32)


def of_today(rows: np.ndarray) -> np.ndarray:
    """Rows of any version as `ROW` has them; their `row_crc32` stays that of how they were written."""
    if rows.dtype == ROW:
        return rows
    today = np.empty(rows.shape, ROW)
    for name in rows.dtype.names:
        today[name] = rows[name]
    today["scene_id"] = NO_SCENE
    return today


def unpack(row: np.void, facts: CameraFacts) -> FrameMeta:
    """The facts of the frame of a row."""
    t_device_ns, temperature_c = int(row["t_device_ns"]), float(row["temperature_c"])
    return FrameMeta(
        **dataclasses.asdict(facts),
        sequence=int(row["sequence"]),
        t_host_ns=int(row["t_host_ns"]),
        t_device_ns=None if t_device_ns == NO_TIME else t_device_ns,
        exposure_s=float(row["exposure_s"]),
        gain_db=float(row["gain_db"]),
        temperature_c=None if math.isnan(temperature_c) else temperature_c,
        settings_id=row["settings_id"].decode(),
        lost_before=int(row["lost_before"]),
    )
