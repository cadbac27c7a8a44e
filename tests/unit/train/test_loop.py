"""The loop: it stops where a number breaks, says where, and overwrites nothing; a seed decides everything."""

import dataclasses
import math

import pytest
import tiny
import torch

from hardware.errors import ConfigurationError, InputError, TrainingDiverged
from lensless import tensor_file
from lensless.tasks import Task
from lensless.train import state
from lensless.train.batches import Cursor, SceneBatches, derived_seed
from lensless.train.loop import learning_rate_share

STEPS = 80 // tiny.RECIPE.batch_size


class Snapshots:
    """The bytes of all files after each epoch; the lock of the running training is none of them."""

    def __init__(self, folder):
        self.folder, self.taken = folder, []

    def __call__(self, progress) -> None:
        if progress.record:
            self.taken.append(self.now())

    def now(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir() if path.suffix != ".lock"}


def figures(history) -> list[tuple]:
    return [(record.epoch, record.loss, record.validation) for record in history]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_stops_the_run_and_nothing_is_overwritten(tmp_path, monkeypatch, value):
    task, snapshots, calls = tiny.classify(), Snapshots(tmp_path), iter(range(1, 10**6))
    loss = task.loss
    bad = 2 * STEPS + 3  # the third step of the third epoch
    monkeypatch.setattr(task, "loss", lambda *given: loss(*given) * (value if next(calls) == bad else 1))
    with pytest.raises(TrainingDiverged) as caught:
        tiny.run(tmp_path, task, watch=snapshots)
    message = str(caught.value)
    scenes = SceneBatches(tiny.scenes().pictures, tiny.scenes().labels, tiny.RECIPE).indices(2, 2)[:8].tolist()
    assert f"the loss is {value} at epoch 3, step 3 (scenes {scenes} ...)" in message
    best = max(state.load(tmp_path)[1]["history"], key=lambda record: record["validation"])["epoch"] + 1
    assert f"The best weights, of epoch {best}, are in {tmp_path}" in message and "learning rate" in message
    assert snapshots.now() == snapshots.taken[-1] and len(snapshots.taken) == 2


def test_a_weight_that_breaks_in_the_last_step_of_an_epoch_is_not_stored(tmp_path):
    """No loss comes after it to tell; a state with such a weight would end every later try, too."""
    task, snapshots, calls = tiny.classify(), Snapshots(tmp_path), iter(range(1, 10**6))
    weight = task.network.layers[0].weight
    weight.register_hook(lambda gradient: gradient * (math.nan if next(calls) == 2 * STEPS else 1))
    with pytest.raises(
        TrainingDiverged, match=rf"the weight 'layers.0.weight' is not finite at epoch 2, step {STEPS} "
    ):
        tiny.run(tmp_path, task, watch=snapshots)
    assert snapshots.now() == snapshots.taken[-1] and len(snapshots.taken) == 1
    assert len(tiny.run(tmp_path, tiny.classify()).history) == tiny.RECIPE.epochs  # and so it can go on


def test_a_validation_that_is_no_number_stops_the_run(tmp_path, monkeypatch):
    task = tiny.reconstruct()
    monkeypatch.setattr(task, "metric", lambda output, target: torch.full((len(output),), math.nan))
    with pytest.raises(TrainingDiverged, match=r" of the validation is nan at epoch 1, .*No epoch was finished"):
        tiny.run(tmp_path, task)
    assert not (tmp_path / state.NEWEST).exists() and not (tmp_path / "weights.safetensors").exists()


def test_one_seed_is_one_history_to_the_last_digit(tmp_path):
    runs = [
        tiny.run(tmp_path / name, tiny.classify(), dataclasses.replace(tiny.RECIPE, seed=seed, epochs=2)).history
        for name, seed in (("a", 5), ("b", 5), ("c", 6))
    ]
    assert repr(figures(runs[0])) == repr(figures(runs[1]))
    assert figures(runs[0]) != figures(runs[2])


def test_a_run_goes_on_only_as_it_was_begun(tmp_path):
    tiny.run(tmp_path, tiny.classify())
    before = Snapshots(tmp_path).now()
    faster = dataclasses.replace(tiny.RECIPE, learning_rate=1e-2)
    for name, task, options in (
        ("learning_rate", tiny.classify(), {"recipe": faster}),
        ("kind", tiny.reconstruct(), {}),
        ("scenes", tiny.classify(), {"scenes": tiny.scenes(seed=4)}),
    ):
        with pytest.raises(ConfigurationError, match=rf"holds a training run with {name} = .*--out"):
            tiny.run(tmp_path, task, **options)
    assert Snapshots(tmp_path).now() == before


