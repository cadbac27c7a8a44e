"""The frames that a check looks at: some as the camera is, and some at several exposures."""

import dataclasses
import itertools
import time
import zlib
from collections.abc import Iterable
from typing import Self

import numpy as np

from hardware import Camera, CameraSettings, Frame, FrameMeta
from hardware.errors import CameraError, CameraLost, ConfigurationError

SHARES = (1 / 8, 1 / 4, 1 / 2, 1)  # of the longest exposure of the series
TARGET, WITHIN = 0.55, (0.4, 0.7)  # of full scale above black, where the longest exposure puts the bright pixels
BRIGHT = 99.5  # the percentile that says how bright that is; a few hot pixels do not count
SHORTEST, LONGEST_S = (
    1 / 64,
    0.25,
)  # exposures tried: relative to the camera's own, and seconds unless its own is longer
TRIES = 5
UNUSUAL = 0.73  # of its own exposure: no recording has that by chance
GIVEN = "its frames were exposed before, and have the exposures that they have"
SETTLE = 3  # frames of a live camera that are left alone after each change: many take a few to come into effect
MOST_PIXELS, MOST_BYTES = 2**21, 2**28  # kept of one frame, and of all frames of a burst


@dataclasses.dataclass(frozen=True, eq=False)
class Burst:
    """Frames that were asked for alike.

    Args:
        pixels: (n, h, w), the middle of each frame; of frames in colour the green channel.
        metas: of each frame.
        digests: CRC-32 of each whole frame: equal frames have equal ones.
        shape: of the whole frames.
    """

    pixels: np.ndarray
    metas: tuple[FrameMeta, ...]
    digests: tuple[int, ...]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, frames: Iterable[Frame], count: int) -> Self:
        """At least one frame; they are cut as they come, so that a live camera waits for nothing."""
        kept, metas, digests, shape = [], [], [], ()
        for frame in frames:
            shape = frame.shape
            kept.append(middle(frame.pixels, min(MOST_PIXELS, MOST_BYTES // (2 * count))))
            metas.append(frame.meta)
            digests.append(zlib.crc32(frame.pixels))
        return cls(np.stack(kept), tuple(metas), tuple(digests), shape)

    @property
    def meta(self) -> FrameMeta:
        return self.metas[0]

    def __len__(self) -> int:
        return len(self.metas)

    def only(self, at: list[int]) -> Self:
        """Some of the frames."""
        return Burst(
            self.pixels[at], tuple(self.metas[i] for i in at), tuple(self.digests[i] for i in at), self.shape
        )  # fmt: skip


@dataclasses.dataclass(frozen=True, eq=False)
class Taken:
    """All frames of a check.

    Args:
        found: frames as the camera was.
        series: bursts of different exposures, the shortest first; the camera's own among them where it has the most.
        asked: (asked for, applied) exposures in seconds.
        refusal: why an exposure could not be had; None if all could.
        live: whether the camera goes on by itself.
    """

    found: Burst
    series: list[Burst]
    asked: list[tuple[float, float]]
    refusal: str | None
    live: bool


def middle(pixels: np.ndarray, most: int) -> np.ndarray:
    """At most so many pixels around the middle, begun at multiples of 16: colour filters and 8 x 8 blocks stay where
    they are.
    """
    if pixels.ndim == 3:
        pixels = pixels[:, :, min(1, pixels.shape[2] - 1)]
    rows, columns = pixels.shape
    shrink = min(1.0, (most / pixels.size) ** 0.5)
    high, wide = (min(n, max(16, int(n * shrink) // 16 * 16)) if shrink < 1 else n for n in (rows, columns))
    top, left = ((n - kept) // 2 // 16 * 16 for n, kept in ((rows, high), (columns, wide)))
    return pixels[top : top + high, left : left + wide].copy()


def take(camera: Camera, frames: int) -> Taken:
    """Frames as the camera is, then a series of exposures; the camera is set back at the end.

    Args:
        frames: as it is; a quarter of that, 6 at least, at each exposure.

    Raises:
        CameraLost: it gives no frame, or stops.
    """
    shots = camera.frames()
    found = list(itertools.islice(shots, frames))
    del shots  # a generator that is let go of ends its capture
    if not found:
        raise CameraLost(f"camera {camera.camera_id!r} gave no frame; check its cable, or play another recording")
    burst = Burst.of(found, frames)
    asked, series, refusal = _series(camera, burst, max(6, frames // 4))
    if not series:
        groups = _by_exposure(burst)
        return Taken(groups[0], sorted(groups, key=lambda one: one.meta.exposure_s), asked, refusal, camera.live)
    return Taken(burst, series, asked, refusal, camera.live)


def _series(camera: Camera, found: Burst, count: int) -> tuple[list[tuple[float, float]], list[Burst], str | None]:
    """Exposures asked for and applied, the bursts taken with them, and the first refusal."""
    own_s = longest_s = found.meta.exposure_s
    refusals: list[str] = []

    def ask(exposure_s: float) -> float | None:
        try:
            return camera.configure(CameraSettings(exposure_s=exposure_s)).exposure_s
        except CameraLost:
            raise
        except (ConfigurationError, CameraError) as error:  # out of its range, say; others may do
            refusals.append(str(error))
            return None

    # A recording grants the exposure that it has and no other; its frames must not be used up by trying.
    if not camera.live and ask(float(f"{own_s * UNUSUAL:.3g}")) is None:
        return [], [], GIVEN
    seen = found
    for _ in range(TRIES):
        factor = wanted_factor(seen.pixels, found.meta.black_level_dn, found.meta.full_scale_dn)
        wanted_s = min(max(longest_s * factor, own_s * SHORTEST), max(own_s, LONGEST_S))
        if factor == 1 or (applied_s := ask(wanted_s)) in (None, longest_s):
            break
        longest_s, seen = applied_s, _burst(camera, 2)
    asked, bursts = [], {}
    for share in SHARES:
        if (applied_s := ask(longest_s * share)) is not None:
            asked.append((longest_s * share, applied_s))
            bursts[applied_s] = _burst(camera, count)
    if asked:
        ask(own_s)
    return asked, [bursts[exposure_s] for exposure_s in sorted(bursts)], refusals[0] if refusals else None


def wanted_factor(pixels: np.ndarray, black_dn: float, full_scale_dn: int) -> float:
    """By how much the exposure has to change so that bright pixels come to a good level; 1 if they are there."""
    span_dn = full_scale_dn - black_dn
    level = (float(np.percentile(pixels[-1], BRIGHT)) - black_dn) / span_dn
    if WITHIN[0] <= level <= WITHIN[1]:
        return 1.0
    return 1 / 4 if level > 0.95 else min(TARGET / max(level, 0.01), 16.0)


def _burst(camera: Camera, count: int) -> Burst:
    """Frames that were exposed from now on."""
    settle = SETTLE if camera.live else 0
    not_before_ns = time.monotonic_ns() if camera.live else None
    return Burst.of(camera.snap(settle + count, not_before_ns)[settle:], count)


def _by_exposure(burst: Burst) -> list[Burst]:
    """The frames of a recording, in the order in which their exposures first came."""
    groups: dict[float, list[int]] = {}
    for at, meta in enumerate(burst.metas):
        groups.setdefault(meta.exposure_s, []).append(at)
    return [burst.only(at) for at in groups.values()]
