"""Which network is to be trained: the options of `lensless train` that describe it."""

import dataclasses

from hardware.errors import ConfigurationError
from lensless.app.new_tasks import new_classify, new_cycle, new_learned, new_reconstruct
from lensless.app.setting import Setting
from lensless.data.scenes import Scenes
from lensless.sharing import DEFAULT_METHOD, trained_numbers
from lensless.tasks import Task
from lensless.tasks.losses import loss_named
from lensless.tasks.task import WIDEST

# What each kind of task takes, by the names of the options.
_TAKES = {
    "reconstruct": ("stages", "shared", "width", "loss"),
    "reconstruct-learned": ("rank", "width", "loss"),
    "reconstruct-cycle": ("width",),
    "classify": ("hidden", "sums"),
    "classify-reconstruction": (),
}
_MAKERS = {
    "reconstruct": new_reconstruct, "reconstruct-learned": new_learned, "reconstruct-cycle": new_cycle,
    "classify": new_classify,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class NetworkWish:
    """The options, as they were given; None is the default of the task.

    `stages` of an unrolled network, `shared` by all of them; `rank` of a learned first layer; `width` of the network;
    `loss` see `lensless.tasks.losses`; `hidden` inner widths of a private classifier, and `sums` of the frame that it
    sees; `budget` of trained numbers, and the method of `sharing` by which it is met, see `lensless.sharing.share`;
    `search` for who shares with whom before.
    """

    stages: int | None = None
    shared: bool | None = None
    rank: int | None = None
    width: int | None = None
    loss: str | None = None
    hidden: tuple[int, ...] | None = None
    sums: int | None = None
    budget: str | None = None
    sharing: str | None = None
    search: bool = False

    def check(self, kind: str) -> None:
        """Raises ConfigurationError for an option that a task of this kind does not take, or a loss that is none."""
        if self.sharing is not None and self.budget is None:
            raise ConfigurationError('--sharing says how weights are shared; say with --budget how far, such as "25%"')
        if self.search and (self.budget is None or self.sharing != "superweights"):
            raise ConfigurationError("--search finds clusters of --sharing superweights under a --budget; say both")
        if self.budget is not None:
            trained_numbers(self.budget, 1_000_000)  # what nobody can read is told before a rig is traced
        for name in self._given():
            if name not in _TAKES[kind]:
                owners = {_COMMANDS[one] for one, names in _TAKES.items() if name in names}
                raise ConfigurationError(f"--{name} goes with {_all_of(owners)} only; leave it out")
        if self.loss is not None:
            loss_named(self.loss)

    def make(self, kind: str, setting: Setting, scenes: Scenes, seed: int) -> Task:
        """The untrained task."""
        return self.within_budget(_MAKERS[kind](setting, scenes, seed=seed, **self._given()), seed)

    def within_budget(self, task: Task, seed: int) -> Task:
        """The task, its network computed from shared templates where a budget is given."""
        if self.budget is not None and not self.search:
            task.share(self.budget, self.sharing or DEFAULT_METHOD, seed)
        return task

    def _given(self) -> dict:
        """What the makers of tasks take."""
        everywhere = ("budget", "sharing", "search")
        given = dataclasses.asdict(self).items()
        return {name: value for name, value in given if value is not None and name not in everywhere}


_COMMANDS = {
    "reconstruct": "`lensless train reconstruct --network unrolled`",
    "reconstruct-learned": "`lensless train reconstruct --network learned`",
    "reconstruct-cycle": "`lensless train reconstruct --network cycle`",
    "classify": "`lensless train classify` without --after",
}


def _all_of(commands: set[str]) -> str:
    pictures = {command for kind, command in _COMMANDS.items() if kind.startswith("reconstruct")}
    return "`lensless train reconstruct`" if commands == pictures else " or ".join(sorted(commands))


def widths(text: str | None) -> tuple[int, ...] | None:
    """Whole numbers with commas between them.

    Raises:
        ConfigurationError: something else.
    """
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.strip().isdecimal() and 1 <= int(part) <= WIDEST for part in parts):
        raise ConfigurationError(f"--hidden {text!r}; expected whole numbers from 1 to {WIDEST}, such as 160,160")
    return tuple(int(part) for part in parts)
