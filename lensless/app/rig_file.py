"""Rig files: read, and checked before anything is made of them."""

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

import pydantic

from calibration.mosaic import PATTERNS
from hardware import rig
from hardware.errors import ConfigurationError
from lensless.app.perturbation import perturb, split_name
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
    "mosaic": {"pattern": f"^({'|'.join(PATTERNS)})$"},
}
LARGEST_FILE_BYTES, LONGEST_NAME = 2**20, 4096
_MOST_PROBLEMS, _MOST_SHOWN = 10, 100
_SECTIONS = {
    "cannula": rig.CannulaSpec, "relay": rig.RelaySpec, "cover_glass": rig.CoverGlassSpec, "scene": rig.SceneSpec,
    "sensor": rig.SensorSpec, "alignment": rig.AlignmentSpec,
}  # fmt: skip


def file_name(rig_id: str) -> str:
    """The id of a rig as part of a file's name."""
    return re.sub(r"[^\w.~-]+", "-", rig_id)


def shipped_rigs() -> dict[str, pathlib.Path]:
    """Rig files that come with the package, by id."""
    folder = pathlib.Path(str(importlib.resources.files("hardware") / "rigs"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def read_spec(source: str | pathlib.Path) -> rig.RigSpec:
    """The checked facts of a rig file, or of a rig that comes with the package, by its id; "ID~3" of that rig after it
    drifted.

    Raises:
        ConfigurationError: no such file or id, or what `check_spec` refuses.
    """
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
        if field.name == "colours_nm":
            colour = typing.Annotated[float, pydantic.Field(**RANGES["wavelength_nm"])]
            annotation = typing.Annotated[tuple[colour, colour, colour], pydantic.Strict(False)] | None
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
    expect(
        (spec.scene.colours_nm is None) == (spec.sensor.mosaic is None),
        "scene.colours_nm and sensor.mosaic belong together: a display in colours, and a sensor that tells them apart",
    )
    rows, columns = spec.sensor.shape
    expect(
        spec.sensor.mosaic is None or rows % 2 == columns % 2 == 0,
        f"sensor.shape = [{rows}, {columns}]; expected even numbers of rows and columns under sensor.mosaic",
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


def in_keys(text: str) -> str:
    """What a forward model says of its parameters, in the words of a rig file."""
    names = "|".join(sorted(_keys(), key=len, reverse=True))
    said = re.sub(rf"(?<![\w.])({names})(?![\w.])", lambda found: _keys()[found[0]], text)
    return re.sub("^(Cannula|BareSensor): ", "", said).replace("= True", "= true")
