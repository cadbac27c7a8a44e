"""Use a trained checkpoint on frames: the live flow without its viewer."""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from calibration import Calibration
from hardware.errors import ConfigurationError, FrameSaturated, InputError, StorageError
from hardware.replay import SUFFIX
from lensless.app.load import setting_of
from lensless.app.measured_rig import is_rig
from lensless.app.perturbation import drift_of
from lensless.app.rig_file import read_spec
from lensless.app.screen import Screen
from lensless.app.setting import Setting
from lensless.app.sources import Refused, Seen, measurements, rigs_of
from lensless.evaluate.evaluation import drawn
from lensless.evaluate.figures import HEADS, shown
from lensless.tasks import Classifier, PictureTask, Task
from lensless.tasks.picture import psnr_db
from lensless.train import checkpoint

SHEET = 8  # pictures on the sheet


@dataclasses.dataclass(frozen=True)
class Frames:
    """Which frames a checkpoint is used on: the options of the commands, as they were given.

    `source` of frames; `count` of measurements at most; `rig` that they must be of; `calibration` of the sensor that
    took them, where it is not the checkpoint's. `small` keeps a network of shared weights small in memory.
    """

    source: str
    count: int | None = None
    rig: str | None = None
    calibration: pathlib.Path | None = None
    device: str = "auto"
    small: bool = False


def reconstruct(folder: pathlib.Path, frames: Frames, out: pathlib.Path, screen: Screen) -> None:
    """Write a picture of every measurement, and a sheet of frames beside pictures."""
    task, seen, refused = _open(folder, frames, screen, scenes=True)
    check_gives(task, folder, pictures=True)
    check_new(out)

    def pictures() -> Iterator[Made]:
        for one in seen:
            with torch.no_grad():
                yield Made(one, task(one.y.to(device_of(task))))

    facts = {"checkpoint": str(folder), "source": frames.source} | write_pictures(pictures(), out, screen)
    screen.result(facts | say_refused(refused, screen))


@dataclasses.dataclass(frozen=True, eq=False)
class Made:
    """A picture (1, C, H, W) of a measurement, not clamped, and the standard deviation of each of its pixels, if known;
    `facts` for programs, and `cells` of the table for people, by their heads.
    """

    seen: Seen
    picture: torch.Tensor
    std: torch.Tensor | None = None
    facts: dict = dataclasses.field(default_factory=dict)
    cells: dict[str, str] = dataclasses.field(default_factory=dict)


