"""What runs in the child process of an `IsolatedCamera`: one thread opens the camera, reads it and closes it.

python -m hardware.driver_process opencv PLACE
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

from hardware.camera import Camera
from hardware.child import Parent, error_message, leave
from hardware.errors import CameraError, ConfigurationError, LenslessError
from hardware.frame import CameraSettings, Frame, from_plain
from hardware.slots import Slots

WAITING_BYTES, MOST_SLOTS, FEWEST_SLOTS = 64 * 2**20, 64, 4


def serve(make: Callable[[], Camera]) -> NoReturn:
    """Open a camera, and do what the parent asks until it has enough."""
    parent = Parent(on_end=leave)  # also out of a driver that hangs
    try:
        with make() as camera:
            _Server(parent, camera).run()
    except EOFError:
        leave()
    except LenslessError as error:
        parent.send(**error_message(error))
    except Exception as error:  # a driver may raise anything; the parent tells of it
        parent.send(**error_message(CameraError(f"the driver raised {type(error).__name__}: {error}; open it anew")))
    leave()


class _Server:
    def __init__(self, parent: Parent, camera: Camera):
        self._parent, self._camera = parent, camera
        self._frames: Iterator[Frame] | None = None
        self._slots: Slots | None = None
        self._free: set[int] = set()
        self._generation, self._lost, self._done = 0, 0, False

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
        if self._slots is not None:
            self._slots.close()

    def _obey(self, order: dict) -> None:
        match order["do"]:
            case "start":
                self._frames = self._camera.frames()
            case "free":
                if order["of"] == self._generation:
                    self._free.add(order["slot"])
            case "configure":
                try:
                    applied = self._camera.configure(from_plain(CameraSettings, order["wanted"]))
                except LenslessError as error:
                    self._parent.send(refused=error_message(error))
                else:
                    self._parent.send(applied=dataclasses.asdict(applied), facts=self._facts())
            case "close":
                self._done = True

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
            self._slots.close()
        count = max(FEWEST_SLOTS, min(MOST_SLOTS, WAITING_BYTES // frame_bytes))
        self._slots = Slots(count, frame_bytes, FEWEST_SLOTS)
        self._free = set(range(self._slots.count))
        self._generation += 1
        self._parent.send(slots=self._slots.facts())


def _opencv(place: str) -> Camera:
    from hardware.opencv import OpenCvCamera

    return OpenCvCamera.at(place)


BACK_ENDS = {"opencv": _opencv}


def main(arguments: list[str]) -> NoReturn:
    kind, place = arguments
    if kind not in BACK_ENDS:
        raise ConfigurationError(f"no back end {kind!r}; known: {', '.join(BACK_ENDS)}")
    serve(lambda: BACK_ENDS[kind](place))


if __name__ == "__main__":
    main(sys.argv[1:])
