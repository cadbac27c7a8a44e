"""`lensless bench solvers`: total variation for a mask beside LenslessPiCam and DeepInverse, and dense solvers."""

import importlib.metadata
import os
import pathlib
import platform
import statistics
import tempfile

import numpy as np
import torch
from torch import Tensor

from lensless.app.bench import deepinverse, lenslesspicam
from lensless.app.bench.lenslesspicam import Theirs
from lensless.app.bench.timing import seconds
from lensless.app.rig import open_rig
from lensless.app.screen import Screen
from lensless.app.version import code_version
from lensless.data.download import data_folder
from lensless.optics import Channels, Mask, psf_from_picture
from lensless.recon import admm, fista, tikhonov, total_variation, truncated_svd

SHAPE, ITERATIONS, WEIGHT, NOISE = (270, 480), 100, 1e-3, 0.01
ROUNDS = 5
PENALTIES = (None, 0.01, 0.05, 0.1)  # ours: None is the default; of the square of the norm, which is 1 here
# LenslessPiCam's: in the proportions of its defaults, and others that were found by hand.
THEIR_PENALTIES = (
    lenslesspicam.DEFAULTS, *(tuple(by * mu for mu in lenslesspicam.DEFAULTS) for by in (1e2, 1e4, 1e5, 1e6, 1e7)),
    (0.1, 10.0, 10.0), (0.1, 30.0, 30.0), (0.1, 100.0, 30.0), (0.5, 200.0, 100.0), (0.5, 300.0, 300.0),
)  # fmt: skip
PATIENCE = 20.0  # times our seconds, for each setting of DeepInverse
FRAMES, RAYS = 32, 2**17


def run(screen: Screen, python: pathlib.Path | None) -> dict:
    """Measure, show, and return the figures; on the processor."""
    found = {
        "machine": platform.machine(), "processors": os.cpu_count(), "threads": torch.get_num_threads(),
        "torch": torch.__version__, "code": code_version(), "shape": SHAPE, "iterations": ITERATIONS, "weight": WEIGHT,
    }  # fmt: skip
    A, y = problem(SHAPE)
    theirs = Theirs.of(A, y, WEIGHT)
    with tempfile.TemporaryDirectory(prefix="lensless-bench-") as folder:
        found["mask"] = ours = _mask(A, y, theirs, python, pathlib.Path(folder), screen)
    found["deepinverse"] = _deepinverse(A, y, ours, screen)
    with screen.working(f"dense solvers, 4096 x 1024, {FRAMES} frames"):
        found["dense"] = dense()
    product = found["dense"]["one product with the matrix"]
    rows = [[name, f"{1e3 * s:.2f}", f"{s / product:.0f}"] for name, s in found["dense"].items()]
    screen.table(f"per frame of {FRAMES}, matrix of cannula-v1", ["", "ms", "products with the matrix"], rows)
    return found


def problem(shape: tuple[int, int]) -> tuple[Channels, Tensor]:
    """Three colours through a mask, and what a noisy sensor sees of discs on a gradient, (1, 3, H, W).

    The PSF is the measured one of the data folder, or, where there is none, sparse blurred points.
    """
    draw = np.random.default_rng(0)
    rows, columns = np.mgrid[: shape[0], : shape[1]] / np.reshape(shape, (2, 1, 1))
    x = np.stack([0.3 + 0.3 * rows, 0.4 - 0.2 * columns, 0.2 + 0.2 * columns])
    for row, column, radius in draw.random((40, 3)) * (1, shape[1] / shape[0], 0.1) + (0, 0, 0.02):
        inside = (rows - row) ** 2 + (columns * shape[1] / shape[0] - column) ** 2 < radius**2
        x[:, inside] = draw.random((3, 1))
    A = Channels([Mask(psf, shape, shape) for psf in _psfs(shape)])
    y = A.A(torch.from_numpy(x)[None].float())
    return A, y + NOISE * torch.from_numpy(draw.standard_normal(tuple(y.shape))).float()


def _psfs(shape: tuple[int, int]) -> np.ndarray:
    from PIL import Image
    from scipy.ndimage import gaussian_filter

    place = data_folder() / "psf" / "diffuser_psf.png"
    if place.is_file():
        return psf_from_picture(np.asarray(Image.open(place))[..., :3], shape=shape)
    draw = np.random.default_rng(1)
    return np.stack([gaussian_filter((draw.random(shape) < 0.01) * 1.0, 1.5, mode="constant") for _ in range(3)])


def objective(A: Channels, y: Tensor, weight: float, x: Tensor) -> float:
    """1/2 |A x - y|^2 + weight TV(x) in float64, of a picture clamped to [0, 1]; A and y of float64."""
    x = x.double().clamp(0, 1)
    return float((A.A(x) - y).square().sum() / 2 + weight * total_variation(x).sum())


