"""Which weights of a network can be shared, and how each of them is seen: (outputs, inputs, *kernel)."""

import dataclasses
import fnmatch
import hashlib
import json
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrize

from hardware.errors import ConfigurationError

SMALL = "small"
STRAIGHT = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)  # stored (inputs, outputs, *kernel)
# Smaller ones hardly save anything, each by itself: what a weight needs to be worth sharing, and which part of the
# network at least. Below `FEWEST`, mixing numbers would be as many.
LEAST_NUMBERS, LEAST_SHARE, FEWEST = 1024, 0.001, 64


@dataclasses.dataclass(frozen=True)
class Weight:
    """A weight that can be shared.

    Args:
        name: as in `named_parameters`.
        shape: (outputs, inputs of one group, *kernel).
        swapped: whether the layer stores inputs first.
        also: other names of the same parameter.
        member: which of several networks it is of, where there are several.
    """

    name: str
    shape: tuple[int, ...]
    swapped: bool = False
    also: tuple[str, ...] = ()
    member: str = ""

    @property
    def numbers(self) -> int:
        return math.prod(self.shape)

    @property
    def kernel(self) -> tuple[int, ...]:
        return self.shape[2:]

    @property
    def fan_in(self) -> int:
        return math.prod(self.shape[1:])

    def seen(self, stored: Tensor) -> Tensor:
        """A stored weight as (outputs, inputs, *kernel); of that, the stored one again."""
        return stored.transpose(0, 1) if self.swapped else stored


@dataclasses.dataclass(frozen=True)
class Private:
    """Trained numbers that a network keeps for itself, and why."""

    name: str
    numbers: int
    reason: str


def kernel_name(weight: Weight) -> str:
    """Of the bank that weights like this one share, for people."""
    return "x".join(map(str, weight.kernel)) or "linear"


def layers_of(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of each layer that may have a weight to share, in the order of their definition.

    Raises:
        ConfigurationError: a weight that something else computes already, or that has no shape yet.
    """
    for name, module in network.named_modules():
        if not isinstance(module, STRAIGHT + TRANSPOSED):
            continue
        if parametrize.is_parametrized(module, "weight") or "weight" not in module._parameters:
            raise ConfigurationError(
                f"share: the weight of layer '{name}' ({type(module).__name__}) is computed from others already "
                "(weight or spectral normalisation, another sharing); remove that first, or name the layer in keep="
            )
        yield name, module


def find(network: nn.Module, keep: Sequence[str] = ()) -> tuple[list[Weight], set[str], list[Private]]:
    """Weights that can be shared, names of those among them that are small, and all other trained numbers.

    Args:
        keep: patterns of names (`fnmatch`) of layers or parameters that stay as they are.

    Raises:
        ConfigurationError: a weight of which nobody knows the shape yet or that is computed from others, or a pattern
            that names nothing.
    """
    _check_shapes(network)
    names = _names(network)
    least = max(LEAST_NUMBERS, LEAST_SHARE * sum(parameter.numel() for parameter in network.parameters()))
    kept = _kept([name for all_names in names.values() for name in all_names], keep)
    weights, small, reasons = [], set(), {}
    for layer, module in layers_of(network):
        name = f"{layer}.weight" if layer else "weight"
        parameter, swapped = module.weight, isinstance(module, TRANSPOSED)
        seen = parameter.transpose(0, 1) if swapped else parameter
        first, *also = names[id(parameter)]
        if name != first or not parameter.requires_grad:
            continue
        if name in kept:
            reasons[name] = "kept"
        elif seen.shape[1] == 1 or getattr(module, "groups", 1) == module.weight.shape[0]:
            reasons[name] = "one input for each output"
        elif parameter.numel() < FEWEST:
            reasons[name] = SMALL
        else:
            if parameter.numel() < least:
                small.add(name)
            weights.append(Weight(name, tuple(seen.shape), swapped, tuple(also), _member(network, layer)))
    shared = {weight.name for weight in weights}
    private = [
        Private(name, parameter.numel(), reasons.get(name, "no weight of a layer"))
        for name, parameter in network.named_parameters()
        if parameter.requires_grad and name not in shared
    ]
    return weights, small, private


def ends(network: nn.Module) -> dict[str, str]:
    """Weights of the first and the last layer, of each of several networks, and which of both it is."""
    found: dict[str, list[str]] = {}
    for layer, _ in layers_of(network):
        found.setdefault(_member(network, layer), []).append(f"{layer}.weight" if layer else "weight")
    return {
        name: reason
        for names in found.values()
        for name, reason in ((names[0], "first layer"), (names[-1], "last layer"))
    }


def _member(network: nn.Module, layer: str) -> str:
    return layer.partition(".")[0] if isinstance(network, nn.ModuleDict) else ""


def fingerprint(network: nn.Module) -> str:
    """Of names, shapes and kinds of all trained numbers: a plan fits the network that it was made for."""
    facts = [(name, list(value.shape), value.requires_grad) for name, value in network.named_parameters()]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def place(network: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that has a parameter, and its name there."""
    layer, _, own = name.rpartition(".")
    return network.get_submodule(layer), own


def _names(network: nn.Module) -> dict[int, list[str]]:
    """All names of each parameter, by its identity: tied weights have several."""
    names: dict[int, list[str]] = {}
    for name, parameter in network.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return names


def _kept(names: Sequence[str], patterns: Sequence[str]) -> set[str]:
    found = set()
    for pattern in patterns:
        hits = {name for name in names if any(fnmatch.fnmatchcase(name, f"{pattern}{end}") for end in ("", ".*"))}
        if not hits:
            known = ", ".join(sorted({name.rpartition(".")[0] for name in names})[:12])
            raise ConfigurationError(f"share: keep={pattern!r} names no layer; there are {known} ...")
        found |= hits
    return found


def _check_shapes(network: nn.Module) -> None:
    lazy = [name for name, value in network.named_parameters() if isinstance(value, UninitializedParameter)]
    if lazy:
        raise ConfigurationError(
            f"share: {lazy[0]!r} has no shape yet (a lazy module); call the network once with an example first"
        )
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ConfigurationError("share: the network has no trained numbers; expected some with requires_grad")
    odd = [name for name, value in network.named_parameters() if value.requires_grad and not value.is_floating_point()]
    if odd:
        raise ConfigurationError(f"share: {odd[0]!r} is complex; expected real weights: name it in keep=")


def clusters(network: nn.Module, weights: Sequence[Weight]) -> list[list[Weight]]:
    """Weights of equal kernel, each in the order of definition; those may share templates.

    Raises:
        ConfigurationError: weights of one kernel that differ in type or device.
    """
    found: dict[tuple[int, ...], list[Weight]] = {}
    kinds: dict[tuple[int, ...], tuple[torch.dtype, torch.device]] = {}
    for weight in weights:
        module, own = place(network, weight.name)
        parameter = getattr(module, own)
        kind = parameter.dtype, parameter.device
        if kinds.setdefault(weight.kernel, kind) != kind:
            raise ConfigurationError(
                f"share: {weight.name!r} is {kind[0]} on {kind[1]}, weights of the same kernel before it are "
                f"{kinds[weight.kernel][0]} on {kinds[weight.kernel][1]}; convert the network, or name one in keep="
            )
        found.setdefault(weight.kernel, []).append(weight)
    return list(found.values())
