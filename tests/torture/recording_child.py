"""Children of the recording tests: light, so that many can be killed. Each prints what was acknowledged."""

import dataclasses
import hashlib
import json
import os
import pathlib
import random
import resource
import signal
import sys
import time

import numpy as np
from shots import META

from hardware import Frame, Recording
from hardware.errors import LenslessError
from hardware.recording import FolderWriter, RecordingWriter
from hardware.recording.repair import repair

SHAPE, SCENE_SHAPE = (24, 32), (6, 6)


def frame(index: int, shape: tuple[int, ...] = SHAPE) -> Frame:
    """Random pixels that anybody can make again from the index."""
    meta = dataclasses.replace(META, sequence=index, t_host_ns=1000 + index, camera_id="CHILD", temperature_c=20.5)
    return Frame(np.random.default_rng(index).integers(0, 4096, shape).astype(np.uint16), meta)


def scene(index: int) -> np.ndarray:
    return np.random.default_rng((9, index)).integers(0, 256, SCENE_SHAPE).astype(np.uint8)


def digest(frame: Frame, label: int, scene: np.ndarray) -> str:
    facts = json.dumps([repr(frame.meta), label])
    return hashlib.sha256(frame.pixels.tobytes() + scene.tobytes() + facts.encode()).hexdigest()[:16]


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def create(path: str | os.PathLike, rotate_frames: int | str = 0, **options) -> RecordingWriter | FolderWriter:
    """A recording in one file, or in parts of `rotate_frames`."""
    rotation = {"rotate_frames": int(rotate_frames)} if int(rotate_frames) else {}
    return Recording.create(path, frame(0), {"seed": 1}, SCENE_SHAPE, reserve_bytes=0, **rotation, **options)


def append_for_ever(path: str, rotate_frames: str = "0") -> None:
    say("ready")
    sys.stdin.readline()
    with create(path, rotate_frames) as writer:
        for index in range(10**6):
            written, shown = frame(index), scene(index)
            at = writer.append(written, index % 10, shown)
            say(at, digest(written, index % 10, shown))


def read_all(*paths: str) -> None:
    """One line of JSON per file: the digests of its frames, or the error."""
    for path in paths:
        try:
            with Recording.open(path) as recording:
                labels, scenes = recording.labels, recording.scenes
                say(json.dumps([digest(one, int(labels[i]), scenes[i]) for i, one in enumerate(recording)]))
        except LenslessError as error:
            say(json.dumps({"error": str(error), "exit_code": error.exit_code}))


