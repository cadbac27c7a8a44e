"""The pages that commands write: which sections a report has, and what they say."""

import dataclasses
import math
import platform
from collections.abc import Iterable

import torch
from torch import Tensor

from lensless.app import label_page, robustness_page
from lensless.app.rig_file import shipped_rigs
from lensless.app.setting import Setting
from lensless.app.version import code_version
from lensless.evaluate import drawing, label_drawing, report
from lensless.evaluate.evaluation import Evaluation
from lensless.optics.analysis import SCENE_RMS, information, modes_above_sampling, roots

TITLES = {
    "reconstruct": "A picture from the frame",
    "reconstruct-learned": "A picture from the frame, by a learned first layer",
    "reconstruct-cycle": "A picture from the frame, by a self-consistent network",
    "classify": "A label without a picture",
    "classify-reconstruction": "A label from the reconstructed picture",
}
TEXTS = {
    "reconstruct": (
        "Wiener's filter, the best linear estimate, undoes what it can; a small network corrects the rest. "
        "Test scenes were seen by nothing that was trained or fitted."
    ),
    "reconstruct-learned": (
        "A learned matrix of low rank makes a first picture of the whole frame; a small network corrects it. Test "
        "scenes were seen by nothing that was trained or fitted."
    ),
    "reconstruct-cycle": (
        "A network to pictures and one back to frames learned to undo each other. They know nothing of the physics. "
        "Test scenes were seen by nothing that was trained or fitted."
    ),
    "classify": (
        "A fixed set of at most 128 sums of the raw frame enters a small network. No picture is formed on the way: the "
        "line 'what the numbers would show' says how good a picture the best linear estimate would make of them; a "
        "network would do better."
    ),
    "classify-reconstruction": "The picture that the reconstruction gives enters a small convolutional network.",
}
STEPS = ("the scene", "the raw frame", "reconstructed", "label, read straight from the frame")
SATURATED_SHARE = 0.01  # of the test frames; more of them, and the page warns
FRAMES = (1, 10, 100)  # for which modes are counted, beside the rig's own number


@dataclasses.dataclass(frozen=True)
class Seen:
    """Modes of a rig, largest first, float64.

    `signal_to_noise` is of one frame; `modes` counts those above the noise for each number of averaged frames.
    `singular_values` may be None; `above_sampling` of them are larger than the largest of `sampling_spectrum`.
    """

    unknowns: int
    signal_to_noise: Tensor
    modes: dict[int, int]
    singular_values: Tensor | None
    sampling_spectrum: Tensor | None
    above_sampling: int

    def counted(self, frames: int) -> int:
        """Modes above the noise that are no sampling error either."""
        return min(self.modes[frames], self.above_sampling)


def demo_page(setting: Setting, evaluations: list[Evaluation], cards: list[dict], scenes: str, seed: int) -> str:
    """The page of the demo."""
    pictures, labels = evaluations
    example, caption = _clearest(labels)
    top = report.flow(
        pictures.examples.pictures["scene"][example].numpy(),
        pictures.examples.pictures["raw frame"][example].numpy(),
        pictures.examples.pictures["network"][example].numpy(),
        labels.examples.labels["label"][example],
        STEPS,
    )
    top += f"<p>{caption}</p>"
    sections = [top, *(task_section(one, card["history"]) for one, card in zip(evaluations, cards, strict=True))]
    return report.page(
        "What a camera without optics sees",
        f"Simulated rig {setting.rig.id}: what reaches its sensor looks like nothing, and holds a picture and a label.",
        [*sections, spectrum_section(setting), made_from(setting, cards, scenes, {"seed": str(seed)})],
    )


