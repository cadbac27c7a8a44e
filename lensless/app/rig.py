"""What is made of a rig file: forward model, sensor, camera and calibration."""

import dataclasses
import functools
import pathlib
import typing

import numpy as np
import torch

from calibration import Calibration, measure_dark, measure_flat
from hardware import CameraSettings, SimulatedCamera, SimulatedDisplay, rig
from hardware.errors import CalibrationMismatch, ConfigurationError
from hardware.surroundings import Surroundings
from lensless.app.field import check_field
from lensless.app.rig_file import in_keys, read_spec
from lensless.data.pairs import FrameSimulator
from lensless.optics import BareSensor, Cannula, ForwardModel, Mosaicked, SensorNoise
from lensless.optics.cannula import RAYS

CALIBRATION_FRAMES = 64
MOST_RAYS = 2**26


class Rig:
    """A rig from its file: what it is (`spec`), and everything that can be simulated of it.

    Args:
        spec: the facts.
        device: where forward model and sensor live.
        rays: per scene pixel of a cannula; None for the default of the model.

    Raises:
        ConfigurationError: rays for a rig whose model is exact.
    """

    own_calibration: Calibration | None = None  # of a rig that was measured

    def __init__(self, spec: rig.RigSpec, device: str = "cpu", rays: int | None = None):
        if spec.cannula is None and rays is not None:
            raise ConfigurationError(
                f"rig {spec.id!r} has no cannula: its matrix is exact and takes no rays; leave --rays out"
            )
        traced = None if spec.cannula is None else RAYS if rays is None else rays
        self.spec, self.device, self.rays = spec, torch.device(device), traced

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
            raise ConfigurationError(f"rig {self.id!r}: {in_keys(str(error))}") from None
        white = model.A(torch.ones(1, model.channels or 1, *model.scene_shape, device=self.device))
        low, high = torch.aminmax(white)  # NaN spreads to both
        if not (torch.isfinite(low) and torch.isfinite(high) and high > 0):
            raise ConfigurationError(
                f"rig {self.id!r}: no light of the scene reaches its sensor; check the lengths, distances, the "
                "magnification and the alignment of its file"
            )
        return model

    def _forward_model(self) -> ForwardModel:
        scene, mosaic = self.spec.scene, self.spec.sensor.mosaic
        if scene.colours_nm is None:
            return self._model_at(scene.wavelength_nm)
        return Mosaicked([self._model_at(wavelength_nm) for wavelength_nm in scene.colours_nm], mosaic)

    def _model_at(self, wavelength_nm: float) -> ForwardModel:
        """The map of light of one wavelength."""
        spec, scene, sensor = self.spec, self.spec.scene, self.spec.sensor
        if spec.cannula is None:
            check_field(spec)
            glass = dataclasses.asdict(spec.cover_glass)
            return BareSensor(
                scene.shape, sensor.shape, distance_mm=scene.distance_mm, scene_width_mm=scene.width_mm,
                pitch_um=sensor.pitch_um, cover_glass_height_mm=glass.pop("height_mm"), device=self.device,
                wavelength_nm=wavelength_nm, bandwidth_nm=scene.bandwidth_nm,
                emission_exponent=scene.emission_exponent, acceptance_deg=sensor.acceptance_deg,
                chief_ray_deg_per_mm=sensor.chief_ray_deg_per_mm, serial=sensor.serial,
                acceptance_gradient_per_rad=sensor.acceptance_gradient_per_rad, alignment=spec.alignment, **glass,
            )  # fmt: skip
        return self.cannula(wavelength_nm=wavelength_nm)

    def cannula(
        self, white: float | None = None, estimate_error: bool = True, wavelength_nm: float | None = None
    ) -> Cannula:
        """The rod of a rig that has one, in light of the scene's wavelength unless told otherwise; see `Cannula`."""
        spec, scene, sensor = self.spec, self.spec.scene, self.spec.sensor
        rod, relay = dataclasses.asdict(spec.cannula), spec.relay
        return Cannula(
            scene.shape, sensor.shape, distance_mm=scene.distance_mm, fov_deg=scene.fov_deg,
            magnification=relay.magnification, relay_numerical_aperture=relay.numerical_aperture,
            pupil_distance_mm=relay.pupil_distance_mm, pitch_um=sensor.pitch_um,
            wavelength_nm=scene.wavelength_nm if wavelength_nm is None else wavelength_nm,
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
        for name in (
            "pitch_um", "frames", "acceptance_deg", "chief_ray_deg_per_mm", "acceptance_gradient_per_rad", "mosaic",
        ):  # fmt: skip
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
            pixel_format=_pixel_format(sensor), cfa=sensor.mosaic,
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
        display, as its `planes_shape` has it, black = 0, white = 1, while a frame is exposed. Unless it is covered, or
        before a lamp.
        """

        @functools.lru_cache(maxsize=1)
        def light_of(shown: bytes) -> torch.Tensor:
            picture = torch.frombuffer(bytearray(shown), dtype=torch.float32).reshape(1, -1, *self.spec.scene.shape)
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
        display = SimulatedDisplay(self.spec.scene.planes_shape)
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


def _pixel_format(sensor: rig.SensorSpec) -> str:
    """As GenICam names it: a mosaic by the first row's filters."""
    return f"{'Mono' if sensor.mosaic is None else 'Bayer' + sensor.mosaic[:2]}{sensor.bit_depth}"


def _electrons_at_full_scale(sensor: rig.SensorSpec) -> float:
    return (2**sensor.bit_depth - 1 - sensor.black_level_dn) * sensor.gain_electrons_per_dn


def _seed(*parts: int) -> int:
    """Of 32 bits, all of which depend on every part: torch's generator on a CPU takes no notice of higher bits."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])
