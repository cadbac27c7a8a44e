"""`lensless train --search`: who shares with whom is found by gradients before the network is trained to the end."""

import copy
import dataclasses
import pathlib

from hardware.errors import ConfigurationError
from lensless.app.gradients import gradient_batches
from lensless.app.screen import Screen
from lensless.app.setting import Perturbed, Setting
from lensless.app.training import train
from lensless.data.scenes import Scenes
from lensless.launch import launch
from lensless.sharing import SharedNetwork, search
from lensless.tasks import Task
from lensless.train import checkpoint
from lensless.train.recipe import Recipe

# Of the epochs of the whole training, as published: 20 and 10 of 200 (see `lensless.sharing.search`).
SHARES = {"warm-up": 0.1, "tied": 0.05}


def searched(
    task: Task, budget: str, source: Setting | Perturbed, training: Scenes, validation: Scenes, chosen: Recipe,
    out: pathlib.Path, workers: int, screen: Screen,
) -> Task:  # fmt: skip
    """The task, its network shared as two short trainings found best; an interrupted search goes on.

    The short trainings lie in `out`/search, each a checkpoint by itself.

    Raises:
        ConfigurationError: several processes.
    """
    if launch().count > 1:
        raise ConfigurationError("--search compares gradients in one process; start it without torchrun")
    folder = out / "search"
    batches = gradient_batches(task, source, training)

    def run(shared: SharedNetwork, stage: str) -> SharedNetwork:
        """The best epoch of a short training."""
        if stage == "final":  # the training that everybody sees, from here
            return shared
        own = copy.copy(task)
        own._modules = {**task._modules, "network": shared}
        epochs = max(1, round(SHARES[stage] * chosen.epochs))
        screen.say(
            f"search, {stage}: {epochs} {'epoch' if epochs == 1 else 'epochs'} with {shared.plan.trainable:,} numbers"
        )
        recipe = dataclasses.replace(chosen, epochs=epochs)
        with screen.training(f"{task.kind}, {stage}", task.metric_name) as watch:
            train(own, source, training, validation, recipe, folder / stage, workers, watch)
        return checkpoint.load(folder / stage).task.network.to(source.device)

    found = search(
        task.network, budget, run, lambda: batches, lambda network, batch: task.training_loss(network, *batch),
        keep=task.unshared, seed=chosen.seed, folder=folder,
    )  # fmt: skip
    sizes = sorted(map(len, found.clusters), reverse=True)
    screen.say(f"search: clusters of {', '.join(map(str, sizes))} layers; {found.parted} mixing numbers parted")
    task.network = found.shared
    return task
