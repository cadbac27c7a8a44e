"""What a rig is: plain facts of scene, optics and sensor, as they stand in a rig file.

Nothing here reads a file or checks a range: `lensless.app.rig` does, so that a Raspberry Pi that only
records needs no more than numpy.
"""

import dataclasses
import hashlib
import json


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneSpec:
    """The plane that is looked at: a display of `shape` (rows, columns) square pixels, in front of the rig.

    Its size is given by `width_mm` or by the full angle `fov_deg` that its width fills; exactly one of them.
    A picture p in [0, 1] is shown as the radiance x = dark_level + (1 - dark_level) p, white = 1.
    """

    shape: tuple[int, int]
    distance_mm: float
    dark_level: float
    width_mm: float | None = None
    fov_deg: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class CannulaSpec:
    """A glass rod that pipes light from its front face to its back face."""

    diameter_mm: float
    length_mm: float
    core_index: float
    numerical_aperture: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class RelaySpec:
    """The lens that images the back face of the rod on the sensor."""

    magnification: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class CoverGlassSpec:
    """The window of a bare sensor, with opaque specks at `height_mm` above the pixels, placed by `seed`."""

    height_mm: float
    specks: int
    speck_radius_um: float
    seed: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class SensorSpec:
    """Pixels and noise, in the terms of EMVA 1288; `serial` decides the fixed patterns.

    `white_electrons` is what the brightest pixel of an all-white scene collects in one frame of `exposure_s`.
    `frames` is how many frames are averaged into one measurement.
    """

    serial: str
    shape: tuple[int, int]
    pitch_um: float
    white_electrons: float
    full_well_electrons: float
    read_noise_electrons: float
    dark_electrons_per_s: float
    exposure_s: float
    prnu: float
    dsnu_electrons: float
    column_electrons: float = 0.0
    bit_depth: int
    black_level_dn: int
    gain_electrons_per_dn: float
    frames: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class RigSpec:
    """One rig: a scene, a sensor, and either a cannula with its relay or a cover glass in between."""

    id: str
    scene: SceneSpec
    sensor: SensorSpec
    cannula: CannulaSpec | None = None
    relay: RelaySpec | None = None
    cover_glass: CoverGlassSpec | None = None

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all facts: two rigs of one id and different facts are not the same rig."""
        facts = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()
