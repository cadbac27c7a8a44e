"""What becomes of open HDF5 files when a process forks.

The child gets a copy of HDF5's memory and the parent's file descriptors. Two processes that share them return wrong
data (pytorch #11929), a writer's copy would flush into the file of the parent, and HDF5 knows a file that it has open
by its device and number: opened again it would be the same one. So every holder lets go at once, in the child only:
h5py takes its global lock around a fork, so HDF5 is not in the middle of anything.
"""

import os
import weakref
from typing import Protocol


class Holder(Protocol):
    """What holds an open file."""

    def after_fork(self) -> None:
        """Let go of it, in the child."""


_holders: "weakref.WeakSet[Holder]" = weakref.WeakSet()


def hold(holder: Holder) -> None:
    """From now on a child process lets go of what `holder` has open."""
    _holders.add(holder)


def _in_child() -> None:
    for holder in list(_holders):
        holder.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


def point_at_nothing(descriptor: int, known: os.stat_result) -> None:
    """Whatever HDF5 still does with this file goes nowhere: neither to the disk nor to a lock that a parent has.

    Args:
        descriptor: by which HDF5 has it open; left alone where it is closed, or another's by now.
        known: which file it is, by `os.fstat` of the descriptor when it was opened.
    """
    try:
        if not os.path.samestat(os.fstat(descriptor), known):
            return
    except OSError:  # closed
        return
    null = os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(null, descriptor)
    finally:
        os.close(null)
