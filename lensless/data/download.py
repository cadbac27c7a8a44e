"""Files of data sets on this machine: where they lie, whether they are whole, and how they are fetched.

Nothing is fetched unless it is asked for. What is fetched is pinned by SHA-256 and size; a mismatch is deleted and is
an error.
"""

import errno
import gzip
import hashlib
import http.client
import json
import logging
import math
import os
import pathlib
import secrets
import tarfile
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import BinaryIO

from hardware.errors import ConfigurationError, InputError, StorageError
from hardware.lock import in_turn

log = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 20
TIMEOUT_S = 30.0
_LONGEST_LOCK_BYTES = 1000


@dataclass(frozen=True)
class Pin:
    """What a file must be: its SHA-256 (hexadecimal) and its size."""

    sha256: str
    size_bytes: int


# Each file twice: packed as the mirrors serve it, so that nothing unknown is unpacked, and unpacked as torchvision
# reads it. The first are widely published, the second were computed from the original files.
MNIST_PINS = {
    "train-images-idx3-ubyte": (
        Pin("440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609", 9_912_422),
        Pin("ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db", 47_040_016),
    ),
    "train-labels-idx1-ubyte": (
        Pin("3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c", 28_881),
        Pin("65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5", 60_008),
    ),
    "t10k-images-idx3-ubyte": (
        Pin("8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6", 1_648_877),
        Pin("0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7", 7_840_016),
    ),
    "t10k-labels-idx1-ubyte": (
        Pin("f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6", 4_542),
        Pin("ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2", 10_008),
    ),
}
# The one archive that holds every EMNIST split, as published by several projects that checked it.
EMNIST_PIN = Pin("fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e", 561_753_746)
# The binary version of CIFAR-10, as published by TensorFlow Datasets and others.
CIFAR10_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR10_PIN = Pin("c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd", 170_052_171)


def data_folder(data_root: str | os.PathLike | None = None) -> pathlib.Path:
    """`data_root`, or `OPTICS_FREE_DATA`, or `../shared/data` beside the working tree, or the user's data folder."""
    chosen = data_root or os.environ.get("OPTICS_FREE_DATA")
    if chosen:
        return pathlib.Path(chosen).expanduser()
    for base in (pathlib.Path.cwd(), pathlib.Path(__file__).resolve().parents[2]):
        shared = base.parent / "shared" / "data"
        if shared.is_dir():
            return shared
    home = os.environ.get("XDG_DATA_HOME") or pathlib.Path.home() / ".local" / "share"
    return pathlib.Path(home) / "optics-free"


def idx_shape(path: pathlib.Path, dimensions: int, remedy: str) -> tuple[int, ...]:
    """The shape in the header of an idx file of bytes, once the file is known to be whole.

    Raises:
        InputError: missing, unreadable, no idx file of that many dimensions, empty, or not as long as its header says.
    """
    header_bytes = 4 + 4 * dimensions
    try:
        if path.exists() and not path.is_file() and not path.is_dir():  # a pipe would keep us waiting for ever
            raise OSError(errno.EINVAL, "it is no plain file")
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(header_bytes)
    except FileNotFoundError:
        raise InputError(f"data file '{path}' is missing; {remedy}") from None
    except OSError as error:
        raise InputError(f"data file '{path}' cannot be read ({error.strerror}); {remedy}") from error
    wanted = bytes((0, 0, 8, dimensions))  # 8: unsigned bytes
    if len(header) < header_bytes or header[:4] != wanted:
        raise InputError(
            f"data file '{path}' is no idx file: it has {size} bytes and starts with {header[:4].hex() or 'nothing'}, "
            f"expected {wanted.hex()} and at least {header_bytes} bytes; {remedy}"
        )
    shape = tuple(int.from_bytes(header[at : at + 4], "big") for at in range(4, header_bytes, 4))
    expected = header_bytes + math.prod(shape)
    if size != expected or not math.prod(shape):
        raise InputError(
            f"data file '{path}' is damaged: got {size} bytes, expected {expected} from its header {shape}; {remedy}"
        )
    return shape


