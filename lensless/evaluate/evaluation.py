"""What an evaluation gives: plain facts, which a table, a report or JSON shows."""

import dataclasses

from torch import Tensor

from lensless.evaluate.labels import LabelFigures
from lensless.tasks import Numbers

EXAMPLES = 8


def example_indices(count: int) -> list[int]:
    """Which of `count` test scenes are shown: evenly spread, so that nobody has chosen them."""
    shown = min(EXAMPLES, count)
    return [at * count // shown for at in range(shown)]


def drawn(pictures: Tensor) -> Tensor:
    """Pictures (..., C, h, w) as they are drawn: (..., h, w), or (..., h, w, 3) in colours; on the CPU."""
    pictures = pictures.cpu()
    return pictures.squeeze(-3) if pictures.shape[-3] == 1 else pictures.movedim(-3, -1)


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of the table of figures: a way to the result, what it reached, and what it is made of."""

    name: str
    figures: dict[str, float]
    note: str = ""

    def facts(self) -> dict:
        return {"name": self.name, **self.figures, "note": self.note}


@dataclasses.dataclass(frozen=True)
class Examples:
    """A few test scenes and what became of them: pictures by name, as `drawn` gives them, and labels by name."""

    pictures: dict[str, Tensor]
    labels: dict[str, list[str]]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Everything that a report shows of one task.

    `resident_bytes` are what the task takes in memory at inference, `stored_bytes` what its checkpoint takes on disk.
    `labels` are of classifiers. `conditions`, where they were asked for, are lines for scenes that were moved or dimmed
    and for rigs that drifted, the first for the scenes as they are.
    """

    kind: str
    metric: str
    scenes: str
    count: int
    lines: list[Line]
    numbers: Numbers
    examples: Examples
    resident_bytes: int
    labels: LabelFigures | None = None
    conditions: tuple[Line, ...] = ()
    stored_bytes: int | None = None

    @property
    def figure(self) -> float:
        """The headline: of the task's own network, in the first line."""
        return self.lines[0].figures[self.metric]

    def facts(self) -> dict:
        """For JSON: all but the pictures."""
        facts = {
            "task": self.kind, "scenes": self.scenes, "count": self.count, "metric": self.metric, "figure": self.figure,
            "numbers": dataclasses.asdict(self.numbers),
            "resident_bytes": self.resident_bytes, "stored_bytes": self.stored_bytes,
            "lines": [line.facts() for line in self.lines],
        }  # fmt: skip
        if self.labels is not None:
            facts |= self.labels.facts()
        if self.conditions:
            facts |= {"robustness": [line.facts() for line in self.conditions]}
        return facts