def limit_files(limit_bytes: str) -> None:
    """From now on no file may be written to beyond its first `limit_bytes`: a full disk that needs no disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit_bytes), int(limit_bytes)))


def append_and_tell(writer: RecordingWriter, frames: int) -> None:
    for index in range(frames):
        writer.append(frame(index), index % 10, scene(index))
        say(index, digest(frame(index), index % 10, scene(index)))


def end_with(error: LenslessError) -> None:
    """As the command line does: the message, and the exit code of the error."""
    say("error", error)
    sys.exit(error.exit_code)


def fill_disk(path: str, limit_bytes: str, rotate_frames: str = "0") -> None:
    """Appends until no file may grow, or until there are as many parts as the manifest can list."""
    limit_files(limit_bytes)
    try:
        with create(path, rotate_frames) as writer:
            append_and_tell(writer, 10**6)
    except LenslessError as error:
        end_with(error)


def fail_at_close(path: str, frames: str, limit_bytes: str) -> None:
    """Appends, and closes on a disk that takes no more."""
    try:
        with Recording.create(path, frame(0), {}, SCENE_SHAPE, reserve_bytes=0) as writer:
            append_and_tell(writer, int(frames))
            limit_files(limit_bytes)
    except LenslessError as error:
        end_with(error)


def go_on_elsewhere(path: str, limit_bytes: str, other: str) -> None:
    """After a full disk the same process reads what it has, begins a new file, and ends well."""
    limit_files(limit_bytes)
    try:
        with Recording.create(path, frame(0), {}, SCENE_SHAPE, reserve_bytes=0) as writer:
            append_and_tell(writer, 10**6)
    except LenslessError:
        with Recording.create(other, frame(0), {}, SCENE_SHAPE, reserve_bytes=0) as writer:
            append_and_tell(writer, 5)
        for each in (path, other):
            say(json.dumps(digests(each)[:-1]))


def follow(path: str) -> None:
    """Answers each line on stdin with the number of frames and the digest of the last."""
    with Recording.open(path) as recording:
        say("ready")
        for _ in sys.stdin:
            length = recording.refresh()
            say(length, digest(recording[-1], int(recording.labels[-1]), recording.scene(-1)))


def follow_all(path: str, timeout_s: str) -> None:
    """Reads along until the writer has finished, or nothing came; says how many frames, and a digest of all digests."""
    say("ready")
    whole, frames = hashlib.sha256(), 0
    with Recording.open(path) as recording:
        for one in recording.follow(float(timeout_s)):
            index = one.meta.sequence
            whole.update(digest(one, index % 10, recording.scene(frames)).encode())
            frames += 1
        say(frames, whole.hexdigest(), recording.closed_in_order)


def repair_many(source: str, folder: str) -> None:
    """Repairs one recording again and again; says which copies are whole."""
    say("ready")
    sys.stdin.readline()
    for number in range(10**6):
        out = pathlib.Path(folder, f"{number}.h5" if number % 2 else f"{number}")
        report = repair(source, out)
        say(out.name, report.copied)


def read_at_random(recording: Recording, seed: int, reads: int = 200) -> int:
    """How many of `reads` random frames of a recording are not what was written."""
    draw, wrong = random.Random(seed), 0
    for _ in range(reads):
        index = draw.randrange(len(recording))
        written, read = frame(index), recording[index]
        wrong += not (np.array_equal(written.pixels, read.pixels) and written.meta == read.meta)
        wrong += not np.array_equal(recording.scene(index), scene(index))
    return wrong


def read_and_end(recording: Recording, seed: int) -> None:
    """What a spawned process does with a recording that was sent to it."""
    sys.exit(7 if read_at_random(recording, seed) == 0 else 1)


def watched(*paths: str) -> None:
    """Opens recordings of strangers; says which files were opened, and what else was done that no reader does."""
    events: set[str] = set()

    def hook(event: str, arguments: tuple) -> None:
        if event == "open" and isinstance(arguments[0], str):
            events.add(f"open {arguments[0]}")
        elif event in ("exec", "compile") or event.startswith(("socket.", "subprocess.", "os.system", "ctypes.")):
            events.add(event)

    errors = []
    read_all(*paths[:1])  # what is imported late is imported now
    sys.addaudithook(hook)
    for path in paths:
        began_s = time.monotonic()
        try:
            with Recording.open(path) as recording:
                errors.append(f"{len(recording)} frames, {recording.verify()} whole")
        except LenslessError as error:
            errors.append(str(error))
        errors[-1] = [errors[-1], time.monotonic() - began_s]
    say(json.dumps({"errors": errors, "events": sorted(events), "peak_kib": peak_kib()}))


def peak_kib() -> int:
    """The most memory that this program has had; `ru_maxrss` may be that of the process which started it."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def read_mutants(whole: str, folder: str, count: str, seed: str) -> None:
    """Reads `count` mutants of a recording, each in a child of 2 GiB and 5 s; says how each ended."""
    content = pathlib.Path(whole).read_bytes()
    truth = digests(whole)
    for number in range(int(count)):
        path = pathlib.Path(folder, f"mutant-{number}.h5")
        path.write_bytes(mutate(content, np.random.default_rng((int(seed), number))))
        child = os.fork()
        if child == 0:
            resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
            resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
            os._exit(outcome(str(path), truth))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        say(number, {0: "same", 1: "WRONG", 2: "refused", -signal.SIGXCPU: "slow"}.get(status, f"crash {status}"))
        path.unlink()


def mutate(content: bytes, draw: np.random.Generator) -> bytes:
    """1 to 16 random bytes changed, or the end cut off."""
    if draw.random() < 0.2:
        return content[: draw.integers(len(content))]
    mutant = bytearray(content)
    # Half of them near the start, where the structure of the file is, and a file with a hit is soon refused; the others
    # with few hits anywhere, so that frames are read.
    end, hits = (len(content), 4) if draw.random() < 0.5 else (min(4096, len(content)), 17)
    for _ in range(draw.integers(1, hits)):
        mutant[draw.integers(end)] = draw.integers(256)
    return bytes(mutant)


def digests(path: str) -> list[str]:
    with Recording.open(path) as recording:
        labels, scenes, provenance = recording.labels, recording.scenes, recording.provenance
        frames = [digest(one, int(labels[i]), scenes[i]) for i, one in enumerate(recording)]
        return [*frames, json.dumps([provenance, repr(recording.facts)])]


def outcome(path: str, truth: list[str]) -> int:
    try:
        return 0 if digests(path) == truth else 1
    except LenslessError as error:
        return 2 if error.exit_code == 5 else 3


if __name__ == "__main__":
    children = (append_for_ever, read_all, fill_disk, fail_at_close, go_on_elsewhere, follow, read_mutants)
    children += (follow_all, repair_many, watched)
    {one.__name__: one for one in children}[sys.argv[1]](*sys.argv[2:])
