"""What works on this machine, and what to do about the rest."""

import dataclasses
import functools
import importlib.metadata
import os
import pathlib
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable

import numpy as np
import torch

from hardware import Frame, FrameMeta, Recording, plugins
from hardware.devices import devices
from hardware.errors import LenslessError
from lensless.app.cameras import describe
from lensless.app.rig import open_rig
from lensless.app.rig_file import shipped_rigs
from lensless.data.download import data_folder
from lensless.data.scenes import load_scenes
from lensless.optics import cache
from lensless.train.devices import bf16_is_fast

LIBRARIES = ("torch", "torchvision", "numpy", "h5py", "opencv-python", "scikit-image", "pyserial", "lightning-fabric")
ROOM_BYTES = 2 * 2**30


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was looked at: `state` is ok, note (works, but) or fails."""

    what: str
    state: str
    detail: str


def examine() -> list[Finding]:
    """Look at everything; nothing is changed, temporary files are removed."""
    others = plugins.installed()
    checks: list[tuple[str, Callable[[], tuple[str, str]]]] = [
        ("python", _python),
        ("libraries", _libraries),
        ("processor", _processor),
        ("GPU", _gpu),
        ("rig files", _rigs),
        ("recordings", _recordings),
        ("cameras", _cameras),
        *((f"{name} cameras", functools.partial(_plug_in, name)) for name in sorted({*plugins.EXTRAS, *others})),
        ("cache folder", _cache),
        ("MNIST", _mnist),
        ("disk", _disk),
    ]
    return [_look(what, check) for what, check in checks]


def _look(what: str, check: Callable[[], tuple[str, str]]) -> Finding:
    try:
        return Finding(what, *check())
    except (LenslessError, OSError, RuntimeError, ImportError) as error:
        return Finding(what, "fails", str(error))


def _python() -> tuple[str, str]:
    return ("ok" if sys.version_info >= (3, 11) else "fails"), f"{platform.python_version()} on {platform.system()}"


def _libraries() -> tuple[str, str]:
    versions, missing = [], []
    for name in LIBRARIES:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return "fails", f"missing: {', '.join(missing)}; run: pip install {' '.join(missing)}"
    return "ok", ", ".join(versions)


def _processor() -> tuple[str, str]:
    fast = "bfloat16 in hardware: training takes it" if bf16_is_fast() else "no fast bfloat16: training takes float32"
    return "ok", f"{os.cpu_count()} processors, {torch.get_num_threads()} threads, {fast}"


def _gpu() -> tuple[str, str]:
    if not torch.cuda.is_available():
        return "note", "none that torch can use; everything runs on the processor"
    return "ok", ", ".join(torch.cuda.get_device_name(at) for at in range(torch.cuda.device_count()))


def _rigs() -> tuple[str, str]:
    return "ok", ", ".join(open_rig(path).id for path in shipped_rigs().values())


def _recordings() -> tuple[str, str]:
    """Write a frame and read it back, as HDF5 does it here."""
    meta = FrameMeta(
        sequence=0, t_host_ns=0, exposure_s=0.01, gain_db=0, bit_depth=12, black_level_dn=0, pixel_format="Mono12",
        camera_id="doctor", settings_id="doctor",
    )  # fmt: skip
    frame = Frame(np.arange(12, dtype=np.uint16).reshape(3, 4), meta)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "try.h5"
        with Recording.create(path, frame) as writer:
            writer.append(frame)
        with Recording.open(path) as recording:
            same = np.array_equal(recording[0].pixels, frame.pixels)
    return ("ok", "a frame was written and read back") if same else ("fails", "a frame came back changed")


def _cameras() -> tuple[str, str]:
    found = devices()
    if not found:
        return "note", "none attached; simulated rigs, recordings and video files do without (lensless devices)"
    names = ", ".join(f"{one.name} ({one.path})" for one in found)
    return "ok", f"{names}; look at one: lensless check opencv:id:{found[0].camera_id}"


def _plug_in(name: str) -> tuple[str, str]:
    plug_in = plugins.installed().get(name)
    if plug_in is None:
        return "note", f"not installed; {plugins.how_to_get(name)}"
    told = describe(plug_in)
    return ("note", str(told["needs"])) if told["needs"] else ("ok", f"{told['address']} ({told['of']})")


def _cache() -> tuple[str, str]:
    folder = cache.folder()
    held = sum(file.stat().st_size for file in folder.glob("*")) if folder.exists() else 0
    place = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(place, os.W_OK):
        return "note", f"{folder} cannot be written: forward models are computed anew each time; set OPTICS_FREE_CACHE"
    return "ok", f"{folder}, {held / 1e6:.0f} MB"


def _mnist() -> tuple[str, str]:
    try:
        return "ok", f"{len(load_scenes('mnist', 'test')):,} test scenes in {data_folder(None)}"
    except LenslessError as error:
        return "note", f"not here (--scenes mnist --download fetches it, glyphs need nothing): {error}"


def _disk() -> tuple[str, str]:
    free = shutil.disk_usage(".").free
    detail = f"{free / 2**30:.1f} GiB free in this folder"
    return ("ok", detail) if free > ROOM_BYTES else ("note", f"{detail}; recordings and checkpoints may not fit")
