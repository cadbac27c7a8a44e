"""Writing a recording so that a kill at any instant costs no acknowledged frame."""

import os
import pathlib
import shutil
from contextlib import suppress
from typing import Literal

import h5py
import numpy as np

from hardware.closing import Closing
from hardware.errors import ConfigurationError, StorageError
from hardware.frame import Frame
from hardware.lock import WriterLock
from hardware.recording import failure, schema

RESERVE_FRAMES = 64
RESERVE_BYTES = 256 * 2**20


class RecordingWriter(Closing):
    """Appends frames to a new recording; made by `Recording.create`.

    The file appears under its name only when it is whole: with all groups, datasets and attributes, and in HDF5's
    single-writer-multiple-reader mode, which allows no new ones.

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
    ):
        if durability not in ("process", "power"):
            raise ConfigurationError(f"durability = {durability!r}; expected 'process' or 'power'")
        if scene_shape is not None and not (len(scene_shape) == 2 and min(scene_shape) > 0):
            raise ConfigurationError(f"scene_shape = {scene_shape!r}; expected (rows, columns)")
        self.path = pathlib.Path(path).resolve()
        self.facts = schema.CameraFacts.of(like.meta)
        self._shape, self._scene_shape, self._power = like.shape, scene_shape, durability == "power"
        provenance_json = schema.provenance_json(provenance or {})
        self._facts_crc = schema.facts_crc32(self.facts.to_json(), provenance_json)
        frame_bytes = like.pixels.nbytes + (scene_shape[0] * scene_shape[1] if scene_shape else 0)
        # What is left over is for everybody else on this disk, and for closing in order.
        reserve_by_default = max(RESERVE_FRAMES * frame_bytes, RESERVE_BYTES)
        self._reserve_bytes = reserve_by_default if reserve_bytes is None else reserve_bytes
        self._length, self._last_sequence, self._failure = 0, -1, ""
        self._file: h5py.File | None = None
        self._datasets: dict[str, h5py.Dataset] = {}
        self._lock = WriterLock(self.path)
        try:
            self._check_space()
            self._create(like, provenance_json)
        except BaseException:
            self._lock.close()
            raise

    def __len__(self) -> int:
        """Frames that were acknowledged."""
        return self._length

    def append(self, frame: Frame, label: int = schema.UNKNOWN_LABEL, scene: np.ndarray | None = None) -> int:
        """Write a frame; returns its index, and only when another process can read it.

        Args:
            frame: of the shape and camera that the recording was made for, with a higher sequence number than before.
            label: class of what was seen; -1 if unknown.
            scene: (h, w) uint8, the picture that was shown; exactly when the recording was made with scene_shape.

        Raises:
            ConfigurationError: the frame or the scene does not belong here; nothing was written.
            StorageError: the disk is full or failed, or the writer is closed. All acknowledged frames stay readable.
        """
        self._check_open()
        self._check_frame(frame)
        self._check_scene(scene)
        self._check_space()
        row = schema.pack(frame, label, scene, self._facts_crc)
        try:
            self._write("frames", frame.pixels)
            self._write("rows", row[0])
            if scene is not None:
                self._write("scenes", scene)
            self._write("sequence", frame.meta.sequence)  # last: now the frame counts
            if self._power:
                os.fsync(self._file.id.get_vfd_handle())
        except (OSError, RuntimeError, ValueError) as error:
            self._abandon(error)
            raise StorageError(self._failure) from error
        self._length, self._last_sequence = self._length + 1, frame.meta.sequence
        return self._length - 1

    def close(self) -> None:
        """Finish the file; a second call does nothing.

        Raises:
            StorageError: the last bytes could not be written; all acknowledged frames stay readable.
        """
        if self._file is None:
            return
        try:
            # An interrupted append may have left rows without a commit mark; nobody has seen them.
            for dataset in self._datasets.values():
                dataset.resize(self._length, axis=0)
                dataset.flush()
            if self._power:
                self._file.flush()
                os.fsync(self._file.id.get_vfd_handle())
            failure.check_superblock(self._file.id.get_vfd_handle())
            self._file.close()
            self._file = None
        except (OSError, RuntimeError, ValueError) as error:
            self._abandon(error)
            raise StorageError(self._failure) from error
        finally:
            self._lock.close()

    def _create(self, like: Frame, provenance_json: str) -> None:
        if self.path.exists():
            raise StorageError(f"'{self.path}' exists; nothing is ever overwritten: choose another name")
        partial = self.path.with_name(f".{self.path.name}.partial")
        partial.unlink(missing_ok=True)  # of a writer that was killed here: the lock is ours, so nobody writes to it
        try:
            self._file = h5py.File(partial, "w", libver="latest")
            self._file.attrs["format"] = np.bytes_(schema.FORMAT)
            self._file.attrs["schema_version"] = np.int64(schema.SCHEMA_VERSION)
            self._file.attrs["camera"] = np.bytes_(self.facts.to_json().encode())
            self._file.attrs["provenance"] = np.bytes_(provenance_json.encode())
            self._add("frames", self._shape, like.pixels.dtype)
            self._add("rows", (), schema.ROW)
            if self._scene_shape is not None:
                self._add("scenes", self._scene_shape, np.dtype(np.uint8))
            self._add("sequence", (), np.dtype("<i8"))
            self._file.swmr_mode = True
            self._file.flush()
            os.rename(partial, self.path)
            if self._power:
                _sync_folder(self.path.parent)
        except (OSError, RuntimeError, ValueError) as error:
            self._abandon(error)
            with suppress(OSError):  # the disk has failed once already
                partial.unlink(missing_ok=True)
            raise StorageError(self._failure) from error

    def _add(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._datasets[name] = self._file.create_dataset(
            name, (0, *shape), dtype, maxshape=(None, *shape), chunks=(1, *shape), fletcher32=True, track_times=False
        )

    def _write(self, name: str, value: object) -> None:
        dataset = self._datasets[name]
        dataset.resize(self._length + 1, axis=0)
        dataset[self._length] = value
        dataset.flush()

    def _abandon(self, error: Exception) -> None:
        """Give the file up after a failed write, as it stands on the disk; what was acknowledged lies safe in it."""
        self._failure = (
            f"recording '{self.path}' stopped after {self._length} frames: {failure.reason(error)}; "
            "they stay readable; free some space or choose another disk, and go on in a new file"
        )
        file, self._file = self._file, None
        if file is None:
            return
        failure.leave_alone(file, self._datasets.values())
        self._lock.close()

    def _check_open(self) -> None:
        if self._file is None:
            raise StorageError(self._failure or f"recording '{self.path}' is closed; make a new one to go on")

    def _check_frame(self, frame: Frame) -> None:
        facts = schema.CameraFacts.of(frame.meta)
        if facts != self.facts or frame.shape != self._shape:
            raise ConfigurationError(
                f"recording '{self.path}': frame {frame.meta.sequence} of shape {frame.shape} is of {facts}; expected "
                f"shape {self._shape} and {self.facts}; start a new recording for it"
            )
        if frame.meta.sequence <= self._last_sequence:
            raise ConfigurationError(
                f"recording '{self.path}': frame {frame.meta.sequence} after frame {self._last_sequence}; expected "
                "rising sequence numbers: a frame is recorded once, in order"
            )

    def _check_scene(self, scene: np.ndarray | None) -> None:
        got = None if scene is None else (scene.dtype, scene.shape)
        expected = None if self._scene_shape is None else (np.dtype(np.uint8), tuple(self._scene_shape))
        if got != expected:
            raise ConfigurationError(f"recording '{self.path}': scene is {got}; expected {expected} (type, shape)")

    def _check_space(self) -> None:
        try:
            free_bytes = shutil.disk_usage(self.path.parent).free
        except OSError as error:
            raise StorageError(f"recording '{self.path}': {error.strerror}; is the disk still there?") from error
        if free_bytes < self._reserve_bytes:
            raise StorageError(
                f"recording '{self.path}' stopped after {self._length} frames: {free_bytes / 2**20:.0f} MiB free, "
                f"{self._reserve_bytes / 2**20:.0f} MiB are kept in reserve; free some space, and go on in a new file"
            )


def _sync_folder(folder: pathlib.Path) -> None:
    """Make a new name in a folder outlive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
