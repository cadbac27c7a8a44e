"""Load a trained task, and find its rig again."""

import pathlib

import torch

from hardware.errors import ConfigurationError, InputError
from lensless.app.measured_rig import MATRIX, MeasuredRig
from lensless.app.rig import MOST_RAYS, Rig, open_rig
from lensless.app.rig_file import RANGES, check_spec
from lensless.app.setting import Setting
from lensless.launch import launch
from lensless.tasks import Task
from lensless.train import checkpoint
from lensless.train.checkpoint import Checkpoint

MOST_FRAMES = RANGES["frames"]["le"]


def load(folder: str | pathlib.Path, device: str = "cpu") -> Task:
    """The trained task in a checkpoint folder: called with measurements (B, 1, H', W'), white = 1, it gives the result.

    What turns raw frames into measurements lies beside it: `Calibration.load(folder / "calibration.npz").apply(frame)`.

    Raises:
        InputError: no checkpoint, or a damaged one.
        ConfigurationError: no such device.
    """
    return checkpoint.load(folder).task.to(open_device(device))


def open_device(name: str) -> torch.device:
    """A device by torch's name; "auto" takes a GPU where there is one.

    Of the processes that torchrun started on a host, each takes the GPU of its own number.

    Raises:
        ConfigurationError: unknown, or not in this machine.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and launch().count > 1:
        name = f"cuda:{launch().local_rank}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigurationError(f"device {name!r} is unknown; expected auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise ConfigurationError(f"device {name!r} is not supported; expected auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if (device.index or 0) >= count:
        fewer = f" in all processes, or start at most {count} on it" if launch().count > 1 and count else ""
        raise ConfigurationError(f"device {name!r}: this machine has {count} of that kind; use --device cpu{fewer}")
    return device


def setting_of(found: Checkpoint, where: str, device: str = "cpu", rig: str | None = None) -> Setting:
    """The rig that a checkpoint was trained for, with its calibration and frames.

    Args:
        found: the checkpoint, and `where` it lies.
        rig: an id or file that must be that rig; None trusts the card.

    Raises:
        CalibrationMismatch: it was trained for another rig.
        InputError, ConfigurationError: its card says nothing, or nonsense, of rig, rays or frames.
    """
    card = found.card
    if not card.get("rig"):
        raise InputError(f"{where}: trained on sharp pictures, without a rig; it serves as a baseline only")
    if rig is not None:
        wanted = open_rig(rig).spec
        checkpoint.check_rig(card, wanted.id, wanted.fingerprint, where)
    spec = check_spec(card["rig"].get("facts"), f"in the card of {where}")
    rays, frames = card["rig"].get("rays"), card.get("frames")
    if type(frames) is not int or not 1 <= frames <= MOST_FRAMES:
        raise InputError(f"{where}: its card says frames = {frames!r:.100}; expected 1 to {MOST_FRAMES}; train again")
    if rays is not None and (type(rays) is not int or not 2 <= rays <= MOST_RAYS):
        raise InputError(f"{where}: its card says rays = {rays!r:.100}; expected 2 to {MOST_RAYS}; train again")
    if card.get("measured"):
        opened = MeasuredRig(spec, pathlib.Path(where) / MATRIX, found.calibration, str(open_device(device)))
    else:
        opened = Rig(spec, str(open_device(device)), rays)
    return Setting(opened, found.calibration, frames, bool(card.get("real_sensor")))
