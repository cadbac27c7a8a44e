"""Frames of one camera without end: read in a thread, watched, and connected again when the camera was lost.

The states and what leads from one to the next are drawn in docs/capture.md.
"""

import threading
from collections.abc import Callable, Iterator

from hardware.camera import Camera, closed
from hardware.closing import Closing
from hardware.errors import CameraError, ConfigurationError
from hardware.frame import CameraSettings, Frame
from hardware.stream.reading import Order, Reader
from hardware.stream.ring import Counts, Ring
from hardware.stream.watchdog import FINAL, Event, State, Watchdog


class Stream(Closing):
    """Reads one camera in a thread of its own into a ring, for as long as it can be had.

    A live camera that is lost is closed and opened again, for ever or `retries` times. It gets the settings it had,
    and sequence numbers go on; another camera in its place is refused. A source that is not live would begin again from
    its start: its error ends the stream, as every error does that is not a CameraError.

    Args:
        connect: opens the camera, e.g. `lambda: open_camera(address)`; called in the thread that reads and closes it.
        ring: where the frames go; of sources that are not live it drops none.
        wanted: settings to ask for; None takes the camera as it is.
        retries: tries to connect again before `CameraLost`; None: no limit. A frame ends the count.
        on_event: gets each event, in a thread of the stream; None: the log does. What it raises ends the stream.
        stall_s: how long a camera may give nothing, besides twice its exposure.
        open_s: how long it may take to open it again, or to apply settings. The first opening may take any time:
            a simulated rig traces its rays first.

    Raises:
        LenslessError: the camera does not open, or refuses the settings: only one that has been open is waited for.
    """

    def __init__(
        self,
        connect: Callable[[], Camera],
        *,
        ring: Ring,
        wanted: CameraSettings | None = None,
        retries: int | None = None,
        on_event: Callable[[Event], None] | None = None,
        stall_s: float = 2.0,
        open_s: float = 20.0,
    ):
        if retries is not None and retries < 0:
            raise ConfigurationError(f"stream: {retries} tries to connect again; expected 0 or more, or None for ever")
        self._ring = ring
        self._changed = threading.Condition()
        self._reader = Reader(ring, wanted or CameraSettings(), self._changed, stall_s, open_s)
        self._watchdog = Watchdog(connect, self._reader, ring, self._changed, retries, on_event, open_s)
        self._ordering = threading.Lock()
        try:
            with self._changed:
                self._changed.wait_for(lambda: self.state != "opening")
            if self._watchdog.failure is not None and self._reader.camera_id is None:
                raise self._watchdog.failure
        except BaseException:  # Ctrl-C, too
            self.close()
            raise

    @property
    def camera_id(self) -> str:
        return self._reader.camera_id

    @property
    def applied(self) -> CameraSettings:
        """What the camera does, as it said last; each frame tells what it was taken with."""
        return self._reader.applied

    @property
    def state(self) -> State:
        return self._watchdog.state

    @property
    def counts(self) -> Counts:
        return self._ring.counts

    def get(self, timeout_s: float | None = None) -> Frame | None:
        """As `Ring.get`; when all frames have been fetched it raises what ended the stream."""
        return self._ring.get(timeout_s)

    def newest(self, timeout_s: float | None = None) -> Frame | None:
        """As `Ring.newest`."""
        return self._ring.newest(timeout_s)

    def frames(self) -> Iterator[Frame]:
        """As `Ring.frames`: until the source has ended, or the stream is closed."""
        return self._ring.frames()

    def configure(self, wanted: CameraSettings, timeout_s: float = 15.0) -> CameraSettings:
        """Ask for settings between two frames; returns what the camera then does. Older frames may be in the ring.

        Raises:
            ConfigurationError: this camera has no such setting; the stream goes on.
            CameraError: the stream is closed, or the camera did not answer within `timeout_s`.
        """
        order = Order(wanted)
        with self._ordering, self._changed:
            self._reader.leave(order)
            self._changed.wait_for(lambda: order.done or self.state in FINAL, timeout_s)
            self._reader.leave(None)
        if order.error is not None:
            raise order.error
        if order.applied is not None:
            return order.applied
        if self.state in FINAL:
            raise closed(self.camera_id)
        raise CameraError(
            f"camera {self.camera_id!r} did not apply settings within {timeout_s:g} s; it is {self.state}: "
            "wait until it is running, and look at what is applied then"
        )

    def stop(self) -> None:
        """Capture no more. What is in the ring can still be fetched; then the frames end."""
        self._watchdog.stop()
        self._ring.close()

    def close(self) -> None:
        """Stop, drop what nobody has fetched, and let the camera go; takes at most 3 s, even if its driver hangs."""
        self.stop()
        self._ring.discard()
        self._watchdog.join()
