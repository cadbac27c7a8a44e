"""A sensor with nothing in front of it but its cover glass: radiometry, and specks that cast shadows.

A plane scene lights a parallel plane of pixels at the distance d: E = L dA cos^4(theta) / d^2. Alone, that passes
about three numbers (total light and two tilts). An opaque speck on the glass, at the height h above the pixels, takes
from each pixel the light of the part of the scene that it hides: an inverted pinhole, whose shadow shows the scene
upside down and h / (d - h) times its size (Cohen 1982, "Anti-pinhole imaging", Optica Acta 29, 63, doi
10.1080/713820791).

Shadows are geometric unless `diffraction` is asked for. That overstates specks of 10 um radius or less: the Fresnel
scale sqrt(wavelength h) is 20 um for green light at 0.7 mm.

Light is integrated over the area of a scene pixel to 1e-4; a pixel is taken at its middle, but for its shadows. What
obstacles hide of a scene pixel is counted without regard to how its light changes over it. The blur of a shadow is that
of a sensor that is not turned, from the middle of the scene; heights are those in air: the glass bends no line.
"""

import dataclasses
import hashlib
import math

import numpy as np
import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from hardware.rig import AlignmentSpec
from lensless.optics.bare_light import BareLight
from lensless.optics.checks import check_alignment, check_range, check_seed, check_white
from lensless.optics.operator import ForwardModel, checked_shapes
from lensless.optics.pose import Pose
from lensless.optics.radiometry import Layer

ALIGNED = AlignmentSpec()


