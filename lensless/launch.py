"""How this process was started: alone, or by torchrun as one of several that train together."""

import dataclasses
import datetime
import os

REACHED_WITHIN = datetime.timedelta(seconds=5)


@dataclasses.dataclass(frozen=True)
class Launch:
    """Process number `rank` of `count` on all hosts; on its own host it is number `local_rank`."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def first(self) -> bool:
        """Whether it is the one that writes files and is heard."""
        return self.rank == 0


def launch() -> Launch:
    """What torchrun told this process; alone, where torchrun did not start it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return Launch()
    return Launch(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))


def may_tell() -> bool:
    """Whether this process is the first of all that has an error to tell: one message is enough.

    torchrun keeps a store for the processes that it started; where that cannot be reached, everybody tells.
    """
    if launch().count == 1:
        return True
    from torch.distributed import TCPStore  # torch takes seconds to import, and most errors are of single processes

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:
        store = TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=REACHED_WITHIN)
        return store.add(f"lensless told an error of attempt {attempt}", 1) == 1
    except RuntimeError:
        return True
