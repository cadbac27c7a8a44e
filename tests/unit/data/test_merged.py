"""Classes that are merged: the labels follow, the pictures and splits stay."""

import pytest
import torch

from hardware.errors import ConfigurationError
from lensless.data import Scenes, load_scenes
from lensless.data.cifar import CLASSES
from lensless.data.merged import MERGED, merged_scenes


def test_every_merged_set_has_classes_of_its_set_each_once():
    sets = {"mnist": tuple("0123456789"), "emnist-digits": tuple("0123456789"), "cifar10": CLASSES}
    sets["cifar10-jpeg"] = CLASSES
    for name, merged in MERGED.items():
        labels = torch.tensor([*range(10), -1])
        pictures = torch.zeros(11, 1, 4, 4, dtype=torch.uint8)
        scenes = Scenes(pictures, labels, sets[merged.scenes], f"{merged.scenes}/val", torch.arange(11))
        found = merged_scenes(scenes, name)
        assert found.name == f"{name}/val" and found.classes == tuple(merged.classes) and found.labels[-1] == -1
        for old, new in zip(scenes.classes, found.labels.tolist(), strict=False):
            assert old in merged.classes[found.classes[new]]
    with pytest.raises(ValueError, match="are made of"):
        merged_scenes(Scenes(pictures, labels, tuple("abcdefghij"), "mnist/val", torch.arange(11)), "mnist-even-odd")


def test_even_and_odd_digits_are_those_of_mnist_and_counts_are_drawn_evenly(data_root):
    digits = load_scenes("mnist", "test", data_root=data_root)
    both = load_scenes("mnist-even-odd", "test", data_root=data_root)
    assert torch.equal(both.labels, digits.labels % 2) and torch.equal(both.pictures, digits.pictures)
    assert both.classes == ("even", "odd") and both.name == "mnist-even-odd/test"
    some = load_scenes("mnist-even-odd", "test", 3, 100, data_root)
    assert some.name == "mnist-even-odd/test:100@3" and abs(int(some.labels.sum()) - 50) <= 1


def test_an_unknown_name_is_answered_with_the_merged_ones_too():
    with pytest.raises(ConfigurationError, match=r"nearest is 'cifar10-animal-vehicle'.*mnist-even-odd"):
        load_scenes("cifar10-animals-vehicles", "train")
