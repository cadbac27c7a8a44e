"""What the commands train, evaluate and inspect do, between their options and their result."""

import dataclasses
import pathlib

import numpy as np

from hardware.errors import ConfigurationError
from lensless.app import pages
from lensless.app.evaluation import evaluate
from lensless.app.load import open_device, setting_of
from lensless.app.results import check_out, sharp_baseline, show
from lensless.app.rig import open_rig
from lensless.app.screen import Screen
from lensless.app.training import (
    RECIPES,
    Setting,
    new_after_reconstruction,
    new_classify,
    new_reconstruct,
    train,
)
from lensless.data.augment import Augmentation
from lensless.data.scenes import Scenes, load_scenes
from lensless.evaluate.evaluation import Evaluation
from lensless.evaluate.figures import HEADS, shown
from lensless.evaluate.report import write
from lensless.tasks import Reconstruct, Task
from lensless.train import checkpoint
from lensless.train.loop import Recipe

SMALLEST_SET = 200  # scenes of validation and test are scaled down with the training scenes, to no less than this


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is to be trained on: the options of the commands, as they were given."""

    rig: str
    scenes: str
    frames: int | None
    rays: int | None
    seed: int
    device: str
    count: int | None
    data: pathlib.Path | None
    download: bool


def recipe(
    kind: str, epochs: int | None, batch_size: int | None, learning_rate: float | None, seed: int, precision: str
) -> Recipe:
    """The recipe of a task, with what was asked for put in its place."""
    asked = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    given = {name: value for name, value in asked.items() if value is not None}
    return dataclasses.replace(RECIPES[kind], seed=seed, precision=precision, **given)


def train_job(
    kind: str, wish: Wish, chosen: Recipe, out: pathlib.Path | None, workers: int, screen: Screen,
    after: pathlib.Path | None = None,
) -> None:  # fmt: skip
    """Train one task and say where it lies and how good it is on validation scenes."""
    out = (
        out
        or pathlib.Path("runs")
        / f"{kind}-{pathlib.Path(wish.rig).stem}-{wish.scenes.replace(':', '-').replace('/', '-')}-{wish.seed}"
    )
    check_out(out)
    front = None
    if after is None:
        with screen.working(f"forward model and calibration of {wish.rig}"):
            setting = Setting.of(open_rig(wish.rig, str(open_device(wish.device)), wish.rays), wish.frames)
    else:
        found = checkpoint.load(after)
        if not isinstance(found.task, Reconstruct):
            raise ConfigurationError(
                f"--after {after}: a {found.task.kind!r} checkpoint; expected one of `lensless train reconstruct`"
            )
        setting = setting_of(found, str(after), wish.device, wish.rig)
        front = found.task.to(setting.device)
    training = load_scenes(wish.scenes, "train", wish.seed, wish.count, wish.data, wish.download)
    validation = load_scenes(wish.scenes, "val", wish.seed, None, wish.data, wish.download)
    task = new_task(kind, setting, training, front)
    screen.say(
        f"{kind}: {task.numbers().trainable:,} trainable parameters, {len(training):,} scenes ({training.name}), into {out}"
    )
    with screen.training(kind, task.metric_name) as watch:
        result = train(task, setting, training, validation, chosen, out, workers, watch)
    best = result.best
    screen.say(
        f"best epoch {best.epoch + 1} of {len(result.history)}: {HEADS[task.metric_name]} "
        f"{shown(task.metric_name, best.validation)} on {len(validation):,} validation scenes; {result.history[-1].seconds:.0f} s. "
        f"Next: lensless evaluate {out}"
    )
    screen.result(
        {
            "checkpoint": str(out), "task": kind, "metric": task.metric_name, "validation": best.validation,
            "epoch": best.epoch + 1, "seconds": result.history[-1].seconds, "numbers": dataclasses.asdict(task.numbers()),
        }
    )  # fmt: skip


def new_task(kind: str, setting: Setting, training: Scenes, front: Reconstruct | None) -> Task:
    match kind:
        case "reconstruct":
            return new_reconstruct(setting, training)
        case "classify":
            return new_classify(setting, training)
        case _:
            return new_after_reconstruction(front, training)


def evaluate_job(
    folders: list[pathlib.Path], rig: str | None, scenes: str | None, split: str, sharp: bool, page: bool, device: str,
    workers: int, data: pathlib.Path | None, screen: Screen,
) -> None:  # fmt: skip
    """Evaluate checkpoints one by one; of several, mean and range."""
    evaluations = []
    for folder in folders:
        found = checkpoint.load(folder)
        setting = setting_of(found, str(folder), device, rig)
        chosen = Recipe(**_recipe_facts(found.card["recipe"]))
        name = scenes or found.card["scenes"]["train"][0].split("/")[0]
        training, validation, test = _scene_sets(name, split, chosen.seed, data)
        task = found.task.to(setting.device)
        twin = None
        if sharp and not isinstance(task, Reconstruct):
            twin = sharp_baseline(task, setting, training, validation, chosen, folder / "sharp", workers, screen)
        with screen.working(f"testing {folder}"):
            evaluation = evaluate(task, setting, training, validation, test, twin)
        show(evaluation, screen)
        evaluations.append(evaluation)
        if page:
            path = folder / "report.html"
            write(path, pages.evaluation_page(setting, evaluation, found.card["history"], str(folder), chosen.seed))
            screen.say(f"look at it: {path.resolve()}")
    facts = {
        "evaluations": [
            one.facts() | {"checkpoint": str(folder)} for one, folder in zip(evaluations, folders, strict=True)
        ]
    }
    if len(evaluations) > 1:
        facts["summary"] = summary(evaluations)
        rows = [[name, *(spread for spread in figures.values())] for name, figures in facts["summary"].items()]
        screen.table(
            f"\nmean (lowest .. highest) of {len(evaluations)} checkpoints",
            ["", *next(iter(facts["summary"].values()))],
            rows,
        )
    screen.result(facts)


def summary(evaluations: list[Evaluation]) -> dict[str, dict[str, str]]:
    """Line by line, mean and range of every figure, as text.

    Raises:
        ConfigurationError: evaluations of different tasks.
    """
    if len({one.kind for one in evaluations}) > 1:
        raise ConfigurationError(
            f"checkpoints of different tasks: {', '.join(one.kind for one in evaluations)}; evaluate them one by one"
        )
    table: dict[str, dict[str, str]] = {}
    for line in evaluations[0].lines:
        same = [other for one in evaluations for other in one.lines if other.name == line.name]
        table[line.name] = {
            HEADS[name]: _spread(name, [other.figures[name] for other in same]) for name in line.figures
        }
    heads = list(dict.fromkeys(head for figures in table.values() for head in figures))
    return {name: {head: figures.get(head, "") for head in heads} for name, figures in table.items()}


def _spread(name: str, values: list[float]) -> str:
    return f"{shown(name, float(np.mean(values)))} ({shown(name, min(values))} .. {shown(name, max(values))})"


def _scene_sets(name: str, split: str, seed: int, data: pathlib.Path | None) -> tuple[Scenes, Scenes, Scenes]:
    name = name.partition("@")[0]
    return tuple(load_scenes(name, part, seed, None, data) for part in ("train", "val", split))


def _recipe_facts(facts: dict) -> dict:
    augmentation = facts.get("augmentation")
    return {**facts, "augmentation": Augmentation(**augmentation) if augmentation else None}


def inspect_job(
    rig: str, frames: int | None, rays: int | None, page: pathlib.Path | None, device: str, screen: Screen
) -> None:
    """Singular values and modes above noise of a rig."""
    opened = open_rig(rig, str(open_device(device)), rays)
    with screen.working(f"forward model of {rig}"):
        setting = Setting.of(opened, frames)
        model = opened.forward_model
        found = pages.inspect(setting)
    values = model.singular_values().cpu().numpy()
    spec = opened.spec
    rows = [
        ["scene", f"{spec.scene.shape[0]} x {spec.scene.shape[1]} pixels, {spec.scene.distance_mm:g} mm away"],
        [
            "sensor",
            f"{spec.sensor.shape[0]} x {spec.sensor.shape[1]} pixels, {spec.sensor.bit_depth} bits, {spec.sensor.serial}",
        ],
        [
            "sampling error",
            f"{model.sampling_error:.1%} of the matrix (rays)" if model.sampling_error else "none: closed form",
        ],
        *[
            [f"singular value {k}", f"{values[k - 1] / values[0]:.2e} of the largest"]
            for k in (2, 10, 50, 128, len(values))
            if k <= len(values)
        ],
        ["modes above noise, 1 frame", f"{found['modes_1_frame']} of {found['unknowns']:,}"],
    ]
    if setting.frames > 1:
        rows.append([f"modes above noise, {setting.frames} frames", f"{found['modes']} of {found['unknowns']:,}"])
    screen.table(f"\n{spec.id}: what it can see", ["", ""], rows)
    screen.say(
        "a mode counts where a scene of independent pixels (standard deviation 0.3 of white) exceeds the noise at half light"
    )
    if page is not None:
        write(page, pages.inspection_page(setting))
        screen.say(f"look at it: {page.resolve()}")
    screen.result(
        {
            "rig": spec.id, "fingerprint": spec.fingerprint, "frames": setting.frames, "sampling_error": model.sampling_error,
            "unknowns": found["unknowns"], "modes_1_frame": found["modes_1_frame"], "modes": found["modes"],
            "singular_values": values.tolist(), "signal_to_noise_1_frame": found["signal_to_noise"].tolist(),
        }
    )  # fmt: skip
