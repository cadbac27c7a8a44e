"""What a rig is: plain facts of scene, optics and sensor, as they stand in a rig file.

Nothing here reads a file or checks a range: `lensless.app.rig_file` does, so that a Raspberry Pi that only
records needs no more than numpy.
"""

import dataclasses
import hashlib
import json
import typing

_DARK_CURRENT_HOLDS_AT_C = 20.0


def dark_growth(temperature_c: float, dark_doubling_c: float) -> float:
    """How many times the dark current of a sensor is that at 20 degrees C (EMVA 1288 R3.1, section 3.2)."""
    return 2 ** ((temperature_c - _DARK_CURRENT_HOLDS_AT_C) / dark_doubling_c)


def _later(default: typing.Any):
    """A fact that came to the format later: at its default it leaves the fingerprint of a rig as it was."""
    return dataclasses.field(default=default, metadata={"later": True})


@dataclasses.dataclass(frozen=True, kw_only=True)
class SceneSpec:
    """The plane that is looked at: a display of `shape` (rows, columns) square pixels, in front of the rig.

    Its size is given by `width_mm` or by the full angle `fov_deg` that its width fills; exactly one of them.
    A picture p in [0, 1] is shown as the radiance x = dark_level + (1 - dark_level) p, white = 1.
    Its light has the wavelength `wavelength_nm`, spread evenly over `bandwidth_nm` around it, and the radiance
    falls with the angle from the normal as cos(angle)^emission_exponent; 0 is Lambert's law. A display in colours has
    `colours_nm` in place of `wavelength_nm`: red, green and blue.
    """

    shape: tuple[int, int]
    distance_mm: float
    dark_level: float
    width_mm: float | None = None
    fov_deg: float | None = None
    wavelength_nm: float = _later(550.0)
    bandwidth_nm: float = _later(0.0)
    emission_exponent: float = _later(0.0)
    colours_nm: tuple[float, float, float] | None = _later(None)

    @property
    def channels(self) -> int:
        """Of a picture: 1 of a grey display, 3 of one in colours."""
        return 1 if self.colours_nm is None else len(self.colours_nm)

    @property
    def picture_shape(self) -> tuple[int, int, int]:
        """Colours, rows and columns of a picture."""
        return self.channels, *self.shape

    @property
    def planes_shape(self) -> tuple[int, int]:
        """Rows and columns of a picture with its colours one above the other: how displays and recordings hold it."""
        return self.channels * self.shape[0], self.shape[1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CannulaSpec:
    """A glass rod that pipes light from its front face to its back face.

    `core_index` holds at 587.6 nm; `abbe_number` says how it changes with the wavelength, None that it does not.
    `fresnel` counts the reflections at both faces; `roughness_nm` is the rms height of the wall. `near_field` says that
    a scene nearer than the rod is long is meant.
    """

    diameter_mm: float
    length_mm: float
    core_index: float
    numerical_aperture: float
    abbe_number: float | None = _later(None)
    fresnel: bool = _later(False)
    roughness_nm: float = _later(0.0)
    near_field: bool = _later(False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RelaySpec:
    """The lens that images the back face of the rod on the sensor.

    `numerical_aperture` is what it accepts from the rod, None everything; its entrance pupil lies `pupil_distance_mm`
    behind the face, None at infinity (a telecentric lens).
    """

    magnification: float
    numerical_aperture: float | None = _later(None)
    pupil_distance_mm: float | None = _later(None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CoverGlassSpec:
    """The window of a bare sensor, with opaque specks at `height_mm` above the pixels, placed by `seed`.

    `diffraction` gives the specks the shadows of waves. A thin layer on the pixels, with `layer_reflectance` at each of
    its two faces, makes interference fringes; `layer_azimuth_deg` is where its wedge thickens. Walls of the package, of
    `wall_height_mm`, stand `wall_clearance_mm` outside of the outermost pixels. The share `veiling` of all light
    reaches every pixel alike. `fresnel` counts the reflections at both faces of a window of `glass_index`.
    """

    height_mm: float
    specks: int
    speck_radius_um: float
    seed: int
    diffraction: bool = _later(False)
    fresnel: bool = _later(False)
    glass_index: float = _later(1.5)
    layer_reflectance: float = _later(0.0)
    layer_thickness_um: float = _later(5.0)
    layer_index: float = _later(1.5)
    layer_wedge_mrad: float = _later(0.0)
    layer_azimuth_deg: float = _later(0.0)
    wall_height_mm: float = _later(0.0)
    wall_clearance_mm: float = _later(0.0)
    veiling: float = _later(0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SensorSpec:
    """Pixels and noise, in the terms of EMVA 1288; `serial` decides the fixed patterns.

    `white_electrons` is what the brightest pixel of an all-white scene collects in one frame of `exposure_s`.
    `frames` is how many frames are averaged into one measurement.
    `dark_electrons_per_s` holds at 20 degrees C and doubles every `dark_doubling_c`.
    Pixels respond to light at the angle t from their preferred direction as exp(-t^2 / (2 acceptance_deg^2)), None: as
    a flat surface; the preferred direction leans outwards by `chief_ray_deg_per_mm`; each pixel's response changes
    with the angle by a gradient of its own, of the standard deviation `acceptance_gradient_per_rad`.
    `mosaic` names the colour filters of the top left four pixels, row by row, such as "RGGB".
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
    row_electrons: float = _later(0.0)
    temperature_c: float = _later(20.0)
    dark_doubling_c: float = _later(8.0)
    acceptance_deg: float | None = _later(None)
    chief_ray_deg_per_mm: float = _later(0.0)
    acceptance_gradient_per_rad: float = _later(0.0)
    mosaic: str | None = _later(None)

    @property
    def dark_electrons(self) -> float:
        """Mean of a pixel in one frame, at the sensor's temperature."""
        return self.dark_electrons_per_s * self.exposure_s * dark_growth(self.temperature_c, self.dark_doubling_c)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AlignmentSpec:
    """How far a rig stands from its ideal: 0 everywhere is a rig in perfect alignment.

    Seen from the sensor towards the scene, x is to the right and y down, as in a picture.

    `tilt_x_deg`, `tilt_y_deg` lean the axis of the rod, or of a bare sensor, so that it points to +x and +y of the
    scene; `roll_deg` turns the sensor about the axis, from +x to +y; `shift_x_mm`, `shift_y_mm` move rod or bare sensor
    to +x and +y beside the centre of the scene. The others are of a cannula's sensor side: `relay_shift` of the relay's
    axis against the rod, `sensor_shift` of the sensor against the image, `sensor_tilt` of the sensor out of the image
    plane, `relay_tilt` of the relay, `defocus_um` of the whole sensor away from the relay.
    """

    tilt_x_deg: float = 0.0
    tilt_y_deg: float = 0.0
    roll_deg: float = 0.0
    shift_x_mm: float = 0.0
    shift_y_mm: float = 0.0
    relay_shift_x_um: float = 0.0
    relay_shift_y_um: float = 0.0
    relay_tilt_x_deg: float = 0.0
    relay_tilt_y_deg: float = 0.0
    sensor_shift_x_um: float = 0.0
    sensor_shift_y_um: float = 0.0
    sensor_tilt_x_deg: float = 0.0
    sensor_tilt_y_deg: float = 0.0
    defocus_um: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class RigSpec:
    """One rig: a scene, a sensor, either a cannula with its relay or a cover glass in between, and their alignment."""

    id: str
    scene: SceneSpec
    sensor: SensorSpec
    cannula: CannulaSpec | None = None
    relay: RelaySpec | None = None
    cover_glass: CoverGlassSpec | None = None
    alignment: AlignmentSpec = dataclasses.field(default=AlignmentSpec(), metadata={"later": True})

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all facts: two rigs of one id and different facts are not the same rig."""
        facts = json.dumps(_stated(self), sort_keys=True)
        return hashlib.sha256(facts.encode()).hexdigest()


def _stated(facts) -> dict:
    """Facts as plain values, without those that came to the format later and stand at their default."""
    values = {}
    for field in dataclasses.fields(facts):
        value = getattr(facts, field.name)
        if "later" in field.metadata and value == field.default:
            continue
        values[field.name] = _stated(value) if dataclasses.is_dataclass(value) else value
    return values
