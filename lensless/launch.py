"""How this process was started: alone, or by torchrun as one of several that train together."""

import dataclasses
import datetime
import os

REACHED_WITHIN_S, MET_WITHIN_S = 5.0, 1800.0


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


def store(timeout_s: float = MET_WITHIN_S):
    """What torchrun keeps for the processes that it started, where they find each other.

    Raises:
        RuntimeError: torch's: it cannot be reached.
    """
    from torch.distributed import PrefixStore, TCPStore  # torch takes seconds to import, and errors may come before it

    timeout = datetime.timedelta(seconds=timeout_s)
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    kept = TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=timeout)
    # When torchrun begins again it may keep the store, and in it where processes that are gone could be reached.
    return PrefixStore(f"lensless, attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", kept)


def may_tell() -> bool:
    """Whether this process is the first of all that has an error to tell: one message is enough.

    Where the store cannot be reached, everybody tells.
    """
    if launch().count == 1:
        return True
    try:
        return store(REACHED_WITHIN_S).add("errors that were told", 1) == 1
    except RuntimeError:
        return True
