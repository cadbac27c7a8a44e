"""What one result of a trained task costs: operations, and time on one core."""

import pathlib
import statistics
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from lensless.tasks import Task
from lensless.train import checkpoint

CALLS, WARM_UP = 200, 20


def cost_of(folder: pathlib.Path) -> dict:
    """Operations of matrix products and convolutions, and the median latency in ms on one core, both of one frame; and
    how long it was trained, with how many threads.
    """
    found = checkpoint.load(folder)
    task = found.task
    task.settle()  # as it is used
    frame = torch.full((1, 1, *task.sensor_shape), 0.1)
    trained = {"training_s": found.card["history"][-1]["seconds"], "threads": found.card["threads"]}
    return {"flop": operations(task, frame), "latency_ms": latency_ms(task, frame)} | trained


def operations(task: Task, frame: torch.Tensor) -> int:
    """Of matrix products and convolutions; a product and its sum count as two."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        task(frame)
    return counter.get_total_flops()


def latency_ms(task: Task, frame: torch.Tensor) -> float:
    """Median over `CALLS` calls, on one core."""
    threads, taken_s = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            for _ in range(WARM_UP + CALLS):
                began_s = time.perf_counter()
                task(frame)
                taken_s.append(time.perf_counter() - began_s)
    finally:
        torch.set_num_threads(threads)
    return 1e3 * statistics.median(taken_s[WARM_UP:])
