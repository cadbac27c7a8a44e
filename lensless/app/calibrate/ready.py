"""What is to be calibrated, and what is open and known when the first exposure is taken."""

import contextlib
import dataclasses
import pathlib

import numpy as np

from calibration import ShowAndSnap
from calibration.patterns import Patterns, pattern_set
from calibration.plan import Plan, choose_patterns, make_plan
from hardware import CameraSettings, Frame
from hardware.errors import (
    CalibrationMismatch,
    ConfigurationError,
    DeviceError,
)
from hardware.recording.schema import CameraFacts
from lensless.app.calibrate.taken import FRAMES, Taken
from lensless.app.collection.preparation import Ceiling, check_fits, measure_display
from lensless.app.collection.runs import begun_of
from lensless.app.collection.stand import SIMULATED, Stand, open_stand
from lensless.app.collection.watch import Limits
from lensless.app.rig import Rig
from lensless.app.screen import Screen

AUTO = "auto"


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is to be calibrated: the options of the command, as they were given.

    Args:
        rig: a rig file, or an id: the design that the camera is before.
        out: folder of the calibration.
        camera, display: addresses; None is the rig, simulated.
        rays: of a simulated cannula.
        patterns: one of `KINDS`; "auto" chooses by the noise.
        frames: of each pattern, each of the two times that it is shown.
        settings: to ask the camera for.
        settle_s, gamma: of the display; None: measured.
        max_drift: share by which the light may drift.
        dark, lamp: recordings of the covered sensor, and of it before an even lamp; None: taken, and left out.
        warm: recordings of the covered sensor at other temperatures.
        with_lamp: put a simulated sensor before a lamp, or ask for one.
        only_plan: show the plan, and end.
        seed: of the patterns' order.
    """

    rig: str
    out: pathlib.Path
    camera: str | None = None
    display: str | None = None
    rays: int | None = None
    patterns: str = AUTO
    frames: int = 1
    settings: CameraSettings = CameraSettings()  # noqa: RUF009  (immutable)
    settle_s: float | None = None
    gamma: float | None = None
    max_drift: float = Limits.drift
    dark: pathlib.Path | None = None
    lamp: pathlib.Path | None = None
    warm: tuple[pathlib.Path, ...] = ()
    with_lamp: bool = False
    only_plan: bool = False
    seed: int = 0

    @property
    def address(self) -> str:
        """Of the camera."""
        return self.camera or f"simulated:{self.rig}" + (f"?rays={self.rays}" if self.rays else "")


@dataclasses.dataclass(frozen=True, eq=False)
class Ready:
    """What is open and known when the first shot is taken."""

    wish: Wish
    rig: Rig
    stand: Stand
    show: ShowAndSnap
    settings: CameraSettings
    bright: float
    ceiling: Ceiling
    period_s: float
    plan: Plan
    provenance: dict

    def rows(self) -> list[tuple[str, str, int, float]]:
        return self.plan.table(self.period_s, self.show.settle_s)

    def taken(self) -> Taken:
        """What lies in the folder now."""
        return Taken(self.wish.out, self.provenance["same"])


def make_ready(wish: Wish, rig: Rig, screen: Screen, stack: contextlib.ExitStack) -> Ready:
    """Open camera and display, look at both, and decide what is shown: all that stands before the first pattern.

    Raises:
        CalibrationMismatch: frames that are not raw, or of another sensor than the rig's.
        ConfigurationError: a folder of another calibration, or an option that cannot be.
    """
    with screen.working(f"opening {wish.address}"):
        stand = stack.enter_context(open_stand(wish.address, wish.display, rig, hidden=True))
        settings = stand.camera.configure(wish.settings)
        first = stand.camera.snap(2)[-1]
        check_fits(first, rig.spec.sensor.shape, rig.spec.sensor.bit_depth, rig.id)
    _check_raw(first)
    with Taken(wish.out, None) as before:
        found = before.provenance
    begun = None if found is None else begun_of(found, wish.out / FRAMES)
    ceiling = Ceiling()
    show, settle, bright = measure_display(
        stand.display, stand.camera, ceiling, screen, wish.settle_s, wish.gamma, begun
    )
    adjustable = _is_adjustable(stand, settings)
    full_s = None
    if found is not None:
        full_s = found.get("full_s")
    elif adjustable:
        full_s = _filling_exposure(show, settings, bright, rig)
    patterns = _patterns(wish, rig, bright, found)
    plan = make_plan(
        first.pixels.shape[0] * first.pixels.shape[1], settings.exposure_s, full_s, patterns, wish.frames,
        lamp=wish.with_lamp,
    )  # fmt: skip
    same = {
        "rig": {"id": rig.spec.id, "fingerprint": rig.spec.fingerprint}, "patterns": patterns.facts(),
        "pattern_frames": wish.frames, "camera": dataclasses.asdict(CameraFacts.of(first.meta)),
        "applied": dataclasses.asdict(settings), "with_lamp": wish.with_lamp,
    }  # fmt: skip
    provenance = {
        "same": same, "full_s": full_s, "source": wish.address,
        "display": {
            "address": wish.display or SIMULATED, "bright": bright, "settle": dataclasses.asdict(settle),
            "response": dataclasses.asdict(show.response),
        },
    }  # fmt: skip
    return Ready(
        wish, rig, stand, show, settings, bright, ceiling, max(settle.period_s, settings.exposure_s), plan, provenance
    )


def _check_raw(frame: Frame) -> None:
    if not frame.meta.raw:
        raise CalibrationMismatch(
            f"camera {frame.meta.camera_id!r} gives processed frames ({frame.meta.pixel_format}); a calibration takes "
            "raw ones: `lensless check` says what the camera does, and how to ask for raw frames"
        )
    if frame.pixels.ndim != 2:
        raise CalibrationMismatch(
            f"camera {frame.meta.camera_id!r} gives frames of shape {frame.shape}; expected one value for each pixel"
        )


def _is_adjustable(stand: Stand, settings: CameraSettings) -> bool:
    """Whether the camera's exposure follows what it is told; it is back where it was afterwards."""
    if settings.exposure_s is None:
        return False
    try:
        applied = stand.camera.configure(dataclasses.replace(settings, exposure_s=2 * settings.exposure_s))
        follows = applied.exposure_s is not None and abs(applied.exposure_s / (2 * settings.exposure_s) - 1) < 0.05
    except (ConfigurationError, DeviceError):
        follows = False
    stand.camera.configure(settings)
    return follows


