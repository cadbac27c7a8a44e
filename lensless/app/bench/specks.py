"""`lensless bench specks`: what carries the ten digits on a bare sensor? Rigs that differ in one fact at a time.

Every cell of the table is a training of its own, and is kept: a run that was interrupted goes on where it stopped.
"""

import dataclasses
import json
import pathlib

import torch

from lensless.app.bench.kept import read_kept
from lensless.app.bench.specks_picture import draw
from lensless.app.bench.specks_rigs import CELLS, RIG, Cell
from lensless.app.evaluation import evaluate
from lensless.app.new_tasks import new_classify
from lensless.app.results import check_out
from lensless.app.rig import Rig
from lensless.app.screen import Screen
from lensless.app.setting import Setting
from lensless.app.text_file import write
from lensless.app.training import RECIPES, train
from lensless.data.scenes import Scenes, load_scenes
from lensless.optics.analysis import signal_to_noise
from lensless.train import checkpoint

EPOCHS = 20


def run(screen: Screen, device: str, out: pathlib.Path, scenes: str, data: pathlib.Path | None) -> dict:
    """Train and test every cell that is not there yet; the table, and the figures by cell."""
    check_out(out)
    sets = [load_scenes(scenes, split, 0, None, data) for split in ("train", "val", "test")]
    found = {}
    for number, cell in enumerate(CELLS, 1):
        path = out / f"{cell.name}.json"
        made_of = {"scenes": scenes, "epochs": EPOCHS, "rig": cell.spec().fingerprint}
        if not path.exists():
            screen.say(f"\n{number} of {len(CELLS)}: {cell.name}")
            figures = _measure(cell, screen, device, out / cell.name, sets)
            write(path, json.dumps(figures | {"made_of": made_of}, indent=2) + "\n")
        found[cell.name] = read_kept(path, {"made_of": made_of})
    heads = ["", "accuracy", "total light only", "linear rule", "modes above noise"]
    keys = ("accuracy", "total light only", "linear rule")
    rows = [
        [name, *(f"{figures[key] * 100:.1f} %" for key in keys), str(figures["modes"])]
        for name, figures in found.items()
    ]
    screen.table(f"\n{scenes}: labels without reconstruction, {EPOCHS} epochs, one seed", heads, rows)
    picture = out / "specks.png"
    draw(sets[2].fit((28, 28))[1, 0].float() / 255, device, picture)
    screen.say(f"look at it: {picture.resolve()}")
    return {"scenes": scenes, "epochs": EPOCHS, "rig": RIG, "cells": found}


def _measure(
    cell: Cell, screen: Screen, device: str, folder: pathlib.Path, sets: list[Scenes]
) -> dict[str, float | int]:
    training, validation, test = sets
    setting = Setting.of(Rig(cell.spec(), device), cell.frames)
    recipe = dataclasses.replace(RECIPES["classify"], epochs=EPOCHS)
    task = new_classify(setting, training, seed=0)
    with screen.training(cell.name, task.metric_name) as watch:
        train(task, setting, training, validation, recipe, folder, 0, watch)
    evaluation = evaluate(checkpoint.load(folder).task.to(setting.device), setting, training, validation, test)
    lines = {line.name: line.figures.get("accuracy") for line in evaluation.lines}
    model = setting.rig.forward_model
    half_lit = model.A(torch.full((1, 1, *model.scene_shape), 0.5, device=setting.device))[0, 0]
    ratios = signal_to_noise(model, setting.sensor.variance(half_lit, cell.frames))
    return {
        "accuracy": evaluation.figure,
        "total light only": lines["total light only"],
        "linear rule": lines["linear rule"],
        "modes": int((ratios > 1).sum()),
        **dataclasses.asdict(cell),
    }
