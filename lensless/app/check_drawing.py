"""The figures of the page of a check, as SVG; in the look of all other figures."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lensless.app.check_levels import Line
from lensless.app.check_noise import LAGS, UP_TO, Neighbours, Transfer
from lensless.app.check_numbers import Numbers
from lensless.evaluate.drawing import ACCENT, INK, QUIET, SECOND, STYLE, svg

GRID = "#e7e9ee"
SIZE, WIDE = (4.6, 3.0), (9.6, 3.0)
MOST_BARS = 256


def histogram(numbers: Numbers, black_dn: float, full_scale_dn: int) -> str:
    """How often each digital number occurs."""
    together = -(-len(numbers.counts) // MOST_BARS)
    padded = np.pad(numbers.counts, (0, -len(numbers.counts) % together))
    counts = padded.reshape(-1, together).sum(1)
    edges = np.arange(len(counts) + 1) * together
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        axes.stairs(np.maximum(counts, 0.5), edges, fill=True, color=ACCENT, alpha=0.85, linewidth=0)
        axes.set_yscale("log")
        axes.set_ylim(0.7, 3 * max(counts.max(), 1))
        axes.set_xlim(-0.04 * full_scale_dn, 1.04 * (full_scale_dn + 1))  # black and full scale stand off the frame
        for level, name in ((black_dn, "black"), (full_scale_dn, "full scale")):
            axes.axvline(level, color=SECOND, linewidth=1, linestyle="--")
            side = {"ha": "left"} if level < full_scale_dn / 2 else {"ha": "right"}
            axes.annotate(
                name, (level, 0.97), (3 if side["ha"] == "left" else -3, 0), xycoords=("data", "axes fraction"),
                textcoords="offset points", va="top", fontsize=9, color=SECOND, **side,
            )  # fmt: skip
        axes.set(xlabel="digital number", ylabel="pixels" if together == 1 else f"pixels, {together} numbers together")
        return svg(figure)


def level_against_exposure(line: Line, black_dn: float) -> str:
    """Mean levels, and the straight line through them."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        ends = np.array([0, line.exposures_s[-1] * 1.05])
        axes.plot(
            ends * 1e3, line.offset_dn + line.slope_dn_per_s * ends, color=QUIET, linewidth=1, label="straight line"
        )
        axes.errorbar(
            line.exposures_s * 1e3,
            line.levels_dn,
            line.errors_dn,
            fmt="o",
            color=ACCENT,
            markersize=5,
            label="measured",
        )
        axes.axhline(black_dn, color=SECOND, linewidth=1, linestyle="--", label="black, as the camera says")
        axes.set(xlabel="exposure (ms)", ylabel="mean level (DN)", xlim=(0, None))
        axes.legend(frameon=False, loc="upper left", fontsize=9)
        return svg(figure)


def photon_transfer(transfer: Transfer, full_scale_dn: int, told: bool = True) -> str:
    """Temporal variance against mean, and the straight line of counted electrons, unless it cannot be `told`."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes()
        axes.errorbar(
            transfer.mean_dn, transfer.variance_dn2, transfer.error_dn2, fmt="o", color=ACCENT, markersize=3.5,
            elinewidth=0.8, label="pixels of like mean",
        )  # fmt: skip
        ends = np.array([transfer.mean_dn.min(), transfer.mean_dn.max()])
        e_per_dn = f", {1 / transfer.slope:.3g} electrons per DN" if transfer.slope > 0 else ""
        if told:
            axes.plot(ends, transfer.offset + transfer.slope * ends, color=QUIET, label=f"straight line{e_per_dn}")
        axes.set(xlabel=f"mean (DN), up to {UP_TO:.0%} of full scale", ylabel="variance (DN²)", ylim=(0, None))
        axes.set_xlim(0, max(1.05 * ends[1], 0.1 * full_scale_dn))
        axes.legend(frameon=False, loc="best", fontsize=9)
        return svg(figure)


def noise_of_neighbours(found: Neighbours) -> str:
    """Correlation of temporal noise with that of pixels around."""
    values = found.correlation.copy()
    values[LAGS, LAGS] = np.nan
    most = max(0.1, float(np.nanmax(np.abs(values))))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        ends = (-LAGS - 0.5, LAGS + 0.5)
        shown = axes.imshow(values, cmap="PuOr_r", vmin=-most, vmax=most, extent=(*ends, *ends[::-1]))
        for row, column in np.ndindex(values.shape):
            if abs(value := values[row, column]) > 0.005:
                dark = abs(value) > 0.6 * most
                axes.text(
                    column - LAGS, row - LAGS, f"{value:.2f}", ha="center", va="center", fontsize=7,
                    color="white" if dark else INK,
                )  # fmt: skip
        axes.text(0, 0, "1", ha="center", va="center", fontsize=8, color=QUIET)
        axes.set(
            xlabel="columns away", ylabel="rows away", xticks=range(-LAGS, LAGS + 1), yticks=range(-LAGS, LAGS + 1)
        )
        axes.tick_params(length=0)
        bar = figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.03)
        bar.set_label("correlation", color=QUIET)
        bar.outline.set_visible(False)
        return svg(figure)


def levels_in_time(bursts: list[tuple[str, np.ndarray]], alone: bool = False) -> str:
    """Mean level of frame after frame, each burst relative to its own mean; `alone` in its row it takes all of it."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _axes(WIDE if alone else SIZE)
        colours = [ACCENT, *matplotlib.colormaps["YlOrBr"](np.linspace(0.35, 0.9, max(len(bursts) - 1, 1)))]
        for (name, levels), colour in zip(bursts, colours, strict=False):
            axes.plot(np.arange(1, len(levels) + 1), 100 * (levels / levels.mean() - 1), ".-", color=colour, label=name)
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, -0.5), max(high, 0.5) + 0.4 * (max(high, 0.5) - min(low, -0.5)))
        axes.set(xlabel="frame", ylabel="level, change (%)")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False, loc="upper right", fontsize=8, ncols=2)
        return svg(figure)


def _axes(size: tuple[float, float] = SIZE) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes
