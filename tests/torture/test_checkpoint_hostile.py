"""Input promises for checkpoints: a bad file is one clear error, soon and in little memory, and it never runs code."""

import json
import pathlib
import pickle
import struct
import time

import pytest
import tiny
import torch

from hardware.errors import InputError
from lensless import tensor_file
from lensless.train import checkpoint


def card() -> dict:
    rig = {"id": "tiny", "fingerprint": "0"}
    return {"rig": rig, "calibration": tiny.setting().calibration.id, "recipe": {}, "scenes": {}}


def save(folder: pathlib.Path, task="classify") -> pathlib.Path:
    tiny.setting().calibration.save(folder / checkpoint.CALIBRATION)
    checkpoint.save(folder, tiny.TASKS[task](), card())
    return folder / checkpoint.WEIGHTS


def read_mutants(child, folder: pathlib.Path, task: str, count: int) -> None:
    save(folder, task)
    child.begin("read_mutants", folder=folder, count=count, seed=1)
    end = child.end()
    assert end["status"] == 0, end
    found = json.loads((folder / "ends.json").read_text())
    print(f"\n{count} mutants: {found}")
    assert set(found["ends"]) <= {"same", "exit 5"} and found["ends"]["exit 5"] > count / 2
    assert found["slowest_s"] < 10 and found["grew_bytes"] < 2**30 and found["events"] == []


@pytest.mark.parametrize("task", tiny.TASKS)
def test_changed_bytes_are_one_clear_error(tmp_path, child, task):
    read_mutants(child, tmp_path, task, 60)


@pytest.mark.slow
@pytest.mark.parametrize("task", tiny.TASKS)
def test_changed_bytes_are_one_clear_error_in_10_000_mutants(tmp_path, child, task):
    read_mutants(child, tmp_path, task, 10_000)


def refused(folder: pathlib.Path, match: str | None = None) -> None:
    began_s = time.perf_counter()
    with pytest.raises(InputError, match=match) as caught:
        checkpoint.load(folder)
    assert time.perf_counter() - began_s < 10 and caught.value.exit_code == 5
    assert len(str(caught.value)) < 1000 and "weights.safetensors" in str(caught.value)


def rewrite(path: pathlib.Path, change) -> None:
    """The file with what `change(tensors, card)` makes of it; its checksum is right."""
    tensors, found = tensor_file.read(path)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    change(tensors, found)
    tensor_file.write(path, tensors, found)


def header(path: pathlib.Path, text: bytes, rest: bytes = b"", length: int | None = None) -> None:
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + rest)


class Payload:
    """Would leave a file behind if it were unpickled."""

    def __init__(self, canary: pathlib.Path):
        self.canary = canary

    def __reduce__(self):
        return pathlib.Path.touch, (self.canary,)


def test_a_pickle_is_not_opened(tmp_path):
    path = save(tmp_path)
    path.write_bytes(pickle.dumps(Payload(tmp_path / "canary")))
    refused(tmp_path)
    torch.save({"weights": Payload(tmp_path / "canary")}, path)
    refused(tmp_path)
    assert not (tmp_path / "canary").exists()


TENSOR = '"a":{"dtype":"F32","shape":%s,"data_offsets":[0,%d]}'
NESTED = '{"kind":"classify-reconstruction","classes":["a"],"reconstruct":'


@pytest.mark.parametrize(
    ("text", "rest", "length"),
    [
        (b"", b"", None),
        (b"", b"", 2**63),
        (b"{}", b"", None),
        (b"{}", b"", 99_999_999),
        (b"[" * 100_000, b"", None),
        (b'{"__metadata__":{"facts":"' + b"[" * 10**6 + b'"}}', b"", None),
        (b'{"__metadata__":{"facts":"' + b"[]," * 2 * 10**6 + b'"}}', b"", None),
        (b'{"__metadata__":{"facts":"1' + b"0" * 10**6 + b'"}}', b"", None),
        (b'{"__metadata__":{"facts":"[1]"}}', b"", None),
        (b'{"__metadata__":{"facts":"null"}}', b"", None),
        (b'{"__metadata__":{"facts":7}}', b"", None),
        (b'{"__metadata__":{"facts":"{}"},' + (TENSOR % ("[1000000,1000000]", 4)).encode() + b"}", b"abcd", None),
        (b'{"__metadata__":{"facts":"{}"},' + (TENSOR % ("[2]", 4 * 10**12)).encode() + b"}", b"abcd", None),
        (b'{"__metadata__":{"facts":"{}"},' + (TENSOR % ("[18446744073709551615,2]", 4)).encode() + b"}", b"", None),
        (b'{"__metadata__":{"facts":"{}"},"a":{"dtype":"__import__","shape":[],"data_offsets":[0,0]}}', b"", None),
    ],
    ids=lambda value: None if isinstance(value, bytes) else str(value),
)
def test_a_hostile_header_is_refused(tmp_path, text, rest, length):
    header(save(tmp_path), text, rest, length)
    refused(tmp_path)


