"""`lensless bench calibration`: to a rig that was never simulated.

A hidden rig is tilted, shifted, and has its own sensor and specks. It is reached through its camera and its display
only: calibrated, and a network is trained on simulations of the measured matrix. Beside it stand the same network
trained on simulations of the hidden rig itself, which nobody has in life, and on the design. All are tested on frames
of the hidden rig. What is there is not made again.
"""

import dataclasses
import json
import pathlib

import numpy as np

from calibration import Calibration
from hardware.errors import ConfigurationError
from hardware.rig import RigSpec
from lensless.app.bench.kept import read_kept
from lensless.app.calibrate import job
from lensless.app.calibrate.cost import figure
from lensless.app.measured_rig import is_measured, open_measured
from lensless.app.new_tasks import new_classify, new_reconstruct
from lensless.app.perturbation import perturb
from lensless.app.results import check_out
from lensless.app.rig import Rig, open_rig
from lensless.app.rig_file import read_spec
from lensless.app.screen import Screen
from lensless.app.setting import Setting
from lensless.app.text_file import write
from lensless.app.train_job import recipe
from lensless.app.training import train
from lensless.data.scenes import load_scenes
from lensless.evaluate.figures import HEADS, shown
from lensless.train import checkpoint

RIGS = ("cannula-v1", "bare-v1-short")
SEED, STRENGTH = 7, 1.5  # of the hidden rig's drift from the design
RAYS = 2**24  # of a hidden cannula: others than those of its design
FRAMES = {"cannula-v1": 4, "bare-v1-short": 1}  # of each pattern, each of the two times
WAYS = {
    "measured": "simulations of the measured matrix",
    "own": "simulations of the hidden rig itself",
    "nominal": "simulations of the design",
}


@dataclasses.dataclass(frozen=True)
class Wish:
    """What is to be measured: the options of the command, as they were given."""

    rig: str
    task: str
    out: pathlib.Path
    seeds: int = 1
    epochs: int | None = None
    scenes: str = "mnist"
    data: pathlib.Path | None = None


def run(wish: Wish, screen: Screen) -> dict:
    """Calibrate, train and test all that is not there yet."""
    if wish.rig not in RIGS:
        raise ConfigurationError(f"--rig {wish.rig!r}; expected one of {', '.join(RIGS)}")
    check_out(wish.out)
    wish = dataclasses.replace(wish, out=wish.out / wish.rig)
    wish.out.mkdir(parents=True, exist_ok=True)
    rays = RAYS if wish.rig.startswith("cannula") else None
    spec, place = hidden_spec(wish.rig), wish.out / "hidden.toml"
    write(place, to_toml(dataclasses.asdict(spec)))
    folder = wish.out / "measured"
    if not is_measured(folder):
        address = f"simulated:{place}" + (f"?rays={rays}" if rays else "")
        job.calibrate(job.Wish(wish.rig, folder, camera=address, frames=FRAMES[wish.rig]), screen)
    measured, hidden = open_measured(folder), Rig(spec, rays=rays)
    with screen.working("matrix of the hidden rig"):
        error = _matrix_error(measured, hidden)
    screen.say(f"  the measured matrix is off by {error:.2%}")
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    for seed in range(wish.seeds):
        for way, source in (("measured", measured), ("own", hidden), ("nominal", open_rig(wish.rig))):
            found[way].append(_measure(wish, way, seed, Setting.of(source), hidden, measured, screen))
    metric = HEADS["psnr_db" if wish.task == "reconstruct" else "accuracy"]
    rows = [
        [what, _shown(wish.task, found[way]), _shown(wish.task, [np.mean(found[way]) - np.mean(found["own"])], True)]
        for way, what in WAYS.items()
    ]
    heads = ["trained on", f"{metric}, frames of the hidden rig", "to its own"]
    screen.table(f"\n{wish.task}, {spec.id}, {wish.scenes}, {wish.seeds} seeds", heads, rows)
    return {"rig": spec.id, "task": wish.task, "scenes": wish.scenes, "matrix_error": error, "figures": found}


