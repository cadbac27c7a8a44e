"""What must stay as it is while scenes are collected, or the collection stops: step, light, settings of the camera."""

import collections
import dataclasses

import numpy as np

from calibration.in_step import Told, cells_of
from hardware import Frame
from hardware.errors import CalibrationMismatch, DeviceError

MOST_IN_A_ROW = 3  # strange scenes, before the light is looked at
_LOOKED_BACK = 100  # pairs over which shares of the scene before are averaged
_LEAST_PAIRS, _LEAST_STRANGE, _MOST_STRANGE = 10, 20, 0.2
_LOST = 0.7  # of its light: that is no drift


@dataclasses.dataclass(frozen=True)
class Limits:
    """Args: `drift` of the light since the collection was begun; `of_before`, mean share of the scene before."""

    drift: float = 0.05
    of_before: float = 0.05


class StepWatch:
    """Whether frames belong to their scenes: single ones are shown again, many end the collection.

    A scene that looks strange twice, and the same, after other scenes, looks like that: coarse blocks explain it badly.
    A display that stands still would look the same, too, so the light is looked at when strange ones come in a row.
    """

    def __init__(self, limits: Limits):
        self._limits = limits
        self._recent: collections.deque[tuple[float, float]] = collections.deque(maxlen=_LOOKED_BACK)
        self._strange: collections.deque[bool] = collections.deque(maxlen=_LOOKED_BACK)
        self._first: dict[int, Told] = {}
        self._in_a_row = self._stale_in_a_row = self.retaken = self.told = self.pairs = 0
        self.largest_share = 0.0

    @property
    def light_is_asked_for(self) -> bool:
        """Whether so many strange frames came in a row that one more asks for a look at the light."""
        return self._in_a_row >= MOST_IN_A_ROW

    def light_was_looked_at(self) -> None:
        """And found good: strange frames are counted anew."""
        self._in_a_row = 0

    def take(self, told: Told, scene_id: int) -> bool:
        """Whether the frames of a scene are good; if not, it is to be shown again.

        Raises:
            CalibrationMismatch: frames are of other scenes again and again, or hold too much of the scene before.
        """
        self.pairs += 1
        first = self._first.pop(scene_id, None)
        strange = not told.belongs and (first is None or told.of_the_one_before or not told.same_light(first))
        self._strange.append(strange)
        if strange:
            self._first[scene_id] = told
            self.retaken += 1
            self._in_a_row += 1
            self._stale_in_a_row = self._stale_in_a_row + 1 if told.of_the_one_before else 0
            self._check_strange(told, scene_id)
            return False
        self._in_a_row = self._stale_in_a_row = 0
        if told.belongs and told.of_before is not None:
            self.told += 1
            self._recent.append((told.of_before * told.apart2, told.apart2))
            self._check_share()
        return True

    def _check_strange(self, told: Told, scene_id: int) -> None:
        count = sum(self._strange)
        if self._stale_in_a_row > MOST_IN_A_ROW or count > max(_LEAST_STRANGE, _MOST_STRANGE * len(self._strange)):
            raise CalibrationMismatch(
                f"frame and scene do not belong together: {count} of the last {len(self._strange)} frames showed "
                f"another scene than their own, the last at scene {scene_id} ({_words(told)}); is the display still "
                "on, uncovered and as fast as before? Given again, the command measures that anew and goes on"
            )

    def _check_share(self) -> None:
        if len(self._recent) < _LEAST_PAIRS:
            return
        share = sum(part for part, _ in self._recent) / sum(weight for _, weight in self._recent)
        self.largest_share = max(self.largest_share, share)
        if share > self._limits.of_before:
            raise CalibrationMismatch(
                f"frames hold {share:.1%} of the scene before their own, over the last {len(self._recent)} pairs, "
                f"limit {self._limits.of_before:.1%}: the display settles more slowly than was measured; give the "
                "command again, which measures it anew, or say how long to wait with --settle-s"
            )


class LightWatch:
    """Whether the light is what it was: a bright and a black display are looked at now and then.

    Args:
        limits: how far it may drift.
        first: cells of black and of bright when the collection was begun; None if that is now.
    """

    def __init__(self, limits: Limits, first: tuple[np.ndarray, np.ndarray] | None = None):
        self._limits, self.first = limits, first
        self.largest = 0.0

    def take(self, black: list[Frame], bright: list[Frame], saved: int) -> float:
        """How far the light has drifted, as a share of itself.

        Raises:
            CalibrationMismatch: further than it may.
        """
        now = cells_of(black), cells_of(bright)
        if self.first is None:
            self.first = now
        drift = _drift(self.first, now)
        self.largest = max(self.largest, abs(drift))
        kept = f"after {saved:,} scenes; those before the last good look at the light are kept"
        if drift < -_LOST:
            raise CalibrationMismatch(
                f"the display is not followed any more: between black and white it gives {max(0.0, 1 + drift):.0%} of "
                f"the light that it gave, {kept}; is it still on, uncovered, and awake (screen saver, power saving)? "
                "Then give the command again"
            )
        if abs(drift) > self._limits.drift:
            raise CalibrationMismatch(
                f"the light has drifted by {drift:+.1%} since the collection was begun, limit "
                f"{self._limits.drift:.1%}, {kept}; let display and sensor warm up, keep daylight away, switch off "
                "what adapts brightness, then give the command again (--max-drift sets the limit); if it was so from "
                "the beginning, frames were taken before the display had settled (--settle-s)"
            )
        return drift


class SettingsWatch:
    """Whether the camera still does what it did with the first frame."""

    def __init__(self, first: Frame):
        self._expected = self._of(first)

    @staticmethod
    def _of(frame: Frame) -> tuple:
        meta = frame.meta
        return meta.exposure_s, meta.gain_db, meta.settings_id

    def take(self, frame: Frame) -> None:
        """Raises DeviceError if a setting has changed."""
        if self._of(frame) != self._expected:
            got, expected = (
                f"exposure {exposure_s:g} s, gain {gain_db:g} dB, settings {settings_id}"
                for exposure_s, gain_db, settings_id in (self._of(frame), self._expected)
            )
            raise DeviceError(
                f"camera {frame.meta.camera_id!r} changed by itself to {got}, from {expected}; switch its automatic "
                "exposure off, and give the command again"
            )


def _drift(first: tuple[np.ndarray, np.ndarray], now: tuple[np.ndarray, np.ndarray]) -> float:
    """Change of the display's light, or of what light there is without it, as a share of the display's light."""
    (black, rise), (black_now, rise_now) = (
        (float(black.mean()), float((bright - black).mean())) for black, bright in (first, now)
    )
    return max(rise_now / rise - 1, (black_now - black) / rise, key=abs)


def _words(told: Told) -> str:
    before = "" if told.of_before is None else f", {told.of_before:.0%} of the way to the scene before"
    return f"{told.misfit or 0:.0%} of what tells scenes apart not explained{before}"