class BareSensor(ForwardModel):
    """A bare sensor in front of a display, in closed form; kept as a structured model where that is less work.

    White = 1 is the brightest pixel of the same rig in perfect alignment: a misaligned one keeps that scale.

    Args:
        scene_shape: rows and columns of square scene pixels, `scene_width_mm` wide in all.
        sensor_shape, pitch_um: rows, columns and pitch of the pixels.
        distance_mm: from scene to pixels.
        cover_glass_height_mm: of the specks above the pixels.
        specks, speck_radius_um: opaque discs, spread evenly at random over the glass above the pixels by `seed`.
        dtype, device: of the matrix.
        structured: whether to keep it so; None: where that halves the work of a large matrix. It stays dense where it
            has no structure. It equals the dense one to 2e-6 (Frobenius, relative).
        wavelength_nm, bandwidth_nm: of the light, spread evenly; diffraction and fringes depend on them.
        emission_exponent: radiance falls as cos^exponent of the angle from the display's normal; 0 to 100.
        diffraction: shadows by waves; see `specks`.
        fresnel, glass_index: whether both faces of a window of that index reflect.
        layer_reflectance: of each face of a thin layer on the pixels, 0 to 0.5; its fringes have the mean 1.
        layer_thickness_um, layer_index, layer_wedge_mrad, layer_azimuth_deg: of that layer, at the sensor's centre; it
            thickens towards the azimuth, from +x to +y.
        wall_height_mm, wall_clearance_mm: of opaque walls around the pixels, and their distance from the outer ones.
        veiling: share of all light that reaches every pixel alike, 0 to below 1.
        acceptance_deg: standard deviation of the pixels' response over the angle from their preferred direction, which
            multiplies the cosine of a flat surface; None: nothing but that cosine.
        chief_ray_deg_per_mm: how the preferred direction leans outwards.
        acceptance_gradient_per_rad: standard deviation, along x and along y, of each pixel's own change of response
            with the angle from the sensor's normal; drawn once from `serial`.
        alignment: tilts below 90 degrees, roll and shifts of the sensor; all else of it has to be 0.

    Raises:
        ConfigurationError: a geometry that cannot be.
    """

    def __init__(
        self,
        scene_shape: tuple[int, int] = (32, 32),
        sensor_shape: tuple[int, int] = (240, 240),
        distance_mm: float = 250.0,
        scene_width_mm: float = 50.0,
        pitch_um: float = 6.0,
        cover_glass_height_mm: float = 0.7,
        specks: int = 5,
        speck_radius_um: float = 20.0,
        seed: int = 3,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        *,
        structured: bool | None = None,
        wavelength_nm: float = 550.0,
        bandwidth_nm: float = 0.0,
        emission_exponent: float = 0.0,
        diffraction: bool = False,
        fresnel: bool = False,
        glass_index: float = 1.5,
        layer_reflectance: float = 0.0,
        layer_thickness_um: float = 5.0,
        layer_index: float = 1.5,
        layer_wedge_mrad: float = 0.0,
        layer_azimuth_deg: float = 0.0,
        wall_height_mm: float = 0.0,
        wall_clearance_mm: float = 0.0,
        veiling: float = 0.0,
        acceptance_deg: float | None = None,
        chief_ray_deg_per_mm: float = 0.0,
        acceptance_gradient_per_rad: float = 0.0,
        serial: str = "",
        alignment: AlignmentSpec = ALIGNED,
    ):
        scene_shape, sensor_shape = checked_shapes(scene_shape, sensor_shape)
        positive, finite = {"above": 0, "below": math.inf}, {"above": -math.inf, "below": math.inf}
        for name, value, limits in (
            ("distance_mm", distance_mm, positive),
            ("scene_width_mm", scene_width_mm, positive),
            ("pitch_um", pitch_um, positive),
            ("cover_glass_height_mm", cover_glass_height_mm, {"above": 0, "below": distance_mm}),
            ("specks", specks, {"least": 0, "below": math.inf}),
            ("speck_radius_um", speck_radius_um, {"above": 0.1, "below": math.inf}),  # the nodes of a shadow resolve it
            ("wavelength_nm", wavelength_nm, positive),
            ("bandwidth_nm", bandwidth_nm, {"least": 0, "most": wavelength_nm}),
            ("emission_exponent", emission_exponent, {"least": 0, "most": 100}),
            ("glass_index", glass_index, {"least": 1, "most": 5}),
            ("layer_index", layer_index, {"least": 1, "most": 5}),
            ("layer_reflectance", layer_reflectance, {"least": 0, "most": 0.5}),
            ("layer_thickness_um", layer_thickness_um, {"least": 0, "most": 1e6}),
            ("layer_wedge_mrad", layer_wedge_mrad, finite),
            ("layer_azimuth_deg", layer_azimuth_deg, finite),
            ("wall_height_mm", wall_height_mm, {"least": 0, "most": distance_mm}),
            ("wall_clearance_mm", wall_clearance_mm, {"least": 0, "most": 1e6}),
            ("veiling", veiling, {"least": 0, "below": 1}),
            ("acceptance_deg", acceptance_deg, {"least": 0.1, "most": 1e6}),
            ("acceptance_gradient_per_rad", acceptance_gradient_per_rad, {"least": 0, "most": 10}),
            ("chief_ray_deg_per_mm", chief_ray_deg_per_mm, finite),
        ):
            if value is not None:
                check_range("BareSensor", name, value, **limits)
        if chief_ray_deg_per_mm and acceptance_deg is None:
            raise ConfigurationError(
                f"BareSensor: chief_ray_deg_per_mm = {chief_ray_deg_per_mm} needs acceptance_deg: pixels that respond "
                "as a flat surface prefer no direction"
            )
        check_seed("BareSensor", seed)
        if not isinstance(specks, int):
            raise ConfigurationError(f"BareSensor: specks = {specks!r}; expected a whole number")
        pose = _pose(distance_mm, alignment)
        super().__init__(scene_shape, sensor_shape)
        extent_mm = (sensor_shape[0] * pitch_um * 1e-3, sensor_shape[1] * pitch_um * 1e-3)
        layer = Layer(
            layer_reflectance, layer_thickness_um, layer_index, layer_wedge_mrad, layer_azimuth_deg, wavelength_nm,
            bandwidth_nm,
        )  # fmt: skip
        gradients = None
        if acceptance_gradient_per_rad:
            gradients = acceptance_gradient_per_rad * _draw(serial, (sensor_shape[0] * sensor_shape[1], 2)).to(device)
        self.speck_centres_mm = speck_centres_mm(specks, extent_mm, seed)
        light = BareLight(
            scene_shape, sensor_shape, pitch_um * 1e-3, scene_width_mm / scene_shape[1], cover_glass_height_mm,
            wall_height_mm, wall_clearance_mm, self.speck_centres_mm, speck_radius_um * 1e-3, diffraction,
            wavelength_nm, bandwidth_nm, veiling, torch.device(device), Pose(distance_mm), dict(
                emission_exponent=emission_exponent, acceptance_deg=acceptance_deg, gradients=gradients,
                chief_ray_deg_per_mm=chief_ray_deg_per_mm, glass_index=glass_index if fresnel else None,
                layer=layer if layer_reflectance else None,
            ),
        )  # fmt: skip
        posed = dataclasses.replace(light, pose=pose)
        posed.check_sight()
        self.model, brightest = light.model(dtype, structured)
        check_white("BareSensor", brightest)
        if pose != light.pose:
            self.model, _ = posed.model(dtype, structured, brightest)

    def A(self, x: Tensor) -> Tensor:
        return self.model.A(x)

    def A_adjoint(self, y: Tensor) -> Tensor:
        return self.model.A_adjoint(y)

    def as_matrix(self) -> Tensor:
        return self.model.as_matrix()

    def rows(self, pixels: Tensor) -> Tensor:
        return self.model.rows(pixels)

    def gram(self, weights: Tensor | None = None) -> Tensor:
        return self.model.gram(weights)

    def singular_values(self) -> Tensor:
        return self.model.singular_values()

    def svd(self, rank: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        return self.model.svd(rank)


def speck_centres_mm(specks: int, extent_mm: tuple[float, float], seed: int) -> np.ndarray:
    """Centres (y, x) of the specks, (specks, 2), from the middle of the sensor; the first n of a seed never move."""
    return (np.random.default_rng(seed).random((specks, 2)) - 0.5) * np.asarray(extent_mm)


def _pose(distance_mm: float, alignment: AlignmentSpec) -> Pose:
    """Refuses what a bare sensor has not, and what is no number."""
    check_alignment("BareSensor", alignment)
    facts = dataclasses.asdict(alignment)
    own = [field.name for field in dataclasses.fields(Pose) if field.name in facts]
    for name, value in facts.items():
        if name not in own and value != 0:
            raise ConfigurationError(
                f"BareSensor: alignment.{name} = {value}; expected 0: it has no relay, only {', '.join(own)}"
            )
    return Pose(distance_mm, *(facts[name] for name in own))


def _draw(serial: str, shape: tuple[int, int]) -> Tensor:
    """Standard normal numbers of a sensor; the other half of the digest draws its fixed patterns."""
    digest = hashlib.sha256(serial.encode()).digest()
    return torch.from_numpy(np.random.default_rng(int.from_bytes(digest[8:16], "little")).standard_normal(shape))