def _mask(A: Channels, y: Tensor, theirs: Theirs, python, folder: pathlib.Path, screen: Screen) -> dict:
    """Ours and LenslessPiCam's by turns; each with several penalties, which cost no time."""
    exact, y64 = _exact(A), y.double()
    found: dict = {"ours": [], "lenslesspicam": [], "ours_s": []}

    def ours(penalty: float | None) -> None:
        kept = []
        taken = seconds(lambda: kept.append(admm(A, y, WEIGHT, ITERATIONS, tolerance=0.0, penalty=penalty).x))
        found["ours_s"].append(taken)
        found["ours"].append({
            "penalty": penalty, "objective": objective(exact, y64, WEIGHT, kept[0]),
            "their_objective": theirs.objective(theirs.on_plane(kept[0])),
        })  # fmt: skip

    if python is None:
        with screen.working("ADMM for a mask"):
            for penalty in (*PENALTIES, *(None,) * (ROUNDS - len(PENALTIES))):
                ours(penalty)
        found["lenslesspicam"] = "skipped: --lenslesspicam PYTHON names the interpreter of an environment with it"
    else:
        with (
            screen.working("ADMM for a mask, ours and LenslessPiCam by turns"),
            lenslesspicam.Process(python, theirs, folder, ITERATIONS) as process,
        ):
            found["version"], theirs_s = process.version, []
            for at, penalties in enumerate(THEIR_PENALTIES):
                ours(PENALTIES[at % len(PENALTIES)])
                taken, plane = process.run(penalties)
                theirs_s.append(taken)
                found["lenslesspicam"].append({
                    "penalties": penalties, "objective": objective(exact, y64, WEIGHT, theirs.picture(plane)),
                    "their_objective": theirs.objective(plane),
                })  # fmt: skip
        found["lenslesspicam_s"] = statistics.median(theirs_s)
    found["ours"] = found["ours"][: len(PENALTIES)]
    found["ours_s"] = statistics.median(found["ours_s"][1:])
    _show_mask(found, screen)
    return found


def _show_mask(found: dict, screen: Screen) -> None:
    def row(name: str, tried: list[dict], of: slice, taken: float) -> list[str]:
        best = [min(one[key] for one in tried[of]) for key in ("objective", "their_objective")]
        return [name, f"{taken:.2f}", *(f"{value:.3f}" for value in best)]

    rows = [row("ours", found["ours"], slice(1), found["ours_s"])]
    rows += [row(f"ours, best of {len(PENALTIES)} penalties", found["ours"], slice(None), found["ours_s"])]
    if isinstance(found["lenslesspicam"], str):
        screen.say(f"  LenslessPiCam {found['lenslesspicam']}")
    else:
        name, taken = f"LenslessPiCam {found['version']}", found["lenslesspicam_s"]
        rows += [row(name, found["lenslesspicam"], slice(1), taken)]
        rows += [row(f"{name}, best of {len(THEIR_PENALTIES)}", found["lenslesspicam"], slice(None), taken)]
    title = f"{SHAPE[0]} x {SHAPE[1]}, three colours, {ITERATIONS} iterations of ADMM, weight {WEIGHT:g}"
    screen.table(title, ["", "seconds", "our objective", "its objective"], rows)
    if "lenslesspicam_s" in found:
        screen.say(f"LenslessPiCam takes {found['lenslesspicam_s'] / found['ours_s']:.1f} times as long (goal: 2)")


def _deepinverse(A: Channels, y: Tensor, ours: dict, screen: Screen) -> dict | str:
    try:
        import deepinv  # noqa: F401 (whether it is there)
    except ImportError as error:
        why = f"skipped: DeepInverse cannot be imported ({error}); pip install deepinv"
        screen.say(f"  DeepInverse {why}")
        return why
    exact, y64, goal = _exact(A), y.double(), ours["ours"][0]["objective"]
    tried, ours_s = [], []
    for setting in deepinverse.SETTINGS:
        ours_s += [seconds(lambda: admm(A, y, WEIGHT, ITERATIONS, tolerance=0.0)) for _ in range(2)]
        with screen.working(f"DeepInverse: {setting[0]}, step {setting[1]:g}"):
            tried.append(
                deepinverse.until(
                    setting, A, y, WEIGHT, lambda x: objective(exact, y64, WEIGHT, x), goal, PATIENCE * min(ours_s)
                )
            )
    taken = statistics.median(ours_s)
    rows = [
        [one.solver, f"{one.seconds:.1f}", str(one.iterations), f"{one.objective:.3f}",
         f"{'' if one.reached else '> '}{one.seconds / taken:.1f}"] for one in tried
    ]  # fmt: skip
    title = (
        f"DeepInverse {importlib.metadata.version('deepinv')} until it is where ours is after {taken:.2f} s, {goal:.3f}"
    )
    screen.table(title, ["", "seconds", "iterations", "our objective", "times ours"], rows)
    return {"goal": goal, "ours_s": taken, "tried": [vars(one) for one in tried]}


def dense() -> dict[str, float]:
    """Seconds per frame on the matrix of cannula-v1, decompositions at hand; beside one product with the matrix."""
    A = open_rig("cannula-v1", rays=RAYS).forward_model
    y = A.A(torch.rand(FRAMES, 1, *A.scene_shape, generator=torch.Generator().manual_seed(0)))
    svd, norm, weight = A.svd(), A.norm(), 3e-5
    calls = {
        "one product with the matrix": lambda: A.A_adjoint(y),
        "tikhonov, weight given": lambda: tikhonov(A, y, 1e-4, svd=svd),
        "tikhonov, weight by gcv": lambda: tikhonov(A, y, svd=svd),
        "truncated_svd, rank by gcv": lambda: truncated_svd(A, y, svd=svd),
        f"fista, {ITERATIONS} iterations": lambda: fista(A, y, weight, ITERATIONS, 0.0, norm=norm),
        f"admm, {ITERATIONS} iterations": lambda: admm(A, y, weight, ITERATIONS, 0.0),
    }
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS + 1):
        for name, call in calls.items():
            taken[name].append(seconds(call))
    return {name: statistics.median(times[1:]) / FRAMES for name, times in taken.items()}


def _exact(A: Channels) -> Channels:
    """The same in float64: of the PSFs as they are in float32."""
    return Channels([Mask(m.psf, m.scene_shape, m.sensor_shape, dtype=torch.float64) for m in A.models], A.weights)
