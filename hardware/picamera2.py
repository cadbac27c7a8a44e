"""Cameras of the Raspberry Pi through picamera2: the raw stream of the sensor, unpacked, nothing automatic.

Written against the documented interface of picamera2 0.3; it has not run on a Pi yet. Where its pages leave something
open, its issues were asked; their numbers stand beside what follows from them.
"""

import dataclasses
import importlib.util
import math
import re
import sys
import time
from concurrent.futures import TimeoutError as NotInTime
from typing import Any

from hardware import plugins
from hardware.alive import alive
from hardware.camera import Camera
from hardware.driver_process import serve
from hardware.errors import CameraError, ConfigurationError
from hardware.frame import CameraSettings
from hardware.isolated import IsolatedCamera
from hardware.options import NUMBER, POSITIVE, WORD, Option, parse
from hardware.pixel_formats import of_libcamera
from hardware.polled import POLL_S, STALL_S, TOLERANCE, PolledCamera, Shot

EXPOSURE_S = 0.01
LINE_US = 50  # exposures go by lines, of 10 to 30 us with the sensors that are sold for it
SETTLE_FRAMES = 40  # what was queued before a control was set comes first, six requests and two frames of the sensor
MAIN_SIZE = (320, 240)  # picamera2 wants a processed stream, too
_COUNT = Option("a number from 0 on", r"\d{1,2}", int)
_SIXTEEN = Option("16", "16", int)
_OPTIONS = {"mode": _COUNT, "format": WORD, "bit_depth": _SIXTEEN, "exposure_s": POSITIVE, "gain_db": NUMBER}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PiOptions:
    """What an address can ask for.

    Args:
        mode: number of the sensor's mode, as picamera2 lists them; that of most pixels, and then most bits, otherwise.
        format: of the raw stream, e.g. "SRGGB10_CSI2P"; unpacked otherwise.
        bit_depth: 16 takes words of 16 bits as they are; else the sensor's own bits are taken out of them.
        exposure_s, gain_db: at the start.
    """

    mode: int | None = None
    format: str | None = None
    bit_depth: int | None = None
    exposure_s: float = EXPOSURE_S
    gain_db: float = 0.0


def pi_camera(place: str) -> Camera:
    """The camera of an address `picamera2:0?mode=1`, in a process of its own."""
    parse_place(place)
    plugins.require("picamera2")
    if importlib.util.find_spec("libcamera") is None:
        raise ConfigurationError(
            f"camera 'picamera2:{place}': picamera2 is here, libcamera is not: it is of the system; sudo apt install "
            "python3-picamera2, and make the environment with --system-site-packages"
        )
    return IsolatedCamera(["-m", "hardware.picamera2", place], f"picamera2:{place}")


def parse_place(place: str) -> tuple[str, PiOptions]:
    """(number or libcamera's Id, options). Raises ConfigurationError: neither, or an option that cannot be."""
    where, values = parse("picamera2", place, _OPTIONS)
    if not (where.isdecimal() or where.startswith("/")):
        raise ConfigurationError(
            f"camera address 'picamera2:{place}': {where!r} is no camera; expected its number, e.g. picamera2:0"
        )
    return where, PiOptions(**values)


