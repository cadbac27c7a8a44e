"""One plain training loop for every task.

Nothing in it depends on what ran before: the order of the scenes, their augmentation and the noise of each step derive
from (seed, epoch, step). A run that was killed goes on from its last state and ends with the same bits: on a processor,
with the same versions and number of threads. A GPU adds up in an order of its own.

Nor on how many processes train together: each runs this loop over its parts of every batch, and one exchange per step
gives all of them the same mean gradient (see `parts.py`). The first one writes the files.
"""

import dataclasses
import math
import pathlib
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from hardware.errors import InputError, TrainingDiverged
from lensless.data.scenes import Scenes
from lensless.sharing import SharedNetwork
from lensless.tasks.task import Task
from lensless.train import state
from lensless.train.batches import Cursor, SceneBatches, part_seed
from lensless.train.older import completed
from lensless.train.parts import Parts
from lensless.train.processes import Processes
from lensless.train.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class EpochRecord:
    """What an epoch gave: mean loss, metric on the validation scenes, seconds since the run began."""

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


def learning_rate_share(step: int, steps: int, warm_up: int = 200) -> float:
    """Linear warm-up, then half a cosine down to 0."""
    rise = min(1.0, (step + 1) / min(warm_up, max(1, steps // 5)))
    return rise * 0.5 * (1 + math.cos(math.pi * step / steps))


class Trainer:
    """Trains the network of a task and keeps its best epoch, by validation, as a checkpoint.

    Args:
        task: its fixed part is ready, its network is trained.
        scenes: training scenes, already of the rig's shape.
        inputs_of: pictures (B, C, H, W) on the device, and which scenes they are (B,) -> what `task.network` takes;
            where it is simulated, with fresh noise from torch's global generator.
        validation: prepared inputs and targets, on the device.
        recipe: how.
        save: called with the task when it is the best so far, in the first process; writes the checkpoint.
        folder: where the state goes.
        begun: the state of an earlier part of the run, which is continued.
        fabric: device and precision.
        processes: that train together.
        workers: of the data loader; any number gives the same result.
        watch: told of each step.
        origin: of the data, beside the scenes (rig, calibration, frames), as JSON; a run goes on with the same only.
    """

    def __init__(
        self,
        task: Task,
        scenes: Scenes,
        inputs_of: Callable[[Tensor, Tensor], Tensor],
        validation: tuple[Tensor, Tensor],
        recipe: Recipe,
        save: Callable[[Task, list[EpochRecord]], None],
        folder: pathlib.Path,
        begun: tuple[dict[str, Tensor], dict] | None,
        fabric,
        processes: Processes,
        workers: int = 0,
        watch: Callable[[Progress], None] = lambda progress: None,
        origin: dict | None = None,
    ):
        self.task, self.inputs_of, self.validation, self.recipe = task, inputs_of, validation, recipe
        self.save, self.folder, self.fabric, self.workers, self.watch = save, folder, fabric, workers, watch
        self.begun, self.processes = begun, processes
        share = processes.share(recipe.batch_size)
        self.batches = SceneBatches(scenes.fit(task.picture_shape), scenes.labels, recipe, share)
        self.origin = {"scenes": f"{scenes.name} {scenes.fingerprint()}", **(origin or {})}
        groups = task.parameter_groups()
        optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        self.network, self.optimizer = fabric.setup(task.network, optimizer)
        self.parts = Parts(task.network, recipe.shards or 1, processes)
        average = _moving_average(recipe.average_decay)
        self.averaged = AveragedModel(task.network, multi_avg_fn=average, use_buffers=True)
        self.history: list[EpochRecord] = []
        self.best = -math.inf
        self.elapsed_s = 0.0

    def run(self) -> list[EpochRecord]:
        """Train to the end; the records of all epochs, also those of an earlier part of the run.

        Raises:
            TrainingDiverged: the loss or a weight is not finite; nothing that was saved before is touched.
            ConfigurationError: the folder holds a run with other settings or data.
            InputError: its state cannot be read.
            StorageError: the disk is full, or the folder cannot be written.
            ProcessLost: another process ended.
        """
        position = self._restore()
        per_epoch = self.batches.steps_per_epoch
        steps = per_epoch * self.recipe.epochs
        cursor = Cursor(position, per_epoch, self.recipe.epochs)
        loader = DataLoader(
            self.batches, sampler=cursor, batch_size=None, num_workers=self.workers,
            multiprocessing_context="spawn" if self.workers else None,
        )  # fmt: skip
        began_s, total = time.perf_counter() - self.elapsed_s, 0.0
        self.network.train()
        for (epoch, step), batch in zip(cursor, loader, strict=True):
            loss = self._step(epoch, step, steps, batch)
            total += loss
            record = None
            if step == per_epoch - 1:
                self.elapsed_s = time.perf_counter() - began_s
                record = self._finish_epoch(epoch, total / per_epoch)
                total = 0.0
            self.watch(Progress(epoch * per_epoch + step + 1, steps, loss, record))
        return self.history

    def _step(self, epoch: int, step: int, steps: int, batch: tuple[Tensor, Tensor, Tensor]) -> float:
        position = epoch * self.batches.steps_per_epoch + step
        for group in self.optimizer.param_groups:
            rate = self.recipe.learning_rate * group.get("rate_share", 1.0)
            group["lr"] = rate * learning_rate_share(position, steps)
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for part, (pictures, labels, scenes) in self.parts.of(self.fabric.to_device(tuple(batch))):
            torch.manual_seed(part_seed(self.recipe.seed, epoch, step, part))  # noise and dropout
            with torch.no_grad():
                inputs = self.inputs_of(pictures, scenes)
            loss = self.task.training_loss(self.network, inputs, self.task.target(pictures, labels))
            self.fabric.backward(loss)
            losses.append(loss)
        value = self.parts.mean(losses)  # from here on it is the same in all processes
        if not math.isfinite(value):
            broken = self._broken()
            what = f"the loss is {value}" + (f", {broken} is not finite" if broken else "")
            raise TrainingDiverged(self._divergence(epoch, step, what))
        self.optimizer.step()
        self.averaged.update_parameters(self.task.network)
        return value

    def _divergence(self, epoch: int, step: int, what: str) -> str:
        scenes = self.batches.indices(epoch, step)[:8].tolist()
        good = "No epoch was finished"
        if self.history:
            good = f"The best weights, of epoch {self._best_epoch()}, are in {self.folder}"
        return (
            f"training: {what} at epoch {epoch + 1}, step {step + 1} (scenes {scenes} ...); expected a finite number. "
            f"{good}. Lower the learning rate (now {self.recipe.learning_rate:g}) or use --precision 32-true"
        )

    def _best_epoch(self) -> int:
        return max(self.history, key=lambda record: record.validation).epoch + 1

    def _finish_epoch(self, epoch: int, loss: float) -> EpochRecord:
        """Validate the averaged weights, keep them if they are the best, and store the state of the run."""
        live = {name: value.clone() for name, value in self.task.network.state_dict().items()}
        self._check_finite(epoch)
        self.task.network.load_state_dict(self.averaged.module.state_dict())
        score = validate(self.task, self.network, *self.validation, self.processes)
        if not math.isfinite(score):
            what = f"{self.task.metric_name} of the validation is {score}"
            raise TrainingDiverged(self._divergence(epoch, self.batches.steps_per_epoch - 1, what))
        record = EpochRecord(epoch, loss, score, self.elapsed_s)
        self.history.append(record)
        if score > self.best:
            self.best = score
            self.processes.by_first(lambda: self.save(self.task, self.history))
        self.task.network.load_state_dict(live)
        self.network.train()
        self.processes.by_first(lambda: state.store(self.folder, self._tensors(), self._facts(epoch + 1)))
        return record

    def _check_finite(self, epoch: int) -> None:
        """The last step of an epoch may break a weight, and no loss comes after it to tell."""
        if broken := self._broken():
            what = f"the weight {broken} is not finite"
            raise TrainingDiverged(self._divergence(epoch, self.batches.steps_per_epoch - 1, what))

    def _broken(self) -> str:
        """The first number of the network that is not finite, for people; empty where all are."""
        network = self.task.network
        for name, value in network.state_dict().items():
            if value.is_floating_point() and not value.isfinite().all():
                return network.described(name) if isinstance(network, SharedNetwork) else repr(name)
        return ""

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
            "data": self.origin,
            "history": [dataclasses.asdict(record) for record in self.history],
        }

    def _restore(self) -> int:
        """Take up the state of an earlier part of this run; the position to go on from."""
        if self.begun is None:
            return 0
        try:
            return self._take(*self.begun)
        except (KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError, OverflowError) as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            raise InputError(
                f"{self.folder}: its {state.NEWEST} is no state of this training ({reason}); "
                "name another folder with --out to begin again"
            ) from error

    def _take(self, tensors: dict[str, Tensor], facts: dict) -> int:
        facts["recipe"].setdefault("shards", 1)  # the first runs did not say
        state.check_same_run(self.folder, facts, self._facts(0))
        parts: dict[str, dict] = {"network": {}, "averaged": {}, "optimizer": {}}
        for name, value in tensors.items():
            part, rest = name.split(".", 1)
            parts[part][rest] = value
        history = [EpochRecord(**record) for record in facts["history"]]
        if facts["epoch"] != len(history) or [record.epoch for record in history] != list(range(len(history))):
            raise ValueError(f"epoch {facts['epoch']!r:.50}, with {len(history)} records")
        for record in history:
            if not all(map(math.isfinite, (record.loss, record.validation, record.seconds))):
                raise ValueError(f"the record of epoch {record.epoch} is not finite")
        position = len(history) * self.batches.steps_per_epoch
        self.task.network.load_state_dict(completed(parts["network"], self.task.network))
        self.averaged.load_state_dict(completed(parts["averaged"], self.averaged.module, "module."))
        slots: dict[int, dict] = {}
        for name, value in parts["optimizer"].items():
            index, slot = name.split(".", 1)
            slots.setdefault(int(index), {})[slot] = self._laid_out(int(index), value)
        self.optimizer.load_state_dict({"state": slots, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.history = history
        self.best = max((record.validation for record in history), default=-math.inf)
        self.elapsed_s = history[-1].seconds if history else 0.0
        return position

    def _laid_out(self, index: int, value: Tensor) -> Tensor:
        """An optimiser's tensor in the memory layout of its weight: another one may take other code, which rounds."""
        weight = [weight for group in self.optimizer.param_groups for weight in group["params"]][index]
        return torch.empty_like(weight.detach()).copy_(value) if value.ndim else value


def validate(
    task: Task, network: nn.Module, inputs: Tensor, targets: Tensor, processes: Processes, batch_size: int = 500
) -> float:
    """Mean metric of a network over prepared inputs, of which each process takes its share; higher is better."""
    network.eval()
    mine = processes.share(len(inputs))
    scores = torch.zeros(len(inputs), device=inputs.device)
    with torch.no_grad():
        for first in range(mine.start, mine.stop, batch_size):
            some = slice(first, min(first + batch_size, mine.stop))
            scores[some] = task.metric(network(inputs[some]), targets[some])
    processes.add_up(scores)  # where others put their scores, this one has zeros
    return float(scores.double().mean())


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
