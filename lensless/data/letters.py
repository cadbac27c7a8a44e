"""OCR letters of Kassel and Taskar, in the text file `letter.data` that everybody passes on, or packed into an .npz.

52,152 handwritten lower-case letters of 16 x 8 black and white pixels, one a line, tab separated: id, letter, next_id,
word_id, position, fold, and the pixels row by row, ink 1; a tab ends the line. They are not EMNIST, and harder than
they look: the classes are uneven (189 to 5,024 letters), there are only 55 words, whose first letters were removed, and
of those in fold 0 every fifteenth picture stands bit by bit in another fold, too.

Fold 0 is the test part. Validation is a twelfth of the other words, by their id; a picture that also stands in test or
validation is left out of training.
"""

import gzip
import hashlib
import pathlib
import re
import zipfile
import zlib
from dataclasses import replace

import numpy as np
import torch

from hardware.errors import InputError
from lensless.data.official import VALIDATION_SHARE
from lensless.data.scene_set import Scenes

CLASSES = tuple("abcdefghijklmnopqrstuvwxyz")
ROWS, COLUMNS, SCALE = 16, 8, 2  # a pixel is shown as 2 x 2: a letter then fills a display of 32 x 32
NAMES = ("letter.data", "letter.data.gz", "ocr_letters_16x8.npz")
HOME = "http://ai.stanford.edu/~btaskar/ocr/"  # of the authors

_PIXELS = ROWS * COLUMNS
_HEAD = re.compile(rb"(\d{1,9})\t([a-z])\t(-1|\d{1,9})\t(\d{1,9})\t(\d{1,3})\t([0-9])\t")
_MOST_BYTES = 64 * 2**20  # the original has 14 MB
_TAIL_BYTES = 2 * _PIXELS - 1
_PACKED = {"images_packed": (ROWS,), "labels": (), "word": (), "fold": ()}  # arrays of the .npz, and a letter's shape
_FORM = "id, letter, next_id, word_id, position, fold and 128 pixels of 0 or 1, with tabs between them"


def letter_scenes(path: str | pathlib.Path, split: str) -> Scenes:
    """White letters on black, (N, 1, 32, 16), of one split; `groups` are the words.

    Args:
        path: of letter.data, letter.data.gz, or an .npz of the arrays `images_packed` (N, 16) uint8, eight pixels a
            byte, `labels`, `word` and `fold` (N,); or the folder that holds one of them by the names of `NAMES`.

    Raises:
        InputError: missing, or a line that is no letter.
    """
    file = _found(pathlib.Path(path).expanduser())
    bits, labels, words, folds = _unpacked(file) if file.suffix == ".npz" else _parsed(_content(file), file)
    splits = _splits(words, folds)
    chosen, copies = splits == split, np.zeros(len(splits), bool)
    if split == "train":
        packed = np.ascontiguousarray(np.packbits(bits, axis=1)).view(np.dtype((np.void, ROWS)))[:, 0]
        copies = chosen & np.isin(packed, packed[~chosen])
        chosen &= ~copies
    if not chosen.any():
        raise InputError(f"'{file}' has {len(bits)} letters and none of them for '{split}'; use the original file")
    pictures = torch.from_numpy(bits[chosen].reshape(-1, 1, ROWS, COLUMNS) * np.uint8(255))
    large = pictures.repeat_interleave(SCALE, 2).repeat_interleave(SCALE, 3)
    scenes = Scenes(
        large, torch.from_numpy(labels[chosen]), CLASSES, f"letters/{split}", torch.from_numpy(words[chosen])
    )
    count = int(copies.sum())
    note = f"{count:,} letters were left out of training: their pictures also stand in validation or test"
    return replace(scenes, notes=(note,)) if count else scenes


def _splits(words: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """The split of each letter, (N,); a word is in one of them."""
    known, at = np.unique(words, return_inverse=True)
    digests = (hashlib.sha256(f"word {word}".encode()).digest() for word in known.tolist())
    held_out = np.array([int.from_bytes(digest[:8], "big") % VALIDATION_SHARE == 0 for digest in digests])
    in_test = np.isin(words, words[folds == 0])
    return np.where(in_test, "test", np.where(held_out[at], "val", "train"))


def _found(path: pathlib.Path) -> pathlib.Path:
    candidates = [path / name for name in NAMES] if path.is_dir() else [path]
    for file in candidates:
        if file.is_file():
            return file
    raise InputError(
        f"OCR letters: no file '{candidates[0]}'; expected letter.data or letter.data.gz, with {_FORM}: fetch it from "
        f"{HOME}, and put it there or name it: letters:PATH"
    )


def _unpacked(file: pathlib.Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """As `_parsed`, of an .npz."""
    try:
        with file.open("rb") as content, np.load(content, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in _PACKED}
        count = len(arrays["labels"])
        for name, rest in _PACKED.items():
            kinds = "u" if rest else "ui"
            if arrays[name].dtype.kind not in kinds or arrays[name].shape != (count, *rest):
                raise ValueError(f"{name} is {arrays[name].dtype} {arrays[name].shape}")
        labels, words, folds = (arrays[name].astype(np.int64) for name in ("labels", "word", "fold"))
        if not count or labels.min() < 0 or labels.max() >= len(CLASSES):
            raise ValueError(f"{count} labels, expected each from 0 to {len(CLASSES) - 1}")
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"'{file}' holds no packed letters: {error}; take another copy") from error
    return np.unpackbits(arrays["images_packed"].astype(np.uint8), axis=1), labels, words, folds


def _content(file: pathlib.Path) -> bytes:
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"'{file}' cannot be read: {error}; take another copy of letter.data") from error
    if len(content) > _MOST_BYTES:
        raise InputError(
            f"'{file}' holds more than {_MOST_BYTES >> 20} MiB, the original 14; take another copy of letter.data"
        )
    return content


def _parsed(content: bytes, file: pathlib.Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pixels (N, 128) of 0 and 1, and labels, words and folds (N,) int64, each line held to the form."""
    lines = content.splitlines()
    heads, tails = [], []
    for number, line in enumerate(lines, 1):
        head = _HEAD.match(line)
        tail = line[head.end() :].removesuffix(b"\t") if head else b""
        if len(tail) != _TAIL_BYTES:
            raise _refusal(file, number, line)
        heads.append(head.group(2, 4, 6))
        tails.append(tail)
    if not lines:
        raise InputError(f"'{file}' is empty; expected lines of {_FORM}")
    marks = np.frombuffer(b"\t".join(tails) + b"\t", np.uint8).reshape(len(lines), _PIXELS, 2)
    good = (marks[..., 1] == ord("\t")).all(1) & ((marks[..., 0] & 0xFE) == ord("0")).all(1)
    if not good.all():
        at = int((~good).argmax())
        raise _refusal(file, at + 1, lines[at])
    letters, words, folds = zip(*heads, strict=True)
    labels = np.frombuffer(b"".join(letters), np.uint8).astype(np.int64) - ord("a")
    return marks[..., 0] & 1, labels, np.array(words, np.int64), np.array(folds, np.int64)


def _refusal(file: pathlib.Path, number: int, line: bytes) -> InputError:
    tabs = line.count(b"\t")
    return InputError(
        f"'{file}', line {number}: {line[:40]!r} ... ({tabs} tabs) is no letter; expected {_FORM}; take another copy "
        "of letter.data"
    )
