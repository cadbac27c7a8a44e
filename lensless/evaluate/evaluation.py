"""What an evaluation gives: plain facts, which a table, a report or JSON shows."""

import dataclasses

from torch import Tensor

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


@dataclasses.dataclass(frozen=True)
class Examples:
    """A few test scenes and what became of them: pictures by name, as `drawn` gives them, and labels by name."""

    pictures: dict[str, Tensor]
    labels: dict[str, list[str]]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Everything that a report shows of one task.

    `resident_bytes` are what the task takes in memory at inference, `stored_bytes` what its checkpoint takes on disk.
    """

    kind: str
    metric: str
    scenes: str
    count: int
    lines: list[Line]
    numbers: Numbers
    examples: Examples
    resident_bytes: int
    classes: tuple[str, ...] = ()
    confusion: Tensor | None = None
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
            "lines": [{"name": line.name, **line.figures, "note": line.note} for line in self.lines],
        }  # fmt: skip
        if self.confusion is not None:
            facts |= {"classes": list(self.classes), "confusion": self.confusion.tolist()}
        return facts
