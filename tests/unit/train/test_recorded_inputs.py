"""Inputs of recorded pairs: the same from memory and from a mapped file, computed once and by content."""

import contextlib

import pytest
import tiny
import torch

from lensless.app import setting
from lensless.train.inputs import RecordedInputs

CPU = torch.device("cpu")


@pytest.mark.parametrize("task", tiny.TASKS)
def test_memory_and_disk_give_what_the_task_prepares(task, cache_folder):
    task, scenes = tiny.TASKS[task](), tiny.measured()
    at = torch.randperm(len(scenes), generator=torch.Generator().manual_seed(3))[:17]
    with torch.no_grad():
        expected = task.prepare(scenes.measurements(at, task.reads))
    nothing = torch.zeros(0)
    for in_memory_bytes, kept in ((2**30, 0), (0, 1), (0, 1)):
        inputs_of = RecordedInputs(task, scenes, CPU, contextlib.nullcontext, in_memory_bytes)
        torch.testing.assert_close(inputs_of(nothing, at), expected, rtol=1e-4, atol=1e-5)
        assert len(list(cache_folder.glob("pairs-*.npy"))) == kept
    other = RecordedInputs(task, tiny.measured(seed=1), CPU, contextlib.nullcontext, 0)
    assert not torch.equal(other(nothing, at), inputs_of(nothing, at))
    assert len(list(cache_folder.glob("pairs-*.npy"))) == 2


def test_recorded_scenes_are_known_by_their_measurements_too():
    one, other = tiny.measured(), tiny.measured()
    assert one.fingerprint() == other.fingerprint() != tiny.scenes().fingerprint()
    assert one.subset([1, 2]).fingerprint() != one.subset([2, 1]).fingerprint()
    some = one.subset([5, 3])
    assert torch.equal(some.measurements(torch.tensor([1])), one.measurements(torch.tensor([3])))
    assert torch.equal(some.spread(1).measurements(torch.tensor([0])), one.measurements(torch.tensor([5])))


def test_training_reads_the_measurements_and_not_a_simulation(tmp_path):
    """Frames whose scenes were exchanged teach the exchanged labels."""
    scenes = tiny.measured()
    history = tiny.run(tmp_path / "a", tiny.classify(), scenes=scenes).history
    turned = scenes.subset(torch.arange(len(scenes)))
    object.__setattr__(turned, "values", scenes.values[::-1].copy())
    other = tiny.run(tmp_path / "b", tiny.classify(), scenes=turned).history
    assert [one.loss for one in history] != [one.loss for one in other]


def test_recorded_scenes_meet_their_own_measurements_in_every_block(monkeypatch):
    task, scenes = tiny.classify(), tiny.measured()
    source = tiny.setting()
    whole, _ = setting.prepared(task, source, scenes, 1)
    monkeypatch.setattr(setting, "AT_ONCE", 7)
    blocks, _ = setting.prepared(task, source, scenes, 1)
    torch.testing.assert_close(blocks, whole, rtol=1e-3, atol=1e-3)
    own = task.prepare(scenes.measurements(torch.arange(len(scenes)), task.reads))
    torch.testing.assert_close(whole, own, rtol=1e-3, atol=1e-3)
