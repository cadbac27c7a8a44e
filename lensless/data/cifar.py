"""CIFAR-10 (Krizhevsky 2009), from its binary version or from the one that torchvision reads.

The binary version is one byte of label and 3072 of colours a picture. The Python version, torchvision's, is a pickle,
which runs code when it is read: it is opened only if each of its files is the published one by size and MD5, before
torchvision looks at any. To make another file with a given MD5 is beyond anybody's means today; what can be made are
two new files that share one, and they are no use here.
"""

import pathlib

import numpy as np
import torch
from torch import Tensor

from hardware.errors import InputError
from lensless.data import download as files
from lensless.data.download import Pin
from lensless.data.official import split_off
from lensless.data.scene_set import Scenes

BINARY, PICKLED = "cifar-10-batches-bin", "cifar-10-batches-py"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
RECORD_BYTES = 1 + 3 * 32 * 32
_BATCH_BYTES = 10_000 * RECORD_BYTES
# Published with a port of torchvision to another language; the archive's in `download` are published by many.
BINARY_PINS = {
    "data_batch_1.bin": Pin("cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5", _BATCH_BYTES),
    "data_batch_2.bin": Pin("a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed", _BATCH_BYTES),
    "data_batch_3.bin": Pin("bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67", _BATCH_BYTES),
    "data_batch_4.bin": Pin("014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48", _BATCH_BYTES),
    "data_batch_5.bin": Pin("755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add", _BATCH_BYTES),
    "test_batch.bin": Pin("8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b", _BATCH_BYTES),
}
_REMEDY = (
    f"fetch it (lensless train ... --scenes cifar10 --download does), or put the folder '{BINARY}' or '{PICKLED}' "
    "into the data folder that OPTICS_FREE_DATA names"
)
_MOST_PICKLED_BYTES = 32 * 2**20  # its batches have 31 MB


def cifar10_scenes(root: pathlib.Path, split: str, download: bool = False) -> Scenes:
    """CIFAR-10 in colours, (N, 3, 32, 32), of one split; the binary version where both are there.

    Args:
        root: the data folder.
        download: fetch the binary version if neither is there.

    Raises:
        InputError: missing, or not the published files.
    """
    part = "test" if split == "test" else "train"
    if download and not (root / PICKLED).is_dir():
        with files.fetching_alone(root):
            files.fetch_cifar10(root / BINARY, BINARY_PINS)
    if (root / BINARY).is_dir():
        names = [name for name in BINARY_PINS if name.startswith("test") == (part == "test")]
        pictures, labels = _binary(root / BINARY, names)
    elif (root / PICKLED).is_dir():
        pictures, labels = _pickled(root, part)
    else:
        raise InputError(f"CIFAR-10 is not in '{root}'; {_REMEDY}")
    return split_off(pictures, labels, CLASSES, "cifar10", split)


def _binary(folder: pathlib.Path, names: list[str]) -> tuple[Tensor, Tensor]:
    pictures, labels = [], []
    for name in names:
        content = files.pinned_content(folder / name, BINARY_PINS[name], _REMEDY)
        records = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)
        labels.append(torch.from_numpy(records[:, 0].astype(np.int64)))
        pictures.append(torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32).copy()))
    return torch.cat(pictures), torch.cat(labels)


def _pickled(root: pathlib.Path, part: str) -> tuple[Tensor, Tensor]:
    from torchvision.datasets import CIFAR10  # 2 s
    from torchvision.datasets.utils import check_integrity

    known = [*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], CIFAR10.meta["md5"])]
    for name, md5 in known:
        path = root / PICKLED / name
        if not (path.is_file() and path.stat().st_size <= _MOST_PICKLED_BYTES and check_integrity(path, md5)):
            raise InputError(
                f"data file '{path}' is missing, or is not the published one (MD5 {md5}); it is a pickle, which could "
                f"run code, and was not opened; {_REMEDY}"
            )
    found = CIFAR10(root, train=part == "train")
    return torch.from_numpy(found.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(found.targets)
