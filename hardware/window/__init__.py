"""A full-screen window on a monitor or a projector: the display of a real rig."""

from hardware.window.window import Window, open_window

__all__ = ["Window", "open_window"]