def download(url: str, path: str | os.PathLike, sha256: str, size: int) -> pathlib.Path:
    """Fetch `url` to `path` unless the pinned file already lies there.

    Args:
        url: http or https.
        sha256: hexadecimal digest of the file that is expected.
        size: its length in bytes; not one byte more is kept.

    Raises:
        ConfigurationError: another kind of address.
        InputError: no answer, or what came is not the pinned file; then nothing stays behind.
        StorageError: the folder cannot be written.
    """
    path, pin = pathlib.Path(path), Pin(sha256, size)
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise ConfigurationError(f"cannot download '{url}': expected an http or https address")
    if not (path.is_file() and pin_of(path) == pin):
        _store(_received(url, size), path, pin, f"download of '{url}'")
    return path


def _received(url: str, limit_bytes: int) -> Iterator[bytes]:
    """What `url` answers, to one byte beyond the limit."""
    received = 0
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            for block in _blocks(answer, limit_bytes):
                received += len(block)
                yield block
    except (OSError, http.client.HTTPException) as error:
        raise InputError(
            f"download of '{url}' failed after {received} of {limit_bytes} bytes ({error}); check the network"
        ) from error


def _blocks(stream: BinaryIO, limit_bytes: float = math.inf) -> Iterator[bytes]:
    left = limit_bytes + 1
    while block := stream.read(min(BLOCK_BYTES, left)):
        left -= len(block)
        yield block


def _store(blocks: Iterable[bytes], path: pathlib.Path, pin: Pin | None, what: str) -> None:
    """The blocks as file `path`, if together they are what the pin says; else nothing stays behind."""
    digest, size = hashlib.sha256(), 0
    with _written_whole(path) as part:
        for block in blocks:
            part.write(block)
            digest.update(block)
            size += len(block)
        got = Pin(digest.hexdigest(), size)
        if pin and got != pin:
            raise InputError(
                f"{what} is not the pinned file: got {'at least ' if size > pin.size_bytes else ''}{size} bytes with "
                f"SHA-256 {got.sha256}, expected {pin.size_bytes} bytes with {pin.sha256}; "
                "it was deleted: try again, or bring the file yourself"
            )


def pin_of(path: pathlib.Path) -> Pin:
    """SHA-256 and size of the file as it lies there."""
    with path.open("rb") as file:
        return Pin(hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size)


