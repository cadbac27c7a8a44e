"""Pictures in PNG, TIFF and JPEG, as raw frames and in folders to train on."""

import pathlib
import struct
from collections.abc import Callable

from attacks.attack import Attacks, Place
from attacks.formats import chunk, deflated_zeros, jpeg_of_scans, png, tiff
from attacks.good import good_pictures

ATTACKS = Attacks()


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
            ATTACKS.add(kind, says=says, may_read=not says)(build)


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


@ATTACKS.add("frame", may_read=True)
def png_bomb_of_64_megapixels(place):
    return place.file("x.png", png(8000, 8000, deflated_zeros(8000 * 16001), 16))


@ATTACKS.add("frame", says="x.png")
def png_of_64_megapixels_in_colour(place):
    return place.file("x.png", png(8000, 8000, deflated_zeros(8000 * 32001), 8, 6))


@ATTACKS.add("pictures", may_read=True)
def colours_of_64_megapixels(place):
    return str(pathlib.Path(place.file("a/x.png", png(8000, 8000, deflated_zeros(8000 * 32001), 8, 6))).parents[1])


def _linked(place: Place, name: str, target: str | pathlib.Path) -> str:
    good_pictures(place)
    link = place.folder / "pictures" / name
    link.symlink_to(target)
    return str(place.folder / "pictures")


ATTACKS.simple("pictures", "link", link_to_a_file=lambda place: _linked(place, "x.png", place.trap))
ATTACKS.simple("pictures", "link", link_to_a_folder=lambda place: _linked(place, "c", place.trap.parent))
ATTACKS.simple("pictures", "link", link_upwards=lambda place: _linked(place, "c", ".."))
ATTACKS.simple("pictures", "link", link_within_a_class=lambda place: _linked(place, "a/x.png", place.trap))
ATTACKS.simple("pictures", "proc", link_to_memory=lambda place: _linked(place, "x.png", "/proc/self/mem"))
ATTACKS.simple("pictures", may_read=True, link_to_itself=lambda place: _linked(place, "c", "."))
ATTACKS.simple("pictures", "", nul="/tmp/a\0b", million="a" * 10**6, long="a" * 300, empty="", device="/dev/null")


@ATTACKS.add("pictures", says="deeper")
def nested_folders(place):
    good_pictures(place)
    place.file("pictures/a/b/c/d.png", b"")
    return str(place.folder / "pictures")
