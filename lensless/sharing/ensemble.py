"""Several networks on one set of templates: what they say together, and how sure that is."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from hardware.errors import ConfigurationError
from lensless.sharing.network import SharedNetwork

COMBINE: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda outputs: outputs.softmax(-1).mean(0),
    "mean": lambda outputs: outputs.mean(0),
    "median": lambda outputs: outputs.quantile(0.5, 0),  # torch.median of two is the smaller
}


@dataclasses.dataclass(frozen=True)
class Step:
    """One more member of an anytime prediction.

    Args:
        member: that has just answered.
        flops: of all that have answered so far, for the whole batch.
        spread: standard deviation of their answers, of the shape of one; 0 for the first.
    """

    member: str
    flops: int
    spread: Tensor


class Ensemble(nn.Module):
    """Members that answer together.

    Args:
        shared: several networks by name, as `share({"small": a, "big": b}, ...)` makes them.
        combine: "softmax" (mean of the probabilities that logits (B, classes) stand for), "mean" or "median".

    Raises:
        ConfigurationError: one network only, or another way to combine.
    """

    def __init__(self, shared: SharedNetwork, combine: str = "softmax"):
        super().__init__()
        if not isinstance(shared.network, nn.ModuleDict):
            raise ConfigurationError(
                'Ensemble: expected several networks by name: share({"small": a, "big": b}, budget=...)'
            )
        if combine not in COMBINE:
            raise ConfigurationError(f"Ensemble: combine = {combine!r}; expected one of {', '.join(COMBINE)}")
        self.shared, self.combine = shared, combine

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(self.shared.network)

    def outputs(self, x: Tensor, members: Sequence[str] | None = None) -> Tensor:
        """What each member says, (members, B, ...); weights are made once."""
        with self.shared.expanded():
            return torch.stack([self.shared.network[name](x) for name in self._checked(members)])

    def forward(self, x: Tensor, members: Sequence[str] | None = None) -> Tensor:
        """What they say together, (B, ...)."""
        return COMBINE[self.combine](self.outputs(x, members))

    def anytime(self, x: Tensor, order: str | Sequence[str] = "flops") -> Iterator[tuple[Tensor, Step]]:
        """The answer of the first member, then of the first two, and so on.

        Args:
            x: (B, ...).
            order: of the members; "flops": the cheapest first.
        """
        costs = self.flops(x)
        names = sorted(costs, key=costs.__getitem__) if order == "flops" else self._checked(order)
        answers, spent = [], 0
        for name in names:
            answers.append(self.outputs(x, [name])[0])
            spent += costs[name]
            together = torch.stack(answers)
            each = together.softmax(-1) if self.combine == "softmax" else together
            yield COMBINE[self.combine](together), Step(name, spent, each.std(0, correction=0))

    def flops(self, x: Tensor) -> dict[str, int]:
        """Floating point operations of each member for x, without those that make the weights."""
        found, training = {}, {name: module.training for name, module in self.shared.named_modules()}
        self.shared.eval()  # counting is to leave what norms have seen as it is
        try:
            with torch.no_grad(), self.shared.expanded():
                for name in self.members:
                    with FlopCounterMode(display=False) as counter:
                        self.shared.network[name](x)
                    found[name] = counter.get_total_flops()
        finally:
            for name, module in self.shared.named_modules():
                module.training = training[name]
        return found

    def pick(self, flops: float, x: Tensor, scores: Mapping[tuple[str, ...], float]) -> tuple[str, ...]:
        """The best set of members whose operations for x are at most `flops`.

        Args:
            scores: what each set of members has reached, by their names in the order of `members`; higher is better.

        Raises:
            ConfigurationError: none is so cheap.
        """
        costs = self.flops(x)
        affordable = [names for names in scores if sum(costs[name] for name in self._checked(names)) <= flops]
        if not affordable:
            cheapest = min(sum(costs[name] for name in names) for names in scores)
            raise ConfigurationError(
                f"Ensemble: no set of members takes at most {flops:g} operations; the cheapest takes {cheapest:,}"
            )
        return max(affordable, key=scores.__getitem__)

    def _checked(self, members: Sequence[str] | None) -> Sequence[str]:
        names = self.members if members is None else members
        wrong = [name for name in names if name not in self.members]
        if wrong or not names:
            raise ConfigurationError(f"Ensemble: members {list(names)}; expected some of {', '.join(self.members)}")
        return names
