"""Printed characters: the fonts are right, the splits apart, and the pictures tell their classes."""

import matplotlib.ft2font
import pytest
import torch

from hardware.errors import InputError
from lensless.data import glyphs, load_scenes
from lensless.data.glyphs import FONTS


def test_every_font_has_every_character():
    assert len(glyphs.CLASSES) == 47
    for font in sum(FONTS.values(), ()):
        charmap = matplotlib.ft2font.FT2Font(str(glyphs._font_folder() / f"{font}.ttf")).get_charmap()
        assert not [character for character in glyphs.CLASSES if ord(character) not in charmap]


def test_no_typeface_is_in_two_splits():
    typefaces = ("DejaVuSansMono", "DejaVuSans", "DejaVuSerif", "STIXGeneral", "cmr", "cmb", "cmti", "cmss", "cmtt")
    taken = [{next(face for face in typefaces if font.startswith(face)) for font in fonts} for fonts in FONTS.values()]
    assert sum(map(len, taken)) == len(set.union(*taken)) == len(typefaces)
    groups = [set(load_scenes("glyphs", split, count=300).groups.tolist()) for split in ("train", "val", "test")]
    assert [len(numbers) for numbers in groups] == [15, 2, 4] and len(set.union(*groups)) == 21


def test_glyphs_depend_on_seed_and_index_only():
    many, few, other = (
        load_scenes("glyphs", "val", seed=seed, count=count) for seed, count in ((5, 700), (5, 90), (6, 90))
    )
    assert torch.equal(many.pictures[:90], few.pictures) and torch.equal(many.groups[:90], few.groups)
    assert few.fingerprint() != other.fingerprint() and few.name == "glyphs/val:90@5"
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert torch.equal(load_scenes("glyphs", "val", seed=5, count=90).pictures, few.pictures)
    finally:
        torch.set_num_threads(threads)


def test_classes_are_balanced_and_pictures_look_like_emnist():
    scenes = load_scenes("glyphs", "test")
    assert len(scenes) == 2000 and scenes.pictures.shape[1:] == (1, 28, 28) and scenes.classes == glyphs.CLASSES
    per_class = torch.bincount(scenes.labels)
    assert len(per_class) == 47 and per_class.max() - per_class.min() <= 1
    light = scenes.pictures.float() / 255
    assert 0.12 < light.mean() < 0.26  # EMNIST-balanced: 0.17
    assert (light.amax((-2, -1)) == 1).all()
    border = torch.cat([light[..., 0, :], light[..., -1, :], light[..., 0], light[..., -1]])
    assert border.mean() < 0.01
    grey = (light > 0.05) & (light < 0.95)
    assert 0.1 < grey.float().mean() < 0.4  # edges are soft, not stairs
    rows = torch.arange(28.0) - 13.5
    centre = (light.sum(-1) * rows).sum(-1) / light.sum((-2, -1))
    assert centre.abs().mean() < 2


def test_the_nearest_class_mean_tells_unseen_fonts_apart():
    train, test = load_scenes("glyphs", "train", count=47 * 60), load_scenes("glyphs", "test", count=47 * 10)
    means = torch.stack([train.pictures[train.labels == label].float().mean(0).flatten() for label in range(47)])
    nearest = torch.cdist(test.pictures.float().flatten(1), means).argmin(1)
    assert (nearest == test.labels).float().mean() > 0.5  # chance: 0.021


def test_a_missing_font_is_named(monkeypatch):
    monkeypatch.setitem(FONTS, "val", ("nofont",))
    with pytest.raises(InputError, match=r"nofont\.ttf' is missing, .*install matplotlib") as caught:
        glyphs.draw("val", 0, 1)
    assert caught.value.exit_code == 5
