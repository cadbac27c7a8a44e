"""Signs of life: a call that takes long on purpose says that it goes on, and whoever waits for it listens.

A driver that settles on an exposure of some seconds takes as long as one that hangs; only the first one says so.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator

_here = threading.local()


@contextlib.contextmanager
def heard_by(listener: Callable[[], None]) -> Iterator[None]:
    """Have `alive` call `listener` in this thread, as long as this lasts."""
    before = getattr(_here, "listener", None)
    _here.listener = listener
    try:
        yield
    finally:
        _here.listener = before


def alive() -> None:
    """Say that the call under way goes on."""
    if (listener := getattr(_here, "listener", None)) is not None:
        listener()
