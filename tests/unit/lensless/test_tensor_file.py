"""Files of tensors and facts: whole or refused, and never half."""

import os
import shutil
import types

import pytest
import safetensors
import torch

from hardware.errors import InputError, StorageError
from lensless import tensor_file

TENSORS = {
    "scalar": torch.tensor(3.5),
    "empty": torch.zeros(0, 4),
    "half": torch.arange(6).to(torch.bfloat16),
    "whole": torch.arange(12).view(3, 4).T,
    "conv": torch.rand(4, 3, 2, 2).to(memory_format=torch.channels_last),
}
FACTS = {"text": "Schlüssel", "pi": 3.141592653589793, "nested": [1, {"a": None}]}


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "deep" / "folder" / "a.safetensors"
    tensor_file.write(path, TENSORS, FACTS)
    tensors, facts = tensor_file.read(path)
    assert facts == FACTS and tensors.keys() == TENSORS.keys()
    assert all(
        torch.equal(tensors[name], TENSORS[name]) and tensors[name].dtype == TENSORS[name].dtype for name in TENSORS
    )
    assert os.listdir(path.parent) == ["a.safetensors"]


def test_each_changed_byte_of_the_tensors_is_found(tmp_path):
    path = tmp_path / "a.safetensors"
    tensor_file.write(path, TENSORS, FACTS)
    whole = path.read_bytes()
    for at in range(8 + int.from_bytes(whole[:8], "little"), len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(InputError, match="SHA-256"):
            tensor_file.read(path)


def test_a_file_that_is_replaced_while_it_is_read_is_read_again(tmp_path, monkeypatch):
    """safetensors opens a file by its name twice: facts of one checkpoint could come with weights of the next."""
    path, reads = tmp_path / "a.safetensors", []

    def replaced_in_between(*arguments, **named):
        opened = safetensors.safe_open(*arguments, **named)
        if not reads:
            tensor_file.write(path, {"a": torch.ones(4)}, {"version": 2})
        reads.append(1)
        return opened

    tensor_file.write(path, {"a": torch.zeros(4)}, {"version": 1})
    monkeypatch.setattr(tensor_file, "safe_open", replaced_in_between)
    tensors, facts = tensor_file.read(path)
    assert facts == {"version": 2} and torch.equal(tensors["a"], torch.ones(4)) and len(reads) == 2


def test_a_full_disk_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    tensor_file.write(path, TENSORS, FACTS)
    before = path.read_bytes()
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=10**6))
    with pytest.raises(StorageError, match=r"1 MB are free, 67 MB are needed.*free some space") as caught:
        tensor_file.write(path, {"a": torch.ones(4)}, {})
    assert caught.value.exit_code == 4
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.safetensors"]


def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StorageError, match="cannot write"):
        tensor_file.write(tmp_path / "file" / "a.safetensors", TENSORS, FACTS)
    with pytest.raises(StorageError, match="--out"):
        tensor_file.make_folder(tmp_path / "file" / "b")


def test_a_failing_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    tensor_file.write(path, TENSORS, FACTS)
    before = path.read_bytes()

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match=r"No space left on device.*untouched"):
        tensor_file.write(path, {"a": torch.ones(4)}, {})
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["a.safetensors"]


def test_what_is_not_there_or_no_file_is_an_input_error(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing", ".", "pipe", "nul\0"):
        with pytest.raises(InputError, match="lensless") as caught:
            tensor_file.read(tmp_path / name)
        assert caught.value.exit_code == 5
