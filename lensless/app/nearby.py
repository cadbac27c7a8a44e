"""Rigs one small step away from a rig, and what the step does to what it sees."""

import contextlib
import dataclasses
import math
from collections.abc import Callable

from torch import Tensor

from hardware.rig import RigSpec
from lensless.app.linear_estimates import Noise
from lensless.app.perturbation import at_distance
from lensless.app.rig import Rig
from lensless.app.setting import Setting
from lensless.optics import ForwardModel, analysis
from lensless.optics.analysis import Change
from lensless.optics.operator import DenseModel
from lensless.recon import SceneStatistics


@dataclasses.dataclass(frozen=True)
class Perturbation:
    """A small step away from the rig: what it changes, and what Wiener's filter of the unchanged rig loses by it."""

    name: str
    change: Change
    loss_db: float


def steps(spec: RigSpec) -> dict[str, RigSpec]:
    """Rigs one small step away, by what was done to them."""

    def moved(**by: float) -> RigSpec:
        there = {name: getattr(spec.alignment, name) + step for name, step in by.items()}
        return dataclasses.replace(spec, alignment=dataclasses.replace(spec.alignment, **there))

    whole = "rod" if spec.cannula else "sensor"
    found = {
        f"{whole} tilted by 0.1 degrees": moved(tilt_x_deg=0.1),
        f"{whole} shifted by 0.1 mm": moved(shift_x_mm=0.1),
        "display 1 % further away": dataclasses.replace(
            spec, scene=at_distance(spec.scene, 1.01 * spec.scene.distance_mm)
        ),
    }
    if spec.cannula:
        found["sensor shifted by 1 um"] = moved(sensor_shift_x_um=1.0)
    return found


def perturbations(
    setting: Setting, pictures: SceneStatistics, noise: Noise, working: Callable = contextlib.nullcontext
) -> list[Perturbation]:
    """What each of `steps` does; sampled models have rays of one seed, so that most of their errors are the same.

    `working(name)` is a context for each step: a rod out of place has fewer symmetries, and takes a minute to trace.
    """
    rig, found = setting.rig, []
    model = _dense(rig.forward_model)
    # Of the same rounded matrix: a structured model's own information differs by more than some rigs' modes.
    noise = dataclasses.replace(noise, information=_seen(model, model, noise))
    before = noise.expected_error(pictures)
    for name, spec in steps(rig.spec).items():
        with working(name):
            moved = _dense(Rig(spec, str(rig.device), rig.rays).forward_model)
            loss_db = 10 * math.log10(noise.expected_error(pictures, _seen(model, moved, noise)) / before)
            found.append(Perturbation(name, analysis.change(model, moved), loss_db))
    return found


def _dense(model: ForwardModel) -> DenseModel:
    """The matrix itself, which a structured model would build anew each time."""
    return DenseModel(model.as_matrix(), model.scene_shape, model.sensor_shape)


def _seen(model: DenseModel, moved: DenseModel, noise: Noise) -> Tensor:
    """A* N^-1 A' in units of pictures."""
    return noise.contrast**2 * analysis.matched_filter(model, noise.told, moved.as_matrix())
