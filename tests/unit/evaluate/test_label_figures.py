"""Figures of labels, beside torchmetrics and counts by hand."""

import pytest
import torch
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_precision, multiclass_recall

from lensless.evaluate.labels import label_figures

NAMES = tuple("abcdefg")


def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    """Uneven classes, of which the last occurs nowhere and is never named."""
    draw = torch.Generator().manual_seed(3)
    labels = (torch.rand(900, generator=draw).square() * 6).long()
    logits = torch.randn(900, 7, generator=draw)
    logits[torch.arange(900), labels] += 1.5
    logits[:, 0] += 1
    logits[:, 6] = -10
    return logits, labels


def test_top_k_and_means_over_classes_are_those_of_torchmetrics():
    logits, labels = drawn()
    found = label_figures(logits, labels, NAMES)
    for k, share in found.top.items():
        theirs = multiclass_accuracy(logits, labels, 7, top_k=k, average="micro")
        assert share == pytest.approx(float(theirs))
    assert list(found.top) == [1, 2, 3] and found.top[1] < found.top[2] < found.top[3]
    assert found.recall == pytest.approx(float(multiclass_recall(logits, labels, 7)))
    assert found.precision == pytest.approx(float(multiclass_precision(logits, labels, 7)))
    assert abs(found.recall - found.top[1]) > 0.005  # uneven, so the two differ


def test_each_class_is_counted_by_hand():
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    named = torch.tensor([0, 1, 1, 2, 1, 1, 1])
    found = label_figures(torch.nn.functional.one_hot(named, 4).float(), labels, tuple("wxyz"))
    w, x, y, z = found.classes
    assert (w.count, w.recall, w.precision, w.taken_for, w.mistakes) == (4, 0.25, 1.0, "x", 2)
    assert (x.count, x.recall, x.precision, x.taken_for, x.mistakes) == (2, 1.0, 2 / 5, None, 0)
    assert (y.count, y.recall, y.precision, y.taken_for, y.mistakes) == (1, 0.0, 0.0, "x", 1)
    assert (z.count, z.recall, z.precision, z.taken_for, z.mistakes) == (0, None, None, None, 0)
    assert [one.name for one in found.worst] == ["y", "w", "x"]
    assert found.recall == pytest.approx((0.25 + 1 + 0) / 3)


def test_two_classes_have_no_second_likeliest():
    assert label_figures(torch.eye(2), torch.tensor([0, 1]), ("even", "odd")).top == {1: 1.0}
    assert list(label_figures(torch.eye(3), torch.arange(3), tuple("abc")).top) == [1, 2]
