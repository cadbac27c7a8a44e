"""Pictures of the user's own: read, cut, split by content, and refused when they are something else."""

import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from hardware.errors import InputError
from lensless.data import folder as module
from lensless.data import load_scenes

SPLITS = ("train", "val", "test")


def save(path, seed: int, shape=(20, 20), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)).save(path, **options)


def load_all(folder) -> dict:
    """Every split that has pictures, by name."""
    found = {}
    for split in SPLITS:
        try:
            found[split] = load_scenes(f"folder:{folder}", split)
        except InputError as error:
            assert "none of them falls into" in str(error)
    return found


def test_subfolders_are_classes_and_the_splits_share_nothing(tmp_path):
    for seed in range(90):
        save(tmp_path / ("cat", "dog", "")[seed % 3] / f"{seed}.png", seed)
    found = load_all(tmp_path)
    assert set(found) == set(SPLITS) and sum(map(len, found.values())) == 90
    assert 60 <= len(found["train"]) <= 84
    assert all(scenes.classes == ("cat", "dog") for scenes in found.values())
    labels = torch.cat([scenes.labels for scenes in found.values()])
    assert torch.bincount(labels + 1).tolist() == [30, 30, 30]
    assert len(torch.cat([scenes.groups for scenes in found.values()]).unique()) == 90
    assert found["train"].name == f"folder:{tmp_path.name}/train"


def test_a_picture_keeps_its_split_when_others_are_added_and_copies_stay_with_it(tmp_path):
    for seed in range(30):
        save(tmp_path / f"{seed}.png", seed)
    before = {split: set(scenes.groups.tolist()) for split, scenes in load_all(tmp_path).items()}
    for seed in range(30, 60):
        save(tmp_path / f"{seed}.png", seed, shape=(50, 70))
    save(tmp_path / "copy" / "same.bmp", 3)
    after = load_all(tmp_path)
    for split, groups in before.items():
        assert groups <= set(after[split].groups.tolist())
    assert sum(map(len, after.values())) == 61
    groups = torch.cat([scenes.groups for scenes in after.values()])
    assert len(groups.unique()) == 60  # the copy has the group, and so the split, of its original


def test_pictures_are_cut_to_the_central_square_and_averaged(tmp_path):
    wide = np.zeros((256, 600, 3), np.uint8)
    wide[:, 172:428] = 100
    wide[:, 300:428] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    (scenes,) = load_all(tmp_path).values()
    assert scenes.pictures.shape == (1, 1, 128, 128) and scenes.labels.tolist() == [-1]
    assert (scenes.pictures[..., :64] == 100).all() and (scenes.pictures[..., 64:] == 200).all()


def test_small_pictures_get_black_around_them(tmp_path):
    for seed in range(12):
        save(tmp_path / f"{seed}.png", seed, shape=(10, 10) if seed % 2 else (30, 30))
    for scenes in load_all(tmp_path).values():
        assert scenes.pictures.shape[-2:] == (30, 30)
        small = [picture for picture in scenes.pictures if picture.sum() == picture[:, 10:20, 10:20].sum()]
        assert all(picture[:, 10:20, 10:20].max() > 0 for picture in small)


def test_every_kind_and_depth_becomes_grey(tmp_path):
    grey = np.full((12, 12), 80, np.uint8)
    for kind in ("jpg", "tif", "bmp", "png"):
        Image.fromarray(grey).save(tmp_path / f"eight.{kind}")
    Image.fromarray(grey.astype(np.uint16) * 256 + 17).save(tmp_path / "sixteen.png")
    Image.fromarray(np.dstack([grey, grey, grey, np.full_like(grey, 255)])).save(tmp_path / "opaque.PNG")
    (scenes,) = load_all(tmp_path).values()
    assert len(scenes) == 6 and (scenes.pictures.int() - 80).abs().max() <= 1
    clear = np.dstack([grey, grey, grey, np.zeros_like(grey)])
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert min(int(scenes.pictures.min()) for scenes in load_all(tmp_path).values()) == 0


