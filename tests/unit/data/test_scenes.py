"""Names, splits, shapes and identity of scenes; MNIST as it is."""

import pytest
import torch

from hardware.errors import ConfigurationError
from lensless.data import Scenes, load_scenes


def scenes_of(pictures: torch.Tensor) -> Scenes:
    count = torch.arange(len(pictures))
    return Scenes(pictures, count % 3, ("a", "b", "c"), "made/up", count)


def test_small_pictures_are_padded_centrally_and_never_enlarged():
    pictures = torch.full((2, 1, 28, 28), 255, dtype=torch.uint8)
    fitted = scenes_of(pictures).fit((32, 32))
    assert fitted.shape == (2, 1, 32, 32) and fitted.dtype == torch.uint8
    assert (fitted[..., 2:30, 2:30] == 255).all() and fitted.sum() == pictures.sum()
    assert torch.equal(scenes_of(pictures).fit((28, 28)), pictures)
    assert scenes_of(pictures).fit((28, 31)).shape[-2:] == (28, 31)


def test_shrunk_pictures_are_told():
    pictures = torch.zeros(2, 1, 30, 40, dtype=torch.uint8)
    assert scenes_of(pictures).shrunk((1, 30, 40)) is None
    assert "read as 30 x 40 pixels, are shrunk to the 64 x 32 of" in scenes_of(pictures).shrunk((1, 64, 32))


def test_large_pictures_are_averaged_by_area_with_their_aspect():
    pictures = torch.zeros(1, 3, 40, 60, dtype=torch.uint8)
    pictures[..., :20, :30] = 200
    fitted = scenes_of(pictures).fit((3, 30, 30))
    assert fitted.shape == (1, 3, 30, 30)
    assert (fitted[..., 5:15, :15] == 200).all() and fitted.long().sum() == 3 * 10 * 15 * 200
    odd = torch.randint(0, 256, (4, 1, 47, 29), dtype=torch.uint8)
    kept = scenes_of(odd).fit((13, 17)).float().sum((-2, -1)) / (13 * 8)  # 29 * 13 / 47 = 8 columns
    assert torch.allclose(kept, odd.float().mean((-2, -1)), atol=0.5)


def test_a_grey_display_shows_luma_and_one_in_colours_shows_grey_as_three_alike():
    colours = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], dtype=torch.uint8)
    luma = scenes_of(colours[:, :, None, None].expand(-1, -1, 4, 4)).fit((4, 4))
    assert luma.shape == (4, 1, 4, 4) and luma[:, 0, 0, 0].tolist() == [76, 150, 29, 255]  # Rec. 601
    grey = torch.arange(16, dtype=torch.uint8).reshape(1, 1, 4, 4)
    assert torch.equal(scenes_of(grey).fit((3, 4, 4)), grey.expand(-1, 3, -1, -1))


def test_subset_and_fingerprint_follow_the_content():
    scenes = scenes_of(torch.arange(5, dtype=torch.uint8).repeat_interleave(4).view(5, 1, 2, 2))
    chosen = scenes.subset([3, 1])
    assert len(chosen) == 2 and chosen.groups.tolist() == [3, 1] and chosen.pictures[0, 0, 0, 0] == 3
    assert scenes.fingerprint() == scenes.subset(range(5)).fingerprint() != chosen.fingerprint()
    assert len(scenes.fingerprint()) == 16


def test_scenes_that_do_not_belong_together_are_refused():
    pictures = torch.zeros(3, 1, 4, 4, dtype=torch.uint8)
    with pytest.raises(ValueError, match="labels are"):
        Scenes(pictures, torch.zeros(2, dtype=torch.int64), ("a",), "short", torch.arange(3))
    with pytest.raises(ValueError, match="pictures are"):
        scenes_of(pictures.float())


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("mnits", "mnist"), ("emnist-balance", "emnist-balanced"), ("glyph", "glyphs"), ("folder:", "folder:PATH")],
)
def test_an_unknown_name_is_answered_with_the_nearest(name, nearest):
    with pytest.raises(ConfigurationError, match=f"nearest is '{nearest}'"):
        load_scenes(name, "train")


def test_unknown_splits_and_impossible_counts_are_refused():
    with pytest.raises(ConfigurationError, match="nearest is 'train'"):
        load_scenes("glyphs", "training")
    with pytest.raises(ConfigurationError, match="at least 1"):
        load_scenes("glyphs", "val", count=0)
    with pytest.raises(ConfigurationError, match="seed -1"):
        load_scenes("glyphs", "val", seed=-1)


def test_mnist_splits_are_stratified_disjoint_and_fixed(data_root):
    train, val, test = (load_scenes("mnist", split, data_root=data_root) for split in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (55_000, 5_000, 10_000)
    assert (train.name, train.classes, train.pictures.shape[1:]) == ("mnist/train", tuple("0123456789"), (1, 28, 28))
    groups = torch.cat([train.groups, val.groups, test.groups])
    assert len(groups.unique()) == 70_000
    shares = (torch.bincount(scenes.labels) / len(scenes) for scenes in (train, val))
    assert torch.allclose(*shares, atol=2e-4)
    assert load_scenes("mnist", "val", seed=7, data_root=data_root).fingerprint() == val.fingerprint()
    # The split is part of every reported figure: a changed split is another data set.
    assert (val.fingerprint(), test.fingerprint()) == ("a72e5f23fc489ed5", "cdc21148af41d32c")


def test_a_count_is_drawn_by_seed_in_equal_shares(data_root):
    few, again, other = (load_scenes("mnist", "test", seed=seed, count=1000, data_root=data_root) for seed in (1, 1, 2))
    assert few.name == "mnist/test:1000@1" and few.fingerprint() == again.fingerprint() != other.fingerprint()
    whole = load_scenes("mnist", "test", data_root=data_root)
    assert (torch.bincount(few.labels) - torch.bincount(whole.labels) / 10).abs().max() <= 1
    with pytest.raises(ConfigurationError, match="asked for 10001, there are 10000"):
        load_scenes("mnist", "test", count=10_001, data_root=data_root)


def test_some_scenes_are_spread_over_all_classes_of_a_sorted_folder():
    scenes = scenes_of(torch.zeros(100, 1, 4, 4, dtype=torch.uint8))
    assert scenes.spread(4).groups.tolist() == [0, 25, 50, 75]
    assert scenes.spread(100) is scenes and scenes.spread(1000) is scenes
    assert scenes.names(torch.tensor([2, -1, 0])) == ["c", "?", "a"]
