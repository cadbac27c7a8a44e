"""A camera that plays recordings."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hardware.camera import check_count, closed
from hardware.closing import Closing
from hardware.errors import CameraLost, ConfigurationError, InputError
from hardware.frame import CameraSettings, Frame, FrameMeta

if TYPE_CHECKING:
    from hardware.recording import Recording

SUFFIX = ".h5"


class ReplayCamera(Closing):
    """Plays one recording, or all recordings of a folder in the order of their names.

    Frames come with the facts that were recorded. Where the count of a later file starts again, it is carried on, so
    that sequence numbers always rise.

    Args:
        path: a recording, or a folder of them.

    Raises:
        InputError: nothing to play, a file that is not a recording, or files of unlike cameras.
        ConfigurationError: an empty path.
    """

    def __init__(self, path: str | pathlib.Path):
        from hardware.recording import Recording  # h5py is loaded by those who read or write, and by nobody else

        if path == "":  # a path that is empty means the current folder
            raise ConfigurationError("camera address 'replay:' names no recording; expected replay:RECORDING")
        self._path = pathlib.Path(path)
        self._recordings: list[Recording] = []
        try:
            for file in recordings_at(self._path):
                self._recordings.append(Recording.open(file))
            self._check_alike()
        except BaseException:
            self.close()
            raise
        self._offsets = _offsets(self._recordings)
        self._closed = False
        self._file, self._row = 0, 0

    @property
    def camera_id(self) -> str:
        return self._camera_id

    @property
    def live(self) -> bool:
        return False

    def configure(self, wanted: CameraSettings) -> CameraSettings:
        """The recorded settings of the next frame (of the last one at the end).

        Raises:
            ConfigurationError: anything else is asked for: a recording cannot be exposed again.
        """
        self._check_open()
        recorded = self._peek_meta().settings
        for name, value in wanted.asked().items():
            if value != (had := getattr(recorded, name)):
                asked, had = (f"{one:g}" if isinstance(one, float) else repr(one) for one in (value, had))
                raise ConfigurationError(
                    f"replay '{self._path}': {name} = {asked} asked for, recorded with {had}; a recording cannot "
                    "be exposed again: ask for nothing, or record anew"
                )
        return recorded

    def snap(self, n: int, not_before_ns: int | None = None) -> list[Frame]:
        """The next `n` frames; `not_before_ns` is on the clock of the recording.

        Raises:
            CameraLost: fewer than `n` such frames are left.
        """
        check_count(n, self._camera_id)
        frames: list[Frame] = []
        for frame in self.frames():
            if frame.meta.t_host_ns >= (not_before_ns or 0):
                frames.append(frame)
            if len(frames) == n:
                return frames
        raise CameraLost(
            f"replay '{self._path}' has ended: {n} frames asked for, {len(frames)} left of "
            f"{sum(map(len, self._recordings))}; open it again to start over"
        )

    def frames(self) -> Iterator[Frame]:
        """The frames that are left."""
        self._check_open()
        return self._rest()

    def close(self) -> None:
        self._closed = True
        for recording in self._recordings:
            recording.close()

    def _rest(self) -> Iterator[Frame]:
        while not self._closed and self._file < len(self._recordings):
            recording = self._recordings[self._file]
            if self._row == len(recording):
                self._file, self._row = self._file + 1, 0
                continue
            frame = recording[self._row]
            self._row += 1
            offset = self._offsets[self._file]
            if offset:
                frame = frame.with_meta(dataclasses.replace(frame.meta, sequence=frame.meta.sequence + offset))
            yield frame

    def _peek_meta(self) -> FrameMeta:
        ahead = [(file, self._row if file == self._file else 0) for file in range(self._file, len(self._recordings))]
        behind = [(file, len(self._recordings[file]) - 1) for file in reversed(range(len(self._recordings)))]
        for file, row in ahead + behind:
            if 0 <= row < len(self._recordings[file]):
                return self._recordings[file].meta(row)
        raise CameraLost(f"replay '{self._path}' holds no frame; play another recording")

    def _check_alike(self) -> None:
        first = self._recordings[0]
        self._camera_id = first.facts.camera_id
        for other in self._recordings[1:]:
            if other.facts != first.facts:
                raise InputError(
                    f"replay '{self._path}': '{other.path.name}' is of {other.facts}, '{first.path.name}' of "
                    f"{first.facts}; a replay is of one camera: play the files one by one"
                )

    def _check_open(self) -> None:
        if self._closed:
            raise closed(self._camera_id)


def recordings_at(path: pathlib.Path) -> list[pathlib.Path]:
    """The recordings that `path` stands for, in the order of their names: itself, or those that lie in it.

    Raises:
        InputError: there are none, or the folder holds a link: nothing outside a folder is opened because it says so;
            or parts of one recording without their manifest, which would be played as if none were missing.
    """
    from hardware.recording import Recording, manifest  # h5py is loaded by those who read, and by nobody else

    if not os.path.isdir(path) or (path / manifest.NAME).exists():  # false for what can be no name, too
        return [path]
    files = sorted(
        file
        for file in path.iterdir()
        if not file.name.startswith(".") and (file.suffix == SUFFIX or manifest.is_wanted(file))
    )
    for file in files:
        if file.is_symlink():
            raise InputError(f"'{file}' is a link; expected recordings only: copy the file into the folder")
    if not files:
        raise InputError(
            f"no recording in folder '{path}'; expected '{manifest.NAME}' and its parts, or files named *{SUFFIX}"
        )
    for file in files:
        if file.name.startswith("part-"):
            with Recording.open(file) as recording:
                if manifest.PART_KEY in recording.provenance:
                    manifest.read(path)  # says what is missing, and what helps
    return files


def _offsets(recordings: list["Recording"]) -> list[int]:
    """What is added to the sequence numbers of each file, so that they rise over all files."""
    offsets, last = [], -1
    for recording in recordings:
        if len(recording) == 0:
            offsets.append(0)
            continue
        first = recording.meta(0)
        offset = 0 if first.sequence > last else last + 1 + first.lost_before - first.sequence
        offsets.append(offset)
        last = recording.meta(-1).sequence + offset
    return offsets
