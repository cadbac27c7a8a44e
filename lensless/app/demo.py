"""The main job on this machine alone: simulate a rig, learn from it, and show on one page what came of it."""

import dataclasses
import pathlib

from lensless.app import pages
from lensless.app.evaluation import evaluate
from lensless.app.new_tasks import new_classify, new_reconstruct
from lensless.app.results import check_out, sharp_baseline, show, with_size
from lensless.app.rig import Rig
from lensless.app.screen import Screen
from lensless.app.setting import Setting
from lensless.app.text_file import write
from lensless.app.training import RECIPES, train
from lensless.data.scenes import load_scenes
from lensless.evaluate.evaluation import Evaluation
from lensless.train import checkpoint

# Enough to be worth looking at in under 4 minutes on 2 processors.
EPOCHS = {"reconstruct": 4, "classify": 45}


def run(
    rig: Rig,
    scenes: str,
    seed: int,
    out: pathlib.Path,
    workers: int,
    screen: Screen,
    share: float = 1.0,
    data: pathlib.Path | None = None,
    download: bool = False,
) -> dict:
    """Train to reconstruct and to classify, evaluate both, and write `report.html`; returns the facts.

    Args:
        rig: what is simulated.
        scenes: a name for `load_scenes`; they need labels.
        seed: of everything random.
        out: folder of checkpoints and page; a demo that was interrupted there goes on.
        share: of the epochs; for a quick look.
        data, download: see `load_scenes`.
    """
    check_out(out)
    with screen.working(f"making scenes ({scenes})"):
        training, validation, test = (
            load_scenes(scenes, split, seed, None, data, download) for split in ("train", "val", "test")
        )
    with screen.working(f"tracing light through {rig.id}"):
        setting = Setting.of(rig)
        sampling = rig.forward_model.sampling_error
    if sampling:
        screen.say(f"  its matrix carries a sampling error of {sampling:.1%}")
    evaluations: list[Evaluation] = []
    cards: list[dict] = []
    for kind, make in (("reconstruct", new_reconstruct), ("classify", new_classify)):
        recipe = dataclasses.replace(RECIPES[kind], epochs=max(1, round(EPOCHS[kind] * share)), seed=seed)
        task = make(setting, training, seed=seed)
        sharp = None
        with screen.training(kind, task.metric_name) as watch:
            result = train(task, setting, training, validation, recipe, out / kind, workers, watch)
        if kind == "classify":
            sharp = sharp_baseline(task, setting, training, validation, recipe, out / "sharp", workers, screen)
        found = checkpoint.load(result.folder)
        with screen.working(f"testing {kind}"):
            evaluation = evaluate(found.task.to(rig.device), setting, training, validation, test, sharp)
            evaluation = with_size(evaluation, result.folder)
        evaluations.append(evaluation)
        cards.append(found.card)
        show(evaluation, screen)
    path = out / "report.html"
    write(path, pages.demo_page(setting, evaluations, cards, scenes, seed))
    screen.say(f"\nlook at it: {path.resolve()}")
    return {
        "rig": rig.id,
        "scenes": scenes,
        "seed": seed,
        "report": str(path),
        "evaluations": [e.facts() for e in evaluations],
    }
