"""Photographs from packed copies."""

import numpy as np
import pytest
import torch

from hardware.errors import InputError
from lensless.data.scenes import SPLITS, load_scenes


def packed(root, count=40) -> np.ndarray:
    """Made-up photographs in the form of those of BSDS."""
    images = np.random.default_rng(0).integers(0, 256, (count, 128, 128, 3), np.uint8)
    (root / "natural").mkdir(exist_ok=True)
    np.savez(root / "natural" / "bsds500_trainval_128.npz", images=images)
    return images


def test_squares_tile_each_picture_at_three_scales_and_stay_together(tmp_path):
    images = packed(tmp_path)
    sets = {split: load_scenes("bsds-32", split, data_root=tmp_path) for split in SPLITS}
    assert sum(map(len, sets.values())) == 40 * (16 + 4 + 1)
    groups = [set(scenes.groups.tolist()) for scenes in sets.values()]
    assert sum(map(len, groups)) == 40 and not groups[0] & groups[1] and not (groups[0] | groups[1]) & groups[2]
    large = load_scenes("bsds-128", "train", data_root=tmp_path)
    first = large.pictures[0]
    assert first.permute(1, 2, 0).numpy() in images
    own = sets["train"].pictures[sets["train"].groups == large.groups[0]]
    assert torch.equal(own[0], first[:, :32, :32]) and torch.equal(own[5], first[:, 32:64, 32:64])
    whole = own[20].float().mean((1, 2))
    assert torch.allclose(whole, first.float().mean((1, 2)), atol=1)
    assert sets["train"].classes == () and bool((sets["train"].labels == -1).all())


def test_copies_of_cifar_keep_their_split(data_root):
    sets = {split: load_scenes("cifar10-jpeg", split, data_root=data_root) for split in SPLITS}
    assert [len(scenes) for scenes in sets.values()] == [9167, 833, 2000]
    assert sets["test"].pictures.shape[1:] == (3, 32, 32) and sets["test"].labels.bincount().tolist() == [200] * 10


@pytest.mark.parametrize("name, file", [("bsds-64", "bsds500_trainval_128.npz"), ("cifar10-jpeg", "cifar10_train")])
def test_what_is_missing_is_said_with_its_place(tmp_path, name, file):
    with pytest.raises(InputError, match=f"{file}.*does not exist; put it there"):
        load_scenes(name, "train", data_root=tmp_path)


@pytest.mark.parametrize(
    "arrays, reason",
    [
        ({"images": np.zeros((3, 64, 64, 3), np.uint8)}, r"images is uint8 \(3, 64, 64, 3\)"),
        ({"images": np.zeros((3, 128, 128, 3))}, "images is float64"),
        ({"images": np.zeros((0, 128, 128, 3), np.uint8)}, "holds no picture"),
        ({"pictures": np.zeros(3)}, "images"),
    ],
)
def test_another_form_is_refused(tmp_path, arrays, reason):
    (tmp_path / "natural").mkdir()
    np.savez(tmp_path / "natural" / "bsds500_trainval_128.npz", **arrays)
    with pytest.raises(InputError, match=f"{reason}.*; take another copy"):
        load_scenes("bsds-128", "train", data_root=tmp_path)


def test_no_archive_and_a_torn_one_are_refused(tmp_path):
    packed(tmp_path)
    file = tmp_path / "natural" / "bsds500_trainval_128.npz"
    content = file.read_bytes()
    for torn in (b"", b"no archive", content[:5000], content[: len(content) // 2] + b"x" * 100):
        file.write_bytes(torn)
        with pytest.raises(InputError, match="holds no such pictures"):
            load_scenes("bsds-32", "train", data_root=tmp_path)
