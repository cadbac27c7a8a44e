"""OCR letters in their original text form: every picture and label, splits that share nothing, bad lines refused."""

import gzip

import numpy as np
import pytest
import torch

from hardware.errors import InputError
from lensless.data import load_scenes
from lensless.data.letters import CLASSES

SPLITS = ("train", "val", "test")


def line(number: int, letter: str, word: int, position: int, fold: int, bits) -> str:
    return "\t".join([str(number), letter, "-1", str(word), str(position), str(fold), *map(str, bits)]) + "\t\n"


def few(tmp_path, count: int = 300):
    """Random letters in words of three; every tenth word is of fold 0."""
    draw = np.random.default_rng(0)
    bits = draw.integers(0, 2, (count, 128))
    lines = [line(n + 1, CLASSES[n % 26], n // 3, n % 3, n // 3 % 10, bits[n]) for n in range(count)]
    path = tmp_path / "letter.data"
    path.write_text("".join(lines))
    return path, bits, lines


@pytest.fixture(scope="module")
def original(data_root, tmp_path_factory):
    """letter.data as its authors wrote it, made again from the packed copy, and that copy."""
    packed = np.load(data_root / "letters" / "ocr_letters_16x8.npz")
    bits = np.unpackbits(packed["images_packed"], axis=1)
    rows = zip(packed["labels"], packed["word"], packed["position"], packed["fold"], bits, strict=True)
    text = "".join(line(n, CLASSES[label], word, at, fold, row) for n, (label, word, at, fold, row) in enumerate(rows))
    folder = tmp_path_factory.mktemp("data") / "letters"
    folder.mkdir()
    with gzip.open(folder / "letter.data.gz", "wt", compresslevel=1) as file:
        file.write(text)
    return folder.parent, packed, bits


def test_every_letter_of_the_original_is_read_as_it_stands(original):
    root, packed, bits = original
    found = {split: load_scenes("letters", split, data_root=root) for split in SPLITS}
    test = packed["fold"] == 0
    assert torch.equal(found["test"].pictures[:, 0, ::2, ::2].flatten(1), torch.from_numpy(bits[test] * np.uint8(255)))
    assert torch.equal(
        found["test"].pictures[:, 0, 1::2, 1::2].flatten(1), torch.from_numpy(bits[test] * np.uint8(255))
    )
    assert found["test"].labels.tolist() == packed["labels"][test].tolist()
    assert found["test"].groups.tolist() == packed["word"][test].tolist()
    assert found["test"].classes == CLASSES == tuple(packed["classes"].tolist())

    groups = [set(scenes.groups.tolist()) for scenes in found.values()]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    keys = {split: {one.numpy().tobytes() for one in scenes.pictures} for split, scenes in found.items()}
    assert not keys["train"] & (keys["test"] | keys["val"])
    dropped = 52_152 - sum(map(len, found.values()))
    assert f"{dropped:,} letters were left out" in found["train"].notes[0]
    assert found["test"].notes == () and len(found["test"]) == 4617
    assert 0.07 < len(found["val"]) / (52_152 - 4617) < 0.10
    # A copy of a test picture is a copy of it in the packed file, too.
    again = {row.tobytes() for row in packed["images_packed"][test]}
    outside = sum(row.tobytes() in again for row in packed["images_packed"][~test])
    assert 0 < outside <= dropped


def test_a_path_names_the_file_and_ink_is_white(tmp_path):
    path, bits, _ = few(tmp_path)
    scenes = load_scenes(f"letters:{path}", "test")
    of_test = [n for n in range(300) if n // 3 % 10 == 0]
    assert scenes.pictures.shape == (len(of_test), 1, 32, 16) and scenes.name == "letters/test"
    assert torch.equal(
        scenes.pictures[:, 0, ::2, ::2].flatten(1), torch.from_numpy(bits[of_test].astype(np.uint8) * 255)
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text.replace("\t1\t", "\t2\t", 400), "is no letter"),
        (lambda text: text + "301\tA\t-1\t9\t1\t1" + "\t0" * 128 + "\t\n", "line 301"),
        (lambda text: text + "301\ta\t-1\t9\t1\t1" + "\t0" * 127 + "\t\n", "line 301"),
        (lambda text: text + "301\ta\t-1\t9\t1\t1" + "\t0" * 129 + "\t\n", "line 301"),
        (lambda text: text + "301\ta\t-1\t9\t1\t1" + "\t0" * 127 + "\t7\t\n", "line 301"),
        (lambda text: text + "301\ta\t-1\t9\t1\t12" + "\t0" * 128 + "\t\n", "line 301"),
        (lambda text: text + "\n", "line 301"),
        (lambda text: text[:-100], "line 300"),
        (lambda text: "", "is empty"),
    ],
)
def test_a_line_that_is_no_letter_is_named(tmp_path, change, says):
    path, _, lines = few(tmp_path)
    path.write_text(change("".join(lines)))
    with pytest.raises(InputError, match=says):
        load_scenes(f"letters:{path}", "train")


def test_missing_cut_and_swollen_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="letters:PATH"):
        load_scenes("letters", "train", data_root=tmp_path)
    packed = gzip.compress(b"".join(map(str.encode, few(tmp_path)[2])))
    file = tmp_path / "letter.data.gz"
    for content, says in ((packed[:-200], "cannot be read"), (b"no gzip", "cannot be read"),
                          (gzip.compress(bytes(80 << 20), 1), "more than 64 MiB")):  # fmt: skip
        file.write_bytes(content)
        with pytest.raises(InputError, match=says):
            load_scenes(f"letters:{file}", "train")


def test_the_packed_copy_is_the_original(original, data_root):
    """An .npz in the folder is read where letter.data is not there."""
    root, _, _ = original
    for split in SPLITS:
        assert (
            load_scenes("letters", split, data_root=data_root).fingerprint()
            == load_scenes("letters", split, data_root=root).fingerprint()
        )


@pytest.mark.parametrize(
    "name, value, reason",
    [
        ("labels", np.full(40, 26), "expected each from 0 to 25"),
        ("labels", np.zeros(39, np.int64), "images_packed is uint8"),
        ("images_packed", np.zeros((40, 15), np.uint8), "images_packed is uint8"),
        ("word", np.zeros(40), "word is float64"),
        ("fold", None, "fold"),
    ],
)
def test_packed_letters_of_another_form_are_refused(tmp_path, name, value, reason):
    arrays = {
        "images_packed": np.zeros((40, 16), np.uint8), "labels": np.arange(40) % 26, "word": np.arange(40),
        "fold": np.arange(40) % 10,
    }  # fmt: skip
    file = tmp_path / "some.npz"
    np.savez(file, **arrays)
    assert len(load_scenes(f"letters:{file}", "test")) == 4
    arrays |= {name: value}
    np.savez(file, **{key: array for key, array in arrays.items() if array is not None})
    with pytest.raises(InputError, match=f"holds no packed letters: .*{reason}.*; take another copy"):
        load_scenes(f"letters:{file}", "test")
