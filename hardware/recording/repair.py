"""Saving what is left of a recording whose writer was killed, or that was damaged since."""

import dataclasses
import os
import pathlib
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import closing

from hardware.closing import Closing
from hardware.errors import InputError, StorageError
from hardware.frame import Frame
from hardware.lock import SUFFIX, is_written
from hardware.recording import manifest, salvage
from hardware.recording.manifest import Manifest
from hardware.recording.reader import Recording, check_name
from hardware.recording.rotation import FolderWriter, remove_empty
from hardware.recording.salvage import Head, Lost, Saved
from hardware.recording.writer import RecordingWriter


@dataclasses.dataclass(frozen=True)
class Damage:
    """Frames `first` to `last` of a file that are lost, and why; `last` is None where nobody knows how many."""

    file: str
    first: int
    last: int | None
    reason: str

    @property
    def frames(self) -> int | None:
        return None if self.last is None else self.last - self.first + 1

    def __str__(self) -> str:
        if self.frames == 0:
            return f"{self.file}: {self.reason}"
        last = "?" if self.last is None else self.last
        frames = f"frame {self.first}" if self.last == self.first else f"frames {self.first} to {last}"
        return f"{self.file}, {frames}: {self.reason}"


@dataclasses.dataclass(frozen=True)
class Report:
    """What `repair` did: `copied` frames are in `out`, the others are told of in `damages`."""

    source: pathlib.Path
    out: pathlib.Path | None
    copied: int
    damages: tuple[Damage, ...]

    @property
    def damaged(self) -> int:
        """Frames that are lost, as far as they can be counted."""
        return sum(damage.frames or 0 for damage in self.damages)

    @property
    def is_complete(self) -> bool:
        return not self.damages

    @property
    def all_counted(self) -> bool:
        """Whether it is known how many are lost."""
        return all(damage.frames is not None for damage in self.damages)

    def __str__(self) -> str:
        lost = {0: "no frame is", 1: "1 frame is"}.get(self.damaged, f"{self.damaged:,} frames are")
        if not self.all_counted:
            lost = f"at least {lost}" if self.damaged else "nobody knows how many frames are"
        head = f"{lost} lost: {self.copied:,} copied from '{self.source}' to '{self.out}'"
        return "\n".join((head, *map(str, self.damages)))


def repair(
    source: str | pathlib.Path, out: str | pathlib.Path, progress: Callable[[int], None] | None = None
) -> Report:
    """Copy every frame that can be read and verified into a fresh recording, which is closed in order.

    The source is only read, by child processes: damaged bytes can make HDF5 hang or crash. Frames behind a damaged one
    are copied, too; the next one says in `lost_before` how many are missing. It is read twice, since the provenance
    of the new one says from its start how many frames are lost.

    Args:
        source: a recording, in a file or a folder, in any state.
        out: the new one; NAME.h5 is one file, any other name a folder of parts.
        progress: told how many frames were copied; 0 until all were looked at.

    Raises:
        InputError: not there, or not a single frame can be saved; nothing is written.
        StorageError: `source` is being written, `out` exists or lies in it, or the disk is full or cannot be written;
            the message says how many frames were copied. Nothing is left of a copy that holds none.
    """
    source, out = pathlib.Path(source), pathlib.Path(out)
    check_name(out)
    _check_source(source, out)
    if not os.path.exists(source):  # false for what can be no name, too
        raise InputError(f"'{source}' is not there; expected a recording: a file, or a folder of parts")
    _check_free(out)
    seen = _read(source, _Copy(None, {}, progress))
    lost = {"lost" if seen.all_counted else "lost_at_least": seen.damaged}
    made, copy = not out.exists(), _Copy(out, {"recording": source.name, **lost}, progress)
    try:
        with copy:
            return _read(source, copy)
    except BaseException as error:
        if copy.writer is None:
            raise
        if not copy.copied:
            remove_empty(copy.writer, made)
        if isinstance(error, StorageError):
            raise StorageError(
                f"repair of '{source}' stopped, {copy.copied or 'no'} frames were copied: {_short(str(error))}; free "
                "some space or choose another disk, and repair it into a new recording"
            ) from error
        raise


def _check_source(source: pathlib.Path, out: pathlib.Path) -> None:
    """What is being written is not lost, and what lies in a recording is taken for a part of it."""
    if not os.path.exists(source):
        return
    whole = source.resolve()
    for path in (whole, whole.parent):  # a part of a folder is not finished before the folder is
        if is_written(path):
            raise StorageError(
                f"'{source}' is being written: what comes while it is copied would be missing, or count as lost; end "
                f"its recording first, or read along with Recording.follow (if no program writes it, remove "
                f"'{path}{SUFFIX}')"
            )
    if source.is_dir() and "\0" not in str(out) and whole in out.resolve().parents:
        raise StorageError(f"'{out}' lies in the recording that is repaired, '{source}'; name a place outside of it")


def _check_free(out: pathlib.Path) -> None:
    """Before all is read; what a killed writer left is judged by the next."""
    if not os.path.isdir(out.absolute().parent):
        raise StorageError(f"cannot write '{out}': its folder does not exist; make it, or name another")
    names = os.listdir(out) if os.path.isdir(out) else [out.name] if os.path.lexists(out) else []
    if any(not name.startswith(".") and not name.endswith(".lock") and name != manifest.NAME for name in names):
        raise StorageError(f"'{out}' exists; nothing is ever overwritten: choose another name")


def _read(source: pathlib.Path, copy: "_Copy") -> Report:
    for file, number, listed in _files(source, copy):
        copy.file(file, number, listed)
    if not copy.copied:
        reasons = "; ".join(map(str, copy.damages[:3])) or "it holds none"
        raise InputError(f"'{source}': no frame can be saved: {reasons}; use another copy")
    return Report(source, copy.out, copy.copied, tuple(copy.damages))


