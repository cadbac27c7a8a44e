"""Which layers want to move their shared numbers the same way: gradients of the weights that are made, side by side.

Layers whose gradients disagree hold each other back when they share (Teterwak et al., WACV 2024, section 3; as
specified there, with union-find in place of merging by order).
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from hardware.errors import ConfigurationError
from lensless.sharing.network import SharedNetwork


@dataclasses.dataclass(frozen=True)
class Conflict:
    """Cosines of the gradients of all pairs of weights, on the block that both have.

    Args:
        names: of the weights.
        cosines: (batches, weights, weights), symmetric, 1 on the diagonal; nan for weights of other kernels.
    """

    names: tuple[str, ...]
    cosines: Tensor

    @property
    def mean(self) -> Tensor:
        """Over the batches, (weights, weights)."""
        return self.cosines.mean(0)

    def spread(self, draws: int = 200, seed: int = 0) -> Tensor:
        """Standard deviation of that mean over bootstrap samples of the batches, (weights, weights)."""
        generator = torch.Generator().manual_seed(seed)
        count = len(self.cosines)
        chosen = torch.randint(count, (draws, count), generator=generator)
        shares = torch.nn.functional.one_hot(chosen, count).double().mean(1)  # (draws, batches)
        return torch.tensordot(shares, self.cosines.double(), 1).std(0)


def conflict(shared: SharedNetwork, batches: Iterable, loss: Callable[[SharedNetwork, object], Tensor]) -> Conflict:
    """Compare the gradients of the shared weights, in eval mode; no number of the network changes.

    Args:
        shared: the network.
        batches: whatever `loss` takes; ten or more of them, one is too noisy.
        loss: of the network and a batch, a scalar.

    Raises:
        ConfigurationError: no batch, or a weight that the loss does not depend on.
    """
    names = tuple(each.weight.name for each in shared.plan.weights)
    found = []
    for gradients in weight_gradients(shared, batches, loss):
        seen = [each.weight.seen(gradients[each.weight.name]) for each in shared.plan.weights]
        found.append(cosines(seen))
    return Conflict(names, torch.stack(found))


def weight_gradients(
    shared: SharedNetwork, batches: Iterable, loss: Callable[[SharedNetwork, object], Tensor]
) -> Iterator[dict[str, Tensor]]:
    """Of each batch, the gradient of every shared weight, as its layer takes it, by name; in eval mode.

    Raises:
        ConfigurationError: no batch, or a weight that the loss does not depend on.
    """
    training, names = shared.training, [each.weight.name for each in shared.plan.weights]
    count = 0
    shared.eval()
    try:
        for batch in batches:
            count += 1
            with shared.held() as weights:
                value = loss(shared, batch)
                gradients = torch.autograd.grad(value, [weights[name] for name in names], allow_unused=True)
            idle = [name for name, gradient in zip(names, gradients, strict=True) if gradient is None]
            if idle:
                raise ConfigurationError(f"sharing: the loss does not depend on {idle[0]!r}; give batches that use it")
            yield dict(zip(names, gradients, strict=True))
    finally:
        shared.train(training)
    if not count:
        raise ConfigurationError("sharing: there is no batch; expected ten or more")


def cosines(gradients: Sequence[Tensor]) -> Tensor:
    """Cosine of each pair on the leading outputs and inputs that both have; nan where kernels differ, (n, n)."""
    found = torch.full((len(gradients), len(gradients)), torch.nan, dtype=torch.float64)
    for at, one in enumerate(gradients):
        found[at, at] = 1
        for behind, other in enumerate(gradients[at + 1 :], at + 1):
            if one.shape[2:] != other.shape[2:]:
                continue
            outputs, inputs = (min(one.shape[axis], other.shape[axis]) for axis in (0, 1))
            pair = [each[:outputs, :inputs].flatten().double() for each in (one, other)]
            found[at, behind] = found[behind, at] = torch.nn.functional.cosine_similarity(*pair, 0)
    return found


def similarity(shared: SharedNetwork) -> Tensor:
    """How alike the weights are: size of the cosine of each pair on the block that both have, (n, n), as `cosines`.

    Of weights that are rows of one bank this is the similarity of their mixing numbers with orthonormal templates
    (Savarese and Maire, ICLR 2019, arXiv 1902.09701), and unlike that of raw ones it does not depend on the basis.
    """
    with torch.no_grad():
        made = shared.materialise()
    return cosines([each.weight.seen(made[each.weight.name]) for each in shared.plan.weights]).abs()


def split(similar: Tensor, groups: Sequence[Sequence[int]], tau: float, linkage: str = "single") -> list[list[int]]:
    """Groups of members that are more alike than `tau`, none across the groups that are given.

    Args:
        similar: (n, n), symmetric.
        groups: members that may be together.
        tau: pairs above it are joined.
        linkage: "single" joins groups by any such pair (union-find: the order of pairs does not matter), "complete"
            only where every pair of both is above it, the most similar first.
    """
    found = []
    for members in groups:
        parts = [[member] for member in members]
        pairs = sorted(
            (
                (-float(similar[one, other]), one, other)
                for at, one in enumerate(members)
                for other in members[at + 1 :]
            ),
        )
        for negative, one, other in pairs:
            if not -negative > tau:
                continue
            first, second = (next(part for part in parts if member in part) for member in (one, other))
            if first is second:
                continue
            if linkage == "complete" and not all(float(similar[a, b]) > tau for a in first for b in second):
                continue
            first.extend(second)
            parts.remove(second)
        found.extend(sorted(sorted(part) for part in parts))
    return found
