"""One number that turns what a classifier gives into probabilities that hold."""

import math

import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from torch import Tensor

from lensless.tasks import Classifier

LOWEST, HIGHEST = 0.01, 100.0


def fitted_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature T that makes the labels likeliest under softmax(logits / T), from 0.01 to 100; arXiv 1706.04599.

    The negative log-likelihood is convex in 1 / T. Where every label is the likeliest one it falls for ever as T goes
    to 0, as if the network could not err: so each label counts as right with (n + 1) / (n + 2), as n successes in n
    trials allow (Platt 1999, "Probabilistic outputs for support vector machines"). With many scenes that is next to 1.

    Args:
        logits: of a trained network for scenes that it was not trained on, (n, classes).
        labels: of these scenes, (n,) from 0.
    """
    count, classes = logits.shape
    if classes < 2:
        return 1.0
    logits, labels = logits.detach().double().cpu(), labels.cpu()
    smoothing = classes / (classes - 1) / (count + 2)  # torch shares it out among all classes, the right one included

    def loss(log_temperature: float) -> float:
        return float(F.cross_entropy(logits * math.exp(-log_temperature), labels, label_smoothing=smoothing))

    found = minimize_scalar(
        loss, bounds=(math.log(LOWEST), math.log(HIGHEST)), method="bounded", options={"xatol": 1e-5}
    )
    return math.exp(found.x)


def fit_temperature(task: Classifier, inputs: Tensor, labels: Tensor, at_once: int = 500) -> None:
    """Set the temperature of a classifier for its network as it is now.

    Args:
        task: its network is trained.
        inputs: prepared, of scenes that it was not trained on.
        labels: of these scenes.
    """
    task.network.eval()
    with torch.no_grad():
        logits = torch.cat([task.network(piece) for piece in inputs.split(at_once)])
    task.temperature.fill_(fitted_temperature(logits, labels))