@pytest.mark.parametrize("numbers", ["F8_E4M3", "F8_E5M2", "F8_E8M0", "F4", "F6_E2M3", "BF16", "U64", "BOOL", "C64"])
def test_strange_kinds_of_number_are_refused(tmp_path, numbers):
    text = f'{{"__metadata__":{{"facts":"{{}}"}},"a":{{"dtype":"{numbers}","shape":[8],"data_offsets":[0,8]}}}}'
    header(save(tmp_path), text.encode(), bytes(8))
    refused(tmp_path)


def described(**changes) -> dict:
    return {**tiny.classify().config(), **changes}


NOTHING = {"kind": "reconstruct", "scene_shape": [8, 8], "sensor_shape": [12, 12]}


@pytest.mark.parametrize(
    "task",
    [
        described(kind="os.system"),
        described(kind=None),
        described(kind=["classify"]),
        described(count=129),
        described(count=-1),
        described(count="20"),
        described(count=1e300),
        described(reads=2**62),
        described(hidden=[10**9] * 3),
        described(hidden=[1] * 10**5),
        described(hidden=7),
        described(dropout=-1),
        described(dropout="x"),
        described(classes=["a"] * 10**5),
        described(classes=None),
        described(sensor_shape=[10**9, 10**9]),
        described(scene_shape=[8]),
        described(surprise=1),
        described(__class__="x"),
        {"kind": "classify"},
        {**NOTHING, "stages": 10**9},
        {**NOTHING, "stages": 0},
        {**NOTHING, "width": 10**9},
        {**NOTHING, "scene_shape": [16_000, 16_000], "sensor_shape": [16_000, 16_000]},
        {**NOTHING, "scene_shape": [0, 0]},
        {**NOTHING, "scene_shape": [-8, 8]},
        {**NOTHING, "scene_shape": "88"},
        {"kind": "classify-reconstruction", "classes": ["a"], "reconstruct": described()},
        {"kind": "classify-reconstruction", "classes": ["a"], "reconstruct": 3},
        {"kind": "classify-reconstruction", "classes": ["a"]},
        json.loads(NESTED * 200 + "1" + "}" * 200),
        {},
        [],
        "classify",
    ],
    ids=lambda task: None,
)
def test_a_hostile_description_is_refused_before_anything_is_allocated(tmp_path, task):
    rewrite(save(tmp_path), lambda tensors, found: found.update(task=task))
    refused(tmp_path)


def without(key: str):
    return lambda tensors, found: found.pop(key)


def put(name: str, tensor) -> None:
    return lambda tensors, found: tensors.update({name: tensor(tensors[name])})


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (without("rig"), "its card lacks"),
        (without("calibration"), "its card lacks"),
        (without("task"), "its card lacks"),
        (without("format"), "format None"),
        (lambda tensors, found: found.update(rig={"id": 3}), "its card lacks"),
        (lambda tensors, found: tensors.pop("projection.matrix"), "'projection.matrix' is None"),
        (lambda tensors, found: tensors.update(other=torch.zeros(1)), "'other'"),
        (put("projection.matrix", lambda old: old[:1]), "projection.matrix"),
        (put("projection.matrix", torch.Tensor.double), "float64"),
        (put("network.layers.0.weight", lambda old: old * torch.nan), "network.layers.0.weight.*not finite"),
        (put("projection.reads", lambda old: old - 1), "reads pixels -1 to"),
        (put("projection.reads", lambda old: old + 10**6), "expected 0 to 143"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_card_or_numbers_that_do_not_fit_are_refused(tmp_path, change, match):
    rewrite(save(tmp_path), change)
    refused(tmp_path, match)
