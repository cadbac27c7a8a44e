"""How much light a display gives for the values that it is told."""

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from hardware.errors import CalibrationMismatch, ConfigurationError

if TYPE_CHECKING:
    from calibration.show_and_snap import ShowAndSnap

LEVELS = 9
_LEAST_CONTRAST = 10.0  # between black and white, in standard errors of what is measured there
_GAMMAS = 0.2, 5.0


@dataclasses.dataclass(frozen=True)
class DisplayResponse:
    """radiance(value) = black + (1 - black) value^gamma, white = 1.

    Args:
        gamma: 1 for a linear display; about 2.2 for most.
        gamma_std: its standard error.
        black: radiance of black; that of the sensor's own dark signal is in it, as far as it was not taken off.
        misfit: largest distance of a measured level from the power law, white = 1.
        levels, radiance: what was shown and what was measured, white = 1.

    Raises:
        ConfigurationError: a gamma or black that no display has.
    """

    gamma: float
    gamma_std: float = 0.0
    black: float = 0.0
    misfit: float = 0.0
    levels: tuple[float, ...] = ()
    radiance: tuple[float, ...] = ()

    def __post_init__(self):
        low, high = _GAMMAS
        if not (low <= self.gamma <= high and self.black < 1):
            raise ConfigurationError(
                f"display response: gamma = {self.gamma:g}, black = {self.black:g}; expected a gamma of {low:g} to "
                f"{high:g}, and black below white = 1"
            )

    def inverse(self, picture: np.ndarray) -> np.ndarray:
        """What to show (H, W), so that the radiance above black is `picture` (H, W) in [0, 1]."""
        return picture if self.gamma == 1 else picture ** np.asarray(1 / self.gamma, picture.dtype)


def measure_response(
    rig: "ShowAndSnap", dark_dn: float | None = None, brightest: float = 1.0, levels: int = LEVELS, frames: int = 4
) -> DisplayResponse:
    """Show grey after grey, and fit the power law to the mean of the frames.

    Args:
        rig: display and camera, which is linear, with the display's own response (`response` None).
        dark_dn: mean of the sensor in darkness, DN; by default the black level that its frames tell.
        brightest: value that is shown in place of white where white would clip; values are relative to it.
        levels: how many greys, spaced evenly from black on.
        frames: of each.

    Returns:
        The response; of a display whose white would clip, that up to `brightest`.

    Raises:
        CalibrationMismatch: the camera hardly sees the display, or the levels follow no power law.
    """
    from scipy.optimize import curve_fit

    values = np.linspace(0, 1, levels)
    means_dn, errors_dn = [], []
    for value in values:
        shots = rig.level(float(value * brightest), frames)
        of_frames = [float(shot.pixels.mean()) for shot in shots]
        means_dn.append(np.mean(of_frames))
        errors_dn.append(np.std(of_frames, ddof=1) / math.sqrt(frames) if frames > 1 else 0.0)
        dark_dn = shots[0].meta.black_level_dn if dark_dn is None else dark_dn
    signal_dn = np.array(means_dn) - dark_dn
    rise_dn, error_dn = signal_dn[-1] - signal_dn[0], max(max(errors_dn), 1e-6)
    if rise_dn < _LEAST_CONTRAST * error_dn:
        raise CalibrationMismatch(
            f"display response: white gives {signal_dn[-1]:.2f} DN above dark, black {signal_dn[0]:.2f} DN, with an "
            f"error of {error_dn:.2f} DN; expected to see the display: is it on, in front of the sensor, and bright?"
        )
    shares = (signal_dn - signal_dn[0]) / rise_dn
    # Black and white are where the curve begins and ends; a whole fit would bend gamma to their errors.
    (gamma,), covariance = curve_fit(
        lambda value, power: value**power, values[1:-1], shares[1:-1], p0=1.0, bounds=_GAMMAS,
        sigma=np.full(levels - 2, error_dn / rise_dn), absolute_sigma=True,
    )  # fmt: skip
    misfit = float(np.abs(values**gamma - shares).max())
    if misfit > 0.05:
        raise CalibrationMismatch(
            f"display response: the levels are up to {misfit:.1%} of white off a power law (gamma {gamma:.2f}); switch "
            "off what adapts contrast or brightness by itself, and check that no pixel of the camera clips"
        )
    return DisplayResponse(
        float(gamma), float(np.sqrt(covariance[0, 0])), float(signal_dn[0] / signal_dn[-1]), misfit,
        tuple(values.tolist()), tuple((signal_dn / signal_dn[-1]).tolist()),
    )  # fmt: skip
