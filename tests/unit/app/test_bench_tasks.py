"""The results table: its cells are commands, it goes on where it was stopped, and tells what it left out."""

import dataclasses
import json
import shlex
import subprocess

import pytest
import torch

from hardware.errors import ConfigurationError, InputError
from lensless.app.bench import tasks
from lensless.app.bench.tasks_cells import CELLS, MOST_CELLS, Cell
from lensless.app.bench.tasks_cost import operations
from lensless.app.screen import Screen
from lensless.tasks import Classify


def test_the_table_is_no_longer_than_promised_and_every_cell_has_a_name_and_a_command():
    assert len(CELLS) <= MOST_CELLS and len({cell.name for cell in CELLS}) == len(CELLS)
    assert {cell.after for cell in CELLS} - {None} <= {cell.name for cell in CELLS if cell.gives_picture}
    for cell in CELLS:
        assert cell.training(1, False)[0] in ("reconstruct", "classify")


COST = {"flop": 3e6, "latency_ms": 1.5, "training_s": 90.0, "threads": 1}


@dataclasses.dataclass(eq=False)
class Ended:
    """A process that has ended."""

    code: int

    def wait(self) -> int:
        return self.code


@pytest.fixture
def cells(monkeypatch, tmp_path):
    """Three cells on a folder where nothing is trained: what would be typed, and what it ends with."""
    typed, ends = [], {}

    def run(words, **_):
        command = words[3:]
        typed.append(command)
        for part, code in ends.items():
            if part in shlex.join(command):
                return Ended(code)
        if command[0] == "evaluate":
            place = command[command.index("--json") + 1]
            folders = command[1 : command.index("--no-sharp")] if "--no-sharp" in command else command[1:2]
            metric = "psnr_db" if "picture" in command[1] else "accuracy"
            sharp = {"name": "same network on the sharp picture", metric: 0.99}
            lines = [{"name": "own", metric: 20 + at} for at in range(len(folders))]
            one = [
                {
                    "metric": metric, "stored_bytes": 5e6, "lines": [line, {"name": "Wiener", metric: 11.0}, sharp],
                    "numbers": {"trainable": 7, "from_calibration": 8, "fitted_on_scenes": 9},
                }
                for line in lines
            ]  # fmt: skip
            with open(place, "w") as file:
                json.dump({"evaluations": one}, file)
        return Ended(0)

    monkeypatch.setattr(subprocess, "Popen", run)
    monkeypatch.setattr(tasks, "cost_of", lambda folder: dict(COST))
    monkeypatch.setattr(tasks, "write_sheet", lambda folders, path, data: None)
    monkeypatch.setattr(
        tasks,
        "CELLS",
        (
            Cell("picture", "cannula-v1", "mnist", "network", "reconstruct --width 8", 15, seeds=2, quick=True),
            Cell("label", "cannula-v1", "mnist", "without", "classify", 20),
            Cell("many", "cannula-v1", "mnist", "without", "classify", 20, seeds=2, sharp=True),
            Cell("after", "cannula-v1", "mnist", "after", "classify", after="picture"),
        ),
    )
    return lambda **wish: tasks.run(tasks.Wish(tmp_path, jobs=1, **wish), Screen()), typed, ends, tmp_path


def test_each_cell_is_trained_and_evaluated_by_its_commands(cells, capsys):
    run, typed, _, out = cells
    run()
    assert [shlex.join(words) for words in typed][:4] == [
        f"train reconstruct --width 8 --rig cannula-v1 --scenes mnist --seed 0 --epochs 15 --out {out}/picture-0",
        f"train reconstruct --width 8 --rig cannula-v1 --scenes mnist --seed 1 --epochs 15 --out {out}/picture-1",
        f"evaluate {out}/picture-0 {out}/picture-1 --no-sharp --json {out}/picture.evaluation.json",
        f"train classify --rig cannula-v1 --scenes mnist --seed 0 --epochs 20 --out {out}/label-0",
    ]
    assert shlex.join(typed[-2]) == (
        f"train classify --scenes mnist --seed 0 --after {out}/picture-0 --out {out}/after-0"
    )
    shown = capsys.readouterr().out
    assert "3.0" in shown and "1.50" in shown and "5.0 MB" in shown
    page = (out / "results.md").read_text()
    for row in ("cannula-v1 | mnist | network", "20.50 (20.00 .. 21.00) |  | 11.00 | ", "7 | 8 | 9 | 5.0 MB"):
        assert page.count(f"| picture | {row} |") == 1
    assert f"```sh\nlensless {shlex.join(typed[3])}\n" in page


