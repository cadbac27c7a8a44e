"""Writing a recording so that a kill at any instant costs no acknowledged frame."""

import os
import pathlib
import shutil
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

import h5py
import numpy as np

from hardware.closing import Closing
from hardware.errors import ConfigurationError, StorageError
from hardware.frame import Frame
from hardware.lock import WriterLock
from hardware.recording import checks, failure, handles, schema
from hardware.recording.column import Column
from hardware.recording.manifest import PART_KEY
from hardware.recording.publish import sync_folder

RESERVE_FRAMES = 64
RESERVE_BYTES = 256 * 2**20


class RecordingWriter(Closing):
    """Appends frames to a new recording in one file; made by `Recording.create`.

    The file appears under its name only when it is whole: with all groups, datasets and attributes, and in HDF5's
    single-writer-multiple-reader mode, which allows no new ones. A process that is forked meanwhile cannot write to it.
    Where it is a part of many, `before` frames stand in the earlier ones, up to `after_sequence`.

    Raises:
        StorageError: the file exists, another writer has it, or the disk is full or cannot be written.
        ConfigurationError: provenance, scene_shape or durability cannot be.
    """

    def __init__(
        self,
        path: str | pathlib.Path,
        like: Frame,
        provenance: dict | None,
        scene_shape: tuple[int, int] | None,
        durability: Literal["process", "power"],
        reserve_bytes: int | None,
        before: int = 0,
        after_sequence: int = -1,
    ):
        if durability not in ("process", "power"):
            raise ConfigurationError(f"durability = {durability!r}; expected 'process' or 'power'")
        if scene_shape is not None and not (len(scene_shape) == 2 and min(scene_shape) > 0):
            raise ConfigurationError(f"scene_shape = {scene_shape!r}; expected (rows, columns)")
        self.path = pathlib.Path(path).resolve()
        # Of a part the folder is told: the count of frames is that of the whole.
        self._name = self.path.parent if PART_KEY in (provenance or {}) else self.path
        self.facts = schema.CameraFacts.of(like.meta)
        self._facts = schema.facts_of(like.meta)
        self._shape, self._scene_shape, self._power = like.shape, scene_shape, durability == "power"
        provenance_json = schema.provenance_json({} if provenance is None else provenance)
        self._facts_crc = schema.facts_crc32(self.facts.to_json(), provenance_json)
        self._frame_bytes = like.pixels.nbytes + (scene_shape[0] * scene_shape[1] if scene_shape else 0)
        # What is left over is for everybody else on this disk, and for closing in order.
        reserve_by_default = max(RESERVE_FRAMES * self._frame_bytes, RESERVE_BYTES)
        self._reserve_bytes = reserve_by_default if reserve_bytes is None else reserve_bytes
        self._length, self._before, self._after_sequence, self._failure = 0, before, after_sequence, ""
        self.first_sequence: int | None = None
        self.last_sequence: int | None = None
        self._file: h5py.File | None = None
        self._columns: dict[str, Column] = {}
        self._lock: WriterLock | None = WriterLock(self.path)
        handles.hold(self)
        try:
            self._check_space(0)
            self._create(like, provenance_json)
        except BaseException:
            self._unlock()
            raise

    def __len__(self) -> int:
        """Frames that were acknowledged."""
        return self._length

    def append(
        self,
        frame: Frame,
        label: int = schema.UNKNOWN_LABEL,
        scene: np.ndarray | None = None,
        pixels_crc32: int | None = None,
        scene_id: int = schema.NO_SCENE,
    ) -> int:
        """Write a frame; returns its index, and only when another process can read it.

        Args:
            frame: of the shape and camera that the recording was made for, with a higher sequence number than before.
            label: class of what was seen; -1 if unknown.
            scene: (h, w) uint8, the picture that was shown; exactly when the recording was made with scene_shape.
            pixels_crc32: `zlib.crc32` of the pixels, from where they were first held: then it guards them from there
                on. Computed here if None.
            scene_id: of what was shown, in the set of scenes that the provenance names; -1 for none.

        Raises:
            ConfigurationError: the frame or the scene does not belong here; nothing was written.
            StorageError: the disk is full or failed, or the writer is closed. All acknowledged frames stay readable.
        """
        return self.append_all([frame], [label], [scene], [pixels_crc32], [scene_id])[0]

    def append_all(
        self,
        frames: Sequence[Frame],
        labels: Sequence[int] | None = None,
        scenes: Sequence[np.ndarray | None] | None = None,
        pixels_crc32: Sequence[int | None] | None = None,
        scene_ids: Sequence[int] | None = None,
    ) -> range:
        """Write several frames and acknowledge them together, with one flush for all; returns their indices.

        Args:
            frames, labels, scenes, pixels_crc32, scene_ids: as in `append`, as many of each.

        Raises:
            ConfigurationError, StorageError: as in `append`; none of the frames was acknowledged.
        """
        self._check_open()
        count, last = len(frames), self._after_sequence if self.last_sequence is None else self.last_sequence
        labels = [schema.UNKNOWN_LABEL] * count if labels is None else labels
        scenes = [None] * count if scenes is None else scenes
        checksums = [None] * count if pixels_crc32 is None else pixels_crc32
        shown = [schema.NO_SCENE] * count if scene_ids is None else scene_ids
        rows = []
        for frame, label, scene, checksum, scene_id in zip(frames, labels, scenes, checksums, shown, strict=True):
            self._check_frame(frame, last)
            self._check_scene(scene)
            rows.append(schema.pack(frame, label, scene, checksum, scene_id, self._facts_crc))
            last = frame.meta.sequence
        if frames:
            self._check_space(count * self._frame_bytes)
            self._commit(frames, rows, scenes)
        return range(self._length - count, self._length)

    def close(self) -> None:
        """Finish the file; a second call does nothing.

        Raises:
            StorageError: the last bytes could not be written; all acknowledged frames stay readable.
        """
        if self._file is None:
            return
        try:
            # An interrupted append may have left rows without a commit mark; nobody has seen them.
            for column in self._columns.values():
                column.cut(self._length)
            if self._power:
                self._file.flush()
                os.fsync(self._descriptor)
            failure.check_close(self._file, self._descriptor)
            self._file.close()
            self._file = None
            checks.read_apart(self._known, False)
        except (OSError, RuntimeError, ValueError) as error:
            self._abandon(error)
            raise StorageError(self._failure) from error
        finally:
            self._unlock()

    def after_fork(self) -> None:
        """In the child of a fork: the file, the lock and its removal are the parent's."""
        self._lock = None
        if self._file is not None:
            self._failure = f"recording '{self.path}' is written by the parent process; write there, or in a new file"
            file, self._file = self._file, None
            failure.leave_alone(file, self._datasets(), self._descriptor, self._known)

    def _commit(self, frames: Sequence[Frame], rows: list[bytes], scenes: Sequence[np.ndarray | None]) -> None:
        packed = np.frombuffer(b"".join(rows), schema.ROW)
        try:
            self._write("frames", [frame.pixels for frame in frames])
            self._write("rows", [packed[at : at + 1] for at in range(len(packed))])
            if self._scene_shape is not None:
                self._write("scenes", [np.ascontiguousarray(scene) for scene in scenes])
            self._write("sequence", [np.array(one.meta.sequence, "<i8") for one in frames])  # last: now they count
            if self._power:
                os.fsync(self._descriptor)
        except (OSError, RuntimeError, ValueError) as error:
            self._abandon(error)
            raise StorageError(self._failure) from error
        if self.first_sequence is None:
            self.first_sequence = frames[0].meta.sequence
        self._length, self.last_sequence = self._length + len(frames), frames[-1].meta.sequence

    def _create(self, like: Frame, provenance_json: str) -> None:
        if self.path.exists():
            raise StorageError(f"'{self.path}' exists; nothing is ever overwritten: choose another name")
        partial = self.path.with_name(f".{self.path.name}.partial")
        partial.unlink(missing_ok=True)  # of a writer that was killed here: the lock is ours, so nobody writes to it
        try:
            # With pages no block of HDF5's own below 4 KiB lies across two pages, so that no kill can tear it (1 in 5
            # of its writes could be torn without, 1 in 12 with, and then only in files of more than 2,036 frames).
            self._file = h5py.File(partial, "w", libver="latest", fs_strategy="page", fs_page_size=schema.PAGE_BYTES)
            self._descriptor = self._file.id.get_vfd_handle()
            self._known = os.fstat(self._descriptor)
            checks.read_apart(self._known)
            self._file.attrs["format"] = np.bytes_(schema.FORMAT)
            self._file.attrs["schema_version"] = np.int64(schema.SCHEMA_VERSION)
            self._file.attrs["camera"] = np.bytes_(self.facts.to_json().encode())
            self._file.attrs["provenance"] = np.bytes_(provenance_json.encode())
            self._add("frames", self._shape, like.pixels.dtype)
            self._add("rows", (), schema.ROW)
            if self._scene_shape is not None:
                self._add("scenes", tuple(self._scene_shape), np.dtype(np.uint8))
            self._add("sequence", (), np.dtype("<i8"))
            self._file.swmr_mode = True
            self._file.flush()
            os.rename(partial, self.path)
            if self._power:
                sync_folder(self.path.parent)
        except (OSError, RuntimeError, ValueError) as error:
            self._abandon(error)
            with suppress(OSError):  # the disk has failed once already
                partial.unlink(missing_ok=True)
            raise StorageError(self._failure) from error

    def _add(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._columns[name] = Column(self._file, name, shape, dtype)

    def _write(self, name: str, values: Sequence[np.ndarray]) -> None:
        self._columns[name].write(self._length, values)

    def _datasets(self) -> list[h5py.Dataset]:
        return [column.dataset for column in self._columns.values()]

    def _abandon(self, error: Exception) -> None:
        """Give the file up after a failed write, as it stands on the disk; what was acknowledged lies safe in it."""
        self._failure = (
            f"recording '{self._name}' stopped after {self._before + self._length} frames: {failure.reason(error)}; "
            "they stay readable; free some space or choose another disk, and go on in a new file"
        )
        file, self._file = self._file, None
        if file is None:
            return
        failure.leave_alone(file, self._datasets(), self._descriptor, self._known)
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def _check_open(self) -> None:
        if self._file is None:
            raise StorageError(self._failure or f"recording '{self.path}' is closed; make a new one to go on")

    def _check_frame(self, frame: Frame, last_sequence: int) -> None:
        if schema.facts_of(frame.meta) != self._facts or frame.shape != self._shape:
            raise ConfigurationError(
                f"recording '{self.path}': frame {frame.meta.sequence} of shape {frame.shape} is of "
                f"{schema.CameraFacts.of(frame.meta)}; expected shape {self._shape} and {self.facts}; "
                "start a new recording for it"
            )
        if frame.meta.sequence <= last_sequence:
            raise ConfigurationError(
                f"recording '{self.path}': frame {frame.meta.sequence} after frame {last_sequence}; expected "
                "rising sequence numbers: a frame is recorded once, in order"
            )

    def _check_scene(self, scene: np.ndarray | None) -> None:
        got = None if scene is None else (scene.dtype, scene.shape)
        expected = None if self._scene_shape is None else (np.dtype(np.uint8), tuple(self._scene_shape))
        if got != expected:
            raise ConfigurationError(f"recording '{self.path}': scene is {got}; expected {expected} (type, shape)")

    def _check_space(self, wanted_bytes: int) -> None:
        try:
            free_bytes = shutil.disk_usage(self.path.parent).free
        except OSError as error:
            raise StorageError(f"recording '{self.path}': {error.strerror}; is the disk still there?") from error
        if free_bytes < self._reserve_bytes + wanted_bytes:
            needed = f"the next {wanted_bytes / 2**20:.2g} MiB" if wanted_bytes else "a beginning"
            raise StorageError(
                f"recording '{self._name}' stopped after {self._before + self._length} frames: "
                f"{free_bytes / 2**20:.0f} MiB are free, of which {self._reserve_bytes / 2**20:.0f} MiB are kept in "
                f"reserve: too little for {needed}; free some space or choose another disk, and record anew"
            )
