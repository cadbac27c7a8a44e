"""Devices, raw frames and recordings: numpy, h5py and a camera's driver are all that a recorder needs."""

from typing import TYPE_CHECKING

from hardware.camera import Camera, open_camera, register_camera
from hardware.display import Display, SimulatedDisplay
from hardware.frame import CameraSettings, Frame, FrameMeta
from hardware.isolated import opencv_camera
from hardware.pattern_source import PatternSource
from hardware.replay import ReplayCamera
from hardware.rig import RigSpec
from hardware.serial_board import serial_camera
from hardware.simulated import SimulatedCamera

if TYPE_CHECKING:
    from hardware.recording import Recording

__all__ = [
    "Camera",
    "CameraSettings",
    "Display",
    "Frame",
    "FrameMeta",
    "PatternSource",
    "Recording",
    "ReplayCamera",
    "RigSpec",
    "SimulatedCamera",
    "SimulatedDisplay",
    "open_camera",
    "register_camera",
]

register_camera("replay", ReplayCamera)
register_camera("opencv", opencv_camera)
register_camera("serial", serial_camera)


def __getattr__(name: str) -> object:
    if name == "Recording":  # h5py is loaded by those who read or write, and by nobody else
        from hardware.recording import Recording

        return Recording
    raise AttributeError(f"module 'hardware' has no attribute {name!r}")