def _files(source: pathlib.Path, copy: "_Copy") -> Iterator[tuple[pathlib.Path, int | None, int | None]]:
    """(file, its number, how many frames the manifest lists) for each file of a recording, missing ones included."""
    if not source.is_dir():
        yield source, None, None
        return
    if not any(source.glob("part-*.h5")):
        runs = sorted(path.name for path in pathlib.Path(source).glob("run-*") if path.is_dir())
        if runs:
            raise InputError(
                f"'{source}' is a collection of {len(runs)} recordings; repair the one that is damaged into a folder "
                f"beside it, e.g. lensless repair {source}/{runs[0]} --out {source}-{runs[0]}, and put that in its "
                "place"
            )
        raise InputError(f"'{source}' holds no part of a recording, so that nothing can be saved; use another copy")
    try:
        copy.manifest = manifest.read(source)
    except InputError as error:
        copy.note(Damage(manifest.NAME, 0, -1, _short(str(error))))
    listed = () if copy.manifest is None else copy.manifest.parts
    names = {entry.name for entry in os.scandir(source)}
    numbers = [number for number in range(manifest.MOST_PARTS + 1) if manifest.part_name(number) in names]
    for number in range(max(len(listed), numbers[-1] + 1 if numbers else 0)):
        frames = listed[number].frames if number < len(listed) else None
        yield source / manifest.part_name(number), number, frames


class _Copy(Closing):
    """The new recording as it grows, and what could not be saved so far.

    Args:
        out: where it grows; None only looks at what would be copied.
        origin: what its provenance says of where it comes from.
        progress: as of `repair`.
    """

    def __init__(self, out: pathlib.Path | None, origin: dict, progress: Callable[[int], None] | None):
        self.out, self._origin, self._progress = out, origin, progress
        self.manifest: Manifest | None = None
        self.writer: RecordingWriter | FolderWriter | None = None
        self.damages: list[Damage] = []
        self._recording_id: str | None = None
        self.copied = 0
        self._lost, self._uncounted, self._last_sequence = 0, False, -1

    def file(self, path: pathlib.Path, number: int | None, listed: int | None) -> None:
        """Copy what is left of one file."""
        found = 0
        try:
            if number is not None and not stat.S_ISREG(os.lstat(path).st_mode):
                raise InputError(f"'{path.name}' is a link, or not a plain file")
            with closing(salvage.salvage(path)) as contents:  # and the child that reads, where this one fails
                head = next(contents)
                self._check_head(head, number)
                found = head.recorded
                for each in contents:
                    self._take(path.name, head, each)
        except (InputError, OSError) as error:
            reason = "it is missing" if isinstance(error, FileNotFoundError) else _short(str(error))
            last = listed - 1 if listed else None
            self.note(Damage(path.name, 0, last, reason))
            self._lost += listed or 0
            self._uncounted |= last is None
            return
        if listed is not None and found < listed:
            self.note(Damage(path.name, found, listed - 1, salvage.BEHIND))
            self._lost += listed - found

    def note(self, damage: Damage) -> None:
        """Remember it, as one with the damage before where that goes on."""
        last = self.damages[-1] if self.damages else None
        goes_on = last is not None and last.last is not None and last.last + 1 == damage.first
        if goes_on and (last.file, _alike(last.reason)) == (damage.file, _alike(damage.reason)):
            self.damages[-1] = dataclasses.replace(last, last=damage.last)
        else:
            self.damages.append(damage)

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()

    def _check_head(self, head: Head, number: int | None) -> None:
        if number is None:
            return
        mark = head.provenance.get(manifest.PART_KEY)
        if self._recording_id is None:
            known = mark.get("recording") if isinstance(mark, dict) else None
            self._recording_id = known if self.manifest is None else self.manifest.id
        if mark != {"recording": self._recording_id, "number": number}:
            raise InputError("it belongs to another recording, or elsewhere in this one")

    def _take(self, file: str, head: Head, found: Saved | Lost) -> None:
        if isinstance(found, Lost):
            self.note(Damage(file, found.first, found.last, _short(found.reason)))
            self._lost += found.last - found.first + 1 + found.lost_before
            return
        meta = found.frame.meta
        if meta.sequence <= self._last_sequence:
            self.note(Damage(file, found.at, found.at, f"its number {meta.sequence} does not rise"))
            return
        if self._uncounted:
            self._lost = max(self._lost, meta.sequence - self._last_sequence - 1 - meta.lost_before)
        frame = found.frame.with_meta(dataclasses.replace(meta, lost_before=meta.lost_before + self._lost))
        if self.out is not None:
            if self.writer is None:
                self.writer = self._begin(head, frame)
            self.writer.append(frame, found.label, found.scene, found.pixels_crc32, found.scene_id)
        self.copied += 1
        self._lost, self._uncounted, self._last_sequence = 0, False, meta.sequence
        if self._progress is not None:
            self._progress(0 if self.out is None else self.copied)

    def _begin(self, head: Head, like: Frame) -> RecordingWriter | FolderWriter:
        provenance = {name: value for name, value in head.provenance.items() if name != manifest.PART_KEY}
        provenance["repaired_from"] = self._origin
        return Recording.create(self.out, like, provenance, head.scene_shape)


def _short(reason: str) -> str:
    """Without the name of the file and the advice around it."""
    before, behind = "is damaged|whole recording|stopped after [0-9]+ frames", "use another|record again|they stay|free"
    which = r"((facts|scenes) of )?frames? \d+( to \d+)?: "  # told beside it
    return re.sub(f"^.*({before}): ({which})?|; ({behind}) .*$", "", reason)


def _alike(reason: str) -> str:
    return re.sub(r"\d+", "", reason)
