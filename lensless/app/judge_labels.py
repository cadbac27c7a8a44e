"""Labels beside what less, or more, than the camera could give."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lensless.app.setting import (
    TEST_STREAM,
    VALIDATION_STREAM,
    Setting,
    SharpPictures,
    batches,
    example_frames,
    measured,
    prepared,
    statistics_of,
)
from lensless.data.measured_scenes import MeasuredScenes
from lensless.data.scenes import Scenes
from lensless.evaluate.baselines import RidgeClassifier, TotalLight, chance
from lensless.evaluate.evaluation import Evaluation, Examples, Line, drawn
from lensless.evaluate.labels import label_figures
from lensless.evaluate.metrics import accuracy, picture_scores
from lensless.recon.wiener import wiener
from lensless.tasks import Classify, ClassifyReconstruction, Reconstruct, Task

FIT_STREAM = 103  # noise of the training frames that baselines are fitted on
NAMES = {"classify": "without reconstruction", "classify-reconstruction": "after reconstruction"}


def judge(
    task: Classify | ClassifyReconstruction,
    setting: Setting,
    training: Scenes,
    validation: Scenes,
    test: Scenes,
    sharp: Task | None,
) -> Evaluation:
    """Accuracy of a trained classifier on test scenes, beside its baselines; see `evaluation.evaluate`."""
    inputs, labels = prepared(task, setting, test, TEST_STREAM)
    found = label_figures(logits_of(task, inputs), labels, test.classes, float(task.temperature))
    trainable = task.numbers().trainable
    lines = [Line(NAMES[task.kind], {"accuracy": found.top[1]}, f"{trainable:,} trainable parameters")]
    if sharp is not None:
        lines.append(_sharp_picture(task, sharp, setting, test))
    lines.append(_linear_rule(task, setting, training, validation, test))
    lines.append(_total_light(setting, training, test))
    lines.append(Line("chance", {"accuracy": chance(test.labels)}, "always the most frequent class"))
    if isinstance(task, Classify):
        picture_of = _best_linear_picture(task, setting, training)
        lines.append(_what_the_numbers_show(task, picture_of, test, inputs))
    else:
        picture_of = None
    examples = _examples(task, setting, test, picture_of)
    return Evaluation(
        task.kind, task.metric_name, test.name, len(test), lines, task.numbers(), examples, task.resident_bytes(),
        found,
    )  # fmt: skip


def _examples(task: Task, setting: Setting, test: Scenes, picture_of: Callable | None) -> Examples:
    """A few whole frames with what became of them."""
    pictures, labels, y = example_frames(setting, test)
    inputs = task.prepare(y)
    shown = {"scene": pictures, "raw frame": y}
    if picture_of is None:
        shown["reconstruction"] = inputs
    else:
        shown["best picture\nfrom its numbers"] = picture_of(inputs)
    names = {"truth": test.names(labels), "label": test.names(predict(task, inputs))}
    return Examples({name: drawn(tensor) for name, tensor in shown.items()}, names)


def predict(task: Task, inputs: Tensor, at_once: int = 500) -> Tensor:
    """The likeliest class of each prepared input, (N,)."""
    return logits_of(task, inputs, at_once).argmax(1)


def logits_of(task: Task, inputs: Tensor, at_once: int = 500) -> Tensor:
    """What the network gives for prepared inputs, (N, classes); the temperature is not in it."""
    return torch.cat([task.network(piece).float() for piece in inputs.split(at_once)])


def _sharp_picture(task: Task, sharp: Task, setting: Setting, test: Scenes) -> Line:
    inputs, labels = prepared(sharp.eval(), SharpPictures(setting.device), test, TEST_STREAM)
    which = f"{len(task.projection.matrix)} principal components of the" if isinstance(task, Classify) else "the"
    figures = {"accuracy": accuracy(predict(sharp, inputs), labels)}
    return Line("same network on the sharp picture", figures, f"{which} noiseless picture, no camera in between")


def _linear_rule(task: Task, setting: Setting, training: Scenes, validation: Scenes, test: Scenes) -> Line:
    """Least squares on what the network sees; after a reconstruction, on Wiener's estimate: linear all the way."""
    seen = task if isinstance(task, Classify) else task.reconstruct

    def features(scenes: Scenes, seed: int) -> tuple[Tensor, Tensor]:
        return prepared(seen, setting, scenes, seed)[0].flatten(1), scenes.labels.to(setting.device)

    known, classes = features(training, FIT_STREAM)
    ridge = RidgeClassifier(known, classes, features(validation, VALIDATION_STREAM))
    inputs, labels = features(test, TEST_STREAM)
    what = "Wiener's estimate" if isinstance(seen, Reconstruct) else f"the same {known.shape[1]:,} numbers"
    note = f"least squares on {what}, {len(training):,} training scenes, ridge weight {ridge.weight:.0e}"
    return Line("linear rule", {"accuracy": accuracy(ridge(inputs), labels)}, note)


def _total_light(setting: Setting, training: Scenes, test: Scenes) -> Line:
    """One number of each frame, the sum of all its pixels."""
    cells = math.prod(setting.rig.forward_model.sensor_shape)
    mean = torch.full((1, cells), 1 / cells, device=setting.device)
    shape = setting.rig.forward_model.picture_shape

    recorded = isinstance(training, MeasuredScenes) and isinstance(test, MeasuredScenes)
    simulator = None if recorded else setting.projected(mean, training)

    def totals(scenes: Scenes, seed: int) -> Tensor:
        if isinstance(scenes, MeasuredScenes):
            return torch.cat([y.mean((1, 2, 3)) for _, _, y in measured(setting, scenes, shape, seed)]).cpu()
        generator = torch.Generator(setting.device).manual_seed(seed)
        return torch.cat([simulator(some, generator)[:, 0] for some, _ in batches(scenes, shape, setting.device)]).cpu()

    rule = TotalLight(totals(training, FIT_STREAM), training.labels)
    figures = {"accuracy": accuracy(rule(totals(test, TEST_STREAM)), test.labels)}
    return Line("total light only", figures, "the sum of all pixels of the frame, and nothing else")


def _best_linear_picture(task: Classify, setting: Setting, training: Scenes) -> Callable[[Tensor], Tensor]:
    """The best linear estimate of the picture from the sums that the classifier sees: (B, count) -> (B, C, H, W)."""
    statistics = statistics_of(training, task.picture_shape, setting.device)
    dark = setting.rig.spec.scene.dark_level
    reads, projection = task.reads, task.projection.matrix.double()
    response = projection @ setting.rig.forward_model.rows(reads).double()
    variance = projection.square() @ setting.noise_variance(statistics).flatten()[reads].double()
    estimate = wiener((1 - dark) * response, variance, statistics)
    black = dark * response.sum(1).float()
    return lambda sums: estimate(sums - black).reshape(-1, *task.picture_shape).clamp(0, 1)


def _what_the_numbers_show(task: Classify, picture_of: Callable, test: Scenes, sums: Tensor) -> Line:
    """How good a picture somebody could make of the numbers that leave the first step."""
    pictures = test.fit(task.picture_shape).to(sums.device).float() / 255
    scores = picture_scores(picture_of(sums), pictures)
    note = f"the best linear picture from those {sums.shape[1]} numbers; a network would make a better one"
    return Line("what the numbers would show", {"psnr_db": scores.psnr_db, "ssim": scores.ssim}, note)
