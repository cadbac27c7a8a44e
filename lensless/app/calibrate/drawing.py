"""The figures of a calibration, as SVG; in the look of all other figures."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from calibration.linearity import Linearity
from calibration.noise import PhotonTransfer
from calibration.sensor import SensorReport
from lensless.evaluate.drawing import ACCENT, QUIET, SECOND, STYLE, svg

_SIZE = (4.6, 3.0)


def photon_transfer(transfer: PhotonTransfer, floor_dn2: float) -> str:
    """Variance by light against light, and the line."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        signal, variance = transfer.signal_dn, transfer.variance_dn2
        for chosen, colour, name in ((transfer.fitted, ACCENT, "fitted"), (~transfer.fitted, SECOND, "beyond")):
            if chosen.any():
                axes.errorbar(
                    signal[chosen], variance[chosen], transfer.error_dn2[chosen], fmt="o", markersize=2.5,
                    linewidth=0.6, color=colour, label=name,
                )  # fmt: skip
        top = float(signal.max())
        line = np.array([0, top])
        axes.plot(line, line / transfer.gain_electrons_per_dn.value, color=QUIET, linewidth=1, label="line")
        axes.axhline(floor_dn2, color=QUIET, linewidth=0.8, linestyle=":")
        axes.set(
            xlabel="signal above dark (DN)", ylabel="variance by light (DN²)", xlim=(0, 1.03 * top),
            ylim=(0, 1.2 * float(variance.max())),
        )  # fmt: skip
        axes.legend(frameon=False, loc="upper left", fontsize=9)
        return svg(figure)


def linearity(found: Linearity) -> str:
    """Deviation from the line in percent."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        axes.axhline(0, color=QUIET, linewidth=1)
        chosen = found.fitted
        axes.plot(
            found.exposure_s[chosen] * 1e3, 100 * found.deviation[chosen], "o-", markersize=4, linewidth=1, color=ACCENT
        )
        reach = max(0.2, 1.3 * float(np.abs(100 * found.deviation[chosen]).max()))
        axes.set(xlabel="exposure (ms)", ylabel="off the line (%)", ylim=(-reach, reach))
        return svg(figure)


def dark_rates(sensor: SensorReport) -> str:
    """How many pixels have which dark current."""
    gain = sensor.transfer.gain_electrons_per_dn.value
    rates = (sensor.dark.rate_dn_per_s * gain).ravel()
    low, high = np.percentile(rates, [0.1, 99.9])
    spread = max(high - low, 1e-6)
    edges = np.linspace(low - 0.2 * spread, high + 0.6 * spread, 80)
    counts, _ = np.histogram(rates.clip(edges[0], edges[-1]), edges)
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        axes.stairs(np.maximum(counts, 0.5), edges, fill=True, color=ACCENT, alpha=0.85, linewidth=0)
        axes.set_yscale("log")
        axes.set(xlabel="dark current (electrons / s); the last bar: and more", ylabel="pixels", ylim=(0.7, None))
        return svg(figure)


def dark_growth(sensor: SensorReport) -> str:
    """Dark current against temperature, and the line along which it doubles."""
    gain = sensor.transfer.gain_electrons_per_dn.value
    at_c = np.array([temperature_c for temperature_c, _ in sensor.rates_dn_per_s])
    rates, errors = (
        gain * np.array([getattr(rate, name) for _, rate in sensor.rates_dn_per_s]) for name in ("value", "std")
    )
    doublings = at_c / sensor.doubling_c.value
    weights = (rates / errors.clip(1e-9 * rates)) ** 2
    line_c = np.linspace(at_c[0] - 1, at_c[-1] + 1, 2)
    offset = np.average(np.log2(rates) - doublings, weights=weights)
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        axes.plot(line_c, 2 ** (offset + line_c / sensor.doubling_c.value), color=QUIET, linewidth=1)
        axes.errorbar(at_c, rates, 2 * errors, fmt="o", markersize=4, linewidth=1, color=ACCENT)
        axes.set_yscale("log", base=2)
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set(xlabel="sensor (°C)", ylabel="dark current (electrons / s)")
        return svg(figure)


def spectrum(values: np.ndarray, floor: float) -> str:
    """Singular values, and where noise begins."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        axes.semilogy(np.arange(1, len(values) + 1), values / values[0], color=ACCENT, linewidth=1.6)
        axes.axhline(floor / values[0], color=SECOND, linewidth=1, linestyle="--")
        axes.annotate(
            "noise", (0.98, floor / values[0]), (0, 3), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", fontsize=9, color=SECOND,
        )  # fmt: skip
        lowest = max(1e-5, 0.3 * float(min(floor, values[values > 0].min())) / values[0])
        axes.set(xlabel="mode", ylabel="singular value, largest = 1", ylim=(lowest, 1.5))
        return svg(figure)


def residuals(residual: np.ndarray) -> str:
    """Of each pattern, in the order of the set."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        axes.plot(residual, ".", markersize=2, color=ACCENT)
        axes.axhline(1, color=QUIET, linewidth=1)
        axes.set(
            xlabel="pattern", ylabel="left of its frame, noise = 1", ylim=(0, max(1.6, 1.05 * float(residual.max())))
        )
        return svg(figure)


def _axes():
    figure = Figure(figsize=_SIZE, layout="constrained")
    return figure, figure.add_subplot()
