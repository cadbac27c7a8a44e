"""A recording written by a child process: HDF5 blocks, and after an error of the disk it may end its process."""

import dataclasses
import pathlib
import zlib
from collections.abc import Callable
from typing import Literal, NoReturn

import numpy as np

from hardware.child import Child, ChildEnded
from hardware.closing import Closing
from hardware.errors import ConfigurationError, LenslessError, StorageError
from hardware.frame import Frame
from hardware.recording import schema
from hardware.slots import Slots

WAITING_BYTES, MOST_SLOTS, FEWEST_SLOTS = 64 * 2**20, 64, 4
CREATE_S, PATIENCE_S, SILENCE_S = 30.0, 30.0, 3.0


class RecordingProcess(Closing):
    """Writes a recording in a process of its own. `append` returns before the frame is on the disk; `acknowledged` says
    how many are. At most 64 frames wait for the disk, in at most 64 MiB, or 4 where these are more; `append` waits for
    a place among them. `on_silence` is called when the disk has taken nothing for 3 s while somebody waits for it.

    Args:
        path: of the recording: a file (.h5), or a folder of parts.
        like: a frame of the shape, camera and facts of all that will come; it is not written.
        provenance: what the frames came from.
        scene_shape: (h, w) of the shown picture that is stored with each frame; None stores none.
        durability: "process" or "power", as in `Recording.create`.
        reserve_bytes: free space that is left on the disk; None for the default of `Recording.create`.
        rotate_frames, rotate_bytes: when a new part is begun; None for the defaults.
        sha256: whether the manifest names the SHA-256 of each part, as in `Recording.create`; `close` waits for it.

    Raises:
        StorageError: it exists, another writer has it, or the disk is full or cannot be written.
        ConfigurationError: an argument that cannot be.
    """

    def __init__(
        self,
        path: str | pathlib.Path,
        like: Frame,
        provenance: dict | None = None,
        scene_shape: tuple[int, int] | None = None,
        durability: Literal["process", "power"] = "process",
        reserve_bytes: int | None = None,
        rotate_frames: int | None = None,
        rotate_bytes: int | None = None,
        sha256: bool = False,
    ):
        self.path = pathlib.Path(path)
        self.acknowledged = 0
        self.on_silence: Callable[[float], None] = lambda silent_s: None
        self._taken, self._failure, self._finished = 0, None, False
        schema.provenance_json({} if provenance is None else provenance)  # or it could not even be sent
        slot_bytes = like.pixels.nbytes + (scene_shape[0] * scene_shape[1] if scene_shape else 0)
        count = max(FEWEST_SLOTS, min(MOST_SLOTS, WAITING_BYTES // slot_bytes))
        self._slots = Slots(count, slot_bytes, FEWEST_SLOTS)
        self._free = list(range(self._slots.count))
        self._child: Child | None = None
        options = {
            "provenance": provenance, "scene_shape": scene_shape, "durability": durability,
            "reserve_bytes": reserve_bytes, "rotate_frames": rotate_frames, "rotate_bytes": rotate_bytes,
            "sha256": sha256,
        }  # fmt: skip
        try:
            self._child = Child(["-m", "hardware.recording.process_child"])
            self._child.send(
                path=str(self.path.resolve()), meta=dataclasses.asdict(like.meta), shape=like.shape,
                slots=self._slots.facts(), options=options,
            )  # fmt: skip
            self._receive(CREATE_S)
        except OSError as error:
            self._end()
            raise StorageError(
                f"cannot start the writer of recording '{self.path}': {error.strerror}; end some other programs"
            ) from error
        except BaseException:
            self._end()
            raise

    def __len__(self) -> int:
        """Frames that were taken, acknowledged or not."""
        return self._taken

    def append(
        self,
        frame: Frame,
        label: int = schema.UNKNOWN_LABEL,
        scene: np.ndarray | None = None,
        scene_id: int = schema.NO_SCENE,
    ) -> int:
        """Send a frame on its way; returns the index that it will have.

        Raises:
            StorageError: the disk is full, failed or does not answer. All acknowledged frames stay readable.
            ConfigurationError: a frame, this one or one before, does not belong here.
        """
        self._check()
        if frame.pixels.nbytes + (0 if scene is None else scene.nbytes) > self._slots.slot_bytes:
            self._refuse(frame, scene)
        self._taken += 1  # also where it then fails: an error tells of it as not acknowledged
        while self._receive(0):
            pass
        while not self._free:
            self._receive(PATIENCE_S)
        slot = self._free.pop()
        # Computed here, so that the check covers the way through shared memory, and while the other process writes.
        crc32 = zlib.crc32(frame.pixels)
        self._slots.write(slot, frame.pixels, *([] if scene is None else [scene]))
        shown = None if scene is None else [scene.shape, scene.dtype.str]
        self._child.send(
            slot=slot,
            meta=dataclasses.asdict(frame.meta),
            shape=frame.shape,
            label=int(label),
            scene_id=int(scene_id),
            crc32=crc32,
            scene=shown,
        )
        return self._taken - 1

    def flush(self) -> None:
        """Wait until every frame is acknowledged.

        Raises:
            StorageError, ConfigurationError: as `append`.
        """
        self._check()
        while self.acknowledged < self._taken:
            self._receive(PATIENCE_S)

    def close(self) -> None:
        """Write what waits, and finish the recording; a second call does nothing.

        Raises:
            StorageError, ConfigurationError: as `append`; all acknowledged frames stay readable.
        """
        if self._finished:
            return
        try:
            self._check()
            self._child.send(close=True)
            while not self._finished:  # as long as it goes on: it may have many GiB to compute the SHA-256 of
                self._receive(PATIENCE_S + CREATE_S)
        finally:
            self._end()

    def give_up(self) -> None:
        """End within a second or so, without what the disk does not take by then; what is acknowledged stays."""
        if not self._finished:
            self._child.send(close=True)
            self._end()

    def _receive(self, patience_s: float) -> bool:
        """Take a message of the writer in, if there is one; raises its errors, and StorageError if it stays silent."""
        try:
            message = self._child.receive(min(patience_s, SILENCE_S))
            if message is None and patience_s > SILENCE_S:
                self.on_silence(SILENCE_S)
                message = self._child.receive(patience_s - SILENCE_S)
        except ChildEnded as error:
            why = f"its writer is gone ({error})"
            self._fail(StorageError(self._stopped(why, "see what ended it (memory that is full, a person)")))
        except LenslessError as error:
            self._fail(error)
        if message is None:
            if patience_s:
                why = f"the disk has not answered for {patience_s:.0f} s"
                self._fail(StorageError(self._stopped(why, "look at the disk")))
            return False
        self.acknowledged = message["acknowledged"]
        self._free.extend(message["free"])
        self._finished = message["finished"]
        return True

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._finished:
            raise StorageError(f"recording '{self.path}' is closed; make a new one to go on")

    def _fail(self, error: LenslessError) -> NoReturn:
        self._failure = error
        self._end()
        raise error

    def _refuse(self, frame: Frame, scene: np.ndarray | None) -> NoReturn:
        shown = "" if scene is None else f" with a scene {scene.shape} {scene.dtype}"
        raise ConfigurationError(
            f"recording '{self.path}': frame {frame.meta.sequence} of shape {frame.shape}{shown} is larger than those "
            f"that it was made for ({self._slots.slot_bytes} bytes); start a new recording for it"
        )

    def _end(self) -> None:
        self._finished = True
        try:
            if self._child is not None:
                self._child.close(1.0)
        finally:
            self._slots.close()

    def _stopped(self, why: str, next_step: str) -> str:
        return (
            f"recording '{self.path}' stopped after {self.acknowledged} acknowledged frames of {self._taken}: {why}; "
            f"they stay readable; {next_step}, and go on in a new recording"
        )
