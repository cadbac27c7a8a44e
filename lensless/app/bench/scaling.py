"""`lensless bench scaling`: how much faster several processes train than one, and what a step is spent on.

Under torchrun it measures the processes that torchrun started. Without, it starts torchrun itself, once for each number
of processes and by turns, with one thread each.
"""

import dataclasses
import itertools
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.data import Dataset

from hardware.errors import ConfigurationError, LenslessError
from lensless.app.new_tasks import new_classify, new_reconstruct
from lensless.app.rig import open_rig
from lensless.app.screen import Screen
from lensless.app.setting import VALIDATION_STREAM, Setting, prepared
from lensless.app.training import RECIPES
from lensless.app.version import code_version
from lensless.data.scenes import load_scenes
from lensless.launch import launch
from lensless.train.batches import SceneBatches
from lensless.train.devices import fabric_on
from lensless.train.loop import Progress, Trainer
from lensless.train.processes import Processes, joined

TASKS = {"reconstruct": new_reconstruct, "classify": new_classify}
STEPS, EPOCHS, VALIDATION = 12, 3, 2000  # the first epoch warms up
ROUNDS, MOST = 3, 1024
PARTS = ("scenes", "simulation", "network", "exchange")  # of a step; the rest is optimiser and averages
SPEED = ["", "processes", "batch", "steps/s", "scenes/s", "speed-up", "busy ms/step"]


def run(screen: Screen, device: str, counts: list[int]) -> dict:
    """Measure, show, and return the figures."""
    if launch().count > 1 or "TORCHELASTIC_RUN_ID" in os.environ:
        rows = measured(torch.device(device))
    else:
        found = [_in_processes(count, device, screen) for _ in range(ROUNDS) for count in counts]
        rounds = [found[place :: len(counts)] for place in range(len(counts))]  # of each number of processes
        rows = sorted((_median(same) for one in rounds for same in zip(*one, strict=True)), key=_order)
    _show(rows, screen)
    return {
        "rows": rows, "device": device, "machine": platform.machine(), "processors": os.cpu_count(),
        "threads_of_each": torch.get_num_threads(), "torch": torch.__version__, "code": code_version(),
    }  # fmt: skip


def counts(text: str) -> list[int]:
    """Whole numbers with commas between them.

    Raises:
        ConfigurationError: something else.
    """
    found = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= MOST for part in found):
        raise ConfigurationError(f"--processes {text!r}; expected whole numbers from 1 to {MOST}, such as 1,2")
    return [int(part) for part in found]


def measured(device: torch.device) -> list[dict]:
    """Each task, with the batch of its recipe shared by all processes, and with so many scenes for each of them."""
    with joined(device) as processes:
        setting = Setting.of(open_rig("cannula-v1", str(device), rays=2**17))
        rows = []
        for kind in TASKS:
            size = RECIPES[kind].batch_size
            shared = size - size % processes.count
            for batch in dict.fromkeys((shared, size * processes.count)):
                rows.append({"task": kind, **_training(kind, setting, batch, processes)})
        return rows


class _Clock:
    """Reads the time after each step of the loop, and what was spent on its parts by then."""

    def __init__(self):
        self.spent_s = dict.fromkeys(PARTS, 0.0)
        self.read: list[tuple[bool, list[float]]] = []

    def timed(self, part: str, call: Callable) -> Callable:
        def run(*given):
            began_s = _now_s()
            try:
                return call(*given)
            finally:
                self.spent_s[part] += _now_s() - began_s

        return run

    def watch(self, progress: Progress) -> None:
        self.read.append((progress.record is not None, [_now_s(), time.process_time(), *self.spent_s.values()]))

    def medians(self) -> dict[str, float]:
        """Of a step: all of it, what the processor was busy for, and its parts; and of what ends an epoch."""
        steps, ends = [], []
        for (_, before), (end, after) in itertools.pairwise(self.read[STEPS - 1 :]):
            (ends if end else steps).append([b - a for a, b in zip(before, after, strict=True)])
        names = ("step", "busy", *PARTS)
        found = {
            f"{name}_s": statistics.median(part) for name, part in zip(names, zip(*steps, strict=True), strict=True)
        }
        return found | {"epoch_end_s": statistics.median(end[0] for end in ends) - found["step_s"]}


