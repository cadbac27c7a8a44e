"""Options that several commands share, each described once."""

import pathlib
from enum import StrEnum
from typing import Annotated

import typer

from hardware.errors import ConfigurationError, StorageError
from lensless.app import text_file
from lensless.app.screen import guarded


class Precision(StrEnum):
    auto = "auto"
    float32 = "32-true"
    bf16 = "bf16-mixed"


class Train(StrEnum):
    reconstruct = "reconstruct"
    classify = "classify"


class Network(StrEnum):
    unrolled = "unrolled"
    learned = "learned"
    cycle = "cycle"


class SharingMethod(StrEnum):
    """Names of `lensless.sharing.METHODS`, without its imports."""

    cells = "cells"
    superweights = "superweights"
    ssn = "ssn"
    tiles = "tiles"
    soft = "soft"
    mixture = "mixture"


class Split(StrEnum):
    train = "train"
    val = "val"
    test = "test"


class Solver(StrEnum):
    tikhonov = "tikhonov"
    truncated_svd = "truncated-svd"
    fista = "fista"
    admm = "admm"
    wiener = "wiener"
    all = "all"


def _option(text: str, *names: str, **limits):
    return typer.Option(*names, help=text, **limits)


@guarded
def _writable(place: str | None) -> str | None:
    if place not in (None, "-"):
        if not pathlib.Path(place).absolute().parent.is_dir():
            raise StorageError(f"--json {place}: its folder does not exist; make it, or name another")
        text_file.check_place(pathlib.Path(place), "name another file with --json")
    return place


def only_live(live: bool, given: dict[str, object]) -> None:
    """Raises ConfigurationError if an option of the live view is given without it."""
    wrong = [name for name, value in given.items() if value not in (None, False)]
    if wrong and not live:
        raise ConfigurationError(f"--{wrong[0]} goes with --live only; add it, or leave --{wrong[0]} out")


DEFAULT_RIG = "cannula-v1"
PICTURES = pathlib.Path("reconstructed")

