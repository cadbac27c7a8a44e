"""Rig files: read, checked, and turned into forward model, sensor, camera and calibration."""

import dataclasses
import difflib
import errno
import functools
import importlib.resources
import pathlib
import re
import tomllib
import types
import typing

import numpy as np
import pydantic
import torch

from calibration import Calibration, measure_dark, measure_flat
from hardware import CameraSettings, SimulatedCamera, SimulatedDisplay, rig
from hardware.errors import CalibrationMismatch, ConfigurationError
from hardware.surroundings import Surroundings
from lensless.app.field import check_field
from lensless.app.perturbation import perturb, split_name
from lensless.data.pairs import FrameSimulator
from lensless.optics import BareSensor, Cannula, ForwardModel, SensorNoise
from lensless.optics.cannula import RAYS
from lensless.tasks.task import LONGEST_SIDE

# What each number may be, by its name: names carry units, so one name is one range in every section.
_POSITIVE = {"gt": 0, "allow_inf_nan": False}
_NOT_NEGATIVE = {"ge": 0, "allow_inf_nan": False}
_ELECTRONS = {"gt": 0, "le": 1e9}  # the largest wells hold millions; far above, float32 has no room for their squares
RANGES: dict[str, dict] = {
    **dict.fromkeys(("distance_mm", "width_mm", "diameter_mm", "length_mm", "height_mm", "magnification"), _POSITIVE),
    **dict.fromkeys(("pitch_um", "speck_radius_um", "exposure_s", "gain_electrons_per_dn"), _POSITIVE),
    **dict.fromkeys(("white_electrons", "full_well_electrons"), _ELECTRONS),
    **dict.fromkeys(("read_noise_electrons", "dark_electrons_per_s"), _NOT_NEGATIVE),
    **dict.fromkeys(("dsnu_electrons", "column_electrons"), _NOT_NEGATIVE),
    "fov_deg": {"gt": 0, "lt": 180},
    "dark_level": {"ge": 0, "lt": 1},
    "core_index": {"ge": 1, "le": 5},
    "numerical_aperture": {"gt": 0, "le": 5},
    "prnu": {"ge": 0, "lt": 0.5},
    "specks": {"ge": 0, "le": 10_000},
    "seed": {"ge": 0, "le": 2**63 - 1},
    "frames": {"ge": 1, "le": 100_000},
    "bit_depth": {"ge": 1, "le": 16},
    "black_level_dn": {"ge": 0, "le": 65_535},
    **{key: {"min_length": 1, "max_length": 200} for key in ("id", "serial")},
    "wavelength_nm": {"ge": 100, "le": 20_000},
    "bandwidth_nm": {"ge": 0, "le": 1000},
    "emission_exponent": {"ge": 0, "le": 100},
    "abbe_number": {"ge": 10, "le": 150},
    "roughness_nm": {"ge": 0, "le": 100},
    "pupil_distance_mm": _POSITIVE,
    **{key: {"ge": 1, "le": 5} for key in ("glass_index", "layer_index")},
    "layer_reflectance": {"ge": 0, "le": 0.2},
    "layer_thickness_um": {"ge": 0, "le": 10_000},
    "layer_wedge_mrad": {"ge": 0, "le": 100},
    "layer_azimuth_deg": {"ge": -360, "le": 360},
    **dict.fromkeys(("wall_height_mm", "wall_clearance_mm", "row_electrons"), _NOT_NEGATIVE),
    "veiling": {"ge": 0, "lt": 1},
    "temperature_c": {"ge": -100, "le": 150},
    "dark_doubling_c": {"ge": 1, "le": 50},
    "acceptance_deg": {"ge": 1, "le": 90},
    "chief_ray_deg_per_mm": {"ge": -60, "le": 60},
    "acceptance_gradient_per_rad": {"ge": 0, "le": 2},
    **{f"{part}tilt_{axis}_deg": {"ge": -30, "le": 30} for part in ("", "relay_", "sensor_") for axis in "xy"},
    "roll_deg": {"ge": -360, "le": 360},
    **{key: {"ge": -1000, "le": 1000} for key in ("shift_x_mm", "shift_y_mm")},
    **{f"{part}_shift_{axis}_um": {"ge": -1e5, "le": 1e5} for part in ("relay", "sensor") for axis in "xy"},
    "defocus_um": {"ge": -1e5, "le": 1e5},
}
CALIBRATION_FRAMES = 64
MOST_RAYS = 2**26
LARGEST_FILE_BYTES, LONGEST_NAME = 2**20, 4096
_MOST_PROBLEMS, _MOST_SHOWN = 10, 100
_SECTIONS = {
    "cannula": rig.CannulaSpec, "relay": rig.RelaySpec, "cover_glass": rig.CoverGlassSpec, "scene": rig.SceneSpec,
    "sensor": rig.SensorSpec, "alignment": rig.AlignmentSpec,
}  # fmt: skip


