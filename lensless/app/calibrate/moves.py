"""What may move in a rig of a design, and the matrix that the design has wherever it does: the physics that the fits of
calibration are handed.

A tilt of the rig and a shift before the display are one unknown here: at hundreds of millimetres they look alike.
"""

import dataclasses
import functools
import math
from typing import Protocol

import numpy as np
from scipy import ndimage

from calibration.movement import Unknown
from hardware.errors import ConfigurationError
from hardware.rig import RigSpec
from lensless.app import perturbation
from lensless.app.measured_rig import MeasuredRig
from lensless.app.perturbation import at_distance
from lensless.app.rig import Rig

DISTANCE = "distance"
_WIDE = 10.0  # a rig may have moved by so many times what is usual, or be built so
_KEPT = 4  # matrices in memory
_HARDLY_LIT = 1e-4  # of the mean light of a pixel: their response is taken for the mean
_SHADOW_STEP = 2.0  # of what is usual, which is a fraction of a pixel


class RodMoves:
    """A cannula of a design, and its matrix where it stands otherwise.

    Args:
        spec: of the design.
        rays: for each scene pixel; None for those of the model.
    """

    def __init__(self, spec: RigSpec, rays: int | None = None):
        self._spec, self._rays = spec, rays
        self._traced = functools.lru_cache(_KEPT)(self._trace)
        self._white: float | None = None  # of the first place; all others are told in its units
        self.unknowns = {
            name: Unknown(unit, usual, _WIDE * usual)
            for name, unit, usual in (
                ("shift_x_mm", "mm", _pointing_mm(spec)),
                ("shift_y_mm", "mm", _pointing_mm(spec)),
                ("roll_deg", "deg", perturbation.ROLL_DEG),
                ("sensor_shift_x_um", "um", perturbation.IMAGE_SHIFT_UM),
                ("sensor_shift_y_um", "um", perturbation.IMAGE_SHIFT_UM),
                (DISTANCE, "", perturbation.DISTANCE),
            )
        }

    def spec(self, place: dict[str, float]) -> RigSpec:
        """The design, moved so far."""
        by = {name: amount for name, amount in place.items() if name != DISTANCE}
        there = {name: getattr(self._spec.alignment, name) + amount for name, amount in by.items()}
        scene = self._spec.scene
        return dataclasses.replace(
            self._spec, alignment=dataclasses.replace(self._spec.alignment, **there),
            scene=at_distance(scene, scene.distance_mm * (1 + place.get(DISTANCE, 0.0))),
        )  # fmt: skip

    def matrix(self, place: dict[str, float]) -> np.ndarray:
        """(pixels, points) float32, in units of one white for all places; the same rays wherever it stands.

        Raises:
            ConfigurationError: a place where it cannot stand, such as one that sees the display no more.
        """
        return self._traced(tuple(sorted(place.items())))

    def _trace(self, place: tuple[tuple[str, float], ...]) -> np.ndarray:
        model = Rig(self.spec(dict(place)), rays=self._rays).cannula(self._white, estimate_error=False)
        self._white = model.white
        return model.as_matrix().numpy()


class MeasuredMoves(Protocol):
    """A measured rig, wherever it stands now."""

    unknowns: dict[str, Unknown]

    def frames(self, weights: np.ndarray, place: dict[str, float]) -> np.ndarray:
        """(K, pixels) of pictures (K, points) when it has moved so far."""

    def matrix(self, place: dict[str, float]) -> np.ndarray:
        """(pixels, points) float32."""

    def spec(self, place: dict[str, float]) -> RigSpec:
        """What is said of it then."""


def moves_of(rig: MeasuredRig, rays: int | None = None) -> MeasuredMoves:
    """How a measured rig moves. `rays` of the matrix that its design has.

    Raises:
        ConfigurationError: rays for a rig that has no rod, or a design that cannot be.
    """
    if rays is not None and rig.spec.cannula is None:
        raise ConfigurationError(f"rig {rig.id!r} has no cannula: nothing is traced; leave --rays out")
    return MeasuredShadows(rig) if rig.spec.cannula is None else MeasuredRod(rig, rays)


