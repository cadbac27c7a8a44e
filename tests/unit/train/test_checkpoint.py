"""Checkpoints: what is saved is loaded, by those whom it was made for."""

import dataclasses
import json

import pytest
import tiny
import torch

from hardware.errors import CalibrationMismatch, InputError
from lensless import tensor_file
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


def test_a_network_from_before_pictures_were_seen_about_their_level_gives_what_it_gave(tmp_path):
    tiny.run(tmp_path, tiny.reconstruct(), dataclasses.replace(tiny.RECIPE, epochs=1))
    path = tmp_path / checkpoint.WEIGHTS
    tensors, card = tensor_file.read(path)
    scales = {name for name in tensors if name.endswith((".level", ".spread"))}
    assert len(scales) == 4
    tensor_file.write(path, {name: value.clone() for name, value in tensors.items() if name not in scales}, card)
    for stage in checkpoint.load(tmp_path).task.network.stages:
        assert (float(stage.level), float(stage.spread)) == (0, 1)


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
    checkpoint.save(tmp_path, tiny.classify_picture(), {"rig": None})
    loaded = checkpoint.load(tmp_path)
    assert loaded.calibration is None and loaded.task.kind == "classify-picture"


def test_another_format_is_refused(trained):
    tensors, card = tensor_file.read(trained / checkpoint.WEIGHTS)
    tensor_file.write(
        trained / checkpoint.WEIGHTS, {name: one.clone() for name, one in tensors.items()}, {**card, "format": 2}
    )
    with pytest.raises(InputError, match="checkpoint format 2, this version reads 1"):
        checkpoint.load(trained)
