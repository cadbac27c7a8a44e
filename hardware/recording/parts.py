"""The parts of a recording: which there are, whether they belong together, and a few of them open."""

import bisect
import itertools
import os
import pathlib
import stat
from collections import OrderedDict
from collections.abc import Iterator

from hardware.errors import ConfigurationError, InputError
from hardware.recording import manifest, schema
from hardware.recording.digests import file_sha256
from hardware.recording.manifest import PartFacts
from hardware.recording.part import Part

# Opening one takes some milliseconds, which frames in random order would pay for each; an open one takes up to 10 MiB.
MOST_OPEN = 16


class Parts:
    """One file, or the parts of a folder in order. Iteration opens them one after the other.

    Args:
        path: of the file or folder.

    Raises:
        InputError: nothing there, not a recording, a part is missing or belongs to another one.
    """

    def __init__(self, path: pathlib.Path):
        self._path, self._closed = path, False
        self._open: OrderedDict[int, Part] = OrderedDict()
        self._manifest: manifest.Manifest | None = None
        self._stamp: tuple[int, ...] = ()  # of the manifest that was read last
        self._ends: list[int] = []  # number of frames up to the end of each part
        self._settled = 0  # parts that were listed when they were last looked at
        if "\0" in str(path):
            raise InputError(f"{str(path)!r} is no name of a file; expected a recording")
        try:
            if os.path.isdir(path):  # false for what can be no name, too
                self._read_manifest()
                self.refresh()
                self.part(0)  # what the manifest says of all parts is true of the first
            else:
                self._ends = [len(self.part(0))]
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return self._ends[-1]

    def __iter__(self) -> Iterator[Part]:
        for number in range(len(self._ends)):
            yield self.part(number)

    @property
    def facts(self) -> schema.CameraFacts:
        return self._first.facts if self._manifest is None else self._manifest.camera

    @property
    def shape(self) -> tuple[int, ...]:
        return self._first.shape if self._manifest is None else self._manifest.shape

    @property
    def scene_shape(self) -> tuple[int, int] | None:
        return self._first.scene_shape if self._manifest is None else self._manifest.scene_shape

    @property
    def provenance(self) -> dict:
        return self._first.provenance if self._manifest is None else self._manifest.provenance

    @property
    def closed_in_order(self) -> bool:
        if self._manifest is None:
            return self._first.closed_in_order
        self._read_manifest()
        return self._manifest.closed

    def locate(self, index: int) -> tuple[Part, int]:
        """The part that holds a frame, and where in it."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"frame {index} of recording '{self._path}'; it has {len(self)}")
        index %= len(self)
        number = bisect.bisect_right(self._ends, index)
        return self.part(number), index - (self._ends[number - 1] if number else 0)

    def part(self, number: int) -> Part:
        """A part, opened and checked if it is not open; the one that was used longest ago lets go of its handle.

        Raises:
            InputError: it is not what it should be.
            ConfigurationError: the recording is closed.
        """
        if self._closed:
            raise ConfigurationError(f"recording '{self._path}' is closed; open it again to read")
        if number not in self._open:
            if self._manifest is None:
                self._open[number] = Part(self._path)
            else:
                self._open[number] = Part(self._path / manifest.part_name(number))
                self._check(number, self._open[number])
            while len(self._open) > MOST_OPEN:
                self._open.popitem(last=False)[1].release()
        self._open.move_to_end(number)
        return self._open[number]

    def described(self) -> tuple[PartFacts, ...]:
        """What each part holds."""
        listed = () if self._manifest is None else self._manifest.parts
        return (*listed, *(_describe(self.part(number)) for number in range(len(listed), len(self._ends))))

    def check_sha256(self, number: int) -> None:
        """Raises InputError if the manifest has the SHA-256 of a part, and it is another."""
        listed = () if self._manifest is None else self._manifest.parts
        if number < len(listed) and listed[number].sha256 is not None:
            digest = file_sha256(self._path / listed[number].name)
            if digest != listed[number].sha256:
                raise self._refusal(
                    number, f"its SHA-256 is {digest[:16]}..., listed as {listed[number].sha256[:16]}..."
                )

    def refresh(self) -> int:
        """Look for frames and parts that were added; returns how many frames there are now."""
        if self._manifest is None:
            self._ends = [self.part(0).refresh()]
            return len(self)
        self._read_manifest()
        number = listed = len(self._manifest.parts)
        while self._is_there(number):
            number += 1
        if number == 0:
            raise manifest.refusal(self._path, f"'{manifest.part_name(0)}' is missing")
        if self._manifest.closed and number > listed:
            raise manifest.refusal(self._path, f"'{manifest.part_name(listed)}' is not listed in '{manifest.NAME}'")
        # Only now how long they are: a part is finished before the next is there.
        for at in range(self._settled, number):
            if at in self._open:
                self._open[at].refresh()
                self._check(at, self._open[at])
        lengths = [part.frames for part in self._manifest.parts]
        lengths += [len(self.part(at)) for at in range(listed, number)]
        self._ends, self._settled = list(itertools.accumulate(lengths)), listed
        return len(self)

    def close(self) -> None:
        self._closed = True
        for part in self._open.values():
            part.close()

    @property
    def _first(self) -> Part:
        return self.part(0)

    def _read_manifest(self) -> None:
        """Again if it was replaced; then all parts that it lists must be there."""
        try:
            now = os.lstat(self._path / manifest.NAME)
            stamp = (now.st_ino, now.st_mtime_ns, now.st_size)
        except OSError:
            stamp = ()  # reading it says what is wrong
        if stamp and stamp == self._stamp:
            return
        # In this order: a part is there before it is listed.
        new, found = manifest.read(self._path), manifest.parts_in(self._path)
        if self._manifest is not None and new.id != self._manifest.id:
            raise manifest.refusal(self._path, "since it was opened, another recording has taken its place")
        if len(found) < len(new.parts):
            raise manifest.refusal(self._path, f"'{new.parts[len(found)].name}' is missing")
        self._manifest, self._stamp = new, stamp

    def _is_there(self, number: int) -> bool:
        """Whether a part that is not listed lies in the folder, as a plain file."""
        path = self._path / manifest.part_name(number)
        try:
            if stat.S_ISREG(os.lstat(path).st_mode):
                return True
        except FileNotFoundError:
            return False
        raise manifest.refusal(self._path, f"'{path.name}' is a link, or not a plain file")

    def _check(self, number: int, part: Part) -> None:
        whole = self._manifest
        if part.provenance != manifest.marked(whole.provenance, whole.id, number):
            raise self._refusal(number, "it belongs to another recording, or elsewhere in this one")
        if (part.facts, part.shape, part.scene_shape) != (whole.camera, whole.shape, whole.scene_shape):
            raise self._refusal(number, f"it is of {part.facts}, shape {part.shape}")
        if number < len(whole.parts):
            found, listed = _describe(part), whole.parts[number]
            expected = (listed.frames, listed.first_sequence, listed.last_sequence)
            if (found.frames, found.first_sequence, found.last_sequence) != expected:
                raise self._refusal(
                    number,
                    f"it holds {found.frames} frames, sequence {found.first_sequence} to {found.last_sequence}; listed "
                    f"are {listed.frames}, {listed.first_sequence} to {listed.last_sequence}",
                )
        elif number and len(part):
            before = whole.parts[number - 1] if number <= len(whole.parts) else _describe(self.part(number - 1))
            if before.last_sequence is None or part.meta(0).sequence <= before.last_sequence:
                raise self._refusal(number, "its sequence numbers do not follow those of the part before")

    def _refusal(self, number: int, reason: str) -> InputError:
        return manifest.refusal(self._path, f"'{manifest.part_name(number)}': {reason}")


def _describe(part: Part) -> PartFacts:
    numbers = [part.meta(at).sequence for at in (0, len(part) - 1)] if len(part) else [None, None]
    return PartFacts(part.path.name, len(part), *numbers)
