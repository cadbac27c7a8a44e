"""What every accuracy must stand beside: guesses that know little, and a linear one that knows as much."""

import torch
from torch import Tensor

RIDGE_WEIGHTS = torch.logspace(-6, 2, 9, dtype=torch.float64)


def chance(labels: Tensor) -> float:
    """Accuracy of always naming the class that is most frequent among labels (N,)."""
    return float(torch.bincount(labels).max() / len(labels))


class TotalLight:
    """Names the class from one number, the total light of a frame: the most frequent one among training frames like it.

    Args:
        totals, labels: of the training frames, (N,).
        bins: of equal frequency, into which the totals are sorted.
    """

    def __init__(self, totals: Tensor, labels: Tensor, bins: int = 64):
        bins = max(1, min(bins, len(totals) // 10))
        self.edges = torch.quantile(totals.double(), torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1])
        classes = int(labels.max()) + 1
        counts = torch.bincount(self._bin(totals) * classes + labels, minlength=bins * classes)
        self.most_frequent = counts.reshape(bins, classes).argmax(1)

    def __call__(self, totals: Tensor) -> Tensor:
        return self.most_frequent[self._bin(totals)]

    def _bin(self, totals: Tensor) -> Tensor:
        return torch.searchsorted(self.edges, totals.double().contiguous())


class RidgeClassifier:
    """The linear baseline: least squares from standardised features to one-hot labels, largest output wins.

    The ridge weight, relative to the number of samples, is the best of `RIDGE_WEIGHTS` on the validation set.

    Args:
        features, labels: (N, k) and (N,), to fit.
        validation: features and labels to choose the weight on.
    """

    def __init__(self, features: Tensor, labels: Tensor, validation: tuple[Tensor, Tensor]):
        features = features.double()
        self.mean, self.spread = features.mean(0), features.std(0).clamp_min(1e-12)
        design = self._design(features)
        classes = int(labels.max()) + 1
        right = design.T @ torch.nn.functional.one_hot(labels, classes).double()
        gram = design.T @ design
        identity = torch.eye(len(gram), dtype=torch.float64, device=gram.device)
        scored = []
        for weight in RIDGE_WEIGHTS.tolist():
            self.solution = torch.linalg.solve(gram + weight * len(design) * identity, right)
            scored.append((float((self(validation[0]) == validation[1]).double().mean()), weight, self.solution))
        _, self.weight, self.solution = max(scored, key=lambda one: one[0])

    def __call__(self, features: Tensor) -> Tensor:
        return (self._design(features.double()) @ self.solution).argmax(1)

    def _design(self, features: Tensor) -> Tensor:
        standard = (features - self.mean) / self.spread
        return torch.cat([standard, torch.ones_like(standard[:, :1])], 1)
