"""Writing a recording as a folder of parts, so that one bad file costs little, and memory stays flat for ever."""

import dataclasses
import os
import pathlib
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Literal

import numpy as np

from hardware.closing import Closing
from hardware.errors import ConfigurationError, InputError, StorageError
from hardware.frame import Frame
from hardware.lock import WriterLock
from hardware.recording import failure, handles, manifest, publish, schema
from hardware.recording.digests import Digests
from hardware.recording.manifest import Manifest, PartFacts
from hardware.recording.writer import RecordingWriter

ROTATE_FRAMES = 50_000
ROTATE_BYTES = 4 * 2**30
# What a frame takes beside its pixels: row, commit mark, checksums, and its places in four chunk indices.
FRAME_OVERHEAD_BYTES = 160


class FolderWriter(Closing):
    """Appends frames to a new recording in a folder; made by `Recording.create`.

    A part is finished, and listed in the manifest, before the next is begun. A kill at any instant costs no
    acknowledged frame, and leaves at most one part that the manifest does not list. The SHA-256 of a part is computed
    while the next ones are written, and stands in the manifest when that is written again; `close` waits for all, and
    calls `on_progress` every half second meanwhile.

    Raises:
        StorageError: the folder holds something, another writer has it, or the disk is full or cannot be written.
        ConfigurationError: an argument that cannot be.
    """

    def __init__(
        self,
        path: str | pathlib.Path,
        like: Frame,
        provenance: dict | None,
        scene_shape: tuple[int, int] | None,
        durability: Literal["process", "power"],
        reserve_bytes: int | None,
        rotate_frames: int = ROTATE_FRAMES,
        rotate_bytes: int = ROTATE_BYTES,
        sha256: bool = False,
    ):
        if rotate_frames < 1 or rotate_bytes < 1:
            raise ConfigurationError(
                f"rotate_frames = {rotate_frames}, rotate_bytes = {rotate_bytes}; expected 1 or more"
            )
        provenance = {} if provenance is None else provenance
        recording_id = uuid.uuid4().hex
        # Now, and not after 10,000 parts.
        schema.provenance_json(provenance)
        schema.provenance_json(manifest.marked(provenance, recording_id, manifest.MOST_PARTS))
        if manifest.PART_KEY in provenance:
            raise ConfigurationError(f"provenance of a recording: '{manifest.PART_KEY}' is set by the recording itself")
        self.path, self._digests = pathlib.Path(path).resolve(), Digests() if sha256 else None
        self.on_progress: Callable[[], None] = lambda: None
        scene_bytes = scene_shape[0] * scene_shape[1] if scene_shape else 0
        fit = rotate_bytes // (like.pixels.nbytes + scene_bytes + FRAME_OVERHEAD_BYTES)
        self._frames_per_part = max(1, min(rotate_frames, fit))
        self._begin_part = lambda number, before, last_sequence: RecordingWriter(
            self.path / manifest.part_name(number), like, manifest.marked(provenance, recording_id, number),
            scene_shape, durability, reserve_bytes, before, last_sequence,
        )  # fmt: skip
        self.facts = schema.CameraFacts.of(like.meta)
        shape = None if scene_shape is None else tuple(scene_shape)
        self._manifest = Manifest(recording_id, self.facts, like.shape, shape, provenance)
        self._part: RecordingWriter | None = None
        self._failure, self._ended = "", False
        self._lock: WriterLock | None = WriterLock(self.path)
        handles.hold(self)
        try:
            made = self._take_folder()
            try:
                self._list()
                self._part = self._begin_part(0, 0, -1)
            except BaseException:
                with suppress(OSError):  # the disk has failed once already
                    (self.path / manifest.NAME).unlink(missing_ok=True)
                    if made:
                        self.path.rmdir()
                raise
        except BaseException:
            self._lock.close()
            raise

    def __len__(self) -> int:
        """Frames that were acknowledged."""
        return sum(part.frames for part in self._manifest.parts) + (0 if self._part is None else len(self._part))

    @property
    def recording_id(self) -> str:
        return self._manifest.id

    def append(
        self,
        frame: Frame,
        label: int = schema.UNKNOWN_LABEL,
        scene: np.ndarray | None = None,
        pixels_crc32: int | None = None,
        scene_id: int = schema.NO_SCENE,
    ) -> int:
        """Write a frame; returns its index, and only when another process can read it. As `RecordingWriter.append`."""
        return self.append_all([frame], [label], [scene], [pixels_crc32], [scene_id])[0]

    def append_all(
        self,
        frames: Sequence[Frame],
        labels: Sequence[int] | None = None,
        scenes: Sequence[np.ndarray | None] | None = None,
        pixels_crc32: Sequence[int | None] | None = None,
        scene_ids: Sequence[int] | None = None,
    ) -> range:
        """Write several frames and acknowledge them together, one flush for all that go into one part.

        As `RecordingWriter.append_all`. Where it fails between two parts, `len()` says how many were acknowledged.
        """
        begin, done = len(self), 0
        while done < len(frames):
            part = self._with_room()
            some = slice(done, done + self._frames_per_part - len(part))
            of_each = (labels, scenes, pixels_crc32, scene_ids)
            one_each = [None if values is None else values[some] for values in of_each]
            done += len(part.append_all(frames[some], *one_each))
        return range(begin, begin + done)

    def close(self) -> None:
        """Finish the last part and the manifest; a second call does nothing.

        Raises:
            StorageError: the last bytes could not be written; all acknowledged frames stay readable.
        """
        if self._ended:
            return
        self._ended = True
        try:
            if not self._failure:
                if self._part is not None:
                    self._finish_part()
                if self._digests is not None:
                    self._digests.wait(self.on_progress)
                self._manifest = dataclasses.replace(self._manifest, closed=True)
                self._list()
        finally:
            if self._part is not None:
                self._part.close()
            if self._digests is not None:
                self._digests.stop()
            if self._lock is not None:
                self._lock.close()

    def after_fork(self) -> None:
        """In the child of a fork: the lock is the parent's; its part lets go by itself."""
        self._lock = self._digests = None
        self._failure = f"recording '{self.path}' is written by the parent process; write there, or in a new folder"

    def _with_room(self) -> RecordingWriter:
        if self._ended or self._failure:
            raise StorageError(self._failure or f"recording '{self.path}' is closed; make a new one to go on")
        if self._part is not None and len(self._part) >= self._frames_per_part:
            self._finish_part()
            self._list()
        if self._part is None:
            number = len(self._manifest.parts)
            if number == manifest.MOST_PARTS:
                raise StorageError(
                    f"recording '{self.path}' has {number} parts, which is the most; go on in a new folder, "
                    "with a higher rotate_frames"
                )
            self._part = self._begin_part(number, len(self), self._manifest.parts[-1].last_sequence)
        return self._part

    def _finish_part(self) -> None:
        part = self._part
        try:
            part.close()
            if len(part) == 0 and self._manifest.parts:  # its first frame was refused; only the first part may be empty
                part.path.unlink()
                self._part = None
                return
        except StorageError as error:
            self._failure = str(error)
            raise
        except OSError as error:
            raise self._failed(error) from error
        facts = PartFacts(part.path.name, len(part), part.first_sequence, part.last_sequence)
        self._manifest = dataclasses.replace(self._manifest, parts=(*self._manifest.parts, facts))
        self._part = None
        if self._digests is not None:
            self._digests.ask(part.path)

    def _list(self) -> None:
        try:
            if self._digests is not None:
                self._manifest = dataclasses.replace(self._manifest, parts=self._digests.fill_in(self._manifest.parts))
            self._manifest.write(self.path)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> StorageError:
        self._failure = (
            f"recording '{self.path}' stopped after {len(self)} frames: {failure.reason(error)}; "
            "they stay readable; free some space or choose another disk, and go on in a new folder"
        )
        return StorageError(self._failure)

    def _take_folder(self) -> bool:
        """Make the folder, and say so, or take one that is empty but for what a writer left that was killed here."""
        first = self.path / manifest.part_name(0)
        left = (self.path / manifest.NAME, publish.partial_name(self.path / manifest.NAME), publish.partial_name(first))
        try:
            if not self.path.exists():
                self.path.mkdir()
                publish.sync_folder(self.path.parent)
                return True
            found = set(os.listdir(self.path))
            if found <= {f"{first.name}.lock", *(path.name for path in left)} and self._is_empty_recording():
                return False
        except NotADirectoryError:
            pass
        except OSError as error:
            raise StorageError(f"cannot make folder '{self.path}': {error.strerror}; choose another place") from error
        raise StorageError(f"'{self.path}' exists; nothing is ever overwritten: choose another name")

    def _is_empty_recording(self) -> bool:
        if not (self.path / manifest.NAME).exists():
            return True
        try:
            return not manifest.read(self.path).parts
        except InputError:
            return False  # somebody else's


def remove_empty(writer: RecordingWriter | FolderWriter, folder_too: bool) -> None:
    """A recording without a frame, whose writer has failed, would only block its name."""
    folder = isinstance(writer, FolderWriter)
    with suppress(OSError):  # the disk has failed once already
        for path in (writer.path / manifest.part_name(0), writer.path / manifest.NAME) if folder else (writer.path,):
            path.unlink(missing_ok=True)
        if folder and folder_too:
            writer.path.rmdir()
