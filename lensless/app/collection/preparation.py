"""What is measured of a display and a camera before the first scene is shown."""

import dataclasses

import numpy as np

from calibration import DisplayResponse, Settle, ShowAndSnap, measure_response, measure_settle
from calibration.in_step import InStep
from hardware import Camera, Frame, PatternSource
from hardware.errors import CalibrationMismatch, FrameSaturated
from lensless.app.collection.plan import Plan
from lensless.app.collection.runs import Begun
from lensless.app.screen import Screen

_DARKEST_WHITE = 1 / 64
_BRIGHTEST_SCENES, _LEARNT_SCENES = 3, 32
# A measured gamma that is as near to 1 as this is 1: pictures then go to the display as they are.
_LINEAR, _SAME_GAMMA, _MOST_GAMMA_STD = 0.02, 0.05, 0.03


@dataclasses.dataclass(frozen=True)
class Ceiling:
    """Where pixels clip, and how many may.

    Args:
        clip_dn: a pixel that reaches it is clipped; None is full scale.
        share: of the pixels of a frame.
    """

    clip_dn: float | None = None
    share: float = 0.02

    def clipped(self, frame: Frame) -> float:
        """Share of the pixels of a frame that are clipped."""
        limit_dn = frame.meta.full_scale_dn if self.clip_dn is None else self.clip_dn
        return float((frame.pixels >= limit_dn).mean())

    def check(self, frame: Frame, what: str) -> None:
        """Raises FrameSaturated if too many pixels are clipped."""
        if (share := self.clipped(frame)) > self.share:
            raise FrameSaturated(
                f"{what} saturates: {share:.1%} of the pixels of a frame are clipped, limit {self.share:.1%}; ask for "
                f"a shorter exposure with --exposure-s (it is {frame.meta.exposure_s:g} s; the calibration must be of "
                "the same, and the rig file say it), dim the display, or take another rig, such as bare-v1-short for "
                "bare-v1; collect into a new folder"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """A display and a camera in step, and what is known of them.

    Args:
        rig: shows and snaps.
        bright: the brightest level at which the whole display does not saturate the sensor.
        settle, response: as measured, or as they were said to be.
        in_step: what tells whether a frame belongs to its scene.
        like: a frame of the brightest scene.
    """

    rig: ShowAndSnap
    bright: float
    settle: Settle
    response: DisplayResponse
    in_step: InStep
    like: Frame

    def facts(self) -> dict:
        """For the provenance of a recording."""
        return {
            "bright": self.bright, "settle": dataclasses.asdict(self.settle),
            "response": dataclasses.asdict(self.response), "modes": self.in_step.modes,
            "most_misfit": self.in_step.most_misfit,
        }  # fmt: skip


def prepare(
    source: PatternSource,
    camera: Camera,
    plan: Plan,
    ceiling: Ceiling,
    screen: Screen,
    settle_s: float | None = None,
    gamma: float | None = None,
    begun: Begun | None = None,
) -> Prepared:
    """Find out how bright, how late and how linear the display is, and how its blocks look to the sensor.

    Args:
        settle_s, gamma: said, and not measured.
        begun: how it was when the collection was begun; pictures are shown as they were then.

    Raises:
        FrameSaturated: even a dim display saturates the sensor.
        CalibrationMismatch: the camera does not see the display, or that does not settle or follows no power law.
    """
    rig, settle, radiance = measure_display(source, camera, ceiling, screen, settle_s, gamma, begun)
    response, like = rig.response, _show_brightest(rig, plan, ceiling)
    with screen.working("blocks of the display"):
        in_step = InStep.measure(rig, radiance)
        in_step.learn(rig, [plan.radiance(scene_id) for scene_id in plan.order()[:_LEARNT_SCENES]])
    screen.say(f"  {in_step.modes} patterns of light stand out of the noise of a frame")
    if not in_step.tells_scenes:
        screen.say("  beware: scenes differ by less than the noise of a frame; nothing tells if one is not its own")
    return Prepared(rig, radiance, settle, response, in_step, like)


def measure_display(
    source: PatternSource,
    camera: Camera,
    ceiling: Ceiling,
    screen: Screen,
    settle_s: float | None = None,
    gamma: float | None = None,
    begun: Begun | None = None,
) -> tuple[ShowAndSnap, Settle, float]:
    """Display and camera in step, the settle time, and the radiance at which the whole display does not saturate.

    Args:
        settle_s, gamma: said, and not measured.
        begun: how it was when this was begun; pictures are shown as they were then.

    Raises:
        FrameSaturated: even a dim display saturates the sensor.
        CalibrationMismatch: the camera does not see the display, or that does not settle or follows no power law.
    """
    known = None if begun is None else begun.bright ** (1 / begun.gamma)  # the level, and not its radiance
    slow = ShowAndSnap(source, camera, (1.0 if camera.live else 0.0) if settle_s is None else settle_s)
    if settle_s is None:
        with screen.working("settle time of the display"):
            bright = _brightest(slow, ceiling, known)
            settle = measure_settle(source, camera, bright)
    else:
        settle, bright = Settle(settle_s, 0.0, 0.0, 0.0, 0), _brightest(slow, ceiling, known)
    screen.say(_told_of_settle(settle))
    rig = ShowAndSnap(source, camera, settle.settle_s)
    response = DisplayResponse(gamma) if gamma is not None else _response(rig, bright, screen)
    if begun is not None:
        response = _as_begun(response, begun)
    rig = ShowAndSnap(source, camera, settle.settle_s, response)
    return rig, settle, bright**response.gamma


def _response(rig: ShowAndSnap, bright: float, screen: Screen) -> DisplayResponse:
    """As measured; exactly linear where nothing speaks against it."""
    with screen.working("response of the display"):
        response = measure_response(rig, brightest=bright)
    screen.say(
        f"  gamma {response.gamma:.2f}, black {response.black:.1%} of white, "
        f"off a power law by {response.misfit:.2%} at most"
    )
    if response.gamma_std > _MOST_GAMMA_STD:
        raise CalibrationMismatch(
            f"the display's gamma is {response.gamma:.2f} with an error of {response.gamma_std:.2f}, limit "
            f"{_MOST_GAMMA_STD}: too dim, or too noisy; take more light, or say it with --gamma"
        )
    return dataclasses.replace(response, gamma=1.0) if abs(response.gamma - 1) < _LINEAR else response


def _as_begun(response: DisplayResponse, begun: Begun) -> DisplayResponse:
    """The response that the collection was begun with, if the display still has it."""
    if abs(response.gamma - begun.gamma) > max(_SAME_GAMMA, 5 * response.gamma_std):
        raise CalibrationMismatch(
            f"the display has gamma {response.gamma:.2f}, and had {begun.gamma:.2f} when the collection was begun: it "
            "is another one, or another setting of it; go on with that, or collect into a new folder"
        )
    return dataclasses.replace(response, gamma=begun.gamma)


def _show_brightest(rig: ShowAndSnap, plan: Plan, ceiling: Ceiling) -> Frame:
    """Show the scenes with the most light before any other: if one saturates, it is said now, and not in an hour.

    Returns:
        A frame of the brightest one.

    Raises:
        FrameSaturated: one does.
    """
    light = plan.pictures.sum((1, 2), dtype=np.int64)
    brightest = np.argsort(light, kind="stable")[: -_BRIGHTEST_SCENES - 1 : -1].tolist()
    for scene_id in reversed(brightest):
        (frame,) = rig(plan.radiance(scene_id))
        ceiling.check(frame, f"scene {scene_id}, one of the brightest,")
    return frame


def check_fits(frame: Frame, shape: tuple[int, int], bit_depth: int, rig_id: str) -> None:
    """Raises CalibrationMismatch for frames of a camera that is not the rig's."""
    if frame.shape != tuple(shape) or frame.meta.bit_depth != bit_depth:
        raise CalibrationMismatch(
            f"camera {frame.meta.camera_id!r} gives frames of {frame.shape}, {frame.meta.bit_depth} bits; the sensor "
            f"of rig {rig_id!r} has {tuple(shape)}, {bit_depth} bits: name the rig that the camera belongs to, or "
            "correct its file"
        )


def _brightest(rig: ShowAndSnap, ceiling: Ceiling, known: float | None) -> float:
    """The brightest level of the whole display that leaves most pixels below where they clip, if it is not known."""
    if known is not None:
        return known
    level = 1.0
    while ceiling.clipped(rig.level(level)[0]) > ceiling.share / 10:
        level /= 2
        if level < _DARKEST_WHITE:
            raise FrameSaturated(
                f"the sensor saturates before a display at {level * 2:.1%} of its white; shorten the exposure "
                "(--exposure-s), lower the gain, or keep other light away"
            )
    return level


def _told_of_settle(settle: Settle) -> str:
    if not settle.steps:
        return f"  settle time {settle.settle_s * 1e3:.0f} ms, as said and not measured"
    if not settle.settle_s:
        return "  every frame shows what was shown before it"
    return (
        f"  {settle.settle_s * 1e3:.0f} ms after a picture is shown the one before is gone "
        f"(middle of the change after {settle.lag_s * 1e3:.0f} ms; a frame every {settle.period_s * 1e3:.1f} ms)"
    )
