"""Tasks under a budget: trained, evaluated and used from the command line, stored small, run as plain networks."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from hardware.errors import InputError, TrainingDiverged
from lensless import tensor_file
from lensless.app.options import SharingMethod
from lensless.sharing import METHODS, SharedNetwork
from lensless.train import checkpoint, state


def test_the_command_knows_all_methods():
    assert {method.value for method in SharingMethod} == METHODS.keys()


@pytest.mark.parametrize(
    "kind, options",
    [
        ("reconstruct", ("--budget", "25%")),
        ("classify", ("--budget", "35000", "--sharing", "superweights")),
        pytest.param("reconstruct", ("--budget", "40kB@float32", "--network", "learned", "--rank", 6),
                     marks=pytest.mark.slow),
        pytest.param("reconstruct", ("--budget", "70%", "--sharing", "ssn", "--network", "cycle", "--width", 4,
                                     "--count", 60), marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_a_task_keeps_its_budget_from_training_to_pictures(lensless, train, recording, tmp_path, kind, options):
    out = train(tmp_path / "run", kind, "--epochs", 1, *options)
    found = checkpoint.load(out)
    network, numbers = found.task.network, found.card["numbers"]
    assert isinstance(network, SharedNetwork)
    assert numbers["trainable"] == network.plan.trainable <= network.plan.budget < network.plan.natural
    tensors, _ = tensor_file.read(out / checkpoint.WEIGHTS)
    stored = sum(tensor.numel() for name, tensor in tensors.items() if name.startswith("network.banks"))
    gains = sum(len(bank.rows) for bank in network.plan.banks)
    assert stored == sum(bank.trained for bank in network.plan.banks) + gains  # and no weight that is made
    given = []
    for small in ([], ["--small"]):
        command, more = ("reconstruct", ["--out", tmp_path / f"pictures{len(small)}"]), ["--json", "-"]
        command = command if kind == "reconstruct" else ("classify", [])
        result = lensless(command[0], out, recording, *command[1], *small, *more)
        assert result.exit_code == 0, result.output
        assert f"{network.plan.trainable:,} trained numbers" in result.stderr
        facts = json.loads(result.stdout)
        given.append([one["psnr_db"] if kind == "reconstruct" else one["probability"]
                      for one in facts["pictures" if kind == "reconstruct" else "labels"]])  # fmt: skip
    assert given[0] == pytest.approx(given[1], rel=1e-4)


def test_evaluation_counts_trained_stored_and_resident(lensless, train, tmp_path):
    out = train(tmp_path / "run", "classify", "--epochs", 1, "--budget", "10000")
    result = lensless("evaluate", out, "--no-sharp", "--json", tmp_path / "facts.json")
    assert result.exit_code == 0, result.output
    (facts,) = json.loads((tmp_path / "facts.json").read_text())["evaluations"]
    assert facts["numbers"]["trainable"] <= 10_000
    page = (out / "report.html").read_text()
    assert "Stored" in page and "Resident" in page and "budget 10000, sharing cells" in page


def test_a_label_after_a_shared_reconstruction(lensless, train, recording, tmp_path):
    before = train(tmp_path / "before", "reconstruct", "--epochs", 1, "--budget", "30%")
    after = tmp_path / "after"
    result = lensless("train", "classify", "--after", before, "--scenes", "glyphs", "--count", 300, "--epochs", 1,
                      "--budget", "40%", "--out", after, "--device", "cpu")  # fmt: skip
    assert result.exit_code == 0, result.output
    task = checkpoint.load(after).task
    assert isinstance(task.network, SharedNetwork) and isinstance(task.reconstruct.network, SharedNetwork)
    assert lensless("classify", after, recording).exit_code == 0


def test_a_run_goes_on_and_another_budget_is_another_run(lensless, tiny, tmp_path):
    def run(out, *options):
        """Train two epochs, or go on to them."""
        return lensless("train", "classify", "--rig", tiny, "--rays", 1024, "--scenes", "glyphs", "--count", 600,
                          "--epochs", 2, "--device", "cpu", "--out", out, *options)  # fmt: skip

    whole = tmp_path / "whole"
    assert run(whole, "--budget", "30%").exit_code == 0
    part = tmp_path / "part"
    part.mkdir()
    for file in whole.iterdir():  # as if it had been killed after its first epoch
        if file.name == state.PREVIOUS:
            shutil.copy(file, part / state.NEWEST)
        elif file.name == "calibration.npz":
            shutil.copy(file, part)
    assert run(part, "--budget", "30%").exit_code == 0
    ends = [tensor_file.read(folder / state.NEWEST)[0] for folder in (whole, part)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    refused = run(whole, "--budget", "40%")
    assert refused.exit_code == 2 and "--out" in refused.stderr


@pytest.mark.parametrize(
    "options, words",
    [
        (("--sharing", "cells"), "say with --budget how far"),
        (("--budget", "some"), "expected a whole number such as 40000"),
        (("--budget", "100"), "needs"),
    ],
)
def test_what_cannot_be_is_refused_in_words(lensless, tiny, tmp_path, options, words):
    result = lensless("train", "reconstruct", "--rig", tiny, "--rays", 1024, "--scenes", "glyphs", "--count", 300,
                      "--out", tmp_path / "run", *options)  # fmt: skip
    assert result.exit_code == 2 and words in result.stderr and not (tmp_path / "run").exists()


def test_a_checkpoint_whose_plan_is_of_another_network_is_refused(train, tmp_path):
    out = train(tmp_path / "run", "classify", "--epochs", 1, "--budget", "30%")
    tensors, card = tensor_file.read(out / checkpoint.WEIGHTS)
    for change in ({"fingerprint": "0" * 16}, {"banks": []}, {"format": 7}, {"weights": 3}):
        changed = card | {"task": card["task"] | {"sharing": card["task"]["sharing"] | change}}
        tensor_file.write(out / checkpoint.WEIGHTS, tensors, changed)
        with pytest.raises(InputError, match="description of its task"):
            checkpoint.load(out)


def test_a_search_trains_thrice_and_goes_on_where_it_was(lensless, train, tmp_path):
    options = ("classify", "--epochs", 1, "--budget", "90%", "--sharing", "superweights", "--search")
    out = train(tmp_path / "run", *options)
    for stage in ("warm-up", "tied"):
        assert isinstance(checkpoint.load(out / "search" / stage).task.network, SharedNetwork)
    network = checkpoint.load(out).task.network
    assert network.plan.method == "superweights" and network.plan.trainable <= network.plan.budget
    before = (out / checkpoint.WEIGHTS).read_bytes()
    (out / "search" / "tied.safetensors").unlink()
    train(out, *options)
    assert (out / checkpoint.WEIGHTS).read_bytes() == before
    refused = lensless("train", "classify", "--search", "--budget", "50%", "--out", tmp_path / "no")
    assert refused.exit_code == 2 and "--sharing superweights" in refused.stderr


def test_inspect_shows_who_shares_what(lensless, train, classify_run, tmp_path):
    out = train(tmp_path / "run", "reconstruct", "--epochs", 1, "--budget", "30%")
    page, facts = tmp_path / "page.html", tmp_path / "facts.json"
    result = lensless("inspect", "--model", out, "--page", page, "--json", facts, "--device", "cpu")
    assert result.exit_code == 0, result.output
    text, told = page.read_text(), json.loads(facts.read_text())
    for words in ("What was spent", "Which layers share what", "How alike", "Who agrees", "Layer by layer"):
        assert words in text
    count = len(told["weights"])
    assert len(told["conflict"]) == len(told["similarity"]) == count
    assert all(told["conflict"][at][at] == 1 for at in range(count)) and told["trained"] <= told["natural"] * 0.3
    labels = train(tmp_path / "labels", "classify", "--epochs", 1, "--budget", "30%")
    draw = np.random.default_rng(0)
    for name in ("dark", "light"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for at in range(20):
            picture = draw.integers(0, 128, (16, 16), np.uint8) + np.uint8(127 * (name == "light"))
            Image.fromarray(picture).save(tmp_path / "pictures" / name / f"{at}.png")
    other = lensless("inspect", "--model", labels, "--scenes", f"folder:{tmp_path / 'pictures'}", "--page", page)
    assert other.exit_code == 2 and "name scenes of the same classes" in " ".join(other.stderr.split())
    refused = lensless("inspect", "--model", classify_run)
    assert refused.exit_code == 2 and "trained with --budget" in refused.stderr
    assert lensless("inspect", "cannula-v1", "--model", out).exit_code == 2


def test_small_goes_with_shared_weights_only(lensless, classify_run, recording):
    result = lensless("classify", classify_run, recording, "--small")
    assert result.exit_code == 2 and "weights of its own" in result.stderr


def test_a_template_that_is_not_finite_stops_training_with_the_names_of_its_layers(train, tmp_path, monkeypatch):
    from lensless.tasks import Task

    begin = Task.share

    def broken(self, *arguments):
        begin(self, *arguments)
        self.network.banks[0].numbers.data[3] = torch.nan

    monkeypatch.setattr(Task, "share", broken)
    with pytest.raises(AssertionError, match=r"'banks.0.numbers' \(templates of the layers stages\.") as told:
        train(tmp_path / "run", "reconstruct", "--epochs", 1, "--budget", "30%")
    assert TrainingDiverged.__name__ not in str(told.value)
