import numpy as np
import pytest
import torch

from lensless.evaluate.baselines import RidgeClassifier, TotalLight, chance


def test_chance_names_the_most_frequent_class():
    assert chance(torch.tensor([0, 1, 1, 2])) == 0.5


def test_total_light_is_as_good_as_the_best_threshold_between_two_normal_classes():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (40_000,), generator=generator)
    totals = labels + 0.5 * torch.randn(40_000, generator=generator)
    rule = TotalLight(totals[:20_000], labels[:20_000])
    share = float((rule(totals[20_000:]) == labels[20_000:]).float().mean())
    assert share == pytest.approx(0.8413, abs=0.01)  # the normal distribution function at (0.5 / 0.5)


def test_total_light_without_information_is_chance():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 10, (40_000,), generator=generator)
    totals = torch.rand(40_000, generator=generator)
    rule = TotalLight(totals[:20_000], labels[:20_000])
    assert float((rule(totals[20_000:]) == labels[20_000:]).float().mean()) == pytest.approx(0.1, abs=0.01)


def test_the_linear_rule_solves_the_normal_equations_of_its_weight():
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(500, 7, generator=generator) * torch.arange(1, 8) + 3
    labels = (features @ torch.randn(7, 3, generator=generator)).argmax(1)
    rule = RidgeClassifier(features[:400], labels[:400], (features[400:], labels[400:]))
    standard = ((features[:400] - features[:400].mean(0)) / features[:400].std(0)).double().numpy()
    design = np.hstack([standard, np.ones((400, 1))])
    right = design.T @ np.eye(3)[labels[:400].numpy()]
    by_numpy = np.linalg.solve(design.T @ design + rule.weight * 400 * np.eye(8), right)
    assert rule.solution.numpy() == pytest.approx(by_numpy, abs=1e-5)
    assert float((rule(features[400:]) == labels[400:]).float().mean()) > 0.85
