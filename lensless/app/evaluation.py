"""Test a trained task beside its baselines. The test scenes are looked at here and nowhere else."""

import torch

from lensless.app import judge_labels, judge_pictures
from lensless.app.setting import Setting
from lensless.data.scenes import Scenes
from lensless.evaluate.evaluation import Evaluation
from lensless.tasks import PictureTask, Task

FITTED_SCENES = 20_000  # training scenes that the baselines are fitted on


def evaluate(
    task: Task, setting: Setting, training: Scenes, validation: Scenes, test: Scenes, sharp: Task | None = None
) -> Evaluation:
    """Figures of a trained task on test scenes, beside its baselines, which are fitted on training scenes.

    Args:
        task: on the device of the rig.
        setting: rig, calibration and frames per measurement.
        training, validation, test: scenes of one set.
        sharp: the same network, trained on the sharp pictures (see `new_tasks.sharp_twin`); None leaves its line out.
    """
    task = task.eval()
    training = training.spread(FITTED_SCENES)
    with torch.no_grad():
        if isinstance(task, PictureTask):
            return judge_pictures.judge(task, setting, training, test)
        return judge_labels.judge(task, setting, training, validation, test, sharp)
