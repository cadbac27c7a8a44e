"""Processes that train together, as torchrun starts them: what they add up, and what the first does for all."""

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from hardware.errors import ConfigurationError, LenslessError, ProcessLost
from lensless.launch import launch, store

T = TypeVar("T")


class Processes:
    """Process number `rank` of `count`; one that is alone exchanges nothing."""

    def __init__(self, rank: int = 0, count: int = 1):
        self.rank, self.count = rank, count

    def share(self, length: int) -> slice:
        """Which of so many things this process takes: shares that are as equal as can be."""
        return slice(length * self.rank // self.count, length * (self.rank + 1) // self.count)

    def add_up(self, numbers: Tensor) -> None:
        """Put the sum over all processes in the place of each one's numbers.

        Raises:
            ProcessLost: another process ended.
        """
        if self.count > 1:
            with _heard():
                dist.all_reduce(numbers)

    def by_first(self, work: Callable[[], T]) -> T:
        """What `work` gives in the first process, where alone it is done; an error of ours is raised in all of them.

        Raises:
            ProcessLost: another process ended.
        """
        if self.count == 1:
            return work()
        outcome = [None, None]
        if self.rank == 0:
            try:
                outcome[0] = work()
            except LenslessError as error:
                outcome[1] = error
        with _heard():
            dist.broadcast_object_list(outcome, src=0, device=torch.device("cpu"))
        result, error = outcome
        if error is not None:
            raise error
        return result

    def check_alike(self, facts: dict[str, object]) -> None:
        """Refuse to train together what differs.

        Args:
            facts: what must be the same in all processes, by names for people.

        Raises:
            ConfigurationError: in all of them, with the first that differs.
            ProcessLost: another process ended.
        """
        if self.count == 1:
            return
        found: list = [None] * self.count
        with _heard():
            dist.all_gather_object(found, (socket.gethostname(), facts))
        (first_host, first), *others = found
        for rank, (host, other) in enumerate(others, start=1):
            for name, value in first.items():
                if other.get(name) != value:
                    raise ConfigurationError(
                        f"process {rank} on {host} has {name} = {other.get(name)}, process 0 on {first_host} {value}; "
                        "give every host the same command, files and versions, and the same kind of processor or GPU"
                    )


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """All processes that torchrun started, each of which calls this; this one alone, where it did not start any.

    Raises:
        ProcessLost: the others cannot be reached, or one of them ended.
    """
    this = launch()
    if this.count == 1:
        yield Processes()
        return
    if not this.first:  # they write nothing, and may be waiting where no Ctrl-C is heard
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with _heard():
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store(), rank=this.rank, world_size=this.count)
    try:
        yield Processes(this.rank, this.count)
    except dist.DistError as error:  # on a GPU, wherever it is waited for
        raise _lost(error) from error
    dist.destroy_process_group()  # not after an error: it may wait for those that are gone


@contextlib.contextmanager
def _heard() -> Iterator[None]:
    """Around an exchange: gloo says with a plain RuntimeError that another process is gone."""
    try:
        yield
    except RuntimeError as error:
        raise _lost(error) from error


def _lost(error: RuntimeError) -> ProcessLost:
    reason = " ".join(str(error).split())[:200]
    return ProcessLost(
        f"another of the {launch().count} processes ended, or cannot be reached at {os.environ.get('MASTER_ADDR')} "
        f"({reason}); look for what it said, and give the same command again: it goes on from the last epoch"
    )
