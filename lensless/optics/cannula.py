"""A glass rod that pipes light: a forward model by rays.

A scene pixel lights the front face of the rod; each ray refracts, folds down the cylinder as in a round billiard table
and leaves the back face, which a relay lens images on the cells of the sensor. Light of different scene pixels adds in
intensity (the display is incoherent), hence y = A x with A >= 0.

What is left out here: interference (the rod has a Fresnel number of about 2.6, so rays are approximate), and light that
the wall scatters or lets out and that reaches the sensor all the same.
"""

import dataclasses
import math

import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from hardware.rig import AlignmentSpec
from lensless.optics import cache, glass, pose, rings, rod, rod_matrix
from lensless.optics.checks import check_alignment, check_range, check_seed, check_white
from lensless.optics.operator import DenseModel, checked_shapes
from lensless.optics.rod import Relay, Rod
from lensless.optics.rod_matrix import Geometry, trace_matrix

RAYS = 2**22  # for each scene pixel: a sampling error of about 0.5 % on the default rig, in seconds


class Cannula(DenseModel):
    """The rod of a cannula camera, as a matrix of (cells, scene pixels) built by tracing rays.

    Args:
        scene_shape: rows and columns of square scene pixels; the width of the scene fills `fov_deg`.
        sensor_shape: rows and columns of cells; they cover the image of the back face if
            columns * pitch_um = diameter * magnification.
        diameter_mm, length_mm: of the rod.
        distance_mm: from the scene to the front face.
        fov_deg: full angle that the width of the scene fills, seen from the front face; what lies above and below the
            field of the rod, in a scene that is higher than wide, stays dark.
        core_index: refractive index of the rod, at 587.6 nm.
        numerical_aperture: of core and cladding; a ray that meets the wall more steeply leaves the rod. At most
            sqrt(core_index^2 - 1), that of a rod in air.
        magnification: of the relay between back face and sensor.
        pitch_um: of the sensor cells; by default the width of the sensor just holds the image of the back face.
        abbe_number: dispersion of the rod; None, the same index for all light. A matrix for each colour is a model for
            each `wavelength_nm`, joined by `Channels`.
        fresnel: count the reflections at both faces.
        roughness_nm: rms height of the wall, which scatters light out of the rod.
        relay_numerical_aperture, pupil_distance_mm: what the relay takes in, see `rod.Relay`; None, everything.
        wavelength_nm, bandwidth_nm: middle and full width of the light's spectrum.
        emission_exponent: the display's radiance is cos(angle)^this; 0 is Lambert's law.
        alignment: how far the parts stand from where they belong. y = 1 stays the brightest cell of an all-white scene
            of the aligned rig. Relay and sensor are moved along x and y of the frame.
        near_field: allow a scene nearer than the rod is long; without it, that is taken for a slip.
        rays: for each scene pixel, at least. The relative error falls with its square root; `sampling_error` states it.
            The rays of a ring around the axis serve all scene pixels on it, if the relay leaves the rig round;
            a relay or a sensor that is tilted makes each pixel need rays of its own, and minutes.
        white: light of the brightest cell of an all-white scene, aligned, as the attribute `white` of another model
            says it; None, and it is found, which takes tracing the aligned rig besides.
        estimate_error: whether `sampling_error` is found out, which takes two independent halves of the rays, and as
            long again; without it, it says 0, and the matrix is not kept in the cache.
        seed: of the rays.
        device: where the rays are traced and the matrix lives.

    Raises:
        ConfigurationError: a geometry that cannot be.
    """

    def __init__(
        self,
        scene_shape: tuple[int, int] = (32, 32),
        sensor_shape: tuple[int, int] = (64, 64),
        diameter_mm: float = 0.22,
        length_mm: float = 12.5,
        distance_mm: float = 350.0,
        fov_deg: float = 18.0,
        core_index: float = 1.46,
        numerical_aperture: float = 0.22,
        magnification: float = 4.0,
        pitch_um: float | None = None,
        abbe_number: float | None = None,
        fresnel: bool = False,
        roughness_nm: float = 0.0,
        relay_numerical_aperture: float | None = None,
        pupil_distance_mm: float | None = None,
        wavelength_nm: float = 550.0,
        bandwidth_nm: float = 0.0,
        emission_exponent: float = 0.0,
        alignment: AlignmentSpec | None = None,
        near_field: bool = False,
        rays: int = RAYS,
        white: float | None = None,
        estimate_error: bool = True,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ):
        scene_shape, sensor_shape = checked_shapes(scene_shape, sensor_shape)
        positive = {"above": 0, "below": math.inf}
        for name, value, limits in (
            ("diameter_mm", diameter_mm, positive),
            ("length_mm", length_mm, positive),
            ("distance_mm", distance_mm, positive),
            ("fov_deg", fov_deg, {"above": 0, "below": 180}),
            ("core_index", core_index, {"above": 1, "most": 5}),
            ("numerical_aperture", numerical_aperture, positive),
            ("magnification", magnification, positive),
            ("pitch_um", pitch_um, positive),
            ("abbe_number", abbe_number, {"least": 10, "most": 150}),
            ("relay_numerical_aperture", relay_numerical_aperture, {"above": 0, "most": 5}),
            ("pupil_distance_mm", pupil_distance_mm, positive),
            ("wavelength_nm", wavelength_nm, {"least": 100, "most": 20_000}),
            ("bandwidth_nm", bandwidth_nm, {"least": 0, "most": wavelength_nm}),
            ("roughness_nm", roughness_nm, {"least": 0, "most": 100}),
            ("emission_exponent", emission_exponent, {"least": 0, "most": 100}),
        ):
            if value is not None:
                check_range("Cannula", name, value, **limits)
        alignment = AlignmentSpec() if alignment is None else alignment
        check_alignment("Cannula", alignment)
        check_seed("Cannula", seed)
        in_air = math.sqrt(core_index**2 - 1)
        if not numerical_aperture <= in_air * (1 + 1e-9):
            raise ConfigurationError(
                f"Cannula: numerical_aperture = {numerical_aperture} is more than a core of the index {core_index} has "
                f"in air; expected at most sqrt({core_index}^2 - 1) = {in_air:.3g}"
            )
        if not near_field and length_mm > distance_mm:
            raise ConfigurationError(
                f"Cannula: length_mm = {length_mm} mm is more than distance_mm = {distance_mm} mm, which is measured "
                "from the scene to the front face; are they exchanged? if not, set near_field = True"
            )
        if math.sin(math.radians(fov_deg / 2)) > numerical_aperture:
            accepted = 2 * math.degrees(math.asin(min(1.0, numerical_aperture)))
            raise ConfigurationError(
                f"Cannula: fov_deg = {fov_deg} degrees: the sides of the scene are outside of the field of a rod of "
                f"numerical aperture {numerical_aperture}; expected at most {accepted:.4g} degrees"
            )
        if not isinstance(rays, int) or rays < 2 or rays % 2:
            raise ConfigurationError(f"Cannula: rays = {rays}; expected an even number of at least 2 per scene pixel")
        radius_mm = diameter_mm / 2
        geometry = Geometry(
            rod=Rod(
                radius_mm, length_mm, distance_mm, core_index, numerical_aperture, abbe_number, fresnel, roughness_nm,
                wavelength_nm, bandwidth_nm, emission_exponent,
            ),
            scene_shape=scene_shape,
            pixel_mm=2 * distance_mm * math.tan(math.radians(fov_deg / 2)) / scene_shape[1],
            sensor_shape=sensor_shape,
            cell_mm=diameter_mm / sensor_shape[1] if pitch_um is None else pitch_um * 1e-3 / magnification,
            magnification=magnification,
            relay=Relay(relay_numerical_aperture, pupil_distance_mm),
            alignment=AlignmentSpec(),
        )  # fmt: skip
        misaligned = dataclasses.replace(geometry, alignment=alignment)
        misaligned.check_sight()
        halves = 2 if estimate_error else 1
        stored = _traced(misaligned, rays, seed, device, halves)
        if white is None:
            aligned = stored if misaligned == geometry else _traced(geometry, rays, seed, device, halves)
            white = float(aligned["white"])
            check_white("Cannula", white)
        matrix = stored["matrix"].to(device) / white
        super().__init__(matrix, scene_shape, sensor_shape, float(stored["sampling_error"]))
        self.white, self.sampling_spectrum = white, stored["sampling_spectrum"] / white


def _traced(geometry: Geometry, rays: int, seed: int, device: str | torch.device, halves: int) -> dict[str, Tensor]:
    if halves == 1:
        return trace_matrix(geometry, rays, seed, device, halves)
    key = dataclasses.asdict(geometry) | {"rays": rays, "seed": seed}
    code = [module.__file__ for module in (glass, pose, rings, rod, rod_matrix)]
    return cache.tensors("cannula", key, code=code, compute=lambda: trace_matrix(geometry, rays, seed, device))
