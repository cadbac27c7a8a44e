"""Taking the frames of a plan: the right light, the right exposure, each pattern twice, and again where two differ."""

import collections
import dataclasses
import time
from collections.abc import Callable

import numpy as np

from calibration import ShowAndSnap
from calibration.in_step import cells_of
from calibration.plan import MOST_TURNS, TURNS, Plan, Shot, agreeing, agreement, pattern_shot
from calibration.stack import odd_frame
from hardware import CameraSettings, Frame
from hardware.errors import CalibrationMismatch, DeviceError, FrameSaturated
from hardware.recording.process import RecordingProcess
from hardware.recording.schema import NO_SCENE
from lensless.app.collection.preparation import Ceiling
from lensless.app.collection.runs import LOOK_FRAMES
from lensless.app.collection.watch import LightWatch, Limits
from lensless.app.signals import Signals

LOOK_SHOTS, LOOK_S = 200, 60.0
_SAME_EXPOSURE = 0.01  # devices round
_LATE_FRAMES = 8  # that a camera may still send with the exposure of before
_SATURATED_TRIES, _ODD_TRIES = 3, 3
_LOOKED_BACK, _MOST_STRANGE = 50, 0.5
_LEAST_LIMIT, _SIGMAS = 0.1, 6.0  # by how much chi^2 of two frames of one pattern may lie above 1


@dataclasses.dataclass(eq=False)
class Figures:
    """What has happened so far."""

    taken: int = 0
    shown_again: int = 0
    saturated: int = 0
    odd: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        again = f", {self.shown_again} shown again" if self.shown_again else ""
        saturated = f", {self.saturated} were saturated" if self.saturated else ""
        odd = f", {self.odd} taken again for one odd frame" if self.odd else ""
        return f"{self.taken / max(self.seconds, 1e-3):.1f}/s{again}{saturated}{odd}"


