"""What the cells of `lensless bench tasks` say: on the screen, and as a page of Markdown to publish."""

import pathlib

from lensless.app.screen import Screen
from lensless.app.text_file import write
from lensless.evaluate.figures import shown

_TITLES = {
    "Cells": ["rig", "scenes", "method"],
    "Test scenes. linear: Wiener's estimate, or a linear rule on the same numbers; sharp: the same network on the "
    "sharp picture; of several trainings mean (lowest .. highest)": [
        "PSNR (dB) or accuracy", "SSIM", "linear", "sharp",
    ],
    "What each holds": ["trainable", "from calibration", "fitted", "stored"],
    "What it costs: one result on one core, and a training with so many threads": [
        "MFLOP", "ms", "training (min)", "threads",
    ],
}  # fmt: skip


def show(found: dict[str, dict], screen: Screen) -> None:
    """The tables, of facts by the names of cells."""
    for title, heads, rows in _tables(found):
        screen.table(f"\n{title}", heads, rows)


def write_page(found: dict[str, dict], path: pathlib.Path) -> None:
    """The tables in Markdown, with the commands that make each cell."""
    parts = ["# What networks make of frames\n"]
    for title, heads, rows in _tables(found):
        lines = [heads, ["---"] * len(heads), *rows]
        parts += [f"{title}.\n", *("| " + " | ".join(line) + " |" for line in lines), ""]
    parts.append("## The commands that made them\n")
    for name, facts in found.items():
        parts += [f"{name}, code {facts['code']}:\n", "```sh", *facts["made_by"], "```", ""]
    write(path, "\n".join(parts))


def _tables(found: dict[str, dict]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, heads and rows of each; the first column is the name of the cell."""
    rows = {name: _parts(facts) for name, facts in found.items()}
    return [
        (title, ["", *heads], [[name, *parts[at]] for name, parts in rows.items()])
        for at, (title, heads) in enumerate(_TITLES.items())
    ]


def _parts(facts: dict) -> tuple[list[str], ...]:
    """The row of a cell in each table."""
    cell, first, cost = facts["cell"], facts["evaluations"][0], facts["cost"]
    numbers = first["numbers"]
    return (
        [cell["rig"], cell["scenes"], cell["method"]],
        [_figure(facts), _ssim(facts), _linear(facts), shown("accuracy", facts.get("sharp"))],
        [
            *(f"{numbers[which]:,}" for which in ("trainable", "from_calibration", "fitted_on_scenes")),
            f"{first['stored_bytes'] / 1e6:.1f} MB",
        ],
        [
            f"{cost['flop'] / 1e6:.1f}", f"{cost['latency_ms']:.2f}", f"{cost['training_s'] / 60:.1f}",
            str(cost["threads"]),
        ],
    )  # fmt: skip


def _figure(facts: dict) -> str:
    """The headline of a cell: of one training, or mean and range of several."""
    return _spread(facts, facts["evaluations"][0]["metric"])


def _linear(facts: dict) -> str:
    """What the best linear way reaches on the same frames."""
    lines = facts["evaluations"][0]["lines"]
    metric = facts["evaluations"][0]["metric"]
    for at, line in enumerate(lines):
        if line["name"] in ("Wiener", "linear rule"):
            values = [one["lines"][at][metric] for one in facts["evaluations"]]
            return shown(metric, sum(values) / len(values))
    return ""


def _ssim(facts: dict) -> str:
    return _spread(facts, "ssim") if "ssim" in facts["evaluations"][0]["lines"][0] else ""


def _spread(facts: dict, metric: str) -> str:
    """Of the network: one figure, or mean and range."""
    values = [one["lines"][0][metric] for one in facts["evaluations"]]
    mean = shown(metric, sum(values) / len(values))
    if len(values) == 1:
        return mean
    low, high = (shown(metric, end).removesuffix(" %") for end in (min(values), max(values)))
    return f"{mean} ({low} .. {high})"
