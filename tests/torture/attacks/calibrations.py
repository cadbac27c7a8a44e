"""Calibrations: a zip of numbers, and of facts in JSON."""

import io
import json
import struct
import zipfile
from collections.abc import Callable

import numpy as np
import tiny

from attacks.attack import Attacks, Place
from attacks.formats import described, npy, npy_header, npy_of_objects, poison

ATTACKS = Attacks()


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
    ATTACKS.simple("calibration", says, **attacks)


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
    pickled_facts=lambda place: npz(place, facts=npy_of_objects(place)),
    pickled_array=lambda place: npz(place, facts=facts(), flat=npy_of_objects(place)),
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
