"""EMNIST and MNIST from tiny files in their own format, whole and damaged, read through torchvision."""

import logging
import string

import numpy as np
import pytest
import torch

from hardware.errors import InputError
from lensless.data import load_scenes
from lensless.data.download import data_folder


def write_idx(path, array):
    header = bytes((0, 0, 8, array.ndim)) + b"".join(length.to_bytes(4, "big") for length in array.shape)
    path.write_bytes(header + array.astype(np.uint8).tobytes())


def upright_l(level: int) -> np.ndarray:
    """An L: a tall stroke on the left, a foot to the right. No turn or mirror image of it is an L."""
    picture = np.zeros((28, 28), np.uint8)
    picture[4:24, 8:10] = picture[22:24, 8:18] = level
    return picture


@pytest.fixture
def emnist_raw(tmp_path):
    """Every EMNIST split with 48 training and 24 test pictures, stored transposed as EMNIST does."""
    raw = tmp_path / "EMNIST" / "raw"
    raw.mkdir(parents=True)
    for variant in ("byclass", "bymerge", "balanced", "letters", "digits", "mnist"):
        for part, count in (("train", 48), ("test", 24)):
            stem = raw / f"emnist-{variant}-{part}"
            pictures = np.stack([upright_l(200 + at).T for at in range(count)])
            write_idx(stem.with_name(stem.name + "-images-idx3-ubyte"), pictures)
            labels = np.arange(count) % 6 + (1 if variant == "letters" else 0)
            write_idx(stem.with_name(stem.name + "-labels-idx1-ubyte"), labels)
    return raw


@pytest.fixture
def mnist_raw(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train", "t10k"):
        write_idx(raw / f"{part}-images-idx3-ubyte", np.stack([upright_l(255)] * 24))
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.arange(24) % 10)
    return raw


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("variant", ["byclass", "bymerge", "balanced", "letters", "digits", "mnist"])
def test_emnist_stands_upright(emnist_raw, variant, split):
    scenes = load_scenes(f"emnist-{variant}", split, data_root=emnist_raw.parents[1])
    for picture in scenes.pictures[:, 0]:
        assert torch.equal(picture, torch.from_numpy(upright_l(int(picture.max()))))
    assert len(scenes) == {"train": 44, "val": 4, "test": 24}[split]
    assert (scenes.labels.min(), scenes.labels.max() <= 5) == (0, True)


def test_emnist_classes_are_its_characters(emnist_raw):
    classes = {
        variant: load_scenes(f"emnist-{variant}", "test", data_root=emnist_raw.parents[1]).classes
        for variant in ("byclass", "bymerge", "balanced", "letters", "digits", "mnist")
    }
    assert classes["byclass"] == tuple(string.digits + string.ascii_uppercase + string.ascii_lowercase)
    assert classes["bymerge"] == classes["balanced"] == tuple(string.digits + string.ascii_uppercase + "abdefghnqrt")
    assert classes["letters"] == tuple(string.ascii_lowercase)
    assert classes["digits"] == classes["mnist"] == tuple(string.digits)


def test_train_and_validation_share_nothing_and_test_has_groups_of_its_own(emnist_raw):
    root = emnist_raw.parents[1]
    train, val, test = (load_scenes("emnist-digits", split, data_root=root) for split in ("train", "val", "test"))
    assert sorted(torch.cat([train.groups, val.groups]).tolist()) == list(range(48))
    assert not set(test.groups.tolist()) & set(range(48))


def test_emnist_that_changes_after_its_first_use_is_refused(emnist_raw):
    root, images = emnist_raw.parents[1], emnist_raw / "emnist-digits-test-images-idx3-ubyte"
    load_scenes("emnist-digits", "test", data_root=root)
    changed = bytearray(images.read_bytes())
    changed[100] ^= 1
    images.write_bytes(changed)
    with pytest.raises(InputError, match="has changed since its first use"):
        load_scenes("emnist-digits", "test", data_root=root)
    images.with_name(images.name + ".lock.json").write_text("{}")
    with pytest.raises(InputError, match=r"lock file .* is damaged"):
        load_scenes("emnist-digits", "test", data_root=root)
    images.with_name(images.name + ".lock.json").unlink()
    assert len(load_scenes("emnist-digits", "test", data_root=root)) == 24


