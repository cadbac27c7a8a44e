"""What the packets of the serial protocol say: each a fixed layout, but for the hello, which is JSON."""

import dataclasses
import json
import math
import struct

from hardware.frame import dtype_of
from hardware.serial_board.packet import LONGEST_BODY_BYTES, VERSION

HELLO_WANTED, CONFIGURE, STREAM, SHOW = b"hcsp"
REQUESTS = frozenset(b"hcsp")
HELLO, APPLIED, STREAMING, SHOWN, REFUSED, BEGIN, DATA, END = b"HCSPXBDE"
ANSWERS = frozenset(b"CSPX")

FOR_EVER_FRAMES = 0xFFFFFFFF  # as the count of frames that are asked for
LARGEST_FRAME_BYTES = 2**26
MOST_MODES = 32
MOST_LAMPS = LONGEST_BODY_BYTES - 4
UNCHANGED_MODE, UNCHANGED_US, UNCHANGED_MDB = 0xFF, 0, -(2**31)
UNKNOWN_TEMPERATURE = -(2**15)
LATEST_US = 2**63 // 1000  # of a board's clock: nanoseconds have 63 bits everywhere

OFFSET = struct.Struct("<I")
CRC = struct.Struct("<I")
COUNT = struct.Struct("<I")
CLOCK = struct.Struct("<Q")
_CONFIGURE = struct.Struct("<BIi")
_APPLIED = struct.Struct("<BIiQ")
_STREAMING = struct.Struct("<IIQ")
_BEGIN = struct.Struct("<BHHBIiQh")
_MATRIX = struct.Struct("<HH")


class Malformed(ValueError):
    """A packet that arrived whole says what no board may say; the text tells what."""


@dataclasses.dataclass(frozen=True)
class Mode:
    """One way in which a sensor is read.

    Args:
        rows, columns: of a frame.
        bit_depth: 1 to 16; one byte per pixel up to 8 bits, two above, the low one first.
        pixel_format: as GenICam names it, e.g. "Mono8", "BayerRG10".
        cfa: colour filter array, row by row from the top left pixel, e.g. "RGGB"; None without one.
    """

    rows: int
    columns: int
    bit_depth: int
    pixel_format: str
    cfa: str | None = None

    def __post_init__(self):
        sides = all(type(side) is int and 1 <= side <= 0xFFFF for side in (self.rows, self.columns))
        _expect(sides, "a mode", "rows and columns from 1 to 65535")
        _expect(type(self.bit_depth) is int and 1 <= self.bit_depth <= 16, "a mode", "a bit_depth from 1 to 16")
        _expect(self.bytes <= LARGEST_FRAME_BYTES, "a mode", f"frames of at most {LARGEST_FRAME_BYTES} bytes")
        _expect(_is_text(self.pixel_format, 32), "a mode", "a pixel_format")
        _expect(self.cfa is None or _is_text(self.cfa, 16), "a mode", "a cfa of letters, or none")

    @property
    def bytes(self) -> int:
        return self.rows * self.columns * dtype_of(self.bit_depth).itemsize

    def __str__(self) -> str:
        return f"{self.columns}x{self.rows} {self.pixel_format}"


@dataclasses.dataclass(frozen=True)
class Hello:
    """What a board is.

    Args:
        protocol: version that it speaks.
        serial: number of this one board, that no other has.
        board, sensor, firmware: for people.
        modes: of the sensor; empty on a board that only shows patterns.
        exposure_us: (shortest, longest); gain_db: (lowest, highest).
        black_level_dn: digital number that stands for no light.
        raw: whether nothing between converter and line changes the numbers.
        matrix: (rows, columns) of its lamps, if it has any.
    """

    protocol: int
    serial: str
    board: str
    sensor: str
    firmware: str
    modes: tuple[Mode, ...]
    exposure_us: tuple[int, int]
    gain_db: tuple[float, float]
    black_level_dn: int
    raw: bool
    matrix: tuple[int, int] | None = None

    def __post_init__(self):
        for name in ("serial", "board", "sensor", "firmware"):
            _expect(_is_text(getattr(self, name), 64), name, "a text of 1 to 64 printable characters")
        _expect(len(self.modes) <= MOST_MODES, "modes", f"at most {MOST_MODES}")
        for name, least, most in (("exposure_us", 1, 2**32 - 1), ("gain_db", -2e6, 2e6)):
            low, high = getattr(self, name)
            _expect(least <= low <= high <= most, name, "(lowest, highest)")
        _expect(type(self.raw) is bool, "raw", "true or false")
        _expect(0 <= self.black_level_dn <= 0xFFFF, "black_level_dn", "0 to 65535")
        sides = () if self.matrix is None else self.matrix
        fits = self.matrix is None or (len(sides) == 2 and all(type(side) is int and side >= 1 for side in sides))
        fits = fits and math.prod(sides) <= max(1, MOST_LAMPS)
        _expect(fits, "matrix", f"(rows, columns) of at most {MOST_LAMPS} lamps")

    def to_json(self) -> bytes:
        return json.dumps(dataclasses.asdict(self), separators=(",", ":")).encode()


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is asked for (None: as it is), or what has been read back from the sensor."""

    mode: int | None = None
    exposure_us: int | None = None
    gain_mdb: int | None = None


@dataclasses.dataclass(frozen=True)
class Begin:
    """The facts of a frame; `start_us` on the board's clock, when the exposure of its first row began."""

    mode: int
    rows: int
    columns: int
    bit_depth: int
    exposure_us: int
    gain_mdb: int
    start_us: int
    temperature_c: float | None