def hidden_spec(name: str) -> RigSpec:
    """A rig of that design that was built otherwise."""
    spec = perturb(read_spec(name), SEED, STRENGTH)
    sensor = dataclasses.replace(
        spec.sensor, serial="HIDDEN-0007", gain_electrons_per_dn=0.95 * spec.sensor.gain_electrons_per_dn,
        read_noise_electrons=6.0, prnu=0.012, dsnu_electrons=3.0, column_electrons=1.0,
    )  # fmt: skip
    glass = spec.cover_glass
    if glass is not None:
        glass = dataclasses.replace(glass, seed=11, speck_radius_um=24.0)
    return dataclasses.replace(spec, id=f"{name}-hidden-{SEED}", sensor=sensor, cover_glass=glass)


def to_toml(facts: dict, section: str = "") -> str:
    """Facts of a rig as its file has them."""
    plain, tables = [], []
    for name, value in facts.items():
        if isinstance(value, dict):
            tables.append(to_toml(value, name))
        elif value is not None:
            plain.append(f"{name} = {json.dumps(value)}")  # what rigs hold is written alike in both
    return "\n".join([f"\n[{section}]"] * bool(section) + plain + tables) + "\n"


def _matrix_error(measured: Rig, hidden: Rig) -> float:
    """Of the measured matrix, Frobenius, beside the hidden one with the response of its pixels; scale apart."""
    truth = hidden.forward_model.as_matrix().numpy() * hidden.noise().response.numpy().reshape(-1, 1)
    found = measured.forward_model.as_matrix().numpy()
    power = float((truth * truth).sum(dtype=np.float64))
    scale = float((found * truth).sum(dtype=np.float64)) / power
    off = found - np.float32(scale) * truth
    return float(np.sqrt((off * off).sum(dtype=np.float64) / power)) / scale


def _measure(
    wish: Wish, way: str, seed: int, setting: Setting, hidden: Rig, measured: Rig, screen: Screen
) -> float:  # fmt: skip
    """Mean of the task's metric on the test scenes, through frames of the hidden rig."""
    name = f"{wish.task}-{wish.scenes}-{way}-{seed}" + (f"-{wish.epochs}-epochs" if wish.epochs else "")
    kept, of = wish.out / f"{name}.json", {"rig": hidden.spec.fingerprint, "measured": measured.spec.fingerprint}
    if kept.exists():
        return float(read_kept(kept, of)["figure"])
    screen.say(f"\n{name}: trained on {WAYS[way]}")
    training, validation, test = (
        load_scenes(wish.scenes, part, seed, None, wish.data) for part in ("train", "val", "test")
    )
    new = new_reconstruct if wish.task == "reconstruct" else new_classify
    task = new(setting, training, seed=seed)
    chosen = recipe(wish.task, wish.epochs, None, None, seed, None)
    with screen.training(wish.task, task.metric_name) as watch:
        train(task, setting, training, validation, chosen, wish.out / name, 0, watch)
    found = checkpoint.load(wish.out / name)
    # Who trained on the design has no calibration of this camera; that of the measured rig is better than none.
    calibration: Calibration = measured.own_calibration if way == "nominal" else found.calibration
    looking = Setting(hidden, calibration, setting.frames)
    with screen.working("testing"):
        value = figure(found.task, looking, test)
    screen.say(f"  {shown(found.task.metric_name, value)} through the hidden rig")
    write(kept, json.dumps({"figure": value, **of}) + "\n")
    return value


def _shown(task: str, values: list[float], difference: bool = False) -> str:
    if task == "reconstruct":
        scale, unit, digits = 1, " dB", 2
    else:
        scale, unit, digits = 100, " points" if difference else " %", 2
    low, high = min(values) * scale, max(values) * scale
    said = f"{np.mean(values) * scale:{'+' if difference else ''}.{digits}f}{unit}"
    return said if len(values) == 1 else f"{said} ({low:.{digits}f} .. {high:.{digits}f})"
