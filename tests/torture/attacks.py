"""Hostile files of every kind that is read, each built where it is wanted, and good ones to compare with."""

import atexit
import binascii
import dataclasses
import functools
import gzip
import io
import json
import os
import pathlib
import pickle
import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable

import h5py
import numpy as np
import tiny
import torch
from PIL import Image
from test_recording_hostile import external_link, external_storage, make, soft_link, virtual
from video import noise, write_ffv1

from lensless import tensor_file
from lensless.data.download import check_lock
from lensless.optics.transfer import TransferMatrix
from lensless.train import checkpoint, state

RIG = pathlib.Path(__file__).resolve().parents[2] / "hardware" / "rigs" / "bare-v1.toml"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where an attack is built: `canary` is what its code would touch, `trap` the file that it names."""

    folder: pathlib.Path
    canary: pathlib.Path
    trap: pathlib.Path

    def file(self, name: str, content: bytes | str) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)


@dataclasses.dataclass(frozen=True)
class Attack:
    """What `build` makes is opened as `kind`; the message must hold `says`, unless it `may_read`."""

    kind: str
    build: Callable[[Place], str]
    says: str
    may_read: bool

    @property
    def slow(self) -> bool:
        """Takes a second, a process of its own, or a whole training."""
        long = any(word in self.build.__name__ for word in ("64_mega", "million_members", "bomb"))
        return long or self.kind in ("training", "vetted", "source")

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.build.__name__}"


ATTACKS: list[Attack] = []


def attack(*kinds: str, says: str = "", may_read: bool = False):
    def register(build: Callable[[Place], str]) -> Callable[[Place], str]:
        ATTACKS.extend(Attack(kind, build, says, may_read) for kind in kinds)
        return build

    return register


def simple(kind: str, says: str = "", may_read: bool = False, **whats: str | Callable[[Place], str]) -> None:
    """Attacks by name, each an address as it is, or what a function of the place gives."""
    for name, what in whats.items():

        def build(place: Place, what=what) -> str:
            return what(place) if callable(what) else what

        build.__name__ = name
        attack(kind, says=says, may_read=may_read)(build)


class Payload:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, canary: pathlib.Path):
        self.canary = canary

    def __reduce__(self):
        return pathlib.Path.touch, (self.canary,)


def poison(place: Place) -> bytes:
    return pickle.dumps(Payload(place.canary))


# Good files: of each kind, what is opened, and the file in it that is worth changing.


def good_rig(place: Place) -> tuple[str, str]:
    return (place.file("good.toml", RIG.read_bytes()),) * 2


def good_npy(place: Place) -> tuple[str, str]:
    return (place.file("good.npy", npy(numbers())),) * 2


def good_png(place: Place) -> tuple[str, str]:
    return (place.file("good.png", picture(numbers(), "PNG")),) * 2


def good_tif(place: Place) -> tuple[str, str]:
    return (place.file("good.tif", picture(numbers(), "TIFF")),) * 2


def good_calibration(place: Place) -> tuple[str, str]:
    tiny.setting().calibration.save(place.folder / "good.npz", overwrite=True)
    return (str(place.folder / "good.npz"),) * 2


@functools.cache
def _shelf() -> pathlib.Path:
    """Good folders that take time to make."""
    shelf = tempfile.TemporaryDirectory(prefix="lensless-tests-")
    atexit.register(shelf.cleanup)
    return pathlib.Path(shelf.name)


def good_trained(place: Place) -> tuple[str, str]:
    shutil.copytree(_trained(), place.folder / "trained")
    return str(place.folder / "trained"), str(place.folder / "trained" / checkpoint.WEIGHTS)


@functools.cache
def _trained() -> pathlib.Path:
    folder = _shelf() / "trained"
    folder.mkdir()
    tiny.setting().calibration.save(folder / checkpoint.CALIBRATION, overwrite=True)
    spec = tiny.setting().rig.spec
    rig = {"id": spec.id, "fingerprint": spec.fingerprint, "rays": None, "facts": json.loads(json.dumps(tiny.facts()))}
    checkpoint.save(folder, tiny.classify(), {"rig": rig, "frames": 4, "calibration": tiny.setting().calibration.id})
    return folder


def good_state(place: Place) -> tuple[str, str]:
    folder = place.folder / "state"
    tensor_file.write(folder / state.NEWEST, {"network.a": torch.arange(6.0)}, {"epoch": 1, "history": []})
    return str(folder), str(folder / state.NEWEST)


def good_training(place: Place) -> tuple[str, str]:
    shutil.copytree(_training(), place.folder / "training")
    return str(place.folder / "training"), str(place.folder / "training" / state.NEWEST)


@functools.cache
def _training() -> pathlib.Path:
    tiny.run(_shelf() / "training", recipe=dataclasses.replace(tiny.RECIPE, epochs=1))
    return _shelf() / "training"


def good_transfer(place: Place) -> tuple[str, str]:
    path = place.folder / "good.safetensors"
    TransferMatrix(torch.rand(12, 6), (2, 3), (3, 4), noise_std=1e-3).save(path)
    return (str(path),) * 2


def good_pictures(place: Place) -> tuple[str, str]:
    folder = place.folder / "pictures"
    for number in range(12):
        place.file(f"pictures/a/{number}.png", picture(numbers(number).astype(np.uint8), "PNG"))
    return str(folder), place.file("pictures/b/x.jpg", picture(numbers(20).astype(np.uint8), "JPEG"))


def good_mnist(place: Place) -> tuple[str, str]:
    for part in ("train", "t10k"):
        idx(place, f"MNIST/raw/{part}", np.zeros((30, 28, 28), np.uint8), np.arange(30) % 10)
    return str(place.folder), str(place.folder / "MNIST/raw/t10k-images-idx3-ubyte")


def good_emnist(place: Place) -> tuple[str, str]:
    idx(place, "EMNIST/raw/emnist-digits-test", np.zeros((30, 28, 28), np.uint8), np.arange(30) % 10)
    for kind in ("images-idx3", "labels-idx1"):
        check_lock(place.folder / f"EMNIST/raw/emnist-digits-test-{kind}-ubyte")
    return str(place.folder), str(place.folder / "EMNIST/raw/emnist-digits-test-images-idx3-ubyte.lock.json")


def good_recording(place: Place) -> tuple[str, str]:
    path = place.folder / "good.h5"
    path.unlink(missing_ok=True)
    return (str(make(path)),) * 2


def good_video(place: Place) -> tuple[str, str]:
    path = place.folder / "good.mkv"
    write_ffv1(path, noise(3))
    return f"opencv:{path}", str(path)


# Kind of reader: its good files.
GOOD: dict[str, list[Callable[[Place], tuple[str, str]]]] = {
    "rig": [good_rig],
    "frame": [good_npy, good_png, good_tif],
    "calibration": [good_calibration],
    "trained": [good_trained],
    "training_state": [good_state],
    "training": [good_training],
    "transfer": [good_transfer],
    "pictures": [good_pictures],
    "mnist": [good_mnist],
    "emnist": [good_emnist],
    "recording": [good_recording],
    "vetted": [good_recording],
    "camera": [good_video],
    "source": [good_npy],
}


def numbers(seed: int = 0, shape: tuple[int, int] = (12, 12)) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 4096, shape).astype(np.uint16)


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_header(text: str, rest: bytes = b"", version: int = 1) -> bytes:
    length = struct.pack("<H" if version == 1 else "<I", len(text) + 1)
    return b"\x93NUMPY" + bytes((version, 0)) + length + text.encode() + b"\n" + rest


def described(descr: str, shape: str, rest: bytes = b"") -> bytes:
    return npy_header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}", rest)


def picture(array: np.ndarray, form: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, form, **options)
    return file.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", binascii.crc32(name + body))


def png(columns: int, rows: int, content: bytes, depth: int = 8, colour: int = 0, *before: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", columns, rows, depth, colour, 0, 0, 0)
    parts = (chunk(b"IHDR", head), *before, chunk(b"IDAT", content), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def deflated_zeros(count: int) -> bytes:
    packer = zlib.compressobj(9)
    block = bytes(2**20)
    whole = b"".join(packer.compress(block) for _ in range(count >> 20))
    return whole + packer.compress(bytes(count & (2**20 - 1))) + packer.flush()


def tiff(columns: int, rows: int, content: bytes, compression: int = 1, directories: int = 1, *more: tuple) -> bytes:
    """`more`: other entries (tag, type, count, value) of each directory."""
    entries = [
        *((256, 4, 1, columns), (257, 4, 1, rows), (258, 3, 1, 8), (259, 3, 1, compression), (262, 3, 1, 1)),
        *((273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, rows), (279, 4, 1, len(content)), *more),
    ]
    entries = sorted({entry[0]: entry for entry in entries}.values())
    one = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    at, parts = 8 + len(content), []
    for number in range(directories):
        at += len(one) + 4
        parts.append(one + struct.pack("<I", at if number + 1 < directories else 0))
    return b"II*\0" + struct.pack("<I", 8 + len(content)) + content + b"".join(parts)


def jpeg_of_scans(scans: int, side: int = 8000) -> bytes:
    """A progressive JPEG that says again and again, in 500 bytes each time, that all is black."""
    blocks = (side // 8) ** 2
    tables = b"\xff\xdb" + struct.pack(">HB", 67, 0) + bytes([1] * 64)
    frame = b"\xff\xc2" + struct.pack(">HBHHB", 11, 8, side, side, 1) + b"\1\x11\0"
    one_code = bytes([1] + [0] * 15)
    codes = b"\xff\xc4" + struct.pack(">H", 2 + 18 + 18) + b"\0" + one_code + b"\0" + b"\x10" + one_code + b"\xe0"
    scan = b"\xff\xda" + struct.pack(">HB", 8, 1) + b"\1\0"
    first = scan + b"\0\0\0" + bytes(blocks // 8 + 8)
    again = scan + b"\1\x3f\0" + bytes(blocks // 16384 * 15 // 8 + 8)
    return b"\xff\xd8" + tables + frame + codes + first + again * scans + b"\xff\xd9"


def idx(place: Place, stem: str, pictures: np.ndarray, labels: np.ndarray) -> None:
    for kind, array in (("images-idx3", pictures), ("labels-idx1", labels)):
        place.file(f"{stem}-{kind}-ubyte", idx_head(*array.shape) + array.astype(np.uint8).tobytes())


def idx_head(*shape: int) -> bytes:
    return bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape)


def sparse(path: str, head: bytes, size: int) -> str:
    """A file of that size that takes no room on the disk."""
    pathlib.Path(path).write_bytes(head)
    os.truncate(path, size)
    return path


# What is no plain file, or not there, or not what its name says: in the place of every kind of file.

FILES = {"rig": "x.toml", "frame": "x.npy", "calibration": "x.npz", "transfer": "x.safetensors", "recording": "x.h5"}
IN_FOLDERS = {
    "trained": checkpoint.WEIGHTS,
    "training_state": state.NEWEST,
    "training": state.NEWEST,
    "pictures": "x.png",
    "mnist": "MNIST/raw/t10k-images-idx3-ubyte",
    "emnist": "EMNIST/raw/emnist-digits-test-images-idx3-ubyte.lock.json",
}
PICTURES = {"frame": ("x.png", "x.tif")}


def _no_plain_files() -> None:
    def instead(kind: str, name: str, what: str, put: Callable[[pathlib.Path, Place], object]) -> None:
        def build(place: Place) -> str:
            path = place.folder / name
            if kind in ("mnist", "emnist"):
                GOOD[kind][0](place)
                path.unlink(missing_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            put(path, place)
            return str(place.folder if kind in IN_FOLDERS else path)

        build.__name__ = f"{what}-{pathlib.Path(name).name}"
        nothing = what in ("missing", "loop") and kind in ("training_state", "training")
        empty = (kind, what) == ("pictures", "folder")  # a class without pictures
        attack(kind, says="" if nothing or empty else name.rpartition("/")[2], may_read=nothing)(build)

    for kind, name in [*FILES.items(), *IN_FOLDERS.items(), ("frame", "x.png"), ("frame", "x.tif")]:
        instead(kind, name, "pipe", lambda path, place: os.mkfifo(path))
        instead(kind, name, "folder", lambda path, place: path.mkdir())
        instead(kind, name, "device", lambda path, place: path.symlink_to("/dev/zero"))
        instead(kind, name, "empty", lambda path, place: path.touch())
        instead(kind, name, "pickle", lambda path, place: path.write_bytes(poison(place)))
        instead(kind, name, "torch", lambda path, place: torch.save({"a": Payload(place.canary)}, path))
        instead(kind, name, "python", lambda path, place: path.write_text(f"open({str(place.canary)!r}, 'w')"))
        instead(kind, name, "zeros", lambda path, place: sparse(str(path), b"", 8 * 2**30))
        if kind != "emnist":  # where no lock is, one is made
            instead(kind, name, "loop", lambda path, place: path.symlink_to(path.name))
        if kind not in ("training", "pictures", "emnist"):
            instead(kind, name, "missing", lambda path, place: None)


_no_plain_files()
for kind, suffix in [*((kind, pathlib.Path(name).suffix) for kind, name in FILES.items()), ("frame", ".png")]:
    simple(kind, **{f"nul{suffix}": f"/tmp/a\0b{suffix}", f"long{suffix}": "/tmp/" + "a" * 5000 + suffix})
    simple(kind, **{f"name{suffix}": "/tmp/" + "a" * 300 + suffix, f"million{suffix}": "a" * 10**6 + suffix})


# Raw frames.


@attack("frame", says="x.npy")
def objects(place):
    file = io.BytesIO()
    np.save(file, np.array([Payload(place.canary)], object), allow_pickle=True)
    return place.file("x.npy", file.getvalue())


def _npy(**contents: bytes) -> None:
    for name, content in contents.items():
        simple("frame", "x.npy", **{name: lambda place, content=content: place.file("x.npy", content)})


_npy(
    petabytes=described("'<u2'", "(33554432, 33554432)", bytes(99)),
    wraps=described("'<u2'", "(4294967296, 4294967296)", bytes(99)),
    over_64_megapixels=described("'<u2'", "(8001, 8000)", bytes(99)),
    short=described("'<u2'", "(8000, 8000)", bytes(99)),
    negative=described("'<u2'", "(-3, -4)", bytes(24)),
    no_sides=described("'<u2'", "()", bytes(2)),
    many_sides=described("'<u2'", "(" + "1," * 3000 + ")", bytes(2)),
    nothing_wide=described("'<u2'", "(0, 10000000000)"),
    float_sides=described("'<u2'", "(1e3, 2)", bytes(24)),
    fields=described("[('a', '<u2'), ('b', 'O')]", "(2, 2)", bytes(64)),
    huge_items=described("'V1000000000'", "(8, 8)", bytes(64)),
    complexes=described("'<c16'", "(4, 4)", bytes(256)),
    signed=described("'<i2'", "(4, 4)", b"\xff" * 32),
    code=npy_header("__import__('os').system('touch canary')"),
    nested=npy_header("(" * 9000),
    minus=npy_header("-" * 9000 + "1"),
    header_of_4_gib=b"\x93NUMPY\2\0\xff\xff\xff\xff{",
    long_header=npy_header("{" + " " * 10**6 + "}", version=2),
    strange_version=b"\x93NUMPY\x63\0\1\0{",
)


@attack("frame", says="x.npy")
def large_items_of_a_sparse_file(place):
    return sparse(str(place.folder / "x.npy"), described("'V1000'", "(8000, 8000)"), 64 * 10**9 + 200)


@attack("frame", "source", may_read=True)
def npy_of_64_megapixels(place):
    return sparse(str(place.folder / "x.npy"), described("'<i8'", "(8000, 8000)"), 8 * 64 * 10**6 + 128)


def _pictures(**contents: Callable[[], bytes]) -> None:
    for name, content in contents.items():
        suffix = name[:3]
        kinds = {"frame": f"x.{suffix}", "pictures": f"x.{suffix}"} if suffix != "jpg" else {"pictures": "x.jpg"}
        whole = name in ("tif_directories", "tif_all_one_value")  # as a picture; what else is in the file is not read
        for kind, says in kinds.items():
            says = "" if whole and kind == "pictures" else says

            def build(place, kind=kind, suffix=suffix, content=content):
                path = place.file(f"x.{suffix}", content())
                return str(place.folder) if kind == "pictures" else path

            build.__name__ = name
            attack(kind, says=says, may_read=not says)(build)


_pictures(
    png_petapixels=lambda: png(2**31 - 1, 2**31 - 1, b"x"),
    png_over_64_megapixels=lambda: png(8001, 8000, deflated_zeros(8001 * 8000)),
    png_palette_bomb=lambda: png(10**5, 10**5, b"x", 8, 3, chunk(b"PLTE", bytes(768))),
    png_text_bomb=lambda: png(8, 8, b"x", 8, 0, *[chunk(b"zTXt", b"a\0\0" + deflated_zeros(2**28))] * 20),
    png_profile_bomb=lambda: png(8, 8, b"x", 8, 0, chunk(b"iCCP", b"a\0\0" + deflated_zeros(2**28))),
    png_long_chunk=lambda: b"\x89PNG\r\n\x1a\n\x7f\xff\xff\xffIHDR",
    png_cut=lambda: png(100, 100, b""),
    png_is_gif=lambda: b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + bytes(99),
    png_is_eps=lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(canary) (w) file\n",
    tif_petapixels=lambda: tiff(2**31 - 1, 2**31 - 1, b""),
    tif_over_64_megapixels=lambda: tiff(8001, 8000, b""),
    tif_short=lambda: tiff(8000, 8000, b"", 8),
    tif_tiles=lambda: tiff(64, 64, b"x" * 99, 8, 1, (322, 4, 1, 2**31 - 16), (323, 4, 1, 2**31 - 16), (324, 4, 1, 8)),
    tif_directories=lambda: tiff(4, 4, bytes(16), 1, 30_000),
    tif_all_one_value=lambda: tiff(4, 4, bytes(10**6), 1, 1, *((tag, 1, 10**6, 8) for tag in range(1000, 9000))),
    tif_planes=lambda: tiff(4, 4, bytes(16), 1, 1, (277, 3, 1, 65535)),
    tif_negative=lambda: tiff(2**32 - 1, 4, bytes(16)),
    tif_is_svg=lambda: b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
    jpg_scans=lambda: jpeg_of_scans(5000),
    jpg_cut=lambda: jpeg_of_scans(1)[:200],
    jpg_petapixels=lambda: jpeg_of_scans(0, 65500),
)


@attack("frame", may_read=True)
def png_bomb_of_64_megapixels(place):
    return place.file("x.png", png(8000, 8000, deflated_zeros(8000 * 16001), 16))


@attack("frame", says="x.png")
def png_of_64_megapixels_in_colour(place):
    return place.file("x.png", png(8000, 8000, deflated_zeros(8000 * 32001), 8, 6))


@attack("pictures", may_read=True)
def colours_of_64_megapixels(place):
    return str(pathlib.Path(place.file("a/x.png", png(8000, 8000, deflated_zeros(8000 * 32001), 8, 6))).parents[1])


# Folders of pictures.


def _linked(place: Place, name: str, target: str | pathlib.Path) -> str:
    good_pictures(place)
    link = place.folder / "pictures" / name
    link.symlink_to(target)
    return str(place.folder / "pictures")


simple("pictures", "link", link_to_a_file=lambda place: _linked(place, "x.png", place.trap))
simple("pictures", "link", link_to_a_folder=lambda place: _linked(place, "c", place.trap.parent))
simple("pictures", "link", link_upwards=lambda place: _linked(place, "c", ".."))
simple("pictures", "link", link_within_a_class=lambda place: _linked(place, "a/x.png", place.trap))
simple("pictures", "proc", link_to_memory=lambda place: _linked(place, "x.png", "/proc/self/mem"))
simple("pictures", may_read=True, link_to_itself=lambda place: _linked(place, "c", "."))
simple("pictures", "", nul="/tmp/a\0b", million="a" * 10**6, long="a" * 300, empty="", device="/dev/null")


@attack("pictures", says="deeper")
def nested_folders(place):
    good_pictures(place)
    place.file("pictures/a/b/c/d.png", b"")
    return str(place.folder / "pictures")


# Calibrations: a zip of numbers.


def npz(place: Place, **members: bytes) -> str:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/").replace("up", "..") + ".npy", content)
    return place.file("x.npz", file.getvalue())


def facts(**changes) -> bytes:
    """The facts of a good calibration, and other ones."""
    found, _ = tiny.setting().calibration._parts()
    text = json.dumps({**found, "id": "0", "format": "optics-free calibration 1", **changes})
    return npy(np.frombuffer(text.encode(), np.uint8))


def calibrated(says: str = "x.npz", **attacks: Callable[[Place], str]) -> None:
    simple("calibration", says, **attacks)


def _objects(place: Place) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Payload(place.canary)], object), allow_pickle=True)
    return file.getvalue()


def text(content: str) -> bytes:
    return npy(np.frombuffer(content.encode(), np.uint8))


def _bomb(place: Place) -> str:
    with zipfile.ZipFile(place.folder / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("facts.npy", facts())
        with archive.open("flat.npy", "w") as member:
            member.write(described("'<f4'", "(100000, 2500)"))
            for _ in range(1000):
                member.write(bytes(10**6))
    return str(place.folder / "x.npz")


def _many_members(place: Place) -> str:
    """A million names of members that all lie in one place."""
    entry = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    names = entry * 10**6
    end64 = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, 10**6, 10**6, len(names), 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(names), 1)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return place.file("x.npz", names + end64 + locator + end)


calibrated(
    pickled_facts=lambda place: npz(place, facts=_objects(place)),
    pickled_array=lambda place: npz(place, facts=facts(), flat=_objects(place)),
    pickled_member=lambda place: npz(place, facts=facts(), flat=poison(place)),
    strange_member=lambda place: npz(place, facts=facts(), code=b"print()"),
    member_above=lambda place: npz(place, facts=facts(), up__up__flat=npy(np.ones(3))),
    member_absolute=lambda place: npz(place, facts=facts(), __etc__flat=npy(np.ones(3))),
    bomb=_bomb,
    million_members=_many_members,
    petabytes=lambda place: npz(place, facts=facts(), flat=described("'<f4'", "(33554432, 33554432)")),
    negative=lambda place: npz(place, facts=facts(), flat=described("'<f4'", "(-3, -4)", bytes(48))),
    nested_header=lambda place: npz(place, facts=facts(), flat=npy_header("(" * 9000)),
    minus_header=lambda place: npz(place, facts=facts(), flat=npy_header("-" * 9000 + "1")),
    huge_shape=lambda place: npz(place, facts=facts(shape=[10**6, 10**6])),
    large_shape=lambda place: npz(place, facts=facts(shape=[30_000, 30_000])),
    infinite_shape=lambda place: npz(place, facts=facts(shape=[float("inf"), 1])),
    many_sides=lambda place: npz(place, facts=facts(shape=[1] * 100)),
    text_shape=lambda place: npz(place, facts=facts(shape="12")),
    long_number=lambda place: npz(place, facts=facts(exposure_s=[10**400, 1])),
    no_numbers=lambda place: npz(place, facts=facts(exposure_s=[[], {}])),
    camera=lambda place: npz(place, facts=facts(camera_id=["a"])),
    bits=lambda place: npz(place, facts=facts(bit_depth="12")),
    frames=lambda place: npz(place, facts=facts(frames=[1])),
    surprise=lambda place: npz(place, facts=facts(__class__="os.system", dark_dn="x")),
    nested_facts=lambda place: npz(place, facts=text("[" * 10**5)),
    facts_of_a_number=lambda place: npz(place, facts=text("7")),
    facts_not_in_text=lambda place: npz(place, facts=npy(np.ones((3, 3)))),
    no_members=lambda place: npz(place),
)


# Checkpoints, states of a training, transfer matrices: numbers with a card. Their format has its own tests.


def card(change: Callable[[dict], object]) -> Callable[[Place], str]:
    """A whole checkpoint with another card; its checksum is right."""

    def build(place: Place) -> str:
        folder, weights = good_trained(place)
        tensors, found = tensor_file.read(pathlib.Path(weights))
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        change(found)
        tensor_file.write(pathlib.Path(weights), tensors, found)
        return folder

    return build


def in_rig(**changes) -> Callable[[Place], str]:
    return card(lambda found: found["rig"].update(changes))


def in_facts(part: str, **changes) -> Callable[[Place], str]:
    return card(lambda found: found["rig"]["facts"][part].update(changes))


simple(
    "trained",
    "trained",
    no_facts=card(lambda found: found["rig"].pop("facts")),
    facts_of_a_text=in_rig(facts="/etc/passwd"),
    rays_of_a_bare_sensor=in_rig(rays=10**12),
    rays_of_a_text=in_rig(rays="x"),
    huge_sensor=in_facts("sensor", shape=[17_000, 17_000]),
    infinite=in_facts("scene", distance_mm=float("inf")),
    target=in_facts("sensor", _target_="os.system"),
    no_frames=card(lambda found: found.pop("frames")),
    frames_of_a_text=card(lambda found: found.update(frames="x")),
    frames_none=card(lambda found: found.update(frames=None)),
    many_frames=card(lambda found: found.update(frames=10**12)),
    no_rig=card(lambda found: found.update(rig=None)),
    task_of_a_text=card(lambda found: found.update(task="os.system")),
)


def begun(**changes) -> Callable[[Place], str]:
    """A training that was begun, with another state; its checksum is right."""

    def build(place: Place) -> str:
        folder, newest = good_training(place)
        tensors, found = tensor_file.read(pathlib.Path(newest))
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        for change in changes.values():
            change(tensors, found)
        tensor_file.write(pathlib.Path(newest), tensors, found)
        (pathlib.Path(folder) / state.PREVIOUS).unlink(missing_ok=True)
        return folder

    return build


def states(**changes: Callable[[dict, dict], object]) -> None:
    simple("training", "state", **{name: begun(change=change) for name, change in changes.items()})


def record(**changes) -> Callable[[dict, dict], object]:
    return lambda tensors, found: found["history"][-1].update(changes)


states(
    infinite_epoch=lambda tensors, found: found.update(epoch=float("inf")),
    negative_epoch=lambda tensors, found: found.update(epoch=-5),
    far_epoch=lambda tensors, found: found.update(epoch=10**9),
    epoch_of_a_text=lambda tensors, found: found.update(epoch="4"),
    epoch_unlike_its_records=lambda tensors, found: found.update(epoch=2),
    no_recipe=lambda tensors, found: found.pop("recipe"),
    recipe_of_a_text=lambda tensors, found: found.update(recipe="os.system"),
    no_history=lambda tensors, found: found.update(history=[], epoch=0, data=None),
    history_of_a_number=lambda tensors, found: found.update(history=7),
    record_of_a_text=record(validation="x"),
    seconds_of_a_text=record(seconds="x"),
    nan_record=record(validation=float("nan")),
    record_with_more=record(__class__="x"),
    weight_away=lambda tensors, found: tensors.pop(next(iter(tensors))),
    weight_more=lambda tensors, found: tensors.update({"os.system": torch.zeros(1)}),
    weight_of_no_part=lambda tensors, found: tensors.update({"a": torch.zeros(1)}),
    optimizer_of_none=lambda tensors, found: tensors.update({"optimizer.9999.step": torch.zeros(1)}),
)


def matrix(change: Callable[[dict, dict], object]) -> Callable[[Place], str]:
    def build(place: Place) -> str:
        path = pathlib.Path(good_transfer(place)[0])
        tensors, found = tensor_file.read(path)
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        change(tensors, found)
        tensor_file.write(path, tensors, found)
        return str(path)

    return build


simple(
    "transfer",
    "good.safetensors",
    path=matrix(lambda tensors, found: found.update(left="/etc/passwd", scene_shape="/etc/passwd")),
    huge_shape=matrix(lambda tensors, found: found.update(scene_shape=[10**400, 3])),
    infinite_shape=matrix(lambda tensors, found: found.update(scene_shape=[float("inf"), 3])),
    long_error=matrix(lambda tensors, found: found.update(truncation_error=10**400)),
    nan_error=matrix(lambda tensors, found: found.update(truncation_error=float("nan"))),
    no_scale=matrix(lambda tensors, found: found.update(scales={"left": 0})),
    long_scale=matrix(lambda tensors, found: found.update(scales={"left": 10**400})),
    scale_of_a_list=matrix(lambda tensors, found: found.update(scales=["left"])),
    nan=matrix(lambda tensors, found: tensors.update(left=tensors["left"] * torch.nan)),
    name_of_a_path=matrix(lambda tensors, found: tensors.update({"../../etc/passwd": torch.zeros(1)})),
    noise_of_another_shape=matrix(lambda tensors, found: tensors.update(noise_std=torch.zeros(5))),
)


@attack("transfer", "trained", says="safetensors", may_read=False)
def header_with_paths(place):
    tensor = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], "location": str(place.trap), "file": "/etc/passwd"}
    head = json.dumps({"__metadata__": {"facts": "{}", "sha256": str(place.trap)}, str(place.trap): tensor}).encode()
    path = place.file(checkpoint.WEIGHTS, struct.pack("<Q", len(head)) + head + bytes(4))
    place.file(checkpoint.CALIBRATION, b"")
    return path


# MNIST and EMNIST.


def _raw(change: Callable[[pathlib.Path], object]) -> Callable[[Place], str]:
    def build(place: Place) -> str:
        what, _ = good_mnist(place)
        change(place.folder / "MNIST" / "raw")
        return what

    return build


def _images(head: bytes, size: int) -> Callable[[Place], str]:
    return _raw(lambda raw: sparse(str(raw / "t10k-images-idx3-ubyte"), head, size))


simple(
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


@attack("mnist", says="training.pt")
def old_pickle(place):
    what, _ = good_mnist(place)
    place.file("MNIST/processed/training.pt", poison(place))
    return what


@attack("emnist", says="ubyte")
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


simple(
    "emnist",
    "lock",
    nested_lock=_lock("[" * 10**5),
    lock_of_a_list=_lock('["a", 1]'),
    lock_of_more=_lock('{"sha256": "a", "size_bytes": 1, "path": "/etc/passwd"}'),
    long_number=_lock('{"sha256": "a", "size_bytes": 1' + "0" * 10**5 + "}"),
)


# Recordings: the rest stands in the tests of recordings.


def _hostile(put: Callable[[h5py.File], object]) -> Callable[[Place], str]:
    def build(place: Place) -> str:
        what, _ = good_recording(place)
        os.symlink(place.trap, f"{what}.trap")
        with h5py.File(what, "r+", libver="latest") as file:
            del file["frames"]
            put(file)
        return what

    return build


def _pickled(place: Place, name: str) -> str:
    what, _ = good_recording(place)
    with h5py.File(what, "r+", libver="latest") as file:
        file.attrs[name] = np.void(poison(place))
    return what


for reader in ("recording", "vetted"):
    simple(reader, "good.h5", **{put.__name__: _hostile(put) for put in (external_link, external_storage, virtual)})
    simple(reader, "good.h5", soft_link=_hostile(soft_link))
    simple(reader, "good.h5", pickled_provenance=lambda place: _pickled(place, "provenance"))
    simple(reader, "good.h5", pickled_camera=lambda place: _pickled(place, "camera"))


# Addresses of cameras. An address is no file; its message names the address.

ADDRESSES = {
    "empty": "",
    "no_scheme": "0",
    "module": "os.system:touch canary",
    "python": "__import__:os",
    "rtsp": "opencv:rtsp://127.0.0.1:9/a",
    "http": "opencv:http://127.0.0.1:9/a.mkv",
    "file_address": "opencv:file:///etc/passwd",
    "concat": "opencv:concat:/etc/passwd|/etc/hosts",
    "pipeline": "opencv:videotestsrc ! appsink",
    "pipeline_of_a_file": "opencv:filesrc location=/etc/passwd ! appsink",
    "pattern": "opencv:/tmp/%d.png",
    "device": "opencv:/dev/zero",
    "device_above": "opencv:/dev/../dev/zero",
    "memory": "opencv:/proc/self/mem",
    "negative": "opencv:-1",
    "option": "opencv:--help",
    "backend": "opencv:0?backend=os.system",
    "identity": "opencv:id:../../../etc/passwd",
    "nul": "opencv:a\0b",
    "nul_first": "\0",
    "million": "opencv:" + "a" * 10**6,
    "million_of_schemes": "a" * 10**6 + ":0",
    "long_name": "opencv:" + "a" * 300 + ".mkv",
    "surrogate": "opencv:\udcff.mkv",
    "replay_device": "replay:/dev/zero",
    "replay_memory": "replay:/proc/self/mem",
    "replay_above": "replay:../../../../etc/passwd",
    "replay_nul": "replay:a\0b",
    "replay_nothing": "replay:",
    "replay_long": "replay:" + "a" * 300,
    "simulated_device": "simulated:/dev/zero",
    "simulated_passwd": "simulated:../../../../../../etc/passwd",
    "simulated_nul": "simulated:a\0b",
    "simulated_long": "simulated:" + "a" * 300,
    "simulated_nothing": "simulated:?rays=2",
    "simulated_option": "simulated:bare-v1?__class__=os.system",
    "simulated_number": "simulated:bare-v1?seed=1e9",
    "simulated_long_number": "simulated:bare-v1?seed=" + "9" * 4500,
    "simulated_count": "simulated:bare-v1?count=" + "9" * 30,
    "simulated_frames": "simulated:bare-v1?frames=" + "9" * 30,
    "simulated_rays": "simulated:cannula-v1?rays=" + "8" * 30,
    "simulated_large_seed": "simulated:bare-v1?count=2&seed=" + "9" * 300,
    "simulated_pictures": "simulated:bare-v1?scenes=folder:/etc",
    "simulated_module": "simulated:bare-v1?scenes=os.system",
    "simulated_drift": "simulated:bare-v1~x",
    "simulated_strong_drift": "simulated:bare-v1~1x99999999999999999999",
}
simple("camera", **ADDRESSES)
simple("source", **ADDRESSES)


def _video(name: str, content: Callable[[Place], str]) -> Callable[[Place], str]:
    return lambda place: f"opencv:{place.file(name, content(place))}"


simple(
    "camera",
    # FFmpeg takes lists for videos, and opens what they name; the second line looks like the head of an AVI.
    playlist=_video("x.m3u8", lambda place: playlist(place, "#EXTM3U\nAVI \n")),
    playlist_by_name=_video("x.mkv", lambda place: playlist(place, "#EXTM3U\n")),
    concat_list=_video("x.mkv", lambda place: f"ffconcat version 1.0\nfile '{place.trap}'\n"),
    session=_video("x.avi", lambda place: "v=0\no=a AVI \nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n"),
    script=_video("x.avs", lambda place: f"DirectShowSource('{place.trap}')"),
    random_mkv=_video("x.mkv", lambda place: b"\x1a\x45\xdf\xa3" + bytes(99)),
)


def playlist(place: Place, head: str) -> str:
    return f"{head}#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{place.trap}\n#EXT-X-ENDLIST\n"


@attack("camera", says="")
def pipe_video(place):
    os.mkfifo(place.folder / "x.mkv")
    return f"opencv:{place.folder / 'x.mkv'}"
