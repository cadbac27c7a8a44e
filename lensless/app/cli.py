"""The command line: options in, one result out. What a command does stands in the module it calls."""

import dataclasses
import pathlib
from typing import Annotated

import typer

from hardware.errors import ConfigurationError
from lensless.app import calibrate_commands, capture_commands, display_commands
from lensless.app import options as o
from lensless.app.bench_commands import bench
from lensless.app.screen import Screen, guarded

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Cameras without optics: from a raw frame to an image, or only a label.",
    epilog="Begin with: lensless demo",
)

app.add_typer(bench, name="bench")

# Imports of torch stand inside the commands, so that `lensless --help` is quick.


@app.command()
@guarded
def demo(
    rig: o.Rig = "cannula-v1",
    scenes: o.Scenes = "glyphs",
    out: Annotated[pathlib.Path, typer.Option(help="Folder of the page and the checkpoints.")] = pathlib.Path("demo"),
    seed: o.Seed = 0,
    rays: o.Rays = None,
    device: o.Device = "auto",
    workers: o.Workers = 0,
    share: Annotated[float, typer.Option(help="Share of the epochs; 0.2 for a quick look.", min=0.01, max=10)] = 1.0,
    data: o.Data = None,
    download: o.Download = False,
    json: o.Json = None,
) -> None:
    """Simulate a rig, train on it, and write a page of scenes, raw frames, pictures and labels (under 4 minutes)."""
    from lensless.app import demo as job
    from lensless.app.load import open_device
    from lensless.app.rig import open_rig

    screen = Screen(json)
    opened = open_rig(rig, str(open_device(device)), rays)
    screen.result(job.run(opened, scenes, seed, out, workers, screen, share, data, download))


@app.command()
@guarded
def simulate(
    out: Annotated[pathlib.Path, typer.Option(help="Recording to write (.h5); it must not exist yet.")],
    rig: o.Rig = "cannula-v1",
    scenes: o.Scenes = "glyphs",
    split: Annotated[o.Split, typer.Option(help="Which scenes.")] = o.Split.test,
    count: Annotated[int, typer.Option(help="How many scenes.", min=1)] = 100,
    frames: o.Frames = None,
    seed: o.Seed = 0,
    rays: o.Rays = None,
    device: o.Device = "auto",
    data: o.Data = None,
    download: o.Download = False,
    json: o.Json = None,
) -> None:
    """Record what a simulated rig sees of scenes, as a real one would: raw frames with labels, and a calibration."""
    from lensless.app.load import open_device
    from lensless.app.rig import open_rig
    from lensless.app.simulation import record
    from lensless.data.scenes import load_scenes

    screen = Screen(json)
    opened = open_rig(rig, str(open_device(device)), rays)
    chosen = load_scenes(scenes, split.value, seed, count, data, download)
    screen.result(record(opened, chosen, split.value, out, frames or opened.spec.sensor.frames, seed, screen))


