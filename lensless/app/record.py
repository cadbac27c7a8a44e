"""`lensless record`: raw frames of a camera into a recording, every one accounted for."""

import dataclasses
import datetime
import pathlib
import queue
import time
from collections.abc import Iterator

from hardware import CameraSettings, Frame
from hardware.errors import CameraError, LenslessError, StorageError
from hardware.recording.process import RecordingProcess
from hardware.same_camera import SameCamera
from hardware.stream import Event, Stream
from hardware.stream.ring import MIB, STOPPED, UNFETCHED, Counts, Ring
from lensless.app.record_wish import Wish
from lensless.app.screen import Screen
from lensless.app.signals import Signals, wait_for_camera
from lensless.app.version import code_version

MOST_SILENT_S = 0.2


def record(wish: Wish, screen: Screen) -> dict:
    """Record until there is enough, the camera has no more, or Ctrl-C; the recording is closed in order in any case.

    Raises:
        StorageError: the recording exists, the disk is full or slower than the camera (Overrun).
        CameraLost: the camera did not come back within the tries.
        ConfigurationError: no such camera or setting.
    """
    wish.check()
    ring, connect = Ring(wish.ring_mib * MIB, wish.policy), SameCamera(wish.address)
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    failure: BaseException | None = None
    writer: RecordingProcess | None = None
    began_s = time.monotonic()
    with Signals() as signals:
        try:
            with Stream(connect, wanted=wish.settings, ring=ring, retries=wish.retries, on_event=events.put) as stream:
                signals.begun = True
                screen.say(_applied(wish.settings, stream.applied))
                for frame in _wanted(stream, ring, wish, screen, signals, events):
                    if writer is None:
                        writer = _writer(wish, frame, stream.applied, connect.facts)
                        writer.on_silence = lambda silent_s: screen.say(_silent(wish.out, silent_s))
                    writer.append(frame)
            wait_for_camera()
        except BaseException as error:  # raised when all is closed and accounted for
            failure = error
        if signals.came and not signals.begun:
            wait_for_camera()
        _tell(events, screen)
        return _finish(wish, writer, ring.counts, time.monotonic() - began_s, failure, signals.came > 1, screen)


def _wanted(
    stream: Stream, ring: Ring, wish: Wish, screen: Screen, signals: Signals, events: queue.SimpleQueue
) -> Iterator[Frame]:
    """The frames that are to be recorded; keeps people informed. The end comes behind all that was captured.

    Raises:
        LenslessError: what ended the stream, before there was enough.
        KeyboardInterrupt: it was asked to end.
    """
    taken, began_s = 0, None
    with screen.following("recording", wish.frames) as watch:
        while wish.frames is None or taken < wish.frames:
            frame = stream.get(MOST_SILENT_S)  # behind the last frame it raises, or there is none
            if frame is None and ring.ended:
                break
            _tell(events, screen)
            if frame is not None and began_s is None:
                began_s = time.monotonic()  # some cameras take a while to their first one
            elapsed_s = 0.0 if began_s is None else time.monotonic() - began_s
            if signals.came or (wish.seconds is not None and elapsed_s >= wish.seconds):
                stream.stop()
            if frame is not None:
                yield frame
                taken += 1
            counts, per_second = stream.counts, taken / max(elapsed_s, 1e-3)
            watch(taken, f"{per_second:.1f} frames/s, {counts.in_ring} waiting, {sum(counts.dropped.values())} lost")
    if signals.came:
        raise KeyboardInterrupt


def _tell(events: queue.SimpleQueue, screen: Screen) -> None:
    """Here and not where they happen: a terminal that is gone must not end the thread that watches the camera."""
    while not events.empty():
        screen.say(events.get().text)


def _applied(wanted: CameraSettings, applied: CameraSettings) -> str:
    asked = wanted.asked()
    shown = {name: value for name, value in dataclasses.asdict(applied).items() if value is not None}
    shown |= dict(shown.pop("controls", ()))
    words = [
        f"{name} {value}" + (f" (asked for {asked[name]})" if asked.get(name, value) != value else "")
        for name, value in shown.items()
    ]
    return f"settings: {', '.join(words)}"


