"""Frames of a camera without end: every one accounted for, memory bounded, the camera found again when it was lost."""

from hardware.stream.ring import Counts, Ring
from hardware.stream.stream import Stream
from hardware.stream.watchdog import Event

__all__ = ["Counts", "Event", "Ring", "Stream"]
