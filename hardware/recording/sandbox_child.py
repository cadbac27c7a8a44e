"""What a child of `sandbox` does: `python -m hardware.recording.sandbox_child JOB ARGUMENTS`."""

import json
import os
import pathlib
import sys

from hardware.errors import InputError
from hardware.recording import checks, foreign
from hardware.recording.mended import LONGEST_PADDING_BYTES
from hardware.recording.part import Part
from hardware.recording.parts import Parts
from hardware.recording.sandbox import MEMORY_BYTES, SILENCE_S

try:
    import resource
except ImportError:  # Windows
    resource = None


def vet(path: str) -> None:
    """Reads the structure of a recording and every row of its facts, and no pixels."""
    parts, rows = Parts(pathlib.Path(path)), 0
    for part in parts:
        for some in part.all_rows():
            rows += len(some)
            tell({"rows": rows})
    tell({"end": True})


def read(path: str, start: str) -> None:
    """Tells of a part, then of each frame from index `start` on: its row, pixels and scene, or what is wrong."""
    part = Part(pathlib.Path(path), damaged=True)
    has_scenes = part.scene_shape is not None
    facts = {"camera": part.facts.to_json(), "provenance": part.provenance, "shape": part.shape}
    tell({**facts, "scene_shape": part.scene_shape, "frames": len(part), "recorded": max(len(part), _recorded(path))})
    for at in range(int(start), len(part)):
        try:
            row = part.rows(at, at + 1)
        except InputError as error:
            tell({"at": at, "damaged": str(error), "lost_before": 0})
            continue
        lost = int(row["lost_before"][0])
        try:
            pixels = part.frame(at).pixels.tobytes()
            scene = part.scenes(at, at + 1)[0].tobytes() if has_scenes else b""
        except InputError as error:
            tell({"at": at, "damaged": str(error), "lost_before": lost})
            continue
        content = row.tobytes() + pixels + scene
        tell({"at": at, "bytes": len(content)}, content)
    tell({"end": True})


def look(path: str) -> None:
    """Tells of each array in a file of another program."""
    for one in foreign.listed(path):
        tell(one)
    tell({"end": True})


def pour(path: str, name: str) -> None:
    """Tells the values of an array in a file of another program."""
    for content in foreign.poured(path, name):
        tell({"bytes": len(content)}, content)
    tell({"end": True})


def _recorded(path: str) -> int:
    """How many frames there were before a file was cut, as far as it says so and it can be."""
    with checks.open_file(pathlib.Path(path), damaged=True) as file:
        most_bytes = os.stat(path).st_size + LONGEST_PADDING_BYTES
        return min(most_bytes // checks.chunk_bytes(file["frames"]), *(len(file[name]) for name in file))


def tell(line: dict, content: bytes = b"") -> None:
    sys.stdout.buffer.write(json.dumps(line).encode() + b"\n" + content)
    sys.stdout.buffer.flush()
    limit_time()


def limit_memory() -> None:
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold pixels
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))


def limit_time() -> None:
    """Some seconds of work from now on; waiting for whoever listens costs none."""
    if resource is not None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit_s = int(used.ru_utime + used.ru_stime + SILENCE_S) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit_s, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def main() -> None:
    """Do the job of the command line within limits, and tell of it."""
    limit_memory()
    limit_time()
    job, *arguments = sys.argv[1:]
    try:
        {one.__name__: one for one in (vet, read, look, pour)}[job](*arguments)
    except InputError as error:
        tell({"refused": str(error)})
    except MemoryError:
        tell({"refused": f"'{arguments[0]}' made its reader ask for more than {MEMORY_BYTES >> 20} MiB; record again"})


if __name__ == "__main__":
    main()
