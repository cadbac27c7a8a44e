"""The loop that shows scenes and takes their frames, looks at each, and writes what is good."""

import collections
import time
from collections.abc import Callable

import numpy as np

from hardware import Frame
from hardware.recording.process import RecordingProcess
from hardware.recording.schema import NO_SCENE
from lensless.app.collection.plan import Plan
from lensless.app.collection.preparation import Ceiling, Prepared
from lensless.app.collection.runs import LOOK_FRAMES, Runs
from lensless.app.collection.watch import LightWatch, Limits, SettingsWatch, StepWatch
from lensless.app.signals import Signals

LOOK_SCENES, LOOK_S = 200, 60.0  # black and bright are looked at after so many scenes, or so long


class Collecting:
    """Collects the scenes of a plan. The next scene is shown as soon as the frames of one have come, so that the
    display settles while they are looked at and written.

    Args:
        plan, prepared, ceiling, limits: what to show, with what, and what is refused.
        open_writer: makes the recording, when the first look at the light is good.
        runs: what was collected before.
    """

    def __init__(
        self,
        plan: Plan,
        prepared: Prepared,
        ceiling: Ceiling,
        open_writer: Callable[[], RecordingProcess],
        limits: Limits,
        runs: Runs,
    ):
        self.plan, self.prepared, self.ceiling = plan, prepared, ceiling
        self._open_writer, self._writer = open_writer, None
        self.steps, self.lights = StepWatch(limits), LightWatch(limits, runs.light)
        self.before, self.collected = len(runs.done), 0
        self.settings: SettingsWatch | None = None
        self.seconds = self._looked_s = 0.0
        self._looked_at, self._alone = 0, False

    def run(self, todo: list[int], signals: Signals, watch: Callable[[int, str], None]) -> None:
        """Collect scenes by their ids.

        Raises:
            LenslessError: what ends the collection.
            KeyboardInterrupt: it was asked to end.
        """
        waiting, shown = collections.deque(todo), None
        began_s = time.monotonic()
        before = self._look_at_light()
        while waiting or shown is not None:
            self.seconds = time.monotonic() - began_s
            if signals.came or self._is_due():
                if shown is not None:  # it was shown already; it is shown again after the light
                    waiting.appendleft(shown)
                before, shown = self._look_at_light(), None
            if signals.came:
                raise KeyboardInterrupt
            if shown is None:
                shown = waiting.popleft()
                self.prepared.rig.show(self.plan.radiance(shown))
            frames = self.prepared.rig.snap(self.plan.frames)
            following = waiting.popleft() if waiting else None
            if following is not None:
                self.prepared.rig.show(self.plan.radiance(following))
            if not self._take(shown, frames, before):
                waiting.append(shown)
                self._alone = following is None  # or it would be compared with itself
            before, shown = self.plan.radiance(shown), following
            watch(self.before + self.collected, self.figures())
        self._look_at_light()
        self.seconds = time.monotonic() - began_s

    def close(self, give_up: bool) -> None:
        """Finish the recording, if there is one.

        Raises:
            StorageError: the disk did not take all of it.
        """
        if self._writer is not None:
            self._writer.give_up() if give_up else self._writer.close()

    def _is_due(self) -> bool:
        """Whether the light is to be looked at: after some scenes or some time, and when strange frames came."""
        return (
            self.collected - self._looked_at >= LOOK_SCENES
            or self.seconds - self._looked_s >= LOOK_S
            or self.steps.light_is_asked_for
            or self._alone
        )

    def facts(self) -> dict:
        """For programs."""
        return {
            "collected": self.collected, "seconds": self.seconds,
            "scenes_per_second": self.collected / max(self.seconds, 1e-3), "shown_again": self.steps.retaken,
            "looked_at": self.steps.pairs, "told": self.steps.told, "largest_drift": self.lights.largest,
            "largest_share_of_before": self.steps.largest_share, "display": self.prepared.facts(),
        }  # fmt: skip

    def figures(self) -> str:
        """For the line of progress."""
        rate = self.collected / max(self.seconds, 1e-3)
        retaken = f", {self.steps.retaken} shown again" if self.steps.retaken else ""
        return f"{rate:.1f} scenes/s, light {self.lights.largest:.1%} off at most{retaken}"

    def _take(self, scene_id: int, frames: list[Frame], before: np.ndarray) -> bool:
        """Check the frames of a scene, and write them if they are its own."""
        for frame in frames:
            self._check(frame, f"scene {scene_id}")
        own, in_step = self.plan.radiance(scene_id), self.prepared.in_step
        # The first alone, too: among many a stale one would hardly be seen.
        looks = [in_step.look(some, own, before) for some in ([frames[:1]] if len(frames) > 1 else []) + [frames]]
        if not self.steps.take(next((told for told in looks if not told.belongs), looks[-1]), scene_id):
            return False
        for frame in frames:
            self._writer.append(frame, int(self.plan.labels[scene_id]), self.plan.pictures[scene_id], scene_id)
        self.collected += 1
        return True

    def _check(self, frame: Frame, what: str) -> None:
        self.ceiling.check(frame, what)
        if self.settings is None:
            self.settings = SettingsWatch(frame)
        self.settings.take(frame)

    def _look_at_light(self) -> np.ndarray:
        """Show black, then bright; returns the picture that stands. Scenes count when this was written after them."""
        shape = self.plan.pictures.shape[1:]
        shots = {level: self.prepared.rig.level(level, LOOK_FRAMES) for level in (0.0, self.prepared.bright)}
        for frames in shots.values():
            for frame in frames:
                self._check(frame, "the display at its brightest")
        self.lights.take(*shots.values(), self.before + self.collected)
        self.prepared.in_step.follow(*shots.values())
        self._writer = self._writer or self._open_writer()
        for level, frames in shots.items():
            scene = np.full(shape, round(255 * level), np.uint8)
            for frame in frames:
                self._writer.append(frame, scene=scene, scene_id=NO_SCENE)
        self.steps.light_was_looked_at()
        self._looked_at, self._looked_s, self._alone = self.collected, self.seconds, False
        return np.full(shape, self.prepared.bright, np.float32)
