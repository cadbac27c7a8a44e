"""The equal parts of a batch, of which each process computes some, and the mean over all of them.

A part has noise, dropout and normalisation of its own. So a batch of a given number of parts gives the same step
whoever computes them: one process after another, two processes with half of them each, or one process for each. What
BatchNorm takes for mean and spread is that of a part, as in Goyal et al. 2017 (arXiv 1706.02677).
"""

import dataclasses
import pathlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hardware.errors import ConfigurationError
from lensless.train.processes import Processes
from lensless.train.recipe import Recipe

Batch = tuple[Tensor, ...]


class Parts:
    """The parts of the batches of one training.

    Args:
        network: what is trained; its gradients, and the running statistics of its normalisation, are averaged.
        count: parts of a batch, a multiple of the number of processes.
        processes: that share them.
    """

    def __init__(self, network: nn.Module, count: int, processes: Processes):
        self.count, self.processes = count, processes
        mine = processes.share(count)
        self.mine = range(mine.start, mine.stop)
        self.weights = [weight for weight in network.parameters() if weight.requires_grad]
        names = ("running_mean", "running_var", "num_batches_tracked")
        self.counted = [buffer for name, buffer in network.named_buffers() if name.rpartition(".")[2] in names]
        self.running = [buffer for buffer in self.counted if buffer.is_floating_point()]

    def of(self, batch: Batch) -> Iterator[tuple[int, Batch]]:
        """Each part of this process with its number; running statistics begin for all of them where they stood.

        The gradients of the parts add up by themselves.
        """
        if self.count == 1:
            yield 0, batch
            return
        before = [buffer.clone() for buffer in self.counted]
        sums = [torch.zeros_like(buffer) for buffer in self.running]
        pieces = zip(*(tensor.chunk(len(self.mine)) for tensor in batch), strict=True)
        for part, piece in zip(self.mine, pieces, strict=True):
            _copy(before, self.counted)
            yield part, piece
            for total, buffer in zip(sums, self.running, strict=True):
                total += buffer
        _copy(sums, self.running)

    def mean(self, losses: list[Tensor]) -> float:
        """The mean of the losses; gradients and running statistics become their means, too, by one exchange.

        Raises:
            ProcessLost: another process ended.
        """
        loss = torch.stack([loss.detach() for loss in losses]).sum()
        if self.count == 1:
            return loss.item()
        for weight in self.weights:
            if weight.grad is None:  # in this part, perhaps not in all of them
                weight.grad = torch.zeros_like(weight)
        kept = [*(weight.grad for weight in self.weights), *self.running, loss]
        numbers = torch.cat([tensor.reshape(-1).float() for tensor in kept])
        self.processes.add_up(numbers)
        numbers /= self.count
        means = numbers.split([tensor.numel() for tensor in kept])
        _copy([mean.view(tensor.shape) for mean, tensor in zip(means, kept, strict=True)], kept)
        return loss.item()


def with_parts(recipe: Recipe, begun: tuple[dict, dict] | None, processes: Processes, folder: pathlib.Path) -> Recipe:
    """The recipe with its number of parts: as asked for, as the run in the folder was begun, or one for each process.

    Args:
        recipe: what was asked for.
        begun: the state of that run, if there is one.
        processes: that will share the parts.
        folder: where it lies.

    Raises:
        ConfigurationError: parts that the batch has not, or that so many processes cannot share.
    """
    shards, what, instead = recipe.shards, "--shards", f"say --shards {processes.count}"
    if shards is None and begun is not None:
        was = begun[1].get("recipe")  # of a file that may say anything: what does not fit is refused later
        shards = was.get("shards", 1) if isinstance(was, dict) else None
        what, instead = f"{folder} holds a training run with shards =", "name another folder with --out"
    if not (isinstance(shards, int) and shards > 0):
        shards = processes.count
    if shards % processes.count:
        able = [str(count) for count in range(1, shards + 1) if shards % count == 0]
        raise ConfigurationError(
            f"{what} {shards}: {processes.count} processes cannot have equally many parts of a batch; "
            f"start {', '.join(able[:-1])}{' or ' * (len(able) > 1)}{able[-1]} of them, or {instead}"
        )
    return dataclasses.replace(recipe, shards=shards)


@torch.no_grad()
def _copy(values: list[Tensor], places: list[Tensor]) -> None:
    for value, place in zip(values, places, strict=True):
        place.copy_(value)
