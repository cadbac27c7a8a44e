"""How the transfer matrix changes when a rig moves: what the physics of its design says, handed to the fit of drift."""

import dataclasses

import numpy as np

from hardware.rig import RigSpec
from lensless.app import perturbation
from lensless.app.rig import Rig

RAYS = 2**17
_WIDE = 3.0  # how much further than usual a rig may have moved, before it is not believed
_STEP = 0.3  # of the usual movement, to both sides


@dataclasses.dataclass(frozen=True)
class Move:
    """Args: `name` of what moves, a field of the rig's alignment, with its unit; `usual`, how far it does."""

    name: str
    usual: float


def moves_of(spec: RigSpec) -> list[Move]:
    """What may move in a rig of this design."""
    moves = [
        Move("tilt_x_deg", perturbation.TILT_DEG), Move("tilt_y_deg", perturbation.TILT_DEG),
        Move("roll_deg", perturbation.ROLL_DEG), Move("shift_x_mm", perturbation.SHIFT_MM),
        Move("shift_y_mm", perturbation.SHIFT_MM),
    ]  # fmt: skip
    if spec.cannula is not None:
        moves += [
            Move("sensor_shift_x_um", perturbation.IMAGE_SHIFT_UM),
            Move("sensor_shift_y_um", perturbation.IMAGE_SHIFT_UM),
        ]
    return moves


def priors(spec: RigSpec) -> dict[str, float]:
    """Standard deviation that each may have moved by."""
    return {move.name: _WIDE * move.usual for move in moves_of(spec)}


def moved(spec: RigSpec, by: dict[str, float]) -> RigSpec:
    """The design, moved."""
    there = {name: getattr(spec.alignment, name) + amount for name, amount in by.items()}
    return dataclasses.replace(spec, alignment=dataclasses.replace(spec.alignment, **there))


def matrix_of(spec: RigSpec, rays: int = RAYS) -> np.ndarray:
    """The matrix that the design says, (pixels, points), white = 1, with the same rays for every place of the rig."""
    rig = Rig(spec, rays=rays if spec.cannula is not None else None)
    return rig.forward_model.as_matrix().numpy()


def derivative(spec: RigSpec, move: Move, rays: int = RAYS) -> np.ndarray:
    """Change of the matrix per unit of a movement, (pixels, points), by a difference to both sides."""
    step = _STEP * move.usual
    ahead, behind = (matrix_of(moved(spec, {move.name: sign * step}), rays) for sign in (1, -1))
    return (ahead - behind) / (2 * step)