def test_a_run_that_an_older_version_began_goes_on(tmp_path):
    """Its U-Nets saw pictures about 0, in units of 1, and its state does not say so."""

    def as_it_was() -> Task:
        task = tiny.reconstruct()
        for stage in task.network.stages:
            stage.see_about(torch.tensor(0.0), torch.tensor(1.0))
        return task

    whole, part = tmp_path / "whole", tmp_path / "part"
    tiny.run(whole, as_it_was(), dataclasses.replace(tiny.RECIPE, epochs=2))
    part.mkdir()
    tensors, facts = tensor_file.read(whole / state.PREVIOUS)
    assert len(facts["history"]) == 1
    old = {name: value.clone() for name, value in tensors.items() if not name.endswith((".level", ".spread"))}
    assert len(tensors) - len(old) == 8  # two stages, and their averages
    tensor_file.write(part / state.NEWEST, old, facts)
    tiny.run(part, tiny.reconstruct(), dataclasses.replace(tiny.RECIPE, epochs=2))
    ends = [tensor_file.read(folder / state.NEWEST)[0] for folder in (whole, part)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_state_of_something_else_is_an_input_error(tmp_path):
    tiny.run(tmp_path, tiny.classify())
    tensors, facts = tensor_file.read(tmp_path / state.NEWEST)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    without_history = {name: value for name, value in facts.items() if name != "history"}
    for bad_tensors, bad_facts in (
        ({}, facts),
        (tensors, without_history),
        (tensors, {}),
        (tensors, {**facts, "task": "classify"}),
        (tensors, {**facts, "history": [1]}),
        ({**tensors, "else.where": torch.zeros(1)}, facts),
        ({**tensors, "optimizer.900.exp_avg": torch.zeros(1)}, facts),
        ({name: tensor.flatten()[:1] for name, tensor in tensors.items()}, facts),
    ):
        tensor_file.write(tmp_path / state.NEWEST, bad_tensors, bad_facts)
        with pytest.raises(InputError, match=r"state.safetensors is no state of this training.*--out"):
            tiny.run(tmp_path, tiny.classify())


def test_batches_of_an_epoch_hold_each_scene_once_in_an_order_of_its_own():
    scenes = tiny.scenes()
    batches = SceneBatches(scenes.pictures, scenes.labels, dataclasses.replace(tiny.RECIPE, augmentation=None))
    orders = [torch.cat([batches.indices(epoch, step) for step in range(STEPS)]) for epoch in (0, 1, 0)]
    assert [order.sort().values.tolist() for order in orders] == [list(range(80))] * 3
    assert torch.equal(orders[0], orders[2]) and not torch.equal(orders[0], orders[1])
    pictures, labels, chosen = batches[1, 2]
    assert torch.equal(chosen, batches.indices(1, 2))
    assert torch.equal(labels, scenes.labels[chosen]) and torch.equal(pictures * 255, scenes.pictures[chosen].float())


def test_a_batch_depends_on_epoch_and_step_alone():
    scenes = tiny.scenes()
    one, other = (SceneBatches(scenes.pictures, scenes.labels, tiny.RECIPE) for _ in range(2))
    forwards = [one[at] for at in Cursor(0, STEPS, 3)]
    backwards = [other[at] for at in reversed(list(Cursor(0, STEPS, 3)))][::-1]
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(forwards, backwards, strict=True))
    assert list(Cursor(4, STEPS, 3)) == [divmod(at, STEPS) for at in range(4, 3 * STEPS)]
    assert len(Cursor(4, STEPS, 3)) == 3 * STEPS - 4


def test_derived_seeds_differ():
    seeds = {derived_seed(seed, epoch, step) for seed in range(10) for epoch in range(30) for step in range(30)}
    assert len(seeds) == 9000 and all(0 <= seed < 2**63 for seed in seeds)
    assert derived_seed(1, 2) != derived_seed(2, 1)


def test_the_learning_rate_rises_and_falls_to_nothing():
    shares = [learning_rate_share(step, 1000) for step in range(1000)]
    assert shares[0] == pytest.approx(1 / 200, rel=1e-3)
    assert (
        max(shares) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.2)), abs=0.01) and shares.index(max(shares)) == 199
    )
    assert shares[-1] < 1e-5 and learning_rate_share(0, 1) == 1


def test_the_precision_that_was_asked_for_is_not_announced(capfd):
    from lensless.train import fabric_on

    fabric_on(torch.device("cpu"), "bf16-mixed")
    told = capfd.readouterr()
    assert told.out == "" and told.err == ""