def test_emnist_in_a_folder_that_cannot_be_written_is_used_without_a_lock(emnist_raw, monkeypatch, caplog):
    def full(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("os.fsync", full)  # permissions do not stop a test that runs as root
    with caplog.at_level(logging.WARNING):
        assert len(load_scenes("emnist-digits", "test", data_root=emnist_raw.parents[1])) == 24
    assert "without a lock" in caplog.text and not list(emnist_raw.glob("*.part"))


def test_missing_files_are_named_with_what_to_do(tmp_path):
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte' is missing; .*OPTICS_FREE_DATA") as caught:
        load_scenes("mnist", "train", data_root=tmp_path)
    assert caught.value.exit_code == 5
    with pytest.raises(InputError, match=r"emnist-letters-test-images-idx3-ubyte' is missing"):
        load_scenes("emnist-letters", "test", data_root=tmp_path)


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_truncated_files_are_named_with_both_sizes(mnist_raw, name):
    whole = (mnist_raw / name).read_bytes()
    for kept in (len(whole) - 1, 20, 5, 0):
        (mnist_raw / name).write_bytes(whole[:kept])
        with pytest.raises(InputError, match=rf"{name}'.*\b{kept} bytes.*expected") as caught:
            load_scenes("mnist", "test", data_root=mnist_raw.parents[1])
        assert caught.value.exit_code == 5
    (mnist_raw / name).write_bytes(whole + b"more")
    with pytest.raises(InputError, match=rf"{name}'.*\b{len(whole) + 4} bytes.*expected"):
        load_scenes("mnist", "test", data_root=mnist_raw.parents[1])


@pytest.mark.parametrize("variant", ["byclass", "bymerge", "balanced", "letters", "digits", "mnist"])
def test_truncated_emnist_is_refused_before_it_gets_a_lock(emnist_raw, variant):
    for kind in ("images-idx3", "labels-idx1"):
        path = emnist_raw / f"emnist-{variant}-train-{kind}-ubyte"
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        with pytest.raises(InputError, match=rf"{path.name}'.*\b{len(whole) - 1} bytes.*expected"):
            load_scenes(f"emnist-{variant}", "train", data_root=emnist_raw.parents[1])
        path.write_bytes(whole)
    assert not list(emnist_raw.glob("*.lock.json"))


def test_files_that_are_something_else_are_refused(mnist_raw):
    root, labels = mnist_raw.parents[1], mnist_raw / "t10k-labels-idx1-ubyte"
    write_idx(labels, np.arange(23) % 10)
    with pytest.raises(InputError, match="has 23 labels, expected 24"):
        load_scenes("mnist", "test", data_root=root)
    write_idx(labels, np.arange(24))
    with pytest.raises(InputError, match="run from 0 to 23, expected 0 to 9"):
        load_scenes("mnist", "test", data_root=root)
    labels.write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match="is no idx file"):
        load_scenes("mnist", "test", data_root=root)


def test_a_pickle_of_an_old_torchvision_is_never_opened(mnist_raw):
    old = mnist_raw.parent / "processed"
    old.mkdir()
    (old / "training.pt").write_bytes(b"anything")
    with pytest.raises(InputError, match=r"training.pt' was left"):
        load_scenes("mnist", "test", data_root=mnist_raw.parents[1])


def test_the_data_folder_is_looked_for_in_order(tmp_path, monkeypatch):
    monkeypatch.delenv("OPTICS_FREE_DATA", raising=False)
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "shared" / "data").mkdir(parents=True)
    monkeypatch.chdir(work)
    assert data_folder() == tmp_path / "shared" / "data"
    monkeypatch.setenv("OPTICS_FREE_DATA", str(tmp_path / "mine"))
    assert data_folder() == tmp_path / "mine"
    assert data_folder("given").name == "given"