@app.command()
@guarded
def train(
    task: Annotated[o.Train, typer.Argument(help="reconstruct: a picture. classify: a label and no picture.")],
    rig: Annotated[
        str | None,
        typer.Option(
            help="Rig: a TOML file, or the id of one that comes with the package; cannula-v1 by default, "
            "with --after that of the reconstruction, of recorded scenes theirs."
        ),
    ] = None,
    scenes: o.MeasuredScenes = "glyphs",
    after: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Classify after this trained reconstruction; without it, straight from the frame.",
            metavar="CHECKPOINT",
        ),
    ] = None,
    calibration: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Calibration of a real sensor (Calibration.save); without it, the rig's sensor is simulated, and of "
            "recorded scenes the one beside them is taken.",
            metavar="FILE.npz",
        ),
    ] = None,
    network: Annotated[
        o.Network | None,
        typer.Option(
            help="Of a reconstruction. unrolled: Wiener's estimate, then stages of a small network with steps back to "
            "the measurement (default). learned: a first layer of stated rank that is learned, too. cycle: the "
            "self-consistent network, which knows no physics and takes long."
        ),
    ] = None,
    stages: Annotated[int | None, typer.Option(help="Stages of an unrolled network.", min=1, max=32)] = None,
    shared: Annotated[
        bool | None, typer.Option("--shared/--no-shared", help="One network for all stages.", show_default=False)
    ] = None,
    rank: Annotated[int | None, typer.Option(help="Of a learned first layer.", min=1, max=4096)] = None,
    width: Annotated[
        int | None, typer.Option(help="Channels of the network of a reconstruction.", min=1, max=4096)
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(help="Of a reconstruction: log-mse, l1, l2, ssim, cross-entropy; several with + between."),
    ] = None,
    hidden: o.Hidden = None,
    sums: o.Sums = None,
    budget: o.Budget = None,
    sharing: o.Sharing = None,
    search: o.Search = False,
    perturbed: Annotated[
        int,
        typer.Option(
            help="Train on as many perturbed copies of the rig, too (tilted, moved, warmer), so that it bears drift.",
            min=0,
            max=1000,
        ),
    ] = 0,
    strength: o.Strength = 1.0,
    out: Annotated[
        pathlib.Path | None, typer.Option(help="Folder of the checkpoint; named after the run by default.")
    ] = None,
    count: o.Count = None,
    frames: o.Frames = None,
    epochs: o.Epochs = None,
    batch_size: o.BatchSize = None,
    shards: o.Shards = None,
    learning_rate: o.LearningRate = None,
    rays: o.Rays = None,
    seed: o.Seed = 0,
    device: o.Device = "auto",
    precision: o.PrecisionOption = None,
    augment: Annotated[
        bool, typer.Option(help="Move scenes at random before they are simulated, where the recipe says so.")
    ] = True,
    moved: Annotated[
        float | None,
        typer.Option(help="Move them so many times as far: less than 1 for letters of few pixels.", min=0, max=10),
    ] = None,
    workers: o.Workers = 0,
    data: o.Data = None,
    download: o.Download = False,
    json: o.Json = None,
) -> None:
    """Train a network for a rig; a run that was interrupted goes on. On several processors, GPUs or hosts: torchrun.

    reconstruct: Wiener's estimate of the picture, then a compact network that corrects it; or see --network.

    classify: a label from at most 128 sums of the frame; with --after, from a reconstructed picture.
    """
    from lensless.app import train_job as job
    from lensless.app.network_wish import NetworkWish, widths

    if after is not None and task is not o.Train.classify:
        raise ConfigurationError("--after goes with `lensless train classify` only")
    if after is not None and (frames, rays, calibration) != (None, None, None):
        raise ConfigurationError(
            f"--frames, --rays and --calibration are those of the reconstruction --after {after}; leave them out"
        )
    if strength != 1 and not perturbed:
        raise ConfigurationError("--strength says how far perturbed rigs drift; say with --perturbed how many")
    if perturbed and after is not None:
        raise ConfigurationError("--perturbed goes with the training of the reconstruction, not with --after")
    if network is not None and task is not o.Train.reconstruct:
        raise ConfigurationError("--network goes with `lensless train reconstruct` only")
    kind = task.value if after is None else "classify-reconstruction"
    kind += "" if network in (None, o.Network.unrolled) else f"-{network.value}"
    method = None if sharing is None else sharing.value
    shape = NetworkWish(stages, shared, rank, width, loss, widths(hidden), sums, budget, method, search)
    shape.check(kind)
    if moved is not None and not augment:
        raise ConfigurationError("--no-augment and --moved exclude one another; leave one of them out")
    far = float(augment) if moved is None else moved
    recipe = job.recipe(kind, epochs, batch_size, learning_rate, seed, precision, far, shards)
    if after is None:
        wish = job.Wish(
            rig, scenes, frames, rays, seed, device, count, data, download, calibration, perturbed,
            strength,
        )  # fmt: skip
        job.train_front(kind, wish, recipe, out, workers, Screen(json), shape)
    else:
        wish = job.Wish(rig, scenes, None, None, seed, device, count, data, download)
        job.train_after(after, wish, recipe, out, workers, Screen(json), shape)


