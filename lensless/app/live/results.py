"""What a task makes of one measurement, and how that looks."""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from lensless.app.inference import device_of, probabilities_of
from lensless.app.live.drawing import HalfBlocks, fitted, levels_of_frame, levels_of_picture
from lensless.app.screen import plain
from lensless.tasks import Task

BEST = 3  # labels on the screen
BAR = 30  # columns of a probability of 1
MOST_SIDE = 48  # pixels of a picture on a terminal, along a side
DETAIL = 512  # pixels of a frame that go to a window, along a side


@dataclasses.dataclass(frozen=True)
class Labels:
    """The likeliest (label, probability), the best first; one that is less certain than `abstain` is no answer."""

    ranked: list[tuple[str, float]]
    abstain: float = 0.0

    @property
    def label(self) -> str:
        label, probability = self.ranked[0]
        return label if probability >= self.abstain else "?"

    @property
    def words(self) -> str:
        """For a line of text."""
        said = ", ".join(f"{label} ({probability:.1%})" for label, probability in self.ranked)
        return said if self.label != "?" else f"? ({said})"

    def drawn(self, columns: int, rows: int) -> RenderableType:
        """For a terminal of that size."""
        table = Table.grid(padding=(0, 2))
        if self.label == "?":
            table.add_row(Text("?", "bold"), "", Text(f"less certain than {self.abstain:.0%}", "dim"))
        for label, probability in self.ranked:
            style = "bold" if label == self.label else "dim"
            bar = Text("━" * round(min(BAR, columns // 3) * probability), "green" if label == self.label else "dim")
            table.add_row(Text(plain(label), style), Text(f"{probability:6.1%}", style), bar)
        return table


@dataclasses.dataclass(frozen=True, eq=False)
class Picture:
    """A picture (1 or 3, rows, columns) in [0, 1], and the pixels of the newest frame that it was made of."""

    picture: np.ndarray
    pixels: np.ndarray

    label = None
    words = ""

    def drawn(self, columns: int, rows: int) -> RenderableType:
        """For a terminal of that size."""
        across, down = max(4, min(MOST_SIDE, (columns - 4) // 2)), max(4, min(MOST_SIDE, 2 * (rows - 1)))
        table = Table.grid(padding=(0, 2))
        table.add_row(Text("raw frame", "dim"), Text("picture", "dim"))
        sides = (levels_of_frame(self.pixels, down, across), levels_of_picture(self.picture))
        table.add_row(*(HalfBlocks(fitted(one, down, across)) for one in sides))
        return table

    def panels(self) -> dict[str, np.ndarray | None]:
        """For a window."""
        return {"raw frame": levels_of_frame(self.pixels, DETAIL, DETAIL), "picture": levels_of_picture(self.picture)}


Result = Labels | Picture
Judge = Callable[[torch.Tensor, np.ndarray], Result]  # of a measurement (1, 1, H', W') and the newest frame's pixels


def labels_of(task: Task, abstain: float = 0.0) -> Judge:
    """What a classifier says of a measurement, if it is certain enough. It looks at no frame, and keeps none."""

    def judge(y: torch.Tensor, pixels: np.ndarray) -> Labels:
        probabilities, found = probabilities_of(task, y)[0].topk(min(BEST, len(task.classes)))
        ranked = zip(found.tolist(), probabilities.tolist(), strict=True)
        return Labels([(task.classes[one], probability) for one, probability in ranked], abstain)

    return judge


def pictures_of(task: Task) -> Judge:
    """What a reconstruction makes of a measurement."""

    def judge(y: torch.Tensor, pixels: np.ndarray) -> Picture:
        with torch.no_grad():
            picture = task(y.to(device_of(task))).clamp(0, 1)
        return Picture(picture[0].float().cpu().numpy(), pixels)

    return judge
