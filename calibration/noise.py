"""Photon transfer: what the noise of a sensor tells of its gain, its read noise and its full well.

Light arrives as electrons, one by one, so that their variance is their mean. In digital numbers, with K electrons to
one of them (EMVA 1288 R3.1, sections 2.2 and 6.6):

    variance(lit) - variance(dark) = (mean(lit) - mean(dark)) / K
    read noise^2 = K^2 (variance(dark, exposure 0) - 1/12)                      1/12 DN^2 is that of rounding

Means and variances are those of each pixel over frames of one light, so the light may be as uneven as a rig makes it.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from calibration.dark import DarkSignal
from calibration.estimate import Estimate
from calibration.stack import Stack
from hardware.errors import CalibrationMismatch

LINEAR_SHARE = 0.7  # of saturation: EMVA 1288 fits its lines so far
_BINS, _LEAST_PIXELS = 32, 64
_COLLAPSED = 0.5  # of the variance that electrons would have: a pixel that is full has less
_ROUNDING_DN2 = 1 / 12
ROUNDED_BELOW_DN2 = 0.24  # EMVA 1288: with less variance in the dark, rounding hides the read noise
MOST_FLICKER = 0.005  # of the light, from frame to frame
_LEAST_RISE = 1.0  # of the variance by light, in units of that in the dark, at the brightest


@dataclasses.dataclass(frozen=True, eq=False)
class PhotonTransfer:
    """What photon transfer gives.

    Args:
        gain_electrons_per_dn: K.
        read_noise_electrons: from frame to frame, without dark current and rounding.
        full_well_electrons: None where no pixel was full; then it holds more than `reached_electrons`.
        saturation_dn: above dark, where pixels are full; None where none was.
        reached_electrons: the most that was measured.
        flicker: of the light from frame to frame, as a share of itself, largest of all stacks.
        misfit: chi^2 per degree of freedom of the line; far above 1 where noise is not that of electrons.
        signal_dn, variance_dn2, error_dn2: (k,) what the line was fitted to and beyond, above dark; ascending.
        fitted: (k,) bool, what was below 70 % of saturation.
    """

    gain_electrons_per_dn: Estimate
    read_noise_electrons: Estimate
    full_well_electrons: Estimate | None
    saturation_dn: float | None
    reached_electrons: float
    flicker: float
    misfit: float
    signal_dn: np.ndarray
    variance_dn2: np.ndarray
    error_dn2: np.ndarray
    fitted: np.ndarray


def photon_transfer(dark: DarkSignal, lit: Sequence[Stack], defects: np.ndarray | None = None) -> PhotonTransfer:
    """Gain, read noise and full well.

    Args:
        dark: of the same camera and gain, at exposures that hold those of `lit`.
        lit: stacks of frames, each under one steady light: from hardly any to what fills the pixels.
        defects: (H, W) bool, pixels that do not count.

    Raises:
        CalibrationMismatch: light that flickers, or that hardly stands out of the noise of the dark frames.
    """
    good = np.ones(dark.bias_dn.shape, bool) if defects is None else ~defects
    flickers = [flicker_of(stack, dark, good) for stack in lit]
    if max(flickers) > MOST_FLICKER:
        worst = lit[int(np.argmax(flickers))]
        raise CalibrationMismatch(
            f"photon transfer: the light varies by {max(flickers):.2%} from frame to frame (at {worst.exposure_s:g} "
            f"s), limit {MOST_FLICKER:.1%}; use a lamp on direct current, or exposures that hold whole periods of the "
            "mains"
        )
    binned = [_bins(stack, dark, flicker, good) for stack, flicker in zip(lit, flickers, strict=True)]
    signal, variance, dof = (np.concatenate(parts) for parts in zip(*binned, strict=True))
    order = np.argsort(signal)
    signal, variance, dof = signal[order], variance[order], dof[order]
    saturation_dn = _saturation(signal, variance)
    top_dn = saturation_dn or min(float(signal[-1]), lit[0].meta.full_scale_dn - float(np.median(dark.bias_dn)))
    fitted = signal <= LINEAR_SHARE * top_dn if saturation_dn else signal <= top_dn
    if variance[fitted][-1] < _LEAST_RISE * dark.variance_0_dn2.value:
        raise CalibrationMismatch(
            f"photon transfer: the brightest light brings {signal[fitted][-1]:.1f} DN above dark, and its noise is "
            "less than that in the dark; more light, a longer exposure, or a lower gain"
        )
    slope, misfit, error = _slope(signal, variance, dof, fitted, dark)
    gain = Estimate(1 / slope.value, slope.std / slope.value**2)
    full_well = None
    if saturation_dn is not None:
        full_well = Estimate(saturation_dn, float(np.std(signal[signal > 0.98 * saturation_dn]))) * gain
    return PhotonTransfer(
        gain, _read_noise(dark, gain), full_well, saturation_dn, float(signal[-1]) * gain.value, max(flickers), misfit,
        signal, variance, error, fitted,
    )  # fmt: skip


def flicker_of(stack: Stack, dark: DarkSignal, good: np.ndarray) -> float:
    """How much all pixels vary together from frame to frame beyond what their noise makes, as a share of the light."""
    signal_dn = float((stack.mean - dark.at(stack.exposure_s))[good].mean())
    alone = float(stack.variance.mean()) / stack.variance.size
    together = float(stack.frame_means.var(ddof=1))
    # Of few frames the variance of their means varies itself by this much.
    together -= alone * (1 + 3 * np.sqrt(2 / (stack.frames - 1)))
    return float(np.sqrt(max(0.0, together))) / max(signal_dn, 1e-9) if signal_dn > 0 else 0.0


def _bins(stack: Stack, dark: DarkSignal, flicker: float, good: np.ndarray):
    """Signal, and variance that light adds, of pixels that are about as bright, and the degrees of freedom of it."""
    signal = (stack.mean - dark.at(stack.exposure_s))[good]
    added = stack.variance[good] - dark.variance_at(stack.exposure_s) - (flicker * signal) ** 2
    order = np.argsort(signal)
    pieces = np.array_split(order, min(_BINS, max(1, signal.size // _LEAST_PIXELS)))
    means = np.array([signal[piece].mean() for piece in pieces])
    variances = np.array([added[piece].mean() for piece in pieces])
    return means, variances, np.array([piece.size * (stack.frames - 1) for piece in pieces], float)


def _saturation(signal: np.ndarray, variance: np.ndarray) -> float | None:
    """Where pixels are full: their variance breaks down, and no light brings them further. None if it does not."""
    lower = (signal > 0.05 * signal[-1]) & (signal < 0.5 * signal[-1])
    if not lower.any():
        return None
    slope = float(np.median(variance[lower] / signal[lower]))
    full = (signal > 0.5 * signal[-1]) & (variance < _COLLAPSED * slope * signal)
    return float(np.median(signal[full])) if full.sum() > 1 else None


def _slope(signal: np.ndarray, variance: np.ndarray, dof: np.ndarray, fitted: np.ndarray, dark: DarkSignal):
    """DN of variance per DN of signal: a line through the origin; its chi^2 per bin; errors of all bins.

    A variance of so many degrees of freedom has a relative error of sqrt(2 / dof), taken at what the line says, or
    bins that came out low would count more.
    """
    floor, slope = dark.variance_0_dn2, float(np.sum(variance[fitted]) / np.sum(signal[fitted]))
    for _ in range(3):
        error = (floor.value + slope * signal.clip(0)) * np.sqrt(2 / dof)
        weights = signal[fitted] / error[fitted] ** 2
        slope = float(weights @ variance[fitted] / (weights @ signal[fitted]))
    # The dark variance was taken off all of them: its error does not average out.
    common = floor.std * float(weights.sum() / (weights @ signal[fitted]))
    chi2 = float(np.mean(((variance - slope * signal)[fitted] / error[fitted]) ** 2))
    std = np.hypot(float((weights @ signal[fitted]) ** -0.5), common) * max(1.0, chi2) ** 0.5
    return Estimate(slope, float(std)), chi2, error


def _read_noise(dark: DarkSignal, gain: Estimate) -> Estimate:
    measured = dark.variance_0_dn2
    variance = measured.value - _ROUNDING_DN2
    for _ in range(3):
        variance = measured.value - _ROUNDING_DN2 - _rounding_beyond(dark.bias_dn, max(variance, 0.01))
    if variance <= 2 * measured.std:  # nothing but rounding is seen: an upper bound
        return Estimate(0.0, float(np.sqrt(max(0.0, variance) + 2 * measured.std)) * gain.value / 2)
    sigma_dn = float(np.sqrt(variance))
    error = measured.std / (2 * sigma_dn)
    if measured.value < ROUNDED_BELOW_DN2:
        error += _rounding_depth(variance) / (2 * sigma_dn)  # more terms count than the one that was taken off
    return Estimate(sigma_dn, error) * gain


def _rounding_beyond(mean_dn: np.ndarray, variance: float) -> float:
    """What rounding adds to the variance beyond 1/12 DN^2, where the noise is less than about half a DN: how much
    depends on how far the mean m of each pixel is from a whole number.

        -(1 / pi^2 + 4 sigma^2) exp(-2 pi^2 sigma^2) cos(2 pi m)

    (leading term of its Fourier series: Widrow and Kollar, Quantization Noise, 2008).
    """
    return -float(_rounding_depth(variance) * np.cos(2 * np.pi * mean_dn).mean())


def _rounding_depth(variance: float) -> float:
    return (1 / np.pi**2 + 4 * variance) * float(np.exp(-2 * np.pi**2 * variance))
