"""One open capture of OpenCV: what is set is read back, and it is left after the first failed read."""

import math
import threading

import numpy as np

from hardware.errors import CameraError, CameraLost, ConfigurationError
from hardware.opencv.backends import Backend, Driver


class Handle:
    """Opened, read and released in one thread; macOS crashes or blocks otherwise (opencv #7275, #7519).

    Args:
        driver: the module cv2.
        source: index, or path of a device.
        where: how messages name the camera.

    Raises:
        CameraError: it cannot be opened, or another back end opened it.
    """

    def __init__(self, driver: Driver, backend: Backend, source: int | str, where: str):
        self._driver, self.where = driver, where
        self._thread = threading.get_ident()
        self._convert: int | None = None
        self._lost: str | None = None
        try:
            self._capture = driver.VideoCapture(source, getattr(driver, backend.constant))
        except driver.error as error:
            raise CameraError(f"{where} cannot be opened: {error}") from error
        got = self._capture.getBackendName() if self._capture.isOpened() else None
        if got != backend.reports:
            self.release()
            raise CameraError(
                f"{where} cannot be opened through {backend.name}"
                + (f"; {got} opened it" if got else "")
                + ": is it plugged in ('lensless devices' lists what is), is another program using it, may you read it "
                "(on Linux: group 'video')?"
            )

    def get(self, name: str) -> float:
        """The value of a property such as "CAP_PROP_GAIN"; mostly -1 where the device has none."""
        self._check_thread()
        try:
            return float(self._capture.get(getattr(self._driver, name)))
        except self._driver.error as error:
            raise CameraError(f"{self.where}: {name} cannot be read: {error}") from error

    def has(self, name: str) -> bool:
        """Whether the device has this control; -1 means that it has none, or half a second: it is written back."""
        value = self.get(name)
        return math.isfinite(value) and (value >= 0 or self._capture.set(getattr(self._driver, name), value))

    def set(self, name: str, value: float) -> float:
        """Set a property; returns what is then read back, because `set` says True whatever comes of it (#9738).

        Raises:
            CameraError: conversion to colours came back on by it, and cannot be switched off (#11398, #14084).
        """
        self._check_thread()
        try:
            self._capture.set(getattr(self._driver, name), value)
        except self._driver.error as error:
            raise CameraError(f"{self.where}: {name} = {value:g} is refused: {error}") from error
        if self._convert is not None:
            self.convert(bool(self._convert))
        return self.get(name)

    def convert(self, on: bool | None) -> None:
        """Have frames decoded to colours, or left as they came; holds through every later `set`. None asks nothing."""
        if on is None:
            return
        self._convert = None  # or `set` would come back here
        got = self.set("CAP_PROP_CONVERT_RGB", int(on))
        self._convert = int(on)
        if got != int(on):
            raise CameraError(
                f"{self.where}: CAP_PROP_CONVERT_RGB = {int(on)} was asked for, {got:g} is read back; "
                "the driver converts all frames: ask for another backend="
            )

    def read(self) -> np.ndarray:
        """The next frame, in a buffer that the driver may use again.

        Raises:
            CameraLost: no frame came; the device is let go at once, for after an unplugged one has failed it may give
                out its last frame as a good one (#14044).
        """
        self._check_thread()
        if self._lost:
            raise CameraLost(self._lost)
        try:
            there, pixels = self._capture.read()
            problem = "" if there else "the driver gave no frame"
        except self._driver.error as error:
            there, pixels, problem = False, None, f"the driver failed: {error}"
        if there and (pixels is None or pixels.size == 0):
            # A time-out that reports success (#10927).
            problem = "the driver gave an empty frame"
        if problem:
            raise self.lose(problem)
        return pixels

    def lose(self, problem: str) -> CameraLost:
        """Let the device go for good; returns the error of this and of every later read."""
        self._lost = f"{self.where} is lost: {problem}; plug it in again, and open it anew"
        self.release()
        return CameraLost(self._lost)

    def release(self) -> None:
        """Let the device go; a second call does nothing, and another thread leaves it to the one that opened it."""
        if self._thread == threading.get_ident():
            self._capture.release()

    def _check_thread(self) -> None:
        if self._thread != threading.get_ident():
            raise CameraError(f"{self.where} was opened in another thread; open, read and close it in one")


def load_cv2() -> Driver:
    """The module cv2.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        import cv2  # its import takes longer than all of `hardware`
    except ImportError as error:
        raise ConfigurationError(
            f"cameras behind 'opencv:' need OpenCV: pip install opencv-python ({error})"
        ) from error
    return cv2
