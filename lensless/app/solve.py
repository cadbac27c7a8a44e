"""`lensless reconstruct RIG SOURCE --solver NAME`: pictures without any training."""

import dataclasses
import itertools
import pathlib
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from calibration import Calibration
from hardware.errors import CalibrationMismatch, ConfigurationError
from hardware.replay import SUFFIX
from lensless.app.inference import (
    SHEET,
    Made,
    check_new,
    say_refused,
    scene_of,
    sheet_of,
    usable,
    write_image,
    write_pictures,
)
from lensless.app.load import MOST_FRAMES, open_device
from lensless.app.perturbation import drift_of
from lensless.app.rig import MOST_RAYS, Rig, open_rig
from lensless.app.screen import Screen, counted
from lensless.app.setting import Setting
from lensless.app.simulated import options_of
from lensless.app.solvers import CHOICES, ITERATIONS, Asked, Solver, solver_of
from lensless.app.sources import Seen, measurements, provenances, rigs_of
from lensless.evaluate.evaluation import drawn
from lensless.evaluate.figures import HEADS, shown
from lensless.tasks.picture import psnr_db
from lensless.train import checkpoint

_UNLIKE = 1.5  # times the noise: what a misfit beyond all noise and smoothing is
AT_ONCE, AT_ONCE_VALUES = 32, 2**24  # measurements that are solved together; pixels of them


@dataclasses.dataclass(frozen=True)
class Wish:
    """The options of the command, as they were given."""

    rig: str
    source: str
    out: pathlib.Path
    asked: Asked
    count: int | None = None
    frames: int | None = None
    rays: int | None = None
    calibration: pathlib.Path | None = None
    device: str = "auto"


def reconstruct(wish: Wish, screen: Screen) -> None:
    """Write a picture of every measurement, a sheet of them, and how well each fits what was measured."""
    wish.asked.check()
    setting = _prepared(wish, screen)
    refused = []
    seen = _seen(wish, setting, refused)
    first = list(itertools.islice(seen, _at_once(setting)))
    with screen.working(f"{wish.asked.solver} prepares itself"):
        solver = solver_of(wish.asked, setting, _stacked(first, setting))
    screen.say(f"  {solver.chosen}")
    found = write_pictures(_made(itertools.chain(first, seen), solver, setting), wish.out, screen)
    _say_fit(found["pictures"], screen)
    chosen = {"solver": wish.asked.solver, "chosen": solver.chosen, **solver.facts}
    screen.result(_facts(wish, setting) | chosen | found | say_refused(refused, screen))


def compare(wish: Wish, screen: Screen) -> None:
    """All solvers on the same measurements, each with the weight that it chooses: one sheet, one table."""
    setting = _prepared(wish, screen)
    refused = []
    seen = list(_seen(wish, setting, refused))
    first, views, lines = _stacked(seen[: _at_once(setting)], setting), {}, []
    for name in CHOICES:
        asked = dataclasses.replace(wish.asked, solver=name)
        if name == "wiener" and asked.scenes is None:
            screen.say("wiener is left out: it is fitted on scenes, say which with --scenes")
            continue
        if name in ITERATIONS:
            asked = dataclasses.replace(asked, scenes=None)
        began_s = time.perf_counter()
        solver = solver_of(asked, setting, first)
        made = list(_made(iter(seen), solver, setting))
        lines.append(_line(name, solver, made, time.perf_counter() - began_s))
        screen.say(f"  {solver.chosen}")
        views[name] = [drawn(one.picture[0].clamp(0, 1)).numpy() for one in made[:SHEET]]
    write_image(wish.out, "sheet.png", sheet_of(seen[:SHEET], views))
    heads = ["solver", HEADS["psnr_db"], "|A x - y| / |y|", "noise alone", "seconds"]
    rows = [
        [one["solver"], shown("psnr_db", one["psnr_db"]), f"{one['misfit']:.2%}", f"{one['misfit_of_noise']:.2%}",
         f"{one['seconds']:.1f}"] for one in lines
    ]  # fmt: skip
    screen.table(f"{counted(len(seen), 'measurement')}, means", heads, rows)
    screen.say(f"{wish.out / 'sheet.png'} shows the first {SHEET}; noise alone: what the true scenes would leave")
    screen.result(_facts(wish, setting) | {"solvers": lines} | say_refused(refused, screen))


def _line(name: str, solver: Solver, made: list[Made], seconds: float) -> dict:
    """Means of what one solver made."""
    figures = [
        float(psnr_db(one.picture, scene_of(one.seen, one.picture.device))[0])
        for one in made
        if one.seen.scene is not None and one.seen.scene.shape == one.picture.shape[1:]
    ]
    means = {key: sum(one.facts[key] for one in made) / len(made) for key in ("misfit", "misfit_of_noise")}
    mean = sum(figures) / len(figures) if figures else None
    return {"solver": name, "chosen": solver.chosen, "psnr_db": mean, "seconds": seconds, **solver.facts, **means}


def _prepared(wish: Wish, screen: Screen) -> Setting:
    """The rig in use, after everything was looked at that can be refused before its forward model is made."""
    _check_order(wish)
    check_new(wish.out)
    rig = _rig(wish)
    _check_rigs(rig, wish, screen)
    with screen.working(f"forward model and calibration of {rig.id}"):
        setting = _setting(rig, wish)
        _ = rig.forward_model
    return setting


def _seen(wish: Wish, setting: Setting, refused: list) -> Iterator[Seen]:
    everything = measurements(
        wish.source, setting.calibration, setting.frames, wish.count, scenes=True, rays=setting.rig.rays
    )
    return usable(everything, refused, wish.source)


