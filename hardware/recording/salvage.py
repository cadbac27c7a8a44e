"""What can be read of one damaged file, frame by frame, through child processes that may hang or crash on it."""

import dataclasses
import math
import pathlib
import zlib
from collections.abc import Iterator

import numpy as np

from hardware.errors import CameraError, InputError
from hardware.frame import Frame, dtype_of
from hardware.recording import checks, schema
from hardware.recording.sandbox import Fell, Sandbox

# A child that hangs costs 8 s: after so many that fell one behind the other the rest of a file is given up.
MOST_FALLS = 5
BEHIND = "behind the cut: the file ends before them"


@dataclasses.dataclass(frozen=True)
class Head:
    """What a file says of all its frames: `recorded` there were, `frames` have room in what is left of it."""

    facts: schema.CameraFacts
    provenance: dict
    shape: tuple[int, ...]
    scene_shape: tuple[int, int] | None
    frames: int
    recorded: int

    @property
    def pixels_bytes(self) -> int:
        return math.prod(self.shape) * dtype_of(self.facts.bit_depth).itemsize

    @property
    def scene_bytes(self) -> int:
        return 0 if self.scene_shape is None else math.prod(self.scene_shape)


@dataclasses.dataclass(frozen=True)
class Saved:
    """A frame that is whole."""

    at: int
    frame: Frame
    label: int
    scene: np.ndarray | None
    scene_id: int
    pixels_crc32: int


@dataclasses.dataclass(frozen=True)
class Lost:
    """Frames `first` to `last` of a file that cannot be read; `lost_before` were lost before them, as far as known."""

    first: int
    last: int
    reason: str
    lost_before: int = 0


def salvage(path: pathlib.Path) -> Iterator[Head | Saved | Lost]:
    """The head of a file, then its frames in order, whole or lost.

    Raises:
        InputError: the file cannot be opened at all.
    """
    head, start, falls = None, 0, 0
    while head is None or start < head.frames:
        with Sandbox("read", path.absolute(), start) as child:
            try:
                if head is None:
                    head = _head(child.tell()[0])
                    yield head
                else:
                    child.tell()
                for found in _frames(child, head, start):
                    yield found
                    start, falls = found.at + 1 if isinstance(found, Saved) else found.last + 1, 0
            except (Fell, InputError) as error:
                if head is None:
                    raise InputError(f"'{path}': {error}") from error
                falls += 1
                last = start if falls < MOST_FALLS else head.frames - 1
                yield Lost(start, last, str(error))
                start = last + 1
    if head.recorded > head.frames:
        yield Lost(head.frames, head.recorded - 1, BEHIND)


def _frames(child: Sandbox, head: Head, start: int) -> Iterator[Saved | Lost]:
    size = schema.ROW.itemsize + head.pixels_bytes + head.scene_bytes
    for at in range(start, head.frames):
        told, content = child.tell("bytes", size)
        if told.get("at") != at:
            raise Fell("the reader was upset by it, and spoke nonsense")
        if "damaged" in told:
            lost_before = told.get("lost_before")
            yield Lost(at, at, str(told["damaged"])[:500], lost_before if type(lost_before) is int else 0)
            continue
        try:
            yield _saved(head, at, content)
        except (ValueError, CameraError, UnicodeDecodeError) as error:
            yield Lost(at, at, f"its facts cannot be: {error}")


def _head(told: dict) -> Head:
    """Of what the child said; it read bytes that may have upset it, so nothing is believed."""
    try:
        facts = schema.CameraFacts.from_json(told["camera"])
        shape, scene_shape = tuple(told["shape"]), told["scene_shape"]
        scene_shape = None if scene_shape is None else tuple(scene_shape)
        numbers = (*shape, *(scene_shape or ()), told["frames"], told["recorded"])
        head = Head(facts, dict(told["provenance"]), shape, scene_shape, told["frames"], told["recorded"])
        sizes = len(shape) in (2, 3) and all(type(number) is int and number >= 0 for number in numbers)
        if sizes and max(head.pixels_bytes, head.scene_bytes) <= checks.LARGEST_FRAME_BYTES:
            return head
    except (KeyError, TypeError, ValueError) as error:
        raise Fell("the reader was upset by it, and spoke nonsense") from error
    raise Fell("the reader was upset by it, and spoke nonsense")


def _saved(head: Head, at: int, content: bytes) -> Saved:
    row = np.frombuffer(content, schema.ROW, 1)[0]
    begin, end = schema.ROW.itemsize, schema.ROW.itemsize + head.pixels_bytes
    pixels = np.frombuffer(content, dtype_of(head.facts.bit_depth), math.prod(head.shape), begin).reshape(head.shape)
    scene = None
    if head.scene_shape is not None:
        scene = np.frombuffer(content, np.uint8, -1, end).reshape(head.scene_shape)
    if zlib.crc32(pixels) != row["pixels_crc32"] or (scene is not None and zlib.crc32(scene) != row["scene_crc32"]):
        raise ValueError("its checksum does not fit")
    frame = Frame(pixels, schema.unpack(row, head.facts))
    return Saved(at, frame, int(row["label"]), scene, int(row["scene_id"]), int(row["pixels_crc32"]))