def _silent(out: pathlib.Path, silent_s: float) -> str:
    return f"the disk of {out} has taken nothing for {silent_s:.0f} s; frames wait in memory"


def _writer(wish: Wish, first: Frame, applied: CameraSettings, device: dict[str, object]) -> RecordingProcess:
    provenance = {
        "source": wish.address, "asked": {"frames": wish.frames, "seconds": wish.seconds},
        "applied": dataclasses.asdict(applied), "code": code_version(),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    if device:
        provenance["device"] = device
    if wish.address.startswith("simulated:"):
        from lensless.app.sources import rigs_of

        rig_id, fingerprint = rigs_of(wish.address)[0]
        provenance["rig"] = {"id": rig_id, "fingerprint": fingerprint}
    return RecordingProcess(
        wish.out, first, provenance, durability=wish.durability, rotate_frames=wish.rotate_frames, sha256=wish.sha256
    )


def _finish(
    wish: Wish,
    writer: RecordingProcess | None,
    counts: Counts,
    seconds_s: float,
    failure: BaseException | None,
    give_up: bool,
    screen: Screen,
) -> dict:
    """Close what is open, say what became of all frames, and raise what went wrong."""
    recorded = 0
    if writer is not None:
        try:
            writer.give_up() if give_up else writer.close()
        except (LenslessError, KeyboardInterrupt) as error:
            failure = failure or error
        recorded = writer.acknowledged
    facts = _account(wish, counts, recorded, seconds_s, failure is None or _in_order(failure, give_up))
    if counts.captured or failure is None:
        screen.say(_told(facts))
    if isinstance(failure, KeyboardInterrupt):
        lost = f"; {facts['not_acknowledged']:,} frames that the disk did not take were given up" if give_up else ""
        failure = _caused(KeyboardInterrupt(f"interrupted: what was recorded is whole{lost}"), failure)
    elif failure is None and writer is None:
        failure = CameraError(f"camera {wish.address!r} gave no frame in {seconds_s:.1f} s; nothing was recorded")
    if failure is not None:
        keep_account(facts | {"error": str(failure) or type(failure).__name__}, screen)
        raise failure
    in_time = wish.seconds is None or seconds_s < wish.seconds
    if wish.frames is not None and recorded < wish.frames and in_time:
        screen.say(f"{wish.address} ended by itself: {recorded:,} of {wish.frames:,} frames that were asked for")
    screen.say(f"recording: {wish.out}; look at it with: lensless info {wish.out}")
    return facts


def _in_order(failure: BaseException, give_up: bool) -> bool:
    return isinstance(failure, KeyboardInterrupt) and not give_up


def _caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def _account(wish: Wish, counts: Counts, recorded: int, seconds_s: float, in_order: bool) -> dict:
    """What became of all frames: captured = recorded + not acknowledged + surplus + dropped."""
    # Where there was enough, what came after that was not lost.
    surplus = {reason: counts.dropped.get(reason, 0) for reason in (STOPPED, UNFETCHED)} if in_order else {}
    dropped = {reason: number for reason, number in counts.dropped.items() if number and reason not in surplus}
    return {
        "recording": str(wish.out), "recorded": recorded, "captured": counts.captured, "delivered": counts.delivered,
        "not_acknowledged": counts.delivered - recorded, "surplus": sum(surplus.values()), "dropped": dropped,
        "seconds": seconds_s, "error": None,
    }  # fmt: skip


def _told(facts: dict) -> str:
    dropped = ", ".join(f"{number:,} {reason}" for reason, number in sorted(facts["dropped"].items()))
    return (
        f"captured {facts['captured']:,} = recorded {facts['recorded']:,}"
        + (f" + not acknowledged {facts['not_acknowledged']:,}" if facts["not_acknowledged"] else "")
        + (f" + {facts['surplus']:,} more than were wanted" if facts["surplus"] else "")
        + (f" + dropped {sum(facts['dropped'].values()):,} ({dropped})" if dropped else "")
        + f", in {facts['seconds']:.1f} s"
    )


def keep_account(facts: dict, screen: Screen) -> None:
    """For programs, too, where the recording failed: then the counts are needed most."""
    try:
        screen.result(facts)
    except (StorageError, OSError) as error:  # often the disk that is full; what ended the recording is told of last
        screen.say(str(error))
