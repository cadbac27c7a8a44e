"""Rigs as they are after a while: tilted, moved, warmer, dustier than the one that was calibrated.

The amounts are assumptions, about what a hand or a warm day does to a rig on a bench; no published values are known to
us. A `strength` of 2 doubles them all.
"""

import dataclasses
import math
import pathlib
import re

import numpy as np

from hardware.errors import ConfigurationError
from hardware.rig import RigSpec, SceneSpec

TILT_DEG = 0.1  # standard deviation, as all but the last
ROLL_DEG = 0.2
SHIFT_MM = 0.5  # of the rig before the scene
IMAGE_SHIFT_UM = 4.0  # of the sensor behind a relay, a third of the default pixel
DISTANCE = 0.005  # relative
GAIN = 0.02  # relative: the lamp, and the response of a warm sensor
TEMPERATURE_C = 3.0
NEW_SPECKS = 1.0  # mean number on a bare sensor
STRONGEST = 10.0
_DRIFT = r"(\d{1,12})(?:x(\d+(?:\.\d+)?))?"  # SEED or SEEDxSTRENGTH


def perturb(spec: RigSpec, seed: int, strength: float = 1.0) -> RigSpec:
    """A copy of a rig that has drifted; one seed drifts the same way at every strength. Its id is ID~SEED, or
    ID~SEEDxSTRENGTH.

    Raises:
        ConfigurationError: the strength is not within 0 .. 10.
    """
    if not 0 <= strength <= STRONGEST:
        raise ConfigurationError(f"rig {spec.id!r}: drift of strength = {strength:g}; expected 0 .. {STRONGEST:g}")
    if seed < 0:
        raise ConfigurationError(f"rig {spec.id!r}: drift of seed = {seed}; expected 0 or more")
    strength = float(f"{strength:g}")  # the id says no more digits, and must tell the whole drift
    draw = np.random.default_rng(seed)
    tilt_x, tilt_y, roll, shift_x, shift_y, image_x, image_y, distance, gain, warmth = (
        strength * float(number) for number in np.clip(draw.standard_normal(10), -3, 3)
    )
    new_specks = int((draw.random(draw.poisson(NEW_SPECKS * STRONGEST)) < strength / STRONGEST).sum())
    a, scene, sensor = spec.alignment, spec.scene, spec.sensor
    moved = {
        "tilt_x_deg": a.tilt_x_deg + TILT_DEG * tilt_x,
        "tilt_y_deg": a.tilt_y_deg + TILT_DEG * tilt_y,
        "roll_deg": a.roll_deg + ROLL_DEG * roll,
        "shift_x_mm": a.shift_x_mm + SHIFT_MM * shift_x,
        "shift_y_mm": a.shift_y_mm + SHIFT_MM * shift_y,
    }
    glass = spec.cover_glass
    if spec.cannula is None:
        glass = dataclasses.replace(glass, specks=glass.specks + new_specks)
    else:
        moved["sensor_shift_x_um"] = a.sensor_shift_x_um + IMAGE_SHIFT_UM * image_x
        moved["sensor_shift_y_um"] = a.sensor_shift_y_um + IMAGE_SHIFT_UM * image_y
    stronger = "" if math.isclose(strength, 1) else f"x{strength:g}"
    return dataclasses.replace(
        spec,
        id=f"{spec.id}~{seed}{stronger}",
        scene=at_distance(scene, scene.distance_mm * (1 + DISTANCE * distance)),
        sensor=dataclasses.replace(
            sensor,
            white_electrons=sensor.white_electrons * (1 + GAIN * gain),
            temperature_c=sensor.temperature_c + TEMPERATURE_C * warmth,
        ),
        cover_glass=glass,
        alignment=dataclasses.replace(a, **moved),
    )


def drift_of(spec: RigSpec, rig_id: str, fingerprint: str) -> tuple[int, float] | None:
    """Seed and strength of the drift, if that id and fingerprint are those of a drifted copy of this rig; else None."""
    found = re.fullmatch(re.escape(spec.id) + "~" + _DRIFT, rig_id)
    if found is None or float(found[2] or 1) > STRONGEST:
        return None
    seed, strength = int(found[1]), float(found[2] or 1)
    return (seed, strength) if perturb(spec, seed, strength).fingerprint == fingerprint else None


def at_distance(scene: SceneSpec, distance_mm: float) -> SceneSpec:
    """The same display at another distance: the angle that it fills changes, its width does not."""
    if scene.fov_deg is None:
        return dataclasses.replace(scene, distance_mm=distance_mm)
    tangent = math.tan(math.radians(scene.fov_deg / 2)) * scene.distance_mm / distance_mm
    return dataclasses.replace(scene, distance_mm=distance_mm, fov_deg=2 * math.degrees(math.atan(tangent)))


def split_name(name: str) -> tuple[str, int | None, float]:
    """The id of a rig in the short form ID~SEED or ID~SEEDxSTRENGTH: id, seed (None without one) and strength.

    Raises:
        ConfigurationError: what follows the ~ is not of that form.
    """
    source, mark, rest = name.rpartition("~")
    if not mark or "/" in rest or not source or pathlib.Path(name).is_file():  # a ~ may be part of a path
        return name, None, 1.0
    found = re.fullmatch(_DRIFT, rest)
    if found is None:
        raise ConfigurationError(
            f"rig {name!r}: expected ID~SEED or ID~SEEDxSTRENGTH, such as {source}~3 or {source}~3x0.5"
        )
    return source, int(found[1]), float(found[2] or 1)
