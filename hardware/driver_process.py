"""What runs in the child process of an `IsolatedCamera`: one thread opens the camera, reads it and closes it.

python -m hardware.driver_process opencv PLACE, or video PLACE
"""

import dataclasses
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

from hardware.alive import alive, heard_by
from hardware.camera import Camera
from hardware.child import Parent, error_message, serve_parent
from hardware.errors import CameraError, ConfigurationError, LenslessError
from hardware.frame import CameraSettings, Frame, from_plain
from hardware.slots import Slots

try:
    import resource
except ImportError:  # Windows
    resource = None

WAITING_BYTES, MOST_SLOTS, FEWEST_SLOTS = 64 * 2**20, 64, 4
MEMORY_OF_A_DECODER = 4 * 2**30
NEWS_S = 1.0


def serve(make: Callable[[], Camera]) -> NoReturn:
    """Open a camera, and do what the parent asks until it has enough."""

    def work(parent: Parent) -> None:
        with heard_by(lambda: parent.send(alive=True)), make() as camera:
            _Server(parent, camera).run()

    serve_parent(work, lambda error: CameraError(f"the driver raised {type(error).__name__}: {error}; open it anew"))


class _Server:
    def __init__(self, parent: Parent, camera: Camera):
        self._parent, self._camera = parent, camera
        self._frames: Iterator[Frame] | None = None
        self._slots: Slots | None = None
        self._outgrown: list[Slots] = []  # of frames that the parent may not have seen yet
        self._free: set[int] = set()
        self._generation, self._lost, self._done = 0, 0, False
        self._told, self._tell_s = {}, 0.0  # the facts that the parent knows, and when to look whether they still hold

    def run(self) -> None:
        """Frames as they come, and orders between them."""
        camera = self._camera
        applied = dataclasses.asdict(camera.configure(CameraSettings()))
        hello = {"camera_id": camera.camera_id, "live": camera.live, "settings": applied, "facts": self._facts()}
        self._parent.send(hello=True, **hello)
        while not self._done:
            # A source that waits is not read while nobody has room; a live one is, so that no frame is an old one.
            waits = self._frames is None or (not camera.live and self._slots is not None and not self._free)
            order = self._parent.receive(None if waits else 0)
            if order is not None:
                self._obey(order)
            elif self._frames is not None:
                self._pass_on(next(self._frames, None))
            if time.monotonic() > self._tell_s:
                self._tell_news()
        for slots in filter(None, (*self._outgrown, self._slots)):
            slots.close()

    def _obey(self, order: dict) -> None:
        match order["do"]:
            case "start":
                # What waits in the driver's queue is old, whatever time it is given (opencv #13145).
                fresh = self._camera.snap(1, time.monotonic_ns()) if self._camera.live else []
                self._frames = itertools.chain(fresh, self._camera.frames())
            case "free":
                if order["of"] == self._generation:
                    self._free.add(order["slot"])
                    while self._outgrown:
                        self._outgrown.pop().close()
            case "configure":
                try:
                    applied = self._camera.configure(from_plain(CameraSettings, order["wanted"]))
                except LenslessError as error:
                    self._parent.send(refused=error_message(error))
                else:
                    self._parent.send(applied=dataclasses.asdict(applied), facts=self._facts())
            case "close":
                self._done = True

    def _tell_news(self) -> None:
        """A twin of the camera, say, that was plugged in meanwhile."""
        self._tell_s, facts = time.monotonic() + NEWS_S, self._facts()
        if facts != self._told:
            self._told = facts
            self._parent.send(news=facts)

    def _facts(self) -> dict[str, object]:
        return getattr(self._camera, "facts", {})

    def _pass_on(self, frame: Frame | None) -> None:
        if frame is None:
            self._frames = None
            self._parent.send(end=True)
            return
        if self._slots is None or frame.pixels.nbytes > self._slots.slot_bytes:
            self._make_slots(frame.pixels.nbytes)
        if not self._free:
            self._lost += 1 + frame.meta.lost_before
            return
        slot = self._free.pop()
        self._slots.write(slot, frame.pixels)
        meta = dataclasses.asdict(frame.meta)
        meta["lost_before"] += self._lost
        self._lost = 0
        self._parent.send(meta=meta, shape=frame.shape, slot=slot, of=self._generation)

    def _make_slots(self, frame_bytes: int) -> None:
        if self._slots is not None:
            self._outgrown.append(self._slots)
        count = max(FEWEST_SLOTS, min(MOST_SLOTS, WAITING_BYTES // frame_bytes))
        self._slots = Slots(count, frame_bytes, FEWEST_SLOTS)
        self._free = set(range(self._slots.count))
        self._generation += 1
        self._parent.send(slots=self._slots.facts(), of=self._generation)


def _opencv(place: str) -> Camera:
    from hardware.opencv import OpenCvCamera

    return OpenCvCamera.at(place)


def _video(place: str) -> Camera:
    """Nobody vouches for a file: its decoder gets little memory, and leaves no core dump."""
    from hardware.opencv.handle import load_cv2

    load_cv2()
    alive()  # only from here on a delay speaks against the file
    if resource is not None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_OF_A_DECODER, MEMORY_OF_A_DECODER))
    return _opencv(place)


BACK_ENDS = {"opencv": _opencv, "video": _video}


def main(arguments: list[str]) -> NoReturn:
    kind, place = arguments
    if kind not in BACK_ENDS:
        raise ConfigurationError(f"no back end {kind!r}; known: {', '.join(BACK_ENDS)}")
    serve(lambda: BACK_ENDS[kind](place))


if __name__ == "__main__":
    main(sys.argv[1:])
