"""Growing: two trained half networks become one, with connections between them.

After MixtureGrowth (Pham et al., WACV 2024, arXiv 2311.04251).

Both halves run at once, one behind the other in the batch: what works on each sample alone (activations, pooling,
concatenation, resizing) needs no change, and every norm sees the numbers that it saw before. A layer of halves a and
b is

    [y_a]   [W_a   C_ab] [x_a]
    [y_b] = [C_ba  W_b ] [x_b]

in which each C mixes the templates of the half that it leads to, so that growing costs mixing numbers only. With C = 0
the grown network gives just what the two halves give together.
"""

import copy
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardware.errors import ConfigurationError
from lensless.sharing.network import SharedNetwork
from lensless.sharing.weights import STRAIGHT

CROSS = ("zero", "orthogonal", "random", "copy")
COMBINE = {"sum": lambda a, b: a + b, "mean": lambda a, b: (a + b) / 2}


class Halves(nn.Module):
    """One layer of two networks whose samples lie behind one another in the batch: each half goes through its own."""

    def __init__(self, first: nn.Module, second: nn.Module):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        a, b = x.chunk(2)
        return torch.cat([self.first(a), self.second(b)])


class Crossed(Halves):
    """The same, each half also fed with the other's numbers: one layer of twice the width, for as many operations."""

    def forward(self, x: Tensor) -> Tensor:
        axis = -1 if isinstance(self.first, nn.Linear) else 1
        out = _apply(self.first, torch.cat(x.chunk(2), axis), self.weight, self._bias())
        return torch.cat(out.chunk(2, axis))

    def _bias(self) -> Tensor | None:
        return None if self.first.bias is None else torch.cat([self.first.bias, self.second.bias])


class Grown(nn.Module):
    """What `grow` gives; see there."""

    def __init__(self, first: SharedNetwork, second: SharedNetwork, combine: str):
        super().__init__()
        self.plans, self.combine = (first.plan, second.plan), combine
        one, other = copy.deepcopy(first), copy.deepcopy(second)
        self.banks = nn.ModuleList([one.banks, other.banks])
        self.cross = nn.ModuleList(
            nn.ParameterList(torch.zeros_like(mixing) for bank in half for mixing in bank.mixing) for half in self.banks
        )
        self._assemblies, self._weights = one._assemblies, one._weights
        self._crossed: dict[str, Crossed] = {}
        self.body = self._paired(one.network, other.network, "")

    def _paired(self, one: nn.Module, other: nn.Module, name: str) -> nn.Module:
        """The network with each layer of one and the other side by side, children first."""
        if type(one) is not type(other):
            raise ConfigurationError(
                f"grow: '{name}' is {type(one).__name__} in one network and {type(other).__name__} in the other"
            )
        weight = f"{name}.weight" if name else "weight"
        if weight in self._weights:
            _check_crossed(one, weight)
            self._crossed[weight] = Crossed(_plain(one), _plain(other))
            return self._crossed[weight]
        own = [*one.parameters(recurse=False), *one.buffers(recurse=False)]
        children = list(one.named_children())
        if children and not _alike(one, other):
            raise ConfigurationError(
                f"grow: '{name}' ({type(one).__name__}) holds numbers beside its layers that are trained, or not those "
                "of the other network; grow cannot pair them"
            )
        if own and not children:
            return Halves(one, other)
        for child, module in children:
            setattr(one, child, self._paired(module, getattr(other, child), f"{name}.{child}" if name else child))
        return one

    def forward(self, *inputs: Tensor) -> Tensor:
        for name, weight in self.materialise().items():
            self._crossed[name].__dict__["weight"] = weight
        try:
            out = self.body(*(torch.cat([x, x]) for x in inputs))
        finally:
            for layer in self._crossed.values():
                layer.__dict__.pop("weight", None)
        return COMBINE[self.combine](*out.chunk(2))

    def materialise(self) -> dict[str, Tensor]:
        """All shared weights of the grown width by name, as the layers take them."""
        made = [{at: bank.make() for at, bank in enumerate(half)} for half in self.banks]
        crossing = [
            {
                at: bank.make(mixing=numbers)
                for (at, bank), numbers in zip(enumerate(half), self._cross_of(number), strict=True)
            }
            for number, half in enumerate(self.banks)
        ]
        found = {}
        for name, assembly in self._assemblies.items():
            rows = [
                torch.cat([assembly.weight(made[0]), assembly.weight(crossing[0])], 1),
                torch.cat([assembly.weight(crossing[1]), assembly.weight(made[1])], 1),
            ]
            found[name] = self._weights[name].seen(torch.cat(rows))
        return found

    def mixing_numbers(self) -> list[nn.Parameter]:
        """Of both halves and of the connections between them: no weight decay should pull them to 0."""
        return [*(numbers for half in self.banks for bank in half for numbers in bank.mixing), *self.cross.parameters()]

    def _cross_of(self, half: int) -> Iterator[list[nn.Parameter]]:
        """The crossing numbers of each bank of a half."""
        left = iter(self.cross[half])
        for bank in self.banks[half]:
            yield [next(left) for _ in bank.mixing]

    def bake(self) -> nn.Module:
        """The grown network with plain weights."""
        plain = copy.deepcopy(self)
        with torch.no_grad():
            weights = plain.materialise()
        for name, layer in plain._crossed.items():
            layer.weight = nn.Parameter(weights[name].clone())
        return Baked(plain.body, self.combine)

    @torch.no_grad()
    def cross_with(self, kind: str, eps: float, generator: torch.Generator | None = None) -> None:
        """Set the crossing numbers, see `grow`."""
        for half, cross in zip(self.banks, self.cross, strict=True):
            mixings = [mixing for bank in half for mixing in bank.mixing]
            for numbers, mixing in zip(cross, mixings, strict=True):
                numbers.copy_(_crossing(kind, mixing, generator) * eps)


