"""What is no plain file, or not there, or not what its name says: in the place of every kind of file."""

import os
import pathlib
from collections.abc import Callable

import torch

from attacks.attack import Attacks, Place
from attacks.formats import Payload, poison, sparse
from attacks.good import GOOD
from lensless.train import checkpoint, state

ATTACKS = Attacks()
FILES = {"rig": "x.toml", "frame": "x.npy", "calibration": "x.npz", "transfer": "x.safetensors", "recording": "x.h5"}
IN_FOLDERS = {
    "trained": checkpoint.WEIGHTS,
    "training_state": state.NEWEST,
    "training": state.NEWEST,
    "pictures": "x.png",
    "mnist": "MNIST/raw/t10k-images-idx3-ubyte",
    "emnist": "EMNIST/raw/emnist-digits-test-images-idx3-ubyte.lock.json",
}


def _no_plain_files() -> None:
    def instead(kind: str, name: str, what: str, put: Callable[[pathlib.Path, Place], object]) -> None:
        def build(place: Place) -> str:
            path = place.folder / name
            if kind in ("mnist", "emnist"):
                GOOD[kind][0](place)
                path.unlink(missing_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            put(path, place)
            return str(place.folder if kind in IN_FOLDERS else path)

        build.__name__ = f"{what}-{pathlib.Path(name).name}"
        nothing = what in ("missing", "loop") and kind in ("training_state", "training")
        empty = (kind, what) == ("pictures", "folder")  # a class without pictures
        ATTACKS.add(kind, says="" if nothing or empty else name.rpartition("/")[2], may_read=nothing)(build)

    for kind, name in [*FILES.items(), *IN_FOLDERS.items(), ("frame", "x.png"), ("frame", "x.tif")]:
        instead(kind, name, "pipe", lambda path, place: os.mkfifo(path))
        instead(kind, name, "folder", lambda path, place: path.mkdir())
        instead(kind, name, "device", lambda path, place: path.symlink_to("/dev/zero"))
        instead(kind, name, "empty", lambda path, place: path.touch())
        instead(kind, name, "pickle", lambda path, place: path.write_bytes(poison(place)))
        instead(kind, name, "torch", lambda path, place: torch.save({"a": Payload(place.canary)}, path))
        instead(kind, name, "python", lambda path, place: path.write_text(f"open({str(place.canary)!r}, 'w')"))
        instead(kind, name, "zeros", lambda path, place: sparse(str(path), b"", 8 * 2**30))
        if kind != "emnist":  # where no lock is, one is made
            instead(kind, name, "loop", lambda path, place: path.symlink_to(path.name))
        if kind not in ("training", "pictures", "emnist"):
            instead(kind, name, "missing", lambda path, place: None)


_no_plain_files()
for kind, suffix in [*((kind, pathlib.Path(name).suffix) for kind, name in FILES.items()), ("frame", ".png")]:
    ATTACKS.simple(kind, **{f"nul{suffix}": f"/tmp/a\0b{suffix}", f"long{suffix}": "/tmp/" + "a" * 5000 + suffix})
    ATTACKS.simple(kind, **{f"name{suffix}": "/tmp/" + "a" * 300 + suffix, f"million{suffix}": "a" * 10**6 + suffix})
