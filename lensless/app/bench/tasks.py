"""`lensless bench tasks`: one table of what networks make of frames, rig x scenes x method, beside their baselines.

Every cell is made by commands that anybody can type: `lensless train` and `lensless evaluate`, which this module runs,
several cells side by side. A cell that is there is not made again, so that a run of hours goes on where it was stopped.
"""

import dataclasses
import json
import pathlib

from hardware.errors import ConfigurationError, InputError
from lensless.app.bench import tasks_table
from lensless.app.bench.kept import read_kept
from lensless.app.bench.side_by_side import Job, processors, side_by_side, typed
from lensless.app.bench.tasks_cells import CELLS, Cell
from lensless.app.bench.tasks_cost import cost_of
from lensless.app.bench.tasks_sheet import write_sheet
from lensless.app.results import check_out
from lensless.app.screen import Screen
from lensless.app.text_file import write
from lensless.app.version import code_version
from lensless.tensor_file import make_folder


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is to be measured, by the options of the command."""

    out: pathlib.Path
    quick: bool = False
    only: tuple[str, ...] = ()
    data: pathlib.Path | None = None
    jobs: int | None = None
    cells: tuple[Cell, ...] | None = None  # those of the results table

    @property
    def table(self) -> tuple[Cell, ...]:
        return CELLS if self.cells is None else self.cells


def run(wish: Wish, screen: Screen) -> dict:
    """Make all cells that are not there yet; the table, and the facts of each cell."""
    check_out(wish.out)
    cells = {cell.name: cell for cell in _chosen(wish)}
    jobs = {name: _job(cell, wish) for name, cell in cells.items()}
    found = {
        name: read_kept(_kept(wish, name), _made_by(job)) for name, job in jobs.items() if _kept(wish, name).exists()
    }
    missing = {}

    def ended(job: Job, code: int) -> None:
        if code:
            missing[job.name] = _reason(job, code)
            screen.say(f"{job.name} is left out: {missing[job.name]}")
        else:
            found[job.name] = _facts(cells[job.name], job, wish)
            _keep(wish, job.name, found[job.name])

    make_folder(wish.out)
    to_do = [job for name, job in jobs.items() if name not in found]
    side_by_side(to_do, wish.jobs or min(processors(), max(1, len(to_do))), screen, ended)
    for name in (name for name in found if "cost" not in found[name]):  # now that nothing runs beside it
        found[name]["cost"] = cost_of(wish.out / f"{name}-0")
        _keep(wish, name, found[name])
    found = {name: found[name] for name in cells if name in found}
    if found:
        tasks_table.show(found, screen)
    for name, reason in missing.items():
        screen.say(f"{name} was left out: {reason}")
    if not found:
        raise InputError(f"no cell could be made: {'; '.join(f'{name}: {why}' for name, why in missing.items())}")
    sheet, page = wish.out / "sheet.png", wish.out / "results.md"
    drawn = write_sheet({name: wish.out / f"{name}-0" for name in found}, sheet, wish.data)
    tasks_table.write_page(found, page)
    screen.say(f"look at it: {f'{sheet.resolve()}, ' if drawn else ''}{page.resolve()}")
    return {"cells": found, "left_out": missing, "quick": wish.quick}


def _chosen(wish: Wish) -> list[Cell]:
    names = [cell.name for cell in wish.table]
    if unknown := [name for name in wish.only if name not in names]:
        raise ConfigurationError(f"--only {unknown[0]!r}: no such cell; there are {', '.join(names)}")
    wanted = set(wish.only) or {cell.name for cell in wish.table if cell.quick or not wish.quick}
    needed = {cell.after for cell in wish.table if cell.name in wanted}
    return [cell for cell in wish.table if cell.name in wanted | needed]


def _job(cell: Cell, wish: Wish) -> Job:
    """What makes a cell: a training for each seed, one evaluation of all, and of a headline the first seed beside the
    same network on the sharp picture, which takes a training of its own.
    """
    data = [] if wish.data is None else ["--data", str(wish.data)]
    folders = [str(wish.out / f"{cell.name}-{seed}") for seed in range(1 if wish.quick else cell.seeds)]
    commands = []
    for seed, folder in enumerate(folders):
        after = [] if cell.after is None else ["--after", str(wish.out / f"{cell.after}-{seed}")]
        commands.append(["train", *cell.training(seed, wish.quick), *after, "--out", folder, *data])
    commands.append(["evaluate", *folders, "--no-sharp", *data, "--json", str(_result(wish, cell))])
    if cell.sharp and not wish.quick:
        commands.append(["evaluate", folders[0], *data, "--json", str(_result(wish, cell, "sharp"))])
    return Job(cell.name, commands, wish.out / f"{cell.name}.log", cell.after)


def _made_by(job: Job) -> dict:
    return {"made_by": [typed(words) for words in job.commands]}


def _result(wish: Wish, cell: Cell, which: str = "evaluation") -> pathlib.Path:
    return wish.out / f"{cell.name}.{which}.json"


def _kept(wish: Wish, name: str) -> pathlib.Path:
    return wish.out / f"{name}.json"


def _keep(wish: Wish, name: str, facts: dict) -> None:
    write(_kept(wish, name), json.dumps(facts, indent=2) + "\n")


def _reason(job: Job, code: int) -> str:
    """What the command that failed said last, or where to look."""
    said = job.log.read_text(errors="replace") if job.log.is_file() else ""
    errors = [line for line in said.replace("\r", "\n").splitlines() if line.startswith("error: ")]
    return errors[-1].removeprefix("error: ") if errors else f"a command ended with exit code {code}, see {job.log}"


def _facts(cell: Cell, job: Job, wish: Wish) -> dict:
    evaluated = json.loads(_result(wish, cell).read_text())
    facts = {"cell": dataclasses.asdict(cell), **_made_by(job), "code": code_version(), **evaluated}
    sharp = _result(wish, cell, "sharp")
    if sharp.exists():
        lines = json.loads(sharp.read_text())["evaluations"][0]["lines"]
        facts["sharp"] = next(line["accuracy"] for line in lines if "sharp" in line["name"])
    return facts
