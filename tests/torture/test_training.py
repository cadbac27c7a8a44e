"""Training promises: a run that was killed ends with the same bits, and a checkpoint is the old one or the new one.

On one machine with one set of versions. What is compared: weights, their average, the optimiser's tensors after every
epoch, losses and validations, and the best checkpoint. The seconds of a run are its own.
"""

import random
import select
import time

import pytest
import tiny
import torch
from training_tools import result_of

from hardware.errors import StorageError
from lensless import tensor_file
from lensless.train import checkpoint, state

KILLED = -9


@pytest.fixture(scope="module")
def uninterrupted(child, tmp_path_factory):
    """The result of a whole run of a task, and its seconds."""
    known = {}

    def of(task: str):
        if task not in known:
            folder = tmp_path_factory.mktemp(task)
            child.begin("train", folder=folder, task=task)
            end = child.end()
            assert end["status"] == 0
            known[task] = result_of(folder), end["seconds"]
        return known[task]

    return of


def check_same(folder, whole) -> None:
    """Every epoch that was logged is as in the whole run, however often it was begun, and so is the end."""
    result = result_of(folder)
    assert set(result.log) <= set(whole.log)
    assert (result.digest, result.history, result.best) == (whole.digest, whole.history, whole.best)
    assert not list(folder.glob("*.part")) and not (folder / state.DAMAGED).exists()


def kill_at_random(child, folder, task: str, uninterrupted, kills: int, seed: int) -> None:
    whole, seconds = uninterrupted(task)
    draw = random.Random(seed)
    ends = [
        child.do("train", folder=folder, task=task, kill_after_s=draw.uniform(0, 0.4) * seconds) for _ in range(kills)
    ]
    assert set(ends) <= {KILLED, 0}
    assert child.do("train", folder=folder, task=task) == 0
    check_same(folder, whole)
    epochs = len(whole.history)
    print(f"\n{task}: {ends.count(KILLED)} kills at random moments, the same bits after each of {epochs} epochs")


