"""Pairs to learn from: pictures go in, what a calibrated camera behind the rig would measure comes out."""

import functools

import torch
from torch import Tensor

from calibration import Calibration
from hardware.errors import ConfigurationError
from lensless.data.measured_sensor import measured_patterns
from lensless.optics import ForwardModel, SensorNoise

_ROUNDING = 1e-5  # interpolated pictures may overshoot by that


class FrameSimulator:
    """Pictures to measurements: display, forward model, sensor with all its noise, calibration.

    Args:
        forward_model: of the rig.
        noise: the sensor of the rig.
        calibration: of that sensor; its errors are part of what is simulated.
        dark_level: radiance of a black pixel of the display, white = 1.
        frames: exposures averaged into one measurement.
        reads: flat indices of the pixels that are read; None reads them all.
    """

    def __init__(
        self,
        forward_model: ForwardModel,
        noise: SensorNoise,
        calibration: Calibration,
        dark_level: float,
        frames: int = 1,
        reads: Tensor | None = None,
    ):
        shape, device = tuple(forward_model.sensor_shape), noise.response.device
        dark_dn, white_dn = calibration_tensors(calibration, device)
        if reads is not None:
            reads = reads.to(device)
            noise, shape = noise.at(reads), (len(reads),)
            dark_dn, white_dn = dark_dn.flatten()[reads], white_dn.flatten()[reads]
        self.forward_model, self.noise, self.shape, self.reads = forward_model, noise, shape, reads
        self.dark_dn, self.white_dn = dark_dn, white_dn
        self.scene_shape, self.dark_level, self.frames = forward_model.scene_shape, dark_level, frames

    @functools.cached_property
    def matrix(self) -> Tensor:
        """From the scene to the pixels that are read, (n, C H W); that of a whole bare sensor is large."""
        return self.forward_model.as_matrix() if self.reads is None else self.forward_model.rows(self.reads)

    def light(self, radiance: Tensor) -> Tensor:
        """Illuminance of the pixels that are read, (B, C, H', W') or (B, C, n)."""
        if self.reads is not None:
            return self.forward_model.vectors(radiance) @ self.matrix.T
        # Where a speck hides all that is lit, a structured model may leave a rounding error below 0.
        return self.forward_model.A(radiance).clamp_min(0)

    def radiance(self, pictures: Tensor) -> Tensor:
        """What the display shows: linear radiance of pictures in [0, 1].

        Raises:
            ConfigurationError: NaN, or values outside of [0, 1].
        """
        low, high = torch.stack(torch.aminmax(pictures)).tolist()  # NaN spreads to both
        if not (low >= -_ROUNDING and high <= 1 + _ROUNDING):
            raise ConfigurationError(
                f"pictures for the display hold values from {low:g} to {high:g}; expected 0 (black) to 1 (white), "
                "without NaN; divide 8-bit pictures by 255"
            )
        return self.dark_level + (1 - self.dark_level) * pictures

    def __call__(self, pictures: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Measurements, white = 1: (B, C, H', W'), or (B, C, n) of the n pixels that are read.

        Args:
            pictures: (B, C, H, W) in [0, 1], of the scene's shape.
            generator: of the noise; by default torch's own.

        Raises:
            ConfigurationError: pictures with NaN, or with values outside of [0, 1].
        """
        digital = self.noise.expose(self.light(self.radiance(pictures)), generator, self.frames)
        return digital.sub_(self.dark_dn).div_(self.white_dn)

    def expected(self, light: Tensor) -> Tensor:
        """Mean measurement of illuminance (..., H', W') or (..., n): the errors of the calibration, and no noise."""
        return (self.noise.mean_dn(light) - self.dark_dn) / self.white_dn


class ProjectedSimulator:
    """The same, seen through a fixed projection of the measurement: (B, k) numbers in place of a frame.

    The errors of the calibration are in it: an average of many frames has less noise than they are. The noise itself is
    drawn at once, as a normal vector. Its covariance P diag(v) P^T follows the frame's total light: v = floor + light,
    where the light keeps the shape that the mean scene gives it. A display of even brightness makes this exact; it
    serves for training and for the sum of all pixels, and what a network reaches is measured on whole frames.

    Pictures so bright that a pixel may clip go through whole frames here, too.
    """

    def __init__(self, simulator: FrameSimulator, projection: Tensor, mean_picture: Tensor):
        """`projection` is (k, n) for the n pixels of the simulator; `mean_picture` is (C, H, W) in [0, 1]."""
        self.simulator, self.projection = simulator, projection
        self.white = float(simulator.matrix.sum(1).max())  # no pixel sees more than the brightest of a white scene
        self.brightest = simulator.matrix.amax(0)  # radiance @ this is no less than the light of any pixel
        nothing = torch.zeros(simulator.shape, device=projection.device)
        offset = simulator.expected(nothing).flatten()
        gain = simulator.expected(nothing + 1).flatten() - offset
        self.response = (projection * gain) @ simulator.matrix  # (k, scene pixels)
        self.offset = projection @ offset
        mean_radiance = simulator.radiance(mean_picture).flatten()
        self.total = simulator.matrix.sum(0)
        self.mean_total = self.total @ mean_radiance
        noise, frames = simulator.noise, simulator.frames
        per_electron2 = (noise.gain_electrons_per_dn * simulator.white_dn.flatten()).square().reciprocal() / frames
        shot = (simulator.matrix @ mean_radiance) * noise.white_electrons * noise.response.flatten()
        self.floor_root = _root_of_covariance(projection, noise.floor_electrons2 * per_electron2)
        self.shot_root = _root_of_covariance(projection, shot * per_electron2)

    def __call__(self, pictures: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(B, k) projected measurements of pictures (B, C, H, W)."""
        radiance = self.simulator.radiance(pictures).flatten(1)
        values = radiance @ self.response.T + self.offset
        values += self._noise(radiance, generator)
        clipping = (radiance @ self.brightest).clamp(max=self.white) > self.simulator.noise.linear_up_to
        if clipping.any():
            values[clipping] = self.simulator(pictures[clipping], generator).flatten(1) @ self.projection.T
        return values

    def noise(self, pictures: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """(B, k): the noise alone, of frames of pictures (B, 1, H, W)."""
        return self._noise(self.simulator.radiance(pictures).flatten(1), generator)

    def _noise(self, radiance: Tensor, generator: torch.Generator | None) -> Tensor:
        light = (radiance @ self.total / self.mean_total).clamp_min(0).sqrt().unsqueeze(1)
        size = (2, len(radiance), len(self.projection))
        draws = torch.randn(size, generator=generator, device=radiance.device)
        return draws[0] @ self.floor_root.T + light * (draws[1] @ self.shot_root.T)


def calibration_tensors(calibration: Calibration, device: torch.device) -> tuple[Tensor, Tensor]:
    """Dark level and white of every pixel in DN, so that y = (DN - dark) / white as `Calibration.apply` does it."""
    dark_dn, flat = (torch.tensor(values, dtype=torch.float32) for values in measured_patterns(calibration))
    return dark_dn.to(device), (flat * calibration.white_dn).to(device)


def _root_of_covariance(projection: Tensor, variance: Tensor) -> Tensor:
    covariance = (projection * variance).double() @ projection.double().T
    jitter = 1e-12 * covariance.diagonal().mean() * torch.eye(len(covariance), device=covariance.device)
    return torch.linalg.cholesky(covariance + jitter).float()
