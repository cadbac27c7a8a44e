"""The pages that commands write: which sections a report has, and what they say."""

import platform

import torch

from lensless.app.setting import Setting
from lensless.app.version import code_version
from lensless.evaluate import drawing, report
from lensless.evaluate.evaluation import Evaluation
from lensless.optics.analysis import signal_to_noise

TITLES = {
    "reconstruct": "A picture from the frame",
    "classify": "A label without a picture",
    "classify-reconstruction": "A label from the reconstructed picture",
}
TEXTS = {
    "reconstruct": (
        "Wiener's filter, the best linear estimate, undoes what it can; a small network corrects the rest. "
        "Test scenes were seen by nothing that was trained or fitted."
    ),
    "classify": (
        "A fixed set of at most 128 sums of the raw frame enters a small network. No picture is formed on the way: the "
        "last line says how good a picture the best linear estimate would make of them; a network would do better."
    ),
    "classify-reconstruction": "The picture that the reconstruction gives enters a small convolutional network.",
}
STEPS = ("the scene", "the raw frame", "reconstructed", "label, read straight from the frame")


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
        [*sections, spectrum_section(setting), made_from(setting, cards, scenes, seed)],
    )


def evaluation_page(setting: Setting, evaluation: Evaluation, card: dict, where: str) -> str:
    """The page of one checkpoint."""
    lead = f"Checkpoint {where}, rig {setting.rig.id}, {evaluation.count:,} scenes ({evaluation.scenes})."
    parts = [task_section(evaluation, card["history"]), spectrum_section(setting)]
    return report.page(
        TITLES[evaluation.kind], lead, [*parts, made_from(setting, [card], evaluation.scenes, card["recipe"]["seed"])]
    )


def inspection_page(setting: Setting) -> str:
    """The page of `lensless inspect`."""
    lead = "How many independent numbers of a scene stand above the noise of the sensor."
    return report.page(
        f"What the rig {setting.rig.id} can see", lead, [spectrum_section(setting), made_from(setting, [], "", 0)]
    )


def task_section(evaluation: Evaluation, history: list[dict]) -> str:
    """Examples, figures, curves and, for labels, which class was taken for which."""
    figures = [report.training(history, evaluation.metric)]
    if evaluation.confusion is not None:
        figures.append(drawing.confusion_matrix(evaluation))
    side_by_side = "pair" if len(evaluation.classes) <= drawing.FEW_CLASSES else ""
    return report.section(
        TITLES[evaluation.kind], TEXTS[evaluation.kind],
        report.gallery(evaluation.examples), report.table(evaluation.lines), report.numbers(evaluation),
        f'<div class="{side_by_side}">{"".join(f"<div>{figure}</div>" for figure in figures)}</div>',
    )  # fmt: skip


def spectrum_section(setting: Setting) -> str:
    """Singular values of the forward model and the level of the noise."""
    found = inspect(setting)
    one, many = found["modes_1_frame"], found["modes"]
    frames = f" and {many} when {setting.frames} frames are averaged" if setting.frames > 1 else ""
    text = (
        f"Of {found['unknowns']:,} unknowns of the scene, {one} stand above the noise in one frame{frames}. "
        f"The rest must come from what a network has learned of its scenes. {sampling(setting)}"
    )
    ratios = found["signal_to_noise"]
    levels = {"noise of one frame": 1 / ratios[0]}
    if setting.frames > 1:
        levels[f"noise of {setting.frames} frames"] = 1 / ratios[0] / setting.frames**0.5
    return report.section("What this rig can see", text, drawing.spectrum(ratios, levels))


def inspect(setting: Setting) -> dict:
    """Modes above noise at a half-lit scene, in one frame and in as many as the setting averages."""
    model = setting.rig.forward_model
    half_lit = model.as_matrix().sum(1) / 2
    ratios = signal_to_noise(model, setting.sensor.variance(half_lit, 1))
    return {
        "unknowns": model.scene_shape[0] * model.scene_shape[1],
        "modes_1_frame": int((ratios > 1).sum()),
        "modes": int((ratios * setting.frames**0.5 > 1).sum()),
        "signal_to_noise": ratios.cpu().numpy(),
    }


def made_from(setting: Setting, cards: list[dict], scenes: str, seed: int) -> str:
    """What a page came from: rig, calibration, scenes, seed, code and machine."""
    spec = setting.rig.spec
    shape, calibration = spec.sensor.shape, setting.calibration
    whose = f"the real sensor {calibration.camera_id}" if setting.real else "the simulated sensor"
    facts = {
        "rig": f"{spec.id} (fingerprint {spec.fingerprint[:12]})",
        "sensor": f"{shape[0]} x {shape[1]} pixels, frames simulated, {setting.frames} averaged",
        "calibration": f"{calibration.id}, measured on {whose} with {calibration.frames} frames",
        "scenes": scenes or "none",
        "seed": str(seed),
        "code": code_version(),
        **({"trained by the code": ", ".join(dict.fromkeys(card["code"] for card in cards))} if cards else {}),
        "machine": f"{platform.machine()}, {setting.device}",
        "torch": f"{torch.__version__}, {torch.get_num_threads()} threads",
    }
    return report.provenance(facts)


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