class Rig:
    """A rig from its file: what it is (`spec`), and everything that can be simulated of it.

    Args:
        spec: the facts.
        device: where forward model and sensor live.
        rays: per scene pixel of a cannula; None for the default of the model.

    Raises:
        ConfigurationError: rays for a rig whose model is exact.
    """

    def __init__(self, spec: rig.RigSpec, device: str = "cpu", rays: int | None = None, estimate_error: bool = True):
        if spec.cannula is None and rays is not None:
            raise ConfigurationError(
                f"rig {spec.id!r} has no cannula: its matrix is exact and takes no rays; leave --rays out"
            )
        traced = None if spec.cannula is None else RAYS if rays is None else rays
        self.spec, self.device, self.rays = spec, torch.device(device), traced

    own_calibration: Calibration | None = None  # of a rig that was measured

    @property
    def id(self) -> str:
        return self.spec.id

    def keep_beside(self, folder: pathlib.Path) -> None:
        """Put what a checkpoint needs besides the facts, to know this rig again, into its folder: nothing, here."""

    @functools.cached_property
    def forward_model(self) -> ForwardModel:
        """The map from the scene to the sensor.

        Raises:
            ConfigurationError: a geometry that cannot be, or that brings no light to the sensor.
        """
        try:
            model = self._forward_model()
        except ConfigurationError as error:
            raise ConfigurationError(f"rig {self.id!r}: {_in_keys(str(error))}") from None
        white = model.A(torch.ones(1, model.channels or 1, *model.scene_shape, device=self.device))
        low, high = torch.aminmax(white)  # NaN spreads to both
        if not (torch.isfinite(low) and torch.isfinite(high) and high > 0):
            raise ConfigurationError(
                f"rig {self.id!r}: no light of the scene reaches its sensor; check the lengths, distances, the "
                "magnification and the alignment of its file"
            )
        return model

    def _forward_model(self) -> ForwardModel:
        spec, scene, sensor = self.spec, self.spec.scene, self.spec.sensor
        if spec.cannula is None:
            check_field(spec)
            glass = dataclasses.asdict(spec.cover_glass)
            return BareSensor(
                scene.shape, sensor.shape, distance_mm=scene.distance_mm, scene_width_mm=scene.width_mm,
                pitch_um=sensor.pitch_um, cover_glass_height_mm=glass.pop("height_mm"), device=self.device,
                wavelength_nm=scene.wavelength_nm, bandwidth_nm=scene.bandwidth_nm,
                emission_exponent=scene.emission_exponent, acceptance_deg=sensor.acceptance_deg,
                chief_ray_deg_per_mm=sensor.chief_ray_deg_per_mm, serial=sensor.serial,
                acceptance_gradient_per_rad=sensor.acceptance_gradient_per_rad, alignment=spec.alignment, **glass,
            )  # fmt: skip
        return self.cannula()

    def cannula(self, white: float | None = None, estimate_error: bool = True) -> Cannula:
        """The rod of a rig that has one; see `Cannula` for both."""
        spec, scene, sensor = self.spec, self.spec.scene, self.spec.sensor
        rod, relay = dataclasses.asdict(spec.cannula), spec.relay
        return Cannula(
            scene.shape, sensor.shape, distance_mm=scene.distance_mm, fov_deg=scene.fov_deg,
            magnification=relay.magnification, relay_numerical_aperture=relay.numerical_aperture,
            pupil_distance_mm=relay.pupil_distance_mm, pitch_um=sensor.pitch_um, wavelength_nm=scene.wavelength_nm,
            bandwidth_nm=scene.bandwidth_nm, emission_exponent=scene.emission_exponent, alignment=spec.alignment,
            rays=self.rays, white=white, estimate_error=estimate_error, device=self.device, **rod,
        )  # fmt: skip

    def check_camera_of(self, seen: "Rig", address: str) -> None:
        """Raises CalibrationMismatch if the simulated camera at an address is that of another rig."""
        if seen.spec.fingerprint != self.spec.fingerprint:
            raise CalibrationMismatch(
                f"camera {address!r} is of rig {seen.id!r}, not of {self.id!r}; name one rig for both"
            )
        if seen.rays != self.rays:
            raise ConfigurationError(
                f"camera {address!r} has {seen.rays} rays, the rig {self.rays}; say --rays {seen.rays}"
            )

    def noise(self, exposure_s: float | None = None, gain_db: float = 0.0) -> SensorNoise:
        """The sensor, exposing for `exposure_s` (the rig's own by default), to which its light is proportional; the
        rig file's gain holds at 0 dB.
        """
        facts = dataclasses.asdict(self.spec.sensor)
        for name in ("pitch_um", "frames", "acceptance_deg", "chief_ray_deg_per_mm", "acceptance_gradient_per_rad"):
            del facts[name]
        if exposure_s is not None:
            facts["white_electrons"] *= exposure_s / facts["exposure_s"]
            facts["exposure_s"] = exposure_s
        facts["gain_electrons_per_dn"] /= 10 ** (gain_db / 20)
        return SensorNoise(**facts).to(self.device)

    def camera(
        self, light: typing.Callable[[], torch.Tensor], seed: int, frames_per_second: float | None = None
    ) -> SimulatedCamera:
        """The simulated sensor; `light()` is the illuminance (H', W') that falls on it, white = 1."""
        sensor = self.spec.sensor
        noise_of = functools.lru_cache(maxsize=4)(self.noise)

        def expose(settings: CameraSettings, sequence: int) -> np.ndarray:
            generator = torch.Generator(self.device).manual_seed(_seed(seed, sequence))
            digital = noise_of(settings.exposure_s, settings.gain_db).expose(light().to(self.device), generator)
            return digital.cpu().numpy().astype(np.uint8 if sensor.bit_depth <= 8 else np.uint16)

        return SimulatedCamera(
            expose, camera_id=sensor.serial, shape=sensor.shape, bit_depth=sensor.bit_depth,
            black_level_dn=sensor.black_level_dn, exposure_s=sensor.exposure_s, temperature_c=sensor.temperature_c,
            frames_per_second=frames_per_second,
        )  # fmt: skip

    def camera_at(
        self,
        seen: typing.Callable[[int, int], np.ndarray],
        seed: int,
        frames_per_second: float | None = None,
        around: typing.Callable[[], Surroundings] = lambda: Surroundings.SCENE,
    ) -> SimulatedCamera:
        """A camera that looks through the forward model at what `seen(start_ns, stop_ns)` says: the mean radiance of a
        display (H, W), black = 0, white = 1, while a frame is exposed. Unless it is covered, or before a lamp.
        """

        @functools.lru_cache(maxsize=1)
        def light_of(shown: bytes) -> torch.Tensor:
            picture = torch.frombuffer(bytearray(shown), dtype=torch.float32).reshape(1, 1, *self.spec.scene.shape)
            dark = self.spec.scene.dark_level
            # Where a speck hides all that is lit, a structured model may leave a rounding error below 0.
            return self.forward_model.A((dark + (1 - dark) * picture).to(self.device))[0, 0].clamp_min(0)

        def light() -> torch.Tensor:
            match around():
                case Surroundings.COVERED:
                    return torch.zeros(self.spec.sensor.shape)
                case Surroundings.LAMP:
                    return torch.full(self.spec.sensor.shape, self._half_full())
            return light_of(seen(*camera.exposure_ns).astype(np.float32).tobytes())

        camera = self.camera(light, seed, frames_per_second)
        return camera

    def camera_at_display(self, seed: int) -> tuple[SimulatedCamera, SimulatedDisplay]:
        """A display in front of the rig, and the camera that looks at it."""
        display = SimulatedDisplay(self.spec.scene.shape)
        return self.camera_at(display.light, seed), display

    def calibrate(self, seed: int = 0, frames: int = CALIBRATION_FRAMES) -> Calibration:
        """Measure the simulated sensor as one measures a real one: capped for the dark, under an even lamp for flat.

        Every pixel of the lamp's frames is half full. The result carries the errors of so many frames.
        """
        sensor = self.spec.sensor
        darkness, lamp = (torch.full(sensor.shape, level) for level in (0.0, self._half_full()))
        nominal = Calibration.nominal(self.spec)
        dark_dn, dark_std_dn = measure_dark(self.camera(lambda: darkness, _seed(seed, 1)).snap(frames))
        try:
            flat, flat_std = measure_flat(self.camera(lambda: lamp, _seed(seed, 2)).snap(frames), dark_dn)
        except CalibrationMismatch as error:
            keys = ("full_well_electrons", "gain_electrons_per_dn", "bit_depth", "dark_electrons_per_s")
            facts = ", ".join(f"sensor.{key} = {getattr(sensor, key):g}" for key in keys)
            raise ConfigurationError(
                f"rig {self.id!r}: its sensor cannot be calibrated, half full under an even lamp: look at {facts} "
                f"({error})"
            ) from error
        return dataclasses.replace(
            nominal, dark_dn=dark_dn, dark_std_dn=dark_std_dn, flat=flat, flat_std=flat_std, frames=frames
        )

    def _half_full(self) -> float:
        """Light that half fills every pixel at the rig's own exposure; white = 1."""
        sensor = self.spec.sensor
        return 0.5 * min(sensor.full_well_electrons, _electrons_at_full_scale(sensor)) / sensor.white_electrons

    def simulator(
        self,
        calibration: Calibration,
        frames: int | None = None,
        reads: torch.Tensor | None = None,
        sensor: SensorNoise | None = None,
    ) -> FrameSimulator:
        """Pictures to calibrated measurements, `frames` (the rig's own number by default) averaged; of the rig's
        simulated sensor, unless told otherwise.
        """
        count = self.spec.sensor.frames if frames is None else frames
        noise = self.noise() if sensor is None else sensor
        return FrameSimulator(self.forward_model, noise, calibration, self.spec.scene.dark_level, count, reads)


