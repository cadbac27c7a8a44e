"""From light to digital numbers: the linear camera model of EMVA 1288 (release 3.1, sections 2 to 4; 4.0 linear).

    electrons = min(Poisson(E (1 + p_i) + D t) + N(0, read), full well) + dsnu_i + row_r + column_c
    DN        = round(electrons / K + black level),                          0 and 2^bits - 1 clip
    D         = dark_electrons_per_s 2^((temperature_c - 20) / dark_doubling_c)

E is the mean number of photo-electrons of a pixel i, in row r and column c; p its photo-response non-uniformity (PRNU),
D the dark current, t the exposure, K the gain. p, dsnu, row and column are drawn once from the serial number of the
sensor and never again.

Left out: the dark current has no non-uniformity of its own, and no pixel is hot. EMVA 1288 sums the dark signal's
non-uniformity (DSNU) up in one number, for the exposure and the temperature at which it was measured. A part of it that
grows with both is a second fact that data sheets leave out; for a sensor that is warm, or exposes for long,
`dsnu_electrons` has to be the DSNU measured there.
"""

import hashlib
import numbers

import numpy as np
import torch
from torch import Tensor, nn

from hardware.errors import ConfigurationError
from hardware.rig import dark_growth
from lensless.optics.checks import check_range

# From this mean on the skewness of a Poisson count, 1 / sqrt(mean), is below 0.032: a rounded normal number serves.
_GAUSSIAN_FROM_ELECTRONS = 1000.0
_SMALLEST, _LARGEST = 1e-30, 1e30  # float32 ends at 3e38, and electrons are multiplied by light and frames


class SensorNoise(nn.Module):
    """A sensor that turns illuminance (white = 1) into digital numbers.

    Args:
        serial: decides the fixed patterns, together with the shape.
        shape: rows and columns of pixels.
        white_electrons: photo-electrons of illuminance 1 in one frame.
        full_well_electrons: where a pixel clips.
        read_noise_electrons: standard deviation from frame to frame.
        dark_electrons_per_s, exposure_s: their product is the mean dark signal at 20 degrees C.
        prnu: standard deviation of the pixels' response, relative to its mean 1; 0 to 1.
        dsnu_electrons, column_electrons, row_electrons: standard deviations of the dark signal's pattern, from pixel to
            pixel, column to column and row to row.
        bit_depth: of the converter, 1 to 16.
        black_level_dn: what it adds to its output, 0 to less than full scale.
        gain_electrons_per_dn: K, electrons that make one digital number.
        temperature_c: of the sensor, -100 to 150.
        dark_doubling_c: rise in temperature that doubles the dark current, 1 to 50.

    Raises:
        ConfigurationError: a value out of its range; standard deviations and the dark current are finite and >= 0.
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
        row_electrons: float = 0.0,
        temperature_c: float = 20.0,
        dark_doubling_c: float = 8.0,
    ):
        super().__init__()
        if len(shape) != 2 or not all(isinstance(n, numbers.Integral) and n >= 1 for n in shape):
            raise ConfigurationError(
                f"sensor {serial!r}: shape is {shape}; expected (rows, columns), whole numbers >= 1"
            )
        if not (isinstance(bit_depth, numbers.Integral) and 1 <= bit_depth <= 16):
            raise ConfigurationError(
                f"sensor {serial!r}: bit_depth = {bit_depth}; expected a whole number from 1 to 16"
            )
        full_scale_dn = 2**bit_depth - 1
        for name, value, low, high in (
            ("white_electrons", white_electrons, _SMALLEST, _LARGEST),
            ("full_well_electrons", full_well_electrons, _SMALLEST, _LARGEST),
            ("read_noise_electrons", read_noise_electrons, 0, _LARGEST),
            ("dark_electrons_per_s", dark_electrons_per_s, 0, _LARGEST),
            ("exposure_s", exposure_s, _SMALLEST, _LARGEST),
            ("prnu", prnu, 0, 1),
            ("dsnu_electrons", dsnu_electrons, 0, _LARGEST),
            ("column_electrons", column_electrons, 0, _LARGEST),
            ("row_electrons", row_electrons, 0, _LARGEST),
            ("black_level_dn", black_level_dn, 0, full_scale_dn - 1),
            ("gain_electrons_per_dn", gain_electrons_per_dn, _SMALLEST, _LARGEST),
            ("temperature_c", temperature_c, -100, 150),
            ("dark_doubling_c", dark_doubling_c, 1, 50),
        ):
            check_range(f"sensor {serial!r}", name, value, least=low, most=high)
        self.white_electrons = white_electrons
        self.full_well_electrons = full_well_electrons
        self.read_noise_electrons = read_noise_electrons
        self.dark_electrons = dark_electrons_per_s * exposure_s * dark_growth(temperature_c, dark_doubling_c)
        self.black_level_dn = black_level_dn
        self.gain_electrons_per_dn = gain_electrons_per_dn
        self.full_scale_dn = full_scale_dn
        digest = hashlib.sha256(serial.encode()).digest()
        draw = np.random.default_rng(int.from_bytes(digest[:8], "little"))
        response = np.maximum(0, 1 + prnu * draw.standard_normal(shape))  # a poor pixel is blind, it makes no light
        offset = dsnu_electrons * draw.standard_normal(shape) + column_electrons * draw.standard_normal(shape[1])
        offset += row_electrons * draw.standard_normal((shape[0], 1))  # last: the other patterns stay as they are
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
        counts as noise of variance 1/12 DN^2 per frame, which holds while the noise of one frame exceeds half a DN.
        It is the average that clips and not each frame, which is wrong near the ends of the scale only: most of all
        where the light just reaches an end, by (1 - 1 / sqrt(frames)) / sqrt(2 pi), at most 0.4, of the standard
        deviation of one frame; less than a thousandth of it from three of them on.

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
        """Expected digital number of illuminance y (..., H', W'), with the fixed patterns of this sensor.

        It holds between the ends of the scale: above black by a few standard deviations, and up to `linear_up_to`.
        """
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
        limit = max(0, min(self.full_well_electrons, full_scale_electrons - float(self.offset_electrons.max())))
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