def _filling_exposure(show: ShowAndSnap, settings: CameraSettings, bright: float, rig: Rig) -> float:
    """About the exposure at which the bright display fills the brightest pixels."""
    frame = show.level(bright, 2)[-1]
    level = frame.meta.black_level_dn or float(np.percentile(frame.pixels, 1))
    share = (float(np.percentile(frame.pixels, 99.5)) - level) / (frame.meta.full_scale_dn - level)
    sensor = rig.spec.sensor
    well_share = sensor.full_well_electrons / sensor.gain_electrons_per_dn / (frame.meta.full_scale_dn - level)
    return settings.exposure_s / max(share, 0.01) * min(1.0, well_share)


def _patterns(wish: Wish, rig: Rig, bright: float, found: dict | None) -> Patterns:
    """Those that were asked for, or were begun with, or that the noise of the rig's sensor calls for."""
    shape = rig.spec.scene.shape
    if found is not None:
        begun = Patterns.of_facts(found["same"]["patterns"])
        if wish.patterns not in (AUTO, begun.kind):
            raise ConfigurationError(
                f"'{wish.out}' was begun with patterns {begun.kind!r}, and would go on with {wish.patterns!r}; give "
                "the same options again, or choose another folder with --out"
            )
        return begun
    if wish.patterns != AUTO:
        return pattern_set(wish.patterns, shape, wish.seed)
    sensor, dark_level = rig.spec.sensor, rig.spec.scene.dark_level
    floor = sensor.read_noise_electrons**2 + sensor.gain_electrons_per_dn**2 / 12
    patterns, _ = choose_patterns(
        shape, (1 - dark_level) * sensor.white_electrons, dark_level * sensor.white_electrons, floor, bright, wish.seed
    )
    return patterns