@pytest.mark.slow
@pytest.mark.parametrize("task", tiny.TASKS)
def test_a_killed_run_ends_with_the_same_bits(tmp_path, child, uninterrupted, task):
    kill_at_random(child, tmp_path, task, uninterrupted, kills=4, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("task", tiny.TASKS)
def test_a_run_killed_60_times_ends_with_the_same_bits(tmp_path, child, uninterrupted, task):
    for turn in range(6):
        folder = tmp_path / str(turn)
        folder.mkdir()
        kill_at_random(child, folder, task, uninterrupted, kills=10, seed=turn)


def test_a_run_killed_at_every_step_of_saving_ends_with_the_same_bits(tmp_path, child, uninterrupted):
    """Once in each place: half a file written, before each fsync, rename and second name, of checkpoint and state."""
    for at in range(1, 13):
        assert child.do("train", folder=tmp_path, task="classify", die_at=at) == KILLED
    assert child.do("train", folder=tmp_path, task="classify") == 0
    check_same(tmp_path, uninterrupted("classify")[0])


@pytest.mark.slow
def test_one_loader_worker_gives_the_same_bits(tmp_path, child, uninterrupted):
    assert child.do("train", folder=tmp_path, task="classify", workers=1) == 0
    check_same(tmp_path, uninterrupted("classify")[0])


@pytest.mark.slow
def test_a_killed_run_on_recorded_pairs_ends_with_the_same_bits(tmp_path, child):
    """With workers and without, and killed in between."""
    results = []
    for at, (workers, die_at) in enumerate([(0, 0), (1, 0), (0, 40)]):
        folder = tmp_path / str(at)
        folder.mkdir()
        if die_at:
            assert child.do("train", folder=folder, task="classify", recorded=True, die_at=die_at) == KILLED
        assert child.do("train", folder=folder, task="classify", recorded=True, workers=workers) == 0
        results.append(result_of(folder))
    whole = results[0]
    for one in results[1:]:
        assert (one.digest, one.history, one.best) == (whole.digest, whole.history, whole.best)


@pytest.mark.slow
def test_a_run_killed_with_two_workers_goes_on_without_any(tmp_path, child, uninterrupted):
    whole, _ = uninterrupted("classify")
    assert child.do("train", folder=tmp_path, task="classify", workers=2, die_at=50) == KILLED
    assert 3 < len(tensor_file.read(tmp_path / state.NEWEST)[1]["history"]) < len(whole.history)
    assert child.do("train", folder=tmp_path, task="classify") == 0
    check_same(tmp_path, whole)


def test_a_finished_run_is_not_trained_again(tmp_path, child, uninterrupted):
    assert child.do("train", folder=tmp_path, task="classify") == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert child.do("train", folder=tmp_path, task="classify") == 0
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    # Killed between its last two files: the weights hold the whole history, card.json none of it, or it is missing.
    card = tmp_path / checkpoint.CARD
    for old in ('{"history": []}', None):
        card.with_name(card.name + ".part").write_text("half of a card")
        card.unlink() if old is None else card.write_text(old)
        assert child.do("train", folder=tmp_path, task="classify") == 0
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def version_of(folder) -> int:
    """Of a checkpoint that `save_for_ever` wrote; all its weights are of one save."""
    loaded = checkpoint.load(folder)
    version = loaded.card["version"]
    assert all(bool((weights == version).all()) for weights in loaded.task.network.parameters())
    return version


def save_and_kill(child, folder, kills: int, seed: int) -> None:
    draw = random.Random(seed)
    tiny.setting().calibration.save(folder / checkpoint.CALIBRATION)
    reads, first = 0, 1
    for _ in range(kills):
        child.begin("save_for_ever", folder=folder, first=first, kill_after_s=draw.uniform(0, 0.04))
        while not select.select([child.stdout], [], [], 0)[0]:  # a reader of its own, while the other writes
            if (folder / checkpoint.WEIGHTS).exists():
                assert version_of(folder) >= first - 1
                reads += 1
            time.sleep(0.002)
        assert child.end()["status"] == KILLED
        acked = (folder / "acked.txt").read_text().split() if (folder / "acked.txt").exists() else []
        if acked:
            found, known = version_of(folder), max(int(acked[-1]), first - 1)
            assert found in (known, known + 1)  # one may be written and not yet acknowledged
            first = found + 1
    print(f"\n{kills} kills in {first - 1} saves, {reads + kills} reads: always a whole checkpoint")
    assert first > kills / 2 and reads > kills


@pytest.mark.slow
def test_a_checkpoint_is_the_old_one_or_the_new_one(tmp_path, child):
    save_and_kill(child, tmp_path, kills=50, seed=1)


@pytest.mark.slow
def test_a_checkpoint_is_the_old_one_or_the_new_one_1000_times(tmp_path, child):
    save_and_kill(child, tmp_path, kills=1000, seed=2)


@pytest.mark.parametrize("share", [0.0, 0.5, *(pytest.param(share, marks=pytest.mark.slow) for share in (0.01, 0.99))])
def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, child, share):
    tiny.setting().calibration.save(tmp_path / checkpoint.CALIBRATION)
    card = {"rig": {"id": "tiny", "fingerprint": "0"}, "calibration": tiny.setting().calibration.id}
    checkpoint.save(tmp_path, tiny.classify(), card)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    size = len(before[checkpoint.WEIGHTS])
    child.begin("fill_disk", folder=tmp_path, limit_bytes=int(share * size))
    end = child.end()
    assert end["status"] == 4 and "what stood there before is untouched" in end["told"]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_newest_state_is_lost_and_the_run_ends_with_the_same_bits(tmp_path, child, uninterrupted):
    whole, _ = uninterrupted("classify")
    assert child.do("train", folder=tmp_path, task="classify", die_at=45) == KILLED
    newest = tmp_path / state.NEWEST
    epochs = len(tensor_file.read(newest)[1]["history"])
    content = bytearray(newest.read_bytes())
    content[-40] ^= 1  # a single bit, in a weight
    newest.write_bytes(content)
    child.begin("train", folder=tmp_path, task="classify")
    told = child.end()["told"]
    assert "state.safetensors is damaged" in told
    assert f"Going on from the state before it, after epoch {epochs - 1}" in told
    assert (tmp_path / state.DAMAGED).read_bytes() == content
    (tmp_path / state.DAMAGED).unlink()
    check_same(tmp_path, whole)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_history_and_another_does_not(tmp_path, child, uninterrupted):
    whole, _ = uninterrupted("reconstruct")
    assert child.do("train", folder=tmp_path, task="reconstruct") == 0
    check_same(tmp_path, whole)
    assert torch.tensor([one[1:] for one in whole.history]).isfinite().all()


def test_a_folder_in_which_another_training_runs_is_refused(tmp_path):
    def refused_now(progress) -> None:
        if progress.step == 1:
            with pytest.raises(StorageError, match="has another writer"):
                tiny.run(tmp_path, tiny.classify())

    history = tiny.run(tmp_path, tiny.classify(), watch=refused_now).history
    assert len(history) == tiny.RECIPE.epochs
    assert tiny.run(tmp_path, tiny.classify()).history == history  # the first has ended: the lock is gone