def evaluation_page(
    setting: Setting, evaluation: Evaluation, card: dict, where: str, command: str, saturated: float
) -> str:
    """The page of one checkpoint, made by `command`; of its frames, the share `saturated` came near saturation."""
    lead = f"Checkpoint {where}, rig {setting.rig.id}, {evaluation.count:,} scenes ({evaluation.scenes})."
    parts = [report.warning(saturation(setting, saturated)), task_section(evaluation, card["history"])]
    parts += robustness_page.section(evaluation.conditions)
    parts += [spectrum_section(setting), made_from(setting, [card], evaluation.scenes, {"page made by": command})]
    return report.page(TITLES[evaluation.kind], lead, parts)


def saturation(setting: Setting, share: float) -> str:
    """What to do about frames that saturate, in words; nothing where they are hardly any."""
    if share <= SATURATED_SHARE:
        return ""
    spec = setting.rig.spec
    short = f"{spec.id}-short"
    shipped = f", as {short} does" if short in shipped_rigs() else ""
    return (
        f"{share:.1%} of the test frames come near the saturation of the sensor: their brightest pixels are lost, and "
        "figures in closed form, which know no saturation, do not hold for them. Expose less (exposure_s, and "
        f"white_electrons with it{shipped}), or show other scenes, with less light in them."
    )


def task_section(evaluation: Evaluation, history: list[dict]) -> str:
    """Examples, figures, curves and, for labels, class by class and how certain they are."""
    figures, labels = [report.training(history, evaluation.metric)], evaluation.labels
    if labels is not None:
        figures.append(label_drawing.confusion_matrix(labels))
    side_by_side = "pair" if labels is None or len(labels.classes) <= label_drawing.FEW_CLASSES else ""
    return report.section(
        TITLES[evaluation.kind], TEXTS[evaluation.kind],
        report.gallery(evaluation.examples), report.table(evaluation.lines), report.numbers(evaluation),
        f'<div class="{side_by_side}">{"".join(f"<div>{figure}</div>" for figure in figures)}</div>',
        *([] if labels is None else label_page.parts(labels)),
    )  # fmt: skip


def spectrum_section(setting: Setting) -> str:
    """Signal over noise of the modes of the forward model, and the level of the noise."""
    seen = inspect(setting)
    return report.section(
        "What this rig can see", seen_text(setting, seen), report.figures([noise_figure(seen, {1, setting.frames})])
    )


def seen_text(setting: Setting, seen: Seen) -> str:
    """How many modes stand above the noise, in words."""
    one, many = seen.modes[1], seen.modes[setting.frames]
    frames = f" and {many} when {setting.frames} frames are averaged" if setting.frames > 1 else ""
    return (
        f"Of {seen.unknowns:,} unknowns of the scene, {one} stand above the noise in one frame{frames}. "
        f"The rest must come from what a network has learned of its scenes. {sampling(setting)}{beyond_rays(seen)}"
    )


def beyond_rays(seen: Seen) -> str:
    """How many of the modes are sure to be more than sampling error, in words; nothing where the matrix is exact."""
    if seen.sampling_spectrum is None:
        return ""
    return f" Only {seen.above_sampling} of its modes are larger than all that the sampling error can make."


def noise_figure(seen: Seen, frames: Iterable[int]) -> tuple[str, str]:
    """The curve of signal over noise, with the noise of as many frames, and what to read from it."""
    words = "A mode counts where the curve is above the noise of as many frames as are averaged."
    return drawing.noise_levels(seen.signal_to_noise.cpu().numpy(), sorted(set(frames))), words


def inspect(setting: Setting, J: Tensor | None = None, gram: Tensor | None = None) -> Seen:
    """Modes above noise at a half-lit scene.

    Args:
        J, gram: the information of one such frame and `gram()` of the forward model, where they are at hand.
    """
    model = setting.rig.forward_model
    if J is None:
        J = information(model, setting.sensor.variance(half_light(setting), 1))
    ratios = SCENE_RMS * roots(J)[: math.prod(model.sensor_shape)]
    values = None if gram is None else roots(gram)[: len(ratios)]
    floor = model.sampling_spectrum
    if floor is not None and values is None:
        values = model.singular_values()
    frames = sorted({1, *FRAMES, setting.frames})
    return Seen(
        model.scene_shape[0] * model.scene_shape[1], ratios,
        {count: int((ratios * count**0.5 > 1).sum()) for count in frames},
        values, floor, len(ratios) if values is None else modes_above_sampling(values, floor),
    )  # fmt: skip