def test_colours_stay_and_grey_pictures_beside_them_have_all_three_alike(tmp_path):
    red = np.zeros((12, 12, 4), np.uint8)
    red[..., 0], red[..., 3] = 200, 255
    red[:6, :, 3] = 0  # transparent
    Image.fromarray(red).save(tmp_path / "red.png")
    Image.fromarray(np.full((12, 12), 80, np.uint8)).save(tmp_path / "grey.png")
    pictures = torch.cat([scenes.pictures for scenes in load_all(tmp_path).values()])
    red, grey = sorted(pictures, key=lambda picture: int(picture[2].max()))
    assert red[:, 6:].amax((1, 2)).tolist() == [200, 0, 0] and int(red[:, :6].max()) == 0
    assert bool((grey == 80).all()) and grey.shape == (3, 12, 12)


def test_a_photograph_stands_as_its_camera_says(tmp_path):
    picture = np.zeros((40, 40), np.uint8)
    picture[:20] = 255
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held on its side: show it a quarter turn clockwise
    Image.fromarray(picture).save(tmp_path / "photo.png", exif=turned)
    (scenes,) = load_all(tmp_path).values()
    assert (scenes.pictures[..., 20:] == 255).all() and (scenes.pictures[..., :20] == 0).all()


def test_files_that_are_no_pictures_are_named(tmp_path):
    save(tmp_path / "good.png", 0)
    (tmp_path / ".hidden").write_text("passed over")
    assert load_all(tmp_path)
    whole = (tmp_path / "good.png").read_bytes()
    for content in (b"only text", b"", whole[:200], whole[:33]):
        (tmp_path / "bad.png").write_bytes(content)
        with pytest.raises(InputError, match=r"bad\.png' is no readable picture") as caught:
            load_scenes(f"folder:{tmp_path}", "train")
        assert caught.value.exit_code == 5
    (tmp_path / "bad.png").unlink()
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(InputError, match=r"notes\.txt' is no picture by its name"):
        load_scenes(f"folder:{tmp_path}", "train")


def test_a_picture_under_another_kind_of_name_is_refused(tmp_path):
    save(tmp_path / "really.png", 0)
    (tmp_path / "really.png").rename(tmp_path / "really.jpg")
    with pytest.raises(InputError, match=r"really\.jpg' is no readable picture"):
        load_scenes(f"folder:{tmp_path}", "train")


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    Image.new("1", (8001, 8000)).save(tmp_path / "large.png")
    monkeypatch.setattr(module, "_square", lambda image: pytest.fail("was decoded"))
    with pytest.raises(InputError, match=r"large\.png' has 8001 x 8000 pixels, expected at most 64,000,000"):
        load_scenes(f"folder:{tmp_path}", "train")
    header = bytearray((tmp_path / "large.png").read_bytes())
    header[16:24] = (2**31 - 1).to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    (tmp_path / "large.png").write_bytes(header)
    with pytest.raises(InputError, match=r"large\.png' has far too many pixels"):
        load_scenes(f"folder:{tmp_path}", "train")


def test_links_that_leave_the_folder_are_refused(tmp_path):
    save(tmp_path / "outside" / "secret.png", 0)
    save(tmp_path / "mine" / "own.png", 1)
    (tmp_path / "mine" / "same.png").symlink_to(tmp_path / "mine" / "own.png")
    assert sum(map(len, load_all(tmp_path / "mine").values())) == 2
    for target in ("outside", "outside/secret.png"):
        link = tmp_path / "mine" / "link.png"
        link.symlink_to(tmp_path / target)
        with pytest.raises(InputError, match=r"link\.png' is a link to .* outside"):
            load_scenes(f"folder:{tmp_path / 'mine'}", "train")
        link.unlink()


def test_empty_deep_and_missing_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="holds no picture"):
        load_scenes(f"folder:{tmp_path}", "train")
    with pytest.raises(InputError, match="is no folder"):
        load_scenes(f"folder:{tmp_path / 'nowhere'}", "train")
    save(tmp_path / "class" / "deeper" / "one.png", 0)
    with pytest.raises(InputError, match="no deeper"):
        load_scenes(f"folder:{tmp_path}", "train")
