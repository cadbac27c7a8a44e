"""What a report shows of a task where something has changed since its training."""

from lensless.evaluate import report
from lensless.evaluate.evaluation import Line
from lensless.evaluate.figures import HEADS, change, shown

TEXT = (
    "The test scenes were shifted (by pixels of the scene) or turned before they were simulated, with black around "
    "them; the display was dimmed or made brighter, its black included; or the rig had drifted. Network and "
    "calibration are those from before. A picture is held against the scene as it then was."
)


def section(conditions: tuple[Line, ...]) -> list[str]:
    """A section for a page; none where nothing was asked for."""
    if not conditions:
        return []
    return [report.section("Where something has changed", TEXT, report.plain_table(*table(conditions)))]


def table(conditions: tuple[Line, ...]) -> tuple[list[str], list[list[str]]]:
    """Heads and rows: condition, figures, what the first of them has changed by, and a note."""
    before = conditions[0].figures
    main = next(iter(before))
    names = [name for name in before if all(name in line.figures for line in conditions)]
    rows = [
        [
            line.name,
            *(shown(name, line.figures[name]) for name in names),
            "" if line is conditions[0] else change(main, line.figures[main] - before[main]),
            line.note,
        ]
        for line in conditions
    ]
    return ["", *(HEADS[name] for name in names), "change", ""], rows
