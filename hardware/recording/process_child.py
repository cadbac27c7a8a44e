"""What runs in the child process of a `RecordingProcess`: frames that wait are written together, then acknowledged."""

import pathlib
from contextlib import suppress
from typing import NoReturn

import numpy as np

from hardware.child import Parent, error_message, leave
from hardware.errors import ConfigurationError, LenslessError, StorageError
from hardware.frame import Frame, FrameMeta, dtype_of, from_plain
from hardware.recording import FolderWriter, Recording, RecordingWriter
from hardware.recording.rotation import remove_empty
from hardware.slots import Slots


def main() -> NoReturn:
    """Write what the parent sends until it has enough or is gone; an error is told to it."""
    parent, writer, made = Parent(), None, False
    try:
        first = parent.receive()
        made = not pathlib.Path(first["path"]).exists()
        slots, writer = Slots.attach(**first["slots"]), _create(first)
        if isinstance(writer, FolderWriter):
            writer.on_progress = lambda: _acknowledge(parent, writer)
        with writer:
            _acknowledge(parent, writer)
            while _append(parent, writer, slots):
                pass
        _acknowledge(parent, writer, finished=True)
    except EOFError:  # the parent is gone; what it sent was written, and the file was closed in order
        leave()
    except LenslessError as error:
        _tell(parent, writer, error, made)
    except Exception as error:  # told to the parent, who alone can tell a person
        _tell(parent, writer, StorageError(f"the writer fell with {type(error).__name__}: {error}"), made)
    leave()  # and not through HDF5's own end, which crashes after an error of the disk


def _create(first: dict) -> RecordingWriter | FolderWriter:
    meta = from_plain(FrameMeta, first["meta"])
    like = Frame.unchecked(np.zeros(first["shape"], dtype_of(meta.bit_depth)), meta)
    options = first["options"]
    if options["scene_shape"] is not None:
        options["scene_shape"] = tuple(options["scene_shape"])
    given = {name: value for name, value in options.items() if value is not None}
    return Recording.create(pathlib.Path(first["path"]), like, **given)


def _acknowledge(parent: Parent, writer: RecordingWriter | FolderWriter, **more: object) -> None:
    parent.send(**{"acknowledged": len(writer), "free": [], "finished": False} | more)


def _tell(parent: Parent, writer: RecordingWriter | FolderWriter | None, error: LenslessError, made: bool) -> None:
    """An error, and before it what was written all the same; `made` says whether the folder is new."""
    if writer is not None:
        if not len(writer):
            remove_empty(writer, made)
        _acknowledge(parent, writer)
    parent.send(**error_message(error))


def _append(parent: Parent, writer: RecordingWriter | FolderWriter, slots: Slots) -> bool:
    """Write all that has come; whether there may come more."""
    orders = [parent.receive()]
    with suppress(EOFError):  # the parent is gone: what it sent is written, then `receive` says so again
        while len(orders) < slots.count and (order := parent.receive(0)) is not None:
            orders.append(order)
    sent = [one for one in orders if "slot" in one]
    if sent:
        before = len(writer)
        try:
            _append_all(writer, slots, sent)
        except ConfigurationError:  # one of them does not belong here: those before it do
            for one in sent[len(writer) - before :]:  # some stand in a part that was full
                _append_all(writer, slots, [one])
        _acknowledge(parent, writer, free=[one["slot"] for one in sent])
    return len(sent) == len(orders)


def _append_all(writer: RecordingWriter | FolderWriter, slots: Slots, sent: list[dict]) -> None:
    frames = [_frame(slots, one) for one in sent]
    scenes = [_scene(slots, one) for one in sent]
    labels, checksums, scene_ids = ([one[name] for one in sent] for name in ("label", "crc32", "scene_id"))
    writer.append_all(frames, labels, scenes, checksums, scene_ids)


def _frame(slots: Slots, order: dict) -> Frame:
    """The frame as it lies in its place, checked when it was made in the other process."""
    meta = from_plain(FrameMeta, order["meta"])
    return Frame.unchecked(slots.view(order["slot"], tuple(order["shape"]), dtype_of(meta.bit_depth)), meta)


def _scene(slots: Slots, order: dict) -> np.ndarray | None:
    if order["scene"] is None:
        return None
    shape, dtype = order["scene"]
    meta_bytes = int(np.prod(order["shape"])) * dtype_of(order["meta"]["bit_depth"]).itemsize
    return slots.view(order["slot"], tuple(shape), np.dtype(dtype), meta_bytes)


if __name__ == "__main__":
    main()
