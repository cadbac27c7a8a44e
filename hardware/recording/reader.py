"""Reading a recording: every frame is checked from end to end, or refused."""

import json
import os
import pathlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Self

import h5py
import numpy as np

from hardware.closing import Closing
from hardware.errors import CameraError, ConfigurationError, InputError
from hardware.frame import Frame, FrameMeta
from hardware.recording import checks, schema
from hardware.recording.writer import RecordingWriter


class Recording(Closing):
    """Frames in a file. `len()`, `[i]` and iteration give the frames that were acknowledged; `create` begins a new one.

    A recording can be read while it is written (`refresh` shows what came since) and after its writer was killed.
    Pickling one sends its path; a process that was forked opens its own.

    Raises:
        InputError: missing, truncated, not ours, or changed bytes: a damaged frame is refused, never returned.
    """

    def __init__(self, path: str | pathlib.Path):
        self.path = pathlib.Path(path)
        self._process = os.getpid()
        self._file: h5py.File | None = checks.open_file(self.path)
        try:
            with self._errors():
                camera_json, provenance_json = checks.check_layout(self._file, self.path)
                self.facts = schema.CameraFacts.from_json(camera_json)
                self._provenance_json = provenance_json
                self._facts_crc = schema.facts_crc32(camera_json, provenance_json)
                self._datasets = {name: self._file[name] for name in self._file}
                self._length = self._measure()
        except BaseException:
            self._file.close()
            raise

    @classmethod
    def open(cls, path: str | pathlib.Path) -> Self:
        """Read a recording."""
        return cls(path)

    @classmethod
    def create(
        cls,
        path: str | pathlib.Path,
        like: Frame,
        provenance: dict | None = None,
        scene_shape: tuple[int, int] | None = None,
        durability: Literal["process", "power"] = "process",
        reserve_bytes: int | None = None,
    ) -> RecordingWriter:
        """Begin a new recording.

        Args:
            path: of a file that does not exist yet; its folder does.
            like: a frame of the shape, camera and facts of all that will come; it is not written.
            provenance: what the frames came from: rig id and fingerprint, calibration id, scenes, seed, code version.
            scene_shape: (h, w) of the shown picture that is stored with each frame; None stores none.
            durability: "process" survives a kill of the process; "power" also asks the disk to hold each frame
                before it is acknowledged, which is slower.
            reserve_bytes: free space that is left on the disk; by default 64 frames or 256 MiB, whichever is more.

        Raises:
            StorageError: it exists, another writer has it, or the disk is full or cannot be written.
            ConfigurationError: an argument that cannot be.
        """
        return RecordingWriter(path, like, provenance, scene_shape, durability, reserve_bytes)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Frame:
        row = self._row(index)
        with self._errors():
            pixels = self._open()["frames"][self._at(index)]
            if zlib.crc32(pixels) != row["pixels_crc32"]:
                raise checks.refusal(self.path, f"checksum of frame {index} does not fit its pixels")
            return Frame(pixels, schema.unpack(row, self.facts))

    def __iter__(self) -> Iterator[Frame]:
        for index in range(len(self)):
            yield self[index]

    def meta(self, index: int) -> FrameMeta:
        """The facts of a frame, without its pixels."""
        with self._errors():
            return schema.unpack(self._row(index), self.facts)

    def scene(self, index: int) -> np.ndarray:
        """The picture (h, w) uint8 that was shown for a frame.

        Raises:
            InputError: the recording holds no scenes.
        """
        row = self._row(index)
        if not self.has_scenes:
            raise InputError(f"'{self.path}' holds no scenes; record with scene_shape to store what was shown")
        with self._errors():
            scene = self._open()["scenes"][self._at(index)]
        self._check_scene(index, scene, row)
        return scene

    def scene_key(self, index: int) -> int | None:
        """A checksum of the picture that was shown: frames of one scene share it, and the picture is not read."""
        return int(self._row(index)["scene_crc32"]) if self.has_scenes else None

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W) or (H, W, C) of a frame."""
        return self._open()["frames"].shape[1:]

    @property
    def has_scenes(self) -> bool:
        return "scenes" in self._open()

    @property
    def labels(self) -> np.ndarray:
        """Labels (N,) int32; -1 where unknown."""
        return self._rows(0, len(self))["label"].astype(np.int32)

    @property
    def scenes(self) -> np.ndarray | None:
        """The pictures (N, h, w) uint8 that were shown, all in memory; None where none were stored."""
        if not self.has_scenes:
            return None
        rows = self._rows(0, len(self))
        with self._errors():
            scenes = self._open()["scenes"][: len(self)]
        for index, scene in enumerate(scenes):
            self._check_scene(index, scene, rows[index])
        return scenes

    @property
    def provenance(self) -> dict:
        """What the frames came from, as given at creation."""
        return json.loads(self._provenance_json)

    def refresh(self) -> int:
        """Look for frames that a live writer has appended; returns how many there are now."""
        with self._errors():
            for dataset in self._open().values():
                dataset.refresh()
            self._length = self._measure()
        return self._length

    def close(self) -> None:
        """Let the file go; a second call does nothing."""
        file, self._file = self._file, None
        if file is not None and self._process == os.getpid():
            file.close()

    def __reduce__(self) -> tuple:
        return Recording.open, (self.path,)

    def _measure(self) -> int:
        length = min(len(dataset) for dataset in self._datasets.values())
        checks.check_length(self._file, self.path, length)
        return length

    def _open(self) -> dict[str, h5py.Dataset]:
        if self._file is None:
            raise ConfigurationError(f"recording '{self.path}' is closed; open it again to read")
        if self._process != os.getpid():  # a handle that two processes share returns wrong data (pytorch #11929)
            raise ConfigurationError(f"recording '{self.path}' was opened by the parent process; open it in this one")
        return self._datasets

    def _at(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"frame {index} of recording '{self.path}'; it has {len(self)}")
        return index % len(self)

    def _row(self, index: int) -> np.void:
        at = self._at(index)
        return self._rows(at, at + 1)[0]

    def _rows(self, start: int, stop: int) -> np.ndarray:
        with self._errors():
            datasets = self._open()
            rows, sequence = datasets["rows"][start:stop], datasets["sequence"][start:stop]
        for at, row in enumerate(rows):
            if schema.row_crc32(row, self._facts_crc) != row["row_crc32"] or sequence[at] != row["sequence"]:
                raise checks.refusal(self.path, f"checksum or sequence number of frame {start + at} does not fit")
        return rows

    def _check_scene(self, index: int, scene: np.ndarray, row: np.void) -> None:
        if zlib.crc32(scene) != row["scene_crc32"]:
            raise checks.refusal(self.path, f"checksum of scene {index} does not fit")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """What HDF5 and JSON raise for damaged bytes, as one kind of error."""
        try:
            yield
        except (OSError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, CameraError) as error:
            raise checks.refusal(self.path, f"{type(error).__name__}: {error}") from error