def hello_of(body: bytes) -> Hello:
    """The hello in a packet.

    Raises:
        Malformed: not what a board says; of a newer version, `newer` tells.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"hello is not JSON: {error}") from None
    _expect(isinstance(found, dict), "hello", "a table of facts")
    version = found.get("protocol")
    _expect(type(version) is int and version >= 1, "protocol", "a number from 1 on")
    if version != VERSION:
        raise Malformed(f"it speaks protocol {version}, this program {VERSION}")
    names = {field.name: field for field in dataclasses.fields(Hello)}
    lacking = [name for name in names if name not in found and name != "matrix"]
    _expect(not lacking, "hello", f"also {', '.join(lacking)}")
    try:
        modes = tuple(Mode(**{name: mode.get(name) for name in Mode.__dataclass_fields__}) for mode in found["modes"])
        pairs = {name: tuple(found[name]) for name in ("exposure_us", "gain_db")}
        matrix = None if found.get("matrix") is None else tuple(found["matrix"])
        plain = {name: found[name] for name in names if name not in ("modes", "matrix", *pairs)}
        return Hello(**plain, **pairs, modes=modes, matrix=matrix)
    except (TypeError, ValueError, AttributeError) as error:
        raise Malformed(f"hello: {error}") from None


def configure_body(wanted: Settings) -> bytes:
    return _CONFIGURE.pack(
        UNCHANGED_MODE if wanted.mode is None else wanted.mode,
        UNCHANGED_US if wanted.exposure_us is None else wanted.exposure_us,
        UNCHANGED_MDB if wanted.gain_mdb is None else wanted.gain_mdb,
    )


def configure_of(body: bytes) -> Settings:
    mode, exposure_us, gain_mdb = _unpack(_CONFIGURE, body, "configure")
    return Settings(
        None if mode == UNCHANGED_MODE else mode,
        None if exposure_us == UNCHANGED_US else exposure_us,
        None if gain_mdb == UNCHANGED_MDB else gain_mdb,
    )


def applied_body(applied: Settings, clock_us: int) -> bytes:
    return _APPLIED.pack(applied.mode, applied.exposure_us, applied.gain_mdb, clock_us)


def applied_of(body: bytes) -> tuple[Settings, int]:
    """(settings as read back, the board's clock in us)."""
    *applied, clock_us = _unpack(_APPLIED, body, "applied settings")
    _check_clock(clock_us)
    return Settings(*applied), clock_us


def streaming_body(next_sequence: int, left: int, clock_us: int) -> bytes:
    return _STREAMING.pack(next_sequence, left, clock_us)


def streaming_of(body: bytes) -> tuple[int, int, int]:
    """(number of the next frame, how many are still to come, the board's clock in us)."""
    found = _unpack(_STREAMING, body, "state of the stream")
    _check_clock(found[-1])
    return found


def begin_body(begin: Begin) -> bytes:
    unknown = begin.temperature_c is None
    temperature = UNKNOWN_TEMPERATURE if unknown else round(begin.temperature_c * 100)
    return _BEGIN.pack(*dataclasses.astuple(begin)[:-1], temperature)


def begin_of(body: bytes) -> Begin:
    *facts, temperature = _unpack(_BEGIN, body, "beginning of a frame")
    _check_clock(facts[-1])
    return Begin(*facts, None if temperature == UNKNOWN_TEMPERATURE else temperature / 100)


def show_body(rows: int, columns: int, levels: bytes) -> bytes:
    return _MATRIX.pack(rows, columns) + levels


def show_of(body: bytes) -> tuple[int, int, bytes]:
    """(rows, columns, one byte per lamp, row by row)."""
    _expect(len(body) >= _MATRIX.size, "pattern", "rows, columns and levels")
    rows, columns = _MATRIX.unpack_from(body)
    levels = body[_MATRIX.size :]
    _expect(len(levels) == rows * columns, "pattern", f"{rows * columns} levels")
    return rows, columns, levels


def _unpack(layout: struct.Struct, body: bytes, what: str) -> tuple:
    _expect(len(body) == layout.size, what, f"{layout.size} bytes, got {len(body)}")
    return layout.unpack(body)


def _expect(holds: bool, what: str, expected: str) -> None:
    if not holds:
        raise Malformed(f"{what}: expected {expected}")


def _check_clock(clock_us: int) -> None:
    _expect(clock_us < LATEST_US, "clock", f"less than {LATEST_US} us since its start")


def _is_text(value: object, most: int) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= most and value.isprintable()
