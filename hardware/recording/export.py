"""Frames of a recording as a multi-page TIFF or a NumPy array, with their facts as JSON beside it."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import BinaryIO

import numpy as np

from hardware.errors import ConfigurationError, StorageError
from hardware.frame import Frame, dtype_of
from hardware.lock import WriterLock
from hardware.recording import failure, publish, schema
from hardware.recording.reader import Recording

SUFFIXES = (".tif", ".tiff", ".npy")
# Classic TIFF addresses its pages with 32 bits; some room is left for its tables.
CLASSIC_TIFF_BYTES = 2**32 - 2**25
FRAME_FACTS = ("sequence", "t_host_ns", "t_device_ns", "exposure_s", "gain_db", "temperature_c", "lost_before")


def export(
    recording: Recording,
    out: str | pathlib.Path,
    frames: slice = slice(None),
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write frames as the sensor gave them to NAME.tif or NAME.npy, and their facts to the file `facts_path` names.

    Both files appear only when they are whole. A TIFF has one page per frame (BigTIFF where 4 GiB are not enough), an
    array the shape (N, H, W) or (N, H, W, C); `numpy.load(..., mmap_mode="r")` reads it without loading it. TIFF knows
    colours as red, green, blue only: blue, green, red is turned round there, and the facts say so.

    Args:
        recording: where the frames come from.
        out: a name that ends in .tif, .tiff or .npy and is not taken, nor is that of its .json.
        frames: which of them: `slice(start, stop, step)`, counted as in a list; the step is 1 or more.
        progress: told (frames done, of how many).

    Returns:
        The number of frames.

    Raises:
        ConfigurationError: another kind of file, or no frame was asked for.
        InputError: a frame is damaged; nothing is left.
        StorageError: a name is taken, or the disk is full; nothing is left.
    """
    out = pathlib.Path(out).resolve()
    if out.suffix.lower() not in SUFFIXES:
        raise ConfigurationError(f"export to '{out.name}'; expected a name that ends in {', '.join(SUFFIXES)}")
    if frames.step is not None and frames.step < 1:
        raise ConfigurationError(f"frames {frames.start}:{frames.stop}:{frames.step}; expected a step of 1 or more")
    indices = range(*frames.indices(len(recording)))
    if not indices:
        raise ConfigurationError(f"no frame of '{recording.path}' was asked for: it has {len(recording)}")
    facts = facts_path(out)
    partials = {facts: publish.partial_name(facts), out: publish.partial_name(out)}
    with WriterLock(out):
        for path in (out, facts):
            if path.exists():
                raise StorageError(f"'{path}' exists; nothing is ever overwritten: choose another name")
        with _all_or_nothing(out, list(partials.values())) as made:
            _write(recording, indices, out.suffix.lower(), partials[out], partials[facts], progress)
            for path, partial in partials.items():  # the facts first: where an array or a picture is, they are, too
                publish.publish(partial, path)
                made.append(path)
            publish.sync_folder(out.parent)
    return len(indices)


def facts_path(out: pathlib.Path) -> pathlib.Path:
    """Where the facts of an exported file stand: NAME.tif.json beside NAME.tif."""
    return out.with_name(f"{out.name}.json")


@contextmanager
def _all_or_nothing(out: pathlib.Path, made: list[pathlib.Path]) -> Iterator[list[pathlib.Path]]:
    """Nothing is left of what was `made` if anything fails; what the disk says is a StorageError."""
    try:
        yield made
    except BaseException as error:
        with suppress(OSError):  # the disk has failed once already
            for path in made:
                path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise StorageError(
                f"export to '{out}' stopped: {failure.reason(error)}; nothing is left of it; free some space or "
                "choose another disk"
            ) from error
        raise


def _write(
    recording: Recording,
    indices: range,
    suffix: str,
    data: pathlib.Path,
    facts: pathlib.Path,
    progress: Callable[[int, int], None] | None,
) -> None:
    dtype, turned = dtype_of(recording.facts.bit_depth), suffix != ".npy" and _is_bgr(recording)
    labels, scene_ids = recording.labels, recording.scene_ids
    with facts.open("w", encoding="utf-8") as text, data.open("w+b") as raw:
        text.write(_head(recording, turned))
        with ExitStack() as stack:
            if suffix == ".npy":
                put = _npy(raw, recording, indices, dtype)
            else:
                put = _tiff(stack, raw, recording, indices, dtype, turned)
            for done, index in enumerate(indices, 1):
                frame = recording[index]
                put(frame)
                text.write(
                    ("" if done == 1 else ",\n") + _line(index, frame, int(labels[index]), int(scene_ids[index]))
                )
                if progress is not None:
                    progress(done, len(indices))
        text.write("\n]}\n")
        for file in (text, raw):
            file.flush()
            os.fsync(file.fileno())


def _npy(raw: BinaryIO, recording: Recording, indices: range, dtype: np.dtype) -> Callable[[Frame], object]:
    # Not through a memory map: storing into one on a full disk ends the process with SIGBUS.
    shape = (len(indices), *recording.shape)
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(raw, header)
    return lambda frame: raw.write(frame.pixels)


def _is_bgr(recording: Recording) -> bool:
    return recording.shape[2:] == (3,) and recording.facts.pixel_format.startswith("BGR")


def _tiff(
    stack: ExitStack, raw: BinaryIO, recording: Recording, indices: range, dtype: np.dtype, turned: bool
) -> Callable[[Frame], object]:
    import tifffile  # slow to import, and needed here only

    shape = recording.shape
    size = len(indices) * int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    writer = stack.enter_context(tifffile.TiffWriter(raw, bigtiff=size > CLASSIC_TIFF_BYTES))
    # Bayer planes are kept as they are, so only channels that a camera gave are colours.
    photometric = "rgb" if len(shape) == 3 and shape[2] in (3, 4) else "minisblack"
    planar = "contig" if len(shape) == 3 else None
    return lambda frame: writer.write(
        frame.pixels[..., ::-1] if turned else frame.pixels,
        photometric=photometric,
        planarconfig=planar,
        metadata=None,
        contiguous=False,
    )


def _head(recording: Recording, turned: bool) -> str:
    camera = dataclasses.asdict(recording.facts)
    if turned:
        recorded = recording.facts.pixel_format
        camera |= {"pixel_format": recorded.replace("BGR", "RGB", 1), "recorded_pixel_format": recorded}
    values = {
        "format": "optics-free export",
        "camera": camera,
        "shape": recording.shape,
        "provenance": recording.provenance,
    }
    return json.dumps(values, indent=1, allow_nan=False)[:-2] + ',\n "frames": [\n'


def _line(index: int, frame: Frame, label: int, scene_id: int) -> str:
    facts = {name: getattr(frame.meta, name) for name in FRAME_FACTS}
    known = None if label == schema.UNKNOWN_LABEL else label
    shown = None if scene_id == schema.NO_SCENE else scene_id
    return json.dumps({"index": index, **facts, "label": known, "scene_id": shown}, allow_nan=False)
