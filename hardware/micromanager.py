"""Cameras of Micro-Manager, whose device adapters know some hundreds of scientific cameras.

The core is pymmcore; it loads adapters, which do not come with it: pymmcore-plus finds, or installs, a folder of them.
Written against pymmcore 12.5 (device interface 75) and its DemoCamera.
"""

import dataclasses
import math
import os
import pathlib
import sys
import time
from typing import Any

from hardware import plugins
from hardware.camera import Camera
from hardware.driver_process import serve
from hardware.errors import CameraError, ConfigurationError, InputError
from hardware.frame import CameraSettings
from hardware.isolated import IsolatedCamera
from hardware.options import NUMBER, PATH, POSITIVE, WORD, parse
from hardware.polled import PolledCamera, Shot

DEMO = "demo"
LABEL = "Camera"
GAIN, BINNING = "Gain", "Binning"
_OPTIONS = {"exposure_s": POSITIVE, "gain_raw": NUMBER, "camera": WORD, "adapters": PATH}


@dataclasses.dataclass(frozen=True, kw_only=True)
class MicroManagerOptions:
    """What an address can ask for; None leaves it to the configuration.

    Args:
        exposure_s: to set at the start.
        gain_raw: the property "Gain", in the adapter's own numbers, which have no unit.
        camera: label of the camera, where the configuration has several.
        adapters: folder of the device adapters; that of pymmcore-plus otherwise.
    """

    exposure_s: float | None = None
    gain_raw: float | None = None
    camera: str | None = None
    adapters: str | None = None


def micromanager_camera(place: str) -> Camera:
    """The camera of an address `micromanager:CONFIG.cfg` or `micromanager:demo`, in a process of its own."""
    parse_place(place)
    plugins.require("pymmcore")
    return IsolatedCamera(["-m", "hardware.micromanager", place], f"micromanager:{place}")


def parse_place(place: str) -> tuple[pathlib.Path | None, MicroManagerOptions]:
    """(configuration file, None for the demo camera; options).

    Raises:
        ConfigurationError: no place, or an option that cannot be.
        InputError: the file is not there.
    """
    where, values = parse("micromanager", place, _OPTIONS)
    if not where:
        raise ConfigurationError("camera address 'micromanager:' names nothing; expected a CONFIG.cfg, or demo")
    if where == DEMO:
        return None, MicroManagerOptions(**values)
    if not os.path.isfile(where):
        raise InputError(f"Micro-Manager configuration '{where}' is not there; expected a CONFIG.cfg, or demo")
    return pathlib.Path(where).resolve(), MicroManagerOptions(**values)