@app.command()
@guarded
def evaluate(
    checkpoints: Annotated[
        list[pathlib.Path],
        typer.Argument(help="Checkpoint folders; several give mean and range.", metavar="CHECKPOINT..."),
    ],
    rig: Annotated[
        str | None, typer.Option(help="Rig that it must have been trained for; the card's by default.")
    ] = None,
    scenes: Annotated[
        str | None,
        typer.Option(help="Scenes, also recorded:PATH and pairs:FILE; those it was trained on by default."),
    ] = None,
    split: Annotated[o.Split, typer.Option(help="Which scenes; look at test only once.")] = o.Split.test,
    sharp: Annotated[
        bool,
        typer.Option(
            help="Train the same network on the sharp picture, as a baseline; takes as long as the training did."
        ),
    ] = True,
    perturbed: Annotated[
        int,
        typer.Option(help="Also test on as many perturbed copies of the rig, new to the network.", min=0, max=1000),
    ] = 0,
    strength: o.Strength = 1.0,
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness", help="Also test on scenes that are shifted, turned or dimmed, and on rigs that drifted."
        ),
    ] = False,
    page: Annotated[bool, typer.Option(help="Write report.html into each checkpoint folder.")] = True,
    device: o.Device = "auto",
    workers: o.Workers = 0,
    data: o.Data = None,
    json: o.Json = None,
) -> None:
    """Measure trained networks on scenes they never saw, beside their baselines."""
    from lensless.app import evaluate_job as job

    if strength != 1 and not perturbed:
        raise ConfigurationError("--strength says how far perturbed rigs drift; say with --perturbed how many")
    wish = job.Wish(rig, scenes, split.value, sharp, page, device, workers, data, perturbed, strength, robustness)
    job.evaluate_all(checkpoints, wish, Screen(json))


@app.command()
@guarded
def reconstruct(
    checkpoint: o.CheckpointOrRig,
    source: o.Source,
    out: Annotated[pathlib.Path, typer.Option(help="New folder for the pictures.")] = o.PICTURES,
    count: o.Measurements = None,
    rig: o.FramesOfRig = None,
    live: o.Live = False,
    window: o.LiveWindow = False,
    seconds: o.LiveSeconds = None,
    retries: o.LiveRetries = None,
    solver: o.SolverOption = None,
    weight: o.Weight = None,
    iterations: o.Iterations = None,
    error_bars: o.ErrorBars = False,
    scenes: o.FittedOn = None,
    calibration: o.SensorCalibration = None,
    frames: o.Frames = None,
    rays: o.Rays = None,
    small: o.Small = False,
    device: o.Device = "auto",
    data: o.Data = None,
    download: o.Download = False,
    json: o.Json = None,
) -> None:
    """Turn raw frames into pictures: by a trained network, with --live of what a camera sees now; or by a classical
    solver (--solver) without any training.
    """
    o.only_live(live, {"window": window, "seconds": seconds, "retries": retries})
    options = {
        "--weight": weight, "--iterations": iterations, "--error-bars": error_bars, "--scenes": scenes,
        "--frames": frames, "--rays": rays, "--data": data, "--download": download,
    }  # fmt: skip
    if solver is None:
        from lensless.app import inference

        for name, value in options.items():
            if value:
                raise ConfigurationError(f"{name} goes with --solver; a checkpoint knows its own")
        asked = inference.Frames(source, count, rig, calibration, device, small)
        if live:
            from lensless.app.live import commands

            if out != o.PICTURES:
                raise ConfigurationError(f"--live stores nothing; leave --out {out} out")
            until = commands.Until(seconds, retries)
            commands.reconstruct(checkpoint, asked, until, Screen(json, lasting=True), window)
            return
        inference.reconstruct(checkpoint, asked, out, Screen(json))
        return
    from lensless.app import solve, solvers

    if live:
        raise ConfigurationError("--live looks through a trained checkpoint; leave --solver out, or --live")
    if small:
        raise ConfigurationError("--small goes with a checkpoint whose weights are shared; leave it out with --solver")
    if rig is not None:
        raise ConfigurationError(f"--rig {rig}: with --solver the rig is the first argument; leave the option out")
    side_by_side = solver is o.Solver.all
    if side_by_side and (weight, iterations, error_bars) != (None, None, False):
        raise ConfigurationError("--solver all takes no --weight, --iterations or --error-bars: each has its own")
    asked = solvers.Asked(solver.value, weight, iterations, error_bars, scenes, data, download)
    wish = solve.Wish(str(checkpoint), source, out, asked, count, frames, rays, calibration, device)
    (solve.compare if side_by_side else solve.reconstruct)(wish, Screen(json))