def test_what_is_there_is_not_made_again_and_of_other_commands_refused(cells):
    run, typed, _, out = cells
    run(only=("label",))
    assert len(typed) == 2
    run()
    assert len(typed) == 2 + 3 + 4 + 2
    assert shlex.join(typed[8]) == f"evaluate {out}/many-0 --json {out}/many.sharp.json"
    again = len(typed)
    run()
    assert len(typed) == again
    with pytest.raises(ConfigurationError, match=r"picture\.json is of made_by = .*name another folder with --out"):
        run(quick=True)
    (out / "label.json").write_text("{")
    with pytest.raises(InputError, match=r"label\.json: cannot be read .*delete it"):
        run()


def test_missing_scenes_and_failures_leave_a_cell_out_and_what_needs_it(cells):
    run, _, ends, out = cells
    ends["label-0"] = 5
    (out / "label.log").write_text("step 1\rstep 2\nerror: no scenes 'mnist' in here; fetch them\n")
    found = run()
    assert found["left_out"] == {"label": "no scenes 'mnist' in here; fetch them"} and len(found["cells"]) == 3
    (out / "label.log").unlink()
    assert found["cells"]["many"]["sharp"] == 0.99
    ends["label-0"] = 1
    assert run()["left_out"] == {"label": f"a command ended with exit code 1, see {out}/label.log"}
    for name in ("picture", "after"):
        (out / f"{name}.json").unlink()
    ends["picture-1"] = 5
    assert list(run()["left_out"]) == ["picture", "label", "after"]


def test_without_any_cell_there_is_nothing_to_look_at(cells):
    run, _, ends, _ = cells
    ends["label-0"] = 5
    with pytest.raises(InputError, match=r"no cell could be made: label: a command ended with exit code 5"):
        run(only=("label",))


def test_figures_are_kept_before_costs_are_measured_when_nothing_else_runs(cells, monkeypatch):
    run, typed, _, out = cells
    monkeypatch.setattr(tasks, "cost_of", lambda folder: {}["cost"])
    with pytest.raises(KeyError):
        run()
    assert "cost" not in json.loads((out / "label.json").read_text())
    count = len(typed)
    monkeypatch.setattr(tasks, "cost_of", lambda folder: dict(COST))
    run()
    assert len(typed) == count and json.loads((out / "label.json").read_text())["cost"]["flop"] == 3e6


def test_a_quick_look_trains_a_few_cells_hardly(cells):
    run, typed, _, _ = cells
    found = run(quick=True)
    assert list(found["cells"]) == ["picture"] and found["quick"]
    assert "--count 1000 --epochs 2" in shlex.join(typed[0]) and len(typed) == 2


def test_an_unknown_cell_is_refused_with_those_there_are(cells):
    run, *_ = cells
    with pytest.raises(
        ConfigurationError, match="--only 'labels': no such cell; there are picture, label, many, after"
    ):
        run(only=("labels",))


def test_operations_are_those_of_the_matrix_products():
    task = Classify((4, 4), (6, 6), ("a", "b", "c"), 5, 20, (7,)).eval()
    products = 5 * 20 + 5 * 5 + 2 * 5 * 7 + 5 * 3
    assert operations(task, torch.zeros(1, 1, 6, 6)) == 2 * products
