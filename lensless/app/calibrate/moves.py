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
from calibration.shadows import Shadows, fit_shadows
from hardware.errors import ConfigurationError
from hardware.rig import RigSpec
from lensless.app import perturbation
from lensless.app.measured_rig import MeasuredRig, read_facts
from lensless.app.perturbation import at_distance
from lensless.app.rig import Rig

DISTANCE = "distance"
_WIDE = 10.0  # a rig may have moved by so many times what is usual, or be built so
_KEPT = 4  # matrices in memory
_HARDLY_LIT = 1e-4  # of the mean light of a pixel: their response is taken for the mean
_LEAST_RESPONSE = 0.05  # of the median pixel's
_SHADE = 1e-4  # of a pixel's light, over all points, that shadows take where they reach
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
    if rig.spec.cannula is not None:
        return MeasuredRod(rig, rays)
    matrix, (seen, step_px) = rig.forward_model.as_matrix().numpy(), _known_shadows(rig)
    shadows = None
    if seen:
        noise = np.broadcast_to(rig.forward_model.noise_std.numpy().reshape(-1), len(matrix))
        shapes = rig.spec.scene.shape, rig.spec.sensor.shape
        shadows = fit_shadows(matrix, noise, *shapes, shadow_step_px(rig.spec), step_px)
    return MeasuredShadows(rig.spec, matrix, shadows)


def _known_shadows(rig: MeasuredRig) -> tuple[bool, np.ndarray | None]:
    """Whether a calibration has found shadows, and how they move, (2, 2), where it says so."""
    measured = read_facts(rig.matrix_file.parent).get("measured")
    said = measured.get("matrix") if isinstance(measured, dict) else None
    if not isinstance(said, dict) or not said.get("specks"):
        return False, None
    try:
        step_px = np.array(said.get("shadow_step_px"), float)
    except (TypeError, ValueError, OverflowError):
        return True, None
    return True, step_px if step_px.shape == (2, 2) and np.isfinite(step_px).all() else None


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
    """The shadows that lie on a bare sensor. All of them move alike, by as much as a step of the display of that length
    moves them; the response of the pixels stays where it is, and so does what no shadow reaches, of which noise alone
    would move. Without shadows nothing that moves can be seen.

    Args:
        spec: of the measured rig.
        matrix: (pixels, points) that was measured.
        shadows: in it; None where there are none.
    """

    def __init__(self, spec: RigSpec, matrix: np.ndarray, shadows: Shadows | None):
        self._spec, self._was, self._shadows = spec, matrix, shadows
        usual_mm, names = _pointing_mm(spec), () if shadows is None else ("shift_x_mm", "shift_y_mm")
        self.unknowns = {name: Unknown("mm", usual_mm, _WIDE * usual_mm, _SHADOW_STEP) for name in names}
        if shadows is not None:
            # What hardly sees anything must not be divided by: the shift would spread it.
            self._response = shadows.response.clip(_LEAST_RESPONSE * float(np.median(shadows.response)))
            left = shadows.matrix.sum(1).reshape(self._response.shape) / self._response
            reached = np.abs(left / np.median(left) - 1) > _SHADE
            self._reached = ndimage.binary_dilation(reached, np.ones((3, 3)), iterations=3)

    def spec(self, place: dict[str, float]) -> RigSpec:
        there = {name: getattr(self._spec.alignment, name) + amount for name, amount in place.items()}
        return dataclasses.replace(self._spec, alignment=dataclasses.replace(self._spec.alignment, **there))

    def frames(self, weights: np.ndarray, place: dict[str, float]) -> np.ndarray:
        return self._moved(weights @ self._was.T, place)

    def matrix(self, place: dict[str, float]) -> np.ndarray:
        return np.ascontiguousarray(self._moved(self._was.T, place).T)

    def _moved(self, frames: np.ndarray, place: dict[str, float]) -> np.ndarray:
        """Frames (K, pixels) when the rig stands there."""
        if not any(place.values()):
            return frames
        moved_mm = np.array([place.get(name, 0.0) for name in ("shift_y_mm", "shift_x_mm")])
        by_px = self._shadows.step_px @ moved_mm / _point_mm(self._spec)
        there = np.empty_like(frames)
        for frame, new in zip(frames, there, strict=True):
            frame = frame.reshape(self._response.shape)
            shifted = self._response * ndimage.shift(frame / self._response, by_px, order=3, mode="nearest")
            new[:] = np.where(self._reached, shifted, frame).ravel()
        return there


def shadow_step_px(spec: RigSpec) -> float:
    """How much further the shadows on a bare sensor fall for a step of one point of the display, pixels."""
    return 1e3 * _point_mm(spec) * spec.cover_glass.height_mm / spec.scene.distance_mm / spec.sensor.pitch_um


def _point_mm(spec: RigSpec) -> float:
    return spec.scene.width_mm / spec.scene.shape[1]


def _pointing_mm(spec: RigSpec) -> float:
    """How far a rig of this distance points elsewhere now and then."""
    return math.hypot(perturbation.SHIFT_MM, math.tan(math.radians(perturbation.TILT_DEG)) * spec.scene.distance_mm)
