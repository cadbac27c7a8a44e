"""Scenes: pictures with labels, split once and for all into training, validation and test.

    mnist                   MNIST, read from the data folder
    emnist-SPLIT            EMNIST: byclass, bymerge, balanced, letters, digits, mnist
    letters                 OCR letters of Kassel and Taskar, from letters/letter.data; letters:PATH names the file
    cifar10                 CIFAR-10
    cifar10-jpeg            JPEG copies of a part of it, from natural/
    bsds-32, -64, -128      squares of the photographs of BSDS500, from natural/
    glyphs                  printed characters in random pose; nothing to download
    SET-CLASSES             a set with its classes merged, see `lensless.data.merged`: mnist-even-odd,
                            emnist-digits-even-odd, cifar10-animal-vehicle
    folder:PATH             pictures of the user's own
    shown:PATH              the pictures that recordings show, without their frames

Of MNIST, EMNIST and CIFAR-10, validation is a fixed twelfth of the official training part and the test part stays
whole; no seed moves a picture from one split to another.

Scenes that come with what a camera measured of them have names, too, for training and evaluation:

    recorded:PATH           recordings of scenes, see `lensless.data.recorded`
    pairs:FILE.h5           an HDF5 file of frames and pictures, see `lensless.data.pairs_file`
"""

import difflib
import os
from collections.abc import Sequence
from dataclasses import replace

from hardware.errors import ConfigurationError, InputError
from lensless.data import download as files
from lensless.data import glyphs
from lensless.data.cifar import cifar10_scenes
from lensless.data.folder import folder_scenes
from lensless.data.letters import letter_scenes
from lensless.data.merged import MERGED, merged_scenes
from lensless.data.natural import SIDES, bsds_squares, cifar10_copies
from lensless.data.official import EMNIST_SPLITS, official_scenes
from lensless.data.recorded import shown_scenes
from lensless.data.scene_set import SPLITS, Scenes, stratified

_EMNIST, _BSDS = (f"emnist-{split}" for split in EMNIST_SPLITS), (f"bsds-{side}" for side in SIDES)
NAMES = ("mnist", *_EMNIST, "letters", "cifar10", "cifar10-jpeg", *_BSDS, "glyphs", *MERGED)
WITH_PATH = {"letters": letter_scenes, "folder": folder_scenes, "shown": shown_scenes}
MEASURED = ("recorded", "pairs")  # kinds of scenes that come with their measurements
_PATHS = (*(f"{kind}:PATH" for kind in (*WITH_PATH, *MEASURED)),)
_COUNT_STREAM = 0xC0


def load_scenes(
    name: str,
    split: str,
    seed: int = 0,
    count: int | None = None,
    data_root: str | os.PathLike | None = None,
    download: bool = False,
) -> Scenes:
    """Scenes by name.

    Args:
        name: one of `NAMES`, or KIND:PATH with a kind of `WITH_PATH`.
        split: train, val or test.
        seed: of the glyphs' poses, and of which `count` scenes are picked; never of the splits.
        count: how many; default all (glyphs: 20,000 / 2,000 / 2,000). Picked in equal shares from every class.
        data_root: where the data sets lie; default see `lensless.data.download.data_folder`.
        download: fetch MNIST, EMNIST or CIFAR-10 if missing. Needs a network.

    Raises:
        ConfigurationError: an unknown name or split, or more scenes than there are.
        InputError: data that is missing, damaged, or no picture.
    """
    _known(split, SPLITS, "a split of scenes")
    kind, _, rest = name.partition(":")
    if count is not None and count < 1:
        raise ConfigurationError(f"scenes '{name}': got count {count}, expected at least 1")
    if seed < 0:
        raise ConfigurationError(f"scenes '{name}': got seed {seed}, expected 0 or more")
    if name == "glyphs":
        pictures, labels, fonts = glyphs.draw(split, seed, count)
        return Scenes(pictures, labels, glyphs.CLASSES, named(f"glyphs/{split}", count, seed), fonts)
    if name in MERGED:
        of_set = load_scenes(MERGED[name].scenes, split, seed, None, data_root, download)
        return picked(merged_scenes(of_set, name), count, seed)
    if kind in MEASURED and rest:
        raise ConfigurationError(
            f"scenes '{name}' are pictures with their frames, for `lensless train` and `lensless evaluate`; the "
            "pictures of recordings alone are shown:PATH"
        )
    if kind in WITH_PATH and rest:
        scenes = WITH_PATH[kind](rest, split)
    else:
        _known(name, NAMES, "a set of scenes", also=_PATHS)
        scenes = _of_data_folder(name, split, data_root, download)
    if not len(scenes):
        raise InputError(f"scenes '{name}' hold none for '{split}'; expected at least one: take the whole data set")
    return picked(scenes, count, seed)


def _of_data_folder(name: str, split: str, data_root: str | os.PathLike | None, download: bool) -> Scenes:
    root = files.data_folder(data_root)
    if name == "letters":
        return letter_scenes(root / "letters", split)
    if name == "cifar10":
        return cifar10_scenes(root, split, download)
    if name == "cifar10-jpeg":
        return cifar10_copies(root, split)
    if name.startswith("bsds-"):
        return bsds_squares(root, int(name.removeprefix("bsds-")), split)
    return official_scenes(name, split, root, download)


def picked(scenes: Scenes, count: int | None, seed: int) -> Scenes:
    """`count` of the scenes by a seed, in equal shares from every class; None takes all.

    Raises:
        ConfigurationError: more than there are.
    """
    if count is None:
        return scenes
    if count > len(scenes):
        raise ConfigurationError(f"scenes '{scenes.name}': asked for {count}, there are {len(scenes)}")
    some = scenes.subset(stratified(scenes.labels, count, (seed, _COUNT_STREAM)))
    return replace(some, name=named(scenes.name, count, seed))


def named(name: str, count: int | None, seed: int) -> str:
    """The name of `count` scenes that were picked by a seed."""
    return name + (f":{count}" if count else "") + (f"@{seed}" if seed else "")


def _known(value: str, known: Sequence[str], what: str, also: Sequence[str] = ()) -> None:
    if value not in known:
        everything = [*known, *also]
        nearest = difflib.get_close_matches(value, everything, n=1, cutoff=0.0)[0]
        raise ConfigurationError(
            f"'{value}' is not {what}; the nearest is '{nearest}' (there are: {', '.join(everything)})"
        )
