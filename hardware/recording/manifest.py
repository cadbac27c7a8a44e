"""The manifest of a recording that is a folder of parts: version 1.

    recording.json    this file: what the recording is, and what its finished parts hold
    part-00000.h5     recordings in one file each (`schema`), whose provenance names the recording and the part
    part-00001.h5     ...

The parts are the truth, the manifest is a convenience. It is written anew, whole, whenever a part is finished; a killed
writer leaves one part, the last, that it does not list. A part says in its own provenance, under `PART_KEY`, which
recording it belongs to and where it stands in it, so none can be mistaken for another.

A manifest may come from anybody. It is read only up to a bound, must hold exactly these values and no others, and
never says what is opened: part number i is called part_name(i), and nothing else. Another version has other values.
"""

import dataclasses
import json
import os
import pathlib
import re
import stat

from hardware.errors import InputError
from hardware.recording import publish, schema

NAME = "recording.json"
FORMAT = "optics-free recording of parts"
VERSION = 1
PART_KEY = "part_of"
MOST_PARTS = 20_000
LARGEST_BYTES = 2**23
_PART_NAME = re.compile(r"part-(\d{5})\.h5")
_HEX = re.compile(r"[0-9a-f]+")


@dataclasses.dataclass(frozen=True)
class PartFacts:
    """What a part holds; `first_sequence` and `last_sequence` are None where it holds no frame."""

    name: str
    frames: int
    first_sequence: int | None
    last_sequence: int | None
    sha256: str | None = None


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What a recording is and what its finished parts hold."""

    id: str
    camera: schema.CameraFacts
    shape: tuple[int, ...]
    scene_shape: tuple[int, int] | None
    provenance: dict
    parts: tuple[PartFacts, ...] = ()
    closed: bool = False

    def write(self, folder: pathlib.Path) -> None:
        """Put it in the place of the one before, whole.

        Raises:
            OSError: the disk; the one before is as it was.
        """
        values = {"format": FORMAT, "version": VERSION, **dataclasses.asdict(self)}
        publish.replace_text(folder / NAME, json.dumps(values, indent=1, allow_nan=False) + "\n")


def part_name(number: int) -> str:
    return f"part-{number:05d}.h5"


def is_wanted(folder: pathlib.Path) -> bool:
    """Whether `folder` holds a manifest, or parts that lack it, which must not be passed over in silence."""
    return os.path.isdir(folder) and any((*folder.glob(NAME), *folder.glob("part-*.h5")))


def marked(provenance: dict, recording_id: str, number: int) -> dict:
    """The provenance of a part: that of the recording, and where it belongs."""
    return {**provenance, PART_KEY: {"recording": recording_id, "number": number}}


def parts_in(folder: pathlib.Path) -> list[str]:
    """Names of the parts that lie in a folder, in order.

    Raises:
        InputError: one is a link or no plain file, or a number is missing between them.
    """
    try:
        found = sorted(entry.name for entry in os.scandir(folder) if _PART_NAME.fullmatch(entry.name))
        for at, name in enumerate(found):
            if not stat.S_ISREG(os.lstat(folder / name).st_mode):
                raise refusal(folder, f"'{name}' is a link, or not a plain file")
            if name != part_name(at):
                raise refusal(folder, f"'{part_name(at)}' is missing, '{name}' is there")
    except OSError as error:
        raise InputError(f"cannot read folder '{folder}': {error.strerror}; expected a recording") from error
    return found


def read(folder: pathlib.Path) -> Manifest:
    """Read the manifest of a folder.

    Raises:
        InputError: none there, or not one.
    """
    path = folder / NAME
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise refusal(folder, f"'{NAME}' is a link, or not a plain file")
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except FileNotFoundError as error:
        inside = next(iter(sorted(folder.glob(f"*/{NAME}"))), None)
        if inside is not None:
            raise InputError(
                f"'{folder}' holds recordings, and is none itself; name one of them, e.g. '{inside.parent}'"
            ) from error
        if is_wanted(folder):
            got, remedy = f"no '{NAME}'", "; `lensless repair` makes one of its parts"
        else:
            got, remedy = f"no '{NAME}' and no part", ", or a file (.h5)"
        raise InputError(f"'{folder}' holds {got}; expected a recording of parts{remedy}") from error
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error.strerror}; expected the manifest of a recording") from error
    if len(content) > LARGEST_BYTES:
        raise refusal(folder, f"'{NAME}' is longer than {LARGEST_BYTES >> 20} MiB")
    try:
        return _checked(schema.strict_json(content.decode()), folder)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise refusal(folder, f"'{NAME}': {type(error).__name__}: {error}") from error


def refusal(folder: pathlib.Path, reason: str) -> InputError:
    """The error of every folder that is not a whole recording."""
    reason = " ".join(reason.split())[:300]
    return InputError(
        f"'{folder}' is not a whole recording: {reason}; use another copy, or save what is left with `lensless repair`"
    )


def _checked(values: object, folder: pathlib.Path) -> Manifest:
    if not isinstance(values, dict) or values.pop("format", None) != FORMAT:
        raise refusal(folder, f"'{NAME}' is not of format '{FORMAT}'")
    if (version := values.pop("version", None)) != VERSION or type(version) is not int:
        raise refusal(folder, f"'{NAME}' is not of version {VERSION}; a newer release may read it")
    expected = {field.name for field in dataclasses.fields(Manifest)}
    if values.keys() != expected:
        raise refusal(folder, f"'{NAME}' holds {sorted(values)[:12]}; expected {sorted(expected)}")
    _expect(isinstance(values["id"], str) and len(values["id"]) == 32 and _HEX.fullmatch(values["id"]), "id")
    _expect(type(values["closed"]) is bool, "closed")
    _expect(isinstance(values["provenance"], dict), "provenance")
    scene_shape = values["scene_shape"]
    return Manifest(
        id=values["id"],
        camera=schema.CameraFacts.from_json(json.dumps(values["camera"])),
        shape=_shape(values["shape"], (2, 3), "shape"),
        scene_shape=None if scene_shape is None else _shape(scene_shape, (2,), "scene_shape"),
        provenance=values["provenance"],
        parts=_parts(values["parts"]),
        closed=values["closed"],
    )


def _shape(values: object, lengths: tuple[int, ...], name: str) -> tuple[int, ...]:
    _expect(isinstance(values, list) and len(values) in lengths, name)
    _expect(all(_is_count(value) and value > 0 for value in values), name)
    return tuple(values)


def _parts(values: object) -> tuple[PartFacts, ...]:
    _expect(isinstance(values, list) and len(values) <= MOST_PARTS, "parts")
    parts, last = [], -1
    for at, value in enumerate(values):
        part = PartFacts(**value)
        _expect(part.name == part_name(at), f"the name of part {at}")
        _expect(_is_count(part.frames), f"the frames of '{part.name}'")
        if part.frames or at:  # only the first part can be empty
            rising = _is_count(part.first_sequence) and _is_count(part.last_sequence) and part.first_sequence > last
            _expect(rising and part.last_sequence - part.first_sequence >= part.frames - 1 >= 0, f"'{part.name}'")
            last = part.last_sequence
        else:
            _expect(part.first_sequence is None and part.last_sequence is None, f"'{part.name}'")
        digest = part.sha256
        _expect(digest is None or (isinstance(digest, str) and len(digest) == 64 and _HEX.fullmatch(digest)), "sha256")
        parts.append(part)
    _expect(len(parts) < 2 or parts[0].frames > 0, f"'{part_name(0)}'")
    return tuple(parts)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _expect(holds: object, name: str) -> None:
    if not holds:
        raise ValueError(f"{name} is not what a recording has")