def _facts(wish: Wish, setting: Setting) -> dict:
    return {
        "rig": setting.rig.id, "source": wish.source, "frames": setting.frames, "calibration": setting.calibration.id
    }  # fmt: skip


def _say_fit(pictures: list[dict], screen: Screen) -> None:
    misfit, noise = (sum(one[name] for one in pictures) / len(pictures) for name in ("misfit", "misfit_of_noise"))
    screen.say(f"|A x - y| / |y|: {misfit:.2%} in the mean; the true scenes would leave {noise:.2%}, by noise alone")
    if "std_mean" in pictures[0]:
        screen.say("error bar: standard deviation, mean (largest) over the pixels; white in its picture is the largest")
    if misfit > _UNLIKE * noise:
        screen.say(
            "the pictures fit their frames worse than noise explains: is it another rig, has it moved "
            "(lensless calibrate --check), is it smoothed too much (--weight)?"
        )


def _made(seen: Iterator[Seen], solver: Solver, setting: Setting) -> Iterator[Made]:
    """Solved in batches."""
    dark, model = setting.rig.spec.scene.dark_level, setting.rig.forward_model
    while some := list(itertools.islice(seen, _at_once(setting))):
        y = _stacked(some, setting)
        solved = solver(y)
        size = y.flatten(1).norm(dim=1)
        misfit = (model.A(solved.x) - y).flatten(1).norm(dim=1) / size
        noise = setting.noise_variance_at(y.clamp_min(0)).flatten(1).sum(1).sqrt() / size
        pictures = (solved.x - dark) / (1 - dark)
        stds = None if solved.std is None else solved.std / (1 - dark)
        for k, one in enumerate(some):
            std = None if stds is None else stds[k : k + 1]
            facts = {"misfit": float(misfit[k]), "misfit_of_noise": float(noise[k]), **solved.facts}
            fit = {"|A x - y| / |y|": f"{misfit[k]:.2%}", "noise alone": f"{noise[k]:.2%}"}
            cells = fit | {"iterations": solved.ended}
            if std is not None:
                facts |= {"std_mean": float(std.mean()), "std_largest": float(std.max())}
                cells["error bar"] = f"{std.mean():.3f} ({std.max():.3f})"
            yield Made(one, pictures[k : k + 1], std, facts, cells)


def _at_once(setting: Setting) -> int:
    rows, columns = setting.rig.forward_model.sensor_shape
    return max(1, min(AT_ONCE, AT_ONCE_VALUES // (rows * columns)))


def _stacked(seen: list[Seen], setting: Setting) -> Tensor:
    return torch.cat([one.y for one in seen]).to(setting.device)


def _rig(wish: Wish) -> Rig:
    """With as many rays as the source was made with, unless others are asked for."""
    rig, rays = open_rig(wish.rig, str(open_device(wish.device)), wish.rays), _said_by(wish.source).get("rays")
    if rig.rays is not None and wish.rays is None and type(rays) is int and 2 <= rays <= MOST_RAYS:
        return Rig(rig.spec, str(rig.device), rays)
    return rig


def _setting(rig: Rig, wish: Wish) -> Setting:
    """With as many frames averaged as were taken of each scene, unless another number is asked for."""
    real, frames = None if wish.calibration is None else Calibration.load(wish.calibration), wish.frames
    said = _said_by(wish.source).get("frames")
    if frames is None and type(said) is int and 1 <= said <= MOST_FRAMES:
        frames = said
    return Setting.of(rig, frames, real)


def _said_by(source: str) -> dict:
    """What the source says of itself; nothing, where its recordings differ."""
    scheme, _, place = source.partition(":")
    if scheme == "simulated":
        return {
            name: int(value) for name, value in options_of(place)[1].items() if name in ("rays", "frames") and value
        }
    said = [{name: facts.get(name) for name in ("rays", "frames")} for facts in provenances(source)]
    return said[0] if said and all(one == said[0] for one in said) else {}


def _check_order(wish: Wish) -> None:
    """Raises ConfigurationError if a checkpoint, or a recording, stands where a rig is expected."""
    if pathlib.Path(wish.rig).suffix == SUFFIX:
        raise ConfigurationError(f"{wish.rig} is a recording, no rig: with --solver the order is RIG SOURCE")
    for name in (wish.rig, wish.source):
        if (pathlib.Path(name) / checkpoint.WEIGHTS).is_file():
            raise ConfigurationError(
                f"{name} is a checkpoint, which needs no solver: leave --solver {wish.asked.solver} out; with it the "
                "order is RIG SOURCE, a rig such as cannula-v1"
            )


def _check_rigs(rig: Rig, wish: Wish, screen: Screen) -> None:
    """Refuse frames that say that they are of another rig; of one that drifted it is said.

    A measured rig is known by its camera, which its calibration checks in every frame.

    Raises:
        CalibrationMismatch: they are of another rig.
    """
    spec = rig.spec
    for rig_id, fingerprint in dict.fromkeys(rigs_of(wish.source)):
        if rig.own_calibration is not None and "@" not in rig_id:
            continue
        if (rig_id, fingerprint) == (spec.id, spec.fingerprint):
            continue
        drift = drift_of(spec, rig_id, fingerprint)
        if drift is None:
            raise CalibrationMismatch(
                f"'{wish.source}' is of rig {rig_id!r} (fingerprint {fingerprint[:12]}), not of {spec.id!r} "
                f"({spec.fingerprint[:12]}); name the rig that it was recorded with"
            )
        screen.say(f"these frames are of {spec.id} after it drifted (seed {drift[0]}, strength {drift[1]:g})")