def open_rig(source: str | pathlib.Path, device: str = "cpu", rays: int | None = None) -> Rig:
    """The rig of a TOML file, or one that comes with the package, by its id; "ID~3" is that rig after it drifted, by
    seed 3, and "ID~3x2" twice as far. Or the folder of a rig that was measured, see `measured_rig`.

    Raises:
        ConfigurationError: no such file or id, an unknown key, a value out of range, a section that is missing.
        InputError: a measured rig that is damaged.
    """
    from lensless.app import measured_rig  # which stands on this

    if measured_rig.is_measured(source):
        if rays is not None:
            raise ConfigurationError(f"rig '{source}' was measured: its matrix takes no rays; leave --rays out")
        return measured_rig.open_measured(source, device)
    return Rig(read_spec(source), device, rays)


def file_name(rig_id: str) -> str:
    """The id of a rig as part of a file's name."""
    return re.sub(r"[^\w.~-]+", "-", rig_id)


def shipped_rigs() -> dict[str, pathlib.Path]:
    """Rig files that come with the package, by id."""
    folder = pathlib.Path(str(importlib.resources.files("hardware") / "rigs"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_spec(source: str | pathlib.Path) -> rig.RigSpec:
    """The checked facts of a rig file; see `open_rig`."""
    if len(str(source)) > LONGEST_NAME or "\0" in str(source):
        raise ConfigurationError(f"rig {_shown(str(source))}: no name of a rig or file; expected a rig file (TOML)")
    source, drift_seed, strength = split_name(str(source))
    if drift_seed is not None:
        return perturb(read_spec(source), drift_seed, strength)
    shipped = shipped_rigs()
    path = shipped.get(str(source), pathlib.Path(source))
    try:
        facts = tomllib.loads(_text_of(path))
    except FileNotFoundError:
        nearest = difflib.get_close_matches(str(source), shipped, 1, cutoff=0.8)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise ConfigurationError(
            f"rig {str(source)!r}: no such file, and no rig of that id comes with the package "
            f"({', '.join(shipped)}){hint}"
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"rig file {path}: it is no text; expected a rig file (TOML)") from None
    except OSError as error:
        raise ConfigurationError(f"rig file {path}: {error.strerror}; expected a rig file (TOML)") from error
    except ValueError as error:  # of TOML, or of a number with thousands of digits
        raise ConfigurationError(f"rig file {path}: {error}; expected a rig file (TOML)") from error
    except RecursionError:
        raise ConfigurationError(f"rig file {path}: it is nested too deeply; expected a rig file (TOML)") from None
    return check_spec(facts, str(path))


def _text_of(path: pathlib.Path) -> str:
    if path.exists() and not path.is_file() and not path.is_dir():  # a pipe would keep us waiting for ever
        raise OSError(errno.EINVAL, "it is no plain file")
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE_BYTES + 1)
    if len(content) > LARGEST_FILE_BYTES:
        raise OSError(errno.EFBIG, f"it has more than {LARGEST_FILE_BYTES} bytes")
    return content.decode("utf-8")


def check_spec(facts: dict, where: str) -> rig.RigSpec:
    """A `RigSpec` from plain facts, such as a rig file or a checkpoint holds.

    Raises:
        ConfigurationError: names the key, what was got and what was expected.
    """
    try:
        checked = _model(rig.RigSpec).model_validate(facts)
    except pydantic.ValidationError as error:
        raise ConfigurationError(_explain(error, where)) from None
    spec = _to_spec(checked, rig.RigSpec)
    _check_together(spec, where)
    return spec


@functools.cache
def _model(spec: type) -> type[pydantic.BaseModel]:
    """A strict pydantic model of a dataclass of plain facts: same fields, with the ranges of this file."""
    fields = {}
    for field in dataclasses.fields(spec):
        annotation = typing.get_type_hints(spec)[field.name]
        default = ... if field.default is dataclasses.MISSING else field.default
        limits = RANGES.get(field.name, {})
        if field.name == "shape":
            side = typing.Annotated[int, pydantic.Field(ge=1, le=LONGEST_SIDE)]
            annotation = typing.Annotated[tuple[side, side], pydantic.Strict(False)]  # TOML and JSON have lists only
        fields[field.name] = (_as_model(annotation), pydantic.Field(default, **limits))
    config = pydantic.ConfigDict(extra="forbid", frozen=True, strict=True)
    return pydantic.create_model(spec.__name__, __config__=config, **fields)


def _as_model(annotation):
    options = typing.get_args(annotation)
    if isinstance(annotation, types.UnionType):
        return typing.Optional[_as_model(options[0])]  # noqa: UP045 (built from a value)
    return _model(annotation) if dataclasses.is_dataclass(annotation) else annotation


def _to_spec(checked: pydantic.BaseModel, spec: type):
    values = {}
    for field in dataclasses.fields(spec):
        value = getattr(checked, field.name)
        if isinstance(value, pydantic.BaseModel):
            hint = typing.get_type_hints(spec)[field.name]
            inner = next(option for option in (typing.get_args(hint) or (hint,)) if dataclasses.is_dataclass(option))
            value = _to_spec(value, inner)
        values[field.name] = value
    return spec(**values)


def _check_together(spec: rig.RigSpec, where: str) -> None:
    def expect(holds: bool, what: str) -> None:
        if not holds:
            raise ConfigurationError(f"rig file {where}: {what}")

    expect(
        (spec.cannula is None) != (spec.cover_glass is None),
        "expected one of the sections [cannula] (with [relay]) and [cover_glass], not both or none",
    )
    expect((spec.relay is None) == (spec.cannula is None), "[relay] and [cannula] belong together")
    wanted, other = ("fov_deg", "width_mm") if spec.cannula else ("width_mm", "fov_deg")
    expect(
        getattr(spec.scene, wanted) is not None and getattr(spec.scene, other) is None,
        f"[scene] of this kind of rig states its size as {wanted}, and not as {other}",
    )
    full_scale_dn = 2**spec.sensor.bit_depth - 1
    expect(
        spec.sensor.black_level_dn < full_scale_dn,
        f"sensor.black_level_dn = {spec.sensor.black_level_dn}; expected less than full scale, {full_scale_dn} "
        f"at sensor.bit_depth = {spec.sensor.bit_depth}",
    )


def _explain(error: pydantic.ValidationError, where: str) -> str:
    lines, problems = [], error.errors()
    for problem in problems[:_MOST_PROBLEMS]:
        place = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _known_keys(problem["loc"][:-1])
            nearest = difflib.get_close_matches(str(problem["loc"][-1]), known, 1, cutoff=0.4)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"known here: {', '.join(known)}"
            lines.append(f"unknown key {_shown(place)}; {hint}")
        elif problem["type"] == "missing":
            lines.append(f"{place!r} is missing")
        else:
            lines.append(f"{place} = {_shown(problem['input'])}: {problem['msg'][0].lower()}{problem['msg'][1:]}")
    if len(problems) > _MOST_PROBLEMS:
        lines.append(f"and {len(problems) - _MOST_PROBLEMS} more")
    return f"rig file {where}: " + "; ".join(lines)


def _shown(value: object) -> str:
    """A value as a message can hold it."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or tables in tables
        return f"a {type(value).__name__} too long to show"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _known_keys(location: tuple) -> list[str]:
    spec = rig.RigSpec
    for part in location:
        hint = typing.get_type_hints(spec)[part]
        spec = next(option for option in (typing.get_args(hint) or (hint,)) if dataclasses.is_dataclass(option))
    return [field.name for field in dataclasses.fields(spec)]


@functools.cache
def _keys() -> dict[str, str]:
    """Parameters of the forward models -> keys of a rig file."""
    keys = {
        "cover_glass_height_mm": "cover_glass.height_mm",
        "scene_width_mm": "scene.width_mm",
        "relay_numerical_aperture": "relay.numerical_aperture",
    }
    for section, spec in _SECTIONS.items():
        for field in dataclasses.fields(spec):
            if field.name not in ("shape", "seed", "serial", "frames"):
                keys.setdefault(field.name, f"{section}.{field.name}")
    return keys


def _in_keys(text: str) -> str:
    """What a forward model says of its parameters, in the words of a rig file."""
    names = "|".join(sorted(_keys(), key=len, reverse=True))
    said = re.sub(rf"(?<![\w.])({names})(?![\w.])", lambda found: _keys()[found[0]], text)
    return re.sub("^(Cannula|BareSensor): ", "", said).replace("= True", "= true")


def _electrons_at_full_scale(sensor: rig.SensorSpec) -> float:
    return (2**sensor.bit_depth - 1 - sensor.black_level_dn) * sensor.gain_electrons_per_dn


def _seed(*parts: int) -> int:
    """Of 32 bits, all of which depend on every part: torch's generator on a CPU takes no notice of higher bits."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
