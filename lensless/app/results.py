"""What several commands do with a trained task: its baseline on sharp pictures, its table, its folder."""

import dataclasses
import pathlib

from hardware.errors import StorageError
from lensless.app import label_page, robustness_page
from lensless.app.new_tasks import sharp_twin
from lensless.app.screen import Screen
from lensless.app.setting import Setting, SharpPictures
from lensless.app.training import train
from lensless.data.scenes import Scenes
from lensless.evaluate.evaluation import Evaluation
from lensless.evaluate.figures import HEADS, shown
from lensless.tasks import Task
from lensless.train import checkpoint
from lensless.train.recipe import Recipe


def sharp_baseline(
    task: Task,
    setting: Setting,
    training: Scenes,
    validation: Scenes,
    recipe: Recipe,
    out: pathlib.Path,
    workers: int,
    screen: Screen,
) -> Task:
    """The same network, trained on the sharp picture; its best epoch."""
    twin = sharp_twin(task, training, setting.device, seed=recipe.seed)
    with screen.training("the same network on the sharp picture", twin.metric_name) as watch:
        train(twin, SharpPictures(setting.device), training, validation, recipe, out, workers, watch)
    return checkpoint.load(out).task.to(setting.device)


def with_size(evaluation: Evaluation, folder: pathlib.Path) -> Evaluation:
    """The evaluation, with the bytes that its checkpoint takes on disk."""
    files_of_it = (folder / checkpoint.WEIGHTS, folder / checkpoint.CALIBRATION)
    return dataclasses.replace(evaluation, stored_bytes=sum(file.stat().st_size for file in files_of_it))


def show(evaluation: Evaluation, screen: Screen) -> None:
    """The table of figures on the screen."""
    names = list(dict.fromkeys(name for line in evaluation.lines for name in line.figures))
    rows = [
        [line.name, *(shown(name, line.figures.get(name)) for name in names), line.note] for line in evaluation.lines
    ]
    title = f"\n{evaluation.kind}: {evaluation.count:,} scenes ({evaluation.scenes})"
    screen.table(title, ["", *(HEADS[name] for name in names), ""], rows)
    if evaluation.labels is not None:
        label_page.show(evaluation.labels, screen)
    if evaluation.conditions:
        screen.table("\nrobustness", *robustness_page.table(evaluation.conditions))


def check_out(out: pathlib.Path) -> None:
    """Refuse a place that is a file, or lies in one, before an hour of work goes there."""
    there = next((place for place in (out, *out.absolute().parents) if place.exists()), out)
    if there.exists() and not there.is_dir():
        raise StorageError(f"--out {out}: {there} is a file; expected a folder, or a name that is free")
