"""What a trained task is worth on a rig that has drifted since it was calibrated."""

from collections.abc import Iterable

import torch

from lensless.app.judge_labels import NAMES, predict
from lensless.app.judge_pictures import estimates_of
from lensless.app.setting import TEST_STREAM, Setting, prepared
from lensless.data.scenes import Scenes
from lensless.evaluate.evaluation import Line
from lensless.evaluate.figures import shown
from lensless.evaluate.metrics import accuracy, picture_scores
from lensless.tasks import PictureTask, Reconstruct, Task

FIRST_SEED = 1_000_000  # far from those of training, which begin at 0


def perturbed_lines(task: Task, setting: Setting, test: Scenes, copies: Iterable[int], strength: float) -> list[Line]:
    """Figures of a trained task on perturbed copies of its rig, measured with the calibration from before."""
    found = []
    with torch.no_grad():
        for copy in copies:
            found.append(_figures(task.eval(), setting.perturbed(FIRST_SEED + copy, strength), test))
    return [Line(f"{name}, perturbed", *_summary([figures[name] for figures in found], strength)) for name in found[0]]


def _figures(task: Task, setting: Setting, test: Scenes) -> dict[str, dict[str, float]]:
    """Name of the way -> figures on the test scenes."""
    if isinstance(task, PictureTask):
        linear = {"Wiener": task.prepare} if isinstance(task, Reconstruct) else {}
        pictures, estimates = estimates_of({"network": task, **linear}, setting, test)
        scores = {name: picture_scores(estimate, pictures) for name, estimate in estimates.items()}
        return {name: {"psnr_db": one.psnr_db, "ssim": one.ssim} for name, one in scores.items()}
    inputs, labels = prepared(task, setting, test, TEST_STREAM)
    return {NAMES[task.kind]: {"accuracy": accuracy(predict(task, inputs), labels)}}


def _summary(found: list[dict[str, float]], strength: float) -> tuple[dict[str, float], str]:
    """Mean figures, and their range in words."""
    means = {name: sum(figures[name] for figures in found) / len(found) for name in found[0]}
    main = next(iter(means))
    values = [figures[main] for figures in found]
    if len(found) == 1:
        return means, f"one rig that drifted (strength {strength:g})"
    return means, (
        f"mean of {len(found)} rigs that drifted (strength {strength:g}): {shown(main, min(values))} .. "
        f"{shown(main, max(values))}"
    )