class MicroManagerCamera(PolledCamera):
    """The camera of a configuration, in a sequence that does not end until it is closed.

    `t_host_ns` is when a frame left Micro-Manager's buffer, less the exposure: late by its transfer. Frames that the
    adapter numbers (its `ImageNumber`) are counted as lost where numbers are missing, also after its buffer overflowed.
    Gain has no unit there: gain_db is 0, and the property "Gain" is one of the `controls`.

    Args:
        place: see `parse_place`.

    Raises:
        ConfigurationError: no such camera, adapters or value.
        CameraError: it cannot be opened, or sends what is no grey frame of 16 bits at most.
    """

    def __init__(self, place: str):
        super().__init__(f"micromanager:{place}", ("exposure_s", "controls"), (RuntimeError, ValueError, OSError))
        config, self._options = parse_place(place)
        from pymmcore import CMMCore, Metadata

        self._core, self._new_metadata, self._arrived = CMMCore(), Metadata, 0
        with self._opening():
            self._load(config)
            self._set_up()

    def _load(self, config: pathlib.Path | None) -> None:
        core = self._core
        core.setDeviceAdapterSearchPaths([_adapters(self._options.adapters)])
        if config is None:
            core.loadDevice(LABEL, "DemoCamera", "DCam")
            core.initializeAllDevices()
            core.setCameraDevice(LABEL)
        else:
            core.loadSystemConfiguration(str(config))
        if self._options.camera:
            core.setCameraDevice(self._options.camera)
        self._label = core.getCameraDevice()
        if not self._label:
            raise ConfigurationError(f"camera {self._name!r}: the configuration names no camera; say camera=LABEL")
        self._camera_id = f"micromanager-{core.getDeviceLibrary(self._label)}-{core.getDeviceName(self._label)}"

    def _set_up(self) -> None:
        core, options = self._core, self._options
        self._controls = tuple(
            name for name in (GAIN,) if core.hasProperty(self._label, name) and _is_number(self._property(name))
        )
        self._bit_depth = core.getImageBitDepth()
        if core.getNumberOfComponents() != 1 or not 1 <= self._bit_depth <= 16:
            raise CameraError(
                f"camera {self._name!r} sends {core.getNumberOfComponents()} components of {self._bit_depth} bits; "
                "expected grey of 16 bits at most: choose another PixelType in its configuration"
            )
        controls = None if options.gain_raw is None else ((GAIN, options.gain_raw),)
        self._settings = self._read()
        self.configure(CameraSettings(exposure_s=options.exposure_s, controls=controls))
        if not core.isSequenceRunning():
            core.startContinuousSequenceAcquisition(0)

    def _ask(self, wanted: CameraSettings) -> None:
        core = self._core
        if core.isSequenceRunning():
            core.stopSequenceAcquisition()
        try:
            for name, value in wanted.controls or ():
                self._ask_for(name, value)
            if wanted.exposure_s is not None:
                core.setExposure(wanted.exposure_s * 1e3)
                self._same("exposure_s", wanted.exposure_s, core.getExposure() * 1e-3)
        finally:
            core.startContinuousSequenceAcquisition(0)

    def _ask_for(self, name: str, value: float) -> None:
        core = self._core
        if name not in self._controls:
            known = ", ".join(self._controls) or "none"
            raise ConfigurationError(f"camera {self._name!r} has no control {name!r}; it has {known}")
        if core.hasPropertyLimits(self._label, name):
            low, high = (get(self._label, name) for get in (core.getPropertyLowerLimit, core.getPropertyUpperLimit))
            self._within(name, value, low, high)
        core.setProperty(self._label, name, f"{value:g}")
        self._same(name, value, float(self._property(name)))

    def _read(self) -> CameraSettings:
        core = self._core
        left, top, width, height = core.getROI()
        binning = self._property(BINNING) if core.hasProperty(self._label, BINNING) else "1"
        rows = int(binning) if binning.isdecimal() else 1
        return CameraSettings(
            exposure_s=core.getExposure() * 1e-3,
            gain_db=0.0,
            pixel_format=f"Mono{self._bit_depth}",
            region=(top, left, height, width),
            binning=(rows, rows),
            controls=tuple((name, float(self._property(name))) for name in self._controls),
        )

    def _grab(self, timeout_s: float) -> Shot | None:
        core, end_s = self._core, time.monotonic() + timeout_s
        while core.getRemainingImageCount() == 0:
            if not core.isSequenceRunning():
                self._lose("its sequence has ended")
            if time.monotonic() >= end_s:
                return None
            time.sleep(0.001)
        metadata = self._new_metadata()
        pixels, arrived_ns = core.popNextImageMD(metadata), time.monotonic_ns()
        tags = {key: metadata.GetSingleTag(key).GetValue() for key in metadata.GetKeys()}
        self._arrived += 1
        return Shot(
            pixels=pixels,
            number=int(tags.get("ImageNumber", self._arrived)),
            settings=self._settings,
            t_host_ns=arrived_ns - round(self._settings.exposure_s * 1e9),
            t_device_ns=_ns_of(tags.get("ElapsedTime-ms")),
            bit_depth=self._bit_depth,
        )

    def _release(self) -> None:
        with self._driver("let its device go"):
            if self._core.isSequenceRunning():
                self._core.stopSequenceAcquisition()
            self._core.unloadAllDevices()

    def _property(self, name: str) -> Any:
        return self._core.getProperty(self._label, name)


def _adapters(folder: str | None) -> str:
    """Raises ConfigurationError: no such folder; or none is named, and pymmcore-plus knows of none."""
    folder = folder or os.environ.get("MICROMANAGER_PATH") or _installed()
    if folder is None:
        raise ConfigurationError(
            "no Micro-Manager device adapters are found; install them with 'mmcore install' (of pymmcore-plus), or "
            "name their folder: adapters=FOLDER, or the variable MICROMANAGER_PATH"
        )
    if not os.path.isdir(folder):
        raise ConfigurationError(f"adapters = '{folder}' is no folder; expected that of Micro-Manager's adapters")
    return folder


def _installed() -> str | None:
    try:
        from pymmcore_plus import find_micromanager
    except ImportError:  # pymmcore is enough where the folder is named
        return None
    return find_micromanager()


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _ns_of(milliseconds: str | None) -> int | None:
    return None if milliseconds is None else round(float(milliseconds) * 1e6)


if __name__ == "__main__":
    serve(lambda: MicroManagerCamera(sys.argv[1]))