@app.command()
@guarded
def classify(
    checkpoint: o.Checkpoint,
    source: o.Source,
    count: o.Measurements = None,
    abstain: o.Abstain = None,
    rig: o.FramesOfRig = None,
    calibration: o.SensorCalibration = None,
    live: o.Live = False,
    seconds: o.LiveSeconds = None,
    retries: o.LiveRetries = None,
    small: o.Small = False,
    device: o.Device = "auto",
    json: o.Json = None,
) -> None:
    """Name what raw frames show, with --live what a camera sees now; no picture is formed unless the checkpoint was
    trained to.
    """
    from lensless.app import inference

    o.only_live(live, {"seconds": seconds, "retries": retries})
    frames = inference.Frames(source, count, rig, calibration, device, small)
    if live:
        from lensless.app.live import commands

        commands.classify(checkpoint, frames, commands.Until(seconds, retries), Screen(json, lasting=True), abstain)
        return
    inference.classify(checkpoint, frames, Screen(json), abstain)


@app.command()
@guarded
def inspect(
    rig: Annotated[
        str | None, typer.Argument(help="A TOML file, or the id of a rig that comes with the package; cannula-v1.")
    ] = None,
    model: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="In place of a rig: a checkpoint that was trained with --budget. Which layers share what, how alike "
            "they are, and whose gradients disagree.",
            metavar="CHECKPOINT",
        ),
    ] = None,
    scenes: Annotated[
        str | None, typer.Option(help="Scenes; glyphs by default, of a model those it was trained on.")
    ] = None,
    frames: o.Frames = None,
    rays: o.Rays = None,
    page: Annotated[
        pathlib.Path | None,
        typer.Option(help="Where the page goes; inspect-RIG.html by default.", metavar="FILE.html"),
    ] = None,
    device: o.Device = "auto",
    data: o.Data = None,
    download: o.Download = False,
    json: o.Json = None,
) -> None:
    """Say what a rig can see, on a page: modes above noise, resolution, sensitivity, what linear estimates reach.

    With --model: what the layers of a trained network share.
    """
    if model is not None:
        from lensless.app import model_inspection

        if (rig, frames, rays) != (None, None, None):
            raise ConfigurationError("--model knows its rig, frames and rays; leave a rig, --frames and --rays out")
        model_inspection.inspect(model, scenes, page, device, Screen(json), data, download)
        return
    from lensless.app import inspection

    inspection.inspect(
        rig or o.DEFAULT_RIG, scenes or "glyphs", frames, rays, page, device, Screen(json), data, download
    )


@app.command()
@guarded
def doctor(json: o.Json = None) -> None:
    """Check what works on this machine."""
    from lensless.app.doctor import examine

    screen = Screen(json)
    findings = examine()
    screen.table("", ["", "", ""], [[one.state, one.what, one.detail] for one in findings])
    screen.result({"findings": [dataclasses.asdict(one) for one in findings]})
    if any(one.state == "fails" for one in findings):
        raise typer.Exit(1)


for command in (*capture_commands.COMMANDS, *display_commands.COMMANDS, *calibrate_commands.COMMANDS):
    app.command()(command)
