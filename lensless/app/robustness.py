"""What a trained task is worth where something has changed since its training: the rig, the light, the scenes."""

import dataclasses
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from lensless.app.judge_labels import NAMES, logits_of, predict
from lensless.app.judge_pictures import estimates_of
from lensless.app.setting import AT_ONCE, TEST_STREAM, Setting, batches, prepared
from lensless.data.augment import moved
from lensless.data.scenes import Scenes
from lensless.evaluate.evaluation import Line
from lensless.evaluate.figures import SURE, shown
from lensless.evaluate.metrics import accuracy, picture_scores
from lensless.tasks import PictureTask, Reconstruct, Task

FIRST_SEED = 1_000_000  # far from those of training, which begin at 0
SHIFTS_PX, TURNS_DEG, LIGHTS, STRENGTHS = (1, 2, 4), (5, 10, 20), (0.5, 0.8, 1.2), (0.25, 0.5)
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1))  # right, left, down, up
COPIES = 4  # of the rig, for each strength of drift
NEAR_SATURATION = 0.01  # share of the frames from which it is said

Figures = dict[str, float]
Way = tuple[Setting, Scenes]


@dataclasses.dataclass(frozen=True)
class Condition:
    """Something that changed, in a few ways of the same size: what is measured, and the scenes that are shown."""

    name: str
    ways: Iterable[Way]
    note: str = ""


def perturbed_lines(task: Task, setting: Setting, test: Scenes, copies: Iterable[int], strength: float) -> list[Line]:
    """Figures of a trained task on perturbed copies of its rig, measured with the calibration from before."""
    found = []
    with torch.no_grad():
        for copy in copies:
            found.append(_figures(task.eval(), setting.perturbed(FIRST_SEED + copy, strength), test))
    return [Line(f"{name}, perturbed", *_summary([figures[name] for figures in found], strength)) for name in found[0]]


def conditions(setting: Setting, test: Scenes) -> list[Condition]:
    """Everything that `condition_line` is asked of: scenes as they are, shifted, turned, in another light, and seen by
    rigs that drifted. What is shown is made when it is looked at.

    A measured rig is not drifted: nobody knows how its matrix would.
    """
    fitted = test.fit(setting.rig.spec.scene.picture_shape)
    found = [Condition("as they are", [(setting, test)])]
    for px in SHIFTS_PX:
        moves = [{"right_px": px * x, "down_px": px * y} for x, y in DIRECTIONS]
        found.append(Condition(f"shift {px} px", _moved(setting, test, fitted, moves)))
    for degrees in TURNS_DEG:
        moves = [{"turn_deg": degrees}, {"turn_deg": -degrees}]
        found.append(Condition(f"turn {degrees}°", _moved(setting, test, fitted, moves)))
    for light in LIGHTS:
        lit = dataclasses.replace(setting, light=light)
        found.append(Condition(f"light x {light:g}", [(lit, test)], _saturation(lit, test)))
    for strength in STRENGTHS if setting.rig.own_calibration is None else ():
        found.append(Condition(f"drift {strength:g}", _drifted(setting, test, strength)))
    return found


def condition_line(task: Task, condition: Condition) -> Line:
    """Figures of a trained task in a condition: mean over its ways, and their range in words.

    Of labels, also the share that is at least `SURE` certain, and how many of these are right.
    """
    with torch.no_grad():
        found = [_figures_and_sure(task.eval(), *way) for way in condition.ways]
    mean = _mean(found)
    if "sure" in mean:
        mean["right_if_sure"] = mean["right_if_sure"] / mean["sure"] if mean["sure"] else None
    notes = [f"{len(found)} ways: {_range(found)}"] * (len(found) > 1) + [condition.note] * bool(condition.note)
    return Line(condition.name, mean, "; ".join(notes))


def _moved(setting: Setting, test: Scenes, fitted: Tensor, moves: list[dict[str, float]]) -> Iterator[Way]:
    for move in moves:
        yield setting, dataclasses.replace(test, pictures=moved(fitted, **move))


def _drifted(setting: Setting, test: Scenes, strength: float) -> Iterator[Way]:
    for copy in range(COPIES):
        yield setting.perturbed(FIRST_SEED + copy, strength), test


def _saturation(setting: Setting, test: Scenes) -> str:
    """How many frames lose their brightest pixels, in words; nothing where they are hardly any."""
    some = next(batches(test.spread(AT_ONCE), setting.rig.spec.scene.picture_shape, setting.device))[0]
    share = setting.saturated_share(some)
    return f"{share:.1%} of the frames come near saturation" if share > NEAR_SATURATION else ""


def _figures(task: Task, setting: Setting, test: Scenes) -> dict[str, Figures]:
    """Name of the way -> figures on the test scenes."""
    if isinstance(task, PictureTask):
        linear = {"Wiener": task.prepare} if isinstance(task, Reconstruct) else {}
        pictures, estimates = estimates_of({"network": task, **linear}, setting, test)
        scores = {name: picture_scores(_brought_back(one, setting), pictures) for name, one in estimates.items()}
        return {name: {"psnr_db": one.psnr_db, "ssim": one.ssim} for name, one in scores.items()}
    inputs, labels = prepared(task, setting, test, TEST_STREAM)
    return {NAMES[task.kind]: {"accuracy": accuracy(predict(task, inputs), labels)}}


def _figures_and_sure(task: Task, setting: Setting, test: Scenes) -> Figures:
    """Figures of the task itself; of labels, also the shares of scenes that are sure, and sure and right."""
    if isinstance(task, Reconstruct):
        return _figures(task, setting, test)["network"]
    inputs, labels = prepared(task, setting, test, TEST_STREAM)
    probability, answer = (logits_of(task, inputs) / task.temperature).softmax(1).max(1)
    right, sure = answer == labels, probability >= SURE
    shares = {"accuracy": right, "sure": sure, "right_if_sure": right & sure}
    return {name: float(share.double().mean()) for name, share in shares.items()}


def _brought_back(estimates: Tensor, setting: Setting) -> Tensor:
    """Pictures of a display of another brightness at the brightness of the scenes: a dim one is no better for it."""
    if setting.light == 1:
        return estimates
    dark = setting.rig.spec.scene.dark_level
    return ((dark + (1 - dark) * estimates) / setting.light - dark) / (1 - dark)


def _summary(found: list[Figures], strength: float) -> tuple[Figures, str]:
    """Mean figures, and their range in words."""
    if len(found) == 1:
        return _mean(found), f"one rig that drifted (strength {strength:g})"
    return _mean(found), f"mean of {len(found)} rigs that drifted (strength {strength:g}): {_range(found)}"


def _mean(found: list[Figures]) -> Figures:
    return {name: sum(figures[name] for figures in found) / len(found) for name in found[0]}


def _range(found: list[Figures]) -> str:
    """Lowest and highest of the main figure."""
    main = next(iter(found[0]))
    values = [figures[main] for figures in found]
    return f"{shown(main, min(values))} .. {shown(main, max(values))}"
