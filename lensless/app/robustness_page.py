"""What a report shows of a task where something has changed since its training."""

from lensless.evaluate import report
from lensless.evaluate.evaluation import Line
from lensless.evaluate.figures import HEADS, shown

TEXT = (
    "The test scenes were shifted (by pixels of the scene) or turned before they were simulated, with black around "
    "them; the display was dimmed or made brighter, its black included; or the rig had drifted. Network and "
    "calibration are those from before. A picture is held against the scene that was moved, and brought back to its "
    "brightness; turning makes scenes a little smoother, and easier to reconstruct. Notes give the lowest and the "
    "highest of what the figure is the mean of: the four directions, both ways, or four rigs."
)


def section(conditions: tuple[Line, ...]) -> list[str]:
    """A section for a page; none where nothing was asked for."""
    if not conditions:
        return []
    return [report.section("Where something has changed", TEXT, report.plain_table(*table(conditions)))]


def table(conditions: tuple[Line, ...]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: condition, its figures, what the main one has changed by since the first line, and a note."""
    before = conditions[0].figures
    main, *others = before
    scale, unit = (100, "points") if main == "accuracy" else (1, "dB")
    rows = []
    for line in conditions:
        change = "" if line is conditions[0] else f"{scale * (line.figures[main] - before[main]):+.2f}"
        figures = [shown(name, line.figures[name]) for name in others]
        rows.append([line.name, shown(main, line.figures[main]), change, *figures, line.note])
    return ["", HEADS[main], f"change ({unit})", *(HEADS[name] for name in others), ""], rows
