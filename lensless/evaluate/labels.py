"""Figures of labels: class by class, and among the likeliest few."""

import dataclasses

from torch import Tensor

from lensless.evaluate.confidence import Confidence, confidence
from lensless.evaluate.metrics import confusion

MOST_LIKELY = (1, 2, 3)  # the right class is among so many of the likeliest; where that is fewer than there are
WORST = 5


@dataclasses.dataclass(frozen=True)
class ClassFigures:
    """One class: how many test scenes are of it, the share of these that is named so (recall), the share of those named
    so that are of it (precision), and the class that they are taken for most often, with how many.

    None where there is nothing to divide by, or no mistake.
    """

    name: str
    count: int
    recall: float | None
    precision: float | None
    taken_for: str | None
    mistakes: int


@dataclasses.dataclass(frozen=True)
class LabelFigures:
    """Labels on test scenes.

    `top` maps k to the share of scenes whose class is among the k likeliest; `recall` and `precision` are means over
    the classes that occur, each counted alike, however many scenes are of it.
    """

    top: dict[int, float]
    recall: float
    precision: float
    classes: tuple[ClassFigures, ...]
    confusion: Tensor
    confidence: Confidence

    @property
    def worst(self) -> tuple[ClassFigures, ...]:
        """The classes that occur, least recall first."""
        return tuple(sorted((one for one in self.classes if one.count), key=lambda one: one.recall))

    def facts(self) -> dict:
        """For JSON."""
        return {
            "top": {str(k): share for k, share in self.top.items()},
            "mean_over_classes": {"recall": self.recall, "precision": self.precision},
            "per_class": [dataclasses.asdict(one) for one in self.classes],
            "classes": [one.name for one in self.classes], "confusion": self.confusion.tolist(),
            "confidence": self.confidence.facts(),
        }  # fmt: skip


def label_figures(logits: Tensor, labels: Tensor, classes: tuple[str, ...], temperature: float = 1.0) -> LabelFigures:
    """Figures of the logits of a network (N, classes) for scenes of these labels (N,)."""
    most = min(max(MOST_LIKELY), len(classes))
    likeliest = logits.argsort(dim=1, descending=True, stable=True)[:, :most]
    hit = likeliest == labels[:, None]
    top = {k: float(hit[:, :k].any(1).double().mean()) for k in MOST_LIKELY if k == 1 or k < len(classes)}
    counts = confusion(likeliest[:, 0], labels, len(classes)).cpu()
    found = tuple(_of_class(at, counts, classes) for at in range(len(classes)))
    occur = [one for one in found if one.count]
    return LabelFigures(
        top, sum(one.recall for one in occur) / len(occur), sum(one.precision or 0.0 for one in occur) / len(occur),
        found, counts, confidence(logits, labels, temperature),
    )  # fmt: skip


def _of_class(at: int, counts: Tensor, classes: tuple[str, ...]) -> ClassFigures:
    count, named, right = int(counts[at].sum()), int(counts[:, at].sum()), int(counts[at, at])
    mistaken = counts[at].clone()
    mistaken[at] = 0
    worst = int(mistaken.argmax())
    mistakes = int(mistaken[worst])
    return ClassFigures(
        classes[at], count, right / count if count else None, right / named if named else None,
        classes[worst] if mistakes else None, mistakes,
    )  # fmt: skip
