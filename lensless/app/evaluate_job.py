"""What `lensless evaluate` does between its options and its result."""

import dataclasses
import itertools
import pathlib
import re
import shlex
from collections.abc import Iterator

import numpy as np

from hardware.errors import ConfigurationError
from lensless.app import pages, pairs
from lensless.app.evaluation import evaluate
from lensless.app.load import setting_of
from lensless.app.results import sharp_baseline, show, with_size
from lensless.app.robustness import condition_line, conditions, perturbed_lines
from lensless.app.screen import Screen
from lensless.app.setting import AT_ONCE, Setting, batches
from lensless.app.text_file import check_place, write
from lensless.app.training import unlabelled
from lensless.data.augment import Augmentation
from lensless.data.measured_scenes import MeasuredScenes
from lensless.data.scenes import Scenes, load_scenes
from lensless.evaluate.evaluation import Evaluation, Line
from lensless.evaluate.figures import HEADS, shown
from lensless.tasks import PictureTask, Task
from lensless.train import checkpoint
from lensless.train.devices import fabric_precision
from lensless.train.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Wish:
    """How to evaluate: the options of the command, as they were given."""

    rig: str | None
    scenes: str | None
    split: str
    sharp: bool
    page: bool
    device: str
    workers: int
    data: pathlib.Path | None
    perturbed: int = 0
    strength: float = 1.0
    robustness: bool = False

    def command(self, folder: pathlib.Path) -> str:
        """What makes the page of one checkpoint again."""
        options = {
            "--scenes": self.scenes, "--split": None if self.split == "test" else self.split,
            "--perturbed": self.perturbed or None, "--strength": f"{self.strength:g}" if self.perturbed else None,
        }  # fmt: skip
        given = [f"{name} {shlex.quote(str(value))}" for name, value in options.items() if value is not None]
        given += ["--robustness"] * self.robustness + ["--no-sharp"] * (not self.sharp)
        return " ".join(["lensless evaluate", shlex.quote(str(folder)), *given])


def evaluate_all(folders: list[pathlib.Path], wish: Wish, screen: Screen) -> None:
    """Evaluate checkpoints one by one; of several of one task, give mean and range."""
    check_alike(folders)
    evaluations = [evaluate_one(folder, wish, screen) for folder in folders]
    pairs = zip(evaluations, folders, strict=True)
    facts = {"evaluations": [one.facts() | {"checkpoint": str(folder)} for one, folder in pairs]}
    if len(evaluations) > 1:
        facts["summary"] = summary(evaluations)
        heads = list(dict.fromkeys(head for figures in facts["summary"].values() for head in figures))
        rows = [
            [name, *(_spread(head, figures.get(head)) for head in heads)] for name, figures in facts["summary"].items()
        ]
        names = [HEADS[head] + " (%)" * shown(head, 0.0).endswith("%") for head in heads]
        screen.table(f"\nmean (lowest .. highest) of {len(evaluations)} checkpoints", ["", *names], rows)
    screen.result(facts)


def check_alike(folders: list[pathlib.Path]) -> None:
    """Refuse checkpoints that differ in more than their seed before any of them is evaluated, which takes long.

    Raises:
        ConfigurationError: mean and range of unlike figures say nothing.
    """
    cards = [checkpoint.load(folder).card for folder in folders]
    first, *others = map(_beside_the_seed, cards)
    for folder, other in zip(folders[1:], others, strict=True):
        differ = [name for name, value in first.items() if other[name] != value]
        if differ:
            raise ConfigurationError(
                f"{folders[0]} and {folder} differ in {', '.join(differ)}, so their mean says nothing; "
                "evaluate them one by one"
            )
    seeds: dict[int, pathlib.Path] = {}
    for folder, card in zip(folders, cards, strict=True):
        other = seeds.setdefault(card["recipe"].get("seed"), folder)
        if other is not folder:
            raise ConfigurationError(
                f"{other} and {folder} are of the same seed, so their range says nothing; evaluate one of them, or "
                "train with another --seed"
            )