class PiCamera(PolledCamera):
    """The raw stream of a sensor, with exposure and analogue gain as its metadata tells them of each frame.

    `t_host_ns` is when the exposure of the first line began: SensorTimestamp is the end of it (#821), by the clock of
    `time.monotonic_ns` (#787). Lost frames are found by the gaps between those times.

    Args:
        place: see `parse_place`.
        driver: the class Picamera2, which is loaded only now.

    Raises:
        ConfigurationError: no such mode, format or value.
        CameraError: it is not there, has no raw stream, or does not do what is asked.
    """

    def __init__(self, place: str, driver: Any = None):
        super().__init__(
            f"picamera2:{place}",
            ("exposure_s", "gain_db"),
            (RuntimeError, OSError, ValueError, LookupError),
            stamped=True,
        )
        where, self._options = parse_place(place)
        if driver is None:
            from picamera2 import Picamera2 as driver
        self._device, self._job, self._count, self._stamp_ns = None, None, 0, None
        with self._opening():
            self._find(where, driver)
            self._set_up()

    @property
    def facts(self) -> dict[str, object]:
        """Its socket is what it is known by: `address` names it."""
        options = "".join(self._name.partition("?")[1:])
        return {"identity": "port", "address": f"picamera2:{self._id}{options}", "mode": self._mode_text}

    def _find(self, where: str, driver: Any) -> None:
        found = driver.global_camera_info()
        ids = [str(one["Id"]) for one in found]
        number = int(where) if where.isdecimal() else ids.index(where) if where in ids else len(ids)
        if number >= len(ids):
            there = ", ".join(f"{at}: {one['Model']}" for at, one in enumerate(found)) or "none"
            raise CameraError(f"camera {self._name!r} is not there; connected are: {there}")
        self._id = ids[number]
        socket = re.sub(r"[^A-Za-z0-9.:_-]", "_", "-".join(self._id.split("/")[-2:]))
        self._camera_id = f"pi-{socket}"
        self._device = driver(number)

    def _set_up(self) -> None:
        device, mode = self._device, self._mode()
        raw = {"format": self._options.format or str(mode["unpacked"]), "size": mode["size"]}
        sensor = {"output_size": mode["size"], "bit_depth": mode["bit_depth"]}
        device.configure(device.create_video_configuration(main={"size": MAIN_SIZE}, raw=raw, sensor=sensor))
        agreed = device.camera_configuration()
        self._stream = agreed["raw"]
        bits = (agreed.get("sensor") or sensor)["bit_depth"]
        self._format = of_libcamera(str(self._stream["format"]), self._options.bit_depth or bits)
        self._mode_text = f"{mode['size'][0]} x {mode['size'][1]}, {bits} bits, {self._stream['format']}"
        shortest_us, longest_us = device.camera_controls["FrameDurationLimits"][:2]
        manual = {"AeEnable": False, "AwbEnable": False, "FrameDurationLimits": (shortest_us, longest_us)}
        device.set_controls({name: value for name, value in manual.items() if name in device.camera_controls})
        device.start(show_preview=False)
        self._ask(CameraSettings(exposure_s=self._options.exposure_s, gain_db=self._options.gain_db))
        self._settings = self._read()

    def _mode(self) -> dict[str, Any]:
        # Of a USB camera it lists names alone; what a Pi 5 compresses is no mode of the sensor.
        modes = [
            mode for mode in self._device.sensor_modes if "size" in mode and "PISP_COMP" not in str(mode["format"])
        ]
        if not modes:
            raise CameraError(f"camera {self._name!r} has no raw stream; a USB camera opens as opencv:")
        if self._options.mode is None:
            return max(modes, key=lambda mode: (math.prod(mode["size"]), mode["bit_depth"]))
        if self._options.mode >= len(modes):
            known = ", ".join(
                f"{at}: {mode['size'][0]} x {mode['size'][1]} {mode['format']}" for at, mode in enumerate(modes)
            )
            raise ConfigurationError(f"camera {self._name!r} has no mode {self._options.mode}; it has {known}")
        return modes[self._options.mode]

    def _ask(self, wanted: CameraSettings) -> None:
        limits, controls = self._device.camera_controls, {}
        if wanted.exposure_s is not None:
            low_us, high_us = limits["ExposureTime"][:2]
            self._within("exposure_s", wanted.exposure_s, low_us * 1e-6, (high_us or math.inf) * 1e-6)
            controls["ExposureTime"] = round(wanted.exposure_s * 1e6)
        if wanted.gain_db is not None:
            low, high = (20 * math.log10(limit) for limit in limits["AnalogueGain"][:2])
            controls["AnalogueGain"] = 10 ** (self._within("gain_db", wanted.gain_db, low, high) / 20)
        self._device.set_controls(controls)
        self._settle(controls)

    def _settle(self, controls: dict[str, float]) -> None:
        """Wait until two frames in a row say the same, and what was asked for."""
        before, longest_us = None, controls.get("ExposureTime", 0)
        for _ in range(SETTLE_FRAMES):
            request = self._awaited(STALL_S + 3 * max(longest_us * 1e-6, self._settings.exposure_s or 0))
            metadata = request.get_metadata()
            request.release()
            told = metadata["ExposureTime"], metadata["AnalogueGain"]
            wanted = controls.get("ExposureTime", told[0]), controls.get("AnalogueGain", told[1])
            same = math.isclose(told[0], wanted[0], rel_tol=TOLERANCE, abs_tol=LINE_US)
            if told == before and same and math.isclose(told[1], wanted[1], rel_tol=TOLERANCE):
                self._metadata = metadata
                return
            before = told
        raise CameraError(
            f"camera {self._name!r}: {controls} was asked for, exposure {told[0]} us and gain {told[1]:g} are read "
            f"back after {SETTLE_FRAMES} frames; ask for what it has"
        )

    def _read(self) -> CameraSettings:
        return self._settings_of(self._metadata)

    def _settings_of(self, metadata: dict[str, Any]) -> CameraSettings:
        return CameraSettings(
            exposure_s=metadata["ExposureTime"] * 1e-6,
            gain_db=20 * math.log10(metadata["AnalogueGain"]),
            pixel_format=self._format.name,
            binning=(1, 1),
        )

    def _request(self, timeout_s: float) -> Any:
        """The next request, which is to be released; None if there was none in time."""
        self._job = self._job or self._device.capture_request(wait=False)
        try:
            request = self._job.get_result(timeout=timeout_s)
        except NotInTime:
            return None
        self._job = None
        return request

    def _awaited(self, patience_s: float) -> Any:
        """The next request. Raises CameraError: there was none in that time."""
        end_s = time.monotonic() + patience_s
        while time.monotonic() < end_s:
            alive()
            if (request := self._request(POLL_S)) is not None:
                return request
        raise CameraError(f"camera {self._name!r} sent no frame for {patience_s:.1f} s; is its ribbon cable in?")

    def _grab(self, timeout_s: float) -> Shot | None:
        request = self._request(timeout_s)
        if request is None:
            return None
        try:
            buffer, metadata = request.make_buffer("raw"), request.get_metadata()
        finally:
            request.release()
        (width, height), stride = self._stream["size"], self._stream["stride"]
        settings, stamp_ns = self._settings_of(metadata), metadata["SensorTimestamp"]
        begun_ns = stamp_ns - round(settings.exposure_s * 1e9)
        return Shot(
            pixels=self._format.unpack(buffer, width, height, stride),
            number=self._number(stamp_ns, metadata["FrameDuration"] * 1000),
            settings=settings,
            t_host_ns=min(begun_ns, time.monotonic_ns()),
            t_device_ns=stamp_ns,
            bit_depth=self._format.bits,
            # libcamera tells black as of 16 bits, whatever the sensor has.
            black_level_dn=metadata.get("SensorBlackLevels", (0,))[0] / 2 ** (16 - self._format.bits),
            cfa=self._format.cfa,
            temperature_c=metadata.get("SensorTemperature"),
        )

    def _number(self, stamp_ns: int, frame_ns: int) -> int:
        """Frames since the first one, by the time between them."""
        if self._stamp_ns is not None:
            self._count += max(1, round((stamp_ns - self._stamp_ns) / frame_ns))
        self._stamp_ns = stamp_ns
        return self._count

    def _release(self) -> None:
        if self._device is not None:
            with self._driver("let its device go"):
                self._device.stop()
                self._device.close()


if __name__ == "__main__":
    serve(lambda: PiCamera(sys.argv[1]))