class Baked(nn.Module):
    """A grown network with plain weights."""

    def __init__(self, body: nn.Module, combine: str):
        super().__init__()
        self.body, self.combine = body, combine

    def forward(self, *inputs: Tensor) -> Tensor:
        return COMBINE[self.combine](*self.body(*(torch.cat([x, x]) for x in inputs)).chunk(2))


def grow(
    first: SharedNetwork, second: SharedNetwork, cross: str = "zero", *, eps: float = 1.0, combine: str = "sum",
    seed: int | None = None,
) -> Grown:  # fmt: skip
    """Two networks of one architecture as the halves of one of twice the width.

    Args:
        first, second: shared alike (equal plans), each trained by itself; they are copied.
        cross: how the connections between them begin: "zero" (the grown network gives what both give together),
            "orthogonal" (of each layer, a mixture at right angles to the half's own, as long), "random" or "copy" (the
            half's own).
        eps: what the connections are multiplied by.
        combine: "sum" of what the halves give, for logits, or "mean", for pictures and other regressions.
        seed: of "orthogonal" and "random"; None: torch's global generator.

    Raises:
        ConfigurationError: networks that differ, or an option that cannot be.
    """
    if cross not in CROSS or combine not in COMBINE:
        raise ConfigurationError(
            f"grow: cross = {cross!r}, combine = {combine!r}; expected one of {', '.join(CROSS)}, and one of "
            f"{', '.join(COMBINE)}"
        )
    if (first.plan.banks, first.plan.weights) != (second.plan.banks, second.plan.weights):
        raise ConfigurationError("grow: the two networks are not shared alike; share both with the same plan")
    whole = [bank.name for bank in first.plan.banks if not all(row.mixed for row in bank.rows)]
    if whole:
        raise ConfigurationError(
            f"grow: bank {whole[0]!r} has a template that is taken as it is, so nothing could mix connections of it; "
            "take method 'mixture' or 'cells', or more than one template"
        )
    grown = Grown(first, second, combine)
    grown.cross_with(cross, eps, None if seed is None else torch.Generator().manual_seed(seed))
    return grown


@torch.no_grad()
def widen(shared: SharedNetwork, noise: float = 0.1, *, combine: str = "mean", seed: int | None = None) -> Grown:
    """One network, doubled in width: its halves are the network and a copy with noise, without connections at first.

    Args:
        shared: trained; it is copied.
        noise: standard deviation of what is added to the numbers of the copy's banks, in theirs; with 0, "mean" gives
            just what the network gave, but two equal halves learn the same.
        combine: as of `grow`.
        seed: of the noise; None: torch's global generator.
    """
    if not noise >= 0:
        raise ConfigurationError(f"widen: noise = {noise!r}; expected 0 or more")
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    other = copy.deepcopy(shared)
    for bank in other.banks:
        drawn = torch.randn(bank.numbers.shape, generator=generator).to(bank.numbers)
        bank.numbers.add_(drawn * (noise * float(bank.numbers.std(correction=0))))
    return grow(shared, other, combine=combine)


def _crossing(kind: str, mixing: Tensor, generator: torch.Generator | None) -> Tensor:
    if kind == "zero":
        return torch.zeros_like(mixing)
    if kind == "copy":
        return mixing
    drawn = torch.randn(mixing.shape, generator=generator).to(mixing)
    lengths = mixing.norm(dim=1, keepdim=True)
    if kind == "orthogonal" and mixing.shape[1] > 1:
        own = mixing / lengths.clamp_min(1e-12)
        drawn = drawn - (drawn * own).sum(1, keepdim=True) * own
    return drawn / drawn.norm(dim=1, keepdim=True).clamp_min(1e-12) * lengths


def _alike(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules hold the same fixed numbers, beside their layers."""
    fixed = dict(other.named_buffers(recurse=False))
    own = dict(one.named_buffers(recurse=False))
    return (
        not [*one.parameters(recurse=False), *other.parameters(recurse=False)]
        and own.keys() == fixed.keys()
        and all(torch.equal(own[name], fixed[name]) for name in own)
    )


def _check_crossed(layer: nn.Module, name: str) -> None:
    if getattr(layer, "groups", 1) != 1 or (
        getattr(layer, "padding_mode", "zeros") != "zeros" and not isinstance(layer, STRAIGHT)
    ):
        raise ConfigurationError(f"grow: {name!r} works on groups of channels; keep it private: keep=[...]")


def _plain(layer: nn.Module) -> nn.Module:
    """A layer without the hooks that would make its own weight."""
    layer._forward_pre_hooks.clear()
    layer._forward_hooks.clear()
    return layer


def _apply(layer: nn.Module, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight, bias)
    if isinstance(layer, STRAIGHT):
        return layer._conv_forward(x, weight, bias)
    run = {3: F.conv_transpose1d, 4: F.conv_transpose2d, 5: F.conv_transpose3d}[weight.ndim]
    return run(x, weight, bias, layer.stride, layer.padding, layer.output_padding, layer.groups, layer.dilation)