def half_light(setting: Setting) -> Tensor:
    """What an evenly grey scene sends to each pixel, (H' W')."""
    model = setting.rig.forward_model
    return model.A(torch.full((1, *model.picture_shape), 0.5, device=setting.device)).flatten()


def made_from(setting: Setting, cards: list[dict], scenes: str, more: dict[str, str]) -> str:
    """What a page came from: rig, calibration, scenes, trainings, code and machine; `more` says what else is needed to
    make it again.
    """
    spec = setting.rig.spec
    shape, calibration = spec.sensor.shape, setting.calibration
    whose = f"the real sensor {calibration.camera_id}" if setting.real else "the simulated sensor"
    facts = {
        "rig": f"{spec.id} (fingerprint {spec.fingerprint[:12]})",
        "sensor": f"{shape[0]} x {shape[1]} pixels, frames simulated, {setting.frames} averaged",
        "calibration": f"{calibration.id}, measured on {whose} with {calibration.frames} frames",
        "scenes": scenes or "none",
        "rays per scene pixel": f"{setting.rig.rays:,}" if setting.rig.rays else "none, the matrix is exact",
        **{f"training: {card['task']['kind']}": training_words(card) for card in cards},
        **more,
        "code": code_version(),
        **({"trained by the code": ", ".join(dict.fromkeys(card["code"] for card in cards))} if cards else {}),
        "machine": f"{platform.machine()}, {setting.device}",
        "torch": f"{torch.__version__}, {torch.get_num_threads()} threads",
    }
    return report.provenance(facts)


def training_words(card: dict) -> str:
    """The training of a checkpoint, in the words of the options of `lensless train`."""
    recipe, (scenes, _, *count) = card["recipe"], card["scenes"]["train"]
    name, _, which = scenes.partition("/")
    drift, rig, augmentation = card.get("perturbed"), card["rig"], recipe.get("augmentation")
    hidden, shared = card["task"].get("hidden"), card["task"].get("sharing") or {}
    facts = {
        "scenes": name,
        "count": count[0] if count and ":" in which else "all",
        "frames": card["frames"],
        "rays": rig["rays"],
        "hidden": hidden and ",".join(map(str, hidden)),
        "budget": shared.get("budget"),
        "sharing": shared.get("method"),
        "perturbed": drift and drift["copies"],
        "strength": drift and f"{drift['strength']:g}",
        "epochs": recipe["epochs"],
        "batch-size": recipe["batch_size"],
        "learning-rate": f"{recipe['learning_rate']:g}",
        "precision": recipe["precision"],
        "seed": recipe["seed"],
        "augmented": "yes" if augmentation else "no",
    }
    return ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)


def sampling(setting: Setting) -> str:
    """How much of the matrix is noise of its rays, in words; nothing for a matrix in closed form."""
    error = setting.rig.forward_model.sampling_error
    coarse = " That counts as signal here: trace more rays before you trust the number of modes." * (error > 0.05)
    return f"The matrix was sampled with rays; its own relative error is {error:.1%}.{coarse}" if error else ""


def _clearest(labels: Evaluation) -> tuple[int, str]:
    """The first example whose label is right, and the words for it: mistakes are in the gallery and in the figures."""
    pairs = zip(labels.examples.labels["truth"], labels.examples.labels["label"], strict=True)
    for at, (truth, label) in enumerate(pairs):
        if truth == label:
            return at, "The first of the examples below that was named right."
    return 0, "The first of the examples below; none of them was named right."
