"""Raw frames as arrays of numpy: a header in Python that says how many numbers follow, and what they are."""

from attacks.attack import Attacks
from attacks.formats import described, npy_header, npy_of_objects, sparse

ATTACKS = Attacks()


@ATTACKS.add("frame", says="x.npy")
def objects(place):
    return place.file("x.npy", npy_of_objects(place))


def _npy(**contents: bytes) -> None:
    for name, content in contents.items():
        ATTACKS.simple("frame", "x.npy", **{name: lambda place, content=content: place.file("x.npy", content)})


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


@ATTACKS.add("frame", says="x.npy")
def large_items_of_a_sparse_file(place):
    return sparse(str(place.folder / "x.npy"), described("'V1000'", "(8000, 8000)"), 64 * 10**9 + 200)


@ATTACKS.add("frame", "source", may_read=True)
def npy_of_64_megapixels(place):
    return sparse(str(place.folder / "x.npy"), described("'<i8'", "(8000, 8000)"), 8 * 64 * 10**6 + 128)
