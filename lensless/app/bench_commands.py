"""The command `lensless bench`: options in, one result out."""

import pathlib
from typing import Annotated

import typer

from lensless.app import options as o
from lensless.app.screen import Screen, guarded

bench = typer.Typer(no_args_is_help=True, help="Measure: each figure beside what it is compared to, in the same run.")


@bench.command("optics")
@guarded
def bench_optics(device: o.Device = "auto", json: o.Json = None) -> None:
    """How fast forward models are made and applied, and training on them (about 3 minutes on 2 cores).

    Each figure is shown as soon as it is measured.
    """
    from lensless.app.bench import optics
    from lensless.app.load import open_device

    screen = Screen(json)
    screen.result(optics.run(screen, str(open_device(device))))


@bench.command("solvers")
@guarded
def bench_solvers(
    lenslesspicam: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Interpreter of an environment with LenslessPiCam, the distribution `lensless` on the package index.",
            metavar="PYTHON",
        ),
    ] = None,
    json: o.Json = None,
) -> None:
    """Total variation for a mask beside LenslessPiCam and DeepInverse, and dense solvers per frame (5 minutes)."""
    from lensless.app.bench import solvers

    screen = Screen(json)
    screen.result(solvers.run(screen, lenslesspicam))


@bench.command("specks")
@guarded
def bench_specks(
    scenes: o.Scenes = "mnist",
    out: Annotated[pathlib.Path, typer.Option(help="Folder of what is trained.")] = pathlib.Path("bench-specks"),
    device: o.Device = "auto",
    data: o.Data = None,
    json: o.Json = None,
) -> None:
    """What carries digits to a bare sensor (an hour; goes on where it was stopped)."""
    from lensless.app.bench import specks
    from lensless.app.load import open_device

    screen = Screen(json)
    screen.result(specks.run(screen, str(open_device(device)), out, scenes, data))


@bench.command("calibration")
@guarded
def bench_calibration(
    rig: Annotated[str, typer.Option(help="Design of the hidden rig: cannula-v1 or bare-v1-short.")] = "cannula-v1",
    task: Annotated[o.Train, typer.Option(help="What is trained for it.")] = o.Train.classify,
    out: Annotated[pathlib.Path, typer.Option(help="Folder of what is made.")] = pathlib.Path("bench-calibration"),
    seeds: Annotated[int, typer.Option(help="Trainings of each kind.", min=1, max=100)] = 1,
    epochs: o.Epochs = None,
    scenes: o.Scenes = "mnist",
    data: o.Data = None,
    json: o.Json = None,
) -> None:
    """To a rig that was never simulated: calibrate a hidden rig, train on its measured matrix, test on its frames."""
    from lensless.app.bench import calibration

    screen = Screen(json)
    wish = calibration.Wish(rig, task.value, out, seeds, epochs, scenes, data)
    screen.result(calibration.run(wish, screen))


@bench.command("tasks")
@guarded
def bench_tasks(
    out: Annotated[pathlib.Path, typer.Option(help="Folder of what is trained.")] = pathlib.Path("bench-tasks"),
    quick: Annotated[
        bool, typer.Option("--quick", help="A few cells, hardly trained, in under 5 minutes: does everything run?")
    ] = False,
    only: Annotated[list[str] | None, typer.Option(help="A cell by its name; may be given several times.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Cells made at once; one a processor by default.", min=1)] = None,
    data: o.Data = None,
    json: o.Json = None,
) -> None:
    """The results table: rig, scenes, method, cost and figures beside baselines (4 hours; goes on where it stopped)."""
    from lensless.app.bench import tasks

    screen = Screen(json)
    screen.result(tasks.run(tasks.Wish(out, quick, tuple(only or ()), data, jobs), screen))


