"""A contact sheet of what `lensless bench tasks` has trained: scene, frame, Wiener, network, error of each picture."""

import pathlib

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure

from hardware.errors import StorageError
from lensless.app.load import setting_of
from lensless.app.new_tasks import new_reconstruct
from lensless.app.setting import Setting, example_frames
from lensless.data.scenes import Scenes, load_scenes
from lensless.evaluate.drawing import STYLE
from lensless.evaluate.evaluation import drawn
from lensless.tasks import PictureTask, Reconstruct, Task
from lensless.train import checkpoint

EXAMPLES = 2  # of each cell
_COLUMNS = ("scene", "raw frame", "Wiener", "network", "|error|, 4 times")


def write_sheet(folders: dict[str, pathlib.Path], path: pathlib.Path, data: pathlib.Path | None) -> bool:
    """Draw the examples of each trained reconstruction, a row each; whether there is any.

    Args:
        folders: of the checkpoints, by the name of their cell.
        path: of the sheet, a PNG.

    Raises:
        StorageError: it cannot be written.
    """
    rows = []
    for name, folder in folders.items():
        found = checkpoint.load(folder)
        if isinstance(found.task, PictureTask):
            rows += _rows(name, found, str(folder), data)
    if not rows:
        return False
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.5 * len(_COLUMNS) + 1.6, 1.42 * len(rows) + 0.4), layout="constrained", dpi=150)
        grid = figure.subplots(len(rows), len(_COLUMNS), squeeze=False)
        for axes, (name, pictures) in zip(grid, rows, strict=True):
            axes[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
            for one, picture in zip(axes, pictures, strict=True):
                one.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
                one.set(xticks=[], yticks=[])
                one.spines[:].set_visible(False)
        for one, head in zip(grid[0], _COLUMNS, strict=True):
            one.set_title(head, fontsize=10)
        try:
            figure.savefig(path)
        except OSError as error:
            raise StorageError(f"cannot write {path}: {error}; name another folder with --out") from error
    return True


@torch.no_grad()
def _rows(name: str, found: checkpoint.Checkpoint, where: str, data: pathlib.Path | None) -> list[tuple[str, list]]:
    setting, task = setting_of(found, where), found.task
    known = found.card["scenes"]["train"][0].partition("/")[0]
    test = load_scenes(known, "test", 0, None, data).spread(EXAMPLES)
    pictures, _, y = example_frames(setting, test)
    linear, network = _wiener(task, setting, known, data)(y).clamp(0, 1), task(y).clamp(0, 1)
    shown = [drawn(each).numpy() for each in (pictures, linear, network, (4 * (network - pictures).abs()).clamp(0, 1))]
    rows = []
    for at in range(len(pictures)):
        scene, wiener, made, error = (each[at] for each in shown)
        rows.append((name if at == 0 else "", [scene, _stretched(y[at, 0].numpy()), wiener, made, error]))
    return rows


def _wiener(task: Task, setting: Setting, scenes: str, data: pathlib.Path | None):
    if isinstance(task, Reconstruct):
        return task.prepare
    training: Scenes = load_scenes(scenes, "train", 0, None, data)
    return new_reconstruct(setting, training, 1).prepare


def _stretched(frame: np.ndarray) -> np.ndarray:
    """A raw frame between its own darkest and brightest pixel."""
    low, high = np.percentile(frame, [0.5, 99.5])
    return np.clip((frame - low) / max(high - low, 1e-9), 0, 1)