class Shooting:
    """Takes shots and writes their frames.

    Args:
        rig: shows and snaps.
        settings: of the camera at the rig's own exposure.
        bright: radiance at which the whole display does not saturate the sensor.
        ceiling: where pixels clip.
        open_writer: makes the recording when there is something to write.
    """

    def __init__(
        self,
        rig: ShowAndSnap,
        settings: CameraSettings,
        bright: float,
        ceiling: Ceiling,
        open_writer: Callable[[Frame], RecordingProcess],
    ):
        self._rig, self._settings, self._bright, self._ceiling = rig, settings, bright, ceiling
        self._open_writer, self._writer = open_writer, None
        self._exposure_s = settings.exposure_s
        self.figures = Figures()

    def lights(self, shots: list[Shot], signals: Signals, watch: Callable[[int, str], None]) -> None:
        """Take shots of the whole display, or of darkness.

        Raises:
            CalibrationMismatch: one frame differs from the others of its light, again and again.
            DeviceError: the camera does not do what it is told.
            KeyboardInterrupt: it was asked to end.
        """
        began_s = time.monotonic()
        for shot in shots:
            if signals.came:
                raise KeyboardInterrupt
            self._rig.show(np.full(self._rig.shape, shot.level * self._bright, np.float32))
            self._write(shot, self._steadily(shot))
            self.figures.seconds = time.monotonic() - began_s
            watch(self.figures.taken, str(self.figures))
        self._configure(self._settings.exposure_s)

    def patterns(
        self,
        plan: Plan,
        shots: list[Shot],
        known: dict[int, list[np.ndarray]],
        variance: Callable[[np.ndarray], np.ndarray],
        black: np.ndarray,
        limits: Limits,
        light: tuple[np.ndarray, np.ndarray] | None,
        signals: Signals,
        watch: Callable[[int, str], None],
    ) -> None:
        """Take shots of patterns; one of which two frames differ is shown again, after the others.

        Args:
            plan: of the patterns.
            shots: of them, what is not there yet.
            known: pattern -> cells of each of its shots that are there.
            variance: of a frame's cells, DN^2, from their light above dark.
            black: cells of the dark frame.
            limits: of the light's drift.
            light: cells of black and of bright when the calibration was begun; None if that is now.

        Raises:
            FrameSaturated: a pattern that saturates again and again.
            CalibrationMismatch: frames of one pattern differ again and again, or the light drifts.
            KeyboardInterrupt: it was asked to end.
        """
        waiting, lights = collections.deque(shots), LightWatch(limits, light)
        strange: collections.deque[bool] = collections.deque(maxlen=_LOOKED_BACK)
        began_s = looked_s = time.monotonic()
        looked_at, tries = 0, collections.Counter()
        self._look(lights)
        while waiting:
            now_s = time.monotonic()
            if signals.came or self.figures.taken - looked_at >= LOOK_SHOTS or now_s - looked_s >= LOOK_S:
                self._look(lights)
                looked_at, looked_s = self.figures.taken, now_s
            if signals.came:
                raise KeyboardInterrupt
            shot = waiting.popleft()
            self._rig.show(plan.patterns.picture(shot.pattern) * self._level(plan))
            frames = self._expose(shot)
            if self._is_saturated(frames, shot, tries):
                waiting.append(shot)
                continue
            self._write(shot, frames)
            cells = known.setdefault(shot.pattern, [])
            cells.append(cells_of(frames) - black)
            if len(cells) >= TURNS:
                apart = agreement(cells, variance(np.mean(cells, 0)) / shot.frames)
                strange.append(not agreeing(apart, limit_for(cells[0].size)).any())
                if strange[-1]:
                    waiting.append(self._again(plan, shot, len(cells), strange))
            self.figures.seconds = time.monotonic() - began_s
            watch(self.figures.taken, str(self.figures))
        self._look(lights)

    def close(self, give_up: bool = False) -> None:
        """Finish the recording, if there is one. Raises StorageError if the disk did not take all of it."""
        if self._writer is not None:
            self._writer.give_up() if give_up else self._writer.close()
            self._writer = None

    def leak(self, frames: int = 8) -> float:
        """How much brighter a covered sensor becomes before a bright display, in standard errors of that."""
        means = [
            [float(frame.pixels.mean()) for frame in self._rig.level(level, frames)] for level in (0.0, self._bright)
        ]
        error = float(np.sqrt(sum(np.var(some, ddof=1) for some in means) / frames))
        return (float(np.mean(means[1])) - float(np.mean(means[0]))) / max(error, 1e-3)

    def _level(self, plan: Plan) -> float:
        return pattern_level(plan.patterns.kind, self._bright)

    def _expose(self, shot: Shot) -> list[Frame]:
        """Its frames, at its exposure."""
        self._configure(shot.exposure_s)
        for _ in range(_LATE_FRAMES):
            frames = self._rig.snap(shot.frames)
            wrong = next((frame for frame in frames if not self._same(frame.meta.exposure_s)), None)
            if wrong is None:
                return frames
        raise DeviceError(
            f"camera {wrong.meta.camera_id!r} was told to expose for {self._exposure_s:g} s, and its frames say "
            f"{wrong.meta.exposure_s:g} s; switch its automatic exposure off"
        )

    def _steadily(self, shot: Shot) -> list[Frame]:
        """Its frames; all of them again where one differs from the others."""
        for _ in range(_ODD_TRIES):
            frames = self._expose(shot)
            odd = odd_frame(frames)
            if odd is None:
                return frames
            self.figures.odd += 1
        raise CalibrationMismatch(
            f"{shot.stage} sensor at {self._exposure_s:g} s: frame {frames[odd[0]].meta.sequence} is off by "
            f"{odd[1]:+.1f} DN from the others of its light, and so was one the {_ODD_TRIES - 1} times before; "
            "expected a steady light: what flashes, or comes and goes? Given again, the command goes on from there"
        )

    def _configure(self, exposure_s: float) -> None:
        if exposure_s == self._exposure_s:
            return
        applied = self._rig.camera.configure(dataclasses.replace(self._settings, exposure_s=exposure_s))
        self._exposure_s = exposure_s
        if applied.exposure_s is not None:
            self._exposure_s = applied.exposure_s

    def _same(self, exposure_s: float) -> bool:
        return abs(exposure_s / self._exposure_s - 1) <= _SAME_EXPOSURE

    def _is_saturated(self, frames: list[Frame], shot: Shot, tries: collections.Counter) -> bool:
        """Whether a pattern is to be shown again because its frames clip, which its two opposites do not."""
        for frame in frames:
            try:
                self._ceiling.check(frame, f"pattern {shot.pattern}")
            except FrameSaturated:
                tries[shot.id] += 1
                self.figures.saturated += 1
                if tries[shot.id] >= _SATURATED_TRIES:
                    raise
                return True
        return False

    def _again(self, plan: Plan, shot: Shot, times: int, strange: collections.deque) -> Shot:
        self.figures.shown_again += 1
        if len(strange) == _LOOKED_BACK and sum(strange) > _MOST_STRANGE * _LOOKED_BACK:
            raise CalibrationMismatch(
                f"{sum(strange)} of the last {_LOOKED_BACK} patterns gave another frame than when they were shown "
                f"before (the last after {self.figures.taken:,} shots): camera, optics or display have moved, or the "
                "light has changed; make them fast, and calibrate into a new folder"
            )
        if times >= MOST_TURNS:
            raise CalibrationMismatch(
                f"pattern {shot.pattern} was shown {times} times, and no two frames of it agree; is the settle time "
                "long enough (--settle-s), and does nothing adapt (automatic exposure, contrast, brightness)?"
            )
        return pattern_shot(plan.patterns, shot.pattern, times, shot.exposure_s, shot.frames)

    def _look(self, lights: LightWatch) -> None:
        """Show black, then bright, check how far the light has drifted, and write what was seen."""
        shots = [self._rig.level(level, LOOK_FRAMES) for level in (0.0, self._bright)]
        for frame in shots[1]:
            self._ceiling.check(frame, "the display at its brightest")
        lights.take(*shots, self.figures.taken)
        for level, frames in zip((0.0, self._bright), shots, strict=True):
            for frame in frames:
                self._append(frame, NO_SCENE, np.full(self._rig.shape, round(255 * level), np.uint8))

    def _write(self, shot: Shot, frames: list[Frame]) -> None:
        for frame in frames:
            self._append(frame, shot.id, np.zeros(self._rig.shape, np.uint8))
        self.figures.taken += 1

    def _append(self, frame: Frame, number: int, scene: np.ndarray) -> None:
        self._writer = self._writer or self._open_writer(frame)
        self._writer.append(frame, scene=scene, scene_id=number)


def pattern_level(kind: str, bright: float) -> float:
    """Radiance of a lit point: a set of many at once may light all that a pixel sees."""
    return 1.0 if kind in ("raster", "points") else bright


def limit_for(cells: int) -> float:
    """Above this chi^2 per cell two frames are not of one pattern."""
    return 1 + max(_LEAST_LIMIT, _SIGMAS * float(np.sqrt(2 / cells)))
