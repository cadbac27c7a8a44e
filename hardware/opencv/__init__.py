"""Cameras and video files through OpenCV, believed only as far as they prove what they say."""

from hardware.opencv.camera import OpenCvCamera

__all__ = ["OpenCvCamera"]
