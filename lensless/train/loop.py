"""One plain training loop for every task.

Nothing in it depends on what ran before: the order of the scenes, their augmentation and the noise of each step derive
from (seed, epoch, step). A run that was killed goes on from its last state and ends with the same bits.
"""

import dataclasses
import math
import pathlib
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset, Sampler

from hardware.errors import LenslessError
from lensless.data.augment import Augmentation, augment, sample_randoms
from lensless.data.scenes import Scenes
from lensless.tasks.task import Task
from lensless.train import state


class TrainingDiverged(LenslessError):
    """The loss or a weight is no longer a finite number."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to train: everything beside the data that decides the result."""

    epochs: int
    batch_size: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    average_decay: float = 0.998
    augmentation: Augmentation | None = None
    seed: int = 0
    precision: str = "auto"


@dataclasses.dataclass(frozen=True)
class EpochRecord:
    epoch: int
    loss: float
    validation: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a progress bar shows: after each step, and after each epoch with its record."""

    step: int
    steps: int
    loss: float
    record: EpochRecord | None = None


class SceneBatches(Dataset):
    """Training batches by (epoch, step): pictures as float in [0, 1], augmented, and labels."""

    def __init__(self, pictures: Tensor, labels: Tensor, recipe: Recipe):
        self.pictures, self.labels, self.recipe = pictures, labels, recipe
        self.steps_per_epoch = max(1, len(pictures) // recipe.batch_size)
        self._epoch = None

    def indices(self, epoch: int, step: int) -> Tensor:
        """Which scenes make up a batch."""
        size = self.recipe.batch_size
        return self._order(epoch)[step * size : (step + 1) * size]

    def __getitem__(self, at: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, step = at
        chosen = self.indices(epoch, step)
        pictures = self.pictures[chosen].float().div_(255)
        if self.recipe.augmentation is not None:
            pictures = augment(pictures, self._randoms[chosen], self.recipe.augmentation)
        return pictures, self.labels[chosen]

    def _order(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(derived_seed(self.recipe.seed, epoch))
            self._permutation = torch.randperm(len(self.pictures), generator=generator)
            self._randoms = torch.as_tensor(sample_randoms(self.recipe.seed, epoch, len(self.pictures)))
            self._epoch = epoch
        return self._permutation


class _Cursor(Sampler):
    """All (epoch, step) from a given one to the end: one loader, and its workers, serve the whole run."""

    def __init__(self, start: int, steps_per_epoch: int, epochs: int):
        self.start, self.steps_per_epoch, self.stop = start, steps_per_epoch, steps_per_epoch * epochs

    def __iter__(self):
        return (divmod(position, self.steps_per_epoch) for position in range(self.start, self.stop))

    def __len__(self) -> int:
        return self.stop - self.start


def derived_seed(*parts: int) -> int:
    """One 63-bit seed from several whole numbers (the 64-bit finaliser of MurmurHash3, chained)."""
    mixed, mask = 0x9E3779B97F4A7C15, 2**64 - 1
    for part in parts:
        mixed = (mixed ^ (part & mask)) & mask
        for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            mixed = ((mixed ^ (mixed >> 33)) * multiplier) & mask
        mixed ^= mixed >> 33
    return mixed >> 1


def bf16_is_fast() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (AMX, or AVX-512 BF16)."""
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, probe, lambda: False)() for probe in probes)


def fabric_precision(wanted: str, device: torch.device) -> str:
    """Fabric's name of the precision: "auto" takes bf16 autocast where the device is fast in it."""
    if wanted != "auto":
        return wanted
    fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else device.type == "cpu" and bf16_is_fast()
    return "bf16-mixed" if fast else "32-true"


