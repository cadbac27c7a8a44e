"""Reading one file of a recording: every frame is checked from end to end, or refused."""

import os
import pathlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import h5py
import numpy as np

from hardware.errors import CameraError, ConfigurationError, InputError
from hardware.frame import Frame, FrameMeta
from hardware.lock import is_written
from hardware.recording import checks, handles, schema
from hardware.recording.unindexed import Unindexed

ROWS_AT_ONCE = 4096


class Part:
    """Frames in one file. Its handle is opened when it is needed, and again in a process that was forked.

    Args:
        path: of the file, that may still be written, or have been left by a killed writer.
        damaged: whether to read what can be read of a file that is truncated or was not closed in order.

    Raises:
        InputError: missing, truncated, not ours, or changed bytes: a damaged frame is refused, never returned.
    """

    def __init__(self, path: pathlib.Path, damaged: bool = False):
        self.path, self._damaged = path, damaged
        self._file: h5py.File | None = None
        self._datasets: dict[str, h5py.Dataset] = {}
        self._unindexed: Unindexed | None = None
        self._followed = False  # whether its writer was alive when it was opened
        self._length, self._facts_crc, self._closed = 0, None, False
        handles.hold(self)
        self._open()

    def __len__(self) -> int:
        return self._length

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W) or (H, W, C) of a frame."""
        return self._shape

    @property
    def scene_shape(self) -> tuple[int, int] | None:
        """(h, w) of the pictures that were shown; None where none were stored."""
        return self._scene_shape

    @property
    def closed_in_order(self) -> bool:
        """Whether its writer has finished it."""
        return checks.closed_in_order(self.path)

    def frame(self, at: int) -> Frame:
        row = self.rows(at, at + 1)[0]
        with self._errors(f"frame {at}: "):
            pixels = self._values("frames", at, at + 1)[0]
            if zlib.crc32(pixels) != row["pixels_crc32"]:
                raise checks.refusal(self.path, f"checksum of frame {at} does not fit its pixels")
            return Frame(pixels, schema.unpack(row, self.facts))

    def meta(self, at: int) -> FrameMeta:
        with self._errors(f"frame {at}: "):
            return schema.unpack(self.rows(at, at + 1)[0], self.facts)

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Rows `start` to `stop` of the facts, each checked."""
        with self._errors(f"facts of {_which(start, stop)}: "):
            rows, sequence = self._values("rows", start, stop), self._values("sequence", start, stop)
            numbers = rows["sequence"]
            wrong = (numbers != sequence) | (schema.rows_crc32(rows, self._facts_crc) != rows["row_crc32"])
            wrong[1:] |= numbers[1:] <= numbers[:-1]
            if wrong.any():
                where = start + int(wrong.argmax())
                raise checks.refusal(self.path, f"checksum or sequence number of frame {where} does not fit")
        return schema.of_today(rows)

    def all_rows(self) -> Iterator[np.ndarray]:
        """All rows, some thousands at a time."""
        for start in range(0, self._length, ROWS_AT_ONCE):
            yield self.rows(start, min(start + ROWS_AT_ONCE, self._length))

    def scenes(self, start: int, stop: int) -> np.ndarray:
        """The pictures (N, h, w) that were shown, each checked; only where there are some."""
        rows = self.rows(start, stop)
        with self._errors(f"scenes of {_which(start, stop)}: "):
            scenes = self._values("scenes", start, stop)
        for at, scene in enumerate(scenes):
            if zlib.crc32(scene) != rows[at]["scene_crc32"]:
                raise checks.refusal(self.path, f"checksum of scene {start + at} does not fit")
        return scenes

    def refresh(self) -> int:
        """Look for frames that a live writer has appended; returns how many there are now."""
        with self._errors():
            datasets = self._open()
            if self._followed and not is_written(self.path):
                self.release()  # its writer has finished, or was killed: it is read in another way now
                self._open()
            else:
                for dataset in datasets.values():
                    dataset.refresh()
                self._length = self._measure()
        return self._length

    def release(self) -> None:
        """Let the handle go until it is needed again."""
        file, self._file, self._datasets, self._unindexed = self._file, None, {}, None
        if file is not None:
            file.close()

    def close(self) -> None:
        """Let the file go for good; a second call does nothing."""
        self._closed = True
        self.release()

    def after_fork(self) -> None:
        """In the child of a fork: this process opens a handle of its own."""
        if self._file is not None:
            # A file that is read through Python has no lock, and nothing to be written.
            if self._file.driver != checks.OF_A_KILLED_WRITER:
                descriptor = self._file.id.get_vfd_handle()
                handles.point_at_nothing(descriptor, os.fstat(descriptor))
            self.release()

    def _open(self) -> dict[str, h5py.Dataset]:
        if self._closed:
            raise ConfigurationError(f"recording '{self.path}' is closed; open it again to read")
        if self._file is None:
            self._file = checks.open_file(self.path, self._damaged)
            self._followed = self._file.swmr_mode
            try:
                with self._errors():
                    self._read_facts()
                    self._datasets = {name: self._file[name] for name in self._file}
                    self._length = max(self._measure(), self._length)
            except BaseException:
                self.release()
                raise
        return self._datasets

    def _values(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows of a dataset, also where a kill has torn its index."""
        datasets = self._open()
        try:
            return datasets[name][start:stop]
        except (OSError, RuntimeError):
            if self._file.driver != checks.OF_A_KILLED_WRITER:
                raise
        return np.stack([self._value(datasets[name], name, at) for at in range(start, stop)])

    def _value(self, dataset: h5py.Dataset, name: str, at: int) -> np.ndarray:
        try:
            return dataset[at]
        except (OSError, RuntimeError) as error:
            if self._unindexed is None:
                self._unindexed = Unindexed(self.path, self._datasets, self._length, self._facts_crc)
            try:
                return self._unindexed.read(name, at)
            except OSError:
                raise error from None

    def _read_facts(self) -> None:
        camera_json, provenance_json = checks.check_layout(self._file, self.path)
        facts_crc = schema.facts_crc32(camera_json, provenance_json)
        if self._facts_crc not in (None, facts_crc):
            raise checks.refusal(self.path, "since it was opened, another recording has taken its place")
        self._facts_crc = facts_crc
        self.facts = schema.CameraFacts.from_json(camera_json)
        self.provenance = schema.strict_json(provenance_json)
        if not isinstance(self.provenance, dict):
            raise checks.refusal(self.path, "its provenance is not a JSON object")
        self._shape = self._file["frames"].shape[1:]
        self._scene_shape = self._file["scenes"].shape[1:] if "scenes" in self._file else None

    def _measure(self) -> int:
        length = min(len(dataset) for dataset in self._datasets.values())
        if self._damaged:  # what lies beyond its end is found out frame by frame; more than fit there cannot be
            return min(length, self.path.stat().st_size // checks.chunk_bytes(self._datasets["frames"]))
        checks.check_length(self._file, self.path, length)
        return length

    @contextmanager
    def _errors(self, of: str = "") -> Iterator[None]:
        """What HDF5 and JSON raise for damaged bytes, as one kind of error that says what could not be read."""
        try:
            yield
        except (InputError, ConfigurationError):
            raise
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, CameraError) as error:
            raise checks.refusal(self.path, f"{of}{type(error).__name__}: {error}") from error


def _which(start: int, stop: int) -> str:
    return f"frame {start}" if stop - start == 1 else f"frames {start} to {stop - 1}"
