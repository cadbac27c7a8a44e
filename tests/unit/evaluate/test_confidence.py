"""Calibration error and what abstaining gains, beside torchmetrics and counts by hand."""

import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from lensless.evaluate.confidence import BINS, CURVE_POINTS, confidence


def drawn(count: int = 5000, classes: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(count, classes, generator=draw)
    return logits, torch.multinomial((logits / 2).softmax(1), 1, generator=draw)[:, 0]


def test_the_calibration_error_is_that_of_torchmetrics():
    logits, labels = drawn()
    found = confidence(logits, labels, 2.0)
    for one, temperature in ((found.before, 1.0), (found.after, 2.0)):
        shares = (logits.double() / temperature).softmax(1)
        theirs = multiclass_calibration_error(shares, labels, shares.shape[1], BINS, norm="l1")
        assert one.calibration_error == pytest.approx(float(theirs), abs=1e-6)
        likelihood = shares[torch.arange(len(labels)), labels].log().mean()
        assert one.negative_log_likelihood == pytest.approx(-float(likelihood))
    assert found.after.calibration_error < 0.03 < 0.1 < found.before.calibration_error  # drawn with 2


def test_those_that_are_answered_are_counted_by_hand():
    shares = torch.tensor([[0.995, 0.005], [0.93, 0.07], [0.85, 0.15], [0.40, 0.60], [0.55, 0.45]])
    found = confidence(shares.log(), torch.tensor([0, 0, 1, 1, 0]), 1.0)
    lines = {one.threshold: (one.share, one.accuracy) for one in found.answered}
    assert lines == {
        0.5: (1.0, pytest.approx(0.8)), 0.8: (pytest.approx(0.6), pytest.approx(2 / 3)), 0.9: (0.4, 1.0),
        0.95: (0.2, 1.0), 0.99: (0.2, 1.0),
    }  # fmt: skip
    assert found.curve == ((0.2, 1.0), (0.4, 1.0), (0.6, pytest.approx(2 / 3)), (0.8, 0.75), (1.0, pytest.approx(0.8)))
    unsure = confidence(torch.zeros(3, 4), torch.tensor([0, 0, 1]), 1.0)
    assert [(one.share, one.accuracy) for one in unsure.answered] == [(0.0, None)] * 5


def test_a_long_curve_is_thinned_and_ends_with_all_scenes():
    logits, labels = drawn()
    curve = confidence(logits, labels, 2.0).curve
    assert len(curve) == CURVE_POINTS and curve[-1] == (
        1.0,
        pytest.approx(float((logits.argmax(1) == labels).double().mean())),
    )
    assert curve[9][1] > curve[-1][1]