@contextmanager
def _written_whole(path: pathlib.Path) -> Iterator[BinaryIO]:
    """A file that takes the name `path` when the block ends well, and is gone when it does not."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise StorageError(
            f"cannot write '{path}' ({error.strerror or error}); free some space, or choose another folder "
            "with OPTICS_FREE_DATA"
        ) from error
    finally:
        with suppress(OSError):  # a folder that cannot be written holds no part either
            part.unlink(missing_ok=True)


@contextmanager
def fetching_alone(folder: pathlib.Path) -> Iterator[None]:
    """One process at a time fetches into a folder; the others wait, and then find the files there."""
    with suppress(OSError):  # who cannot make it cannot write there either, and is told so
        folder.mkdir(parents=True, exist_ok=True)
    with in_turn(folder / "download"):
        yield


def fetch_mnist(raw: pathlib.Path) -> None:
    """Put the four pinned MNIST files into `raw`, those that are not there yet."""
    from torchvision.datasets import MNIST  # knows the mirrors

    for name, (packed, unpacked) in MNIST_PINS.items():
        if (raw / name).is_file() and pin_of(raw / name) == unpacked:
            continue
        archive = download(f"{MNIST.mirrors[0]}{name}.gz", raw / f"{name}.gz", packed.sha256, packed.size_bytes)
        with gzip.open(archive) as stream:
            _store(_blocks(stream, unpacked.size_bytes), raw / name, unpacked, f"'{name}' unpacked")
        archive.unlink()


def fetch_emnist(raw: pathlib.Path, files: list[str]) -> None:
    """Put the named EMNIST files into `raw`; the archive (562 MB) stays beside them for the other splits."""
    from torchvision.datasets import EMNIST

    if all((raw / name).is_file() for name in files):
        return
    archive = download(EMNIST.url, raw / "gzip.zip", EMNIST_PIN.sha256, EMNIST_PIN.size_bytes)
    with zipfile.ZipFile(archive) as members:
        for name in files:
            with members.open(f"gzip/{name}.gz") as stream, gzip.open(stream) as unpacked:
                _store(_blocks(unpacked), raw / name, None, name)  # the archive that it comes from is pinned


def fetch_cifar10(folder: pathlib.Path, pins: dict[str, Pin]) -> None:
    """Put the binary files of CIFAR-10 into `folder`, those that are not there yet."""
    if all((folder / name).is_file() for name in pins):
        return
    archive = download(CIFAR10_URL, folder / "cifar-10-binary.tar.gz", CIFAR10_PIN.sha256, CIFAR10_PIN.size_bytes)
    with tarfile.open(archive) as members:
        for name, pin in pins.items():  # by name: whatever else stands in an archive is not unpacked
            with members.extractfile(f"{folder.name}/{name}") as stream:
                _store(_blocks(stream, pin.size_bytes), folder / name, pin, f"'{name}' unpacked")
    archive.unlink()


def pinned_content(path: pathlib.Path, pin: Pin, remedy: str) -> bytes:
    """What stands in a file, if it is the pinned one; what was compared is what is returned.

    Raises:
        InputError: missing, unreadable, or another file.
    """
    try:
        if not path.is_file():
            raise FileNotFoundError(errno.ENOENT, "it is missing, or no plain file")
        with path.open("rb") as file:
            content = file.read(pin.size_bytes + 1)
    except OSError as error:
        raise InputError(f"data file '{path}' cannot be read ({error.strerror}); {remedy}") from error
    got = hashlib.sha256(content).hexdigest()
    if len(content) != pin.size_bytes or got != pin.sha256:
        more = "at least " if len(content) > pin.size_bytes else ""
        raise InputError(
            f"data file '{path}' is not the published one: {more}{len(content)} bytes with SHA-256 {got}, expected "
            f"{pin.size_bytes} bytes with {pin.sha256}; {remedy}"
        )
    return content


def check_lock(path: pathlib.Path) -> None:
    """Hold a file to the SHA-256 and size that it had when it was first used.

    Of EMNIST only the archive has a published SHA-256, and users may bring files that were unpacked elsewhere. So the
    first use writes what it found to `NAME.lock.json` beside the file, and later uses refuse anything else: that tells
    a file that changed under a study, not one that was wrong from the start.

    Raises:
        InputError: the file is not the one that was first used, or its lock cannot be understood.
    """
    lock = path.with_name(path.name + ".lock.json")
    got = pin_of(path)
    if not lock.exists():
        try:
            _store([json.dumps(asdict(got)).encode()], lock, None, lock.name)
        except StorageError as error:
            log.warning("'%s' is used without a lock: %s", path, error)  # a read-only data folder is a good one
        return
    try:
        if not lock.is_file() or lock.stat().st_size > _LONGEST_LOCK_BYTES:
            raise ValueError("it is no file of ours")
        first = Pin(**json.loads(lock.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"lock file '{lock}' is damaged ({error}); delete it to trust '{path.name}' anew") from error
    if got != first:
        raise InputError(
            f"data file '{path}' has changed since its first use: got {got.size_bytes} bytes with SHA-256 {got.sha256},"
            f" expected {first.size_bytes} bytes with {first.sha256}; restore it, or delete '{lock}' to trust it anew"
        )
