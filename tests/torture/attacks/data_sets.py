"""The files of MNIST and EMNIST, as they are downloaded."""

import gzip
import pathlib
import zipfile
from collections.abc import Callable

from attacks.attack import Attacks, Place
from attacks.formats import idx_head, poison, sparse
from attacks.good import good_emnist, good_mnist

ATTACKS = Attacks()


def _raw(change: Callable[[pathlib.Path], object]) -> Callable[[Place], str]:
    def build(place: Place) -> str:
        what, _ = good_mnist(place)
        change(place.folder / "MNIST" / "raw")
        return what

    return build


def _images(head: bytes, size: int) -> Callable[[Place], str]:
    return _raw(lambda raw: sparse(str(raw / "t10k-images-idx3-ubyte"), head, size))


ATTACKS.simple(
    "mnist",
    "ubyte",
    header_of_petabytes=_images(idx_head(2**32 - 1, 2**32 - 1, 2**32 - 1), 4096),
    header_of_a_sparse_file=_images(idx_head(30, 12_000, 12_000), 16 + 30 * 12_000**2),
    many_pictures_of_a_sparse_file=_raw(
        lambda raw: [
            sparse(str(raw / f"t10k-{kind}-ubyte"), idx_head(6_000_000, *shape), 8 + 8 * (len(shape) // 2) + size)
            for kind, shape, size in (("images-idx3", (28, 28), 6_000_000 * 784), ("labels-idx1", (), 6_000_000))
        ]
    ),
    other_numbers=_images(bytes((0, 0, 13, 3)) + bytes(12), 16),
    cut=_images(idx_head(30, 28, 28), 1000),
    longer=_images(idx_head(30, 28, 28), 10**6),
    no_picture=_images(idx_head(0, 28, 28), 16),
    labels=_raw(lambda raw: (raw / "t10k-labels-idx1-ubyte").write_bytes(idx_head(30) + b"\xff" * 30)),
    packed=_raw(
        lambda raw: (
            (raw / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(10**8))),
            (raw / "t10k-images-idx3-ubyte").unlink(),
        )
    ),
)


@ATTACKS.add("mnist", says="training.pt")
def old_pickle(place):
    what, _ = good_mnist(place)
    place.file("MNIST/processed/training.pt", poison(place))
    return what


@ATTACKS.add("emnist", says="ubyte")
def archive_of_paths(place):
    (place.folder / "EMNIST/raw").mkdir(parents=True)
    with zipfile.ZipFile(place.folder / "EMNIST/raw/gzip.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("../../canary", str(place.canary), "gzip/emnist-digits-test-images-idx3-ubyte.gz"):
            archive.writestr(name, gzip.compress(bytes(10**7)))
    return str(place.folder)


def _lock(text: str) -> Callable[[Place], str]:
    def build(place: Place) -> str:
        what, lock = good_emnist(place)
        pathlib.Path(lock).write_text(text)
        return what

    return build


ATTACKS.simple(
    "emnist",
    "lock",
    nested_lock=_lock("[" * 10**5),
    lock_of_a_list=_lock('["a", 1]'),
    lock_of_more=_lock('{"sha256": "a", "size_bytes": 1, "path": "/etc/passwd"}'),
    long_number=_lock('{"sha256": "a", "size_bytes": 1' + "0" * 10**5 + "}"),
)