class _TimedBatches(Dataset):
    """The batches of a trainer, timed."""

    def __init__(self, batches: SceneBatches, clock: _Clock):
        self.steps_per_epoch, self.indices = batches.steps_per_epoch, batches.indices
        self._get = clock.timed("scenes", batches.__getitem__)

    def __getitem__(self, at: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
        return self._get(at)


class _TimedProcesses(Processes):
    """Processes whose exchange is timed, waiting for the others included."""

    def __init__(self, processes: Processes, clock: _Clock):
        super().__init__(processes.rank, processes.count)
        self.add_up = clock.timed("exchange", super().add_up)


def _training(kind: str, setting: Setting, batch: int, processes: Processes) -> dict:
    """The loop itself, for a few steps."""
    scenes, validation = (load_scenes("glyphs", split, 0, count) for split, count in
                          (("train", batch * STEPS), ("val", VALIDATION)))  # fmt: skip
    recipe = dataclasses.replace(RECIPES[kind], batch_size=batch, epochs=EPOCHS, shards=processes.count)
    fabric = fabric_on(setting.device, recipe.precision)
    task, clock = TASKS[kind](setting, scenes), _Clock()
    simulate = clock.timed("simulation", setting.training_input(task, scenes, fabric.autocast))
    fabric.backward = clock.timed("network", fabric.backward)
    task.network.forward = clock.timed("network", task.network.forward)
    validating = prepared(task, setting, validation, VALIDATION_STREAM)
    with tempfile.TemporaryDirectory(prefix="lensless-bench-") as folder:
        trainer = Trainer(
            task, scenes, simulate, validating, recipe, lambda task, history: None, pathlib.Path(folder), None, fabric,
            _TimedProcesses(processes, clock), watch=clock.watch,
        )  # fmt: skip
        trainer.batches = _TimedBatches(trainer.batches, clock)
        trainer.run()
    trained = task.numbers().trainable
    return {
        "processes": processes.count, "batch": batch, **clock.medians(), "trained": trained,
        "exchange_alone_s": _exchange_s(trained, setting.device, processes),
    }  # fmt: skip


def _exchange_s(numbers: int, device: torch.device, processes: Processes, times: int = 40) -> float:
    """Of so many numbers, when no process has anything else to do."""
    given, taken = torch.zeros(numbers, device=device), []
    for _ in range(times):
        began_s = _now_s()
        processes.add_up(given)
        taken.append(_now_s() - began_s)
    return statistics.median(taken)


def _in_processes(count: int, device: str, screen: Screen) -> list[dict]:
    """What so many processes of torchrun measure."""
    with tempfile.TemporaryDirectory(prefix="lensless-bench-") as folder:
        file = pathlib.Path(folder) / "found.json"
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count), "-m", "optics_free",
                   "bench", "scaling", "--device", device, "--json", str(file)]  # fmt: skip
        with screen.working(f"{count} at once"):
            done = subprocess.run(command, env={"OMP_NUM_THREADS": "1", **os.environ}, capture_output=True, text=True)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
            raise LenslessError(f"{count} processes did not measure: {' '.join(said) or done.stderr[-2000:]}")
        return json.loads(file.read_text())["rows"]


def _order(row: dict) -> tuple:
    return list(TASKS).index(row["task"]), row["processes"], row["batch"]


def _median(rows: list[dict]) -> dict:
    """Of the same row in all rounds."""
    first = rows[0]
    return {
        name: statistics.median(row[name] for row in rows) if isinstance(value, float) else value
        for name, value in first.items()
    }


def _show(rows: list[dict], screen: Screen) -> None:
    speeds, shares = [], []
    for row in rows:
        name, step_s = [row["task"], str(row["processes"]), str(row["batch"])], row["step_s"]
        single = next((one for one in rows if one["task"] == row["task"] and one["processes"] == 1), row)
        times = (row["batch"] / step_s) / (single["batch"] / single["step_s"])
        figures = (f"{1 / step_s:.1f}", f"{row['batch'] / step_s:,.0f}", f"{times:.2f}", f"{1e3 * row['busy_s']:.1f}")
        speeds.append([*name, *figures])
        parts = [row[f"{part}_s"] / step_s for part in PARTS]
        shares.append([*name, *(f"{part:.0%}" for part in (*parts, 1 - sum(parts)))])
    screen.table("\ntraining on cannula-v1, simulated as it goes; median steps", SPEED, speeds)
    screen.table("\nwhat a step is spent on", [*SPEED[:3], *PARTS, "the rest"], shares)


def _now_s() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
