"""Use a trained checkpoint on frames: the live flow without its viewer."""

import pathlib

import numpy as np
import torch

from hardware.errors import CalibrationMismatch, ConfigurationError, StorageError
from lensless.app.load import setting_of
from lensless.app.screen import Screen
from lensless.app.sources import Seen, measurements, rig_of
from lensless.tasks import Reconstruct, Task
from lensless.tasks.reconstruct import psnr_db
from lensless.train import checkpoint


def reconstruct(
    folder: pathlib.Path,
    source: str,
    out: pathlib.Path,
    count: int | None,
    rig: str | None,
    device: str,
    screen: Screen,
) -> None:
    """Write a picture of every measurement, and a sheet of frames beside pictures."""
    task, seen = _open(folder, source, count, rig, device)
    if not isinstance(task, Reconstruct):
        raise ConfigurationError(
            f"{folder} holds a {task.kind!r} checkpoint, which gives labels; use: lensless classify"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StorageError(f"--out {out} exists and is not an empty folder; nothing is overwritten: name another")
    pictures, rows = [], []
    for at, one in enumerate(seen):
        with torch.no_grad():
            picture = task(one.y.to(device_of(task))).clamp(0, 1)
        pictures.append((one, picture[0, 0].cpu().numpy()))
        figure = "" if one.scene is None else f"{float(psnr_db(picture, _scene(one, task))[0]):.2f}"
        rows.append([f"{at:06d}.png", one.name, figure])
    _write_pictures(out, pictures)
    screen.table("", ["picture", "from", "PSNR (dB)"], _short(rows))
    figures = [float(row[2]) for row in rows if row[2]]
    mean = f", mean PSNR {np.mean(figures):.2f} dB against the scenes in the recording" if figures else ""
    screen.say(f"{len(rows)} pictures in {out}{mean}; sheet.png shows them beside their frames")
    screen.result(
        {
            "checkpoint": str(folder),
            "source": source,
            "pictures": [dict(zip(("file", "from", "psnr_db"), row, strict=True)) for row in rows],
        }
    )


def classify(
    folder: pathlib.Path, source: str, count: int | None, rig: str | None, device: str, screen: Screen
) -> None:
    """Name every measurement, with the probability that the network gives its answer."""
    task, seen = _open(folder, source, count, rig, device)
    if isinstance(task, Reconstruct):
        raise ConfigurationError(
            f"{folder} holds a {task.kind!r} checkpoint, which gives pictures; use: lensless reconstruct"
        )
    rows, results, right, known = [], [], 0, 0
    for one in seen:
        with torch.no_grad():
            probabilities = task(one.y.to(device_of(task))).float().softmax(1)[0]
        best = int(probabilities.argmax())
        result = {"from": one.name, "label": task.classes[best], "probability": float(probabilities[best])}
        if 0 <= one.label < len(task.classes):
            known, right = known + 1, right + (one.label == best)
            result["truth"] = task.classes[one.label]
        results.append(result)
        rows.append([one.name, result["label"], f"{result['probability']:.1%}", result.get("truth", "")])
    screen.table("", ["from", "label", "probability", "truth"], _short(rows))
    if known:
        screen.say(f"{right} of {known} labels right ({right / known:.1%})")
    screen.result(
        {
            "checkpoint": str(folder),
            "source": source,
            "labels": results,
            **({"accuracy": right / known} if known else {}),
        }
    )


def device_of(task: Task) -> torch.device:
    return next(task.parameters()).device


def _open(
    folder: pathlib.Path, source: str, count: int | None, rig: str | None, device: str
) -> tuple[Task, list[Seen]]:
    """Task and measurements; refuses frames that say that they are of another rig."""
    found = checkpoint.load(folder)
    setting = setting_of(found, str(folder), device, rig)
    says = rig_of(source)
    if says is not None:
        checkpoint.check_rig(found.card, says["id"], says["fingerprint"], str(folder))
    seen = list(measurements(source, found.calibration, setting.frames, count))
    if not seen:
        raise CalibrationMismatch(f"'{source}' holds no frame; record some first")
    return found.task.to(setting.device), seen


def _scene(one: Seen, task: Task) -> torch.Tensor:
    scene = torch.from_numpy(one.scene.astype(np.float32) / 255)[None, None]
    return scene.to(device_of(task))


def _write_pictures(out: pathlib.Path, pictures: list[tuple[Seen, np.ndarray]]) -> None:
    from PIL import Image

    try:
        out.mkdir(parents=True, exist_ok=True)
        for at, (_, picture) in enumerate(pictures):
            Image.fromarray((picture * 255).round().astype(np.uint8)).save(out / f"{at:06d}.png")
        _sheet(pictures[:8]).save(out / "sheet.png")
    except OSError as error:
        raise StorageError(f"cannot write pictures to {out}: {error}; name another folder with --out") from error


def _sheet(pictures: list[tuple[Seen, np.ndarray]], side: int = 160):
    """Scenes where known, raw frames and pictures, one column each."""
    from PIL import Image

    rows = [[one.y[0, 0].numpy() for one, _ in pictures], [picture for _, picture in pictures]]
    if all(one.scene is not None for one, _ in pictures):
        rows.insert(0, [one.scene / 255 for one, _ in pictures])
    sheet = Image.new("L", (len(pictures) * (side + 8) + 8, len(rows) * (side + 8) + 8), 255)
    for at_row, row in enumerate(rows):
        for at_column, picture in enumerate(row):
            low, high = (
                np.percentile(picture, [0.5, 99.5]) if picture is row[at_column] and at_row == len(rows) - 2 else (0, 1)
            )
            grey = np.clip((picture - low) / max(high - low, 1e-9), 0, 1)
            tile = Image.fromarray((grey * 255).round().astype(np.uint8))
            tile.thumbnail((side, side)) if max(tile.size) > side else None
            scale = max(1, side // max(tile.size))
            tile = tile.resize((tile.width * scale, tile.height * scale), Image.Resampling.NEAREST)
            sheet.paste(tile, (8 + at_column * (side + 8), 8 + at_row * (side + 8)))
    return sheet


def _short(rows: list[list[str]], most: int = 30) -> list[list[str]]:
    return rows if len(rows) <= most else [*rows[:most], [f"... {len(rows) - most} more", *[""] * (len(rows[0]) - 1)]]
