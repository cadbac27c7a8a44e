"""HDF5 files of pairs from strangers: nothing else is opened, and each bad one is one clear error in less than 10 s."""

import os
import time

import h5py
import numpy as np
import pytest
import torch
from test_hostile_input import Trap

from hardware.errors import ConfigurationError, InputError
from hardware.recording import foreign
from lensless.data.pairs_file import PairsFile

COUNT = 60


def no_bar(items, what, total):
    return items


def good(path, **other):
    """Pairs of random numbers; a dataset is replaced by what is given for it, or left out where that is None."""
    draw = np.random.default_rng(0)
    arrays = {
        "frames": draw.random((COUNT, 12, 10), np.float32),
        "pictures": draw.integers(0, 256, (COUNT, 8, 8), np.uint8),
        "labels": np.arange(COUNT) % 3,
    } | other
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            if values is not None:
                file.create_dataset(name, data=values)
    return path


def scenes(address, split="train"):
    return PairsFile.open(str(address)).scenes(split, None, no_bar)


@pytest.fixture(autouse=True)
def own_cache(cache_folder):
    return cache_folder


def test_pairs_are_read_as_they_stand_and_copies_stay_together(tmp_path):
    path = good(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        for name in ("frames", "pictures", "labels"):
            values = np.concatenate([file[name][:], file[name][:20]])
            del file[name]
            file.create_dataset(name, data=values, chunks=(7, *values.shape[1:]), compression="gzip", shuffle=True)
    found = {split: scenes(path, split) for split in ("train", "val", "test")}
    with h5py.File(path) as file:
        frames, pictures, labels = (file[name][:] for name in ("frames", "pictures", "labels"))
    rows = np.concatenate([one.rows.numpy() for one in found.values()])
    assert sorted(rows.tolist()) == list(range(COUNT + 20))
    for one in found.values():
        at = one.rows.numpy()
        assert np.array_equal(one.pictures[:, 0].numpy(), pictures[at])
        assert one.labels.tolist() == labels[at].tolist() and one.classes == ("0", "1", "2")
        assert np.array_equal(one.measurements(torch.arange(len(one)))[:, 0].numpy(), frames[at])
    groups = [set(one.groups.tolist()) for one in found.values()]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])


def test_names_and_kinds_of_numbers_are_taken_as_they_come(tmp_path):
    draw = np.random.default_rng(1)
    path = good(tmp_path / "a.h5", frames=None, pictures=None, labels=None)
    pictures = draw.random((COUNT, 1, 8, 8))
    with h5py.File(path, "a") as file:
        file["set/lensed"] = pictures
        file["set/diffuser"] = draw.random((COUNT, 12, 10)).astype(">f8")
        file.attrs["note"] = "of ours"
        file["text"] = "frames of ours"
    one = scenes(f"{path}?frames=set/diffuser&pictures=set/lensed")
    assert one.labels.unique().tolist() == [-1] and one.classes == ()
    expected = (pictures[one.rows.numpy(), 0] * 255).round().astype(np.uint8)
    assert np.array_equal(one.pictures[:, 0].numpy(), expected)


def external_link(path, trap):
    with h5py.File(path, "a") as file:
        del file["frames"]
        file["frames"] = h5py.ExternalLink(str(trap), "frames")


def external_storage(path, trap):
    with h5py.File(path, "a") as file:
        del file["frames"]
        file.create_dataset("frames", (COUNT, 12, 10), "f4", external=[(str(trap), 0, h5py.h5f.UNLIMITED)])


def virtual(path, trap):
    with h5py.File(path, "a") as file:
        del file["frames"]
        layout = h5py.VirtualLayout((COUNT, 12, 10), "f4", maxshape=(None, 12, 10))
        source = h5py.VirtualSource(str(trap), "frames", (COUNT, 12, 10), "f4", maxshape=(None, 12, 10))
        layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
        file.create_virtual_dataset("frames", layout)


def soft_link(path, trap):
    with h5py.File(path, "a") as file:
        file.move("frames", "else")
        file["frames"] = h5py.SoftLink("/else")


@pytest.mark.parametrize("attack", [external_link, external_storage, virtual, soft_link])
def test_nothing_that_a_file_points_to_is_opened(tmp_path, attack):
    path, trap = good(tmp_path / "a.h5"), Trap(tmp_path / "secret.h5")
    attack(path, trap.path)
    while trap.sprung():  # h5py may look at what it links to while the file is made
        pass
    with pytest.raises(InputError, match=r"has no frames|cannot be used|cannot be read"):
        scenes(f"{path}?frames=frames")
    assert not trap.sprung()
    trap.close()


