"""The figures of a classifier's report, as SVG: which class is taken for which, and how far its probabilities hold."""

import matplotlib
import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from lensless.evaluate.confidence import BINS, Confidence
from lensless.evaluate.drawing import ACCENT, INK, QUIET, STYLE, svg
from lensless.evaluate.figures import percent
from lensless.evaluate.labels import LabelFigures

FEW_CLASSES = 12  # up to here every cell of a confusion matrix can hold its count
LEAST_IN_BIN = 10  # scenes; the share of right ones among fewer says nothing
LEAST_MARKED = 0.05  # share of the scenes; points of thresholds that fewer reach would lie on each other
SHORT_NAME = 2  # characters; longer names stand upright below a matrix
GRID = {"color": "#e7e9ee", "linewidth": 0.7}


def confusion_matrix(labels: LabelFigures) -> str:
    """Truth in rows, named class in columns, each row in percent of its class; few classes with their counts."""
    counts = labels.confusion.double().numpy()
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    n = len(shares)
    few = n <= FEW_CLASSES
    side = 3.4 if few else 6.0 + 0.055 * n
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.25 * side, 1.1 * side), layout="constrained")
        axes = figure.subplots()
        # A square root, so that single mistakes show beside thousands of hits.
        drawn = axes.imshow(shares, cmap="BuGn", norm=PowerNorm(0.5, 0, 100))
        bar = figure.colorbar(drawn, ax=axes, fraction=0.046, pad=0.03, ticks=[0, 1, 5, 20, 50, 100])
        bar.set_label("share of the class (%)", color=QUIET)
        bar.outline.set_visible(False)
        names = [one.name.replace("$", r"\$") for one in labels.classes]  # names of folders are no formulas
        upright = 90 if max(map(len, names)) > SHORT_NAME else 0
        axes.set_xticks(range(n), names, fontsize=9 if few else 8, rotation=upright)
        axes.set_yticks(range(n), names, fontsize=9 if few else 8)
        axes.set(xlabel="label given", ylabel="truth")
        which = "which class was taken for which" + "\n(numbers: test scenes)" * few
        axes.set_title(which, fontsize=10.5)
        axes.tick_params(length=0)
        if few:
            for row, column in np.ndindex(n, n):
                if counts[row, column]:
                    colour = "white" if shares[row, column] > 30 else INK
                    axes.text(column, row, int(counts[row, column]), ha="center", va="center", fontsize=7, color=colour)
        else:  # the eye must find its way from a mistake to two names
            edges = np.arange(n - 1) + 0.5
            axes.set_xticks(edges, minor=True)
            axes.set_yticks(edges, minor=True)
            axes.grid(which="minor", color="#eef0f3", linewidth=0.5)
            axes.tick_params(which="minor", length=0)
        return svg(figure)


def reliability(found: Confidence) -> str:
    """Share of right answers over their probability, before and after the temperature, and how many there are."""
    edges = np.arange(BINS + 1) / BINS
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.6), layout="constrained")
        axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.9, linestyle="--")
        for one, name, style in (
            (found.before, "as the network gives them", {"color": QUIET, "markerfacecolor": "white", "linewidth": 0.8}),
            (found.after, "divided by the temperature", {"color": ACCENT, "linewidth": 1.4}),
        ):
            seen = np.array(one.counts) >= LEAST_IN_BIN
            label = f"{name}: error {percent(one.calibration_error)}"
            axes.plot(
                np.array(one.probability)[seen], np.array(one.accuracy)[seen], "o-", markersize=4, label=label, **style
            )
        axes.set(ylabel="share that is right", xlim=(0, 1.01), ylim=(0, 1.03))
        axes.legend(frameon=False, fontsize=8.5, loc="lower right")
        shares = np.array(found.after.counts) / sum(found.after.counts)
        below.bar(edges[:-1], shares, 1 / BINS, align="edge", color=ACCENT, alpha=0.7, edgecolor="white", linewidth=0.6)
        below.set(xlabel="probability of the label", ylabel="share", ylim=(0, 1.05 * max(shares)))
        for one in (axes, below):
            one.grid(**GRID)
            one.set_axisbelow(True)
        return svg(figure)


def answered(found: Confidence) -> str:
    """How many of the labels that are given are right, over how many are given, the most certain first."""
    shares, accuracy = np.array(found.curve).T
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.6, 3.6), layout="constrained")
        axes = figure.subplots()
        axes.plot(100 * shares, 100 * accuracy, color=ACCENT)
        marked = [one for one in found.answered if one.share >= LEAST_MARKED]
        axes.plot(
            [100 * one.share for one in marked], [100 * one.accuracy for one in marked], "o", color=ACCENT, markersize=5
        )
        lowest = 100 * min([*accuracy[len(accuracy) // 20 :], *(one.accuracy for one in marked)])
        span = max(100 - lowest, 0.5)
        for one in marked:  # the curve falls to the right, so there is room below and to the left
            axes.annotate(
                f"{one.threshold:g}", (100 * one.share, 100 * one.accuracy), (-5, -2),
                textcoords="offset points", ha="right", va="top", fontsize=8.5, color=INK,
            )  # fmt: skip
        axes.set(xlabel="scenes that are answered (%)", ylabel="of these, right (%)")
        axes.set(xlim=(0, 103), ylim=(lowest - 0.12 * span, 100 + 0.08 * span))
        axes.grid(**GRID)
        return svg(figure)