Rig = Annotated[str, _option("Rig: a TOML file, or the id of one that comes with the package.", "--rig")]
_SCENES = (
    "Scenes: mnist, emnist-SPLIT, letters, cifar10, glyphs, folder:PATH of pictures, shown:PATH of recordings; with "
    "two classes: mnist-even-odd, emnist-digits-even-odd, cifar10-animal-vehicle"
)
Scenes = Annotated[str, _option(f"{_SCENES}.", "--scenes")]
MeasuredScenes = Annotated[
    str,
    _option(f"{_SCENES}; or with their frames: recorded:PATH, pairs:FILE.h5 (docs/data.md).", "--scenes"),
]
Count = Annotated[int | None, _option("How many scenes; all by default.", "--count", min=1)]
Frames = Annotated[
    int | None,
    _option("Frames averaged into one measurement; the rig's own number by default.", "--frames", min=1, max=100_000),
]
Rays = Annotated[
    int | None,
    _option("Rays per scene pixel of a cannula; the default leaves about 0.6 % sampling error.", "--rays", min=2),
]
Seed = Annotated[
    int,
    _option(
        "Decides what is drawn at random: scenes of glyphs, initial weights, order, augmentation, noise.",
        "--seed",
        min=0,
    ),
]
Device = Annotated[str, _option("auto, cpu, cuda or cuda:N.", "--device")]
Measurements = Annotated[
    int | None,
    _option("How many measurements; all of a file, 1 of a camera by default, and of --live no end.", "--count", min=1),
]
Abstain = Annotated[
    float | None,
    _option(
        "Give no label that is less certain than this probability.", "--abstain", min=0, max=1, metavar="PROBABILITY"
    ),
]
_LIVE = "Live view"
Live = Annotated[
    bool,
    _option("Look through a camera until Ctrl-C; nothing is stored.", "--live", rich_help_panel=_LIVE),
]
LiveSeconds = Annotated[float | None, _option("How long, in seconds.", "--seconds", min=0.1, rich_help_panel=_LIVE)]
LiveRetries = Annotated[
    int | None,
    _option(
        "Tries to find a lost camera again, then exit 3; for ever by default.",
        "--retries",
        min=0,
        rich_help_panel=_LIVE,
    ),
]
LiveWindow = Annotated[
    bool,
    _option(
        "A window on the desktop, raw frame beside picture; q, Esc or its button ends the view.", "--window",
        rich_help_panel=_LIVE,
    ),
]  # fmt: skip
FramesOfRig = Annotated[str | None, _option("Rig that the frames come from, if the source does not say.", "--rig")]
Json = Annotated[
    str | None,
    _option(
        "Write the result as JSON to this file; - for standard output.", "--json", metavar="FILE", callback=_writable
    ),
]
Data = Annotated[
    pathlib.Path | None,
    _option("Folder of data sets (MNIST/raw, letters, ...); OPTICS_FREE_DATA by default.", "--data", metavar="FOLDER"),
]
Download = Annotated[bool, _option("Fetch MNIST, EMNIST or CIFAR-10 if it is missing.", "--download")]
Strength = Annotated[
    float,
    _option("How far perturbed rigs drift; 1: 0.1 degrees, 0.5 mm, 2 % of gain.", "--strength", min=0, max=10),
]
Hidden = Annotated[
    str | None,
    _option("Inner widths of a private classifier's residual blocks, e.g. 160,160; 80 by default.", "--hidden"),
]
Sums = Annotated[
    int | None,
    _option(
        "Sums of the frame that a private classifier sees, 128 at most; fewer tell less of the scene.", "--sums", min=1,
        max=128,
    ),
]  # fmt: skip
Search = Annotated[
    bool,
    _option(
        "With --sharing superweights: find by gradients who shares with whom, in two short trainings before.",
        "--search",
    ),
]
Small = Annotated[
    bool,
    _option(
        "Keep a network of shared weights small in memory: each weight is made when its layer is called, every time. "
        "By default all are made once.",
        "--small",
    ),
]
Budget = Annotated[
    str | None,
    _option(
        'Most trained numbers of the network, whose weights are then mixed from shared templates: 40000, "25%" of what '
        'it has, or "40kB@float32".',
        "--budget",
        metavar="NUMBERS",
    ),
]
Sharing = Annotated[
    SharingMethod | None,
    _option(
        "How weights are shared under --budget: cells (small blocks, for low budgets; default), superweights (layers "
        "of one kernel, nested), ssn (slices of one vector), tiles, soft (layers of one shape), mixture (each "
        "weight by itself, to be grown).",
        "--sharing",
    ),
]
Workers = Annotated[
    int, _option("Processes that load scenes; any number gives the same result.", "--workers", min=0, max=64)
]
Epochs = Annotated[int | None, _option("Passes over the training scenes; the recipe's by default.", "--epochs", min=1)]
BatchSize = Annotated[int | None, _option("Scenes per step; the recipe's by default.", "--batch-size", min=1)]
Shards = Annotated[
    int | None,
    _option(
        "Equal parts of a batch, each with noise and normalisation of its own, that processes of torchrun share; one "
        "for each process by default.",
        "--shards",
        min=1,
    ),
]
LearningRate = Annotated[
    float | None, _option("Highest step size; the recipe's by default.", "--learning-rate", min=1e-8, max=10)
]
PrecisionOption = Annotated[
    Precision | None,
    _option("auto takes bfloat16 where the processor is fast in it; the recipe's by default.", "--precision"),
]
Checkpoint = Annotated[pathlib.Path, typer.Argument(help="Folder that `lensless train` wrote.", metavar="CHECKPOINT")]
CheckpointOrRig = Annotated[
    pathlib.Path,
    typer.Argument(
        help="Folder that `lensless train` wrote; with --solver a rig: an id, a TOML file, or a measured one.",
        metavar="CHECKPOINT|RIG",
    ),
]
SolverOption = Annotated[
    Solver | None,
    _option(
        "Without any training, by a classical solver, or by all of them side by side (docs/solvers.md): a rig then "
        "takes the place of the checkpoint."
    ),
]
Weight = Annotated[
    str | None,
    _option(
        "With --solver. How much it smooths: a number (of truncated-svd the rank), or how it is chosen: gcv, l-curve, "
        "discrepancy; of fista and admm sure, discrepancy.",
        "--weight",
        metavar="NUMBER|CHOICE",
    ),
]
Iterations = Annotated[int | None, _option("With --solver fista or admm: at most so many.", "--iterations", min=1)]
ErrorBars = Annotated[
    bool,
    _option("With a linear --solver: write the standard deviation of each pixel beside each picture.", "--error-bars"),
]
FittedOn = Annotated[
    str | None,
    _option("With --solver wiener: fit mean and covariance on these; tikhonov, truncated-svd: their mean.", "--scenes"),
]
SensorCalibration = Annotated[
    pathlib.Path | None,
    _option(
        "Calibration of the sensor that took the frames; the checkpoint's, or the rig's own, by default.",
        "--calibration",
        metavar="FILE.npz",
    ),
]
Source = Annotated[
    str,
    typer.Argument(
        help="A recording or a folder of them, a raw frame (.npy, .png, .tif), or a camera: simulated:cannula-v1, "
        "with options like ?scenes=mnist&seed=1.",
        metavar="SOURCE",
    ),
]
