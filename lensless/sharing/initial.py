"""Numbers that a shared network begins with. Scale and step size decide whether it learns at all.

A weight W = g (a T) that mixes templates T with a row a and a fixed gain g has (i) the spread g |a| std(T) and (ii)
moves, for a gradient step on T, by g^2 |a|^2 of what the plain weight would move. Both are right when T has the
spread that He et al. (2015, doi 10.1109/ICCV.2015.123) give the weight of largest fan-in, |a| = 1, and g =
sqrt(largest fan-in / fan-in), where that is at most 2; and likewise with any other spread that a network's author
chose. Small templates with a large gain, or the other way round, learn a hundred times too fast or too slowly.

A weight that its author began at zero or near it, so that its layer is silent at first, gets rows that are as much
shorter: it is what it was, and its rows learn.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.sharing.network import SharedNetwork
from lensless.sharing.plan import Piece, Row
from lensless.sharing.weights import Weight

FASTEST = 2.0  # gain: a step moves a weight by its square
NEARLY_SILENT = 0.25  # of the usual spread


@torch.no_grad()
def draw(shared: SharedNetwork, spreads: dict[str, float], generator: torch.Generator | None = None) -> None:
    """Fresh numbers: each weight with about the spread that is asked for, and the step of a plain one.

    Args:
        shared: whose numbers are drawn.
        spreads: root mean square of each shared weight, by name; 0 for one that begins there.
        generator: of the numbers, on the processor; torch's own by default.
    """
    wanted_of, usual_of = _by_row(shared, spreads), _by_row(shared, _audible(shared, spreads))
    for at, bank in enumerate(shared.banks):
        usual = torch.tensor([usual_of[at, row] for row in range(len(bank.bank.rows))])
        wanted = torch.tensor([wanted_of[at, row] for row in range(len(bank.bank.rows))])
        # Of weights whose fan-ins differ more than fourfold, the smallest would move more than four times too fast.
        spread = max(usual.min(), usual.max() / FASTEST)
        bank.numbers.copy_(torch.randn(bank.numbers.shape, generator=generator) * spread)
        bank.gain.copy_(usual / spread)
        # What is to begin smaller has shorter rows or smaller numbers; with a smaller gain it would stay small.
        if not bank.mixing:
            bank.numbers.mul_((wanted / usual).max())
        for (row, rows), own in zip(bank.own_groups(), bank.mixing, strict=True):
            own.copy_(_drawn(row, len(rows), bank.trained(row), generator))
            if not row.larger:
                bank.gain[rows] = bank.gain[rows].clamp_min(1)
                own.mul_((wanted[rows] / spread).to(own)[:, None] / bank.gain[rows, None])


def _by_row(shared: SharedNetwork, spreads: dict[str, float]) -> dict[tuple[int, int], float]:
    """What each (bank, row) is asked for by the weights that read it."""
    found: dict[tuple[int, int], float] = {}
    for each in shared.plan.weights:
        for piece in each.pieces:
            wanted = spreads[each.weight.name] / (_smoothing(piece, each.weight.kernel) if piece.stretched else 1)
            # Of several weights, the smallest: it is that of the largest fan-in. One that begins silent has no say.
            known = found.get((piece.bank, piece.row), 0.0)
            found[piece.bank, piece.row] = min(wanted, known) if min(wanted, known) > 0 else max(wanted, known)
    return found


def _audible(shared: SharedNetwork, spreads: dict[str, float]) -> dict[str, float]:
    """With a usual spread for weights that begin at or near 0, too: they are to move as others do."""
    weights = {each.weight.name: each.weight for each in shared.plan.weights}
    ratios = sorted(spread / he(weights[name]) for name, spread in spreads.items() if spread > 0)
    usual = ratios[len(ratios) // 2] if ratios else 1.0
    return {
        name: spread if spread > NEARLY_SILENT * usual * he(weights[name]) else usual * he(weights[name])
        for name, spread in spreads.items()
    }


def _smoothing(piece: Piece, kernel: tuple[int, ...]) -> float:
    """Spread of independent numbers of spread 1 after they were resized: neighbours are averaged."""
    taps = math.prod(kernel)
    found = 1.0
    for small, large in zip(
        (piece.shape[0], piece.shape[1] * taps), (piece.used[0], piece.used[1] * taps), strict=True
    ):
        matrix = F.interpolate(torch.eye(small)[None], size=large, mode="linear", align_corners=False)[0]
        found *= float(matrix.square().sum(0).mean().sqrt())
    return found


def he(weight: Weight) -> float:
    """sqrt(2 / fan-in): what keeps the spread of signals through layers with rectifiers."""
    return math.sqrt(2 / weight.fan_in)


@torch.no_grad()
def fit(shared: SharedNetwork, originals: dict[str, Tensor]) -> None:
    """The nearest that the banks can come to given weights: truncated singular value decomposition of each bank.

    With as many templates as rows the weights are met. Of weights that share a row, it gets the mean.

    Args:
        originals: (outputs, inputs, *kernel) of each shared weight, by name.

    Raises:
        ConfigurationError: rows that read a bank at different places, or stretch it: there is no closed form.
    """
    for at, bank in enumerate(shared.banks):
        starts, sizes = {row.start for row in bank.bank.rows}, {row.size for row in bank.bank.rows}
        if starts != {0} or len(sizes) != 1:
            raise ConfigurationError(
                f"share: init='keep' needs rows that read the same templates; those of bank {bank.bank.name!r} read "
                "different ones; take method='cells' or 'soft', or init='he'"
            )
        _fit_bank(shared, at, originals)


def _fit_bank(shared: SharedNetwork, at: int, originals: dict[str, Tensor]) -> None:
    bank = shared.banks[at]
    targets = torch.zeros(len(bank.bank.rows), bank.bank.rows[0].size, dtype=torch.float64)
    seen = torch.zeros_like(targets)
    for each in shared.plan.weights:
        for piece in each.pieces:
            if piece.bank != at:
                continue
            if piece.stretched or bank.bank.rows[piece.row].larger:
                raise ConfigurationError("share: init='keep' cannot be had with resized templates; take init='he'")
            outputs, inputs = (slice(at, at + used) for at, used in zip(piece.at, piece.used, strict=True))
            block = originals[each.weight.name][outputs, inputs].double().cpu()
            whole = torch.zeros(*piece.shape, *each.weight.kernel, dtype=torch.float64)
            filled = torch.zeros_like(whole)
            whole[: piece.used[0], : piece.used[1]] = block
            filled[: piece.used[0], : piece.used[1]] = 1
            span = slice(piece.first, piece.first + whole.numel())
            targets[piece.row, span] += whole.flatten()
            seen[piece.row, span] += filled.flatten()
    targets /= seen.clamp_min(1)
    most = max(row.templates for row in bank.bank.rows)
    left, values, right = torch.linalg.svd(targets, full_matrices=False)
    # Templates of the spread of a plain weight, so that the steps are those of `draw`.
    scale = float(targets.square().sum(1).mean().sqrt()) or 1.0
    templates = torch.zeros(most, targets.shape[1], dtype=torch.float64)
    kept = min(most, len(values))
    templates[:kept] = right[:kept] * scale
    bank.numbers.copy_(templates.flatten()[: bank.bank.numbers])
    bank.gain.fill_(1)
    if not bank.mixing:  # one template, taken as it is
        bank.numbers.copy_(targets.mean(0))
    else:
        for (row, rows), mixing in zip(bank.groups, bank.mixing, strict=True):
            count = min(row.templates, kept)
            mixing.zero_()
            mixing[:, :count] = (left[rows, :count] * values[:count] / scale).to(mixing)


def _drawn(row: Row, rows: int, whole: int, generator: torch.Generator | None) -> Tensor:
    """Numbers of rows that keep the spread of what they read, (rows, *row.own); `whole` templates are all trained."""
    if row.larger == "mask":  # signs: copies that are alike would be one
        return torch.randint(2, (rows, *row.own), generator=generator) * 2.0 - 1.0
    if row.larger == "wavg":
        return torch.stack([_directions(*row.own, generator) for _ in range(rows)])
    if 0 < whole < row.templates:  # the last one is mostly zeros: it is mixed in by training
        return F.pad(_directions(rows, whole, generator), (0, row.templates - whole))
    return _directions(rows, row.templates, generator)


def _directions(rows: int, templates: int, generator: torch.Generator | None) -> Tensor:
    """Rows of length 1, (rows, templates), as different from one another as can be."""
    if templates == 1:
        return torch.ones(rows, 1)
    found = torch.randn(max(rows, templates), templates, generator=generator)
    found = torch.linalg.qr(found)[0][:rows]
    return found / found.norm(dim=1, keepdim=True)
