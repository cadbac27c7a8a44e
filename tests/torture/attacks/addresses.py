"""Addresses of cameras, which are no files and which the message names; and the videos that some of them name."""

import os
from collections.abc import Callable

from attacks.attack import Attacks, Place

ATTACKS = Attacks()
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
    "serial_spy": "serial:spy:///dev/null?file=/tmp/canary",
    "serial_socket": "serial:socket://127.0.0.1:9",
    "serial_loop": "serial:loop://",
    "serial_device": "serial:/dev/zero",
    "serial_device_above": "serial:/dev/../dev/zero",
    "serial_memory": "serial:/proc/self/mem",
    "serial_file": "serial:/etc/passwd",
    "serial_nothing": "serial:",
    "serial_option": "serial:--help",
    "serial_identity": "serial:id:../../../etc/passwd",
    "serial_no_identity": "serial:id:",
    "serial_baud": "serial:/dev/ttyNONE?baud=" + "9" * 5000,
    "serial_exposure": "serial:/dev/ttyNONE?exposure_s=1e99",
    "serial_module": "serial:/dev/ttyNONE?__class__=os.system",
    "serial_long": "serial:" + "a" * 300,
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
ATTACKS.simple("camera", **ADDRESSES)
ATTACKS.simple("source", **ADDRESSES)


def _video(name: str, content: Callable[[Place], str]) -> Callable[[Place], str]:
    return lambda place: f"opencv:{place.file(name, content(place))}"


ATTACKS.simple(
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


@ATTACKS.add("camera", says="")
def pipe_video(place):
    os.mkfifo(place.folder / "x.mkv")
    return f"opencv:{place.folder / 'x.mkv'}"
