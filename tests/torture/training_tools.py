"""Giving orders to the child of the training tests, and looking at what it left."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import training_child

from lensless import tensor_file
from lensless.train import checkpoint, state

TESTS = pathlib.Path(__file__).resolve().parents[1]


class Child:
    """A process that does jobs in forks; see `training_child`."""

    def __init__(self, cache: pathlib.Path):
        path = os.pathsep.join(map(str, (TESTS.parent, TESTS, TESTS / "torture")))
        self._process = subprocess.Popen(
            [sys.executable, training_child.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPTICS_FREE_CACHE": str(cache)},
        )

    def do(self, job: str, **arguments) -> int:
        """How the job ended: 0, the exit code of an error, minus the signal that killed it."""
        self.begin(job, **arguments)
        return self.end()["status"]

    def begin(self, job: str, **arguments) -> None:
        order = {name: str(value) if isinstance(value, pathlib.Path) else value for name, value in arguments.items()}
        self._process.stdin.write(json.dumps({"job": job, **order}) + "\n")
        self._process.stdin.flush()

    def end(self) -> dict:
        line = self._process.stdout.readline()
        assert line, f"the child of the training tests ended with {self._process.wait()}"
        return json.loads(line)

    @property
    def stdout(self):
        return self._process.stdout

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@dataclasses.dataclass(frozen=True)
class Result:
    """What a training leaves, without its seconds."""

    digest: str
    history: list
    best: str
    log: list[str]


def result_of(folder: pathlib.Path) -> Result:
    weights = tensor_file.read(folder / checkpoint.WEIGHTS)[0]
    best = {name: tensor.numpy().tobytes().hex() for name, tensor in sorted(weights.items())}
    facts = tensor_file.read(folder / state.NEWEST)[1]
    history = [(one["epoch"], one["loss"], one["validation"]) for one in facts["history"]]
    log = (folder / "log.txt").read_text().splitlines()
    return Result(training_child.state_digest(folder), history, json.dumps(best), log)
