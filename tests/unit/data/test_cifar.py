"""CIFAR-10 in both of its forms, and never a file that is not the published one."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from hardware.errors import InputError
from lensless.data import cifar, download, load_scenes
from lensless.data.download import Pin


@pytest.fixture(scope="module")
def copies(data_root):
    """Pictures of CIFAR-10 that went through JPEG (they are not bit by bit CIFAR-10), (N, 3, 32, 32), and labels."""
    stored = np.load(data_root / "natural" / "cifar10_test_200perclass.npz")
    order = np.random.default_rng(0).permutation(len(stored["labels"]))
    return stored["images"][order].transpose(0, 3, 1, 2), stored["labels"][order].astype(np.uint8)


def binary(root, copies, monkeypatch):
    """Files of the binary form, 300 pictures each, which are taken for the published ones."""
    pictures, labels = copies
    folder = root / cifar.BINARY
    folder.mkdir()
    for at, name in enumerate(cifar.BINARY_PINS):
        some = slice(300 * at, 300 * (at + 1))
        content = np.column_stack([labels[some], pictures[some].reshape(300, -1)]).tobytes()
        (folder / name).write_bytes(content)
        monkeypatch.setitem(cifar.BINARY_PINS, name, Pin(hashlib.sha256(content).hexdigest(), len(content)))
    return folder


def pickled(root, copies, monkeypatch):
    """The same in the form that torchvision reads."""
    pictures, labels = copies
    folder = root / cifar.PICKLED
    folder.mkdir()

    def write(name: str, content: dict) -> str:
        text = pickle.dumps(content, protocol=2)
        (folder / name).write_bytes(text)
        return hashlib.md5(text).hexdigest()

    names = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
    listed = []
    for at, name in enumerate(names):
        some = slice(300 * at, 300 * (at + 1))
        batch = {"data": pictures[some].reshape(300, -1), "labels": labels[some].tolist()}
        listed.append([name, write(name, batch)])
    monkeypatch.setattr(CIFAR10, "train_list", listed[:5])
    monkeypatch.setattr(CIFAR10, "test_list", listed[5:])
    md5 = write("batches.meta", {"label_names": list(cifar.CLASSES)})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": md5})
    return folder


def test_both_forms_give_the_same_pictures(tmp_path, copies, monkeypatch):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    binary(tmp_path / "a", copies, monkeypatch)
    pickled(tmp_path / "b", copies, monkeypatch)
    for split in ("train", "val", "test"):
        one, other = (load_scenes("cifar10", split, data_root=tmp_path / form) for form in ("a", "b"))
        assert one.fingerprint() == other.fingerprint() and one.classes == cifar.CLASSES
        assert torch.equal(one.groups, other.groups) and one.pictures.shape[1:] == (3, 32, 32)
    train, val = (load_scenes("cifar10", split, data_root=tmp_path / "a") for split in ("train", "val"))
    assert (len(train), len(val), len(one)) == (1375, 125, 300)
    assert not set(train.groups.tolist()) & set(val.groups.tolist())
    pictures, labels = copies
    assert one.labels.tolist() == labels[1500:1800].tolist()
    assert np.array_equal(one.fit((3, 32, 32)).numpy(), pictures[1500:1800])
    grey = one.fit((32, 32))
    for at in range(0, 300, 37):
        luma = np.asarray(Image.fromarray(pictures[1500 + at].transpose(1, 2, 0)).convert("L"))
        assert np.array_equal(grey[at, 0].numpy(), luma)


def test_the_published_files_are_pinned():
    assert all(pin.size_bytes == 30_730_000 and len(pin.sha256) == 64 for pin in cifar.BINARY_PINS.values())
    assert len({pin.sha256 for pin in cifar.BINARY_PINS.values()}) == 6
    assert cifar.CLASSES == ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def test_another_file_is_refused(tmp_path, copies, monkeypatch):
    with pytest.raises(InputError, match="is not in"):
        load_scenes("cifar10", "test", data_root=tmp_path)
    folder = binary(tmp_path, copies, monkeypatch)
    test = folder / "test_batch.bin"
    content = test.read_bytes()
    for wrong in (content[:-1], content + b"\0", content[:-1] + b"\0", b""):
        test.write_bytes(wrong)
        with pytest.raises(InputError, match="is not the published one"):
            load_scenes("cifar10", "test", data_root=tmp_path)
    test.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        load_scenes("cifar10", "test", data_root=tmp_path)


class Bomb:
    """What a pickle may do when it is read."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return open, (str(self.place), "w")


@pytest.mark.parametrize("name", ["data_batch_1", "test_batch", "batches.meta"])
def test_a_pickle_that_is_not_the_published_one_is_not_opened(tmp_path, copies, monkeypatch, name):
    folder = pickled(tmp_path, copies, monkeypatch)
    (folder / name).write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    for split in ("train", "test"):
        with pytest.raises(InputError, match=f"{name}.*was not opened"):
            load_scenes("cifar10", split, data_root=tmp_path)
    assert not (tmp_path / "ran").exists()


def test_it_is_fetched_by_the_pins_and_unpacked_by_name(tmp_path, copies, monkeypatch):
    import tarfile

    (tmp_path / "source").mkdir(), (tmp_path / "data").mkdir()
    binary(tmp_path / "source", copies, monkeypatch)
    archive = tmp_path / "whole.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(tmp_path / "source" / cifar.BINARY, cifar.BINARY)
        file.add(archive, "../../outside")
    monkeypatch.setattr(download, "CIFAR10_PIN", download.pin_of(archive))
    monkeypatch.setattr(download, "_received", lambda url, limit: iter([archive.read_bytes()]))
    scenes = load_scenes("cifar10", "test", data_root=tmp_path / "data", download=True)
    assert len(scenes) == 300
    assert sorted(path.name for path in (tmp_path / "data" / cifar.BINARY).iterdir()) == sorted(cifar.BINARY_PINS)
    assert not (tmp_path / "outside").exists()
