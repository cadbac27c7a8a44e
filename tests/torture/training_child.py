"""A child that trains, saves and reads on order, each time in a fork of its own that may be killed at any moment.

Orders come in as lines of JSON, one answer goes out for each: how the fork ended, and how long it took. Forks start in
milliseconds, where a fresh interpreter needs seconds to import torch.
"""

import dataclasses
import functools
import hashlib
import json
import logging
import os
import pathlib
import resource
import signal
import sys
import time

import numpy as np
import tiny
import torch

from hardware.errors import LenslessError
from lensless import tensor_file
from lensless.tasks import Classify
from lensless.train import checkpoint, fabric_on, state

RECIPE = dataclasses.replace(tiny.RECIPE, epochs=8)
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.", "socket.", "ctypes.dlopen", "pickle.")


def train(folder: str, task: str, workers: int = 0, die_at: int = 0, recorded: bool = False) -> None:
    """Train, or go on; a line in log.txt for each epoch. Dies at the n-th step of writing, if told to."""
    folder = pathlib.Path(folder)
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def watch(progress) -> None:
        say_begun()
        if record := progress.record:
            line = f"{record.epoch} {record.loss!r} {record.validation!r} {state_digest(folder)}\n"
            os.write(log, line.encode())

    if die_at:
        die_in_writing(die_at)
    recipe = dataclasses.replace(RECIPE, augmentation=None) if recorded else RECIPE
    scenes = tiny.measured() if recorded else tiny.scenes()
    tiny.run(folder, tiny.TASKS[task](), recipe, workers=workers, watch=watch, scenes=scenes)


def state_digest(folder: pathlib.Path) -> str:
    """Of every tensor that a run goes on from: weights, their average, the optimiser's; not of the seconds."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensor_file.read(folder / state.NEWEST)[0].items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def die_in_writing(at: int) -> None:
    """Kill this process before the n-th call that touches the disk; a file that is being written is left half."""
    calls = iter(range(1, 10**9))

    def deadly(call):
        def wrapped(*arguments, **named):
            if next(calls) == at:
                if call is whole_file:
                    call(*arguments, **named)
                    path = pathlib.Path(arguments[1])
                    os.truncate(path, path.stat().st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **named)

        return wrapped

    whole_file = tensor_file.save_file
    tensor_file.save_file = deadly(whole_file)
    for name in ("fsync", "replace", "link"):
        setattr(os, name, deadly(getattr(os, name)))


def save_for_ever(folder: str, first: int) -> None:
    """Checkpoints whose weights are all one number, 1 higher each time; acked.txt says which were written."""
    acked = os.open(pathlib.Path(folder) / "acked.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    say_begun()
    for version in range(first, 10**9):
        save_version(folder, version)
        os.write(acked, f"{version}\n".encode())


def save_version(folder: str, version: int) -> None:
    task = saved_task()
    with torch.no_grad():
        for parameter in task.network.parameters():
            parameter.fill_(version)
    card = {
        "rig": {"id": "tiny", "fingerprint": "0"}, "calibration": tiny.setting().calibration.id,
        "recipe": {}, "scenes": {}, "version": version,
    }  # fmt: skip
    checkpoint.save(pathlib.Path(folder), task, card)


@functools.cache
def saved_task() -> Classify:
    return tiny.classify()


def fill_disk(folder: str, limit_bytes: int) -> None:
    """Saves a checkpoint where no file may grow beyond the limit."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    save_version(folder, 2)


def read_mutants(folder: str, count: int, seed: int) -> None:
    """Loads `count` mutants of the checkpoint in a folder; ends.json counts how that ended."""
    folder = pathlib.Path(folder)
    weights = folder / checkpoint.WEIGHTS
    content, (truth, card) = weights.read_bytes(), tensor_file.read(weights)
    truth = {name: tensor.clone() for name, tensor in truth.items()}  # the file, which they look into, is overwritten
    ends: dict[str, int] = {}
    slowest_s, began_bytes = 0.0, memory_bytes()
    watched: list[str] = []
    sys.addaudithook(lambda event, arguments: watched.append(event) if event.startswith(FORBIDDEN) else None)
    for number in range(count):
        weights.write_bytes(mutate(content, np.random.default_rng((seed, number))))
        began_s = time.perf_counter()
        end = outcome(folder, truth, card)
        slowest_s = max(slowest_s, time.perf_counter() - began_s)
        ends[end] = ends.get(end, 0) + 1
    facts = {"ends": ends, "slowest_s": slowest_s, "grew_bytes": memory_bytes() - began_bytes, "events": watched}
    (folder / "ends.json").write_text(json.dumps(facts))


def read_one(folder: str) -> None:
    checkpoint.load(folder)


def mutate(content: bytes, draw: np.random.Generator) -> bytes:
    """1 to 16 random bytes changed, or the end cut off."""
    if draw.random() < 0.2:
        return content[: draw.integers(len(content))]
    mutant = bytearray(content)
    header = 8 + int.from_bytes(content[:8], "little")
    for _ in range(draw.integers(1, 17)):
        place = draw.random()
        mutant[draw.integers(8 if place < 0.1 else header if place < 0.6 else len(content))] = draw.integers(256)
    return bytes(mutant)


def outcome(folder: pathlib.Path, truth: dict, card: dict) -> str:
    try:
        loaded = checkpoint.load(folder)
    except LenslessError as error:
        return f"exit {error.exit_code}"
    found = loaded.task.state_dict()
    same = found.keys() == truth.keys() and all(torch.equal(found[name], truth[name]) for name in truth)
    return "same" if same and loaded.card == card else "WRONG"


def memory_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def in_fork(job: str, arguments: dict, kill_after_s: float | None) -> dict:
    """Do a job in a fork; how it ended (a signal is negative), its seconds after `say_begun`, and what it told."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setsid()  # its loader workers are killed with it
        global begun
        begun = writer
        os._exit(ended(job, arguments))
    os.close(writer)
    os.read(reader, 1)  # the child has begun, or ended
    began_s = time.monotonic()
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.killpg(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with os.fdopen(reader) as rest:
        return {"status": status, "seconds": time.monotonic() - began_s, "told": rest.read()}


def say_begun() -> None:
    os.write(begun, b".")


class ToAnswer(logging.Handler):
    """What is logged is a part of the answer."""

    def emit(self, record: logging.LogRecord) -> None:
        os.write(begun, f"\n{record.getMessage()}".encode())


def ended(job: str, arguments: dict) -> int:
    try:
        JOBS[job](**arguments)
    except LenslessError as error:
        os.write(begun, f"\n{error}".encode())  # not to stderr: it may be a file, and the disk may be full
        return error.exit_code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 99
    return 0


JOBS = {job.__name__: job for job in (train, save_for_ever, fill_disk, read_mutants, read_one)}


def serve() -> None:
    # What takes time at first use is used once, and not first in every fork. No backward pass: it may start threads.
    fabric_on(torch.device("cpu")).setup(torch.nn.Linear(1, 1), torch.optim.AdamW([torch.zeros(1)]))
    tiny.reconstruct(), saved_task()
    logging.getLogger("lensless").addHandler(ToAnswer())
    for line in sys.stdin:
        order = json.loads(line)
        kill_after_s = order.pop("kill_after_s", None)
        print(json.dumps(in_fork(order.pop("job"), order, kill_after_s)), flush=True)


if __name__ == "__main__":
    serve()
