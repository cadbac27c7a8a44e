"""What a network takes, of scenes that were recorded: it never changes, so it is computed once, before the training."""

import hashlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from lensless.data import array_cache
from lensless.data.measured_scenes import MeasuredScenes
from lensless.tasks.task import Task

IN_MEMORY_BYTES = 2**30
AT_ONCE = 500


class RecordedInputs:
    """Inputs of the network of a task by position: in the memory of the device, or in a mapped file if they are many.

    Args:
        task: its pre-processing is ready.
        scenes: with their measurements.
        device: where the training runs.
        autocast: the precision in which inputs are computed.
        in_memory_bytes: so many are held in memory.
    """

    def __init__(
        self,
        task: Task,
        scenes: MeasuredScenes,
        device: torch.device,
        autocast: Callable,
        in_memory_bytes: int = IN_MEMORY_BYTES,
    ):
        self._device = device
        first = next(_prepared(task, scenes, device, autocast))
        shape = (len(scenes), *first.shape[1:])
        if first[0].numel() * len(scenes) * 4 <= in_memory_bytes:
            self._held, self._mapped = torch.cat(list(_prepared(task, scenes, device, autocast))), None
            return
        key = hashlib.sha256(f"{scenes.fingerprint()} {_fixed_part(task)} {first.dtype}".encode()).hexdigest()[:32]
        blocks = (block.float().cpu().numpy() for block in _prepared(task, scenes, device, autocast))
        self._held, self._mapped = None, array_cache.rows(key, shape, lambda: blocks)

    def __call__(self, pictures: Tensor, at: Tensor) -> Tensor:
        """Inputs of the scenes at positions `at` (B,); their pictures are not looked at."""
        if self._held is not None:
            return self._held.index_select(0, at)
        return torch.from_numpy(self._mapped[at.cpu().numpy()]).to(self._device)


def _prepared(task: Task, scenes: MeasuredScenes, device: torch.device, autocast: Callable) -> Iterator[Tensor]:
    for at in torch.arange(len(scenes)).split(AT_ONCE):
        with torch.no_grad(), autocast():
            yield task.prepare(scenes.measurements(at, task.reads).to(device))


def _fixed_part(task: Task) -> str:
    """Of all numbers that training does not change."""
    digest = hashlib.sha256(repr(task.config()).encode())
    for name, value in sorted(task.state_dict().items()):
        if not name.startswith("network."):
            digest.update(name.encode() + value.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