class MeasuredRod:
    """What was measured of a cannula changes as the matrix of its design does: M + p (A(place) - A)."""

    def __init__(self, rig: MeasuredRig, rays: int | None = None):
        self._design = RodMoves(rig.spec, rays)
        self.unknowns, self.spec = self._design.unknowns, self._design.spec
        self._was = rig.forward_model.as_matrix().numpy()
        self._designed = self._design.matrix({})
        power, across = (np.einsum("ij,ij->i", self._designed, one) for one in (self._designed, self._was))
        mean = float(across.sum() / power.sum())
        few = _HARDLY_LIT * float(power.mean())
        self._response = ((across + few * mean) / (power + few))[:, None].astype(np.float32)

    def frames(self, weights: np.ndarray, place: dict[str, float]) -> np.ndarray:
        return weights @ self.matrix(place).T

    def matrix(self, place: dict[str, float]) -> np.ndarray:
        moved = {name: amount for name, amount in place.items() if amount}
        return self._was + self._response * (self._design.matrix(moved) - self._designed)


class MeasuredShadows:
    """The shadows that lie on a bare sensor. What is moved by s before a display at the distance d moves those of
    specks at the height h by s h / d, all alike.
    """

    def __init__(self, rig: MeasuredRig):
        self._rig, spec = rig, rig.spec
        self._pixels_per_mm = _shadow_px_per_mm(spec)
        usual_mm = _pointing_mm(spec)
        self.unknowns = {
            name: Unknown("mm", usual_mm, _WIDE * usual_mm, _SHADOW_STEP) for name in ("shift_x_mm", "shift_y_mm")
        }
        self._was = rig.forward_model.as_matrix().numpy()
        rows = self._was.sum(1).reshape(spec.sensor.shape)
        # Response differs from pixel to pixel and stays where it is; shadows are smooth over that.
        self._response = (rows / np.maximum(ndimage.median_filter(rows, 5), 1e-6)).ravel().clip(0.5, 2)

    def spec(self, place: dict[str, float]) -> RigSpec:
        a, spec = self._rig.spec.alignment, self._rig.spec
        there = {name: getattr(a, name) + amount for name, amount in place.items()}
        return dataclasses.replace(spec, alignment=dataclasses.replace(a, **there))

    def frames(self, weights: np.ndarray, place: dict[str, float]) -> np.ndarray:
        return self._moved(weights @ self._was.T, place)

    def matrix(self, place: dict[str, float]) -> np.ndarray:
        return np.ascontiguousarray(self._moved(self._was.T, place).T)

    def _moved(self, frames: np.ndarray, place: dict[str, float]) -> np.ndarray:
        by = [self._pixels_per_mm * place.get(name, 0.0) for name in ("shift_y_mm", "shift_x_mm")]
        if not any(by):
            return frames
        shape = self._rig.spec.sensor.shape
        return np.stack([
            self._response * ndimage.shift((one / self._response).reshape(shape), by, order=1, mode="nearest").ravel()
            for one in frames
        ]).astype(np.float32)  # fmt: skip


def shadow_step_px(spec: RigSpec) -> float:
    """How much further the shadows on a bare sensor fall for a step of one point of the display, pixels."""
    pitch_mm = spec.scene.width_mm / spec.scene.shape[1]
    return pitch_mm * _shadow_px_per_mm(spec)


def _shadow_px_per_mm(spec: RigSpec) -> float:
    return 1e3 * spec.cover_glass.height_mm / spec.scene.distance_mm / spec.sensor.pitch_um


def _pointing_mm(spec: RigSpec) -> float:
    """How far a rig of this distance points elsewhere now and then."""
    return math.hypot(perturbation.SHIFT_MM, math.tan(math.radians(perturbation.TILT_DEG)) * spec.scene.distance_mm)