@bench.command("sharing")
@guarded
def bench_sharing(
    out: Annotated[pathlib.Path, typer.Option(help="Folder of the figures.")] = pathlib.Path("bench-sharing"),
    only: Annotated[
        list[str] | None, typer.Option(help="E1, E2, E3, E3b, E4, E5, E5b or speed; may be given several times.")
    ] = None,
    device: o.Device = "cpu",
    json: o.Json = None,
) -> None:
    """What shared weights give on drawn characters: budgets, growing, clusters, ensembles (30 minutes; goes on)."""
    from lensless.app.bench import sharing, sharing_speed
    from lensless.app.load import open_device

    screen, only = Screen(json), only or [*sharing.EXPERIMENTS, "speed"]
    found = sharing.run([name for name in only if name != "speed"], out, screen)
    if "speed" in only:
        found["speed"] = sharing_speed.run(screen, open_device(device))
    screen.result(found)


@bench.command("budgets")
@guarded
def bench_budgets(
    out: Annotated[pathlib.Path, typer.Option(help="Folder of what is trained.")] = pathlib.Path("bench-budgets"),
    only: Annotated[list[str] | None, typer.Option(help="A cell by its name; may be given several times.")] = None,
    jobs: Annotated[int | None, typer.Option(help="Cells made at once; one a processor by default.", min=1)] = None,
    data: o.Data = None,
    json: o.Json = None,
) -> None:
    """Label and picture of the cannula under four budgets, shared and narrow (4 hours; goes on where it stopped)."""
    from lensless.app.bench import budgets

    screen = Screen(json)
    screen.result(budgets.run(out, tuple(only or ()), data, jobs, screen))


@bench.command("apply")
@guarded
def bench_apply(json: o.Json = None) -> None:
    """How many frames per second a calibration corrects on one core, beside the bare arithmetic (10 seconds)."""
    from lensless.app.bench import apply

    screen = Screen(json)
    screen.result(apply.run(screen))


@bench.command("record")
@guarded
def bench_record(
    folder: Annotated[
        pathlib.Path | None, typer.Option(help="Folder on the disk to measure; a temporary one by default.")
    ] = None,
    minutes: Annotated[float, typer.Option(help="How long memory is watched over a recording.", min=0.05)] = 1.0,
    json: o.Json = None,
) -> None:
    """How fast frames reach the disk beside bare h5py, how late they leave a child process, and memory (3 minutes)."""
    from lensless.app.bench import record

    screen = Screen(json)
    screen.result(record.run(screen, folder, minutes))


@bench.command("serial")
@guarded
def bench_serial(json: o.Json = None) -> None:
    """How fast bytes of a sensor board become frames, also hostile bytes, and how late frames come (20 seconds)."""
    from lensless.app.bench import serial

    screen = Screen(json)
    screen.result(serial.run(screen))


@bench.command("collect")
@guarded
def bench_collect(
    folder: Annotated[pathlib.Path | None, typer.Option(help="Where to; a temporary folder by default.")] = None,
    json: o.Json = None,
) -> None:
    """How many scenes per second are collected, beside what display and camera allow (a minute)."""
    from lensless.app.bench import collect

    screen = Screen(json)
    screen.result(collect.run(screen, folder))


@bench.command("pairs")
@guarded
def bench_pairs(device: o.Device = "auto", json: o.Json = None) -> None:
    """How fast training is fed from recorded pairs, beside the same from memory (a minute)."""
    from lensless.app.bench import pairs
    from lensless.app.load import open_device

    screen = Screen(json)
    screen.result(pairs.run(screen, str(open_device(device))))


@bench.command("scaling")
@guarded
def bench_scaling(
    processes: Annotated[
        str, typer.Option(help="How many at once, each in turn; under torchrun it is those that torchrun started.")
    ] = "1,2",
    device: o.Device = "auto",
    json: o.Json = None,
) -> None:
    """How much faster several processes train than one, and what a step is spent on (4 minutes on 2 cores)."""
    from lensless.app.bench import scaling
    from lensless.app.load import open_device

    screen = Screen(json)
    screen.result(scaling.run(screen, str(open_device(device)), scaling.counts(processes)))