def petabytes(file):
    file.create_dataset("frames", (2**40, 64, 64), "u1", chunks=(1, 64, 64))


def filled(file):
    file.create_dataset("frames", (COUNT, 2**12, 2**11), "f4", chunks=(1, 2**12, 2**11), compression="gzip")


def bomb(file):
    """Zeros, packed a thousandfold and more by two filters in a row."""
    file.create_dataset("frames", (COUNT, 2**10, 2**10), "f4", chunks=(1, 2**10, 2**10), scaleoffset=2)


def wide(file):
    file.create_dataset("frames", (1, 2**14, 2**13), "f8", chunks=(1, 2**10, 2**10), compression="gzip")


def texts(file):
    file["frames"] = ["a"] * COUNT


def one_number(file):
    file["frames"] = 5


def empty(file):
    file.create_dataset("frames", (0, 12, 10), "f4")


def colours(file):
    file["frames"] = np.zeros((COUNT, 12, 10, 3), np.uint8)


def signed(file):
    file["frames"] = np.zeros((COUNT, 12, 10), np.int16)


def fewer(file):
    file["frames"] = np.zeros((COUNT - 1, 12, 10), np.float32)


def loop(file):
    file.create_group("frames")
    file["frames/again"] = file["frames"]


@pytest.mark.parametrize(
    "attack", [petabytes, filled, bomb, wide, texts, one_number, empty, colours, signed, fewer, loop]
)
def test_arrays_that_cannot_be_pairs_are_one_clear_error(tmp_path, attack):
    path = good(tmp_path / "a.h5", frames=None)
    with h5py.File(path, "a") as file:
        attack(file)
    began_s = time.monotonic()
    with pytest.raises(InputError, match=r"a\.h5"):
        scenes(f"{path}?frames=frames")
    assert time.monotonic() - began_s < 10


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"frames": np.full((COUNT, 12, 10), np.nan, np.float32)}, "frame 0 holds numbers that are not finite"),
        ({"pictures": np.full((COUNT, 8, 8), 1.5)}, "outside of 0 .black. to 1"),
        ({"pictures": np.full((COUNT, 8, 8), np.nan)}, "outside of 0 .black. to 1"),
        ({"pictures": np.zeros((COUNT, 3, 8, 8), np.uint8)}, "pictures .*cannot be used"),
        ({"labels": np.full(COUNT, -2)}, "labels 'labels' run from -2"),
        ({"labels": np.full(COUNT, 2**40)}, "run from"),
        ({"labels": np.zeros(COUNT)}, "labels .*cannot be used"),
        ({"pictures": None}, "has no pictures .*it holds .*frames .*the nearest name"),
    ],
)
def test_values_that_cannot_be_pairs_are_one_clear_error(tmp_path, other, says):
    with pytest.raises(InputError, match=says):
        scenes(good(tmp_path / "a.h5", **other))


def test_options_and_names_that_there_are_not(tmp_path):
    path = good(tmp_path / "a.h5")
    with pytest.raises(ConfigurationError, match="'frame' is unknown"):
        scenes(f"{path}?frame=frames")
    with pytest.raises(InputError, match=r"has no frames 'framse'.*the nearest name is 'frames'"):
        scenes(f"{path}?frames=framse")
    for missing in (tmp_path / "none.h5", tmp_path, "nul\0.h5"):
        with pytest.raises(InputError):
            scenes(missing)
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(InputError, match="no plain file"):
        scenes(tmp_path / "pipe.h5")


def test_mutants_are_read_or_refused(tmp_path):
    """A process for each, so they are few here; what they do to HDF5 itself is tested with recordings."""
    content = good(tmp_path / "a.h5").read_bytes()
    ends = {"read": 0, "refused": 0}
    for seed in range(8):
        draw = np.random.default_rng(seed)
        mutant = bytearray(content[: draw.integers(len(content))] if seed % 5 == 0 else content)
        for _ in range(8):
            mutant[draw.integers(min(len(mutant), 6000 if draw.random() < 0.8 else len(mutant)))] = draw.integers(256)
        path = tmp_path / "mutant.h5"
        path.write_bytes(mutant)
        began_s = time.monotonic()
        try:
            found = foreign.datasets(path)
            for one in found.values():
                if not one.problem:
                    assert sum(map(len, foreign.values(path, one))) == one.shape[0]
            ends["read"] += 1
        except InputError as error:
            assert "mutant.h5" in str(error)
            ends["refused"] += 1
        assert time.monotonic() - began_s < 20
    assert min(ends.values()) > 0
