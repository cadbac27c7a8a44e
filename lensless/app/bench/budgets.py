"""`lensless bench budgets`: what tasks of a rig reach with fewer trained numbers, shared or narrow."""

import pathlib

import matplotlib
from matplotlib.figure import Figure

from lensless.app.bench import tasks
from lensless.app.bench.budget_cells import CELLS, KINDS, METHODS
from lensless.app.screen import Screen
from lensless.evaluate.drawing import ACCENT, INK, QUIET, SECOND, STYLE

COLOURS = {"cells": ACCENT, "superweights": SECOND, "ssn": "#7c3aed", "narrow": QUIET}
LABELS = {"cells": "cells", "superweights": "SuperWeights", "ssn": "SSN", "narrow": "narrow, weights of its own"}


def run(out: pathlib.Path, only: tuple[str, ...], data: pathlib.Path | None, jobs: int | None, screen: Screen) -> dict:
    """Make all cells that are not there yet; the table, the figure, and the facts of each cell."""
    found = tasks.run(tasks.Wish(out, only=only, data=data, jobs=jobs, cells=CELLS), screen)
    figure = out / "budgets.png"
    draw(found["cells"], figure)
    screen.say(f"look at it: {figure.resolve()}")
    return found


def draw(found: dict[str, dict], path: pathlib.Path) -> None:
    """Accuracy and PSNR over the share of trained numbers, with the range of seeds."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.8), layout="constrained")
        for axes, name in zip(figure.subplots(1, 2), KINDS, strict=True):
            _panel(axes, name, found)
        figure.savefig(path, dpi=150)


def _panel(axes, name: str, found: dict[str, dict]) -> None:
    scale = 100 if name == "label" else 1
    whole = _figures(found.get(f"{name}-whole"), scale)
    if whole:
        mean = sum(whole) / len(whole)
        axes.axhline(mean, color=INK, linewidth=1, linestyle="--")
        numbers = found[f"{name}-whole"]["evaluations"][0]["numbers"]["trainable"]
        axes.text(0.99, 0.02, f"dashed: all {numbers:,} numbers", transform=axes.transAxes, ha="right", fontsize=9)
    for method in (*METHODS, "narrow"):
        points = []
        for cell, facts in found.items():
            if cell.startswith(f"{name}-{method}-"):
                values = _figures(facts, scale)
                points.append((facts["evaluations"][0]["numbers"]["trainable"], values))
        points.sort()
        if points:
            means = [sum(values) / len(values) for _, values in points]
            low = [mean - min(values) for mean, (_, values) in zip(means, points, strict=True)]
            high = [max(values) - mean for mean, (_, values) in zip(means, points, strict=True)]
            numbers = [numbers for numbers, _ in points]
            axes.errorbar(
                numbers, means, (low, high), color=COLOURS[method], marker="o", markersize=4, label=LABELS[method]
            )
    axes.set(xlabel="trained numbers", title="label, accuracy (%)" if name == "label" else "picture, PSNR (dB)")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g} k")
    axes.grid(color="#e7e9ee", linewidth=0.7)
    axes.legend(frameon=False, fontsize=9, loc="center right")


def _figures(facts: dict | None, scale: float) -> list[float]:
    return [] if facts is None else [scale * one["figure"] for one in facts["evaluations"]]
