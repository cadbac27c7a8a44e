"""GenICam cameras (GigE Vision, USB3 Vision, CoaXPress ...) through harvesters and the GenTL producer of a maker.

Names of features are those of the SFNC, of pixel formats those of the PFNC. Written against harvesters 1.4 and the
producer `viky.cti` that comes with its library.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from hardware import plugins
from hardware.camera import Camera
from hardware.driver_process import serve
from hardware.errors import CameraError, ConfigurationError, InputError
from hardware.frame import CameraSettings
from hardware.isolated import IsolatedCamera
from hardware.options import NUMBER, PATH, POSITIVE, WORD, parse
from hardware.pixel_formats import PixelFormat, of_genicam
from hardware.polled import PolledCamera, Shot

SEARCH_PATH = "GENICAM_GENTL64_PATH"
BUFFERS = 8
READABLE, WRITABLE = 3, 4  # of GenApi's EAccessMode
RAWEST_FIRST = [
    f"{kind}{bits}" for bits in ("12", "12p", "14", "14p", "10", "10p", "16", "8") for kind in ("Mono", "Bayer??")
]
_AUTOMATIC = ("ExposureAuto", "GainAuto", "BlackLevelAuto", "BalanceWhiteAuto", "TriggerMode")
_PROCESSING = ("GammaEnable", "LUTEnable")
_OPTIONS = {"cti": PATH, "pixel_format": WORD, "exposure_s": POSITIVE, "gain_db": NUMBER}


@dataclasses.dataclass(frozen=True, kw_only=True)
class GenICamOptions:
    """What an address can ask for; None leaves it to the camera.

    Args:
        cti: the GenTL producer; those of `GENICAM_GENTL64_PATH` otherwise.
        pixel_format: as the PFNC names it; the rawest that the camera has otherwise.
        exposure_s, gain_db: to set at the start.
    """

    cti: str | None = None
    pixel_format: str | None = None
    exposure_s: float | None = None
    gain_db: float | None = None


def genicam_camera(place: str) -> Camera:
    """The camera of an address `genicam:SERIAL_OR_INDEX?cti=/path/to/producer.cti`, in a process of its own."""
    parse_place(place)
    plugins.require("harvesters")
    return IsolatedCamera(["-m", "hardware.genicam", place], f"genicam:{place}")


def parse_place(place: str) -> tuple[str, GenICamOptions]:
    """(serial number or index, options).

    Raises:
        ConfigurationError: no place, an option that cannot be, or no producer is named.
        InputError: the producer is not there.
    """
    where, values = parse("genicam", place, _OPTIONS)
    options = GenICamOptions(**values)
    if not where:
        raise ConfigurationError("camera address 'genicam:' names no camera; expected a serial number, or an index")
    if options.pixel_format is not None:
        of_genicam(options.pixel_format)
    if options.cti is None and not _producers():
        raise ConfigurationError(
            f"camera address 'genicam:{place}': no GenTL producer; install that of the camera's maker, which sets "
            f"{SEARCH_PATH}, or name it: cti=/path/to/producer.cti"
        )
    if options.cti is not None and not os.path.isfile(options.cti):
        raise InputError(f"GenTL producer '{options.cti}' is not there; expected a file of the camera's maker, *.cti")
    return where, options


class GenICamCamera(PolledCamera):
    """A camera of a GenTL producer, acquiring without end until it is closed.

    `t_host_ns` is when a frame was fetched, less the exposure: late by its transfer. Lost are the frames whose numbers
    are missing, incomplete ones among them, which harvesters drops. A camera that has no ExposureTime is taken to
    expose as long as a frame lasts.

    Args:
        place: see `parse_place`.
        driver: the class Harvester, which is loaded only now.

    Raises:
        ConfigurationError: no such camera, format or value.
        CameraError: it cannot be opened, or has something automatic that cannot be switched off.
    """

    def __init__(self, place: str, driver: Any = None):
        where, self._options = parse_place(place)
        from genicam.genapi import GenericException
        from genicam.gentl import GenericException as TransportException

        if driver is None:
            from harvesters.core import Harvester as driver

        errors = (GenericException, TransportException, OSError, RuntimeError, ValueError, AttributeError)
        super().__init__(f"genicam:{place}", ("exposure_s", "gain_db"), errors)
        self._harvester, self._acquirer, self._fetched = driver(), None, 0
        with self._opening():
            self._find(where)
            self._set_up()

    @property
    def facts(self) -> dict[str, object]:
        """`address` opens this very camera again, whatever its index will be."""
        options = "".join(self._name.partition("?")[1:])
        if not self._serial:
            return {"identity": "none"}
        return {"identity": "serial", "address": f"genicam:{self._serial}{options}", "model": self._model}

    def _find(self, where: str) -> None:
        for file in [self._options.cti] if self._options.cti else _producers():
            self._harvester.add_file(file, check_existence=True, check_validity=True)
        self._harvester.update()
        found = list(self._harvester.device_info_list)
        serials = [str(device.serial_number or "") for device in found]
        if where in serials:
            at = serials.index(where)
        elif where.isdecimal() and int(where) < len(found):
            at = int(where)
        else:
            there = ", ".join(f"{at}: {one.model} {serials[at]}" for at, one in enumerate(found)) or "none"
            raise CameraError(f"camera {self._name!r} is not there; connected are: {there}")
        self._serial, self._model = serials[at], str(found[at].model)
        name = re.sub(r"[^A-Za-z0-9.:_-]", "_", f"{self._model}-{self._serial or found[at].id_}")
        self._camera_id = f"genicam-{name}"
        with _same_handlers():
            self._acquirer = self._harvester.create(at)
        self._acquirer.num_buffers = BUFFERS

    def _set_up(self) -> None:
        for feature in _AUTOMATIC:
            if self._has(feature) and self._value(feature) != "Off":
                self._set(feature, "Off")
        self._format = self._agree()
        self._raw = not any(self._has(feature) and self._value(feature) for feature in _PROCESSING)
        can = {
            "exposure_s": self._access("ExposureTime") == WRITABLE,
            "gain_db": self._in_decibels() and self._access("Gain") == WRITABLE,
        }
        self._settable = tuple(name for name, can_be in can.items() if can_be)
        self._settings = self._read()
        self.configure(CameraSettings(exposure_s=self._options.exposure_s, gain_db=self._options.gain_db))
        if not self._acquirer.is_acquiring():
            self._acquirer.start()

    def _agree(self) -> PixelFormat:
        """The format that was asked for, or the rawest that can be set."""
        known = list(self._node("PixelFormat").symbolics)
        patterns = RAWEST_FIRST if self._options.pixel_format is None else [self._options.pixel_format]
        wanted = [name for pattern in patterns for name in known if re.fullmatch(pattern.replace("?", "."), name)]
        for name in wanted:
            try:
                self._set("PixelFormat", name)
            except CameraError:
                if name == wanted[-1]:
                    raise
                continue
            return of_genicam(name)
        raise ConfigurationError(
            f"camera {self._name!r} has the pixel formats {', '.join(known)}; expected "
            f"{self._options.pixel_format or 'one that is raw: Mono8 to Mono16, or Bayer'}"
        )

    def _ask(self, wanted: CameraSettings) -> None:
        acquiring = self._acquirer.is_acquiring()
        if acquiring:
            self._acquirer.stop()
        try:
            if wanted.exposure_s is not None:
                node = self._node("ExposureTime")
                node.value = 1e6 * self._within("exposure_s", wanted.exposure_s, node.min * 1e-6, node.max * 1e-6)
                self._same("exposure_s", wanted.exposure_s, node.value * 1e-6)
            if wanted.gain_db is not None:
                node = self._node("Gain")
                node.value = self._within("gain_db", wanted.gain_db, node.min, node.max)
        finally:
            if acquiring:
                self._acquirer.start()

    def _read(self) -> CameraSettings:
        left, top = (self._value(name) if self._has(name) else 0 for name in ("OffsetX", "OffsetY"))
        rows, columns = (
            self._value(name) if self._has(name) else 1 for name in ("BinningVertical", "BinningHorizontal")
        )
        self._period_s = 1 / self._value("AcquisitionFrameRate") if self._has("AcquisitionFrameRate") else 0.0
        exposure_s = self._value("ExposureTime") * 1e-6 if self._has("ExposureTime") else self._period_s
        if not exposure_s > 0:
            raise CameraError(f"camera {self._name!r} tells neither its exposure nor its frame rate; take another one")
        return CameraSettings(
            exposure_s=exposure_s,
            gain_db=float(self._value("Gain")) if self._in_decibels() else 0.0,
            pixel_format=self._format.name,
            region=(top, left, self._value("Height"), self._value("Width")),
            binning=(rows, columns),
        )

    def _grab(self, timeout_s: float) -> Shot | None:
        # harvesters takes 0 for "for ever".
        buffer = self._acquirer.try_fetch(timeout=max(timeout_s, 1e-3), is_raw=True)
        if buffer is None:
            return None
        arrived_ns = time.monotonic_ns()
        try:
            self._fetched += 1
            return Shot(
                pixels=self._pixels(buffer),
                number=self._told(buffer, "frame_id", self._fetched),
                settings=self._settings,
                t_host_ns=arrived_ns - round(self._settings.exposure_s * 1e9),
                t_device_ns=self._told(buffer, "timestamp_ns", None),
                bit_depth=self._format.bits,
                cfa=self._format.cfa,
                raw=self._raw,
            )
        finally:
            buffer.parent.queue_buffer(buffer)

    def _pixels(self, buffer: Any) -> np.ndarray:
        width, height = buffer.width, buffer.height
        stride = width * self._format.layout.bits // 8 + self._told(buffer, "padding_x", 0)
        data = np.frombuffer(buffer.raw_buffer, np.uint8, offset=self._told(buffer, "image_offset", 0))
        return self._format.unpack(data, width, height, stride).copy()  # the producer fills the buffer anew

    def _told(self, buffer: Any, name: str, otherwise: int | None) -> int | None:
        """What a producer tells of a buffer, which is little with some."""
        try:
            return getattr(buffer, name)
        except self._errors:
            return otherwise

    def _release(self) -> None:
        with self._driver("let its device go"):
            if self._acquirer is not None:
                self._acquirer.destroy()
            self._harvester.reset()

    def _node(self, name: str) -> Any:
        return self._acquirer.remote_device.node_map.get_node(name)

    def _access(self, name: str) -> int:
        """GenApi's mode of access; a description of a camera often has features that this one has not."""
        return self._node(name).get_access_mode() if self._acquirer.remote_device.node_map.has_node(name) else 0

    def _has(self, name: str) -> bool:
        return self._access(name) >= READABLE

    def _value(self, name: str) -> Any:
        return self._node(name).value

    def _set(self, name: str, value: str) -> None:
        node = self._node(name)
        try:
            node.value = value
        except self._errors as error:
            raise CameraError(f"camera {self._name!r}: {name} = {value} cannot be set ({error})") from error
        if node.value != value:
            raise CameraError(f"camera {self._name!r}: {name} = {value} was asked for, {node.value} is read back")

    def _in_decibels(self) -> bool:
        """Some makers count gain in numbers of their own, and say so by the unit."""
        return self._has("Gain") and str(getattr(self._node("Gain"), "unit", "dB")) in ("dB", "")


def _producers() -> list[str]:
    """Files *.cti in the folders of the search path."""
    folders = filter(os.path.isdir, os.environ.get(SEARCH_PATH, "").split(os.pathsep))
    return [str(file) for folder in folders for file in sorted(pathlib.Path(folder).glob("*.cti"))]


@contextlib.contextmanager
def _same_handlers() -> Iterator[None]:
    """harvesters puts a handler of its own on SIGINT, for good; Ctrl-C is not the camera's to take."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread() and before is not None:
            signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    serve(lambda: GenICamCamera(sys.argv[1]))
