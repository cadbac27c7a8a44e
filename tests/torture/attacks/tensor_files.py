"""Checkpoints, states of a training, transfer matrices: numbers with a card, in a format that has its own tests."""

import json
import pathlib
import struct
from collections.abc import Callable

import torch

from attacks.attack import Attacks, Place
from attacks.good import good_trained, good_training, good_transfer
from lensless import tensor_file
from lensless.train import checkpoint, state

ATTACKS = Attacks()


def card(change: Callable[[dict], object]) -> Callable[[Place], str]:
    """A whole checkpoint with another card; its checksum is right."""

    def build(place: Place) -> str:
        folder, weights = good_trained(place)
        tensors, found = tensor_file.read(pathlib.Path(weights))
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        change(found)
        tensor_file.write(pathlib.Path(weights), tensors, found)
        return folder

    return build


def in_rig(**changes) -> Callable[[Place], str]:
    return card(lambda found: found["rig"].update(changes))


def in_facts(part: str, **changes) -> Callable[[Place], str]:
    return card(lambda found: found["rig"]["facts"][part].update(changes))


ATTACKS.simple(
    "trained",
    "trained",
    no_facts=card(lambda found: found["rig"].pop("facts")),
    facts_of_a_text=in_rig(facts="/etc/passwd"),
    rays_of_a_bare_sensor=in_rig(rays=10**12),
    rays_of_a_text=in_rig(rays="x"),
    huge_sensor=in_facts("sensor", shape=[17_000, 17_000]),
    infinite=in_facts("scene", distance_mm=float("inf")),
    target=in_facts("sensor", _target_="os.system"),
    no_frames=card(lambda found: found.pop("frames")),
    frames_of_a_text=card(lambda found: found.update(frames="x")),
    frames_none=card(lambda found: found.update(frames=None)),
    many_frames=card(lambda found: found.update(frames=10**12)),
    no_rig=card(lambda found: found.update(rig=None)),
    task_of_a_text=card(lambda found: found.update(task="os.system")),
)


def begun(**changes) -> Callable[[Place], str]:
    """A training that was begun, with another state; its checksum is right."""

    def build(place: Place) -> str:
        folder, newest = good_training(place)
        tensors, found = tensor_file.read(pathlib.Path(newest))
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        for change in changes.values():
            change(tensors, found)
        tensor_file.write(pathlib.Path(newest), tensors, found)
        (pathlib.Path(folder) / state.PREVIOUS).unlink(missing_ok=True)
        return folder

    return build


def states(**changes: Callable[[dict, dict], object]) -> None:
    ATTACKS.simple("training", "state", **{name: begun(change=change) for name, change in changes.items()})


def record(**changes) -> Callable[[dict, dict], object]:
    return lambda tensors, found: found["history"][-1].update(changes)


states(
    infinite_epoch=lambda tensors, found: found.update(epoch=float("inf")),
    negative_epoch=lambda tensors, found: found.update(epoch=-5),
    far_epoch=lambda tensors, found: found.update(epoch=10**9),
    epoch_of_a_text=lambda tensors, found: found.update(epoch="4"),
    epoch_unlike_its_records=lambda tensors, found: found.update(epoch=2),
    no_recipe=lambda tensors, found: found.pop("recipe"),
    recipe_of_a_text=lambda tensors, found: found.update(recipe="os.system"),
    no_history=lambda tensors, found: found.update(history=[], epoch=0, data=None),
    history_of_a_number=lambda tensors, found: found.update(history=7),
    record_of_a_text=record(validation="x"),
    seconds_of_a_text=record(seconds="x"),
    nan_record=record(validation=float("nan")),
    record_with_more=record(__class__="x"),
    weight_away=lambda tensors, found: tensors.pop(next(iter(tensors))),
    weight_more=lambda tensors, found: tensors.update({"os.system": torch.zeros(1)}),
    weight_of_no_part=lambda tensors, found: tensors.update({"a": torch.zeros(1)}),
    optimizer_of_none=lambda tensors, found: tensors.update({"optimizer.9999.step": torch.zeros(1)}),
)


def matrix(change: Callable[[dict, dict], object]) -> Callable[[Place], str]:
    def build(place: Place) -> str:
        path = pathlib.Path(good_transfer(place)[0])
        tensors, found = tensor_file.read(path)
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        change(tensors, found)
        tensor_file.write(path, tensors, found)
        return str(path)

    return build


ATTACKS.simple(
    "transfer",
    "good.safetensors",
    path=matrix(lambda tensors, found: found.update(left="/etc/passwd", scene_shape="/etc/passwd")),
    huge_shape=matrix(lambda tensors, found: found.update(scene_shape=[10**400, 3])),
    infinite_shape=matrix(lambda tensors, found: found.update(scene_shape=[float("inf"), 3])),
    long_error=matrix(lambda tensors, found: found.update(truncation_error=10**400)),
    nan_error=matrix(lambda tensors, found: found.update(truncation_error=float("nan"))),
    no_scale=matrix(lambda tensors, found: found.update(scales={"left": 0})),
    long_scale=matrix(lambda tensors, found: found.update(scales={"left": 10**400})),
    scale_of_a_list=matrix(lambda tensors, found: found.update(scales=["left"])),
    nan=matrix(lambda tensors, found: tensors.update(left=tensors["left"] * torch.nan)),
    name_of_a_path=matrix(lambda tensors, found: tensors.update({"../../etc/passwd": torch.zeros(1)})),
    noise_of_another_shape=matrix(lambda tensors, found: tensors.update(noise_std=torch.zeros(5))),
)


@ATTACKS.add("transfer", "trained", says="safetensors", may_read=False)
def header_with_paths(place):
    tensor = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4], "location": str(place.trap), "file": "/etc/passwd"}
    head = json.dumps({"__metadata__": {"facts": "{}", "sha256": str(place.trap)}, str(place.trap): tensor}).encode()
    path = place.file(checkpoint.WEIGHTS, struct.pack("<Q", len(head)) + head + bytes(4))
    place.file(checkpoint.CALIBRATION, b"")
    return path
