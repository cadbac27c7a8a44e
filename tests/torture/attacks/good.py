"""Good files: of each kind, what is opened, and the file in it that is worth changing."""

import atexit
import dataclasses
import functools
import json
import pathlib
import shutil
import tempfile
from collections.abc import Callable

import numpy as np
import tiny
import torch
from test_recording_hostile import make
from video import noise, write_ffv1

from attacks.attack import Place
from attacks.formats import idx, npy, numbers, picture
from lensless import tensor_file
from lensless.data.download import check_lock
from lensless.optics.transfer import TransferMatrix
from lensless.train import checkpoint, state

RIG = pathlib.Path(__file__).resolve().parents[3] / "hardware" / "rigs" / "bare-v1.toml"


def good_rig(place: Place) -> tuple[str, str]:
    return (place.file("good.toml", RIG.read_bytes()),) * 2


def good_npy(place: Place) -> tuple[str, str]:
    return (place.file("good.npy", npy(numbers())),) * 2


def good_png(place: Place) -> tuple[str, str]:
    return (place.file("good.png", picture(numbers(), "PNG")),) * 2


def good_tif(place: Place) -> tuple[str, str]:
    return (place.file("good.tif", picture(numbers(), "TIFF")),) * 2


def good_calibration(place: Place) -> tuple[str, str]:
    tiny.setting().calibration.save(place.folder / "good.npz", overwrite=True)
    return (str(place.folder / "good.npz"),) * 2


@functools.cache
def _shelf() -> pathlib.Path:
    """Good folders that take time to make."""
    shelf = tempfile.TemporaryDirectory(prefix="lensless-tests-")
    atexit.register(shelf.cleanup)
    return pathlib.Path(shelf.name)


def good_trained(place: Place) -> tuple[str, str]:
    shutil.copytree(_trained(), place.folder / "trained")
    return str(place.folder / "trained"), str(place.folder / "trained" / checkpoint.WEIGHTS)


@functools.cache
def _trained() -> pathlib.Path:
    folder = _shelf() / "trained"
    folder.mkdir()
    tiny.setting().calibration.save(folder / checkpoint.CALIBRATION, overwrite=True)
    spec = tiny.setting().rig.spec
    rig = {"id": spec.id, "fingerprint": spec.fingerprint, "rays": None, "facts": json.loads(json.dumps(tiny.facts()))}
    said = {"rig": rig, "frames": 4, "calibration": tiny.setting().calibration.id, "recipe": {}, "scenes": {}}
    checkpoint.save(folder, tiny.classify(), said)
    return folder


def good_state(place: Place) -> tuple[str, str]:
    folder = place.folder / "state"
    tensor_file.write(folder / state.NEWEST, {"network.a": torch.arange(6.0)}, {"epoch": 1, "history": []})
    return str(folder), str(folder / state.NEWEST)


def good_training(place: Place) -> tuple[str, str]:
    shutil.copytree(_training(), place.folder / "training")
    return str(place.folder / "training"), str(place.folder / "training" / state.NEWEST)


@functools.cache
def _training() -> pathlib.Path:
    tiny.run(_shelf() / "training", recipe=dataclasses.replace(tiny.RECIPE, epochs=1))
    return _shelf() / "training"


def good_transfer(place: Place) -> tuple[str, str]:
    path = place.folder / "good.safetensors"
    TransferMatrix(torch.rand(12, 6), (2, 3), (3, 4), noise_std=1e-3).save(path)
    return (str(path),) * 2


def good_pictures(place: Place) -> tuple[str, str]:
    folder = place.folder / "pictures"
    for number in range(12):
        place.file(f"pictures/a/{number}.png", picture(numbers(number).astype(np.uint8), "PNG"))
    return str(folder), place.file("pictures/b/x.jpg", picture(numbers(20).astype(np.uint8), "JPEG"))


def good_mnist(place: Place) -> tuple[str, str]:
    for part in ("train", "t10k"):
        idx(place, f"MNIST/raw/{part}", np.zeros((30, 28, 28), np.uint8), np.arange(30) % 10)
    return str(place.folder), str(place.folder / "MNIST/raw/t10k-images-idx3-ubyte")


def good_emnist(place: Place) -> tuple[str, str]:
    idx(place, "EMNIST/raw/emnist-digits-test", np.zeros((30, 28, 28), np.uint8), np.arange(30) % 10)
    for kind in ("images-idx3", "labels-idx1"):
        check_lock(place.folder / f"EMNIST/raw/emnist-digits-test-{kind}-ubyte")
    return str(place.folder), str(place.folder / "EMNIST/raw/emnist-digits-test-images-idx3-ubyte.lock.json")


def good_recording(place: Place) -> tuple[str, str]:
    path = place.folder / "good.h5"
    path.unlink(missing_ok=True)
    return (str(make(path)),) * 2


def good_video(place: Place) -> tuple[str, str]:
    path = place.folder / "good.mkv"
    write_ffv1(path, noise(3))
    return f"opencv:{path}", str(path)


# Kind of reader: its good files.
GOOD: dict[str, list[Callable[[Place], tuple[str, str]]]] = {
    "rig": [good_rig],
    "frame": [good_npy, good_png, good_tif],
    "calibration": [good_calibration],
    "trained": [good_trained],
    "training_state": [good_state],
    "training": [good_training],
    "transfer": [good_transfer],
    "pictures": [good_pictures],
    "mnist": [good_mnist],
    "emnist": [good_emnist],
    "recording": [good_recording],
    "vetted": [good_recording],
    "camera": [good_video],
    "source": [good_npy],
}
