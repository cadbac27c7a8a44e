"""A recording, in one file or in a folder of parts, read as one sequence of frames."""

import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Literal, Self

import numpy as np

from hardware.closing import Closing
from hardware.errors import ConfigurationError, InputError
from hardware.frame import Frame, FrameMeta
from hardware.recording.manifest import PartFacts
from hardware.recording.parts import Parts
from hardware.recording.rotation import ROTATE_BYTES, ROTATE_FRAMES, FolderWriter
from hardware.recording.schema import CameraFacts
from hardware.recording.writer import RecordingWriter

SUFFIX = ".h5"
_MEANT = (".h5", ".hdf5", ".hdf", ".he5", ".h5py")
POLL_S = 0.01


def check_name(path: str | pathlib.Path) -> None:
    """Raises ConfigurationError for a new recording whose name means one file, and would become a folder."""
    path = pathlib.Path(path)
    if path.suffix != SUFFIX and path.suffix.lower() in _MEANT:
        raise ConfigurationError(
            f"recording '{path}': a recording in one file ends in '{SUFFIX}', any other name is a folder of parts; "
            f"name it '{path.with_suffix(SUFFIX).name}', or without '{path.suffix}'"
        )


class Recording(Closing):
    """Frames that were recorded. `len()`, `[i]` and iteration give those that were acknowledged; `create` begins anew.

    A recording is a file NAME.h5, or a folder with a manifest and parts, which are opened one by one as they are
    needed. It can be read while it is written (`refresh` and `follow` show what came since) and after its writer was
    killed. Pickling one sends its path; a process that was forked opens handles of its own.

    A file of unknown origin is read by `hardware.recording.vetting.vet` first: a damaged one can make HDF5 hang or
    crash, and there only a child process does.

    Raises:
        InputError: missing, truncated, not ours, or changed bytes: a damaged frame is refused, never returned.
    """

    def __init__(self, path: str | pathlib.Path):
        self.path = pathlib.Path(path).absolute()  # parts are opened later, wherever the process has gone by then
        self._parts = Parts(self.path)

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
        rotate_frames: int = ROTATE_FRAMES,
        rotate_bytes: int = ROTATE_BYTES,
        sha256: bool = False,
    ) -> RecordingWriter | FolderWriter:
        """Begin a new recording.

        Args:
            path: NAME.h5 is one file; any other name is a folder of parts. It does not exist yet; its folder does.
            like: a frame of the shape, camera and facts of all that will come; it is not written.
            provenance: what the frames came from: rig id and fingerprint, calibration id, scenes, seed, code version.
            scene_shape: (h, w) of the shown picture that is stored with each frame; None stores none.
            durability: "process" survives a kill of the process; "power" also asks the disk to hold each frame
                before it is acknowledged, which is slower.
            reserve_bytes: free space that is left on the disk; by default 64 frames or 256 MiB, whichever is more.
            rotate_frames, rotate_bytes: a new part begins after so many frames or bytes, whichever comes first.
            sha256: whether the manifest gets the SHA-256 of each finished part. It takes a processor about a second for
                each GiB, and the disk reads again what it wrote; no frame waits for that, but `close` does.

        Raises:
            StorageError: it exists, another writer has it, or the disk is full or cannot be written.
            ConfigurationError: an argument that cannot be.
        """
        check_name(path)
        if pathlib.Path(path).suffix != SUFFIX:
            return FolderWriter(
                path, like, provenance, scene_shape, durability, reserve_bytes, rotate_frames, rotate_bytes, sha256
            )
        if (rotate_frames, rotate_bytes, sha256) != (ROTATE_FRAMES, ROTATE_BYTES, False):
            raise ConfigurationError(
                f"recording '{path}' is one file, without parts or a manifest; rotate_frames, rotate_bytes and sha256 "
                f"are for a folder: leave '{SUFFIX}' away"
            )
        return RecordingWriter(path, like, provenance, scene_shape, durability, reserve_bytes)

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: int) -> Frame:
        part, at = self._parts.locate(index)
        return part.frame(at)

    def __iter__(self) -> Iterator[Frame]:
        for index in range(len(self)):
            yield self[index]

    def meta(self, index: int) -> FrameMeta:
        """The facts of a frame, without its pixels."""
        part, at = self._parts.locate(index)
        return part.meta(at)

    def scene(self, index: int) -> np.ndarray:
        """The picture (h, w) uint8 that was shown for a frame.

        Raises:
            InputError: the recording holds no scenes.
        """
        part, at = self._parts.locate(index)
        if not self.has_scenes:
            raise InputError(f"'{self.path}' holds no scenes; record with scene_shape to store what was shown")
        return part.scenes(at, at + 1)[0]

    def scene_key(self, index: int) -> int | None:
        """A checksum of the picture that was shown: frames of one scene share it, and the picture is not read."""
        part, at = self._parts.locate(index)
        return int(part.rows(at, at + 1)[0]["scene_crc32"]) if self.has_scenes else None

    @property
    def facts(self) -> CameraFacts:
        """What holds for every frame."""
        return self._parts.facts

    @property
    def shape(self) -> tuple[int, ...]:
        """(H, W) or (H, W, C) of a frame."""
        return self._parts.shape

    @property
    def has_scenes(self) -> bool:
        return self._parts.scene_shape is not None

    @property
    def labels(self) -> np.ndarray:
        """Labels (N,) int32; -1 where unknown."""
        return np.concatenate([np.zeros(0, np.int32), *(rows["label"] for rows in self.rows())]).astype(np.int32)

    @property
    def scene_ids(self) -> np.ndarray:
        """Ids (N,) int64 of what was shown, in the set of scenes that the provenance names; -1 for none."""
        return np.concatenate([np.zeros(0, np.int64), *(rows["scene_id"] for rows in self.rows())])

    def rows(self) -> Iterator[np.ndarray]:
        """The facts of all frames as arrays, some thousands at a time, with fields as `FrameMeta` and the label.

        `schema.ROW` has all fields, and says what stands for None; a hundred times as fast as `meta` for each frame.
        """
        for part in self._parts:
            yield from part.all_rows()

    @property
    def scenes(self) -> np.ndarray | None:
        """The pictures (N, h, w) uint8 that were shown, all in memory; None where none were stored."""
        if not self.has_scenes:
            return None
        empty = np.zeros((0, *self._parts.scene_shape), np.uint8)
        return np.concatenate([empty, *(part.scenes(0, len(part)) for part in self._parts)])

    @property
    def provenance(self) -> dict:
        """What the frames came from, as given at creation."""
        return self._parts.provenance

    @property
    def parts(self) -> tuple[PartFacts, ...]:
        """What each part holds; a recording in one file has one."""
        return self._parts.described()

    @property
    def closed_in_order(self) -> bool:
        """Whether its writer has finished it; False while it writes, and for ever if it was killed."""
        return self._parts.closed_in_order

    def refresh(self) -> int:
        """Look for frames and parts that a live writer has added; returns how many frames there are now."""
        return self._parts.refresh()

    def follow(self, timeout_s: float = 10.0, start: int = 0) -> Iterator[Frame]:
        """Frames from index `start` on, as they come, until the writer has finished or nothing came for `timeout_s`.

        The two ends are told apart by `closed_in_order`. Following costs the writer nothing: it waits for no reader.
        """
        seen, quiet_since_s = start, time.monotonic()
        while True:
            finished = self.closed_in_order  # asked first: what is seen after that is all there is
            length = self.refresh()
            yield from (self[index] for index in range(seen, length))
            if length > seen:
                seen, quiet_since_s = length, time.monotonic()
            elif finished or time.monotonic() - quiet_since_s >= timeout_s:
                return
            else:
                time.sleep(POLL_S)

    def verify(self, progress: Callable[[int, int], None] | None = None) -> int:
        """Read every frame and scene, and compare the SHA-256 of each part that has one; returns how many frames.

        Args:
            progress: told (frames done, of how many).

        Raises:
            InputError: something does not fit; the message says where.
        """
        done = 0
        for number, part in enumerate(self._parts):
            self._parts.check_sha256(number)
            for at in range(len(part)):
                part.frame(at)
                if self.has_scenes:
                    part.scenes(at, at + 1)
                done += 1
                if progress is not None:
                    progress(done, len(self))
        return done

    def close(self) -> None:
        """Let the files go; a second call does nothing."""
        self._parts.close()

    def __reduce__(self) -> tuple:
        return Recording.open, (self.path,)
