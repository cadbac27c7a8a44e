"""`lensless inspect --model`: which layers of a trained network share what, how alike they are, and who disagrees."""

import pathlib
import shlex

import numpy as np
import torch

from hardware.errors import ConfigurationError
from lensless.app.evaluate_job import check_classes
from lensless.app.gradients import gradient_batches
from lensless.app.load import open_device, setting_of
from lensless.app.pages import made_from
from lensless.app.rig_file import file_name
from lensless.app.screen import Screen
from lensless.app.text_file import check_place, write
from lensless.data.scenes import load_scenes
from lensless.evaluate import drawing, report
from lensless.sharing import SharedNetwork, conflict, similarity, summary, table
from lensless.sharing.conflict import Conflict
from lensless.tasks import Classifier
from lensless.train import checkpoint


def inspect(
    folder: pathlib.Path, scenes: str | None, page: pathlib.Path | None, device: str, screen: Screen,
    data: pathlib.Path | None = None, download: bool = False,
) -> None:  # fmt: skip
    """Tables on the screen, facts as JSON, and a page (`inspect-NAME.html` unless told otherwise).

    Raises:
        ConfigurationError: a network whose weights are its own, or scenes of other classes.
    """
    found = checkpoint.load(folder)
    task = found.task
    if not isinstance(task.network, SharedNetwork):
        raise ConfigurationError(
            f"--model {folder}: each weight of this network is its own; expected one that was trained with --budget"
        )
    page = page or pathlib.Path(f"inspect-{file_name(folder.resolve().name)}.html")
    check_place(page, "name another file with --page")
    setting = setting_of(found, str(folder), device)
    task = task.to(open_device(device))
    name = scenes or found.card["scenes"]["train"][0].partition("/")[0]
    training = load_scenes(name, "train", 0, None, data, download)
    if isinstance(task, Classifier):
        check_classes(task, training, folder)
    with screen.working(f"gradients on scenes of {name}"):
        batches = gradient_batches(task, setting, training)
        seen = conflict(task.network, batches, lambda network, batch: task.training_loss(network, *batch))
    shared = task.network
    alike = similarity(shared)
    for line in summary(shared.plan):
        screen.say(line)
    heads, rows = table(shared.plan)
    shown = rows[: len(shared.plan.weights)]  # the page has those that are not shared, too
    screen.table("", heads, [[row[0].removesuffix(".weight"), *row[1:]] for row in shown])
    command = shlex.join(["lensless", "inspect", "--model", str(folder), *(["--scenes", scenes] if scenes else [])])
    facts = {
        "page made by": command,
        "gradients on": f"{sum(len(inputs) for inputs, _ in batches):,} training scenes of {name}",
    }
    write(page, _page(folder.resolve().name, shared, alike, seen, made_from(setting, [found.card], name, facts)))
    screen.say(f"look at it: {page.resolve()}")
    screen.result(
        {
            "checkpoint": str(folder), "plan": shared.plan.facts(), "trained": shared.plan.trainable,
            "natural": shared.plan.natural, "weights": list(seen.names), "similarity": _nested(alike),
            "conflict": _nested(seen.mean), "conflict_std": _nested(seen.spread()), "page": str(page),
        }
    )  # fmt: skip


def _page(name: str, shared: SharedNetwork, alike: torch.Tensor, seen: Conflict, origin: str) -> str:
    plan = shared.plan
    names = [weight.removesuffix(".weight") for weight in seen.names]
    spent = {
        "templates": sum(bank.numbers for bank in plan.banks),
        "mixing": sum(bank.trained - bank.numbers for bank in plan.banks),
        "not shared": plan.private_numbers,
    }
    pieces = np.zeros((len(plan.weights), len(plan.banks)))
    for at, each in enumerate(plan.weights):
        for piece in each.pieces:
            pieces[at, piece.bank] += piece.used[0] * piece.used[1] / (each.weight.shape[0] * each.weight.shape[1])
    spread = seen.spread().numpy()
    off = ~np.eye(len(names), dtype=bool) & np.isfinite(spread)
    noise = f"{np.median(spread[off]):.2f}" if off.any() else "none: one layer of each kernel"
    sections = [
        report.section(
            "What was spent", " ".join(f"{line[0].upper()}{line[1:]}." for line in summary(plan)),
            drawing.spent(spent, plan.budget, plan.natural),
        ),
        report.section(
            "Which layers share what",
            "The part of each weight (row) that comes from each bank of templates (column). Layers that read one bank "
            "share its numbers.",
            drawing.shares(pieces, names, [bank.name for bank in plan.banks]),
        ),
        report.section(
            "How alike the weights have become",
            "Size of the cosine between weights, on the block of outputs and inputs that both have; how templates and "
            "mixing numbers divide the work does not matter. 1: one is a multiple of the other. Grey: another kernel.",
            drawing.likeness(alike.numpy(), names, low=0.0),
        ),
        report.section(
            "Who agrees",
            "Cosine between the gradients of the weights: layers above 0 want to move alike, layers below 0 hold each "
            f"other back if they share. Mean of {len(seen.cosines)} batches; what other batches would change: "
            f"{noise} (standard deviation, median of all pairs).",
            drawing.likeness(seen.mean.numpy(), names, low=-1.0),
        ),
        report.section("Layer by layer", "", report.plain_table(*table(plan))),
        origin,
    ]  # fmt: skip
    lead = (
        f"{plan.natural:,} weights and other numbers, computed from {plan.trainable:,} that were trained "
        f"({plan.trainable / plan.natural:.0%})."
    )
    return report.page(f"What the network {name} shares", lead, sections)


def _nested(values: torch.Tensor) -> list[list[float | None]]:
    """For JSON, which knows no nan."""
    return [[None if value != value else round(value, 6) for value in row] for row in values.tolist()]
