"""Checkpoints: what is saved is loaded, by those whom it was made for."""

import dataclasses
import json

import pytest
import tiny
import torch

from hardware.errors import CalibrationMismatch, InputError
from lensless import tensor_file
from lensless.nn.unet import UNet
from lensless.train import checkpoint


@pytest.fixture(params=tiny.TASKS)
def trained(request, tmp_path):
    """A folder with a trained task, and the task as it was at its best epoch."""
    task = tiny.TASKS[request.param]()
    tiny.run(tmp_path, task, dataclasses.replace(tiny.RECIPE, epochs=1))
    return tmp_path


def test_a_checkpoint_gives_the_same_outputs_and_says_where_it_comes_from(trained):
    first, second = checkpoint.load(trained), checkpoint.load(trained)
    y = torch.rand(3, 1, 12, 12)
    with torch.no_grad():
        assert torch.equal(first.task(y), second.task(y))
    assert not first.task.training
    setting = tiny.setting_of(first.task)
    assert first.calibration.id == setting.calibration.id
    assert first.card == json.loads((trained / checkpoint.CARD).read_text())
    assert first.card["rig"]["fingerprint"] == setting.rig.spec.fingerprint
    assert first.card["numbers"] == dataclasses.asdict(first.task.numbers())


def without(path, names):
    """The file, as if it had been written without these numbers."""
    tensors, card = tensor_file.read(path)
    assert names <= tensors.keys()
    tensor_file.write(path, {name: value.clone() for name, value in tensors.items() if name not in names}, card)


def scales(task) -> set[str]:
    """Names of the levels and spreads of its U-Nets."""
    return {name for name in task.state_dict() if name.startswith("network.") and name.endswith((".level", ".spread"))}


@pytest.mark.parametrize("kind", ["reconstruct", "learned"])
def test_a_network_from_before_pictures_were_seen_about_their_level_gives_what_it_gave(tmp_path, kind):
    task = tiny.TASKS[kind]()
    for module in task.modules():
        if isinstance(module, UNet):
            module.see_about(torch.tensor(0.0), torch.tensor(1.0))  # as it was then
    tiny.run(tmp_path, task, dataclasses.replace(tiny.RECIPE, epochs=1))
    y = torch.rand(3, 1, 12, 12)
    with torch.no_grad():
        gave = checkpoint.load(tmp_path).task(y)
        without(tmp_path / checkpoint.WEIGHTS, scales(task))
        assert torch.equal(checkpoint.load(tmp_path).task(y), gave)


def test_numbers_that_a_file_never_lacked_are_not_made_up(tmp_path):
    task = tiny.TASKS["learned"]()
    tiny.run(tmp_path, task, dataclasses.replace(tiny.RECIPE, epochs=1))
    kept = (tmp_path / checkpoint.WEIGHTS).read_bytes()
    for name in ("spread", "network.correct.spread", "network.correct.level"):
        without(tmp_path / checkpoint.WEIGHTS, {name})
        with pytest.raises(InputError, match=f"do not fit its description: '{name}'"):
            checkpoint.load(tmp_path)
        (tmp_path / checkpoint.WEIGHTS).write_bytes(kept)


@pytest.mark.parametrize("kind", ["reconstruct", "learned", "cycle"])
def test_scales_of_nothing_are_refused(tmp_path, kind):
    task = tiny.TASKS[kind]()
    tiny.run(tmp_path, task, dataclasses.replace(tiny.RECIPE, epochs=1))
    path = tmp_path / checkpoint.WEIGHTS
    kept = path.read_bytes()
    for name in {*scales(task), "spread", "bright"} & {
        name for name in task.state_dict() if not name.endswith("level")
    }:
        tensors, card = tensor_file.read(path)
        zero = torch.tensor(-9.0) if name == "bright" else torch.zeros(())
        tensor_file.write(path, {key: value.clone() for key, value in tensors.items()} | {name: zero}, card)
        with pytest.raises(InputError, match="expected above"):
            checkpoint.load(tmp_path)
        path.write_bytes(kept)


@pytest.mark.parametrize("key", ["scenes", "recipe"])
def test_a_card_that_does_not_say_what_it_was_trained_on_is_refused(tmp_path, key):
    tiny.run(tmp_path, tiny.reconstruct(), dataclasses.replace(tiny.RECIPE, epochs=1))
    path = tmp_path / checkpoint.WEIGHTS
    tensors, card = tensor_file.read(path)
    for wrong in (None, 3, {"train": 4} if key == "scenes" else []):
        tensor_file.write(path, {name: value.clone() for name, value in tensors.items()}, card | {key: wrong})
        with pytest.raises(InputError, match="its card lacks"):
            checkpoint.load(tmp_path)


def test_only_its_own_rig_may_use_it(trained):
    found = checkpoint.load(trained)
    card, spec = found.card, tiny.setting_of(found.task).rig.spec
    checkpoint.check_rig(card, spec.id, spec.fingerprint, "here")
    kind = card["task"]["kind"].split("-")[0]
    for other, name in (("other", "FILE.toml, with the file of rig 'other'"), ("bare-v1~3", "bare-v1~3")):
        with pytest.raises(
            CalibrationMismatch, match=rf"trained for rig 'tiny.*lensless train {kind} --rig {name}$"
        ) as caught:
            checkpoint.check_rig(card, other, spec.fingerprint, "here")
        assert caught.value.exit_code == 6
    changed = dataclasses.replace(spec, sensor=dataclasses.replace(spec.sensor, prnu=0.02))
    assert changed.id == spec.id and changed.fingerprint != spec.fingerprint
    with pytest.raises(CalibrationMismatch, match="a changed rig needs a new id"):
        checkpoint.check_rig(card, changed.id, changed.fingerprint, "here")
    with pytest.raises(CalibrationMismatch, match="sharp pictures"):
        checkpoint.check_rig({**card, "rig": None}, spec.id, spec.fingerprint, "here")


def test_a_checkpoint_is_refused_beside_another_calibration(trained):
    other = dataclasses.replace(tiny.setting().calibration, white_dn=1.0)
    other.save(trained / checkpoint.CALIBRATION, overwrite=True)
    with pytest.raises(CalibrationMismatch, match=f"calibration.npz beside it is {other.id}") as caught:
        checkpoint.load(trained)
    assert caught.value.exit_code == 6
    (trained / checkpoint.CALIBRATION).unlink()
    with pytest.raises(InputError):
        checkpoint.load(trained)


def test_a_task_for_sharp_pictures_has_no_calibration(tmp_path):
    checkpoint.save(tmp_path, tiny.classify_picture(), {"rig": None, "recipe": {}, "scenes": {}})
    loaded = checkpoint.load(tmp_path)
    assert loaded.calibration is None and loaded.task.kind == "classify-picture"


def test_another_format_is_refused(trained):
    tensors, card = tensor_file.read(trained / checkpoint.WEIGHTS)
    tensor_file.write(
        trained / checkpoint.WEIGHTS, {name: one.clone() for name, one in tensors.items()}, {**card, "format": 2}
    )
    with pytest.raises(InputError, match="checkpoint format 2, this version reads 1"):
        checkpoint.load(trained)
