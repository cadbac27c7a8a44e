"""Who shares with whom, learned: the procedure of SuperWeights in one call.

After Teterwak et al. (WACV 2024, arXiv 2312.01274).

1. *warm-up*: all layers of a cluster share one row of mixing numbers; a short training.
2. Clusters are split where gradients of their layers disagree (`refine`). The numbers are thrown away.
3. *tied*: the layers of each new cluster, or those of several networks that stand for the same, share a row; a short
   training. Then rows part where they want to go different ways (`untie`), which changes nothing at that moment.
4. *final*: training goes on to the end.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence

from torch import Tensor, nn

from hardware.errors import ConfigurationError, InputError
from lensless import tensor_file
from lensless.sharing.conflict import Conflict, conflict
from lensless.sharing.network import SharedNetwork
from lensless.sharing.plan import Plan
from lensless.sharing.refine import TAU, groups_of, refine, regrouped
from lensless.sharing.share import share
from lensless.sharing.untie import TAU as TAU_ROWS
from lensless.sharing.untie import untie

STAGES = ("warm-up", "tied", "final")


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search gives.

    Args:
        shared: the network, trained to the end.
        conflict: what the clusters were split by.
        clusters: names of the weights in each.
        parted: mixing numbers that untying added.
    """

    shared: SharedNetwork
    conflict: Conflict
    clusters: list[list[str]]
    parted: int


def search(
    network: nn.Module | Mapping[str, nn.Module],
    budget: int | str,
    train: Callable[[SharedNetwork, str], SharedNetwork],
    batches: Callable[[], Iterable],
    loss: Callable[[SharedNetwork, object], Tensor],
    *,
    tau: float = TAU,
    tau_rows: float = TAU_ROWS,
    linkage: str = "single",
    bins: int | None = None,
    keep: Sequence[str] = (),
    seed: int = 0,
    folder: str | pathlib.Path | None = None,
) -> Found:
    """Find clusters and rows by gradients, and train what comes out.

    Args:
        network, budget, keep, seed: as of `share`.
        train: trains the network that it is given, for the stage "warm-up", "tied" or "final", and gives it back.
        batches: makes the batches that gradients are compared on, ten or more; the same ones whenever it is called.
        loss: of the network and a batch, a scalar.
        tau: cosine of gradients above which layers stay together, see `refine`.
        tau_rows: the same for rows, see `untie`.
        linkage: see `refine`.
        bins: clusters to begin with.
        folder: where finished stages are kept; with it, an interrupted search goes on at the stage where it was.

    Raises:
        ConfigurationError: as `share`; or the folder holds another search.
        InputError: a file in the folder that cannot be read.
    """
    keeper = _Keeper(folder)
    begun = share(
        network, budget, "superweights", tied=True, keep=keep, seed=seed, **({} if bins is None else {"bins": bins})
    )
    warm = keeper.stage("warm-up", begun, train)
    found = conflict(warm, batches(), loss)
    plan = refine(warm, (), loss, tau=tau, linkage=linkage, found=found)
    clusters = [[plan.weights[at].weight.name for at in members] for members in groups_of(plan)]
    tied = share(network, plan=regrouped(plan, clusters, _together(plan, clusters)), seed=seed)
    tied = keeper.stage("tied", tied, train)
    parted = sum(numbers.numel() for numbers in untie(tied, batches(), loss, tau_rows))
    return Found(keeper.stage("final", tied, train), found, clusters, parted)


def _together(plan: Plan, clusters: Sequence[Sequence[str]]) -> list[list[str]]:
    """Weights that begin with one row: all of a cluster or, of several networks, those at the same place in it."""
    members = {each.weight.name: each.weight.member for each in plan.weights}
    if len(set(members.values())) == 1:
        return [list(names) for names in clusters]
    found = []
    for names in clusters:
        places: dict[int, list[str]] = {}
        counts: dict[str, int] = {}
        for name in names:
            at = counts[members[name]] = counts.get(members[name], -1) + 1
            places.setdefault(at, []).append(name)
        found.extend(places.values())
    return found


class _Keeper:
    """Stages that were finished, in a folder; without one, each is trained."""

    def __init__(self, folder: str | pathlib.Path | None):
        self.folder = None if folder is None else pathlib.Path(folder)
        if self.folder is not None:
            tensor_file.make_folder(self.folder)

    def stage(
        self, name: str, begin: SharedNetwork, train: Callable[[SharedNetwork, str], SharedNetwork]
    ) -> SharedNetwork:
        """The network as it ended that stage: as it was kept, or trained now."""
        path = None if self.folder is None else self.folder / f"{name}.safetensors"
        if path is not None and path.exists():
            return self._kept(path, begin)
        trained = train(begin, name)
        if path is not None:
            tensor_file.write(path, trained.state_dict(), {"plan": trained.plan.facts()})
        return trained

    def _kept(self, path: pathlib.Path, begin: SharedNetwork) -> SharedNetwork:
        tensors, facts = tensor_file.read(path, "stage of a search", "delete it, and the stage is trained again")
        if facts.get("plan") is None or Plan.from_facts(facts["plan"]) != begin.plan:
            raise ConfigurationError(
                f"{path}: is of another search; name another folder, or take the first settings again"
            )
        try:
            begin.load_state_dict(tensors)
        except RuntimeError as error:
            raise InputError(
                f"{path}: its numbers do not fit its plan; delete it, and the stage is trained again"
            ) from error
        return begin