def _beside_the_seed(card: dict) -> dict:
    """What of a card must be the same for a mean over seeds, by the names that people use."""
    rig = card["rig"] or {}
    return {
        "task": card["task"]["kind"],
        "network": card["task"],
        "rig": rig.get("fingerprint"),
        "rays": rig.get("rays"),
        "frames": card["frames"],
        "calibration": card.get("calibration"),
        "perturbed rigs": card.get("perturbed"),
        "scenes": {part: re.sub(r"@\d+", "", name) for part, (name, *_) in card["scenes"].items()},
        "recipe": {"shards": 1, **card["recipe"], "seed": None},  # the first cards did not say how many
        "precision": card.get("precision"),  # the first cards did not say
    }


def evaluate_one(folder: pathlib.Path, wish: Wish, screen: Screen) -> Evaluation:
    """Evaluate one checkpoint: its table on the screen and, unless unwanted, its page."""
    found, page = checkpoint.load(folder), folder / "report.html"
    if wish.page:
        check_place(page, "leave the page out with --no-page")
    setting = setting_of(found, str(folder), wish.device, wish.rig)
    recipe = recipe_of(found.card)
    training, validation, test = _scene_sets(wish, found.card, recipe.seed, folder, setting, screen)
    task, twin = found.task.to(setting.device), None
    for scenes in () if isinstance(task, PictureTask) else (training, validation, test):
        check_classes(task, scenes, folder)
    if wish.sharp and not isinstance(task, PictureTask):
        if len(training) < recipe.batch_size:
            raise ConfigurationError(
                f"scenes {training.name!r}: {len(training)} training scenes are less than one batch of "
                f"{recipe.batch_size}, too few for the same network on the sharp picture; leave it out with --no-sharp"
            )
        # One for each set of scenes and precision: an evaluation with others makes its own.
        precision = fabric_precision(recipe.precision, setting.device)
        out = folder / "sharp" / f"{training.fingerprint()[:8]}-{precision}"
        twin = sharp_baseline(task, setting, training, validation, recipe, out, wish.workers, screen)
    with screen.working(f"testing {folder}"):
        evaluation = with_size(evaluate(task, setting, training, validation, test, twin), folder)
    if wish.perturbed:
        copies = screen.track(range(wish.perturbed), "perturbed rigs", wish.perturbed)
        lines = perturbed_lines(task, setting, test, copies, wish.strength)
        evaluation = dataclasses.replace(evaluation, lines=evaluation.lines + lines)
    if wish.robustness:
        evaluation = dataclasses.replace(evaluation, conditions=_conditions(task, setting, test, screen))
    show(evaluation, screen)
    if wish.page:
        some = next(batches(test.spread(AT_ONCE), task.picture_shape, setting.device))[0]
        recorded = isinstance(test, MeasuredScenes)  # of those, what is too bright was left out before
        share = 0.0 if recorded else setting.saturated_share(some)
        if beware := pages.saturation(setting, share):
            screen.say(f"beware: {beware}")
        write(page, pages.evaluation_page(setting, evaluation, found.card, str(folder), wish.command(folder), share))
        screen.say(f"look at it: {page.resolve()}")
    return evaluation


def _conditions(task: Task, setting: Setting, test: Scenes, screen: Screen) -> tuple[Line, ...]:
    """How the task stands where something has changed, beside the scenes as they are."""
    asked = conditions(setting, test)
    if setting.rig.own_calibration is not None:
        screen.say(f"rig {setting.rig.id!r} was measured, and nobody knows how its matrix drifts: it is not drifted")
    return tuple(condition_line(task, one) for one in screen.track(asked, "robustness", len(asked)))


def check_classes(task: Task, scenes: Scenes, where: pathlib.Path) -> None:
    """Refuse scenes whose labels are not those that a classifier gives.

    Raises:
        ConfigurationError: other classes, or pictures without a label.
    """
    if scenes.classes != task.classes:
        trained, named = _told_apart(task.classes, scenes.classes)
        raise ConfigurationError(
            f"{where}: trained on {len(task.classes)} classes{trained}, and scenes {scenes.name!r} have "
            f"{len(scenes.classes)}{named}; name scenes of the same classes with --scenes"
        )
    if int(scenes.labels.min()) < 0:
        raise ConfigurationError(unlabelled(scenes))


