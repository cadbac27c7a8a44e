"""The state of a run: the newest, the one before it, and what makes a run another one."""

import logging
import os

import pytest
import torch

from hardware.errors import ConfigurationError, InputError, StorageError
from lensless import tensor_file
from lensless.train import state


def store(folder, epoch: int) -> None:
    state.store(folder, {"a": torch.full((3,), float(epoch))}, {"epoch": epoch})


def epoch_of(found) -> int:
    tensors, facts = found
    assert torch.equal(tensors["a"], torch.full((3,), float(facts["epoch"])))
    return facts["epoch"]


def no_second_names(*arguments):
    raise PermissionError(1, "Operation not permitted")


@pytest.fixture(params=["links", "no links"])
def file_system(request, monkeypatch):
    """With hard links, and without, as on FAT and on some network disks."""
    if request.param == "no links":
        monkeypatch.setattr(os, "link", no_second_names)


def test_the_newest_and_the_one_before_it_are_kept(tmp_path, file_system):
    assert state.load(tmp_path) is None
    for epoch in (1, 2, 3):
        store(tmp_path, epoch)
        assert epoch_of(state.load(tmp_path)) == epoch
    assert epoch_of(tensor_file.read(tmp_path / state.PREVIOUS)) == 2
    assert sorted(os.listdir(tmp_path)) == [state.PREVIOUS, state.NEWEST]


def test_a_damaged_state_is_put_aside_and_the_one_before_it_taken(tmp_path, file_system, caplog):
    store(tmp_path, 1), store(tmp_path, 2)
    (tmp_path / state.NEWEST).write_bytes(b"half a fi")
    assert epoch_of(state.load(tmp_path)) == 1
    assert "damaged" in caplog.text and "Going on from the state before it, after epoch 1" in caplog.text
    assert caplog.records[0].levelno == logging.WARNING
    assert (tmp_path / state.DAMAGED).read_bytes() == b"half a fi"
    store(tmp_path, 2)  # what was damaged has not become the previous one
    assert epoch_of(tensor_file.read(tmp_path / state.PREVIOUS)) == 1


def test_a_state_that_is_gone_is_told_and_the_one_before_it_taken(tmp_path, caplog):
    """As after a kill between the two renames on a disk without hard links."""
    store(tmp_path, 1), store(tmp_path, 2)
    (tmp_path / state.NEWEST).unlink()
    assert epoch_of(state.load(tmp_path)) == 1
    assert "does not exist" in caplog.text and "after epoch 1" in caplog.text


def test_two_damaged_states_are_an_input_error(tmp_path):
    store(tmp_path, 1)
    (tmp_path / state.NEWEST).write_bytes(b"a")
    with pytest.raises(InputError, match="damaged"):
        state.load(tmp_path)
    (tmp_path / state.PREVIOUS).write_bytes(b"b")
    with pytest.raises(InputError, match=r"--out to begin again\. The state before it cannot be read either"):
        state.load(tmp_path)
    assert (tmp_path / state.NEWEST).read_bytes() == b"a"


def test_a_previous_state_that_cannot_be_made_is_a_storage_error(tmp_path, monkeypatch):
    store(tmp_path, 1)
    monkeypatch.setattr(os, "link", no_second_names)
    monkeypatch.setattr(os, "replace", no_second_names)
    with pytest.raises(StorageError, match=r"state.previous.*is untouched"):
        store(tmp_path, 2)
    assert epoch_of(state.load(tmp_path)) == 1


def test_a_state_left_with_two_names_by_a_kill_leaves_no_litter(tmp_path):
    store(tmp_path, 1)
    os.link(tmp_path / state.NEWEST, tmp_path / state.PREVIOUS)
    (tmp_path / (state.PREVIOUS + ".part")).write_bytes(b"older litter")
    store(tmp_path, 2)
    assert sorted(os.listdir(tmp_path)) == [state.PREVIOUS, state.NEWEST]


RUN = {
    "task": {"kind": "classify", "hidden": [24, 12]},
    "recipe": {"epochs": 4, "learning_rate": 1e-3, "augmentation": {"turn_deg": 10.0}, "betas": (0.9, 0.99)},
    "data": {"scenes": "blobs 1234", "frames": 4},
}


def test_the_same_settings_are_the_same_run_also_after_a_file(tmp_path):
    state.store(tmp_path, {}, RUN)
    state.check_same_run(tmp_path, state.load(tmp_path)[1], RUN)


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("task", "hidden", [24, 13]),
        ("recipe", "learning_rate", 1.0000001e-3),
        ("recipe", "augmentation", {"turn_deg": 11.0}),
        ("recipe", "augmentation", None),
        ("recipe", "new", 1),
        ("data", "scenes", "blobs 1235"),
        ("data", "frames", 1),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path, part, key, value):
    state.store(tmp_path, {}, RUN)
    other = {**RUN, part: {**RUN[part], key: value}}
    with pytest.raises(ConfigurationError, match=f"{key} = .*--out") as caught:
        state.check_same_run(tmp_path, state.load(tmp_path)[1], other)
    assert str(tmp_path) in str(caught.value) and caught.value.exit_code == 2


def test_all_settings_that_differ_are_named(tmp_path):
    state.store(tmp_path, {}, RUN)
    other = {"task": {**RUN["task"], "hidden": [1]}, "recipe": {**RUN["recipe"], "new": 1}, "data": RUN["data"]}
    with pytest.raises(ConfigurationError, match=r"hidden = .*, not \[1\]; new = its default, not 1; go on"):
        state.check_same_run(tmp_path, state.load(tmp_path)[1], other)