def learning_rate_share(step: int, steps: int, warm_up: int = 200) -> float:
    """Linear warm-up, then half a cosine down to 0."""
    rise = min(1.0, (step + 1) / min(warm_up, max(1, steps // 5)))
    return rise * 0.5 * (1 + math.cos(math.pi * step / steps))


class Trainer:
    """Trains the network of a task and keeps its best epoch, by validation, as a checkpoint.

    Args:
        task: its fixed part is ready, its network is trained.
        scenes: training scenes, already of the rig's shape.
        simulate: pictures (B, C, H, W) on the device -> what `task.predict` takes, with fresh noise from torch's
            global generator.
        validation: prepared inputs and targets, on the device.
        recipe: how.
        save: called with the task when it is the best so far; writes the checkpoint.
        folder: where the state lies; a run found there is continued.
        fabric: device, precision and launch.
        workers: of the data loader; any number gives the same result.
        watch: told of each step.
    """

    def __init__(
        self,
        task: Task,
        scenes: Scenes,
        simulate: Callable[[Tensor], Tensor],
        validation: tuple[Tensor, Tensor],
        recipe: Recipe,
        save: Callable[[Task, list[EpochRecord]], None],
        folder: pathlib.Path,
        fabric,
        workers: int = 0,
        watch: Callable[[Progress], None] = lambda progress: None,
    ):
        self.task, self.simulate, self.validation, self.recipe = task, simulate, validation, recipe
        self.save, self.folder, self.fabric, self.workers, self.watch = save, folder, fabric, workers, watch
        self.batches = SceneBatches(scenes.fit(task.scene_shape), scenes.labels, recipe)
        optimizer = torch.optim.AdamW(task.network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        self.network, self.optimizer = fabric.setup(task.network, optimizer)
        self.averaged = AveragedModel(task.network, multi_avg_fn=_moving_average(recipe.average_decay), use_buffers=True)
        self.history: list[EpochRecord] = []
        self.best = -math.inf
        self.elapsed_s = 0.0

    def run(self) -> list[EpochRecord]:
        """Train to the end; the records of all epochs, also those of an earlier part of the run."""
        position = self._restore()
        per_epoch = self.batches.steps_per_epoch
        steps = per_epoch * self.recipe.epochs
        cursor = _Cursor(position, per_epoch, self.recipe.epochs)
        loader = DataLoader(
            self.batches, sampler=cursor, batch_size=None, num_workers=self.workers,
            multiprocessing_context="spawn" if self.workers else None,
        )  # fmt: skip
        began_s, total = time.perf_counter() - self.elapsed_s, 0.0
        self.network.train()
        for (epoch, step), (pictures, labels) in zip(cursor, loader, strict=True):
            loss = self._step(epoch, step, steps, pictures, labels)
            total += loss
            record = None
            if step == per_epoch - 1:
                self.elapsed_s = time.perf_counter() - began_s
                record = self._finish_epoch(epoch, total / per_epoch)
                total = 0.0
            self.watch(Progress(epoch * per_epoch + step + 1, steps, loss, record))
        return self.history

    def _step(self, epoch: int, step: int, steps: int, pictures: Tensor, labels: Tensor) -> float:
        position = epoch * self.batches.steps_per_epoch + step
        torch.manual_seed(derived_seed(self.recipe.seed, epoch, step))  # noise and dropout of this step
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * learning_rate_share(position, steps)
        pictures, labels = self.fabric.to_device((pictures, labels))
        with torch.no_grad():
            inputs = self.simulate(pictures)
        loss = self.task.loss(self.network(inputs), self.task.target(pictures, labels))
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingDiverged(self._divergence(epoch, step, value))
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        self.optimizer.step()
        self.averaged.update_parameters(self.task.network)
        return value

    def _divergence(self, epoch: int, step: int, value: float) -> str:
        scenes = self.batches.indices(epoch, step)[:8].tolist()
        good = f"the best weights, of epoch {self._best_epoch()}, are in {self.folder}" if self.history else "no epoch was finished"
        return (
            f"training: the loss is {value} at epoch {epoch + 1}, step {step + 1} (scenes {scenes} ...); expected a finite "
            f"number. {good}. Lower the learning rate (now {self.recipe.learning_rate:g}) or use --precision 32-true"
        )

    def _best_epoch(self) -> int:
        return max(self.history, key=lambda record: record.validation).epoch + 1

    def _finish_epoch(self, epoch: int, loss: float) -> EpochRecord:
        """Validate the averaged weights, keep them if they are the best, and store the state of the run."""
        live = {name: value.clone() for name, value in self.task.network.state_dict().items()}
        self.task.network.load_state_dict(self.averaged.module.state_dict())
        score = validate(self.task, self.network, *self.validation)
        record = EpochRecord(epoch, loss, score, self.elapsed_s)
        self.history.append(record)
        if score > self.best:
            self.best = score
            self.save(self.task, self.history)
        self.task.network.load_state_dict(live)
        self.network.train()
        state.store(self.folder, self._tensors(), self._facts(epoch + 1))
        return record

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"network.{name}": value for name, value in self.task.network.state_dict().items()}
        tensors |= {f"averaged.{name}": value for name, value in self.averaged.state_dict().items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": value for name, value in slots.items()}
        return tensors

    def _facts(self, epoch: int) -> dict:
        return {
            "epoch": epoch,
            "recipe": dataclasses.asdict(self.recipe),
            "task": self.task.config(),
            "history": [dataclasses.asdict(record) for record in self.history],
        }

    def _restore(self) -> int:
        """Load the state of an earlier part of this run; the position to go on from."""
        found = state.load(self.folder)
        if found is None:
            return 0
        tensors, facts = found
        state.check_same_run(self.folder, facts, self._facts(0))
        parts: dict[str, dict] = {"network": {}, "averaged": {}, "optimizer": {}}
        for name, value in tensors.items():
            part, rest = name.split(".", 1)
            parts[part][rest] = value
        self.task.network.load_state_dict(parts["network"])
        self.averaged.load_state_dict(parts["averaged"])
        slots: dict[int, dict] = {}
        for name, value in parts["optimizer"].items():
            index, slot = name.split(".", 1)
            slots.setdefault(int(index), {})[slot] = value
        self.optimizer.load_state_dict({"state": slots, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.history = [EpochRecord(**record) for record in facts["history"]]
        self.best = max((record.validation for record in self.history), default=-math.inf)
        self.elapsed_s = self.history[-1].seconds if self.history else 0.0
        return facts["epoch"] * self.batches.steps_per_epoch


def validate(task: Task, network: nn.Module, inputs: Tensor, targets: Tensor, batch_size: int = 500) -> float:
    """Mean metric of a network over prepared inputs; higher is better."""
    network.eval()
    with torch.no_grad():
        scores = [
            task.metric(network(piece), target)
            for piece, target in zip(inputs.split(batch_size), targets.split(batch_size), strict=True)
        ]
    return float(torch.cat(scores).double().mean())


def _moving_average(decay: float):
    """Exponential average of the weights that begins as a plain one, so that the first epochs do not drag."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], seen: Tensor) -> None:
        share = 1 - min(decay, (1 + int(seen)) / (10 + int(seen)))
        for kept, new in zip(averaged, current, strict=True):
            if kept.is_floating_point():
                kept.lerp_(new, share)
            else:
                kept.copy_(new)

    return update
