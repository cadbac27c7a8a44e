"""How far the probabilities of a classifier can be trusted, and what it gains by not answering.

Expected calibration error: the answers are sorted by their probability into 15 bins of equal width; in each, mean
probability and share of right answers differ by something, and the error is the mean of that over all answers
(Naeini et al. 2015, doi 10.1609/aaai.v29i1.9602; Guo et al. 2017, arXiv 1706.04599).
"""

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 15
THRESHOLDS = (0.5, 0.8, 0.9, 0.95, 0.99)
CURVE_POINTS = 100


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Answers by their probability, in `BINS` bins from 0 to 1: number, mean probability and share of right ones.

    `negative_log_likelihood` is the mean over the scenes, in nats, of all probabilities and not of the answers alone.
    """

    counts: tuple[int, ...]
    probability: tuple[float, ...]
    accuracy: tuple[float, ...]
    negative_log_likelihood: float

    @property
    def calibration_error(self) -> float:
        """The expected one; empty bins count nothing."""
        bins = zip(self.counts, self.probability, self.accuracy, strict=True)
        return sum(count * abs(probability - accuracy) for count, probability, accuracy in bins) / sum(self.counts)

    def facts(self) -> dict:
        return {"calibration_error": self.calibration_error, **dataclasses.asdict(self)}


@dataclasses.dataclass(frozen=True)
class Answered:
    """What is left where less certain answers are not given: share of the scenes, and how many of these are right."""

    threshold: float
    share: float
    accuracy: float | None


@dataclasses.dataclass(frozen=True)
class Confidence:
    """Probabilities of a classifier on test scenes: as its network gives them, and divided by the temperature.

    `answered` has a line for each of `THRESHOLDS`; `curve` has (share answered, accuracy), the most certain first.
    """

    temperature: float
    before: Reliability
    after: Reliability
    answered: tuple[Answered, ...]
    curve: tuple[tuple[float, float], ...]

    def facts(self) -> dict:
        """For JSON: all but the curve."""
        return {
            "temperature": self.temperature, "before": self.before.facts(), "after": self.after.facts(),
            "answered": [dataclasses.asdict(one) for one in self.answered],
        }  # fmt: skip


def confidence(logits: Tensor, labels: Tensor, temperature: float) -> Confidence:
    """What the logits of a network (N, classes) for scenes of these labels (N,) are worth as probabilities."""
    logits = logits.double()
    probability, right = _answers(logits / temperature, labels)
    answered = []
    for threshold in THRESHOLDS:
        given = probability >= threshold
        accuracy = float(right[given].mean()) if given.any() else None
        answered.append(Answered(threshold, float(given.double().mean()), accuracy))
    return Confidence(
        temperature, _reliability(logits, labels), _reliability(logits / temperature, labels), tuple(answered),
        _curve(probability, right),
    )  # fmt: skip


def _answers(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Probability of the likeliest class, and whether it is the right one, (N,) each."""
    probability, answer = logits.softmax(1).max(1)
    return probability, (answer == labels).double()


def _reliability(logits: Tensor, labels: Tensor) -> Reliability:
    probability, right = _answers(logits, labels)
    bins = (probability * BINS).ceil().long().sub(1).clamp(0, BINS - 1)  # ((k - 1) / 15, k / 15]
    counts = torch.bincount(bins, minlength=BINS)
    sums = (torch.bincount(bins, weights=values, minlength=BINS) for values in (probability, right))
    means = (tuple((total / counts.clamp_min(1)).tolist()) for total in sums)
    return Reliability(tuple(counts.tolist()), *means, float(F.cross_entropy(logits, labels)))


def _curve(probability: Tensor, right: Tensor) -> tuple[tuple[float, float], ...]:
    """At most so many points, evenly spread over the share that is answered."""
    count = len(right)
    accuracy = right[probability.argsort(dim=0, descending=True, stable=True)].cumsum(0) / torch.arange(
        1, count + 1, device=right.device
    )
    ends = sorted({-(-at * count // CURVE_POINTS) for at in range(1, CURVE_POINTS + 1)})
    return tuple((end / count, float(accuracy[end - 1])) for end in ends)
