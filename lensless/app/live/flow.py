"""One live view from its opening to its end: frames in, results on the screen, every frame accounted for."""

import dataclasses
import queue
import time

import torch

from calibration import Calibration
from hardware import CameraSettings, Frame
from hardware.errors import CameraError, FrameSaturated
from hardware.same_camera import SameCamera
from hardware.stream import Event, Ring, Stream
from hardware.stream.ring import MIB, Counts
from lensless.app.live.account import Account, milliseconds
from lensless.app.live.results import Judge, Result
from lensless.app.live.sliding_mean import SlidingMean
from lensless.app.live.views import Lines, Scene, Viewer, opened_terminal, opened_window
from lensless.app.record import keep_account
from lensless.app.screen import Screen
from lensless.app.signals import Signals, wait_for_camera

RING_MIB = 1024  # more than a frame has; there is but one in it
LOOK_S = 0.1  # how long one may be waited for before the end is looked for
STOPPED = ("interrupt", "window")  # by somebody, who has seen enough


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is to be looked at, and for how long.

    Args:
        address: of the camera, complete.
        settings: what it is asked for; None takes it as it is.
        calibration: that its frames must fit.
        averaged: frames of a whole measurement.
        about: what the account says of it besides.
        count: of measurements; None for as long as somebody looks.
        seconds: since the camera was opened; None likewise.
        retries: how often a lost camera is tried again; None for ever.
        window: whether there is to be one.
    """

    address: str
    settings: CameraSettings | None
    calibration: Calibration
    averaged: int
    about: dict[str, str]
    count: int | None = None
    seconds: float | None = None
    retries: int | None = None
    window: bool = False

    @property
    def end(self) -> str:
        """How somebody ends it."""
        return "q, Esc or Ctrl-C ends it" if self.window else "Ctrl-C ends it"


def watch(wish: Wish, judge: Judge, screen: Screen) -> dict:
    """Show what `judge` makes of each measurement until Ctrl-C, the end of the wish, or of the source.

    Returns:
        What became of all frames, rates and latencies.

    Raises:
        CameraLost: the camera did not come back within the tries.
        CalibrationMismatch: frames of another camera or with other settings.
        FrameSaturated, CameraError: the view ended by itself, and not one measurement could be made.
    """
    # Of one frame: whatever is fetched is the newest, and what a slow task leaves out is counted there.
    ring, events = Ring(RING_MIB * MIB, "drop-oldest", most_frames=1), queue.SimpleQueue()
    account, opened_ns = Account(wish.averaged), time.monotonic_ns()
    failure: BaseException | None = None
    ended_by = "error"
    with Signals(said="") as signals:
        try:
            with opened_window(wish.window) as window, _opened(wish, ring, events, screen) as stream:
                signals.begun = True
                account.begin()
                with opened_terminal(screen, pictures=not wish.window) as terminal:
                    flow = _Flow(wish, judge, stream, events, account, [*window, *terminal], opened_ns)
                    ended_by = flow.run(signals)
        except BaseException as error:  # raised when all is closed and told
            failure = error
        account.end()
        wait_for_camera()
    return _finish(wish, account, ring.counts, ended_by, failure, screen)


def _opened(wish: Wish, ring: Ring, events: queue.SimpleQueue, screen: Screen) -> Stream:
    with screen.working(f"opening {wish.address}"):
        connect = SameCamera(wish.address)
        return Stream(connect, wanted=wish.settings, ring=ring, retries=wish.retries, on_event=events.put)


class _Flow:
    """The steps between ring and viewers, all in one thread: where one is slow, the ring drops."""

    def __init__(
        self,
        wish: Wish,
        judge: Judge,
        stream: Stream,
        events: queue.SimpleQueue[Event],
        account: Account,
        viewers: list[Viewer],
        opened_ns: int,
    ):
        self._wish, self._judge, self._stream, self._events = wish, judge, stream, events
        self._account, self._viewers, self._opened_ns = account, viewers, opened_ns
        self._drawn_on = not all(isinstance(viewer, Lines) for viewer in viewers)
        self._mean = SlidingMean(wish.averaged)
        self._result: Result | None = None
        self._newest_ns = 0  # when the newest frame of it was exposed
        self._instead = "waiting for the first frame"

    def run(self, signals: Signals) -> str:
        """Returns what ended it: interrupt, window, count, seconds or source."""
        account, wish = self._account, self._wish
        while True:
            frame = self._stream.get(LOOK_S)  # behind the last one it raises what ended the stream
            self._hear()
            if frame is not None:
                self._take(frame)
            self._show(new=frame is not None and self._result is not None)
            for reason, over in (
                ("interrupt", signals.came > 0),
                ("window", any(viewer.closed for viewer in self._viewers)),
                ("count", wish.count is not None and account.measured >= wish.count),
                ("seconds", wish.seconds is not None and account.elapsed_s >= wish.seconds),
                ("source", frame is None and self._stream.state in ("ended", "closed")),
            ):
                if over:
                    return reason

    def _hear(self) -> None:
        """What has happened to the camera; what was seen before an outage is not averaged with what comes after it."""
        while not self._events.empty():
            event = self._events.get()
            if event.kind == "opened":
                continue
            for viewer in self._viewers:
                viewer.tell(event.text)
            self._mean.clear()
            self._result, self._instead = None, "no frames: waiting for the camera"
            if event.kind == "back":
                self._account.reconnects += 1
                self._account.outage_s += event.outage_s or 0.0

    def _take(self, frame: Frame) -> None:
        """Calibrate a frame, and judge the mean that it is the newest of; an overexposed one is refused alone."""
        try:
            measurement = self._wish.calibration.apply(frame)
        except FrameSaturated as error:
            self._account.overexposed += 1
            self._result, self._instead = None, f"overexposed: {error}"
            return
        self._mean.take(measurement.y, frame.meta.t_host_ns)
        self._result = self._judge(torch.from_numpy(self._mean.mean())[None, None], frame.pixels)
        self._newest_ns, self._instead = frame.meta.t_host_ns, ""
        self._account.measured += 1
        if self._result.label is not None:
            self._account.labels[self._result.label] += 1

    def _show(self, new: bool) -> None:
        due = [viewer for viewer in self._viewers if viewer.due()]
        scene = self._scene() if due else None
        drawn = [viewer.show(scene) for viewer in due]
        # Lines come too seldom to be what somebody waits for.
        if new and self._live and (any(drawn) or not self._drawn_on):
            self._account.latencies.take((time.monotonic_ns() - self._newest_ns) * 1e-9)

    @property
    def _live(self) -> bool:
        """Whether the frame's time is of this view's clock: that of a recording or of a video file is not."""
        return self._opened_ns <= self._newest_ns <= time.monotonic_ns()

    def _scene(self) -> Scene:
        account, counts, state = self._account, self._stream.counts, self._stream.state
        rates = []
        if found_hz := account.rates_hz(counts.captured):
            rates.append("{:.1f} measurements/s, camera {:.1f} frames/s".format(*found_hz))
        if self._result is not None and (latency := account.latencies.recent_s()):
            rates.append(f"latency {milliseconds(latency)}")
        frames = account.frames(counts)
        losses = (
            f"dropped at the ring {frames.dropped:,}, lost by the camera {frames.lost:,}, overexposed "
            f"{frames.overexposed:,}, reconnects {account.reconnects:,}"
        )
        return Scene(
            self._result, self._instead, self._averaged(), ", ".join(rates), losses,
            f"camera {state}, {account.elapsed_s:.0f} s; {self._wish.end}",
        )  # fmt: skip

    def _averaged(self) -> str:
        if self._wish.averaged == 1 or not len(self._mean):
            return ""
        age_s = ((time.monotonic_ns() if self._live else self._newest_ns) - self._mean.oldest_ns) * 1e-9
        of = f" of {self._wish.averaged}" if len(self._mean) < self._wish.averaged else ""
        return f"mean of {len(self._mean)}{of} frames, the oldest {age_s:.1f} s old"


def _finish(
    wish: Wish, account: Account, counts: Counts, ended_by: str, failure: BaseException | None, screen: Screen
) -> dict:
    """Say what became of all frames, and raise what went wrong."""
    facts = wish.about | account.facts(counts) | {"ended_by": ended_by, "error": None}
    if counts.captured:
        for line in account.summary(counts):
            screen.say(line)
    if failure is None and not account.measured and ended_by not in STOPPED:
        failure = _nothing_seen(wish, account)
    if failure is not None:
        keep_account(facts | {"error": str(failure) or type(failure).__name__}, screen)
        raise failure
    screen.result(facts)
    return facts


def _nothing_seen(wish: Wish, account: Account) -> Exception:
    if account.overexposed:
        return FrameSaturated(
            f"camera {wish.address!r}: each of {account.overexposed:,} frames was overexposed, and no measurement "
            "could be made; shorten the exposure and calibrate again, or dim the scene"
        )
    return CameraError(
        f"camera {wish.address!r} gave no frame in {account.elapsed_s:.1f} s; look at it with: lensless check"
    )