def _told_apart(*lists: tuple[str, ...]) -> Iterator[str]:
    """A few classes of each list, from where they begin to differ."""
    pairs = itertools.zip_longest(*lists)
    first = next(at for at, pair in enumerate(pairs) if len(set(pair)) > 1)
    for classes in lists:
        some = ", ".join(classes[first : first + 5])
        yield f" ({'... ' * (first > 0)}{some}{' ...' * (first + 5 < len(classes))})" if some else ""


def summary(evaluations: list[Evaluation]) -> dict[str, dict[str, dict[str, float]]]:
    """Line by line, then condition by condition: mean, lowest and highest of every figure that there is."""
    same: dict[str, dict[str, list[float]]] = {}
    for one in evaluations:
        for line in (*one.lines, *one.conditions):
            for head, value in line.figures.items():
                if value is not None:
                    same.setdefault(line.name, {}).setdefault(head, []).append(value)
    return {name: {head: _range(values) for head, values in figures.items()} for name, figures in same.items()}


def recipe_of(card: dict) -> Recipe:
    """The recipe that a card holds."""
    augmentation = card["recipe"].get("augmentation")
    return Recipe(**{**card["recipe"], "augmentation": Augmentation(**augmentation) if augmentation else None})


def _range(values: list[float]) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "lowest": min(values), "highest": max(values)}


def _spread(name: str, found: dict[str, float] | None) -> str:
    if found is None:
        return ""
    mean, lowest, highest = (shown(name, found[key]).removesuffix(" %") for key in ("mean", "lowest", "highest"))
    return f"{mean} ({lowest} .. {highest})"


def _scene_sets(
    wish: Wish, card: dict, seed: int, where: pathlib.Path, setting: Setting, screen: Screen
) -> tuple[Scenes, Scenes, Scenes]:
    """Training, validation and test scenes; without a wish, of the set that the checkpoint was trained on."""
    recorded = None if wish.scenes is None else pairs.source_of(wish.scenes, screen)
    if recorded is None:
        return _simulated_sets(wish, wish.scenes, card, seed, where)
    for option, wished, does in (
        ("--perturbed", wish.perturbed, "simulates rigs that drifted"),
        ("--robustness", wish.robustness, "moves scenes before they are simulated"),
    ):
        if wished:
            raise ConfigurationError(
                f"{option} {does}, and {recorded.name} was recorded; evaluate its pictures, shown:PATH, or leave the "
                "option out"
            )
    pairs.check_trained_for(card, setting, recorded, str(where), screen)
    if recorded.has("train"):
        return tuple(pairs.sets(recorded, setting, ("train", "val", wish.split), screen))
    screen.say(
        f"{recorded.name} holds no training scenes: baselines are fitted on simulated frames of the checkpoint's"
    )
    (test,) = pairs.sets(recorded, setting, (wish.split,), screen)
    return *_simulated_sets(wish, None, card, seed, where)[:2], test


def _simulated_sets(
    wish: Wish, scenes: str | None, card: dict, seed: int, where: pathlib.Path
) -> tuple[Scenes, Scenes, Scenes]:
    """Those of a name, or those that the card names."""
    name = scenes or card["scenes"]["train"][0].partition("/")[0]
    if scenes is None and (kind := name.partition(":")[0]) in pairs.PLACES:
        what = "pictures" if kind == "folder" else "scenes"
        raise ConfigurationError(
            f"{where}: trained on {what} of {name}, wherever that lies now; say it with --scenes {kind}:PATH"
        )
    # Glyphs of another seed are other pictures; the checkpoint's own seed gives the scenes that it was trained on.
    training, validation, test = (
        load_scenes(name, part, seed, None, wish.data) for part in ("train", "val", wish.split)
    )
    trained_on = card["scenes"]["train"][2:] or [len(training)]  # the first cards did not count
    if scenes is None and trained_on[0] < len(training):  # baselines must not know more than the network
        training = load_scenes(name, "train", seed, trained_on[0], wish.data)
        validation = validation.spread(card["scenes"]["validation"][2])
    return training, validation, test
