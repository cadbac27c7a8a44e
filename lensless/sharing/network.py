"""A network that computes its weights from shared templates."""

import contextlib
import copy
import dataclasses
import functools
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from hardware.errors import ConfigurationError
from lensless.sharing.bank import Assembly, BankNumbers
from lensless.sharing.plan import Bank, Plan, SharedWeight
from lensless.sharing.weights import fingerprint, place


class SharedNetwork(nn.Module):
    """A network whose shared weights are made anew in each call, once, and are gone after it.

    What it can be asked for beyond this class is that of the network itself. A layer that is called by itself makes its
    own weight. Its `state_dict` holds templates, mixing numbers and what is private, and no weight that is made.

    Args:
        network: that the plan was made for; it is copied.
        plan: see `lensless.sharing.plan`.

    Raises:
        ConfigurationError: the plan was made for another network.
    """

    def __init__(self, network: nn.Module, plan: Plan):
        super().__init__()
        found = fingerprint(network)
        if found != plan.fingerprint:
            raise ConfigurationError(
                f"share: this plan was made for another network (fingerprint {plan.fingerprint}, not {found}); "
                "make one for it: share(network, budget=...)"
            )
        self.plan = plan
        self.layer_by_layer = False
        self.network = copy.deepcopy(network)
        self._assemblies = {each.weight.name: Assembly(each, plan.banks) for each in plan.weights}
        self._weights = {each.weight.name: each.weight for each in plan.weights}
        kinds: dict[int, Tensor] = {}
        self._channels_last: set[str] = set()
        for name, weight in self._weights.items():
            module, own = place(self.network, name)
            parameter = getattr(module, own)
            if tuple(weight.seen(parameter).shape) != weight.shape:
                raise ConfigurationError(f"plan: {name!r} is {weight.shape}; the network has {tuple(parameter.shape)}")
            if _is_channels_last(parameter):
                self._channels_last.add(name)
            kinds |= dict.fromkeys(self._assemblies[name].rows(), parameter)
            for alias in (name, *weight.also):
                module, own = place(self.network, alias)
                if own not in module._parameters:  # one module under two names
                    continue
                del module._parameters[own]
                module.register_forward_pre_hook(functools.partial(self._before_layer, name, own))
                module.register_forward_hook(functools.partial(self._after_layer, own), always_call=True)
        self.banks = nn.ModuleList(
            BankNumbers(bank, kinds[at].dtype, kinds[at].device) for at, bank in enumerate(plan.banks)
        )

        self._cut()

    def _cut(self) -> None:
        """Tell the banks where weights begin to read."""
        begins = set().union(*(assembly.begins() for assembly in self._assemblies.values()))
        for at, bank in enumerate(self.banks):
            bank.begins = frozenset(row for number, row in begins if number == at)

    def forward(self, *args, **kwargs):
        with contextlib.nullcontext() if self.layer_by_layer else self.expanded():
            return self.network(*args, **kwargs)

    def __getattr__(self, name: str):
        try:
            return super().__getattr__(name)
        except AttributeError:
            network = self.__dict__.get("_modules", {}).get("network")
            if network is None:
                raise
            return getattr(network, name)

    def materialise(self) -> dict[str, Tensor]:
        """All shared weights by name, as the layers take them; one product for each bank, in its own precision."""
        with torch.autocast(self._device_type(), enabled=False):
            made = {at: bank.make() for at, bank in enumerate(self.banks)}
            return {name: self._laid_out(name, assembly.weight(made)) for name, assembly in self._assemblies.items()}

    @contextlib.contextmanager
    def expanded(self) -> Iterator[dict[str, Tensor]]:
        """Weights at their places, made once, for whatever of the network is called inside; nested, it does nothing."""
        if any("weight" in place(self.network, name)[0].__dict__ for name in self._weights):
            yield {}
            return
        weights = self.materialise()
        try:
            self._put(weights)
            yield weights
        finally:
            self._take_away()

    @contextlib.contextmanager
    def held(self) -> Iterator[dict[str, Tensor]]:
        """Weights made once for any number of forward and backward passes inside; gradients stop at them."""
        with torch.no_grad():
            leaves = self.materialise()
        for leaf in leaves.values():
            leaf.requires_grad_()
        try:
            self._put(leaves)
            yield leaves
        finally:
            self._take_away()

    @contextlib.contextmanager
    def gathered(self) -> Iterator[dict[str, Tensor]]:
        """As `held`, and at the end the gradients go on to the templates: the generator is passed once, however many
        batches, members of an ensemble or rounds of a recurrent network there were."""
        made = self.materialise()
        with self.held() as leaves:
            yield leaves
        used = [name for name, leaf in leaves.items() if leaf.grad is not None]
        torch.autograd.backward([made[name] for name in used], [leaves[name].grad for name in used])

    def bake(self) -> nn.Module:
        """The plain network with the weights of now: the class it had before, and nothing of this package in it."""
        plain = copy.deepcopy(self.network)
        with torch.no_grad():
            weights = self.materialise()
        for name, weight in self._weights.items():
            parameter = nn.Parameter(weights[name].detach().clone())
            for alias in (name, *weight.also):
                module, own = place(plain, alias)
                module.register_parameter(own, parameter)
                _forget(module._forward_pre_hooks, self._before_layer)
                _forget(module._forward_hooks, self._after_layer)
        return plain

    def mixing_gradients(self, name: str, gradient: Tensor) -> dict[tuple[int, int], Tensor]:
        """How one weight alone wants the mixing numbers of its rows to change.

        Args:
            name: of the weight.
            gradient: of a loss with regard to that weight, in its shape.

        Returns:
            By (bank, row), in the shape of the row's own; rows without mixing numbers are left out.
        """
        assembly, found = self._assemblies[name], {}
        leaves = {
            at: [numbers.detach().requires_grad_() for numbers in self.banks[at].mixing] for at in assembly.rows()
        }
        if not any(leaves.values()):
            return {}
        with torch.enable_grad():
            made = {at: self.banks[at].make(sorted(rows), leaves[at]) for at, rows in assembly.rows().items()}
            weight = self._weights[name].seen(assembly.weight(made))
            every = [leaf for bank in leaves.values() for leaf in bank]
            gradients = dict(
                zip(map(id, every), torch.autograd.grad(weight, every, gradient, allow_unused=True), strict=True)
            )
        for at, rows in assembly.rows().items():
            for leaf, (_, members) in zip(leaves[at], self.banks[at].own_groups(), strict=True):
                for number, row in enumerate(members):
                    if row in rows:
                        found[at, row] = gradients[id(leaf)][number]
        return found

    def replan(
        self, banks: tuple[Bank, ...], weights: tuple[SharedWeight, ...], copied: dict[int, list[int]]
    ) -> list[nn.Parameter]:
        """Read rows that lie behind those there were, in place: copies, so that no weight changes.

        Args:
            banks, weights: of the new plan.
            copied: by bank, which row each new one is a copy of.

        Returns:
            The new mixing numbers.
        """
        self.plan = dataclasses.replace(self.plan, banks=banks, weights=weights)
        self._assemblies = {each.weight.name: Assembly(each, banks) for each in weights}
        new = [numbers for at, rows in copied.items() for numbers in self.banks[at].append(banks[at], rows)]
        self._cut()
        return new

    def described(self, name: str) -> str:
        """One of `named_parameters` for people: which layers it is of."""
        parts = name.split(".")
        if parts[0] == "network":
            return repr(name.removeprefix("network."))
        at = int(parts[1])
        layers = [each.weight.name.removesuffix(".weight") for each in self.plan.weights
                  if any(piece.bank == at for piece in each.pieces)]  # fmt: skip
        what = "templates" if parts[2] == "numbers" else "mixing numbers"
        rest = f" and {len(layers) - 4} more" if len(layers) > 4 else ""
        return f"{name!r} ({what} of the layers {', '.join(layers[:4])}{rest})"

    def mixing_numbers(self) -> list[nn.Parameter]:
        """Of all banks: no weight decay should pull them to 0, where templates would lose their place."""
        return [numbers for bank in self.banks for numbers in bank.mixing]

    def mixing_rates(self) -> list[float]:
        """For each of `mixing_numbers`, the learning rate for Adam and its kin, in units of that of a plain weight.

        A step of Adam is as large for a mixing number as for a number of a template, which is ten times smaller or
        more: layers would hardly move but together. With these rates a step moves it by twice the part of what it is
        that it moves templates by. They follow from the numbers of now, so ask before training. Gradient descent with
        momentum needs none: there a mixing number's gradient grows with the templates.
        """
        return [rate for bank in self.banks for rate in bank.mixing_rates()]

    def parameter_groups(self, weight_decay: float, adam_rate: float | None = None) -> list[dict]:
        """For an optimiser: templates and private weights with decay; mixing numbers, norms and biases without.

        Args:
            weight_decay: of what has one.
            adam_rate: the learning rate, for Adam and its kin, which need other ones for mixing numbers.
        """
        mixing, templates = self.mixing_numbers(), [bank.numbers for bank in self.banks]
        apart = {id(parameter) for parameter in (*mixing, *templates)}
        rest = [parameter for parameter in self.parameters() if id(parameter) not in apart]
        groups = [
            {"params": [*templates, *(one for one in rest if one.ndim > 1)], "weight_decay": weight_decay},
            {"params": [one for one in rest if one.ndim < 2], "weight_decay": 0.0},
        ]
        if adam_rate is None:
            return [groups[0], groups[1] | {"params": [*groups[1]["params"], *mixing]}]
        own = [
            {"params": [numbers], "weight_decay": 0.0, "lr": adam_rate * rate}
            for numbers, rate in zip(mixing, self.mixing_rates(), strict=True)
        ]
        return [*(group | {"lr": adam_rate} for group in groups), *own]

    def _device_type(self) -> str:
        return self.banks[0].numbers.device.type

    def _laid_out(self, name: str, weight: Tensor) -> Tensor:
        last = name in self._channels_last
        kept = torch.channels_last if last else torch.contiguous_format
        return self._weights[name].seen(weight).contiguous(memory_format=kept)

    def _put(self, weights: dict[str, Tensor]) -> None:
        for name, weight in self._weights.items():
            for alias in (name, *weight.also):
                module, own = place(self.network, alias)
                module.__dict__[own] = weights[name]

    def _take_away(self) -> None:
        for name, weight in self._weights.items():
            for alias in (name, *weight.also):
                module, own = place(self.network, alias)
                module.__dict__.pop(own, None)

    def _before_layer(self, name: str, own: str, module: nn.Module, args: tuple) -> None:
        if own not in module.__dict__:
            assembly = self._assemblies[name]
            with torch.autocast(self._device_type(), enabled=False):
                made = {at: self.banks[at].make(sorted(rows)) for at, rows in assembly.rows().items()}
                module.__dict__[own] = self._laid_out(name, assembly.weight(made))
            module.__dict__["_made_alone"] = True

    def _after_layer(self, own: str, module: nn.Module, args: tuple, output) -> None:
        if module.__dict__.pop("_made_alone", False):
            module.__dict__.pop(own, None)


def _is_channels_last(parameter: Tensor) -> bool:
    wide = parameter.ndim == 4 and not parameter.is_contiguous()
    return wide and parameter.is_contiguous(memory_format=torch.channels_last)


def _forget(hooks: dict, method) -> None:
    """Take the hooks of sharing away, and leave those of others."""
    for key, hook in list(hooks.items()):
        if isinstance(hook, functools.partial) and getattr(hook.func, "__func__", None) is method.__func__:
            del hooks[key]
