"""How long after a picture was shown a camera sees nothing of the one before."""

import dataclasses
import time
from collections.abc import Iterator

import numpy as np

from hardware import Camera, Frame, PatternSource
from hardware.errors import CalibrationMismatch

STEPS = 12
REST_S = 1.0  # until any display shows what it was told
TOLERANCE = 0.01  # of the step from black to white
_SETTLED_FRAMES = 3
_NOISE_FRAMES = 8


@dataclasses.dataclass(frozen=True)
class Settle:
    """When a frame shows a new picture alone.

    Args:
        settle_s: a frame that begins so long after `show` has returned, or later, shows the new picture alone; it is
            the latest that was seen not to, or the latest middle of a change, and twice `resolution_s`.
        lag_s: mean time from there to the middle of the change.
        resolution_s: how finely the time was sampled: a frame period is divided by the number of steps.
        period_s: median time from frame to frame.
        steps: how many changes were looked at.
    """

    settle_s: float
    lag_s: float
    resolution_s: float
    period_s: float
    steps: int

    def frames(self) -> int:
        """How many frames a free-running camera loses to each change of the picture, when it is shown in time."""
        return max(1, -(-round(self.settle_s * 1e6) // max(1, round(self.period_s * 1e6))))


def measure_settle(
    source: PatternSource, camera: Camera, bright: float = 1.0, steps: int = STEPS, patience_s: float = 3.0
) -> Settle:
    """Show black and bright by turns, each time at another moment of the camera's period, and look when frames follow.

    Args:
        source: what shows.
        camera: what looks; one that exposes when it is asked to sees each picture at once.
        bright: the value that is shown in place of white, where white would clip.
        steps: changes to look at.
        patience_s: after so long a frame must show what was shown.

    Raises:
        CalibrationMismatch: the camera does not see the display, or the light does not settle.
    """
    pictures = [np.full(source.shape, value, np.float32) for value in (0.0, bright)]
    levels = _Levels.of(*(_at_rest(source, camera, picture) for picture in pictures))
    running = camera.frames()
    begins_ns = [next(running).meta.t_host_ns for _ in range(_NOISE_FRAMES)]
    period_s = float(np.median(np.diff(begins_ns))) * 1e-9
    lates_s, lags_s = [], []
    for step in range(steps):
        next(running)
        time.sleep(period_s * step / steps if camera.live else 0.0)
        goal = step % 2
        source.show(pictures[goal])
        shares = _until_settled(running, time.monotonic_ns(), goal, levels, patience_s)
        lates_s += [begin_s for begin_s, share in shares if share > levels.tolerance]
        lags_s.append(_lag_s(shares, period_s))
    resolution_s = period_s / steps if camera.live else 0.0
    if not lates_s:
        return Settle(0.0, float(np.mean(lags_s)), resolution_s, period_s, steps)
    # A camera that keeps step with the display's refresh meets it at one moment only, today; the middle of the change,
    # which its frames tell at every moment, is as late as it will be when the two have drifted apart.
    latest_s = max(*lates_s, *lags_s)
    return Settle(max(0.0, latest_s + 2 * resolution_s), float(np.mean(lags_s)), resolution_s, period_s, steps)


@dataclasses.dataclass(frozen=True)
class _Levels:
    """Mean of a frame before a black display, how much more it is before a bright one, and what counts as there."""

    black_dn: float
    rise_dn: float
    tolerance: float

    @classmethod
    def of(cls, black: tuple[float, float], white: tuple[float, float]) -> "_Levels":
        rise_dn, noise_dn = white[0] - black[0], max(black[1], white[1])
        if not rise_dn > 10 * noise_dn:
            raise CalibrationMismatch(
                f"settle time: frames have a mean of {black[0]:.2f} DN before a black display and {white[0]:.2f} DN "
                f"before a bright one, with noise of {noise_dn:.2f} DN; expected to see the display: is it on, in "
                "front of the sensor, and bright?"
            )
        return cls(black[0], rise_dn, max(TOLERANCE, 4 * noise_dn / rise_dn))

    def old_share(self, frame: Frame, goal: int) -> float:
        """Share of the picture before in a frame; `goal` is 0 where black was shown, 1 where white."""
        return abs((float(frame.pixels.mean()) - self.black_dn) / self.rise_dn - goal)


def _at_rest(source: PatternSource, camera: Camera, picture: np.ndarray) -> tuple[float, float]:
    """Mean of the frames of a picture that has stood for long, and how much the mean of one frame varies."""
    source.show(picture)
    frames = camera.snap(_NOISE_FRAMES, time.monotonic_ns() + round(REST_S * 1e9) * camera.live)
    means = [float(frame.pixels.mean()) for frame in frames]
    return float(np.mean(means)), float(np.std(means, ddof=1))


def _until_settled(
    running: Iterator[Frame], shown_ns: int, goal: int, levels: _Levels, patience_s: float
) -> list[tuple[float, float]]:
    """(when it began, s after `show`; share of the old picture) of each frame until some in a row show the new one."""
    shares: list[tuple[float, float]] = []
    settled = 0
    while settled < _SETTLED_FRAMES:
        frame = next(running)
        begin_s, share = (frame.meta.t_host_ns - shown_ns) * 1e-9, levels.old_share(frame, goal)
        shares.append((begin_s, share))
        settled = settled + 1 if share <= levels.tolerance and begin_s >= 0 else 0
        if begin_s > patience_s:
            raise CalibrationMismatch(
                f"settle time: {begin_s:.1f} s after the change {share:.0%} of the old light are left, limit "
                f"{levels.tolerance:.1%}; switch off what dims or adapts the display, and keep other light away"
            )
    return shares


def _lag_s(shares: list[tuple[float, float]], period_s: float) -> float:
    """The middle of the change after `show`: frames are as long as their period, and the old light fills that time."""
    straddling = [(begin_s, share) for begin_s, share in shares if begin_s > -period_s]
    if not straddling:
        return 0.0
    return sum(min(share, 1.0) for _, share in straddling) * period_s + min(0.0, straddling[0][0])
