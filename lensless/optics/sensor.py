"""From light to digital numbers: the linear camera model of EMVA 1288 (release 3.1, section 2).

    electrons = min(Poisson(E (1 + p_i) + D t) + N(0, read), full well) + dsnu_i + column_j
    DN        = round(electrons / K + black level),                          0 and 2^bits - 1 clip

E is the mean number of photo-electrons, p the photo-response non-uniformity (PRNU), D the dark current, K the gain.
p, dsnu and column are drawn once from the serial number of the sensor and never again.
"""

import hashlib

import numpy as np
import torch
from torch import Tensor, nn

from hardware.errors import ConfigurationError

# From this mean on the skewness of a Poisson count, 1 / sqrt(mean), is below 0.032: a rounded normal number serves.
_GAUSSIAN_FROM_ELECTRONS = 1000.0


class SensorNoise(nn.Module):
    """A sensor that turns illuminance (white = 1) into digital numbers.

    Args:
        serial: decides the fixed patterns.
        shape: rows and columns of pixels.
        white_electrons: photo-electrons of illuminance 1 in one frame.
        full_well_electrons: where a pixel clips.
        read_noise_electrons, dsnu_electrons, column_electrons: standard deviations.
        dark_electrons_per_s, exposure_s: their product is the mean dark signal.
        prnu: standard deviation of the pixels' response, relative to its mean 1.
        bit_depth, black_level_dn, gain_electrons_per_dn: of the converter.
    """

    def __init__(
        self,
        serial: str,
        shape: tuple[int, int],
        *,
        white_electrons: float,
        full_well_electrons: float,
        read_noise_electrons: float,
        dark_electrons_per_s: float,
        exposure_s: float,
        prnu: float,
        dsnu_electrons: float,
        bit_depth: int,
        black_level_dn: int,
        gain_electrons_per_dn: float,
        column_electrons: float = 0.0,
    ):
        super().__init__()
        self.white_electrons = white_electrons
        self.full_well_electrons = full_well_electrons
        self.read_noise_electrons = read_noise_electrons
        self.dark_electrons = dark_electrons_per_s * exposure_s
        self.black_level_dn = black_level_dn
        self.gain_electrons_per_dn = gain_electrons_per_dn
        self.full_scale_dn = 2**bit_depth - 1
        digest = hashlib.sha256(serial.encode()).digest()
        draw = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        response = np.maximum(0, 1 + prnu * draw.standard_normal(shape))  # a poor pixel is blind, it makes no light
        offset = dsnu_electrons * draw.standard_normal(shape) + column_electrons * draw.standard_normal(shape[1])
        self.register_buffer("response", torch.tensor(response, dtype=torch.float32), persistent=False)
        self.register_buffer("offset_electrons", torch.tensor(offset, dtype=torch.float32), persistent=False)

    def at(self, pixels: Tensor) -> "SensorNoise":
        """The same sensor, read at some pixels only (flat indices): its measurements are vectors of that length."""
        part = SensorNoise.__new__(SensorNoise)
        nn.Module.__init__(part)
        part.__dict__.update({name: value for name, value in self.__dict__.items() if not name.startswith("_")})
        part.register_buffer("response", self.response.flatten()[pixels], persistent=False)
        part.register_buffer("offset_electrons", self.offset_electrons.flatten()[pixels], persistent=False)
        return part

    def expose(self, y: Tensor, generator: torch.Generator | None = None, frames: int = 1) -> Tensor:
        """Digital numbers of `frames` exposures to the illuminance y (..., H', W'), averaged; float32.

        With one frame the values are whole numbers. With more, the sum of the frames is drawn at once; rounding then
        counts as noise of variance 1/12 DN^2 per frame, which holds while the noise of one frame exceeds half a DN,
        and the clipping of single frames near the ends of the scale is left out.

        Raises:
            ConfigurationError: y holds NaN, infinity or negative light.
        """
        if frames < 1:
            raise ConfigurationError(f"sensor: frames = {frames}; expected at least 1")
        low, high = torch.aminmax(y)  # NaN spreads to both
        if not (torch.isfinite(low) and torch.isfinite(high) and low >= 0):
            raise ConfigurationError(
                f"sensor: illuminance between {float(low):g} and {float(high):g}; "
                "expected finite values >= 0 (white = 1)"
            )
        return self.convert(self.collect(y.float(), generator, frames), generator, frames)

    def collect(self, y: Tensor, generator: torch.Generator | None, frames: int) -> Tensor:
        """Mean electrons per frame, with shot and read noise."""
        mean = y * (self.white_electrons * self.response)
        mean += self.dark_electrons
        total = _poisson(mean.mul_(frames), generator)
        read = torch.randn(total.shape, generator=generator, device=total.device)
        total.add_(read, alpha=self.read_noise_electrons * frames**0.5).div_(frames)
        return total.clamp_(max=self.full_well_electrons).add_(self.offset_electrons)

    def convert(self, electrons: Tensor, generator: torch.Generator | None, frames: int) -> Tensor:
        """Analogue to digital: gain, black level, rounding, clipping."""
        dn = electrons.div_(self.gain_electrons_per_dn).add_(self.black_level_dn)
        if frames == 1:
            dn = dn.round_()
        else:
            rounding = torch.randn(dn.shape, generator=generator, device=dn.device)
            dn.add_(rounding, alpha=(12 * frames) ** -0.5)
        return dn.clamp_(0, self.full_scale_dn)

    def mean_dn(self, y: Tensor) -> Tensor:
        """Expected digital number below saturation, with the fixed patterns of this sensor."""
        electrons = y * self.white_electrons * self.response + self.dark_electrons + self.offset_electrons
        return electrons / self.gain_electrons_per_dn + self.black_level_dn

    def variance(self, y: Tensor, frames: int = 1) -> Tensor:
        """Temporal variance of a measurement in units of white^2, below saturation, for a pixel of mean response.

        (E + D t + read^2 + K^2 / 12) / (frames white_electrons^2)
        """
        electrons2 = y * self.white_electrons + self.floor_electrons2
        return electrons2 / (frames * self.white_electrons**2)

    @property
    def linear_up_to(self) -> float:
        """Illuminance that leaves every pixel five standard deviations below full well and full scale; white = 1."""
        full_scale_electrons = (self.full_scale_dn - self.black_level_dn) * self.gain_electrons_per_dn
        limit = min(self.full_well_electrons, full_scale_electrons - float(self.offset_electrons.max()))
        noise = (limit + self.read_noise_electrons**2) ** 0.5
        return (limit - 5 * noise - self.dark_electrons) / (self.white_electrons * float(self.response.max()))

    @property
    def floor_electrons2(self) -> float:
        """Variance of one frame without light, in electrons^2: dark current, read noise, quantisation."""
        return self.dark_electrons + self.read_noise_electrons**2 + self.gain_electrons_per_dn**2 / 12


def _poisson(mean: Tensor, generator: torch.Generator | None) -> Tensor:
    """Poisson counts; large means are drawn as rounded normal numbers, which is ten times faster."""
    counts = torch.randn(mean.shape, generator=generator, device=mean.device)
    counts.mul_(mean.sqrt()).add_(mean).round_()
    small = torch.nonzero(mean.flatten() < _GAUSSIAN_FROM_ELECTRONS).squeeze(1)
    counts.view(-1)[small] = torch.poisson(mean.flatten()[small], generator=generator)
    return counts
