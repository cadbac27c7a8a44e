"""Cameras without optics: from a raw frame to an image, or only a label."""

from typing import TYPE_CHECKING

from hardware.camera import register_camera

if TYPE_CHECKING:
    from hardware import Camera
    from lensless.app.load import load
    from lensless.app.rig import open_rig

__all__ = ["load", "open_rig"]


def __getattr__(name: str) -> object:
    # Torch takes seconds to import, so it comes with the first name that needs it.
    if name == "open_rig":
        from lensless.app.rig import open_rig

        return open_rig
    if name == "load":
        from lensless.app.load import load

        return load
    raise AttributeError(f"module 'lensless' has no attribute {name!r}")


def _open_simulated(place: str) -> "Camera":
    from lensless.app.simulated import open_simulated

    return open_simulated(place)


register_camera("simulated", _open_simulated)