def check_new(out: pathlib.Path) -> None:
    """Raises StorageError unless the folder is empty, or yet to be made."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StorageError(f"--out {out} exists and is not an empty folder; nothing is overwritten: name another")


def write_pictures(made: Iterator[Made], out: pathlib.Path, screen: Screen) -> dict:
    """Write each as a file, the sheet, and the table; what there is to say of them."""
    first, results, rows = [], [], []
    for at, one in enumerate(made):
        picture, name = one.picture.clamp(0, 1), f"{at:06d}.png"
        drawing = drawn(picture[0]).numpy()
        write_image(out, name, as_image(drawing))
        std = None if one.std is None else drawn(one.std[0]).numpy()
        if std is not None:
            write_image(out, f"{at:06d}-std.png", as_image(std / max(std.max(), 1e-12)))
        if at < SHEET:
            first.append((one.seen, drawing, std))
        comparable = one.seen.scene is not None and one.seen.scene.shape == picture.shape[1:]
        figure = float(psnr_db(picture, scene_of(one.seen, picture.device))[0]) if comparable else None
        results.append({"file": name, "from": one.seen.name, "psnr_db": figure} | one.facts)
        rows.append({"picture": name, "from": one.seen.name, HEADS["psnr_db"]: shown("psnr_db", figure)} | one.cells)
    write_image(out, "sheet.png", _sheet(first))
    screen.table("", *_filled(list(rows[0]), _short([list(row.values()) for row in rows])))
    figures = [one["psnr_db"] for one in results if one["psnr_db"] is not None]
    mean = float(np.mean(figures)) if figures else None
    against = f", mean PSNR {mean:.2f} dB against the scenes in the recording" if figures else ""
    many = "picture" if len(rows) == 1 else "pictures"
    screen.say(f"{len(rows)} {many} in {out}{against}; sheet.png shows the first {SHEET} beside their frames")
    return {"pictures": results, "mean_psnr_db": mean}


def classify(folder: pathlib.Path, frames: Frames, screen: Screen, abstain: float | None = None) -> None:
    """Name every measurement, with its probability; what is less certain than `abstain` gets no name.

    Raises:
        ConfigurationError: a checkpoint that gives pictures.
    """
    task, seen, refused = _open(folder, frames, screen, scenes=False)
    check_gives(task, folder, pictures=False)
    results = [_named(one, task, abstain or 0.0) for one in seen]
    rows = [[one["from"], one["label"] or "?", f"{one['probability']:.1%}", one.get("truth", "")] for one in results]
    screen.table("", *_filled(["from", "label", "probability", "truth"], _short(rows)))
    facts = {"checkpoint": str(folder), "source": frames.source, "labels": results}
    screen.result(facts | _counted(results, task, abstain, screen) | say_refused(refused, screen))


def _named(one: Seen, task: Classifier, abstain: float) -> dict:
    """What is said of a measurement; its label is None where it is less certain than `abstain`."""
    probabilities = probabilities_of(task, one.y)[0]
    best = int(probabilities.argmax())
    probability = float(probabilities[best])
    named = {"from": one.name, "label": task.classes[best] if probability >= abstain else None}
    truth = one.truth
    if truth is None and 0 <= one.label < len(task.classes):  # a source that numbers its classes without names
        truth = task.classes[one.label]
    return named | {"probability": probability} | ({} if truth is None else {"truth": truth})


def _counted(results: list[dict], task: Classifier, abstain: float | None, screen: Screen) -> dict:
    """How many got a label, and how many of these labels are right; the same for JSON."""
    answered = [one for one in results if one["label"] is not None]
    known = [one for one in answered if one.get("truth") in task.classes]
    right = sum(one["label"] == one["truth"] for one in known)
    facts = {}
    if abstain is not None:
        facts = {"abstain": abstain, "answered": len(answered)}
        share = len(answered) / len(results)
        screen.say(f"{len(answered)} of {len(results)} answered, at least {abstain:.4g} certain ({share:.1%})")
    if strange := sorted({one["truth"] for one in results if "truth" in one} - set(task.classes)):
        screen.say(
            f"scenes of classes that the checkpoint does not know ({', '.join(strange[:5])}"
            f"{' ...' * (len(strange) > 5)}) count as neither right nor wrong"
        )
    if known:
        screen.say(f"{right} of {len(known)} labels right ({right / len(known):.1%})")
        facts["accuracy"] = right / len(known)
    return facts


def say_refused(refused: list[Refused], screen: Screen) -> dict:
    """Tell of measurements that could not be used; the same for JSON."""
    if not refused:
        return {}
    many = "1 measurement was" if len(refused) == 1 else f"{len(refused)} measurements were"
    screen.say(f"{many} refused, the first because: {refused[0].reason}")
    return {"refused": [dataclasses.asdict(one) for one in refused]}


def check_gives(task: Task, folder: pathlib.Path, *, pictures: bool) -> None:
    """Refuse a checkpoint of the wrong command.

    Raises:
        ConfigurationError: it gives pictures where labels are wanted, or labels where pictures are.
    """
    if isinstance(task, PictureTask) == pictures:
        return
    gives, command = ("labels", "classify") if pictures else ("pictures", "reconstruct")
    raise ConfigurationError(f"{folder} holds a {task.kind!r} checkpoint, which gives {gives}; use: lensless {command}")


def probabilities_of(task: Task, y: torch.Tensor) -> torch.Tensor:
    """How likely each class is for each measurement (B, 1, H', W'), (B, classes)."""
    with torch.no_grad():
        return task(y.to(device_of(task))).float().softmax(1)


def device_of(task: Task) -> torch.device:
    """Where the numbers of a task lie."""
    return next(task.parameters()).device


def _open(
    folder: pathlib.Path, frames: Frames, screen: Screen, *, scenes: bool
) -> tuple[Task, Iterator[Seen], list[Refused]]:
    """Task, measurements one by one, and a list that fills with those that saturate."""
    found, setting = opened(folder, frames, screen)
    refused: list[Refused] = []
    everything = measurements(
        frames.source, found.calibration, setting.frames, frames.count, scenes=scenes, rays=setting.rig.rays
    )
    return found.task.to(setting.device), usable(everything, refused, frames.source), refused


def opened(folder: pathlib.Path, frames: Frames, screen: Screen) -> tuple[checkpoint.Checkpoint, Setting]:
    """A checkpoint and its setting, with the calibration of the sensor that took the frames, which must be of its rig.

    Raises:
        CalibrationMismatch: frames that say that they are of another rig, or a calibration that does not fit it.
    """
    source = frames.source
    _check_order(folder, source)
    found = checkpoint.load(folder)
    if notes := found.task.settle(frames.small):
        screen.say(notes)
    elif frames.small:
        raise ConfigurationError(f"--small: the network in {folder} has weights of its own; leave the option out")
    setting = setting_of(found, str(folder), frames.device)
    if frames.calibration is not None:
        other = Calibration.load(frames.calibration)
        other.fits(setting.rig.spec)
        found = dataclasses.replace(found, calibration=other)
    asked = [] if frames.rig is None else [read_spec(frames.rig)]
    # A measured rig is known by its camera, which the calibration checks in every frame; a simulated camera, or frames
    # from before it was measured, have the name of a design.
    seen = [one for one in rigs_of(source) if not found.card.get("measured") or "@" in one[0]]
    for rig_id, fingerprint in dict.fromkeys([*((one.id, one.fingerprint) for one in asked), *seen]):
        drift = drift_of(setting.rig.spec, rig_id, fingerprint)
        if drift is None:
            checkpoint.check_rig(found.card, rig_id, fingerprint, str(folder))
            continue
        screen.say(
            f"these frames are of {setting.rig.id} after it drifted (seed {drift[0]}, strength {drift[1]:g}); the "
            "network and its calibration know the rig from before"
        )
    return found, setting


def _check_order(folder: pathlib.Path, source: str) -> None:
    """Refuse a checkpoint and frames that changed places.

    Raises:
        ConfigurationError: they did.
    """
    if not (folder / checkpoint.WEIGHTS).is_file() and is_rig(folder):
        raise ConfigurationError(
            f"{folder} is a rig, not a checkpoint; train one (lensless train --rig {folder}), or get pictures without: "
            f"lensless reconstruct {folder} {source} --solver admm"
        )
    second_is = (pathlib.Path(source) / checkpoint.WEIGHTS).is_file()
    if second_is and not (folder / checkpoint.WEIGHTS).is_file():
        what = "a recording" if folder.suffix == SUFFIX else "no checkpoint"
        raise ConfigurationError(
            f"{folder} is {what}, and {source} a checkpoint: the order is CHECKPOINT SOURCE; exchange the two"
        )


def usable(everything: Iterator[Seen | Refused], refused: list[Refused], source: str) -> Iterator[Seen]:
    """Those that can be used; the others go into `refused`. An error if there is none at all."""
    count = 0
    for one in everything:
        if isinstance(one, Refused):
            refused.append(one)
            continue
        count += 1
        yield one
    if not count:
        raise FrameSaturated(refused[0].reason) if refused else InputError(f"'{source}' holds no frame; record some")


def scene_of(one: Seen, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(one.scene.astype(np.float32) / 255)[None].to(device)


def write_image(out: pathlib.Path, name: str, image) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        image.save(out / name)
    except OSError as error:
        raise StorageError(f"cannot write {out / name}: {error}; name another folder with --out") from error


def as_image(picture: np.ndarray):
    """A picture in [0, 1], (h, w) or (h, w, 3), as eight bits."""
    from PIL import Image

    return Image.fromarray((picture * 255).round().astype(np.uint8))


def _sheet(pictures: list[tuple[Seen, np.ndarray, np.ndarray | None]]):
    """Pictures, and their error bars where known."""
    seen, made, stds = zip(*pictures, strict=True)
    return sheet_of(seen, {"picture": made} | ({} if stds[0] is None else {"error bar": stds}))


def sheet_of(seen: Sequence[Seen], views: dict[str, Sequence[np.ndarray]], side: int = 192, margin: int = 136):
    """Scenes where known, raw frames, and views (H, W) of each by name: one column each, the names in the margin."""
    from PIL import Image, ImageDraw, ImageFont

    rows = {"raw frame": [one.y[0, 0].numpy() for one in seen], **views}
    if all(one.scene is not None for one in seen):
        rows = {"scene": [drawn(torch.from_numpy(one.scene)).numpy() / 255 for one in seen], **rows}
    size = (margin + len(seen) * (side + 8), len(rows) * (side + 8) + 8)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(18)
    for at_row, (name, row) in enumerate(rows.items()):
        draw.text((margin - 8, 8 + at_row * (side + 8) + side // 2), name, fill="black", font=font, anchor="rm")
        for at_column, picture in enumerate(row):
            # A frame is drawn from its darkest to its brightest pixel.
            low, high = np.percentile(picture, [0.5, 99.5]) if name == "raw frame" else (0, 1)
            if name == "error bar":  # white is the largest of all
                high = max(std.max() for std in row)
            grey = np.clip((picture - low) / max(high - low, 1e-9), 0, 1)
            tile = as_image(grey)
            if max(tile.size) > side:
                tile.thumbnail((side, side))
            scale = max(1, side // max(tile.size))
            tile = tile.resize((tile.width * scale, tile.height * scale), Image.Resampling.NEAREST)
            left, top = margin + at_column * (side + 8), 8 + at_row * (side + 8)
            sheet.paste(tile, (left + (side - tile.width) // 2, top + (side - tile.height) // 2))
    return sheet


def _filled(heads: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Without the columns of which no measurement knows anything."""
    known = [at for at in range(len(heads)) if any(row[at] for row in rows)]
    return [heads[at] for at in known], [[row[at] for at in known] for row in rows]


def _short(rows: list[list[str]], most: int = 30) -> list[list[str]]:
    return rows if len(rows) <= most else [*rows[:most], [f"... {len(rows) - most} more", *[""] * (len(rows[0]) - 1)]]
